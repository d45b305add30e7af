//! A stream begins with the task as it is, and then tells each event once and in order: what its reader
//! puts together is the answer, whole.
//!
//! Source: craft.md 5.3; routing-and-scale.md 2.6 (a splice replaces, and no second task comes).

use std::collections::BTreeMap;

use super::Invariant;
use crate::history::{Entry, Event, Token, What, is_end};

#[derive(Default)]
pub(crate) struct Stream {
    open: BTreeMap<u64, Reader>,
}

/// What a reader of one stream has.
#[derive(Default)]
struct Reader {
    events: usize,
    text: String,
    /// Whether the artifact is whole.
    whole: bool,
    end: Option<String>,
}

impl Reader {
    fn read(&mut self, token: &Token, event: &Event) -> Result<(), String> {
        if let Some(end) = &self.end {
            return Err(format!("{event:?} after {end}"));
        }
        self.events += 1;
        match event {
            Event::Task { state, text } => {
                if self.events > 1 {
                    return Err("a second task in one stream".to_owned());
                }
                self.text.clone_from(text);
                self.ended(token, state)
            }
            Event::Status { state } => self.ended(token, state),
            Event::Artifact { text, append, last } => {
                if *append && self.whole {
                    return Err(format!("{text:?} goes on after the last piece"));
                }
                if !append {
                    self.text.clear();
                }
                self.whole = *last;
                self.text.push_str(text);
                Ok(())
            }
            Event::Other => Err("an event of no known kind".to_owned()),
        }?;
        if self.events == 1 && !matches!(event, Event::Task { .. }) {
            return Err(format!("it begins with {event:?}"));
        }
        Ok(())
    }

    fn ended(&mut self, token: &Token, state: &str) -> Result<(), String> {
        if !is_end(state) {
            return Ok(());
        }
        self.end = Some(state.to_owned());
        let begin = format!("{token} is done, users=");
        let rest = self.text.strip_prefix(&begin).map(str::parse::<u32>);
        if state.ends_with("COMPLETED") && !matches!(rest, Some(Ok(_))) {
            return Err(format!("complete, and its reader has {:?}", self.text));
        }
        Ok(())
    }
}

impl Invariant for Stream {
    fn name(&self) -> &'static str {
        "a stream tells each event once and in order"
    }

    fn look(&mut self, entry: &Entry) -> Result<(), String> {
        match &entry.what {
            What::Event { call, token, event } => {
                let reader = self.open.entry(*call).or_default();
                let read = reader.read(token, event);
                read.map_err(|broken| format!("call {call}, {token}: {broken}"))
            }
            What::Ended { call, .. } => {
                self.open.remove(call);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
