//! Ids of other people's agents: opened on the way in, sealed on the way out.
//!
//! An agent that is not ours mints ids that say nothing of its replica. In front of each such id the
//! router puts a token that names slot and replica; the agent sees only its own ids again. Nothing is
//! remembered: whatever router gets the id next can open it.
//!
//! # Invariants
//! - Only ids change; every other byte passes as it came (`mesh_proto::rewrite`).
//! - An id that came bare in a call goes back bare in it, and one that came sealed goes back in the very
//!   spelling in which it came. A conversation that the client named stays bare for all its tasks.
//! - One native id on one replica has one spelling: clients compare ids as texts.
//! - What can't be read (a compressed answer that nobody asked for, JSON that is none) passes as it came.

mod seal;

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header};
use mesh_core::{
    error::CallError,
    token::{Keys, Kind},
};
use mesh_proto::{
    AgentName, Binding, Dialect, Operation,
    mesh::Incarnation,
    rewrite::{self, Direction, IdMap},
};
use serde::Deserialize;

use crate::call::Ask;

pub use seal::Sealer;

/// Bytes before each message of gRPC: a flag and a length.
const PREFIX: usize = 5;

/// Whose ids are left alone, and bounds.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Agents whose ids pass as they are, although they have several replicas and are not ours: those
    /// whose replicas share one store, or whose clients hold ids that the router never saw. Default: none.
    pub plain: Vec<AgentName>,
    /// The longest answer, event or message whose ids are replaced, in bytes; a longer one breaks off,
    /// as if its agent had. Default 64 MiB.
    pub answer_bytes: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            plain: Vec::new(),
            answer_bytes: 64 << 20,
        }
    }
}

/// How far the ids of a pool are sealed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reach {
    /// Every id of a member that is not ours.
    All,
    /// Only those that came sealed: a pool of one, of our own workers, or one that opted out since.
    Echo,
}

/// The ids of one call, and what the agent is sent in place of what came.
#[derive(Debug)]
pub struct Envelope {
    /// Path and query, where an id stands in them.
    pub path: Option<Box<str>>,
    /// The body, where an id stands in it; uncompressed.
    pub body: Option<Bytes>,
    limit: usize,
    reach: Reach,
    ids: Arc<Ids>,
}

/// What is known of a call's ids.
#[derive(Debug)]
struct Ids {
    keys: Arc<Keys>,
    agent: AgentName,
    tenant: Option<Box<str>>,
    dialect: Dialect,
    operation: Operation,
    /// Whether the call belongs to a conversation that the client named.
    in_context: bool,
    came: Came,
}

/// The ids that came, by what the agent calls them: sealed as the text here, or bare. Bounded by the
/// request's body.
#[derive(Debug, Default)]
struct Came {
    tasks: HashMap<Box<str>, Option<Box<str>>>,
    contexts: HashMap<Box<str>, Option<Box<str>>>,
}

impl Envelope {
    /// Opens the ids of a call; `None` where none is sealed and none will be. `plain` is the body where
    /// it came compressed.
    ///
    /// # Errors
    /// A bad request, for a body whose ids can't be found.
    pub fn open(
        ask: &Ask,
        keys: &Arc<Keys>,
        reach: Reach,
        settings: &Settings,
    ) -> Result<Option<Self>, CallError> {
        let tenant = ask.keys.tenant.as_deref();
        let kind = |id: &Option<Box<str>>| {
            let opened = keys.open(id.as_deref()?, ask.agent.as_str(), tenant)?;
            Some(opened.route.kind)
        };
        let (task, context) = (kind(&ask.keys.task), kind(&ask.keys.context));
        let is_sealed = |kind: Option<Kind>| kind.is_some_and(Kind::is_envelope);
        if reach == Reach::Echo && !is_sealed(task) && !is_sealed(context) {
            return Ok(None);
        }
        let is_bare = ask.keys.context.is_some() && context.is_none();
        let mut opening = Opening {
            keys,
            agent: &ask.agent,
            tenant,
            came: Came::default(),
        };
        let path = rewrite::path(&ask.method, ask.operation, &ask.path, &mut opening);
        let body = opening.body(ask)?;
        let came = opening.came;
        Ok(Some(Self {
            path: path.map(Into::into),
            body,
            limit: settings.answer_bytes,
            reach,
            ids: Arc::new(Ids {
                keys: Arc::clone(keys),
                agent: ask.agent.clone(),
                tenant: ask.keys.tenant.clone(),
                dialect: ask.dialect,
                operation: ask.operation,
                in_context: is_bare || task == Some(Kind::EnvelopeInContext),
                came,
            }),
        }))
    }

    /// Asks for an answer that can be read, and says what became of the body.
    pub fn adapt(&self, headers: &mut HeaderMap) {
        headers.remove(header::ACCEPT_ENCODING);
        headers.remove("grpc-accept-encoding");
        if self.body.is_some() {
            headers.remove(header::CONTENT_ENCODING);
            headers.remove("grpc-encoding");
        }
    }

    /// What seals the ids of an answer with this head; `None` where there is nothing to do. `life` is
    /// what a token calls the member that answers, and unset for one of ours.
    pub fn seal(
        &self,
        life: Option<Incarnation>,
        status: StatusCode,
        headers: &mut HeaderMap,
    ) -> Option<Sealer> {
        let life = life.filter(|_| self.reach == Reach::All);
        if !status.is_success() || (life.is_none() && self.ids.came.is_bare()) {
            return None;
        }
        let sealer = Sealer::new(Arc::clone(&self.ids), life, headers, self.limit)?;
        headers.remove(header::CONTENT_LENGTH);
        Some(sealer)
    }
}

impl Came {
    /// Whether nothing came sealed.
    fn is_bare(&self) -> bool {
        let mut all = self.tasks.values().chain(self.contexts.values());
        all.all(Option::is_none)
    }
}

/// Takes tokens off, and notes what came how.
struct Opening<'c> {
    keys: &'c Keys,
    agent: &'c AgentName,
    tenant: Option<&'c str>,
    came: Came,
}

impl Opening<'_> {
    fn body(&mut self, ask: &Ask) -> Result<Option<Bytes>, CallError> {
        let (message, is_framed) = match (&ask.plain, ask.dialect.binding) {
            (Some(plain), binding) => (plain.clone(), binding == Binding::Grpc),
            (None, Binding::Grpc) => (ask.body.slice(PREFIX.min(ask.body.len())..), true),
            (None, Binding::JsonRpc | Binding::Rest) => (ask.body.clone(), false),
        };
        let request = Direction::Request;
        let opened = rewrite::rewrite(ask.dialect, ask.operation, request, message, self)
            .map_err(CallError::BadRequest)?;
        if opened.is_unchanged() {
            return Ok(None);
        }
        Ok(Some(if is_framed {
            frame(opened.len(), opened)
        } else {
            opened.into_bytes()
        }))
    }

    fn open<'a>(&self, id: &'a str) -> Option<&'a str> {
        let opened = self.keys.open(id, self.agent.as_str(), self.tenant)?;
        opened.route.kind.is_envelope().then_some(opened.native)
    }
}

impl IdMap for Opening<'_> {
    fn task<'a>(&mut self, id: &'a str) -> Option<Cow<'a, str>> {
        let native = self.open(id);
        note(&mut self.came.tasks, id, native);
        native.map(Cow::Borrowed)
    }

    fn context<'a>(&mut self, id: &'a str) -> Option<Cow<'a, str>> {
        let native = self.open(id);
        note(&mut self.came.contexts, id, native);
        native.map(Cow::Borrowed)
    }
}

fn note(came: &mut HashMap<Box<str>, Option<Box<str>>>, id: &str, native: Option<&str>) {
    let sealed = native.map(|_| Box::from(id));
    came.insert(Box::from(native.unwrap_or(id)), sealed);
}

/// Puts a message into an uncompressed frame. Its length fits: bodies and answers are bounded.
fn frame(length: usize, pieces: impl IntoIterator<Item = Bytes>) -> Bytes {
    let mut framed = BytesMut::with_capacity(PREFIX + length);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    for piece in pieces {
        framed.extend_from_slice(&piece);
    }
    framed.freeze()
}
