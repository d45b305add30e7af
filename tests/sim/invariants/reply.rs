//! Every call gets exactly one end, and no call outlives its deadline.
//!
//! Source: reliability-ecosystem.md A.1 (P1), craft.md 5.3.

use std::{collections::BTreeMap, time::Duration};

use super::Invariant;
use crate::history::{Entry, What};

/// What a call may take beyond its deadline: two ways through the slowest network, and a tick each.
const SLACK: Duration = Duration::from_millis(200);

#[derive(Default)]
pub(crate) struct Reply {
    /// Calls that have no end yet, and the latest time for it.
    open: BTreeMap<u64, Duration>,
    calls: u64,
}

impl Invariant for Reply {
    fn name(&self) -> &'static str {
        "every call ends once, by its deadline"
    }

    fn look(&mut self, entry: &Entry) -> Result<(), String> {
        match &entry.what {
            What::Asked { call, deadline, .. } => {
                self.calls += 1;
                let twice = self.open.insert(*call, entry.at + *deadline + SLACK);
                twice.map_or(Ok(()), |_| Err(format!("call {call} began twice")))
            }
            What::Ended { call, .. } => {
                let Some(until) = self.open.remove(call) else {
                    return Err(format!("call {call} ended twice"));
                };
                if entry.at > until {
                    return Err(format!(
                        "call {call} ended at {:?}, after {until:?}",
                        entry.at
                    ));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn end(&mut self) -> Result<(), String> {
        if self.calls == 0 {
            return Err("nobody called".to_owned());
        }
        Ok(())
    }
}
