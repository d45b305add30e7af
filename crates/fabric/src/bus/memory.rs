//! The bus in memory: for one process, and gone with it. It keeps the contract of a good broker.
//!
//! # Invariants
//! - Each group and each listener has a queue of its own; a message is in it until it is done there.
//! - Of the messages of one key in a queue only the oldest can be out.
//! - It holds at most [`Bounds::messages`] in a queue and [`Bounds::bytes`] in all; what would pass that
//!   is refused. What nobody has subscribed to yet is kept too, but there the oldest goes: dead letters
//!   first, where there is no room for what somebody waits for.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use super::{
    Arrival, Arrivals, Bus, Depth, Error, Losses, Message, Promises, Reach, Receipt, Topic,
};

/// How many messages of a topic are kept for its first group.
const UNCLAIMED: usize = 10_000;

/// How much a bus in memory may hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bounds {
    /// Messages that one group or listener has not done. Default 100,000.
    pub messages: usize,
    /// Bytes of all messages, for each group and listener again. Default 256 MiB.
    pub bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            messages: 100_000,
            bytes: 256 << 20,
        }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Memory(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bounds: Bounds,
    state: Mutex<State>,
    evicted: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    bytes: usize,
    topics: HashMap<Topic, Lines>,
}

/// Who is handed a topic's messages.
#[derive(Debug, Default)]
struct Lines {
    queues: HashMap<Seat, Queue>,
    unclaimed: BTreeMap<u64, Stored>,
}

/// Whose queue it is.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Seat {
    Group(String),
    Listener(u64),
}

#[derive(Debug, Default)]
struct Queue {
    waiting: BTreeMap<u64, Stored>,
    out: BTreeMap<u64, Stored>,
    /// The keys of what is out.
    keys: HashSet<String>,
    rung: Arc<Notify>,
}

#[derive(Clone, Debug)]
struct Stored {
    message: Message,
    since: Instant,
    attempt: u32,
}

impl Stored {
    fn bytes(&self) -> usize {
        let message = &self.message;
        let attributes = message.attributes.iter();
        let attributes: usize = attributes
            .map(|(name, value)| name.len() + value.len())
            .sum();
        message.body.len() + message.id.len() + message.key.len() + attributes + 128
    }

    /// What is left of its time; none where it is over.
    fn left(mut self, now: Instant) -> Option<Message> {
        if let Some(ttl) = &mut self.message.ttl {
            *ttl = ttl.checked_sub(now.saturating_duration_since(self.since))?;
        }
        Some(self.message)
    }
}

impl Memory {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self(Arc::new(Inner {
            bounds,
            state: Mutex::default(),
            evicted: AtomicU64::new(0),
        }))
    }
}

impl Inner {
    fn put(&self, message: Message) -> Result<(), Error> {
        let mut state = self.state.lock();
        state.last += 1;
        let number = state.last;
        let stored = Stored {
            message,
            since: Instant::now(),
            attempt: 1,
        };
        let size = stored.bytes();
        let topic = stored.message.topic.clone();
        let lines = state.topics.get(&topic);
        let copies = lines.map_or(0, |lines| lines.queues.len());
        // What can't have room goes without taking others'.
        if let Some(room) = self.bounds.bytes.checked_sub(size * copies.max(1)) {
            while state.bytes > room && state.evict() {
                self.evicted.fetch_add(1, Ordering::Relaxed);
            }
        }
        let held = state.bytes;
        let lines = state.topics.entry(topic).or_default();
        let is_full = |queue: &Queue| queue.waiting.len() + queue.out.len() >= self.bounds.messages;
        if held + size * copies.max(1) > self.bounds.bytes || lines.queues.values().any(is_full) {
            return Err(Error::Full);
        }
        let mut taken = size * copies;
        for queue in lines.queues.values_mut() {
            queue.waiting.insert(number, stored.clone());
            queue.rung.notify_waiters();
        }
        if !lines.has_groups() && !lines.has_listeners() {
            lines.unclaimed.insert(number, stored);
            taken += size;
            if lines.unclaimed.len() > UNCLAIMED
                && let Some((_, oldest)) = lines.unclaimed.pop_first()
            {
                // May be larger than what took its place.
                state.bytes = state.bytes.saturating_sub(oldest.bytes());
                self.evicted.fetch_add(1, Ordering::Relaxed);
            }
        }
        state.bytes += taken;
        Ok(())
    }

    fn sit(&self, topic: &Topic, reach: Reach) -> (Seat, Arc<Notify>) {
        let mut state = self.state.lock();
        state.last += 1;
        let seat = match reach {
            Reach::Group(name) => Seat::Group(name),
            Reach::Broadcast => Seat::Listener(state.last),
        };
        let lines = state.topics.entry(topic.clone()).or_default();
        let kept = match &seat {
            Seat::Group(_) => std::mem::take(&mut lines.unclaimed),
            Seat::Listener(_) => BTreeMap::new(),
        };
        let queue = lines.queues.entry(seat.clone()).or_default();
        queue.waiting.extend(kept);
        (seat, Arc::clone(&queue.rung))
    }

    /// The next message that may go out, and in which attempt.
    fn take(&self, topic: &Topic, seat: &Seat) -> Option<(u64, Message, u32)> {
        let now = Instant::now();
        let mut state = self.state.lock();
        loop {
            let queue = state.topics.get_mut(topic)?.queues.get_mut(seat)?;
            let mut waiting = queue.waiting.iter();
            let free = waiting.find(|(_, stored)| !queue.keys.contains(&stored.message.key));
            let number = *free?.0;
            let stored = queue.waiting.remove(&number)?;
            let (size, attempt) = (stored.bytes(), stored.attempt);
            if let Some(message) = stored.clone().left(now) {
                queue.keys.insert(message.key.clone());
                queue.out.insert(number, stored);
                return Some((number, message, attempt));
            }
            state.bytes = state.bytes.saturating_sub(size);
        }
    }

    /// A message is done, or waits again.
    fn back(&self, topic: &Topic, seat: &Seat, number: u64, is_done: bool) {
        let mut state = self.state.lock();
        let lines = state.topics.get_mut(topic);
        let Some(queue) = lines.and_then(|lines| lines.queues.get_mut(seat)) else {
            return;
        };
        let Some(mut stored) = queue.out.remove(&number) else {
            return;
        };
        queue.keys.remove(&stored.message.key);
        queue.rung.notify_waiters();
        if is_done {
            state.bytes = state.bytes.saturating_sub(stored.bytes());
        } else {
            stored.attempt = stored.attempt.saturating_add(1);
            queue.waiting.insert(number, stored);
        }
    }

    fn leave(&self, topic: &Topic, seat: &Seat) {
        let mut state = self.state.lock();
        let lines = state.topics.get_mut(topic);
        let Some(queue) = lines.and_then(|lines| lines.queues.remove(seat)) else {
            return;
        };
        let all = queue.waiting.values().chain(queue.out.values());
        let bytes: usize = all.map(Stored::bytes).sum();
        state.bytes = state.bytes.saturating_sub(bytes);
    }
}

impl State {
    /// Throws the oldest away that no group has claimed, of dead letters first; whether there was one.
    fn evict(&mut self) -> bool {
        let first = |(topic, lines): (&Topic, &Lines)| {
            let (number, _) = lines.unclaimed.first_key_value()?;
            Some((topic.dead() != *topic, *number, topic.clone()))
        };
        let Some((_, number, topic)) = self.topics.iter().filter_map(first).min() else {
            return false;
        };
        let lines = self.topics.get_mut(&topic);
        let gone = lines.and_then(|lines| lines.unclaimed.remove(&number));
        self.bytes = self
            .bytes
            .saturating_sub(gone.map_or(0, |gone| gone.bytes()));
        true
    }
}

impl Lines {
    fn has_groups(&self) -> bool {
        self.queues
            .keys()
            .any(|seat| matches!(seat, Seat::Group(_)))
    }

    fn has_listeners(&self) -> bool {
        self.queues
            .keys()
            .any(|seat| matches!(seat, Seat::Listener(_)))
    }
}

impl Bus for Memory {
    fn promises(&self) -> Promises {
        Promises {
            durable: false,
            groups: false,
            broadcast: false,
            order: true,
            redelivery: true,
        }
    }

    fn publish(&self, batch: Vec<Message>) -> BoxFuture<'_, Vec<Result<(), Error>>> {
        let put = batch.into_iter().map(|message| self.0.put(message));
        Box::pin(ready(put.collect()))
    }

    fn subscribe(
        &self,
        topic: Topic,
        reach: Reach,
        in_flight: usize,
    ) -> BoxFuture<'_, Result<Box<dyn Arrivals>, Error>> {
        let (seat, rung) = self.0.sit(&topic, reach);
        let listening: Box<dyn Arrivals> = Box::new(Listening {
            inner: Arc::clone(&self.0),
            topic,
            seat,
            rung,
            room: Arc::new(Semaphore::new(in_flight.min(Semaphore::MAX_PERMITS))),
        });
        Box::pin(ready(Ok(listening)))
    }

    fn depth(&self, topic: Topic, group: String) -> BoxFuture<'_, Result<Option<Depth>, Error>> {
        let state = self.0.state.lock();
        let lines = state.topics.get(&topic);
        let queue = lines.and_then(|lines| lines.queues.get(&Seat::Group(group)));
        let depth = queue.map_or_else(Depth::default, |queue| {
            let first = |map: &BTreeMap<u64, Stored>| map.values().next().map(|first| first.since);
            let since = first(&queue.waiting)
                .into_iter()
                .chain(first(&queue.out))
                .min();
            Depth {
                messages: (queue.waiting.len() + queue.out.len()) as u64,
                oldest: since.map(|since| since.elapsed()).unwrap_or_default(),
            }
        });
        Box::pin(ready(Ok(Some(depth))))
    }

    fn losses(&self) -> Losses {
        Losses {
            evicted: self.0.evicted.swap(0, Ordering::Relaxed),
            unreadable: 0,
        }
    }
}

struct Listening {
    inner: Arc<Inner>,
    topic: Topic,
    seat: Seat,
    rung: Arc<Notify>,
    room: Arc<Semaphore>,
}

impl Listening {
    async fn next(&self) -> Option<Arrival> {
        let permit = Arc::clone(&self.room).acquire_owned().await.ok()?;
        loop {
            let mut rung = std::pin::pin!(self.rung.notified());
            rung.as_mut().enable();
            if let Some((number, message, attempt)) = self.inner.take(&self.topic, &self.seat) {
                let receipt = Box::new(Slip {
                    inner: Arc::clone(&self.inner),
                    topic: self.topic.clone(),
                    seat: self.seat.clone(),
                    number: Some(number),
                    _permit: permit,
                });
                return Some(Arrival {
                    message,
                    attempt,
                    receipt,
                });
            }
            rung.await;
        }
    }
}

impl Arrivals for Listening {
    fn next(&mut self) -> BoxFuture<'_, Option<Arrival>> {
        Box::pin(Self::next(self))
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if matches!(self.seat, Seat::Listener(_)) {
            self.inner.leave(&self.topic, &self.seat);
        }
    }
}

struct Slip {
    inner: Arc<Inner>,
    topic: Topic,
    seat: Seat,
    number: Option<u64>,
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
        if let Some(number) = self.number.take() {
            self.inner.back(&self.topic, &self.seat, number, true);
        }
        Box::pin(ready(Ok(())))
    }
}

impl Drop for Slip {
    fn drop(&mut self) {
        if let Some(number) = self.number.take() {
            self.inner.back(&self.topic, &self.seat, number, false);
        }
    }
}
