//! A group: an agent whose answer is what its members answer.
//!
//! Its task is placed, stored and adopted like any other. Who owns it lays the members out in the store,
//! puts one message per chunk of members on the bus, and shows what comes back; every worker takes chunks
//! from the bus, asks their members through the router and notes their answers in the store. So neither
//! the owner's death nor that of a worker that asks loses an answer.
//!
//! # Invariants
//! - A group of n members costs n / 256 messages on the bus, rounded up, and no more while nobody dies.
//! - A member is asked under one message id per task, however often its chunk is delivered.
//! - No credentials are on the bus: who asks reads them where the running task keeps them.
//! - Once the group's task rests, what its members still do is canceled.

mod enlist;
mod expand;
mod member;
mod metrics;
mod policy;

use std::{
    collections::{BTreeSet, HashMap},
    num::NonZero,
    sync::Arc,
    time::Duration,
};

use mesh_client::Client;
use mesh_fabric::bus::{self, Message, Topic, Transit};
use mesh_proto::{AgentName, a2a};
use mesh_runtime::clock;
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

pub use self::policy::{Policy, Tally, UnknownPolicy, Verdict};
use self::{expand::Order, metrics::Metrics};
use crate::record::{self, CHUNK, Chunk, Head, Records, Seat, TaskKey};

/// The most members of a group.
pub const MEMBERS: usize = 1_000_000;

/// The longest that a group may wait for its members; a chunk's delivery is never older.
const LONGEST: Duration = Duration::from_hours(1);

/// Who a group is, as the agents file has it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Who is asked: agents by their names at the router, or `{agent: NAME, context: ID}`. Default none:
    /// then `owners` have to name them.
    #[serde(default)]
    pub members: Vec<Member>,
    /// Who may read the members, and add and remove more of them, at `/NAME/members`: environment variables
    /// that hold bearer tokens. Default nobody.
    #[serde(default)]
    pub owners: Vec<String>,
    /// Only members whose cards have the skill of this id are asked. Default: all.
    #[serde(default)]
    pub skill: Option<String>,
    /// Only so many members are asked, drawn by lot for each task. Default: all.
    #[serde(default)]
    pub sample: Option<NonZero<u32>>,
    /// When there is enough: `all`, `quorum:K`, `first` or `deadline`. Default `all`.
    #[serde(default)]
    pub policy: Policy,
    /// How long the members have, in seconds, at most an hour. Default 300, as for one agent that asks
    /// another.
    #[serde(default = "five_minutes")]
    pub seconds: u32,
}

/// A member as the agents file has it.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(untagged)]
pub enum Member {
    /// An agent, asked in a context of its own.
    Agent(AgentName),
    /// An agent in a context.
    Within {
        /// The agent.
        agent: AgentName,
        /// The context.
        context: String,
    },
}

/// How groups are asked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The base URL of the router that members are asked through; `None` when there is none, so that
    /// groups can't be asked.
    pub router: Option<String>,
    /// Members that this worker asks at once, over all groups. Default 64.
    pub calls: usize,
    /// Chunks that this worker has taken from the bus at once. Default 8.
    pub chunks: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            router: None,
            calls: 64,
            chunks: 8,
        }
    }
}

/// What groups are asked by, at one worker. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Fanout(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bus: Transit,
    records: Records,
    settings: Settings,
    metrics: Metrics,
    calls: Semaphore,
    clients: Mutex<HashMap<AgentName, Client>>,
    offers: enlist::Offers,
}

/// Why members could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no router to ask them through.
    #[error("its members can't be asked: this worker knows no router")]
    NoRouter,
    /// The store did not take or tell it.
    #[error("what its members are asked can't be kept")]
    Record(#[from] record::Error),
    /// There is nobody to ask.
    #[error("it has no members{0}")]
    Nobody(String),
    /// The bus did not take it.
    #[error("its members can't be reached over the bus")]
    Bus(#[source] bus::Error),
}

impl Config {
    /// What is wrong with it, in words.
    ///
    /// # Errors
    /// The words.
    pub fn check(&self, name: &AgentName) -> Result<(), String> {
        let count = self.members.len();
        if count > MEMBERS {
            return Err(format!("it has {count} members, not {MEMBERS} at most"));
        }
        if count == 0 && self.owners.is_empty() {
            return Err("it has no members, and no owners to name them".to_owned());
        }
        let mut met = BTreeSet::new();
        for member in &self.members {
            let seat = member.seat();
            if seat.agent == name.as_str() {
                return Err("it is a member of itself".to_owned());
            }
            if !met.insert(member) {
                return Err(format!("{} is a member twice", seat.name()));
            }
        }
        let known = self.owners.is_empty().then_some(count);
        let drawn = self.sample.map(|sample| sample.get() as usize);
        if let Policy::Quorum(needed) = self.policy
            && let Some(most) = known.into_iter().chain(drawn).min()
            && !(1..=most).contains(&usize::try_from(needed).unwrap_or(usize::MAX))
        {
            return Err(format!("{most} members are no quorum of {needed}"));
        }
        let longest = LONGEST.as_secs();
        if !(1..=longest).contains(&u64::from(self.seconds)) {
            return Err(format!(
                "its members have {} s, not 1 to {longest}",
                self.seconds
            ));
        }
        Ok(())
    }
}

impl Member {
    pub(crate) fn seat(&self) -> Seat {
        let (agent, context) = match self {
            Self::Agent(agent) => (agent, ""),
            Self::Within { agent, context } => (agent, context.as_str()),
        };
        Seat {
            agent: agent.to_string(),
            context: context.to_owned(),
            ..Seat::default()
        }
    }
}

impl Fanout {
    /// Over a bus and a store. [`Self::serve`] makes the worker one of those that ask.
    #[must_use]
    pub fn new(
        bus: Transit,
        records: Records,
        settings: Settings,
        registry: &mut Registry,
    ) -> Self {
        Self(Arc::new(Inner {
            bus,
            records,
            metrics: Metrics::register(registry),
            calls: Semaphore::new(settings.calls.max(1)),
            clients: Mutex::default(),
            offers: enlist::Offers::default(),
            settings,
        }))
    }

    /// What became of a chunk's members so far.
    ///
    /// # Errors
    /// [`record::Error`].
    pub async fn chunk(&self, key: &TaskKey, number: u32) -> Result<Chunk, record::Error> {
        let chunk = self.0.records.chunk(key, number).await?;
        Ok(chunk.unwrap_or_default())
    }

    /// Has every member asked, unless an owner of the task before this one has done so.
    ///
    /// # Errors
    /// [`Error`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves some asked and some not; asked again, none does its work twice.
    pub async fn ask(
        &self,
        key: &TaskKey,
        config: &Config,
        message: &a2a::Message,
    ) -> Result<Head, Error> {
        if self.0.settings.router.is_none() {
            return Err(Error::NoRouter);
        }
        let mut head = match self.0.records.fan_out(key).await? {
            Some(head) => head,
            None => {
                let members = self.0.lay_out(key, config).await?;
                let head = head(config, members, message);
                self.0.records.note_fan_out(key, &head).await?;
                head
            }
        };
        if !head.is_published {
            publish(&self.0.bus, key, head.chunks()).await?;
            head.is_published = true;
            self.0.records.note_fan_out(key, &head).await?;
        }
        Ok(head)
    }
}

impl Head {
    /// How many chunks its members are in.
    #[must_use]
    pub fn chunks(&self) -> u32 {
        self.members
            .div_ceil(u32::try_from(CHUNK).unwrap_or(u32::MAX))
    }
}

fn head(config: &Config, members: u32, message: &a2a::Message) -> Head {
    let millis = u64::from(config.seconds) * 1000;
    Head {
        members,
        until: clock::unix_millis() + millis,
        is_published: false,
        message: Some(message.clone()),
        keep: (ANSWERS / members.max(1)).clamp(ANSWER_LEAST, ANSWER_MOST),
    }
}

/// Puts one message per chunk on the bus; one that the bus does not take is given to it again.
async fn publish(bus: &Transit, key: &TaskKey, chunks: u32) -> Result<(), Error> {
    let numbers: Vec<_> = (0..chunks).collect();
    for some in numbers.chunks(bus::BATCH) {
        let mut left: Vec<_> = some.iter().map(|n| order(key, *n)).collect();
        let mut pause = PAUSE;
        for attempt in 1_u32.. {
            let answers = bus.publish(left.clone()).await;
            let mut failed = None;
            let answered = left.into_iter().zip(answers);
            left = answered
                .filter_map(|(message, answer)| answer.err().map(|error| (message, error)))
                .map(|(message, error)| {
                    failed = Some(error);
                    message
                })
                .collect();
            match failed {
                None => break,
                Some(error) if attempt >= PUBLISHES => return Err(Error::Bus(error)),
                Some(error) => {
                    tracing::warn!(%error, task = %key.id, "chunks are put on the bus again");
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
            }
        }
    }
    Ok(())
}

fn order(key: &TaskKey, number: u32) -> Message {
    let topic = topic();
    let name = format!("{}/{number}", key.id);
    let id = format!("{name}@{topic}");
    Message::new(topic, id, name, Order::of(key, number).encode())
}

/// Where the chunks go.
fn topic() -> Topic {
    #[expect(clippy::expect_used, reason = "a constant; a test publishes to it")]
    TOPIC.parse().expect("a constant that is a topic")
}

const TOPIC: &str = "a2a.group.v1";

/// Under which name the workers share the chunks.
const GROUP: &str = "group-expand";

/// How often a chunk is given to a bus that does not take it, and the first pause between.
const PUBLISHES: u32 = 6;
const PAUSE: Duration = Duration::from_millis(250);

/// How many bytes of answers a task keeps, over all members, and how many of one.
const ANSWERS: u32 = 3 << 20;
const ANSWER_LEAST: u32 = 256;
const ANSWER_MOST: u32 = 32 << 10;

const fn five_minutes() -> u32 {
    300
}

#[cfg(test)]
mod tests;
