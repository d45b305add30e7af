//! A queue in front of the bus: whoever has something to say leaves it here and goes on, and one task of
//! the process puts it on the bus, many at a time.
//!
//! A message is *offered* (it may be lost: a record of a call) or *put* (it may not: who gives it waits
//! for room, and what the bus refuses is tried again). A batch goes when it is full by count or bytes, or
//! when its first message has lingered long enough.
//!
//! # Invariants
//! - [`Publisher::offer`] never waits. Where the queue is full, by count or by bytes, what is offered is
//!   dropped and counted.
//! - Each message that was taken is counted once more: as published, or as lost.
//! - What is put under one key is on the bus in the order in which it was put, also when the bus refuses
//!   some of it: no batch has two of a key, and none follows one that is not done.
//! - At the drain's signal the queue takes no more, and what is in it still goes. So it wants a drain of
//!   its own, signalled when all who feed it have ended; the grace of that drain bounds the rest.

use std::{collections::HashSet, sync::Arc, time::Duration};

use mesh_runtime::drain::Drain;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{Instant, sleep, timeout_at},
};
use tracing::{debug, warn};

use super::{BATCH, Error, Message, Transit};

/// What a message counts for beside its texts and its body.
const OVERHEAD: usize = 128;

/// The pause after the bus has refused what may not be lost; each one after it is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How much waits, and how long.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Settings {
    /// Messages that may wait. Default 4,096.
    pub queue: usize,
    /// Bytes that may wait or be on their way. Default 8 MiB.
    pub queue_bytes: u32,
    /// Messages of one batch, at most [`BATCH`]. Default 100.
    pub batch: usize,
    /// Bytes of one batch, but for one message that is larger by itself. Default 1 MiB, which is what a
    /// sidecar takes four times over.
    pub batch_bytes: usize,
    /// How long the first message of a batch waits for others. Default 5 ms.
    pub linger: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            queue: 4096,
            queue_bytes: 8 << 20,
            batch: 100,
            batch_bytes: 1 << 20,
            linger: Duration::from_millis(5),
        }
    }
}

/// What became of the messages, by the name of the publisher.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    dropped: Family<Labels, Counter>,
    published: Family<Labels, Counter>,
    lost: Family<Labels, Counter>,
    again: Family<Labels, Counter>,
    batches: Family<Labels, Counter>,
    waiting: Family<Labels, Gauge>,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Labels {
    publisher: &'static str,
}

/// The numbers of one publisher.
#[derive(Clone, Debug)]
struct Counts {
    dropped: Counter,
    published: Counter,
    lost: Counter,
    again: Counter,
    batches: Counter,
    waiting: Gauge,
}

impl Metrics {
    /// Registers the families, once for all publishers of the process.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        for (name, help, family) in [
            (
                "mesh_publisher_dropped",
                "Messages not taken, the queue being full or closed",
                &metrics.dropped,
            ),
            (
                "mesh_publisher_published",
                "Messages taken that the bus has",
                &metrics.published,
            ),
            (
                "mesh_publisher_lost",
                "Messages taken and given up: the bus refused them, or the process ended",
                &metrics.lost,
            ),
            (
                "mesh_publisher_again",
                "Attempts at what may not be lost that the bus refused",
                &metrics.again,
            ),
            (
                "mesh_publisher_batches",
                "Calls of the bus",
                &metrics.batches,
            ),
        ] {
            registry.register(name, help, family.clone());
        }
        registry.register(
            "mesh_publisher_waiting",
            "Messages taken that are neither on the bus nor given up",
            metrics.waiting.clone(),
        );
        metrics
    }

    fn of(&self, publisher: &'static str) -> Counts {
        let labels = Labels { publisher };
        Counts {
            dropped: self.dropped.get_or_create(&labels).clone(),
            published: self.published.get_or_create(&labels).clone(),
            lost: self.lost.get_or_create(&labels).clone(),
            again: self.again.get_or_create(&labels).clone(),
            batches: self.batches.get_or_create(&labels).clone(),
            waiting: self.waiting.get_or_create(&labels).clone(),
        }
    }
}

/// See the module. Clones feed the same queue.
#[derive(Clone, Debug)]
pub struct Publisher {
    queue: mpsc::Sender<Queued>,
    room: Arc<Semaphore>,
    room_bytes: u32,
    counts: Counts,
}

/// A message that was taken. Dropped before it is published, it counts as lost.
#[derive(Debug)]
struct Queued {
    message: Message,
    bytes: usize,
    may_be_lost: bool,
    _room: OwnedSemaphorePermit,
    counts: Counts,
    is_published: bool,
}

struct Clerk {
    bus: Transit,
    settings: Settings,
    queue: mpsc::Receiver<Queued>,
    drain: Drain,
    is_closing: bool,
    /// The first of the next batch, which the last had no place for.
    next: Option<Queued>,
    counts: Counts,
}

impl Publisher {
    /// Begins to publish. Its numbers, and its task in the drain, have its name.
    #[must_use]
    pub fn start(
        name: &'static str,
        bus: Transit,
        settings: Settings,
        metrics: &Metrics,
        drain: &Drain,
    ) -> Self {
        let (sender, queue) = mpsc::channel(settings.queue.max(1));
        let counts = metrics.of(name);
        let clerk = Clerk {
            bus,
            settings,
            queue,
            drain: drain.clone(),
            is_closing: false,
            next: None,
            counts: counts.clone(),
        };
        drain.spawn(name, clerk.run());
        let room_bytes = settings.queue_bytes.max(1);
        Self {
            queue: sender,
            room: Arc::new(Semaphore::new(
                usize::try_from(room_bytes).unwrap_or(Semaphore::MAX_PERMITS),
            )),
            room_bytes,
            counts,
        }
    }

    /// Leaves a message that may be lost; says whether it was taken.
    pub fn offer(&self, message: Message) -> bool {
        let (bytes, share) = self.measure(&message);
        let room = Arc::clone(&self.room).try_acquire_many_owned(share);
        // The place comes first: a message that finds none has not been taken, and is not lost.
        let (Ok(room), Ok(place)) = (room, self.queue.try_reserve()) else {
            self.counts.dropped.inc();
            return false;
        };
        place.send(self.queued(message, bytes, room, true));
        true
    }

    /// Leaves a message that may not be lost, and waits for room for it. It is not on the bus yet when
    /// this returns.
    ///
    /// # Errors
    /// [`Error::Closed`], where the process ends and the message was not taken.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the message taken or not; not taken, it is not counted.
    pub async fn put(&self, message: Message) -> Result<(), Error> {
        let (bytes, share) = self.measure(&message);
        let room = Arc::clone(&self.room).acquire_many_owned(share).await;
        let (Ok(room), Ok(place)) = (room, self.queue.reserve().await) else {
            self.counts.dropped.inc();
            return Err(Error::Closed);
        };
        place.send(self.queued(message, bytes, room, false));
        Ok(())
    }

    /// What a message weighs, and how much of the room it takes: never more than there is.
    fn measure(&self, message: &Message) -> (usize, u32) {
        let attributes = message.attributes.iter();
        let attributes: usize = attributes.map(|(name, text)| name.len() + text.len()).sum();
        let texts = message.id.len() + message.key.len() + attributes;
        let bytes = OVERHEAD + texts + message.body.len();
        let share = u32::try_from(bytes).unwrap_or(u32::MAX);
        (bytes, share.min(self.room_bytes))
    }

    fn queued(
        &self,
        message: Message,
        bytes: usize,
        room: OwnedSemaphorePermit,
        may_be_lost: bool,
    ) -> Queued {
        self.counts.waiting.inc();
        Queued {
            message,
            bytes,
            may_be_lost,
            _room: room,
            counts: self.counts.clone(),
            is_published: false,
        }
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.counts.waiting.dec();
        if self.is_published {
            self.counts.published.inc();
        } else {
            self.counts.lost.inc();
        }
    }
}

impl Clerk {
    async fn run(mut self) {
        while let Some(batch) = self.gather().await {
            self.publish(batch).await;
        }
    }

    /// The next message; none when the queue is closed and empty. Cancel safe.
    async fn take(&mut self) -> Option<Queued> {
        if let Some(next) = self.next.take() {
            return Some(next);
        }
        if !self.is_closing {
            tokio::select! {
                biased;
                () = self.drain.signaled() => {
                    self.is_closing = true;
                    self.queue.close();
                }
                taken = self.queue.recv() => return taken,
            }
        }
        self.queue.recv().await
    }

    async fn gather(&mut self) -> Option<Vec<Queued>> {
        let first = self.take().await?;
        let until = Instant::now() + self.settings.linger;
        let most = self.settings.batch.clamp(1, BATCH);
        let mut bytes = first.bytes;
        let mut keys = HashSet::new();
        keys.extend(first.kept_key());
        let mut batch = vec![first];
        while batch.len() < most {
            let Ok(Some(queued)) = timeout_at(until, self.take()).await else {
                break;
            };
            bytes += queued.bytes;
            let is_second = queued.kept_key().is_some_and(|key| !keys.insert(key));
            if is_second || bytes > self.settings.batch_bytes {
                self.next = Some(queued);
                break;
            }
            batch.push(queued);
        }
        Some(batch)
    }

    /// Puts a batch on the bus, what of it may not be lost as often as it takes.
    async fn publish(&self, mut batch: Vec<Queued>) {
        let mut pause = FIRST_PAUSE;
        loop {
            self.counts.batches.inc();
            let messages = batch.iter().map(|queued| queued.message.clone());
            let answers = self.bus.publish(messages.collect()).await;
            let both = batch.into_iter().zip(answers);
            batch = both
                .filter_map(|(queued, answer)| self.settle(queued, answer))
                .collect();
            if batch.is_empty() {
                return;
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// What became of one; it is given back where it has to be tried again.
    fn settle(&self, mut queued: Queued, answer: Result<(), Error>) -> Option<Queued> {
        let error = match answer {
            Ok(()) => {
                queued.is_published = true;
                return None;
            }
            Err(error) => error,
        };
        let topic = &queued.message.topic;
        match error {
            Error::Full | Error::Unavailable(_) if !queued.may_be_lost => {
                debug!(%error, %topic, "the bus did not take a message; it is tried again");
                self.counts.again.inc();
                Some(queued)
            }
            Error::Full | Error::Unavailable(_) => {
                debug!(%error, %topic, "the bus did not take a message that may be lost");
                None
            }
            Error::Size | Error::Unable(_) | Error::Closed => {
                warn!(%error, %topic, "the bus will never take this message");
                None
            }
        }
    }
}

impl Queued {
    /// What must stay in order with others, where it may not be lost.
    fn kept_key(&self) -> Option<(super::Topic, String)> {
        (!self.may_be_lost).then(|| (self.message.topic.clone(), self.message.key.clone()))
    }
}

#[cfg(test)]
mod tests;
