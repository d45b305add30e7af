//! Who calls, which agent, and what the router says about the call.
//!
//! # Invariants
//! - Credentials are kept only as a digest and as what is passed on to other agents; `Debug` shows
//!   neither.

use std::fmt;

use http::{HeaderMap, header::AUTHORIZATION};
use mesh_proto::{
    Problem,
    mesh::{self, Slot},
};
use mesh_runtime::telemetry::Traceparent;
use tokio::time::Instant;

use super::{check, deadline};
use crate::{
    agent::Agent,
    record::{Scope, digest},
    session::CallContext,
};

/// The longest route that is taken from a router; its own are 26 bytes.
const AFFINITY_BYTES: usize = 64;

/// Where a call comes from.
#[derive(Clone)]
pub struct Caller {
    agent: Agent,
    principal: String,
    affinity: Option<String>,
    last_event: Option<String>,
    /// What is wrong with the deadline, if something is.
    wrong: Option<Box<Problem>>,
    slot: Option<Slot>,
    orphan: bool,
    call: CallContext,
}

impl Caller {
    /// Reads the headers of a call for `agent`.
    #[must_use]
    pub fn new(agent: Agent, headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let credentials = headers.get(AUTHORIZATION);
        let trace = text(mesh::TRACEPARENT).and_then(Traceparent::parse);
        let trace = trace.map_or_else(Traceparent::root, Traceparent::child);
        let (deadline, wrong) = match deadline::read(headers) {
            Ok(within) => (within.map(|within| Instant::now() + within), None),
            Err(problem) => (None, Some(Box::new(problem))),
        };
        Self {
            agent,
            wrong,
            principal: credentials.map_or_else(String::new, |value| digest(value.as_bytes())),
            affinity: text(mesh::AFFINITY)
                .filter(|route| is_route(route))
                .map(str::to_owned),
            last_event: headers
                .get(mesh::LAST_EVENT_ID)
                .map(|id| id.to_str().unwrap_or_default().to_owned()),
            slot: text(mesh::SLOT)
                .and_then(|slot| slot.parse().ok())
                .map(Slot),
            orphan: text(mesh::ORPHAN) == Some("1"),
            call: CallContext {
                traceparent: Some(trace.to_string()),
                hops: text(mesh::HOPS)
                    .and_then(|hops| hops.parse().ok())
                    .unwrap_or(0),
                authorization: credentials
                    .and_then(|value| value.to_str().ok())
                    .map(str::to_owned),
                deadline,
                ..CallContext::default()
            },
        }
    }

    /// When the caller stops waiting.
    ///
    /// # Errors
    /// [`mesh_proto::Fault::InvalidRequest`], where it said so in a way that can't be read.
    pub fn deadline(&self) -> Result<Option<Instant>, Problem> {
        match &self.wrong {
            Some(problem) => Err(Problem::clone(problem)),
            None => Ok(self.call.deadline),
        }
    }

    /// A digest of the caller's credentials; empty where there are none.
    #[must_use]
    pub fn principal(&self) -> &str {
        &self.principal
    }

    /// The agent that is called.
    #[must_use]
    pub const fn agent(&self) -> &Agent {
        &self.agent
    }

    /// The route to put in front of minted ids.
    #[must_use]
    pub fn affinity(&self) -> Option<&str> {
        self.affinity.as_deref()
    }

    /// The last event that the caller saw of the task that it asks for, as it wrote it.
    #[must_use]
    pub fn last_event(&self) -> Option<&str> {
        self.last_event.as_deref()
    }

    /// The slot that the router placed the call by.
    #[must_use]
    pub const fn slot(&self) -> Option<Slot> {
        self.slot
    }

    /// Whether the router says that the owner of the task is gone.
    #[must_use]
    pub const fn is_orphan(&self) -> bool {
        self.orphan
    }

    /// What goes along to tools and other agents.
    #[must_use]
    pub const fn call(&self) -> &CallContext {
        &self.call
    }

    /// The scope of a request with this tenant.
    ///
    /// # Errors
    /// [`mesh_proto::Fault::InvalidParams`], when the tenant is no id.
    pub fn scope(&self, tenant: &str) -> Result<Scope, Problem> {
        if !tenant.is_empty() {
            check::id("tenant", tenant)?;
        }
        Ok(Scope {
            agent: self.agent.name().clone(),
            tenant: tenant.to_owned(),
            principal: self.principal.clone(),
        })
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller")
            .field("agent", self.agent.name())
            .field("trace", &self.call.trace())
            .finish_non_exhaustive()
    }
}

/// Only characters that are safe in a path, since the id that begins with it will stand in one.
fn is_route(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= AFFINITY_BYTES
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_that_is_not_safe_in_a_path_is_no_route() {
        assert!(is_route("z1k.AbCdEfGhIjKlMnOpQrSt_-"));
        for wrong in ["", "a/b", "a b", "é", &"x".repeat(65)] {
            assert!(!is_route(wrong), "{wrong}");
        }
    }

    #[test]
    fn credentials_become_a_digest() {
        let (one, two) = (digest(b"Bearer one"), digest(b"Bearer two"));
        assert_eq!(one.len(), 32);
        assert_ne!(one, two);
        assert_eq!(digest(b""), "e3b0c44298fc1c149afbf4c8996fb924");
    }
}
