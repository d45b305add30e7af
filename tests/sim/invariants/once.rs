//! One message makes one task, and a task comes to one end and stays there.
//!
//! Source: issue 5, "Must show" (oracle run); routing-and-scale.md 2.7.

use std::collections::BTreeMap;

use super::Invariant;
use crate::history::{Entry, Seen, Token, What};

#[derive(Default)]
pub(crate) struct Once {
    tasks: BTreeMap<Token, String>,
    ends: BTreeMap<String, Seen>,
}

impl Invariant for Once {
    fn name(&self) -> &'static str {
        "one message, one task, one end"
    }

    fn look(&mut self, entry: &Entry) -> Result<(), String> {
        let What::Saw { token, task, .. } = &entry.what else {
            return Ok(());
        };
        let first = self
            .tasks
            .entry(token.clone())
            .or_insert_with(|| task.id.clone());
        if *first != task.id {
            return Err(format!("{token} made the tasks {first} and {}", task.id));
        }
        if let Some(end) = self.ends.get(&task.id)
            && end != task
        {
            return Err(format!("{token}: first {end:?}, then {task:?}"));
        }
        if task.is_terminal() {
            self.ends.insert(task.id.clone(), task.clone());
        }
        Ok(())
    }
}
