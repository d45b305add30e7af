//! All tasks of a worker: those in memory, and the way to those in the store.
//!
//! # Invariants
//! - A task is in memory at most once, and only while it is moved on, watched or not yet saved.
//! - Who moves a task on holds it in two ways: in this process by `mover`, among processes by the etag.
//! - No more turns are begun than [`Limits::capacity`]; one more is refused, not queued, so that a router
//!   can take it elsewhere. What is adopted comes on top of that: at most what a lost worker had.

mod ask;
mod begin;
mod custody;
mod hooks;
mod words;

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use mesh_fabric::state::{self, Etag};
use mesh_proto::{
    Problem,
    a2a::{self, stream_response::Payload},
    mesh::{self, Load, WorkerReport, WorkerState},
};
use mesh_runtime::drain::Drain;
use parking_lot::Mutex;
use tokio::{sync::watch, time::Instant};
use tracing::warn;

use super::{
    document::Task, live::Live, metrics::Metrics, problem::unavailable, shelf::Shelf,
    survival::Membership,
};
use crate::{
    notify::Notifier,
    record::{self, Custody, Move, Record, Records, Scope, Taken, TaskKey},
    session::Item,
};

/// How much a worker takes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Turns at once. Default 1024.
    pub capacity: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { capacity: 1024 }
    }
}

/// All tasks of a worker. Clones are the same ledger.
#[derive(Clone, Debug)]
pub struct Ledger(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    live: Mutex<HashMap<TaskKey, Arc<Live>>>,
    /// What was told of tasks that are in memory no more.
    shelf: Mutex<Shelf>,
    records: Records,
    membership: Membership,
    limits: Limits,
    metrics: Metrics,
    drain: Drain,
    in_flight: AtomicU32,
    state: watch::Sender<WorkerState>,
    notifier: OnceLock<Notifier>,
}

impl Ledger {
    /// A ledger over a store that nobody shares. Turns run in the drain.
    #[must_use]
    pub fn new(records: Records, limits: Limits, metrics: Metrics, drain: Drain) -> Self {
        Self::among(Membership::default(), records, limits, metrics, drain)
    }

    /// A ledger of one of the workers that share a store. Turns run in the drain.
    #[must_use]
    pub fn among(
        membership: Membership,
        records: Records,
        limits: Limits,
        metrics: Metrics,
        drain: Drain,
    ) -> Self {
        Self(Arc::new(Inner {
            live: Mutex::default(),
            shelf: Mutex::default(),
            records,
            membership,
            limits,
            metrics,
            drain,
            in_flight: AtomicU32::new(0),
            state: watch::Sender::new(WorkerState::Active),
            notifier: OnceLock::new(),
        }))
    }

    /// The tasks of a scope whose turn runs here, as they are now.
    #[must_use]
    pub fn running(&self, scope: &Scope) -> Vec<a2a::Task> {
        let live: Vec<_> = {
            let all = self.0.live.lock();
            let mine = all.values().filter(|live| live.key.scope == *scope);
            mine.cloned().collect()
        };
        let task = |live: &Arc<Live>| {
            let cell = live.lock();
            (cell.mover.is_some() || !cell.saved).then(|| cell.task.body().clone())
        };
        live.iter().filter_map(task).collect()
    }

    /// The store's side.
    #[must_use]
    pub fn records(&self) -> &Records {
        &self.0.records
    }

    /// What the worker says of itself; the agents and the boot are for the caller to add.
    #[must_use]
    pub fn report(&self) -> WorkerReport {
        let Load {
            in_flight,
            capacity,
            state,
        } = self.load();
        WorkerReport {
            state,
            in_flight,
            capacity,
            ..WorkerReport::default()
        }
    }

    /// How busy the worker is.
    #[must_use]
    pub fn load(&self) -> Load {
        Load {
            in_flight: self.0.in_flight.load(Ordering::Relaxed),
            capacity: self.0.limits.capacity,
            state: *self.0.state.borrow(),
        }
    }

    /// Whether the worker takes new work, and each change of that.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<WorkerState> {
        self.0.state.subscribe()
    }

    /// Whether new work is refused.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        *self.0.state.borrow() == WorkerState::Draining
    }

    /// Takes no new work from now on, and ends the streams of those who watch tasks at rest: they
    /// could wait longer than the process lives.
    pub fn drain(&self) {
        self.0.state.send_replace(WorkerState::Draining);
        let all: Vec<_> = self.0.live.lock().values().cloned().collect();
        for live in all {
            live.dismiss();
        }
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Lets go of a task that nobody needs in memory.
    pub(super) fn retire(&self, live: &Arc<Live>) {
        let mut all = self.0.live.lock();
        let same = all
            .get(&live.key)
            .is_some_and(|held| Arc::ptr_eq(held, live));
        if same {
            let mut cell = live.lock();
            if !cell.is_wanted() {
                all.remove(&live.key);
                let ring = cell.ring.take();
                if let Some(etag) = cell.etag.filter(|_| ring.bytes() > 0) {
                    let mut shelf = self.0.shelf.lock();
                    shelf.put(live.key.clone(), ring, etag, Instant::now());
                }
            }
        }
    }

    pub(super) fn membership(&self) -> &Membership {
        &self.0.membership
    }

    pub(super) fn boot(&self) -> &str {
        &self.0.membership.boot
    }

    /// Writes a step of a task, unless the store was last seen not to answer: then nobody waits for it
    /// again before the lease could be renewed.
    async fn write(&self, step: Move<'_>) -> Result<Etag, record::Error> {
        self.write_with(step, Patience::AsTold).await
    }

    async fn write_with(&self, step: Move<'_>, patience: Patience) -> Result<Etag, record::Error> {
        if patience == Patience::AsTold && self.membership().is_down() {
            return Err(record::Error::Store(state::Error::Closed));
        }
        let written = self.records().write(step).await;
        if let Err(record::Error::Store(error @ state::Error::Unavailable(_))) = &written
            && self.membership().set_down(true)
        {
            warn!(%error, "the store does not answer; running tasks go on");
        }
        written
    }

    /// Saves what a task has become, then shows it. Used by whoever holds the task.
    pub(super) async fn advance(
        &self,
        live: &Live,
        step: Step<'_>,
        change: impl FnOnce(&mut Task, &mut Custody) -> Option<Payload>,
    ) -> Result<(), record::Error> {
        let (mut task, mut custody, etag) = {
            let cell = live.lock();
            (cell.task.clone(), cell.custody.clone(), cell.etag)
        };
        let left = std::mem::take(&mut custody.owner);
        let Some(payload) = change(&mut task, &mut custody) else {
            return Ok(());
        };
        let unsent = self.unsent(live, &task, &custody, &payload).await;
        if task.phase().is_at_rest() {
            custody.progress = None;
            custody.released = false;
        }
        let record = Record {
            task: task.body().clone(),
            custody,
        };
        let moved = Move {
            enters: !record.custody.owner.is_empty(),
            leaves: &left,
            message: step.message,
            said: step.said,
            unsent: unsent.as_ref().map(|(id, note)| (id.as_str(), note)),
            ..Move::of(&live.key, &record, etag)
        };
        let etag = self.write_with(moved, step.patience).await?;
        let mut cell = live.lock();
        cell.task = task;
        cell.custody = record.custody;
        cell.etag = Some(etag);
        let slow = live.announce(&mut cell, payload, unsent.map(|(name, _)| name));
        drop(cell);
        self.metrics().slow(slow);
        Ok(())
    }

    /// Takes over what another worker may have written since. Only for whoever holds the task.
    pub(super) async fn refresh(&self, live: &Live) -> Result<(), Problem> {
        let read = self.records().task(&live.key).await;
        // A store in memory may have forgotten it; then what we hold is all there is.
        if let Some((record, etag)) = read.map_err(|e| unavailable(&e))? {
            let task = Task::restored(record.task);
            let task = task.ok_or_else(|| unavailable(&record::Error::Unreadable))?;
            live.lock().renew(task, record.custody, etag);
        }
        Ok(())
    }

    /// The tasks whose turn runs here.
    pub(super) fn moving(&self) -> Vec<Arc<Live>> {
        let all = self.0.live.lock();
        let moving = all.values().filter(|live| live.lock().mover.is_some());
        moving.cloned().collect()
    }

    /// Takes a task out of memory, whoever watches it.
    fn forget(&self, live: &Arc<Live>) {
        let mut all = self.0.live.lock();
        if all
            .get(&live.key)
            .is_some_and(|held| Arc::ptr_eq(held, live))
        {
            all.remove(&live.key);
        }
    }

    fn find(&self, key: &TaskKey) -> Option<Arc<Live>> {
        self.0.live.lock().get(key).cloned()
    }

    /// Puts a task into memory; the one that is there already wins.
    fn hold(&self, live: Arc<Live>) -> Arc<Live> {
        self.have_told(&live);
        let mut all = self.0.live.lock();
        match all.entry(live.key.clone()) {
            Entry::Occupied(held) => Arc::clone(held.get()),
            Entry::Vacant(free) => {
                let mut cell = live.lock();
                let mut shelf = self.0.shelf.lock();
                let etag = cell.etag;
                if let Some(ring) = etag.and_then(|e| shelf.take(&live.key, e, Instant::now())) {
                    cell.ring = ring;
                }
                drop((cell, shelf));
                Arc::clone(free.insert(live))
            }
        }
    }

    /// A seat as a turn has it.
    #[cfg(test)]
    pub(crate) fn take_a_seat(&self) -> impl Sized + use<> {
        self.any_seat()
    }

    /// A place for a turn that must run, full or not: the worker that had it is gone.
    fn any_seat(&self) -> Seat {
        self.0.in_flight.fetch_add(1, Ordering::Relaxed);
        self.metrics().in_flight.inc();
        Seat(self.clone())
    }
}

/// Where a task was found.
enum Found {
    /// Somebody in this process moves it on.
    Here(Arc<Live>),
    /// Nobody does. It is not always in memory.
    AtRest(Arc<Live>),
}

/// What is written together with a step of a task.
#[derive(Clone, Copy, Default)]
pub(super) struct Step<'a> {
    /// The message that it takes, by its id.
    pub(super) message: Option<(&'a str, &'a Taken)>,
    /// What it adds to the conversation.
    pub(super) said: &'a [Item],
    /// Whether the store is asked at all.
    pub(super) patience: Patience,
}

/// What is done with a step while the store was last seen not to answer.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Patience {
    /// It fails at once.
    #[default]
    AsTold,
    /// The store is asked again.
    Insists,
}

/// Whether a problem sends its caller to another worker.
pub(crate) fn is_moved(problem: &Problem) -> bool {
    problem.metadata.contains_key(mesh::OWNER)
}

/// A place among the turns that run at once, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Seat(Ledger);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.0.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.0.metrics().in_flight.dec();
    }
}
