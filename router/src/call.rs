//! The words of a call: what a binding hands to the relay, and what it gets back.
//!
//! Everything here is ours: no type of the HTTP library passes through, so that a binding or the
//! upstream side can change its wire without the relay knowing.
//!
//! # Invariants
//! - An [`Ask`] owns its bytes; nothing in it borrows from a connection's read buffer.
//! - A [`Reply`]'s body is forwarded as it comes; nobody between upstream and binding buffers it.

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use mesh_core::{
    error::{CallError, Side},
    placement::Facts,
};
use mesh_proto::{
    AgentName, Binding, Dialect, Operation, Problem, jsonrpc::RawId, mesh, pivot, scan::Ids,
};
use mesh_runtime::telemetry::Traceparent;

/// A body on its way to a client: data frames, then perhaps trailers.
pub type Body = UnsyncBoxBody<Bytes, Broken>;

/// A body that ended before its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the stream broke before its end")]
pub struct Broken;

/// The ids by which a call is placed, owned.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Keys {
    /// The agent's own tenant, without the segment by which the router found the agent.
    pub tenant: Option<Box<str>>,
    /// The task meant.
    pub task: Option<Box<str>>,
    /// The conversation meant.
    pub context: Option<Box<str>>,
    /// The message sent.
    pub message: Option<Box<str>>,
    /// The skill by which the agent was found, where the caller named none.
    pub skill: Option<Box<str>>,
}

impl Keys {
    /// The ids as placement takes them.
    #[must_use]
    pub fn facts<'a>(&'a self, agent: &'a AgentName, operation: Operation) -> Facts<'a> {
        Facts {
            operation,
            agent,
            tenant: self.tenant.as_deref(),
            task_id: self.task.as_deref(),
            context_id: self.context.as_deref(),
            message_id: self.message.as_deref(),
        }
    }
}

impl From<&Ids<'_>> for Keys {
    fn from(ids: &Ids<'_>) -> Self {
        let own = |id: &Option<std::borrow::Cow<'_, str>>| id.as_deref().map(Box::from);
        Self {
            tenant: own(&ids.tenant),
            task: own(&ids.task_id),
            context: own(&ids.context_id),
            message: own(&ids.message_id),
            skill: None,
        }
    }
}

/// One call, read from the wire as far as the router needs to know it.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The agent that it is for.
    pub agent: AgentName,
    /// What the client speaks.
    pub dialect: Dialect,
    /// What it wants.
    pub operation: Operation,
    /// The ids that decide its place.
    pub keys: Keys,
    /// The HTTP method, as it came.
    pub method: Method,
    /// Path and query below the agent's own path, as they came; empty for JSON-RPC and gRPC.
    pub path: Box<str>,
    /// Headers, without those that end at a hop and those that only the mesh may set.
    pub headers: HeaderMap,
    /// The body, as it came (still compressed where it was).
    pub body: Bytes,
    /// The same uncompressed and out of its frame, where it came compressed.
    pub plain: Option<Bytes>,
    /// Routers passed so far, this one included.
    pub hops: u32,
    /// Our span of the caller's trace.
    pub trace: Traceparent,
    /// How the caller's binding ends a stream that broke.
    pub farewell: Farewell,
}

impl Ask {
    /// The same caller's call with another request, written in the same dialect. Its ids are the
    /// caller's still: who asks for another task says so.
    ///
    /// # Errors
    /// What of the request has no form in the dialect.
    pub fn rewritten(&self, request: &pivot::Request) -> Result<Self, Problem> {
        let id = self.farewell.id.clone().unwrap_or_else(RawId::null);
        let written = pivot::encode_request(self.dialect, &id, request)?;
        let mut headers = self.headers.clone();
        // It is written anew, and its answer will be read.
        for name in [header::CONTENT_ENCODING, header::ACCEPT_ENCODING] {
            headers.remove(name);
        }
        for name in ["grpc-encoding", "grpc-accept-encoding"] {
            headers.remove(name);
        }
        let path = match self.dialect.binding {
            Binding::JsonRpc | Binding::Grpc => self.path.clone(),
            Binding::Rest => {
                // The version may have stood in the query that was.
                let version = HeaderValue::from_static(self.dialect.version.as_str());
                headers.insert(mesh::A2A_VERSION, version);
                written.path.into()
            }
        };
        match written.content_type {
            None => headers.remove(header::CONTENT_TYPE),
            Some(kind) => headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        };
        Ok(Self {
            operation: request.operation(),
            method: written.method,
            path,
            headers,
            body: written.body,
            plain: None,
            ..self.clone()
        })
    }
}

/// How a binding tells a client that a stream ended before its end.
#[derive(Clone, Debug)]
pub struct Farewell {
    /// The JSON-RPC id, which every frame of that binding repeats.
    pub id: Option<RawId>,
    /// Writes the last words.
    pub write: fn(Option<&RawId>, &Problem) -> LastWords,
}

/// The last words of a broken stream.
#[derive(Clone, Debug)]
pub enum LastWords {
    /// One more event.
    Event(Bytes),
    /// Trailers.
    Trailers(HeaderMap),
}

/// What comes back: the upstream's head, and its body as it arrives.
#[derive(Debug)]
pub struct Reply {
    /// The upstream's status.
    pub status: StatusCode,
    /// The upstream's headers, without those that end at a hop and those of the mesh.
    pub headers: HeaderMap,
    /// The upstream's body.
    pub body: Body,
}

/// How a call ended, for counters.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Outcome {
    /// The upstream answered, be it with an error of its own.
    Answered,
    /// The call failed, and whose side it was.
    Failed(Side),
    /// The client went away first.
    Abandoned,
}

impl Outcome {
    /// All of them, so that every series is there from the start.
    pub const ALL: [Self; 5] = [
        Self::Answered,
        Self::Failed(Side::Downstream),
        Self::Failed(Side::Router),
        Self::Failed(Side::Upstream),
        Self::Abandoned,
    ];

    /// The label's value.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Failed(Side::Downstream) => "downstream",
            Self::Failed(Side::Router) => "router",
            Self::Failed(Side::Upstream) => "upstream",
            Self::Abandoned => "abandoned",
        }
    }

    /// Its place in [`Outcome::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Answered => 0,
            Self::Failed(Side::Downstream) => 1,
            Self::Failed(Side::Router) => 2,
            Self::Failed(Side::Upstream) => 3,
            Self::Abandoned => 4,
        }
    }
}

impl From<&CallError> for Outcome {
    fn from(error: &CallError) -> Self {
        Self::Failed(error.side())
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// A body that is already whole.
#[must_use]
pub fn whole(bytes: Bytes) -> Body {
    Full::new(bytes)
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// No body at all.
#[must_use]
pub fn empty() -> Body {
    whole(Bytes::new())
}
