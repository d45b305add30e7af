//! The one way to write a card that everybody agrees on, so that a signature over it can be checked:
//! specification 8.4.1 over RFC 8785 (JCS).
//!
//! Not everybody agrees. The specification keeps REQUIRED fields that are empty; the Python and
//! JavaScript SDKs drop whatever is empty; before 1.0 nothing was said, and cards were signed as they
//! stood. Each is a [`Form`]. What is signed here is what the SDKs verify, and what is verified here
//! is any of them, since each is a card's author saying the same thing about the same card.
//!
//! A form of 1.0 holds the fields of the 1.0 message and no others: fields of 0.3, of later versions
//! and of the agent's own are not covered by the signature. [`uncovered`] names them, since whoever
//! changes a card on its way may change those.
//!
//! # Invariants
//! - A payload never holds `signatures`, so that adding one leaves the others valid.
//! - Nothing that [`uncovered`] leaves out differs between the card and the payload, but for fields
//!   that are empty and missing in the payload.

use mesh_proto::a2a::AgentCard;
use serde_json::{Map, Value};

/// What of a card is signed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Form {
    /// The 1.0 message without anything that is empty: what the SDKs for Python and JavaScript sign.
    Compact,
    /// The 1.0 message with REQUIRED fields and those explicitly set kept although empty:
    /// specification 8.4.1 to the letter.
    Explicit,
    /// The 0.3 document without what is empty or the default of 0.3: what the SDK for Python 0.3
    /// signs.
    Legacy,
    /// The document as it stands, every field of it.
    Whole,
}

impl Form {
    /// All of them, in the order in which a signature is tried.
    pub const ALL: [Self; 4] = [Self::Compact, Self::Explicit, Self::Legacy, Self::Whole];

    /// A word for people and logs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Compact => "compact",
            Self::Explicit => "explicit",
            Self::Legacy => "legacy",
            Self::Whole => "whole",
        }
    }

    /// In which form a card is signed here: its version's own.
    #[must_use]
    pub fn for_signing(card: &[u8]) -> Self {
        let is_1_0 = document(card).is_ok_and(|fields| fields.contains_key("supportedInterfaces"));
        if is_1_0 { Self::Compact } else { Self::Legacy }
    }
}

/// Why a card has no canonical form.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CanonicalError {
    /// It is not JSON, or not an object.
    #[error("the card is not a JSON object")]
    NotAnObject,
    /// A field is not what the 1.0 message says it is.
    #[error("the card does not fit the 1.0 message: {0}")]
    NotTheMessage(String),
}

/// The bytes that a signature over this card is about.
///
/// # Errors
/// [`CanonicalError`] when the card has no such form.
pub fn payload(card: &[u8], form: Form) -> Result<Vec<u8>, CanonicalError> {
    let fields = match form {
        Form::Compact => without_empty(message(card)?),
        Form::Explicit => message(card)?,
        Form::Legacy => without_empty(without_defaults(document(card)?)),
        Form::Whole => document(card)?,
    };
    Ok(canonical(&fields))
}

/// The JSON pointers of what a card says beyond a payload, in the order of the document; at most
/// [`MOST_UNCOVERED`] of them.
#[must_use]
pub fn uncovered(card: &[u8], payload: &[u8]) -> Vec<String> {
    let (Ok(fields), Ok(covered)) = (document(card), serde_json::from_slice::<Value>(payload))
    else {
        return Vec::new();
    };
    let mut found = Vec::new();
    compare(&Value::Object(fields), Some(&covered), "", &mut found);
    found
}

/// How many uncovered fields are named; a card may bring any number along.
pub const MOST_UNCOVERED: usize = 64;

/// The card's own fields without its signatures.
pub(crate) fn document(card: &[u8]) -> Result<Map<String, Value>, CanonicalError> {
    match serde_json::from_slice(card) {
        Ok(Value::Object(mut fields)) => {
            fields.remove("signatures");
            Ok(fields)
        }
        Ok(_) | Err(_) => Err(CanonicalError::NotAnObject),
    }
}

/// The fields that the 1.0 message has, by its presence rules.
fn message(card: &[u8]) -> Result<Map<String, Value>, CanonicalError> {
    let not_the_message = |error: &serde_json::Error| match error.classify() {
        serde_json::error::Category::Data => CanonicalError::NotTheMessage(error.to_string()),
        serde_json::error::Category::Syntax
        | serde_json::error::Category::Eof
        | serde_json::error::Category::Io => CanonicalError::NotAnObject,
    };
    let mut message: AgentCard =
        serde_json::from_slice(card).map_err(|error| not_the_message(&error))?;
    message.signatures.clear();
    match serde_json::to_value(&message) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(CanonicalError::NotAnObject),
        Err(error) => Err(not_the_message(&error)),
    }
}

/// RFC 8785. A map of JSON values always has that form: its keys are strings, and no number in it is
/// infinite.
fn canonical(fields: &Map<String, Value>) -> Vec<u8> {
    serde_json_canonicalizer::to_vec(fields).unwrap_or_default()
}

/// Drops empty strings, lists, objects and nulls from the inside out, in extension parameters too.
fn without_empty(fields: Map<String, Value>) -> Map<String, Value> {
    fields
        .into_iter()
        .filter_map(|(name, value)| Some((name, filled(value)?)))
        .collect()
}

fn filled(value: Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::String(text) => (!text.is_empty()).then_some(Value::String(text)),
        Value::Array(list) => {
            let list: Vec<_> = list.into_iter().filter_map(filled).collect();
            (!list.is_empty()).then_some(Value::Array(list))
        }
        Value::Object(fields) => {
            let fields = without_empty(fields);
            (!fields.is_empty()).then_some(Value::Object(fields))
        }
        Value::Bool(_) | Value::Number(_) => Some(value),
    }
}

/// Drops what the models of the Python SDK 0.3 leave out as their defaults.
fn without_defaults(mut fields: Map<String, Value>) -> Map<String, Value> {
    for (name, default) in [
        ("preferredTransport", "JSONRPC"),
        ("protocolVersion", "0.3.0"),
    ] {
        if fields.get(name).is_some_and(|value| value == default) {
            fields.remove(name);
        }
    }
    let schemes = fields
        .get_mut("securitySchemes")
        .and_then(Value::as_object_mut);
    for scheme in schemes.into_iter().flat_map(Map::values_mut) {
        if let Some(scheme) = scheme.as_object_mut() {
            scheme.remove("type");
        }
    }
    fields
}

fn compare(said: &Value, covered: Option<&Value>, pointer: &str, found: &mut Vec<String>) {
    if found.len() >= MOST_UNCOVERED {
        return;
    }
    match (said, covered) {
        (Value::Object(fields), Some(Value::Object(covered))) => {
            for (name, value) in fields {
                let name_in_pointer = name.replace('~', "~0").replace('/', "~1");
                let pointer = format!("{pointer}/{name_in_pointer}");
                compare(value, covered.get(name), &pointer, found);
            }
        }
        (Value::Array(list), Some(Value::Array(covered))) if list.len() == covered.len() => {
            for (index, (value, covered)) in list.iter().zip(covered).enumerate() {
                compare(value, Some(covered), &format!("{pointer}/{index}"), found);
            }
        }
        (said, Some(covered)) if same(said, covered) => {}
        (said, None) if says_nothing(said) => {}
        _ => found.push(pointer.to_owned()),
    }
}

/// Whether two scalars are the same; numbers by their value, since JCS may write them another way.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        (Value::Array(_) | Value::Object(_), _) => {
            one == other || (says_nothing(one) && says_nothing(other))
        }
        _ => one == other,
    }
}

/// Whether a value is what a missing field means.
fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.iter().all(says_nothing),
        Value::Object(fields) => fields.values().all(says_nothing),
    }
}

#[cfg(test)]
mod tests;
