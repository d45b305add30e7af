//! A tool that is called again for the same step is called with the same idempotency key, and no two
//! steps share one.
//!
//! Source: routing-and-scale.md 2.7 (tool calls are at least once); issue 5, "Must show".

use std::collections::BTreeMap;

use super::Invariant;
use crate::history::{Entry, Token, What};

#[derive(Default)]
pub(crate) struct Keys {
    keys: BTreeMap<(Token, usize), String>,
    steps: BTreeMap<String, (Token, usize)>,
}

impl Invariant for Keys {
    fn name(&self) -> &'static str {
        "a repeated tool call carries the same key"
    }

    fn look(&mut self, entry: &Entry) -> Result<(), String> {
        let What::Tool {
            key, token, step, ..
        } = &entry.what
        else {
            return Ok(());
        };
        let Some(key) = key else {
            return Err(format!("step {step} of {token} has no key"));
        };
        let place = (token.clone(), *step);
        let first = self
            .keys
            .entry(place.clone())
            .or_insert_with(|| key.clone());
        if first != key {
            return Err(format!(
                "step {step} of {token} has the keys {first} and {key}"
            ));
        }
        let other = self
            .steps
            .entry(key.clone())
            .or_insert_with(|| place.clone());
        if *other != place {
            return Err(format!("{place:?} and {other:?} share the key {key}"));
        }
        Ok(())
    }
}
