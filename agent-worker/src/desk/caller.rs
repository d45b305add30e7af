//! Who calls, which agent, and what the router says about the call.
//!
//! # Invariants
//! - Credentials are kept only as a digest and as what is passed on to other agents; `Debug` shows
//!   neither.

use std::fmt::{self, Write as _};

use http::{HeaderMap, header::AUTHORIZATION};
use mesh_proto::{Problem, mesh};
use mesh_runtime::telemetry::Traceparent;

use super::check;
use crate::{agent::Agent, record::Scope, session::CallContext};

/// The longest route that is taken from a router; its own are 26 bytes.
const AFFINITY_BYTES: usize = 64;

/// Where a call comes from.
#[derive(Clone)]
pub struct Caller {
    agent: Agent,
    principal: String,
    affinity: Option<String>,
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
        Self {
            agent,
            principal: credentials.map_or_else(String::new, |value| digest(value.as_bytes())),
            affinity: text(mesh::AFFINITY)
                .filter(|route| is_route(route))
                .map(str::to_owned),
            call: CallContext {
                traceparent: Some(trace.to_string()),
                hops: text(mesh::HOPS)
                    .and_then(|hops| hops.parse().ok())
                    .unwrap_or(0),
                authorization: credentials
                    .and_then(|value| value.to_str().ok())
                    .map(str::to_owned),
            },
        }
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

/// Half of a SHA-256: enough that nobody finds credentials with the same one.
fn digest(credentials: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, credentials);
    let half = digest.as_ref().iter().take(16);
    half.fold(String::with_capacity(32), |mut text, byte| {
        if write!(text, "{byte:02x}").is_err() {
            tracing::debug!("a string takes all that is written to it");
        }
        text
    })
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
