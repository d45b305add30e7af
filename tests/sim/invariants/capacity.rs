//! No worker thinks about more turns at once than it said that it would take, and what it adopted.
//!
//! Source: craft.md 5.3 ("no queue beyond its bound"); reliability-ecosystem.md A.2 (hard limit).

use std::collections::{HashMap, HashSet};

use super::Invariant;
use crate::{
    history::{Entry, What},
    plan::Act,
};

pub(crate) struct Capacity {
    of_worker: usize,
    /// Who thought about a task last; empty where that life is over.
    last: HashMap<String, String>,
    /// The tasks that a worker took over from others, or from a former life of its own.
    adopted: HashMap<String, HashSet<String>>,
}

impl Capacity {
    pub(crate) fn of(worker: usize) -> Self {
        Self {
            of_worker: worker,
            last: HashMap::new(),
            adopted: HashMap::new(),
        }
    }
}

impl Invariant for Capacity {
    fn name(&self) -> &'static str {
        "no worker runs more turns than its capacity"
    }

    fn look(&mut self, entry: &Entry) -> Result<(), String> {
        if let What::Fault(Act::Crash { worker } | Act::Start { worker }) = &entry.what {
            let over = format!("worker-{worker}");
            for last in self.last.values_mut().filter(|last| **last == over) {
                last.clear();
            }
        }
        let What::Step {
            worker, task, busy, ..
        } = &entry.what
        else {
            return Ok(());
        };
        let last = self.last.insert(task.clone(), worker.clone());
        if last.is_some_and(|last| last != *worker) {
            let adopted = self.adopted.entry(worker.clone()).or_default();
            adopted.insert(task.clone());
        }
        let adopted = self.adopted.get(worker).map_or(0, HashSet::len);
        if *busy > self.of_worker + adopted {
            return Err(format!(
                "{worker} thinks about {busy} turns, its capacity is {}, and it adopted {adopted}",
                self.of_worker
            ));
        }
        Ok(())
    }
}
