//! Splits a request into clauses, and a clause into words.
//!
//! What stands in quotes, after a known `key:` or `key=`, or after the first other colon is a value:
//! it is kept whole and never split, however many sentences it has.

use std::{collections::BTreeSet, ops::Range};

use super::mask::{MASK, Masked, Value};

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
    /// Whether there were more words than are looked at. Values are never cut.
    pub(super) is_cut: bool,
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
    let mut sentences = Vec::new();
    let mut left = CLAUSES;
    for sentence in masked.sentences() {
        let spans = masked.parts(sentence).into_iter();
        let clauses = spans
            .map(|span| read(&masked, span))
            .filter(Clause::says_something);
        let clauses: Vec<_> = clauses.take(left).collect();
        left -= clauses.len();
        if !clauses.is_empty() {
            sentences.push(clauses);
        }
        if left == 0 {
            break;
        }
    }
    sentences
}

/// The whole text as one clause.
pub(super) fn whole(text: &str, keys: &BTreeSet<String>) -> Clause {
    read(&Masked::new(text, keys), 0..text.len())
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
        joined.is_cut |= clause.is_cut;
    }
    joined.cut();
    joined
}

impl Clause {
    fn cut(&mut self) {
        self.is_cut |= self.tokens.len() > WORDS;
        self.tokens.truncate(WORDS);
    }

    fn says_something(&self) -> bool {
        !self.tokens.is_empty() || !self.pairs.is_empty() || self.payload.is_some()
    }
}

fn read(masked: &Masked<'_>, span: Range<usize>) -> Clause {
    let source = masked.text.get(span.clone()).unwrap_or_default().trim();
    let mut clause = Clause {
        source: source.to_owned(),
        ..Clause::default()
    };
    let mut at = span.start;
    for (value_span, value) in &masked.values {
        if value_span.start < span.start || value_span.end > span.end {
            continue;
        }
        clause.tokens.extend(words(masked, at..value_span.start));
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
    clause.tokens.extend(words(masked, at..span.end));
    clause.cut();
    clause
}

fn words(masked: &Masked<'_>, span: Range<usize>) -> Vec<Token> {
    let text = masked
        .plain
        .get(span)
        .unwrap_or_default()
        .replace(MASK, " ");
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

/// How many clauses of a message are read, at least one more than are planned.
const CLAUSES: usize = 32;

/// How many words of a clause are looked at: what is longer is a text to work on, not a request.
const WORDS: usize = 400;

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
