//! Keeps a worker's lease, and looks after the tasks of those that have lost theirs.
//!
//! # Invariants
//! - One lease per worker: what it costs does not grow with its tasks.
//! - A worker that finds its own lease run out first learns which of its tasks are another's now.
//! - Nothing is adopted while the store does not answer.

use std::time::Duration;

use mesh_fabric::state::Etag;
use mesh_runtime::drain::Drain;
use tokio::time::Instant;
use tracing::{info, warn};

use super::ledger::Ledger;
use crate::record;

/// How often it is noted that the process runs.
const BEAT: Duration = Duration::from_millis(250);

/// How soon a sweep that failed is tried again.
const AGAIN: Duration = Duration::from_millis(250);

impl Ledger {
    /// Renews the lease until `stop` is signaled, and gives it back then: by that time the turns are
    /// over or cut.
    ///
    /// # Errors
    /// [`record::Error`] when the first lease cannot be had.
    pub async fn hold_lease(&self, ttl: Duration, stop: &Drain) -> Result<(), record::Error> {
        let held = self.records().renew(self.boot(), ttl, None).await?;
        let (ledger, stopping) = (self.clone(), stop.clone());
        stop.spawn("lease", async move {
            ledger.keep_lease(ttl, held, stopping).await;
        });
        let (ledger, stopping) = (self.clone(), stop.clone());
        stop.spawn("pulse", async move {
            tokio::select! {
                () = ledger.feel_the_pulse(ttl / 3) => {}
                () = stopping.signaled() => {}
            }
        });
        let (ledger, stopping) = (self.clone(), stop.clone());
        stop.spawn("sweep", async move {
            tokio::select! {
                () = ledger.look_after(ttl / 3) => {}
                () = stopping.signaled() => {}
            }
        });
        Ok(())
    }

    async fn keep_lease(self, ttl: Duration, first: Etag, stop: Drain) {
        let mut held = Some(first);
        let mut next = Instant::now() + ttl / 3;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(next) => {}
                () = stop.signaled() => break,
            }
            next = Instant::now() + ttl / 3;
            let renewal = self.records().renew(self.boot(), ttl, held);
            match tokio::time::timeout(ttl / 3, renewal).await {
                Ok(Ok(etag)) => {
                    held = Some(etag);
                    if self.membership().set_down(false) {
                        info!("the store answers again");
                    }
                    // A router that could not reach this worker may have had tasks adopted all the same.
                    self.recheck_within(ttl / 3).await;
                    // Also what failed between two renewals that did not.
                    if self.membership().is_waited_for() {
                        self.catch_up().await;
                    }
                }
                Ok(Err(record::Error::Taken)) => {
                    warn!("the lease had run out; others may have taken tasks");
                    self.membership().counts.lapses.inc();
                    held = None;
                    next = Instant::now();
                    self.recheck_within(ttl / 3).await;
                }
                failed => {
                    if self.membership().set_down(true) {
                        let error = failed.ok().and_then(Result::err);
                        warn!(?error, "the store does not answer; running tasks go on");
                    }
                }
            }
        }
        // What was cut stands in the index, for others to find at once.
        let left = self.records().owned(self.boot(), None).await;
        let done = left.is_ok_and(|(owned, _)| owned.is_empty());
        if let Err(error) = self.records().release(self.boot(), done).await {
            warn!(%error, "the lease could not be given back and runs out by itself");
        }
    }

    /// Notes again and again that this process runs. After a time in which it did not, it learns first
    /// which of its tasks are another's now; until then each call about one asks the store.
    async fn feel_the_pulse(&self, patience: Duration) {
        loop {
            if self.membership().stood_still(Instant::now()) {
                warn!("this process stood still; others may have taken tasks");
                self.recheck_within(patience).await;
            }
            self.membership().beat(Instant::now());
            tokio::time::sleep(BEAT).await;
        }
    }

    async fn recheck_within(&self, patience: Duration) {
        let all = tokio::time::timeout(patience, self.recheck());
        if all.await.is_err() {
            warn!("the store was too slow to say whose the running tasks are");
        }
    }

    /// Sweeps what lost lives have left: at each view, and as often as leases are renewed.
    async fn look_after(&self, every: Duration) {
        let mut views = self.membership().views.subscribe();
        loop {
            views.mark_unchanged();
            let pause = if self.membership().is_down() {
                every
            } else {
                match self.look_once().await {
                    Ok(()) => every,
                    Err(error) => {
                        warn!(%error, "cannot look after the tasks of others");
                        AGAIN
                    }
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                changed = views.changed() => if changed.is_err() {
                    return;
                },
            }
        }
    }

    pub(super) async fn look_once(&self) -> Result<(), record::Error> {
        for boot in self.records().workers().await? {
            if boot == self.boot() {
                continue;
            }
            let lives = self.records().lives(&boot).await?;
            if lives && !self.membership().views.now().is_gone(&boot) {
                continue;
            }
            let left = self.sweep(&boot).await?;
            if !left && !lives {
                self.records().release(&boot, true).await?;
            }
        }
        Ok(())
    }
}
