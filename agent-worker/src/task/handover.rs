//! How a worker that drains gives its running tasks to others.
//!
//! # Invariants
//! - A task is given only to whom the routers' view names for its slot, and only after the store says
//!   that it is free: whoever takes it, it is taken once.
//! - Streams of a task that was given away break, and waiting callers are told where it went.

use std::{sync::Arc, time::Duration};

use mesh_proto::mesh::Slot;
use tokio::time::Instant;
use tracing::{info, warn};

use super::{
    ledger::Ledger,
    live::Live,
    problem::{elsewhere, moved},
};
use crate::{
    post::{self, HandOver, Handed},
    record::{self, Move},
};

/// How long before the end of the grace a turn is dropped in the middle of its step: time enough to
/// write the task and to tell the next owner.
const LAST_CALL: Duration = Duration::from_secs(2);

/// How often it is looked whether the turns are over.
const LOOK: Duration = Duration::from_millis(20);

impl Ledger {
    /// Waits for the running turns. Those that outlast `after` leave at their next boundary, and at last
    /// where they stand, so that all is done within `grace`. Where nobody could take them it returns at
    /// once, with the turns still running.
    pub async fn wind_down(&self, after: Duration, grace: Duration) {
        let begun = Instant::now();
        if !self.has_heirs() || self.is_idle_by(begun + after.min(grace)).await {
            return;
        }
        info!(
            tasks = self.load().in_flight,
            "turns are handed over at their next step"
        );
        for live in self.moving() {
            live.lock().leaving = true;
        }
        let last = begun + grace.saturating_sub(LAST_CALL).max(after.min(grace));
        if self.is_idle_by(last).await {
            return;
        }
        for live in self.moving() {
            live.leave_now();
        }
        self.is_idle_by(begun + grace).await;
    }

    async fn is_idle_by(&self, deadline: Instant) -> bool {
        while self.load().in_flight > 0 {
            if Instant::now() >= deadline {
                return false;
            }
            tokio::time::sleep(LOOK).await;
        }
        true
    }

    /// Whether there is anybody to take any of the tasks.
    fn has_heirs(&self) -> bool {
        self.records().is_durable() && self.moving().iter().any(|live| self.heir(live).is_some())
    }

    /// Who has the slot of a task when we are gone: its boot and its address.
    fn heir(&self, live: &Live) -> Option<(String, String)> {
        let seen = self.membership().views.now();
        let slot = live.lock().custody.slot.unwrap_or(Slot(0));
        let heir = seen.owner_but(live.key.scope.agent.as_str(), slot, self.boot())?;
        Some((heir.boot.clone(), heir.url.clone()))
    }

    /// Gives a task away, whose turn has stopped.
    pub(super) async fn hand_over(&self, live: &Arc<Live>) {
        if live.lock().gone.is_some() {
            return;
        }
        let (mut record, etag) = live.record();
        record.custody.released = true;
        record.custody.fence += 1;
        let written = self
            .records()
            .write(Move::of(&live.key, &record, etag))
            .await;
        match written {
            Ok(etag) => {
                let mut cell = live.lock();
                cell.custody = record.custody;
                cell.etag = Some(etag);
            }
            Err(record::Error::Taken) => return self.lose(live).await,
            Err(error) => {
                warn!(%error, task = %live.key.id, "a task could not be given away");
                return self.let_go(live, &elsewhere());
            }
        }
        let heir = self.heir(live);
        let told = match &heir {
            Some((boot, url)) => {
                let given = HandOver {
                    agent: live.key.scope.agent.to_string(),
                    tasks: vec![Handed::from(&live.key)],
                };
                let told = post::hand_over(url, &given).await;
                if let Err(error) = &told {
                    warn!(error, url, task = %live.key.id, "the next owner was not told");
                }
                told.ok().map(|()| boot.as_str())
            }
            None => None,
        };
        if told.is_some() {
            self.membership().counts.handed_over.inc();
        }
        self.let_go(live, &moved(told.unwrap_or_default()));
    }
}
