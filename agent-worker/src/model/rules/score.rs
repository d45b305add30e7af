//! How well a clause fits a tool: BM25 over the words of its name, description and parameters.

use std::collections::BTreeMap;

use crate::session::ToolSpec;

/// The tools' words, weighed.
#[derive(Debug)]
pub(super) struct Index {
    tools: Vec<BTreeMap<String, f64>>,
    frequency: BTreeMap<String, usize>,
    mean: f64,
}

/// How well one tool fits.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Score {
    /// BM25; only good for comparing.
    pub(super) weight: f64,
    /// How many different words of the clause the tool knows.
    pub(super) matched: usize,
    /// How many words the clause has.
    pub(super) words: usize,
}

impl Score {
    /// Whether the words alone say that the tool is meant: two of them, or a good third of all.
    pub(super) const fn is_enough(self) -> bool {
        self.matched >= 2 || self.matched * 3 > self.words
    }
}

impl Index {
    /// Weighs the words of the tools: a word of the name counts three times, one of a parameter once.
    pub(super) fn new(tools: &[ToolSpec]) -> Self {
        let tools: Vec<_> = tools.iter().map(document).collect();
        let mut frequency = BTreeMap::new();
        for tool in &tools {
            for word in tool.keys() {
                *frequency.entry(word.clone()).or_insert(0) += 1;
            }
        }
        let total: f64 = tools.iter().flat_map(BTreeMap::values).sum();
        let mean = total / count(tools.len().max(1));
        Self {
            tools,
            frequency,
            mean,
        }
    }

    /// Scores one tool for the words of a clause.
    pub(super) fn score(&self, tool: usize, words: &[String]) -> Score {
        let Some(document) = self.tools.get(tool) else {
            return Score::default();
        };
        let length: f64 = document.values().sum();
        let mut score = Score {
            words: words.len(),
            ..Score::default()
        };
        for word in words {
            let Some(times) = document.get(word) else {
                continue;
            };
            let holders = count(self.frequency.get(word).copied().unwrap_or_default());
            let all = count(self.tools.len());
            let rarity = (1.0 + (all - holders + 0.5) / (holders + 0.5)).ln();
            let damped = times + K * (1.0 - B + B * length / self.mean);
            score.weight += rarity * times * (K + 1.0) / damped;
            score.matched += 1;
        }
        score
    }

    /// Whether a tool knows a word.
    pub(super) fn knows(&self, tool: usize, word: &str) -> bool {
        self.tools
            .get(tool)
            .is_some_and(|document| document.contains_key(word))
    }
}

/// The words that carry meaning, each once, in their order.
pub(super) fn words<'a>(text: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in text.into_iter().filter_map(stem) {
        if !words.contains(&word) {
            words.push(word);
        }
    }
    words
}

/// A word without its ending; `None` for one that carries no meaning.
pub(super) fn stem(word: &str) -> Option<String> {
    let word: String = word
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric())
        .collect();
    if word.is_empty() || EMPTY.binary_search(&word.as_str()).is_ok() {
        return None;
    }
    let stem = ["ing", "ed", "es", "s"].iter().find_map(|ending| {
        let stem = word.strip_suffix(ending)?;
        (stem.len() > 3 && !stem.ends_with('s')).then_some(stem)
    });
    let stem = stem.unwrap_or(&word);
    Some(
        stem.strip_suffix('e')
            .filter(|stem| stem.len() > 3)
            .unwrap_or(stem)
            .to_owned(),
    )
}

fn document(tool: &ToolSpec) -> BTreeMap<String, f64> {
    let mut document = BTreeMap::new();
    let mut add = |text: &str, weight: f64| {
        for word in text.split(|c: char| !c.is_alphanumeric()).filter_map(stem) {
            *document.entry(word).or_insert(0.0) += weight;
        }
    };
    add(&tool.name, 3.0);
    add(&tool.description, 1.0);
    let properties = tool
        .input
        .get("properties")
        .and_then(serde_json::Value::as_object);
    for name in properties.into_iter().flat_map(serde_json::Map::keys) {
        add(name, 1.0);
    }
    document
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of words and tools, far below 2^52"
)]
const fn count(n: usize) -> f64 {
    n as f64
}

/// How much a repeated word still adds, and how much a long description is held against a tool: the
/// usual values of BM25.
const K: f64 = 1.2;
const B: f64 = 0.75;

/// Words that say nothing of what is wanted, sorted.
const EMPTY: [&str; 103] = [
    "a", "about", "again", "all", "also", "am", "an", "and", "any", "are", "as", "at", "be",
    "below", "but", "by", "can", "could", "did", "do", "does", "each", "for", "from", "get",
    "give", "good", "has", "have", "hello", "here", "hey", "hi", "how", "i", "if", "im", "in",
    "into", "is", "it", "its", "just", "kindly", "know", "let", "like", "lot", "many", "may", "me",
    "much", "must", "my", "need", "no", "not", "now", "of", "ok", "on", "one", "or", "our", "out",
    "over", "please", "s", "same", "shall", "should", "so", "some", "such", "tell", "than",
    "thank", "thanks", "that", "thats", "the", "their", "them", "then", "there", "these", "they",
    "this", "those", "to", "under", "up", "us", "want", "we", "well", "what", "whats", "which",
    "with", "would", "you", "your",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_words_are_sorted_for_the_search() {
        assert!(EMPTY.is_sorted());
    }

    #[test]
    fn words_are_compared_by_their_stems() {
        for (one, other) in [
            ("calculate", "calculated"),
            ("times", "time"),
            ("counting", "count"),
            ("sentences", "sentence"),
            ("notes", "note"),
        ] {
            assert_eq!(stem(one), stem(other), "{one} {other}");
        }
        assert_eq!(stem("What"), None);
        assert_ne!(stem("address"), stem("addres"));
    }
}
