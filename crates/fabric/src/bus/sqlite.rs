//! The bus in SQLite: a file in WAL mode that several processes of one machine open at once.
//!
//! A message is a row, and for each group and listener that is to get it there is a row of what is due.
//! Who takes a due row holds it under the process's name; done, the row goes, and with its last the
//! message. [`pulse`] gives back what a process held that died or froze, and rings the others' bells.
//!
//! # Invariants
//! - Each step is one `BEGIN IMMEDIATE` transaction.
//! - Of the rows of one key in a queue only the oldest can be held, in whatever process.
//! - Who is handed nothing waits for a bell. Once in [`pulse::BEAT`] it looks all the same: bells may be
//!   lost, with the process that was about to ring.

mod pulse;
mod rows;

use std::{
    collections::VecDeque,
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tracing::debug;

use self::{
    pulse::Pulse,
    rows::{Queue, Taken},
};
use super::{
    Arrival, Arrivals, Bus, Depth, Error, Losses, Message, Promises, Reach, Receipt, Topic,
};
use crate::sqlite::{Closed, Failed, Lane, Opened};

/// Connections for reading.
const READERS: usize = 2;

/// How many messages are taken at once.
const HANDFUL: usize = 32;

/// See the module.
#[derive(Debug)]
pub(super) struct Sqlite(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    writer: Arc<Lane>,
    readers: Arc<Lane>,
    holder: i64,
    pulse: Pulse,
    /// Rung when something may have become due here.
    bell: Arc<Notify>,
    evicted: AtomicU64,
    unreadable: AtomicU64,
}

impl Sqlite {
    pub(super) async fn open(dir: PathBuf) -> Result<Self, Error> {
        let opened = tokio::task::spawn_blocking(move || Self::open_blocking(&dir));
        let opened = opened.await.map_err(|_| Error::Closed)?;
        opened.map_err(|source| Error::Unavailable(Arc::from(source)))
    }

    fn open_blocking(dir: &Path) -> Result<Self, Failed> {
        let opened = Opened::open(dir, "bus", rows::SCHEMA, READERS + 1)?;
        let mut readers = opened.readers;
        let beats = readers.pop().ok_or("no connection")?;
        let bell = Arc::new(Notify::new());
        let pulse = Pulse::start(dir, beats, Arc::clone(&bell))?;
        Ok(Self(Arc::new(Shared {
            writer: Lane::of(vec![opened.writer]),
            readers: Lane::of(readers),
            holder: pulse.holder(),
            pulse,
            bell,
            evicted: AtomicU64::new(0),
            unreadable: AtomicU64::new(0),
        })))
    }
}

impl Shared {
    /// Runs `work` in a transaction that nobody else's can come between.
    async fn change<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let changed = self.writer.run(move |connection| {
            let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let result = work(&change)?;
            change.commit()?;
            Ok::<_, Error>(result)
        });
        changed.await
    }

    /// Tells all who may wait for something, here and elsewhere.
    fn ring(&self) {
        self.bell.notify_waiters();
        self.pulse.ring_others();
    }
}

impl Bus for Sqlite {
    fn promises(&self) -> Promises {
        Promises {
            durable: true,
            groups: true,
            broadcast: true,
            order: true,
            redelivery: true,
        }
    }

    fn publish(&self, batch: Vec<Message>) -> BoxFuture<'_, Vec<Result<(), Error>>> {
        Box::pin(async move {
            let count = batch.len();
            let put = move |change: &Connection| rows::put(change, &batch, rows::FILE_BYTES);
            match self.0.change(put).await {
                Ok(evicted) => {
                    self.0.evicted.fetch_add(evicted, Ordering::Relaxed);
                    self.0.ring();
                    vec![Ok(()); count]
                }
                Err(error) => vec![Err(error); count],
            }
        })
    }

    fn subscribe(
        &self,
        topic: Topic,
        reach: Reach,
        in_flight: usize,
    ) -> BoxFuture<'_, Result<Box<dyn Arrivals>, Error>> {
        Box::pin(async move {
            let holder = self.0.holder;
            let sit = {
                let topic = topic.clone();
                move |change: &Connection| rows::sit(change, &topic, &reach, holder)
            };
            let queue = self.0.change(sit).await?;
            let listening: Box<dyn Arrivals> = Box::new(Listening {
                shared: Arc::clone(&self.0),
                queue,
                taken: Arc::default(),
                taking: None,
                room: Arc::new(Semaphore::new(in_flight.min(Semaphore::MAX_PERMITS))),
            });
            Ok(listening)
        })
    }

    fn depth(&self, topic: Topic, group: String) -> BoxFuture<'_, Result<Option<Depth>, Error>> {
        Box::pin(async move {
            let depth = self
                .0
                .readers
                .run(move |connection| rows::depth(connection, &topic, &group));
            depth.await.map(Some)
        })
    }

    fn losses(&self) -> Losses {
        Losses {
            evicted: self.0.evicted.swap(0, Ordering::Relaxed),
            unreadable: self.0.unreadable.swap(0, Ordering::Relaxed),
        }
    }
}

struct Listening {
    shared: Arc<Shared>,
    queue: Queue,
    /// What was taken and not yet given out. Shared with the call that takes it, so that none is lost
    /// where nobody waits for that call any more.
    taken: Arc<Mutex<VecDeque<Arrival>>>,
    /// The call that takes. It outlives whoever began it and was dropped: it has the room that the next
    /// one would wait for.
    taking: Option<BoxFuture<'static, Result<Taken, Error>>>,
    room: Arc<Semaphore>,
}

impl Listening {
    async fn next(&mut self) -> Option<Arrival> {
        let bells = Arc::clone(&self.shared.bell);
        loop {
            if let Some(arrival) = self.taken.lock().pop_front() {
                return Some(arrival);
            }
            let mut bell = std::pin::pin!(bells.notified());
            bell.as_mut().enable();
            let is_resumed = self.taking.is_some();
            if !is_resumed {
                let permit = Arc::clone(&self.room).acquire_owned().await.ok()?;
                self.taking = Some(self.take(permit));
            }
            let taken = match &mut self.taking {
                Some(taking) => taking.await,
                None => continue,
            };
            self.taking = None;
            match taken {
                Ok(Taken::Some) => continue,
                // What became due since it began may have rung while nobody listened.
                Ok(Taken::None) if is_resumed => continue,
                Ok(Taken::None) => {}
                Ok(Taken::Gone) => return None,
                Err(error) => debug!(%error, "the bus could not be read"),
            }
            bell.await;
        }
    }

    /// Takes a handful, if there is room for one.
    fn take(&self, first: OwnedSemaphorePermit) -> BoxFuture<'static, Result<Taken, Error>> {
        let mut permits = vec![first];
        while permits.len() < HANDFUL
            && let Ok(permit) = Arc::clone(&self.room).try_acquire_owned()
        {
            permits.push(permit);
        }
        let (shared, queue) = (Arc::clone(&self.shared), self.queue.clone());
        let (taken, holder) = (Arc::clone(&self.taken), shared.holder);
        let writer = Arc::clone(&shared.writer);
        let work = move |connection: &mut Connection| {
            // A bell rings for all, and most find nothing: they look before they lock.
            if rows::is_there(connection, &queue)? && !rows::is_any_free(connection, &queue)? {
                return Ok(Taken::None);
            }
            let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            if !rows::is_there(&change, &queue)? {
                return Ok(Taken::Gone);
            }
            let (rows, result, unreadable) = rows::take(&change, &queue, holder, permits.len())?;
            change.commit()?;
            shared.unreadable.fetch_add(unreadable, Ordering::Relaxed);
            let arrivals = rows.into_iter().zip(permits).map(|(row, permit)| Arrival {
                message: row.message,
                attempt: row.attempt,
                receipt: Box::new(Slip {
                    shared: Arc::clone(&shared),
                    queue: queue.clone(),
                    number: Some(row.number),
                    _permit: permit,
                }),
            });
            taken.lock().extend(arrivals);
            Ok::<_, Error>(result)
        };
        Box::pin(async move { writer.run(work).await })
    }
}

impl Arrivals for Listening {
    fn next(&mut self) -> BoxFuture<'_, Option<Arrival>> {
        Box::pin(Self::next(self))
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if self.queue.is_listener {
            self.shared.pulse.give_up(self.queue.id);
        }
    }
}

struct Slip {
    shared: Arc<Shared>,
    queue: Queue,
    number: Option<i64>,
    _permit: OwnedSemaphorePermit,
}

impl fmt::Debug for Slip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slip")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl Receipt for Slip {
    fn done(mut self: Box<Self>) -> BoxFuture<'static, Result<(), Error>> {
        Box::pin(async move {
            let Some(number) = self.number.take() else {
                return Ok(());
            };
            let (queue, holder) = (self.queue.id, self.shared.holder);
            let done = move |change: &Connection| rows::done(change, queue, number, holder);
            let done = self.shared.change(done).await;
            match done {
                Ok(frees_another) => {
                    if frees_another {
                        self.shared.ring();
                    }
                    Ok(())
                }
                Err(error) => {
                    self.shared.pulse.give_back(queue, number);
                    Err(error)
                }
            }
        })
    }
}

impl Drop for Slip {
    fn drop(&mut self) {
        if let Some(number) = self.number.take() {
            self.shared.pulse.give_back(self.queue.id, number);
        }
    }
}

impl From<Closed> for Error {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        Self::unavailable(error)
    }
}

#[cfg(test)]
mod tests;
