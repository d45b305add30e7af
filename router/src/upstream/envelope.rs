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
//! - A webhook's address gives way to one of ours that names the member that gets it, and comes back as
//!   the client wrote it.
//! - What can't be read (a compressed answer that nobody asked for, JSON that is none) passes as it came.

mod notification;
mod seal;

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header};
use mesh_core::{
    error::CallError,
    token::{Keys, Kind},
};
use mesh_proto::{
    AgentName, Binding, Dialect, Operation, Version,
    mesh::Incarnation,
    rewrite::{self, Direction, IdMap},
};
use serde::Deserialize;
use xxhash_rust::xxh3;

use crate::{
    call::Ask,
    webhook::{Webhook, Webhooks},
};

pub use notification::notification;
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

/// What becomes of the addresses of webhooks in a call.
#[derive(Clone, Copy, Debug)]
pub struct Addresses<'c> {
    /// Who replaces them.
    pub webhooks: &'c Arc<Webhooks>,
    /// Whether notifications have to pass here, whatever becomes of ids.
    pub needed: Needed,
}

/// Whether notifications have to pass a router.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Needed {
    /// The agent may speak another version than the client.
    Yes,
    /// The client understands what the agent says.
    No,
}

/// The ids of one call, and what the agent is sent in place of what came.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// Path and query, where an id stands in them.
    pub path: Option<Box<str>>,
    /// The body, where an id stands in it; uncompressed.
    pub body: Option<Bytes>,
    limit: usize,
    reach: Reach,
    ids: Arc<Ids>,
    /// Replaces the webhook's address that came, for each member by another.
    webhooks: Option<Arc<Webhooks>>,
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
    /// Restores addresses that were replaced, where the answer may show some.
    webhooks: Option<Arc<Webhooks>>,
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
        addresses: &Addresses<'_>,
    ) -> Result<Option<Self>, CallError> {
        let tenant = ask.keys.tenant.as_deref();
        let kind = |id: &Option<Box<str>>| {
            let opened = keys.open(id.as_deref()?, ask.agent.as_str(), tenant)?;
            Some(opened.route.kind)
        };
        let (task, context) = (kind(&ask.keys.task), kind(&ask.keys.context));
        let is_sealed = |kind: Option<Kind>| kind.is_some_and(Kind::is_envelope);
        let Addresses { webhooks, needed } = *addresses;
        let is_needed = needed == Needed::Yes || reach == Reach::All;
        let replaces = webhooks.replaces(&ask.agent, ask.operation, is_needed);
        let restores = webhooks.restores(ask.operation);
        let is_touched = replaces || restores || is_sealed(task) || is_sealed(context);
        if reach == Reach::Echo && !is_touched {
            return Ok(None);
        }
        let is_bare = ask.keys.context.is_some() && context.is_none();
        let mut opening = Opening {
            keys,
            agent: &ask.agent,
            tenant,
            came: Came::default(),
            webhooks: replaces.then_some(&**webhooks),
            hooked: Ok(false),
        };
        let path = rewrite::path(&ask.method, ask.operation, &ask.path, &mut opening);
        let body = opening.body(ask)?;
        let came = opening.came;
        let is_hooked = opening.hooked?;
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
                webhooks: restores.then(|| Arc::clone(webhooks)),
            }),
            webhooks: is_hooked.then(|| Arc::clone(webhooks)),
        }))
    }

    /// The envelope as one member gets it; `life` is what a token calls the member, and unset for one of
    /// ours.
    ///
    /// # Errors
    /// A bad request, for a webhook whose address finds no room in ours.
    pub fn towards(
        &self,
        life: Option<Incarnation>,
        ask: &Ask,
    ) -> Result<Cow<'_, Self>, CallError> {
        let Some(webhooks) = &self.webhooks else {
            return Ok(Cow::Borrowed(self));
        };
        let life = life.filter(|_| self.reach == Reach::All);
        let mut redirect = Redirect {
            webhooks,
            webhook: self.ids.webhook(life, ask),
            failed: None,
        };
        let (message, is_framed) = match (&self.body, self.ids.dialect.binding) {
            (None, _) => message(ask),
            (Some(body), Binding::Grpc) => (body.slice(PREFIX.min(body.len())..), true),
            (Some(body), Binding::JsonRpc | Binding::Rest) => (body.clone(), false),
        };
        let (dialect, operation) = (self.ids.dialect, self.ids.operation);
        let request = Direction::Request;
        let rewritten = rewrite::rewrite(dialect, operation, request, message, &mut redirect)
            .map_err(CallError::BadRequest)?;
        if let Some(error) = redirect.failed {
            return Err(error);
        }
        let body = if is_framed {
            frame(rewritten.len(), rewritten)
        } else {
            rewritten.into_bytes()
        };
        Ok(Cow::Owned(Self {
            body: Some(body),
            ..self.clone()
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
        let is_plain = self.ids.came.is_bare() && self.ids.webhooks.is_none();
        if !status.is_success() || (life.is_none() && is_plain) {
            return None;
        }
        let sealer = Sealer::new(Arc::clone(&self.ids), life, headers, self.limit)?;
        headers.remove(header::CONTENT_LENGTH);
        Some(sealer)
    }
}

impl Ids {
    /// What stands in the address that a member gets; the client's own is still to be filled in.
    fn webhook(&self, life: Option<Incarnation>, ask: &Ask) -> Webhook {
        let credentials = ask.headers.get(header::AUTHORIZATION);
        Webhook {
            url: String::new(),
            agent: self.agent.to_string(),
            tenant: self.tenant.as_deref().unwrap_or_default().to_owned(),
            principal: credentials.map_or(0, |value| xxh3::xxh3_64(value.as_bytes())),
            life: life.map_or(0, |life| life.0),
            in_context: self.in_context,
            minted_hour: mesh_runtime::clock::hour(),
            is_0_3: self.dialect.version == Version::V0_3,
        }
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
    /// Judges a webhook's address, where the call may give one that has to be replaced.
    webhooks: Option<&'c Webhooks>,
    /// Whether it gave one, or why that is refused.
    hooked: Result<bool, CallError>,
}

impl Opening<'_> {
    fn body(&mut self, ask: &Ask) -> Result<Option<Bytes>, CallError> {
        let (message, is_framed) = message(ask);
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

    fn webhook<'a>(&mut self, url: &'a str) -> Option<Cow<'a, str>> {
        if let (Some(webhooks), Ok(_)) = (self.webhooks, &self.hooked) {
            self.hooked = webhooks.check(url).map(|()| true);
        }
        None
    }
}

/// Puts our address in place of a webhook's.
struct Redirect<'c> {
    webhooks: &'c Webhooks,
    webhook: Webhook,
    failed: Option<CallError>,
}

impl IdMap for Redirect<'_> {
    fn task<'a>(&mut self, _: &'a str) -> Option<Cow<'a, str>> {
        None
    }

    fn context<'a>(&mut self, _: &'a str) -> Option<Cow<'a, str>> {
        None
    }

    fn webhook<'a>(&mut self, url: &'a str) -> Option<Cow<'a, str>> {
        url.clone_into(&mut self.webhook.url);
        match self.webhooks.seal(&self.webhook) {
            Ok(ours) => Some(Cow::Owned(ours)),
            Err(error) => {
                self.failed = Some(error);
                None
            }
        }
    }
}

/// The message in a request's body, and whether it has a frame around it.
fn message(ask: &Ask) -> (Bytes, bool) {
    match (&ask.plain, ask.dialect.binding) {
        (Some(plain), binding) => (plain.clone(), binding == Binding::Grpc),
        (None, Binding::Grpc) => (ask.body.slice(PREFIX.min(ask.body.len())..), true),
        (None, Binding::JsonRpc | Binding::Rest) => (ask.body.clone(), false),
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
