//! The contract between our router and our worker: headers, reports, and the mesh's own ids.
//!
//! # Invariants
//! - A third party needs none of this to be routed to; our worker needs no key to mint a routable id.
//! - Every header here is dropped when it comes from outside, except [`HOPS`], which only grows.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// Router to worker: the route to put in front of ids minted for this call (`z1k.<22 characters>`).
pub const AFFINITY: &str = "a2a-affinity";
/// Router to worker: the token's worker is gone, adopt the task from the store.
pub const ORPHAN: &str = "a2a-orphan";
/// Router to worker: the slot of the call, decimal.
pub const SLOT: &str = "daca-slot";
/// Router to worker: the hash of the router's view, 16 hex digits.
pub const VIEW: &str = "daca-view";
/// Worker to router, on every response: the boot id of the process that answered.
pub const BOOT: &str = "daca-boot";
/// Worker to router, on every response: a [`Load`].
pub const LOAD: &str = "daca-load";
/// Worker to router, on a refusal for a task that another worker holds: that worker's boot id. The
/// refusal says that nothing was done; the same request may go there.
pub const OWNER: &str = "daca-owner";
/// Worker to router, on a stream: the id of the task that it is of.
pub const TASK: &str = "daca-task";
/// Worker to caller, on a gRPC stream: the event id of its first message. Each message after it has
/// the next number. (Over HTTP each event has its own `id:` line.)
pub const EVENT_ID: &str = "daca-event-id";
/// Caller to worker, also over gRPC: the last event that was seen of the task; what follows is sent
/// again, as far as it is still held (HTML, "Server-sent events").
pub const LAST_EVENT_ID: &str = "last-event-id";
/// Both ways: milliseconds that a call may still take. gRPC has `grpc-timeout` for it. A router takes
/// off what has passed and sends the rest on.
pub const TIMEOUT: &str = "daca-timeout";
/// Both ways: how many routers a call and the calls that led to it have passed.
pub const HOPS: &str = "daca-hops";
/// Client to router over gRPC: the agent meant, before any look at the tenant.
pub const AGENT: &str = "a2a-agent";
/// Client to router over gRPC: the id of the skill that is asked for, percent-encoded as in a path, where
/// no agent is named.
pub const SKILL: &str = "a2a-skill";
/// The version that a caller speaks (spec 3.6.1); also a query parameter.
pub const A2A_VERSION: &str = "a2a-version";
/// W3C trace context.
pub const TRACEPARENT: &str = "traceparent";
/// Where our worker answers with its [`WorkerReport`].
pub const WORKER_PATH: &str = "/-/worker";
/// Where our worker takes a [`ViewNotice`], with POST.
pub const VIEW_PATH: &str = "/-/view";
/// Where our worker is told of tasks that another one hands over to it, with POST.
pub const ADOPT_PATH: &str = "/-/adopt";
/// How many routers a call may pass, its delegations included, before it is refused as a loop.
pub const HOP_LIMIT: u32 = 16;
/// Key of an error's metadata that tells the refusal of a call that passed [`HOP_LIMIT`] routers from
/// any other bad request. Its value is the limit.
pub const HOP_LIMIT_KEY: &str = "hopLimit";

/// The line after which the user's own words stand, in a message whose text begins with what a chat
/// client said before: instructions and earlier turns. A model that reads language needs no such
/// line; one that matches words does.
pub const TO_ANSWER: &str = "The message to answer:";
/// The headers that only the mesh may set: dropped at the router's edge.
pub const INTERNAL: [&str; 8] = [AFFINITY, ORPHAN, SLOT, VIEW, BOOT, LOAD, OWNER, TASK];

/// The stable name of a member: a configured name, or the URL as written. It decides the slots.
#[derive(Clone, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct WorkerId(Arc<str>);

impl WorkerId {
    /// Takes a configured name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(Arc::from(name))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One life of one worker: hash of its id and boot id. 0 is a third party, which tells no boot.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Incarnation(pub u32);

/// A 16-bit position of the key space, good for any size of table (its row is its top bits).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Slot(pub u16);

/// A cell: up to a thousand workers and the routers before them.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Cell(pub u16);

/// The hash of a whole view: equal hashes route alike.
#[derive(Clone, Copy, Default, Eq, Hash, PartialEq)]
pub struct ViewHash(pub u64);

impl fmt::Debug for ViewHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for ViewHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Whether a worker takes new work.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WorkerState {
    /// It takes anything.
    #[default]
    Active,
    /// It finishes what it holds and takes nothing new.
    Draining,
}

/// What our worker says of itself at [`WORKER_PATH`].
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct WorkerReport {
    /// The boot id: new with each start of the process.
    pub boot: String,
    /// Whether it takes new work.
    pub state: WorkerState,
    /// Tasks that it runs now.
    pub in_flight: u32,
    /// Tasks that it is willing to run at once.
    pub capacity: u32,
    /// The names of the agents that it serves.
    #[serde(default)]
    pub agents: Vec<String>,
    /// Which store it keeps its tasks in: workers that say the same see the same tasks. Empty where
    /// nobody else sees them. It means nothing but to be compared.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub store: String,
    /// The view of the latest [`ViewNotice`] that it took in; empty before the first.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub view: String,
}

/// How busy a worker is, as [`LOAD`] tells it: `IN_FLIGHT/CAPACITY`, and `;draining` where it takes
/// nothing new.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Load {
    /// Tasks that it runs now.
    pub in_flight: u32,
    /// Tasks that it is willing to run at once; 0 where it did not say.
    pub capacity: u32,
    /// Whether it takes new work.
    pub state: WorkerState,
}

impl Load {
    /// Reads the header's value.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (counts, state) = match text.split_once(';') {
            None => (text, WorkerState::Active),
            Some((counts, "draining")) => (counts, WorkerState::Draining),
            Some(_) => return None,
        };
        let (in_flight, capacity) = counts.split_once('/')?;
        Some(Self {
            in_flight: in_flight.parse().ok()?,
            capacity: capacity.parse().ok()?,
            state,
        })
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.in_flight, self.capacity)?;
        match self.state {
            WorkerState::Active => Ok(()),
            WorkerState::Draining => f.write_str(";draining"),
        }
    }
}

impl From<&WorkerReport> for Load {
    fn from(report: &WorkerReport) -> Self {
        Self {
            in_flight: report.in_flight,
            capacity: report.capacity,
            state: report.state,
        }
    }
}

/// What a router posts to each worker of ours at [`VIEW_PATH`], whenever its view changes: who else is
/// there, so that the worker computes the same table and finds what has become its own.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct ViewNotice {
    /// The view's hash, as in [`VIEW`].
    pub view: String,
    /// The agents of which the worker is a member.
    pub agents: Vec<PoolNotice>,
    /// Boots that the router holds to be over: their connections are refused or were reset, or another
    /// boot answers in their place. The newest [`GONE_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<String>,
}

/// The members of one agent, in a [`ViewNotice`].
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct PoolNotice {
    /// The agent.
    pub agent: String,
    /// Which of the members the worker itself is.
    pub you: String,
    /// All of them.
    pub members: Vec<MemberNotice>,
}

/// One member, in a [`PoolNotice`].
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct MemberNotice {
    /// Its stable name.
    pub id: String,
    /// Where it is.
    pub url: String,
    /// Its share relative to others.
    pub weight: u8,
    /// Where it stands, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Its boot id; empty for a third party.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub boot: String,
    /// Whether it takes new work.
    #[serde(default)]
    pub state: WorkerState,
}

/// Where [`ControlNews`] goes, to each router that listens.
pub const CONTROL_TOPIC: &str = "a2a.control.v1";

/// What every router is to know at once, on the bus: JSON on [`CONTROL_TOPIC`]. Fields and kinds may be
/// added; none changes its meaning within that topic. Nothing depends on it: what it says is also found
/// out without it, only later.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ControlNews {
    /// What has happened.
    pub kind: ControlKind,
    /// The agents that it has happened to.
    pub agents: Vec<String>,
    /// The life of the worker that it has happened at; empty where it is none of ours.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub boot: String,
    /// Where that worker listens, where it has one address: `http://10.0.0.1:9000`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub url: String,
    /// When, in Unix milliseconds.
    pub at: u64,
}

/// The kind of a [`ControlNews`].
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ControlKind {
    /// The worker takes nothing new from now on.
    Draining,
    /// The agents' cards may say something else than they did: those of the worker, or where no worker is
    /// named those of all members.
    CardChanged,
    /// Something that this version does not know; to be passed over.
    #[serde(other)]
    Unknown,
}

/// How many boots a [`ViewNotice`] names as gone.
pub const GONE_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_of_a_kind_or_with_fields_that_nobody_knows_yet_are_read_all_the_same() {
        let text = r#"{"kind":"moved","agents":["a"],"at":7,"where":{"x":1}}"#;
        let news: ControlNews = serde_json::from_str(text).unwrap();
        assert_eq!(news.kind, ControlKind::Unknown);
        let news = ControlNews {
            kind: ControlKind::CardChanged,
            boot: "b".to_owned(),
            ..news
        };
        let text = serde_json::to_string(&news).unwrap();
        let expected = r#"{"kind":"card_changed","agents":["a"],"boot":"b","at":7}"#;
        assert_eq!(text, expected);
        assert_eq!(serde_json::from_str::<ControlNews>(&text).unwrap(), news);
    }

    #[test]
    fn a_load_is_read_as_it_was_written_and_nothing_else_is() {
        for state in [WorkerState::Active, WorkerState::Draining] {
            let load = Load {
                in_flight: 7,
                capacity: 1024,
                state,
            };
            assert_eq!(Load::parse(&load.to_string()), Some(load));
        }
        for wrong in [
            "",
            "7",
            "7/",
            "/7",
            "-1/7",
            "1/2;",
            "1/2;gone",
            "1/2;draining ",
        ] {
            assert_eq!(Load::parse(wrong), None, "{wrong:?}");
        }
    }
}
