//! What is wrong with a card, for its author and for whoever relies on it.
//!
//! Readers are lenient, each in its own way: a card that works with one client fails with the next.
//! Here is what the specification says of cards (chapter 8 and the 1.0 message; for 0.3 its own
//! fields), and what is known to go wrong in between.
//!
//! # Invariants
//! - A finding points at a place of the document (RFC 6901), the nearest that exists.
//! - An error is what some client cannot use or must refuse; a warning is what will surprise
//!   somebody; a note is worth knowing.
//! - At most [`MOST_FINDINGS`] are listed, in the order of the checks.

use std::fmt;

use serde_json::{Map, Value};

mod shape;
mod places;
mod address;
mod features;
mod signatures;

/// How many findings are listed; a broken card may bring any number along.
pub const MOST_FINDINGS: usize = 200;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Will surprise somebody.
    Warning,
    /// Some client cannot use the card, or must refuse it.
    Error,
}

impl Severity {
    /// A word for people and logs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// A JSON pointer (RFC 6901); empty for the whole card.
    pub pointer: String,
    /// What is wrong.
    pub words: String,
}

/// Everything that is wrong with a card; empty for one that is fine.
#[must_use]
pub fn lint(card: &[u8]) -> Vec<Finding> {
    let mut report = Report::default();
    match serde_json::from_slice(card) {
        Ok(Value::Object(fields)) => {
            let card = Subject::of(card, &fields);
            shape::check(&card, &mut report);
            places::check(&card, &mut report);
            features::check(&card, &mut report);
            signatures::check(&card, &mut report);
        }
        Ok(_) => report.error("", "a card is a JSON object"),
        Err(error) => report.error("", format!("not JSON: {error}")),
    }
    report.0
}

/// Which versions a card is written for, by the fields that it has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Written {
    For1_0,
    For0_3,
    ForBoth,
}

/// The card that is looked at.
struct Subject<'a> {
    bytes: &'a [u8],
    fields: &'a Map<String, Value>,
    written: Written,
}

impl<'a> Subject<'a> {
    fn of(bytes: &'a [u8], fields: &'a Map<String, Value>) -> Self {
        let has = |name| fields.contains_key(name);
        let is_0_3 = has("url") || has("preferredTransport") || has("additionalInterfaces");
        let written = match (has("supportedInterfaces"), is_0_3) {
            (true, true) => Written::ForBoth,
            (false, true) => Written::For0_3,
            (_, false) => Written::For1_0,
        };
        Self {
            bytes,
            fields,
            written,
        }
    }
}

#[derive(Debug, Default)]
struct Report(Vec<Finding>);

impl Report {
    fn error(&mut self, pointer: impl Into<String>, words: impl Into<String>) {
        self.add(Severity::Error, pointer.into(), words.into());
    }

    fn warning(&mut self, pointer: impl Into<String>, words: impl Into<String>) {
        self.add(Severity::Warning, pointer.into(), words.into());
    }

    fn note(&mut self, pointer: impl Into<String>, words: impl Into<String>) {
        self.add(Severity::Note, pointer.into(), words.into());
    }

    fn add(&mut self, severity: Severity, pointer: String, words: String) {
        if self.0.len() < MOST_FINDINGS {
            self.0.push(Finding {
                severity,
                pointer,
                words,
            });
        }
    }
}

/// The entries of a field that is a list, each with its pointer.
fn entries<'a>(
    fields: &'a Map<String, Value>,
    at: &str,
    name: &'a str,
) -> impl Iterator<Item = (String, &'a Value)> {
    let list = fields.get(name).and_then(Value::as_array);
    let at = format!("{at}/{name}");
    list.into_iter()
        .flatten()
        .enumerate()
        .map(move |(index, value)| (format!("{at}/{index}"), value))
}

/// The entries that are objects; [`shape`] complains about the others.
fn objects<'a>(
    fields: &'a Map<String, Value>,
    at: &str,
    name: &'a str,
) -> impl Iterator<Item = (String, &'a Map<String, Value>)> {
    entries(fields, at, name).filter_map(|(pointer, value)| Some((pointer, value.as_object()?)))
}

/// A field that is a string and not empty.
fn text<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    fields
        .get(name)
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty())
}

/// A name as part of a pointer (RFC 6901 3).
fn step(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// What is repeated of a card in words, so that one field can neither fill the report nor speak to a
/// terminal.
fn quoted(text: &str) -> String {
    const LONGEST: usize = 80;
    let plain = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut short: String = text.chars().take(LONGEST).map(plain).collect();
    if text.chars().nth(LONGEST).is_some() {
        short.push('…');
    }
    format!("`{short}`")
}

#[cfg(test)]
mod tests;
