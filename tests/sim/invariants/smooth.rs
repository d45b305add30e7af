//! A drain cuts nothing, and neither does a member that leaves the roster: where nothing worse happens,
//! every call succeeds.
//!
//! Source: issue 5, Build 5 and "Rolling drain ...: 0 client-visible errors"; craft.md 5.3.

use std::{collections::BTreeMap, time::Duration};

use super::Invariant;
use crate::{
    history::{Entry, What},
    plan::Act,
};

/// How long after a worse fault, or its end, calls may still fail of it: the lease of a lost worker, and
/// the connections that are found to be dead.
const AFTER: Duration = Duration::from_secs(20);

#[derive(Default)]
pub(crate) struct Smooth {
    /// When calls began that must succeed.
    began: BTreeMap<u64, Duration>,
    /// Until when calls may fail.
    rough: Duration,
}

impl Invariant for Smooth {
    fn name(&self) -> &'static str {
        "a drain is not seen by clients"
    }

    fn look(&mut self, entry: &Entry) -> Result<(), String> {
        match &entry.what {
            What::Fault(Act::Drain { .. } | Act::Start { .. } | Act::Tell { .. }) => Ok(()),
            What::Fault(_) => {
                self.rough = entry.at + AFTER;
                self.began.clear();
                Ok(())
            }
            What::Asked { call, .. } if entry.at > self.rough => {
                self.began.insert(*call, entry.at);
                Ok(())
            }
            What::Ended { call, outcome } => {
                let smooth = self.began.remove(call).is_some();
                match outcome {
                    Err(failure) if smooth => Err(format!("call {call} failed: {failure:?}")),
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }
}
