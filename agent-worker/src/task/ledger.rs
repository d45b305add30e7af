//! All tasks of a worker: those in memory, and the way to those in the store.
//!
//! # Invariants
//! - A task is in memory at most once, and only while it is moved on, watched or not yet saved.
//! - Who moves a task on holds it in two ways: in this process by `mover`, among processes by the etag.
//! - No more turns run at once than [`Limits::capacity`]; one more is refused, not queued, so that a
//!   router can take it elsewhere.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use mesh_proto::{
    Fault, Problem,
    a2a::{self, stream_response::Payload},
    mesh::{WorkerReport, WorkerState},
};
use mesh_runtime::{clock, drain::Drain};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::{
    document::Task,
    live::{Events, Live},
    metrics::Metrics,
    problem::{busy, elsewhere, final_state, not_cancelable, not_found, unavailable},
    runner::{Begun, Runner, Start},
    state::{Event, Phase},
};
use crate::record::{self, Records, Scope, TaskKey};

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
    records: Records,
    limits: Limits,
    metrics: Metrics,
    drain: Drain,
    in_flight: AtomicU32,
    draining: AtomicBool,
}

impl Ledger {
    /// A ledger over a store. Turns run in the drain.
    #[must_use]
    pub fn new(records: Records, limits: Limits, metrics: Metrics, drain: Drain) -> Self {
        Self(Arc::new(Inner {
            live: Mutex::default(),
            records,
            limits,
            metrics,
            drain,
            in_flight: AtomicU32::new(0),
            draining: AtomicBool::new(false),
        }))
    }

    /// Begins a turn: of a new task, or of the one that the message names.
    ///
    /// # Errors
    /// [`Fault::Unavailable`] when the worker is full, drains, or its store does not answer;
    /// [`Fault::TaskNotFound`]; [`Fault::InvalidParams`] when the task is of another context;
    /// [`Fault::UnsupportedOperation`] when the task takes no message now.
    pub async fn start(&self, start: Start) -> Result<Begun, Problem> {
        let seat = self.seat()?;
        let cancel = CancellationToken::new();
        let live = match start.message.task_id.as_str() {
            "" => self.create(&start, cancel.clone()).await?,
            id => self.resume(&start, id, cancel.clone()).await?,
        };
        let begun = Begun::new(&live, self, start.follow);
        let runner = Runner::new(self.clone(), live, start, seat);
        self.0.drain.spawn("turn", runner.run(cancel));
        Ok(begun)
    }

    /// A task as it is now.
    ///
    /// # Errors
    /// [`Fault::TaskNotFound`], [`Fault::Unavailable`].
    pub async fn read(&self, key: &TaskKey) -> Result<a2a::Task, Problem> {
        if let Some(live) = self.find(key) {
            let cell = live.lock();
            // At rest the store may know more: another worker can have taken the task on.
            if cell.mover.is_some() || !cell.saved {
                return Ok(cell.task.body().clone());
            }
        }
        let record = self
            .records()
            .task(key)
            .await
            .map_err(|e| unavailable(&e))?;
        record.map(|(task, _)| task).ok_or_else(|| not_found(key))
    }

    /// Follows a task that is not final.
    ///
    /// # Errors
    /// [`Fault::TaskNotFound`]; [`Fault::UnsupportedOperation`] when it is final;
    /// [`Fault::Unavailable`] when it runs where we cannot see it.
    pub async fn follow(&self, key: &TaskKey) -> Result<Events, Problem> {
        let live = self.open(key).await?;
        {
            let cell = live.lock();
            let phase = cell.task.phase();
            if phase.is_final() {
                return Err(final_state(phase, "be followed"));
            }
            if cell.mover.is_none() && !phase.is_at_rest() {
                return Err(elsewhere());
            }
        }
        let live = self.hold(live);
        Ok(live.watch(self))
    }

    /// Stops a task.
    ///
    /// # Errors
    /// [`Fault::TaskNotFound`]; [`Fault::TaskNotCancelable`] when it is final, or became so first;
    /// [`Fault::Unavailable`].
    pub async fn cancel(&self, key: &TaskKey) -> Result<a2a::Task, Problem> {
        let live = self.open(key).await?;
        let live = self.hold(live);
        let running = {
            let mut cell = live.lock();
            match &cell.mover {
                Some(mover) => {
                    mover.cancel();
                    true
                }
                None => {
                    live.occupy(&mut cell, CancellationToken::new());
                    false
                }
            }
        };
        let canceled = if running {
            let task = live.rested().await;
            let state = task.status.as_ref().map(a2a::TaskStatus::state);
            (state == Some(a2a::TaskState::Canceled))
                .then_some(task)
                .ok_or_else(not_cancelable)
        } else {
            let canceled = self.cancel_at_rest(&live).await;
            match canceled {
                Ok(_) => live.finish(),
                Err(_) => live.release(),
            }
            canceled
        };
        self.retire(&live);
        canceled
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
        WorkerReport {
            state: if self.is_draining() {
                WorkerState::Draining
            } else {
                WorkerState::Active
            },
            in_flight: self.0.in_flight.load(Ordering::Relaxed),
            capacity: self.0.limits.capacity,
            ..WorkerReport::default()
        }
    }

    /// Whether new work is refused.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Relaxed)
    }

    /// Takes no new work from now on, and ends the streams of those who watch tasks at rest: they
    /// could wait longer than the process lives.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::Relaxed);
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
        if same && !live.lock().is_wanted() {
            all.remove(&live.key);
        }
    }

    /// Saves what a task has become, then shows it. Used by whoever holds the task.
    pub(super) async fn advance(
        &self,
        live: &Live,
        change: impl FnOnce(&mut Task) -> Option<Payload>,
    ) -> Result<(), record::Error> {
        let (mut next, etag) = {
            let cell = live.lock();
            (cell.task.clone(), cell.etag)
        };
        let Some(payload) = change(&mut next) else {
            return Ok(());
        };
        let etag = self.records().save(&live.key, next.body(), etag).await?;
        let mut cell = live.lock();
        cell.task = next;
        cell.etag = Some(etag);
        let slow = cell.tell(payload);
        drop(cell);
        self.metrics().slow(slow);
        Ok(())
    }

    async fn create(&self, start: &Start, mover: CancellationToken) -> Result<Arc<Live>, Problem> {
        let context = match start.message.context_id.as_str() {
            "" => start.mint(),
            given => given.to_owned(),
        };
        let key = TaskKey {
            scope: start.scope.clone(),
            id: start.mint(),
        };
        let mut task = Task::submitted(key.id.clone(), context, clock::unix_millis());
        task.hear(start.message.clone());
        let saved = self.records().save(&key, task.body(), None).await;
        let live = Arc::new(Live::new(
            key.clone(),
            task,
            saved.map_err(|e| unavailable(&e))?,
        ));
        live.occupy(&mut live.lock(), mover);
        self.0.live.lock().insert(key, Arc::clone(&live));
        Ok(live)
    }

    async fn resume(
        &self,
        start: &Start,
        id: &str,
        mover: CancellationToken,
    ) -> Result<Arc<Live>, Problem> {
        let key = TaskKey {
            scope: start.scope.clone(),
            id: id.to_owned(),
        };
        let live = self.open(&key).await?;
        let live = self.hold(live);
        {
            let mut cell = live.lock();
            if cell.mover.is_some() {
                return Err(busy());
            }
            live.occupy(&mut cell, mover);
        }
        let resumed = self.resume_held(&live, start).await;
        if resumed.is_err() {
            live.release();
            self.retire(&live);
        }
        resumed.map(|()| live)
    }

    async fn resume_held(&self, live: &Live, start: &Start) -> Result<(), Problem> {
        self.refresh(live).await?;
        {
            let cell = live.lock();
            let (phase, body) = (cell.task.phase(), cell.task.body());
            let context = &start.message.context_id;
            if !context.is_empty() && *context != body.context_id {
                let message = "message.contextId is not the context of message.taskId";
                return Err(Problem::new(Fault::InvalidParams, message));
            }
            match phase {
                Phase::InputRequired(_) => {}
                phase if phase.is_final() => return Err(final_state(phase, "take a message")),
                _ => return Err(busy()),
            }
        }
        let message = start.message.clone();
        let begin = |task: &mut Task| {
            task.hear(message);
            let update = task.step(Event::Begin, clock::unix_millis());
            update.ok().map(Payload::StatusUpdate)
        };
        self.advance(live, begin).await.map_err(|e| unavailable(&e))
    }

    async fn cancel_at_rest(&self, live: &Live) -> Result<a2a::Task, Problem> {
        self.refresh(live).await?;
        if live.lock().task.phase().is_final() {
            return Err(not_cancelable());
        }
        let cancel = |task: &mut Task| {
            let update = task.step(Event::Cancel, clock::unix_millis());
            update.ok().map(Payload::StatusUpdate)
        };
        self.advance(live, cancel)
            .await
            .map_err(|e| unavailable(&e))?;
        self.metrics().settled(a2a::TaskState::Canceled);
        Ok(live.lock().task.body().clone())
    }

    /// Takes over what another worker may have written since. Only for whoever holds the task.
    pub(super) async fn refresh(&self, live: &Live) -> Result<(), Problem> {
        let record = self
            .records()
            .task(&live.key)
            .await
            .map_err(|e| unavailable(&e))?;
        // A store in memory may have forgotten it; then what we hold is all there is.
        if let Some((body, etag)) = record {
            let mut cell = live.lock();
            if cell.etag != Some(etag) {
                cell.task =
                    Task::restored(body).ok_or_else(|| unavailable(&record::Error::Unreadable))?;
                cell.etag = Some(etag);
            }
        }
        Ok(())
    }

    fn find(&self, key: &TaskKey) -> Option<Arc<Live>> {
        self.0.live.lock().get(key).cloned()
    }

    async fn open(&self, key: &TaskKey) -> Result<Arc<Live>, Problem> {
        if let Some(live) = self.find(key) {
            return Ok(live);
        }
        let record = self
            .records()
            .task(key)
            .await
            .map_err(|e| unavailable(&e))?;
        let (body, etag) = record.ok_or_else(|| not_found(key))?;
        let task = Task::restored(body).ok_or_else(|| unavailable(&record::Error::Unreadable))?;
        Ok(Arc::new(Live::new(key.clone(), task, etag)))
    }

    /// Puts a task into memory; the one that is there already wins.
    fn hold(&self, live: Arc<Live>) -> Arc<Live> {
        let mut all = self.0.live.lock();
        Arc::clone(all.entry(live.key.clone()).or_insert(live))
    }

    fn seat(&self) -> Result<Seat, Problem> {
        if self.is_draining() {
            return Err(Problem::new(
                Fault::Unavailable,
                "the worker is shutting down",
            ));
        }
        let taken = self.0.in_flight.fetch_add(1, Ordering::Relaxed);
        let seat = Seat(self.clone());
        self.metrics().in_flight.inc();
        if taken >= self.0.limits.capacity {
            return Err(Problem::new(Fault::Unavailable, "the worker is full"));
        }
        Ok(seat)
    }
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
