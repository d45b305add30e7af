//! A bus: instructions that whoever does a job carries out (a group), and news for everybody (broadcast).
//!
//! [`Bus`] is what a form must do: take messages, hand them out, hear what became of them. All that makes
//! it good to use is in [`Transit`], once for all forms: bounds, order per key, redelivery with pauses,
//! the deadline of a delivery, dead letters, expiry. So a broker that redelivers badly, or not at all,
//! keeps the same contract; what none of it can make up, a form says by [`Promises`].
//!
//! # Invariants
//! - At least once: what [`Transit::publish`] called done reaches each group, and each listener that has
//!   subscribed before, once or more often. Who takes part recognises a message by its id.
//! - A publish that failed or was given up may have happened all the same.
//! - Messages of one topic and key come in the order in which one publisher gave them, and the next comes
//!   to a member of a group only when the one before is settled there.
//! - A message that nobody can carry out does not come for ever: after its attempts it lies in the
//!   topic's dead letters ([`Topic::dead`]) and says where it came from and why.

use std::{collections::BTreeMap, fmt, str::FromStr, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;

#[cfg(any(test, feature = "contract"))]
pub mod contract;
mod dapr;
mod deliveries;
mod memory;
mod metrics;
pub mod publisher;
mod sqlite;
mod transit;

pub use self::{
    dapr::Inlet,
    deliveries::{Deliveries, Delivery},
    memory::Bounds,
    metrics::Metrics,
    transit::Transit,
};

/// The longest id, key or attribute, in bytes. A dead letter's id is longer, by its topic.
pub const TEXT_BYTES: usize = 256;

/// The largest body, in bytes: with its envelope it must fit what brokers take by default (1 MiB).
pub const BODY_BYTES: usize = 512 << 10;

/// The most attributes of a message. A dead letter has three more.
pub const ATTRIBUTES: usize = 12;

/// The most messages of one [`Transit::publish`].
pub const BATCH: usize = 128;

/// Where messages of one kind go: `a2a.push.v1`. At most 100 lower case letters, digits, `-` and `.`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Topic(String);

/// A text that names no topic.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0:?} is no topic; say at most 100 lower case letters, digits, '-' and '.'")]
pub struct UnknownTopic(String);

impl Topic {
    /// The topic's name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where this topic's dead letters lie; those of dead letters stay where they are.
    #[must_use]
    pub fn dead(&self) -> Self {
        if self.0.starts_with("a2a.dlq.") || self.0.starts_with("dlq.") {
            return self.clone();
        }
        match self.0.strip_prefix("a2a.") {
            Some(rest) => Self(format!("a2a.dlq.{rest}")),
            None => Self(format!("dlq.{}", self.0)),
        }
    }
}

impl FromStr for Topic {
    type Err = UnknownTopic;

    fn from_str(text: &str) -> Result<Self, UnknownTopic> {
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
        let is_topic = (1..=100).contains(&text.len()) && text.bytes().all(allowed);
        is_topic
            .then(|| Self(text.to_owned()))
            .ok_or_else(|| UnknownTopic(text.to_owned()))
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is on the bus.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Message {
    /// Where it goes.
    pub topic: Topic,
    /// By what it is known again, within its topic: a message published twice under one id is the same.
    pub id: String,
    /// What must stay in order has one key.
    pub key: String,
    /// What must be read without the body: few, short, their names of lower case letters and digits.
    pub attributes: BTreeMap<String, String>,
    /// What it says; not a byte of it is changed.
    pub body: Bytes,
    /// After this it is of no use to anybody, and is not handed out any more.
    pub ttl: Option<Duration>,
}

impl Message {
    /// A message without attributes that does not expire.
    #[must_use]
    pub const fn new(topic: Topic, id: String, key: String, body: Bytes) -> Self {
        Self {
            topic,
            id,
            key,
            attributes: BTreeMap::new(),
            body,
            ttl: None,
        }
    }
}

/// Who is handed a topic's messages.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Reach {
    /// One of all that subscribe under this name, whatever their process: a job's members. The group
    /// keeps its place in the topic while it has no member. A topic's first group also gets what came
    /// before it, as far as that is still kept.
    Group(String),
    /// Each that subscribes, from now on.
    Broadcast,
}

/// What is subscribed to, and how it is handed out.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// The topic.
    pub topic: Topic,
    /// To one of a group, or to everybody.
    pub reach: Reach,
    /// How many deliveries may be unsettled at a time.
    pub in_flight: usize,
    /// How long a delivery may stay unsettled before it counts as an attempt that failed.
    pub deadline: Duration,
    /// How often a message is handed out before it is a dead letter.
    pub attempts: u32,
    /// The pause after the first attempt that failed; each one after it is twice as long.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
}

impl Subscription {
    /// With 32 in flight, 10 s each, 6 attempts with pauses of 0.5 s to 30 s.
    #[must_use]
    pub const fn new(topic: Topic, reach: Reach) -> Self {
        Self {
            topic,
            reach,
            in_flight: 32,
            deadline: Duration::from_secs(10),
            attempts: 6,
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(30),
        }
    }
}

/// What a form hands out.
pub struct Arrival {
    /// The message. Its `ttl` is what is left of it.
    pub message: Message,
    /// How often this form has handed it out, with this time, as far as it knows.
    pub attempt: u32,
    /// How the form hears what became of it.
    pub receipt: Box<dyn Receipt>,
}

impl fmt::Debug for Arrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Arrival");
        debug.field("id", &self.message.id);
        debug
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}

/// How a form hears what became of an arrival. Dropped, the message is not done: the form hands it out
/// again, here or to another member.
pub trait Receipt: Send {
    /// It is done, here: never hand it out to this group again.
    fn done(self: Box<Self>) -> BoxFuture<'static, Result<(), Error>>;
}

/// The arrivals of one subscription.
pub trait Arrivals: Send {
    /// The next one; waits for it. After `None` nothing comes: the form has closed it, and to subscribe
    /// again may help.
    ///
    /// # Cancel safety
    /// Dropping the future loses no arrival.
    fn next(&mut self) -> BoxFuture<'_, Option<Arrival>>;
}

/// What a form itself keeps of the contract. [`Transit`] makes up for the rest, or refuses at the start.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a promise of its own, and they are read by name"
)]
pub struct Promises {
    /// What was published outlives this process.
    pub durable: bool,
    /// Members of a group in several processes share a topic's messages.
    pub groups: bool,
    /// Each listener of a broadcast has its own copy, in several processes.
    pub broadcast: bool,
    /// Messages of one key arrive in their order.
    pub order: bool,
    /// What was not done, because its process died, arrives again.
    pub redelivery: bool,
}

/// How much waits in a topic for a group.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Depth {
    /// Messages that are not done.
    pub messages: u64,
    /// How long the oldest of them has waited.
    pub oldest: Duration,
}

/// What a form threw away by itself.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Losses {
    /// Messages that no group had claimed, for want of room.
    pub evicted: u64,
    /// Messages that could not be read any more; what was left of them is a dead letter.
    pub unreadable: u64,
}

/// What a form of the bus does. Messages are within their bounds when it is asked.
pub trait Bus: fmt::Debug + Send + Sync {
    /// What it keeps of the contract by itself.
    fn promises(&self) -> Promises;

    /// Takes messages, one answer for each, in their order. Those of one topic and key stay in it.
    ///
    /// # Cancel safety
    /// Dropping the future leaves each message published or not.
    fn publish(&self, batch: Vec<Message>) -> BoxFuture<'_, Vec<Result<(), Error>>>;

    /// Begins to hand out, at most `in_flight` at a time.
    fn subscribe(
        &self,
        topic: Topic,
        reach: Reach,
        in_flight: usize,
    ) -> BoxFuture<'_, Result<Box<dyn Arrivals>, Error>>;

    /// How much waits; `None` where the form can't know.
    fn depth(&self, topic: Topic, group: String) -> BoxFuture<'_, Result<Option<Depth>, Error>>;

    /// What it threw away since this was last asked.
    fn losses(&self) -> Losses {
        Losses::default()
    }
}

/// Why the bus did not do it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// A text is empty or over [`TEXT_BYTES`], a body over [`BODY_BYTES`], or there are over
    /// [`ATTRIBUTES`] attributes or [`BATCH`] messages.
    #[error("the message is over its size bound")]
    Size,
    /// The bus holds as much as it may. What was refused is not on it.
    #[error("the bus is full")]
    Full,
    /// This form can't do that at all, and the text says what would.
    #[error("{0}")]
    Unable(String),
    /// It can't be reached, or did not answer in time: the message may be on the bus or not.
    #[error("the bus does not answer")]
    Unavailable(#[source] std::sync::Arc<dyn std::error::Error + Send + Sync>),
    /// The process is being shut down.
    #[error("the bus is closed")]
    Closed,
}

impl Error {
    fn unavailable(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Unavailable(std::sync::Arc::new(error))
    }
}

#[cfg(test)]
mod tests;
