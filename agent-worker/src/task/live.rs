//! A task that is held in memory: because its turn runs, or because somebody watches it.
//!
//! # Invariants
//! - Watchers see a snapshot first and then each event once, in one order for all: both are taken
//!   under the same lock.
//! - A watcher that does not read costs nobody anything: after [`QUEUE`] unread events it is dropped,
//!   and told so at the end of what it did get.
//! - Locks are taken in the order ledger, task; neither is held over an await.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use futures_util::Stream;
use mesh_fabric::state::Etag;
use mesh_proto::{
    Fault, Problem,
    a2a::{self, StreamResponse, stream_response::Payload},
};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{document::Task, ledger::Ledger};
use crate::record::TaskKey;

/// Events that wait for one watcher.
const QUEUE: usize = 256;

/// One task.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) key: TaskKey,
    cell: Mutex<Cell>,
    /// Whether nobody is moving the task on.
    rest: watch::Sender<bool>,
}

/// What changes.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) task: Task,
    /// Of the record that the store holds.
    pub(super) etag: Option<Etag>,
    /// Cancels whoever moves the task on now.
    pub(super) mover: Option<CancellationToken>,
    /// Whether the store knows as much as we do.
    pub(super) saved: bool,
    watchers: Vec<Watcher>,
}

#[derive(Debug)]
struct Watcher {
    events: mpsc::Sender<Arc<StreamResponse>>,
    lagged: Arc<AtomicBool>,
}

impl Live {
    pub(super) fn new(key: TaskKey, task: Task, etag: Etag) -> Self {
        let cell = Cell {
            task,
            etag: Some(etag),
            mover: None,
            saved: true,
            watchers: Vec::new(),
        };
        Self {
            key,
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
        Ok(cell.tell(payload))
    }

    /// Waits until nobody moves the task on, and returns it then.
    pub(super) async fn rested(&self) -> a2a::Task {
        // The sender lives in `self`, so waiting cannot fail; and if it did, now is the answer.
        let mut rest = self.rest.subscribe();
        if rest.wait_for(|rest| *rest).await.is_err() {
            tracing::debug!(task = %self.key.id, "nobody will move the task on");
        }
        self.cell.lock().task.body().clone()
    }

    /// Begins to watch.
    pub(super) fn watch(self: &Arc<Self>, ledger: &Ledger) -> Events {
        let mut cell = self.cell.lock();
        let (events, queue) = mpsc::channel(QUEUE);
        let lagged = Arc::new(AtomicBool::new(false));
        cell.watchers.push(Watcher {
            events,
            lagged: Arc::clone(&lagged),
        });
        Events {
            first: Some(Box::new(Payload::Task(cell.task.body().clone()))),
            queue: Some(queue),
            lagged,
            live: Arc::clone(self),
            ledger: ledger.clone(),
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
    pub(super) fn tell(&mut self, payload: Payload) -> usize {
        let event = Arc::new(StreamResponse {
            payload: Some(payload),
        });
        let mut slow = 0;
        self.watchers.retain(
            |watcher| match watcher.events.try_send(Arc::clone(&event)) {
                Ok(()) => true,
                Err(mpsc::error::TrySendError::Closed(_)) => false,
                Err(mpsc::error::TrySendError::Full(_)) => {
                    watcher.lagged.store(true, Ordering::Release);
                    slow += 1;
                    false
                }
            },
        );
        slow
    }

    /// Whether there is a reason to keep it in memory.
    pub(super) fn is_wanted(&mut self) -> bool {
        self.watchers.retain(|watcher| !watcher.events.is_closed());
        self.mover.is_some() || !self.watchers.is_empty() || !self.saved
    }
}

/// What happens to a task: itself first, then each change, until it rests.
///
/// Dropping it ends the watching and nothing else.
#[derive(Debug)]
pub struct Events {
    /// Boxed, so that what holds an unread stream stays small.
    first: Option<Box<Payload>>,
    queue: Option<mpsc::Receiver<Arc<StreamResponse>>>,
    lagged: Arc<AtomicBool>,
    live: Arc<Live>,
    ledger: Ledger,
}

impl Stream for Events {
    type Item = Result<StreamResponse, Problem>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if let Some(first) = this.first.take() {
            return Poll::Ready(Some(Ok(StreamResponse {
                payload: Some(*first),
            })));
        }
        let Some(queue) = &mut this.queue else {
            return Poll::Ready(None);
        };
        if let Some(event) = ready!(queue.poll_recv(cx)) {
            return Poll::Ready(Some(Ok(Arc::unwrap_or_clone(event))));
        }
        this.queue = None;
        let lagged = this.lagged.load(Ordering::Acquire).then(|| {
            Err(Problem::new(
                Fault::Exhausted,
                format!("the stream was not read and {QUEUE} events are waiting; subscribe again"),
            ))
        });
        Poll::Ready(lagged)
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.queue = None;
        self.ledger.retire(&self.live);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::StreamExt as _;
    use mesh_fabric::state::{Bounds, Store};
    use mesh_proto::AgentName;
    use mesh_runtime::drain;

    use super::*;
    use crate::{
        record::{Records, Scope},
        task::{Event, Limits, Metrics},
    };

    async fn working() -> (Ledger, Arc<Live>) {
        let records = Records::new(Store::memory(Bounds::default()), Duration::from_secs(60));
        let key = TaskKey {
            scope: Scope {
                agent: AgentName::parse("a").unwrap(),
                tenant: String::new(),
                principal: String::new(),
            },
            id: "t".to_owned(),
        };
        let mut task = Task::submitted("t".to_owned(), "c".to_owned(), 1);
        task.step(Event::Begin, 2).unwrap();
        let etag = records.save(&key, task.body(), None).await.unwrap();
        let (_trigger, drain) = drain::channel();
        let ledger = Ledger::new(records, Limits::default(), Metrics::default(), drain);
        (ledger, Arc::new(Live::new(key, task, etag)))
    }

    fn note(live: &Live, n: usize) -> usize {
        let step = |task: &mut Task| task.step(Event::Note(n.to_string()), 3);
        live.change(|task| step(task).map(Payload::StatusUpdate))
            .unwrap()
    }

    #[tokio::test]
    async fn a_watcher_that_does_not_read_is_dropped_and_told_and_no_other_is() {
        let (ledger, live) = working().await;
        let slow = live.watch(&ledger);
        for n in 0..QUEUE {
            assert_eq!(note(&live, n), 0);
        }
        let fresh = live.watch(&ledger);
        assert_eq!(note(&live, QUEUE), 1, "one watcher is dropped");
        assert_eq!(note(&live, QUEUE + 1), 0, "and only once");
        live.finish();
        let seen: Vec<_> = slow.collect().await;
        assert_eq!(seen.len(), 1 + QUEUE + 1);
        assert!(seen.iter().take(1 + QUEUE).all(Result::is_ok));
        let told = seen.last().unwrap().as_ref().unwrap_err();
        assert_eq!(told.fault, Fault::Exhausted);
        let seen: Vec<_> = fresh.map(|event| event.unwrap().payload).collect().await;
        assert!(matches!(
            seen.as_slice(),
            [Some(Payload::Task(_)), Some(_), Some(_)]
        ));
    }

    #[tokio::test]
    async fn who_gives_up_leaves_the_watchers_in_place() {
        let (ledger, live) = working().await;
        let mut events = live.watch(&ledger);
        assert!(events.next().await.is_some());
        live.release();
        assert_eq!(note(&live, 1), 0);
        assert!(events.next().await.is_some());
        drop(events);
        assert!(!live.lock().is_wanted());
    }
}
