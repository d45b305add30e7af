//! Finds the values of a text and masks them, so that nothing splits or reads them.
//!
//! # Invariants
//! - The masked text has the length of the text: an offset is good for both.
//! - Work is bounded whatever the text: at most [`VALUES`] values are found, and a quote that is never
//!   closed is looked for once.

use std::{collections::BTreeSet, ops::Range};

/// A text whose values are masked: same length, same offsets.
pub(super) struct Masked<'a> {
    /// As it was written.
    pub(super) text: &'a str,
    /// With each byte of a value as [`MASK`].
    pub(super) plain: String,
    /// The values in their order.
    pub(super) values: Vec<(Range<usize>, Value)>,
}

/// A value.
pub(super) enum Value {
    /// Within quotes.
    Quoted(String),
    /// Under a known name.
    Pair(String, String),
    /// After a colon.
    Payload(String),
}

impl<'a> Masked<'a> {
    /// Masks a text; the keys are the names that values may have.
    pub(super) fn new(text: &'a str, keys: &BTreeSet<String>) -> Self {
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
        let mut unclosed = Vec::new();
        while self.values.len() < VALUES {
            let opens = |c: char| QUOTES.iter().any(|(open, _)| *open == c);
            let Some((open, mark)) = self.next_char(at, opens) else {
                break;
            };
            let inside = open + mark.len_utf8();
            at = inside;
            // An apostrophe opens nothing: a single quote does so only at the start of a word.
            let before = self
                .text
                .get(..open)
                .and_then(|text| text.chars().next_back());
            let is_apostrophe = mark == '\'' && before.is_some_and(char::is_alphanumeric);
            if is_apostrophe || unclosed.contains(&mark) {
                continue;
            }
            let pair = QUOTES.iter().find(|(open, _)| *open == mark);
            let close = pair.map_or(mark, |(_, close)| *close);
            let Some((end, _)) = self.next_char(inside, |c| c == close) else {
                unclosed.push(mark);
                continue;
            };
            let value = self.text.get(inside..end).unwrap_or_default().to_owned();
            let span = open..end + close.len_utf8();
            at = span.end;
            self.mask(span, Value::Quoted(value));
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
            if starts.len() < VALUES && keys.contains(&name.to_lowercase()) {
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
        for _ in 0..VALUES {
            let Some((colon, _)) = self.next_char(at, |c| c == ':') else {
                return;
            };
            at = colon + 1;
            let rest = self.plain.get(at..).unwrap_or_default();
            let said = rest.trim_start();
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

    /// The spans of the sentences.
    pub(super) fn sentences(&self) -> Vec<Range<usize>> {
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
    pub(super) fn parts(&self, sentence: Range<usize>) -> Vec<Range<usize>> {
        let plain = self.plain.get(sentence.clone()).unwrap_or_default();
        let lower = plain.to_ascii_lowercase();
        let mut parts = Vec::new();
        let mut start = sentence.start;
        let mut at = start;
        while at < sentence.end {
            let rest = lower.get(at - sentence.start..).unwrap_or_default();
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
}

fn unquoted(text: &str) -> &str {
    QUOTES
        .iter()
        .find_map(|(open, close)| text.strip_prefix(*open)?.strip_suffix(*close))
        .unwrap_or(text)
}

/// Stands for each byte of a value; no keyboard makes it.
pub(super) const MASK: char = '\u{1}';

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

/// How many values are looked for; what comes after is read as plain words.
const VALUES: usize = 64;
