//! A conversation holds each of its messages once, whichever workers had it.
//!
//! A turn that ends while the store is down is answered, and written later by the worker that ran it: if
//! that dies first, what was said then is lost to the turns that follow, which is better than no answer.
//!
//! Source: issue 5, Build 8 (checkpoints, adoption); architecture.md ("affinity is an optimisation, the
//! store is correctness").

use std::collections::{BTreeMap, BTreeSet};

use super::Invariant;
use crate::{
    history::{Entry, Token, What},
    plan::Act,
};

#[derive(Default)]
pub(crate) struct Conversation {
    /// What was said in each conversation.
    said: BTreeMap<String, BTreeSet<Token>>,
    /// Those of which something may never have been written.
    unwritten: BTreeSet<String>,
    is_store_down: bool,
}

impl Conversation {
    /// `c1-2` of `c1-2-0` and `c1-2-0-more`.
    fn of(token: &str) -> String {
        token.split('-').take(2).collect::<Vec<_>>().join("-")
    }
}

impl Invariant for Conversation {
    fn name(&self) -> &'static str {
        "a conversation holds each message once"
    }

    fn look(&mut self, entry: &Entry) -> Result<(), String> {
        match &entry.what {
            What::Doubled { task, text } => Err(format!("{task} was shown {text:?} twice")),
            What::Fault(Act::StoreDown) => {
                self.is_store_down = true;
                self.unwritten.extend(self.said.keys().cloned());
                Ok(())
            }
            What::Fault(Act::StoreUp) => {
                self.is_store_down = false;
                Ok(())
            }
            What::Asked { token, how, .. } if *how != "look" => {
                if self.is_store_down {
                    self.unwritten.insert(Self::of(token));
                }
                let said = self.said.entry(Self::of(token)).or_default();
                said.insert(token.clone());
                Ok(())
            }
            What::Settled { token, task } if task.state.ends_with("COMPLETED") => {
                let said = self.said.get(&Self::of(token)).map_or(0, BTreeSet::len);
                let known = task.text.rsplit_once("users=");
                let known = known.and_then(|(_, number)| number.parse::<usize>().ok());
                let may_lack = self.unwritten.contains(&Self::of(token));
                if known.is_some_and(|known| known == said || (may_lack && known < said)) {
                    return Ok(());
                }
                Err(format!(
                    "{token}: {said} were said, and the answer is {:?}",
                    task.text
                ))
            }
            _ => Ok(()),
        }
    }
}
