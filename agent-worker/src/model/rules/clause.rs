//! Splits a request into clauses, and a clause into words.
//!
//! What stands in quotes, after a known `key:` or `key=`, or after the first other colon is a value:
//! it is kept whole and never split, however many sentences it has.

use std::{collections::BTreeSet, ops::Range};

/// One thing that is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Clause {
    /// As it was written.
    pub(super) source: String,
    /// Its words outside of values, and its quoted values.
    pub(super) tokens: Vec<Token>,
    /// Values under a known name.
    pub(super) pairs: Vec<(String, String)>,
    /// What stood after a colon.
    pub(super) payload: Option<String>,
}

/// A word or a quoted value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Token {
    /// Without punctuation around it; a quoted value without its quotes.
    pub(super) text: String,
    /// As it was written, up to white space.
    pub(super) raw: String,
    /// Whether it is a quoted value.
    pub(super) quoted: bool,
}

impl Token {
    /// The word in lower case; empty for a quoted value.
    pub(super) fn word(&self) -> String {
        if self.quoted {
            String::new()
        } else {
            self.text.to_lowercase()
        }
    }

    /// Whether a list or a clause ends with it.
    pub(super) fn ends(&self) -> bool {
        !self.quoted && self.raw.ends_with([',', ';', '?', '!', ')'])
    }
}

/// The sentences of a text, each as its clauses. Whether the `and` between two clauses really parts
/// two requests is for the planner to find out: [`join`] undoes it.
pub(super) fn split(text: &str, keys: &BTreeSet<String>) -> Vec<Vec<Clause>> {
    let masked = Masked::new(text, keys);
    let sentences = masked.sentences().into_iter().map(|sentence| {
        let clauses = masked.parts(sentence);
        clauses
            .into_iter()
            .map(|span| masked.clause(span))
            .filter(Clause::says_something)
            .collect()
    });
    sentences
        .filter(|sentence: &Vec<Clause>| !sentence.is_empty())
        .collect()
}

/// The whole text as one clause.
pub(super) fn whole(text: &str, keys: &BTreeSet<String>) -> Clause {
    Masked::new(text, keys).clause(0..text.len())
}

/// Two clauses as the one that they were written as.
pub(super) fn join(clauses: &[Clause]) -> Clause {
    let mut joined = Clause::default();
    for clause in clauses {
        if !joined.source.is_empty() {
            joined.source.push_str(" and ");
            let and = "and".to_owned();
            joined.tokens.push(Token {
                text: and.clone(),
                raw: and,
                quoted: false,
            });
        }
        joined.source.push_str(&clause.source);
        joined.tokens.extend_from_slice(&clause.tokens);
        joined.pairs.extend_from_slice(&clause.pairs);
        joined.payload = joined.payload.take().or_else(|| clause.payload.clone());
    }
    joined
}

impl Clause {
    fn says_something(&self) -> bool {
        !self.tokens.is_empty() || !self.pairs.is_empty() || self.payload.is_some()
    }
}

/// A text whose values are masked: same length, same offsets.
struct Masked<'a> {
    text: &'a str,
    plain: String,
    values: Vec<(Range<usize>, Value)>,
}

enum Value {
    Quoted(String),
    Pair(String, String),
    Payload(String),
}

impl<'a> Masked<'a> {
    fn new(text: &'a str, keys: &BTreeSet<String>) -> Self {
        let mut masked = Self {
            text,
            plain: text.to_owned(),
            values: Vec::new(),
        };
        masked.quotes();
        masked.pairs(keys);
        masked.payload();
        masked.values.sort_by_key(|(span, _)| span.start);
        masked
    }

    fn quotes(&mut self) {
        let mut at = 0;
        while let Some((open, mark)) =
            self.next_char(at, |c| QUOTES.iter().any(|(open, _)| *open == c))
        {
            let inside = open + mark.len_utf8();
            at = inside;
            let close = QUOTES
                .iter()
                .find(|(open, _)| *open == mark)
                .map_or(mark, |(_, close)| *close);
            // An apostrophe opens nothing: a single quote does so only at the start of a word.
            let before = self
                .text
                .get(..open)
                .and_then(|text| text.chars().next_back());
            if mark == '\'' && before.is_some_and(char::is_alphanumeric) {
                continue;
            }
            if let Some((end, _)) = self.next_char(inside, |c| c == close) {
                let value = self.text.get(inside..end).unwrap_or_default().to_owned();
                let span = open..end + close.len_utf8();
                at = span.end;
                self.mask(span, Value::Quoted(value));
            }
        }
    }

    fn pairs(&mut self, keys: &BTreeSet<String>) {
        let starts = self.pair_starts(keys);
        for (i, (key, value)) in starts.iter().enumerate() {
            let next = starts
                .get(i + 1)
                .map_or(self.text.len(), |(key, _)| key.start);
            let name = self
                .text
                .get(key.clone())
                .unwrap_or_default()
                .to_lowercase();
            let is_short = self.text.as_bytes().get(value.start - 1) == Some(&b'=');
            let end = if is_short {
                self.short_end(value.start, next)
            } else {
                next
            };
            let text = self.text.get(value.start..end).unwrap_or_default();
            let text = text.trim().trim_end_matches([',', ';']).trim_end();
            let text = text
                .strip_suffix(" and")
                .unwrap_or(text)
                .trim_end_matches(',');
            let text = unquoted(text).to_owned();
            let span = key.start..end;
            self.values
                .retain(|(other, _)| other.start < span.start || other.end > span.end);
            self.mask(span, Value::Pair(name, text));
        }
    }

    /// Each `key:` or `key=` of a known key, with where its value starts.
    fn pair_starts(&self, keys: &BTreeSet<String>) -> Vec<(Range<usize>, Range<usize>)> {
        let mut starts = Vec::new();
        for (at, c) in self.plain.char_indices() {
            if !matches!(c, ':' | '=') {
                continue;
            }
            let before = self.plain.get(..at).unwrap_or_default().trim_end();
            let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
            let name = before.rsplit(|c| !is_word(c)).next().unwrap_or_default();
            if keys.contains(&name.to_lowercase()) {
                starts.push((before.len() - name.len()..before.len(), at + 1..at + 1));
            }
        }
        starts
    }

    /// Where an unquoted value after `=` ends: at white space or a comma, or behind its quotes.
    fn short_end(&self, start: usize, next: usize) -> usize {
        let quoted = self.values.iter().find(|(span, _)| span.start == start);
        if let Some((span, _)) = quoted {
            return span.end;
        }
        let value = self.plain.get(start..next).unwrap_or_default();
        start
            + value
                .find(|c: char| c.is_whitespace() || matches!(c, ',' | ';'))
                .unwrap_or(value.len())
    }

    fn payload(&mut self) {
        let mut at = 0;
        while let Some((colon, _)) = self.next_char(at, |c| c == ':') {
            at = colon + 1;
            let rest = self.plain.get(at..).unwrap_or_default();
            let said = rest.trim();
            let is_plain = !said.is_empty() && !said.starts_with(MASK);
            if rest.starts_with(char::is_whitespace) && is_plain {
                // It ends where a value with a name of its own begins.
                let pairs = self
                    .values
                    .iter()
                    .filter(|(_, value)| matches!(value, Value::Pair(..)));
                let next = pairs
                    .map(|(span, _)| span.start)
                    .filter(|start| *start > at)
                    .min();
                let span = colon..next.unwrap_or(self.text.len());
                let text = self.text.get(at..span.end).unwrap_or_default().trim();
                let text = text.trim_end_matches([',', ';']).to_owned();
                self.values
                    .retain(|(other, _)| other.end <= span.start || other.start >= span.end);
                self.mask(span, Value::Payload(text));
                return;
            }
        }
    }

    fn next_char(&self, from: usize, is: impl Fn(char) -> bool) -> Option<(usize, char)> {
        let rest = self.plain.get(from..)?;
        rest.char_indices()
            .find(|(_, c)| is(*c))
            .map(|(at, c)| (from + at, c))
    }

    fn mask(&mut self, span: Range<usize>, value: Value) {
        let mask = MASK.to_string().repeat(span.len());
        self.plain.replace_range(span.clone(), &mask);
        self.values.push((span, value));
    }

    fn sentences(&self) -> Vec<Range<usize>> {
        let mut sentences = Vec::new();
        let mut start = 0;
        let mut characters = self.plain.char_indices().peekable();
        while let Some((at, c)) = characters.next() {
            let next = characters.peek().map(|(_, c)| *c);
            let stops = matches!(c, '.' | '?' | '!') && next.is_none_or(char::is_whitespace);
            if stops || matches!(c, '\n' | ';') {
                sentences.push(start..at + 1);
                start = at + 1;
            }
        }
        sentences.push(start..self.plain.len());
        sentences
    }

    /// The spans between the conjunctions of a sentence.
    fn parts(&self, sentence: Range<usize>) -> Vec<Range<usize>> {
        let lower = self.plain.to_ascii_lowercase();
        let mut parts = Vec::new();
        let mut start = sentence.start;
        let mut at = start;
        while at < sentence.end {
            let rest = lower.get(at..sentence.end).unwrap_or_default();
            match CONJUNCTIONS
                .iter()
                .find(|conjunction| rest.starts_with(**conjunction))
            {
                Some(conjunction) => {
                    parts.push(start..at);
                    at += conjunction.len();
                    start = at;
                }
                None => at += rest.chars().next().map_or(1, char::len_utf8),
            }
        }
        parts.push(start..sentence.end);
        parts
    }

    fn clause(&self, span: Range<usize>) -> Clause {
        let source = self.text.get(span.clone()).unwrap_or_default().trim();
        let mut clause = Clause {
            source: source.to_owned(),
            ..Clause::default()
        };
        let mut at = span.start;
        for (value_span, value) in &self.values {
            if value_span.start < span.start || value_span.end > span.end {
                continue;
            }
            clause.tokens.extend(self.words(at..value_span.start));
            at = value_span.end;
            match value {
                Value::Quoted(text) => clause.tokens.push(Token {
                    text: text.clone(),
                    raw: text.clone(),
                    quoted: true,
                }),
                Value::Pair(name, text) => clause.pairs.push((name.clone(), text.clone())),
                Value::Payload(text) => clause.payload = Some(text.clone()),
            }
        }
        clause.tokens.extend(self.words(at..span.end));
        clause
    }

    fn words(&self, span: Range<usize>) -> Vec<Token> {
        let text = self.plain.get(span).unwrap_or_default().replace(MASK, " ");
        let words = text.split_whitespace().filter_map(|raw| {
            let text = raw.trim_matches(|c: char| PUNCTUATION.contains(c));
            let token = Token {
                text: text.to_owned(),
                raw: raw.to_owned(),
                quoted: false,
            };
            (!text.is_empty()).then_some(token)
        });
        words.collect()
    }
}

fn unquoted(text: &str) -> &str {
    QUOTES
        .iter()
        .find_map(|(open, close)| text.strip_prefix(*open)?.strip_suffix(*close))
        .unwrap_or(text)
}

/// Stands for each byte of a value; no keyboard makes it.
const MASK: char = '\u{1}';

const QUOTES: [(char, char); 6] = [
    ('"', '"'),
    ('“', '”'),
    ('„', '“'),
    ('«', '»'),
    ('`', '`'),
    ('\'', '\''),
];

/// Longest first: the first that fits is taken.
const CONJUNCTIONS: [&str; 6] = [
    ", and then ",
    " and then ",
    ", then ",
    ", and ",
    " then ",
    " and ",
];

/// What surrounds a word without being part of it. Not `-`, `+`, `(`: they are arithmetic.
const PUNCTUATION: &str = ".,!?;:\"'…=";

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(text: &str, expected: &Expect) {
        let keys = ["text", "date", "people", "name"].map(str::to_owned).into();
        let mut shown = String::new();
        for sentence in split(text, &keys) {
            let clauses: Vec<_> = sentence.iter().map(show).collect();
            shown.push_str(&clauses.join(" | "));
            shown.push('\n');
        }
        expected.assert_eq(&shown);
    }

    fn show(clause: &Clause) -> String {
        let word = |token: &Token| match token.quoted {
            true => format!("<{}>", token.text),
            false => token.text.clone(),
        };
        let mut shown: Vec<_> = clause.tokens.iter().map(word).collect();
        shown.extend(
            clause
                .pairs
                .iter()
                .map(|(key, value)| format!("[{key}={value}]")),
        );
        shown.extend(
            clause
                .payload
                .iter()
                .map(|payload| format!("[: {payload}]")),
        );
        shown.join(" ")
    }

    #[test]
    fn a_request_splits_at_sentences_and_conjunctions() {
        check(
            "What time is it in Tokyo? And 17*23+4, then 3.5*2.",
            &expect![[r#"
                What time is it in Tokyo
                17*23+4 | 3.5*2
            "#]],
        );
        check(
            "a; b\nc",
            &expect![[r#"
                a
                b
                c
            "#]],
        );
        check(" ?! ", &expect![""]);
    }

    #[test]
    fn a_value_is_never_split() {
        check(
            "how many words in this text: One and two. Three; four",
            &expect![[r#"
                how many words in this [text=One and two. Three; four]
            "#]],
        );
        check(
            "count this: One and two. Three",
            &expect![[r#"
                count this [: One and two. Three]
            "#]],
        );
        check(
            r#"note "a and b. c" and say 'it's so' and don't stop"#,
            &expect![[r#"
                note <a and b. c> | say <it> s so | don't stop
            "#]],
        );
    }

    #[test]
    fn known_keys_take_values() {
        check(
            "date: 2026-12-01, people: 4 and name: Ada Lovelace",
            &expect![[r#"
                [date=2026-12-01] [people=4] [name=Ada Lovelace]
            "#]],
        );
        check(
            r#"book name="Ada L" people=4, please"#,
            &expect![[r#"
                book please [name=Ada L] [people=4]
            "#]],
        );
        check(
            "unknown=3 at 10:30",
            &expect![[r#"
                unknown=3 at 10:30
            "#]],
        );
    }

    #[test]
    fn any_text_is_split_without_a_panic() {
        for text in [
            "'",
            "“",
            ":",
            "é: ü",
            "=",
            "text=",
            "text:",
            "a\u{1}b",
            "„x“ “",
            ": : :",
        ] {
            for sentence in split(text, &["text".to_owned()].into()) {
                join(&sentence);
            }
        }
    }
}
