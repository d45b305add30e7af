//! Ids in the request line of HTTP+JSON: the task in the path, a list's conversation in the query.
//!
//! # Invariants
//! - The path is read by the very rules that route it; every other byte of it stays as it came.

use http::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::IdMap;
use crate::{operation::Operation, rest};

/// What may stand plainly in a segment or a value: the unreserved characters of RFC 3986.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Replaces the ids in path and query, those below the agent's base. `None` where nothing changes.
pub fn path(
    method: &Method,
    operation: Operation,
    path_and_query: &str,
    map: &mut impl IdMap,
) -> Option<String> {
    let (path, query) = match path_and_query.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path_and_query, None),
    };
    if operation != Operation::ListTasks {
        let span = rest::task_span(method, path)?;
        let id = percent_decode_str(path.get(span.clone())?)
            .decode_utf8()
            .ok()?;
        let new = map.task(&id).filter(|new| *new != id)?;
        let new = utf8_percent_encode(&new, ENCODED);
        let (head, tail) = (
            path_and_query.get(..span.start)?,
            path_and_query.get(span.end..)?,
        );
        return Some(format!("{head}{new}{tail}"));
    }
    let mut changed = false;
    let pairs = query?.split('&').map(|pair| {
        let (key, value) = pair.split_once('=')?;
        let plain = decode(key)?;
        if !matches!(plain.as_str(), "contextId" | "context_id") || value.is_empty() {
            return None;
        }
        let id = decode(value)?;
        let new = map.context(&id).filter(|new| *new != id)?;
        changed = true;
        Some(format!("{key}={}", utf8_percent_encode(&new, ENCODED)))
    });
    let rewritten: Vec<Option<String>> = pairs.collect();
    let pairs = query?.split('&').zip(&rewritten);
    let pairs: Vec<&str> = pairs
        .map(|(old, new)| new.as_deref().unwrap_or(old))
        .collect();
    changed.then(|| format!("{path}?{}", pairs.join("&")))
}

fn decode(text: &str) -> Option<String> {
    let text = text.replace('+', " ");
    percent_decode_str(&text)
        .decode_utf8()
        .ok()
        .map(std::borrow::Cow::into_owned)
}
