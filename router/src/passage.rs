//! What deciding found out about one call: where it may go, and the account to settle.
//!
//! # Invariants
//! - A passage holds endpoints, never the view: a stream of hours must not pin a table.
//! - An account is settled exactly once; one that is dropped unsettled was abandoned by its client.

use std::sync::Arc;

use mesh_core::{error::CallError, placement::Reason};
use mesh_proto::mesh::{Slot, ViewHash};
use tokio::time::Instant;

use crate::{
    admission::Ticket,
    call::{Ask, Outcome},
    catalogue::{Agent, Catalogue},
    journal::Entry,
    meter::CallMeter,
    upstream::Endpoint,
};

/// See the module.
#[derive(Debug)]
pub struct Passage {
    /// The agent called.
    pub agent: Arc<Agent>,
    /// Whom to try, in order.
    pub candidates: Vec<Candidate>,
    /// The call's slot, where it has one.
    pub slot: Option<Slot>,
    /// Why these candidates.
    pub reason: Reason,
    /// The view by which they were chosen.
    pub view: ViewHash,
    /// When the caller no longer waits, where it said so.
    pub deadline: Option<Instant>,
}

impl Passage {
    /// Decides where a call may go: one load of the snapshot, and no more of it than is needed kept.
    ///
    /// # Errors
    /// [`CallError`]: no such agent, a call beyond what its card promises, or none of its members to be had.
    pub fn decide(catalogue: &Catalogue, ask: &Ask, now: Instant) -> Result<Self, CallError> {
        let snapshot = catalogue.snapshot();
        let Some(agent) = snapshot.agent(ask.agent.as_str()) else {
            return Err(CallError::no_such_agent(ask.agent.as_str()));
        };
        if let Some(promise) = agent.promise() {
            promise.check(ask)?;
        }
        let facts = ask.keys.facts(&ask.agent, ask.operation);
        let (placement, order) = agent.place(catalogue.keys(), &facts, now)?;
        let members = order.iter().enumerate();
        let candidates = members.filter_map(|(position, member)| {
            let endpoint = Arc::clone(agent.endpoints.get(usize::from(*member))?);
            Some(Candidate {
                endpoint,
                orphan: placement.is_orphan_at(position),
            })
        });
        Ok(Self {
            agent: Arc::clone(agent),
            candidates: candidates.collect(),
            slot: placement.slot,
            reason: placement.reason,
            view: snapshot.view(),
            deadline: None,
        })
    }
}

impl Passage {
    /// The same for a caller who waits no longer than this.
    #[must_use]
    pub const fn until(mut self, deadline: Option<Instant>) -> Self {
        self.deadline = deadline;
        self
    }
}

/// One endpoint that may take the call.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The replica.
    pub endpoint: Arc<Endpoint>,
    /// Whether it would take over a task whose worker is gone.
    pub orphan: bool,
}

/// The books of one call.
#[derive(Debug)]
pub struct Account {
    meter: CallMeter,
    entry: Option<Box<Entry>>,
    started: Instant,
    settled: bool,
    _ticket: Ticket,
}

impl Account {
    /// Opens the books.
    #[must_use]
    pub fn open(meter: CallMeter, ticket: Ticket, now: Instant) -> Self {
        meter.begin();
        Self {
            meter,
            entry: None,
            started: now,
            settled: false,
            _ticket: ticket,
        }
    }

    /// The same with a record of the call, where one is wanted.
    #[must_use]
    pub fn recorded(mut self, entry: Option<Box<Entry>>) -> Self {
        self.entry = entry;
        self
    }

    /// Notes that the answer's head is there; whose it is, and its status, where it is one member's.
    pub fn answered(&mut self, by: Option<(&str, u16)>, now: Instant) {
        self.meter.head(now.saturating_duration_since(self.started));
        let seconds = self.seconds(now);
        if let Some(entry) = &mut self.entry {
            entry.answered(by, seconds);
        }
    }

    /// Seconds since the call came.
    #[must_use]
    pub fn seconds(&self, now: Instant) -> f64 {
        now.saturating_duration_since(self.started).as_secs_f64()
    }

    /// Closes the books; the first outcome counts.
    pub fn settle(&mut self, outcome: Outcome) {
        if !self.settled {
            self.settled = true;
            self.meter.end(outcome);
            if let Some(entry) = self.entry.take() {
                entry.close(outcome, self.seconds(Instant::now()));
            }
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.settle(Outcome::Abandoned);
    }
}
