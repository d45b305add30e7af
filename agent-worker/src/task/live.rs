//! A task that is held in memory: because its turn runs, or because somebody watches it.
//!
//! # Invariants
//! - Watchers see a snapshot first and then each event once, in one order and with one id for all: both
//!   are taken under the same lock. One that says what it saw last sees what followed instead, where the
//!   ring still holds all of it.
//! - A watcher that does not read costs nobody anything: after [`QUEUE`] unread events it is dropped,
//!   and told so at the end of what it did get.
//! - Locks are taken in the order ledger, task, shelf; none is held over an await.

mod announce;

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};

use futures_util::Stream;
use mesh_fabric::state::Etag;
use mesh_proto::{
    Fault, Problem,
    a2a::{self, StreamResponse, TaskPushNotificationConfig as Config, stream_response::Payload},
};
use mesh_runtime::clock;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{
    document::Task,
    ledger::Ledger,
    ring::{EventId, Ring, Told},
};
use crate::{
    notify::Notifier,
    record::{Custody, Record, TaskKey},
    session::Item,
};

/// Events that wait for one watcher.
const QUEUE: usize = 256;

/// One task.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) key: TaskKey,
    /// Held while a message for it is being taken: a second copy of the message waits, and then finds it
    /// taken. Never held with the cell's lock.
    pub(super) taking: tokio::sync::Mutex<()>,
    /// Where what happens to it is told to webhooks.
    notifier: OnceLock<Notifier>,
    cell: Mutex<Cell>,
    /// Whether nobody is moving the task on.
    rest: watch::Sender<bool>,
}

/// What changes.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) task: Task,
    /// Of the record that the store holds; `None` where it knows nothing of it.
    pub(super) etag: Option<Etag>,
    /// Who moves it on, and how far it has come.
    pub(super) custody: Custody,
    /// What it still has to say to its conversation, where the store did not take it.
    pub(super) said: Vec<Item>,
    /// Whether its turn is to leave this worker.
    pub(super) leaving: bool,
    /// Where it is another's now: what is told to those who wait.
    pub(super) gone: Option<Problem>,
    /// Cancels whoever moves the task on now.
    pub(super) mover: Option<CancellationToken>,
    /// Whether the store knows as much as we do.
    pub(super) saved: bool,
    /// Whether it began while the store did not answer, which has never heard of it.
    pub(super) unstored: bool,
    /// What was told of it lately.
    pub(super) ring: Ring,
    /// The webhooks that want to know what happens to it; unset where the store has to be asked.
    pub(super) hooks: Option<Arc<[Config]>>,
    watchers: Vec<Watcher>,
}

#[derive(Debug)]
struct Watcher {
    events: mpsc::Sender<Told>,
    /// Why it was dropped, where that was not the end of the task's turn.
    dropped: Arc<OnceLock<Problem>>,
}

impl Live {
    /// A task that begins here, before the store knows of it.
    pub(super) fn new(key: TaskKey, task: Task, custody: Custody) -> Self {
        let ring = Ring::new(custody.fence, 0);
        Self::with(key, task, custody, None, ring)
    }

    /// A task that the store gave back.
    pub(super) fn restored(key: TaskKey, task: Task, custody: Custody, etag: Etag) -> Self {
        let ring = fresh_ring(&custody);
        Self::with(key, task, custody, Some(etag), ring)
    }

    fn with(key: TaskKey, task: Task, custody: Custody, etag: Option<Etag>, ring: Ring) -> Self {
        let cell = Cell {
            task,
            etag,
            custody,
            said: Vec::new(),
            leaving: false,
            gone: None,
            mover: None,
            saved: true,
            unstored: false,
            ring,
            hooks: None,
            watchers: Vec::new(),
        };
        Self {
            key,
            taking: tokio::sync::Mutex::default(),
            notifier: OnceLock::new(),
            cell: Mutex::new(cell),
            rest: watch::Sender::new(true),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Cell> {
        self.cell.lock()
    }

    /// Marks the task as being moved on by the holder of `mover`'s other end.
    pub(super) fn occupy(&self, cell: &mut Cell, mover: CancellationToken) {
        cell.mover = Some(mover);
        self.rest.send_replace(false);
    }

    /// The mover gave up; the task is as it was, and who watches it goes on watching.
    pub(super) fn release(&self) {
        self.cell.lock().mover = None;
        self.rest.send_replace(true);
    }

    /// The mover is done, and the watchers have seen all there is.
    pub(super) fn finish(&self) {
        let mut cell = self.cell.lock();
        cell.mover = None;
        cell.watchers.clear();
        drop(cell);
        self.rest.send_replace(true);
    }

    /// Changes the task and tells the watchers. Returns how many were dropped as too slow.
    pub(super) fn change<E>(
        &self,
        change: impl FnOnce(&mut Task) -> Result<Payload, E>,
    ) -> Result<usize, E> {
        let mut cell = self.cell.lock();
        let payload = change(&mut cell.task)?;
        Ok(self.announce(&mut cell, payload, None))
    }

    /// The task as it is now, and the etag that it was last written under.
    pub(super) fn record(&self) -> (Record, Option<Etag>) {
        let cell = self.cell.lock();
        let record = Record {
            task: cell.task.body().clone(),
            custody: cell.custody.clone(),
        };
        (record, cell.etag)
    }

    /// Whether it is moved on here, or nobody else can know of it.
    pub(super) fn is_moving(&self) -> bool {
        let cell = self.cell.lock();
        cell.mover.is_some() || !cell.saved
    }

    /// Whether it has come to rest, and who brought it there is about to let go of it.
    pub(super) fn is_settling(&self) -> bool {
        let cell = self.cell.lock();
        cell.mover.is_some() && cell.task.phase().is_at_rest()
    }

    /// Whether it came to rest and the store could not be told.
    pub(super) fn is_unsaved(&self) -> bool {
        let cell = self.cell.lock();
        cell.mover.is_none() && !cell.saved
    }

    /// Whether a turn or a caller moves it on here.
    pub(super) fn is_moving_on(&self) -> bool {
        self.cell.lock().mover.is_some()
    }

    /// Takes what the store has, unless somebody here moves the task on; whether that is so.
    pub(super) fn renew(&self, task: Task, custody: Custody, etag: Etag) -> bool {
        let mut cell = self.cell.lock();
        let free = cell.mover.is_none() && cell.saved;
        if free {
            cell.renew(task, custody, etag);
        }
        free
    }

    /// The task is this worker's now: its events begin anew, under the new fence.
    pub(super) fn take_over(&self, task: Task, custody: Custody, etag: Etag) {
        let mut cell = self.cell.lock();
        cell.ring = Ring::new(custody.fence, 0);
        cell.task = task;
        cell.custody = custody;
        cell.etag = Some(etag);
    }

    /// What another worker made of it is what it has come to.
    pub(super) fn settle(&self, task: Task, custody: Custody, etag: Etag) {
        let mut cell = self.cell.lock();
        cell.renew(task, custody, etag);
        cell.saved = true;
        if let Some(mover) = cell.mover.take() {
            mover.cancel();
        }
        drop(cell);
        self.rest.send_replace(true);
    }

    /// Stops the turn where it stands, for another worker to go on from its last boundary.
    pub(super) fn leave_now(&self) {
        let mut cell = self.cell.lock();
        cell.leaving = true;
        if let Some(mover) = &cell.mover {
            mover.cancel();
        }
    }

    /// The task goes on elsewhere: who moves it stops, who waits or follows is told so.
    pub(super) fn let_go(&self, problem: &Problem) {
        let mut cell = self.cell.lock();
        cell.gone = Some(problem.clone());
        cell.saved = true;
        if let Some(mover) = cell.mover.take() {
            mover.cancel();
        }
        drop(cell);
        self.part(problem);
        self.rest.send_replace(true);
    }

    /// Waits until nobody moves the task on, and returns it then.
    ///
    /// # Errors
    /// Where it went, when it is another worker's now.
    pub(super) async fn rested(&self) -> Result<a2a::Task, Problem> {
        // The sender lives in `self`, so waiting cannot fail; and if it did, now is the answer.
        let mut rest = self.rest.subscribe();
        if rest.wait_for(|rest| *rest).await.is_err() {
            tracing::debug!(task = %self.key.id, "nobody will move the task on");
        }
        let cell = self.cell.lock();
        match &cell.gone {
            Some(problem) => Err(problem.clone()),
            None => Ok(cell.task.body().clone()),
        }
    }

    /// Begins to watch: with what followed `after`, where the ring holds it, else with a snapshot. Says
    /// whether it is the former. Where nothing will follow, it ends after that: the task is another's, or
    /// at its end; or only at rest, for who wants to know no more than `until_rest`.
    pub(super) fn watch(
        self: &Arc<Self>,
        ledger: &Ledger,
        after: Option<EventId>,
        until_rest: bool,
    ) -> (Events, bool) {
        let mut cell = self.cell.lock();
        let rests = cell.mover.is_none();
        let is_over = rests && (until_rest || cell.task.phase().is_final());
        let followed = after.and_then(|after| Some((after.next(), cell.ring.since(after)?)));
        let is_replay = followed.is_some();
        let (first, backlog) = followed.unwrap_or_else(|| {
            let id = cell.ring.last();
            let payload = Payload::Task(cell.task.body().clone());
            (id, VecDeque::from([told(id, payload)]))
        });
        let dropped = Arc::<OnceLock<Problem>>::default();
        let queue = if let Some(problem) = &cell.gone {
            dropped.set(problem.clone()).ok();
            None
        } else if is_over {
            None
        } else {
            let (events, queue) = mpsc::channel(QUEUE);
            cell.watchers.push(Watcher {
                events,
                dropped: Arc::clone(&dropped),
            });
            Some(queue)
        };
        let events = Events {
            first,
            backlog,
            queue,
            dropped,
            is_told: false,
            live: Arc::clone(self),
            ledger: ledger.clone(),
        };
        (events, is_replay)
    }

    /// What followed an event of a task that is over, as a stream that ends after it.
    pub(super) fn replay(
        self: &Arc<Self>,
        ledger: &Ledger,
        after: EventId,
        followed: VecDeque<Told>,
    ) -> Events {
        Events {
            first: after.next(),
            backlog: followed,
            queue: None,
            dropped: Arc::default(),
            is_told: false,
            live: Arc::clone(self),
            ledger: ledger.clone(),
        }
    }

    /// The task as it is, as a stream that ends after it.
    pub(super) fn snapshot(self: &Arc<Self>, ledger: &Ledger) -> Events {
        let (mut events, _) = self.watch(ledger, None, true);
        events.queue = None;
        events
    }

    /// Ends every stream of the task with a problem at its end: the task goes on elsewhere, or nobody
    /// here knows how it goes on. A problem that names an owner breaks the streams instead, so that
    /// nobody takes their end for the task's.
    pub(super) fn part(&self, problem: &Problem) {
        for watcher in self.cell.lock().watchers.drain(..) {
            // Dropped for lagging already: then that is what it is told.
            watcher.dropped.set(problem.clone()).ok();
        }
    }

    /// Ends the streams of those who watch a task at rest.
    pub(super) fn dismiss(&self) {
        let mut cell = self.cell.lock();
        if cell.mover.is_none() {
            cell.watchers.clear();
        }
    }
}

impl Cell {
    /// Numbers an event and tells it. Returns how many watchers were dropped as too slow.
    pub(super) fn tell(&mut self, payload: Payload) -> usize {
        let event = Arc::new(StreamResponse {
            payload: Some(payload),
        });
        let id = self.ring.push(&event);
        let told = Told { id, event };
        let mut slow = 0;
        self.watchers
            .retain(|watcher| match watcher.events.try_send(told.clone()) {
                Ok(()) => true,
                Err(mpsc::error::TrySendError::Closed(_)) => false,
                Err(mpsc::error::TrySendError::Full(_)) => {
                    watcher.dropped.set(lagged()).ok();
                    slow += 1;
                    false
                }
            });
        slow
    }

    /// Takes what the store has. Where another worker has moved the task on, nothing that was told
    /// before leads to what it is now.
    pub(super) fn renew(&mut self, task: Task, custody: Custody, etag: Etag) {
        if self.etag != Some(etag) {
            self.ring = fresh_ring(&custody);
            self.task = task;
            self.custody = custody;
            self.etag = Some(etag);
        }
    }

    /// Whether there is a reason to keep it in memory.
    pub(super) fn is_wanted(&mut self) -> bool {
        self.watchers.retain(|watcher| !watcher.events.is_closed());
        self.mover.is_some() || !self.watchers.is_empty() || !self.saved
    }
}

/// What happens to a task: itself first, or what followed the event that the watcher saw last; then
/// each change, until the task rests.
///
/// Dropping it ends the watching and nothing else.
#[derive(Debug)]
pub struct Events {
    first: EventId,
    backlog: VecDeque<Told>,
    queue: Option<mpsc::Receiver<Told>>,
    dropped: Arc<OnceLock<Problem>>,
    /// Whether it was said why nothing follows.
    is_told: bool,
    live: Arc<Live>,
    ledger: Ledger,
}

impl Events {
    /// The task that it is of.
    #[must_use]
    pub fn task_id(&self) -> &str {
        &self.live.key.id
    }

    /// The id of the first event that it gives; each one after it has the next number.
    #[must_use]
    pub const fn first_id(&self) -> EventId {
        self.first
    }
}

impl Stream for Events {
    type Item = Result<Told, Problem>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if let Some(told) = this.backlog.pop_front() {
            return Poll::Ready(Some(Ok(told)));
        }
        if let Some(queue) = &mut this.queue
            && let Some(told) = ready!(queue.poll_recv(cx))
        {
            return Poll::Ready(Some(Ok(told)));
        }
        this.queue = None;
        let why = if this.is_told {
            None
        } else {
            this.dropped.get()
        };
        this.is_told = true;
        Poll::Ready(why.cloned().map(Err))
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.queue = None;
        self.ledger.retire(&self.live);
    }
}

/// A ring whose numbers are beyond all that the task can have had: it counts on from the microsecond,
/// and nobody tells a million events a second.
fn fresh_ring(custody: &Custody) -> Ring {
    let n = clock::unix_millis().saturating_mul(1000);
    Ring::new(custody.fence.max(1), n)
}

fn told(id: EventId, payload: Payload) -> Told {
    let event = Arc::new(StreamResponse {
        payload: Some(payload),
    });
    Told { id, event }
}

fn lagged() -> Problem {
    let text = format!("the stream was not read and {QUEUE} events are waiting; subscribe again");
    Problem::new(Fault::Exhausted, text)
}

#[cfg(test)]
mod tests;
