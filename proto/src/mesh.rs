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
pub const INTERNAL: [&str; 5] = [AFFINITY, ORPHAN, SLOT, VIEW, BOOT];

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
}
