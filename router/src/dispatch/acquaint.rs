//! Waiting for a worker that this router has still to learn of.
//!
//! # Invariants
//! - Bounded by the pauses of a call's tries and by [`FIRST_LOOK`], and by the caller's deadline.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{Dispatch, retry::Tries};
use crate::{
    call::Ask,
    passage::{Candidate, Passage},
    upstream::Endpoint,
};

/// How often a call that waits looks whether it still has to.
const EVERY: Duration = Duration::from_millis(20);

/// How long new work waits for a member that nobody has looked at yet: a worker of ours that is taken for
/// somebody else's is not told the route to put in front of its ids, and they name no place then.
const FIRST_LOOK: Duration = Duration::from_secs(1);

/// Waits until a scout has been at an endpoint, where none has.
pub(super) async fn with(endpoint: &Endpoint, deadline: Option<Instant>) {
    let until = Instant::now() + FIRST_LOOK;
    let until = deadline.map_or(until, |deadline| until.min(deadline));
    while !endpoint.is_looked_at() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(EVERY)).await;
    }
}

impl Dispatch {
    /// The worker that a refusal names, which this router may learn of only now: as long as the tries of
    /// the call and its deadline let it wait.
    pub(super) async fn owner(
        &self,
        ask: &Ask,
        passage: &Passage,
        boot: &str,
        tries: &Tries<'_>,
    ) -> Option<Candidate> {
        let known = || {
            let snapshot = self.catalogue.snapshot();
            let endpoint = Arc::clone(snapshot.agent(ask.agent.as_str())?.living(boot)?);
            Some(Candidate {
                endpoint,
                orphan: false,
            })
        };
        let mut owner = known();
        let until = Instant::now() + tries.pause(owner.is_some());
        let until = passage
            .deadline
            .map_or(until, |deadline| until.min(deadline));
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return owner;
            }
            tokio::time::sleep(left.min(EVERY)).await;
            let was_unknown = owner.is_none();
            owner = known();
            if was_unknown && owner.is_some() {
                return owner;
            }
        }
    }
}
