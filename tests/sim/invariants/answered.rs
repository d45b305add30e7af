//! Once the faults are over every message is answered, and with its own answer.
//!
//! Source: craft.md 5.3 ("with faults off all calls succeed within T"); issue 5, "no acknowledged task
//! lost".

use std::collections::BTreeSet;

use super::Invariant;
use crate::history::{Entry, Token, What};

#[derive(Default)]
pub(crate) struct Answered {
    open: BTreeSet<Token>,
    answers: usize,
}

impl Invariant for Answered {
    fn name(&self) -> &'static str {
        "every message is answered"
    }

    fn look(&mut self, entry: &Entry) -> Result<(), String> {
        match &entry.what {
            What::Asked { token, how, .. } if *how != "look" => {
                self.open.insert(token.clone());
                Ok(())
            }
            What::GivenUp { token } => Err(format!("{token} was given up: its task is not found")),
            What::Settled { token, task } => {
                self.open.remove(token);
                self.answers += 1;
                if task.state.ends_with("INPUT_REQUIRED") {
                    return Ok(());
                }
                let words = format!("{token} is done, users=");
                let right = task.state.ends_with("COMPLETED") && task.text.contains(&words);
                right
                    .then_some(())
                    .ok_or_else(|| format!("{token} was answered with {task:?}"))
            }
            _ => Ok(()),
        }
    }

    fn end(&mut self) -> Result<(), String> {
        if !self.open.is_empty() {
            return Err(format!("no answer to {:?}", self.open));
        }
        (self.answers > 0)
            .then_some(())
            .ok_or_else(|| "nobody was answered".to_owned())
    }
}
