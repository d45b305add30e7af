//! The router's own pages: the cards of its agents, the catalogue, and why a call goes where it goes.
//!
//! # Invariants
//! - Where calls go is told to this machine only; a client needs none of it.
//! - The names of pages are reserved (`mesh_proto::ids`), so no agent loses a path to them.

mod base;
mod card;
mod extended;
mod fresh;
mod listing;
mod members;

use http::{Method, Response, StatusCode};
use mesh_proto::{AgentName, Fault, Operation, Problem, json};

use self::base::Base;
pub use self::base::Proxies;
pub(super) use self::{card::card_path, members::MEMBERS};
use super::{Caller, Door, Front, rest, skill::To};
use crate::call::{Body, Keys};

/// A page of the router's own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Page {
    /// The catalogue.
    Agents,
    /// The catalogue in the standard's form.
    ApiCatalog,
    /// The keys that verify cards of this router's signing.
    KeySet,
    /// Why a call would go where.
    Route,
}

impl Page {
    /// The page of a path. A port of one agent's own has only what that agent's card may lead to.
    pub(super) fn of(door: &Door, method: &Method, path: &str) -> Option<Self> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return None;
        }
        match path.trim_end_matches('/') {
            "/.well-known/jwks.json" => Some(Self::KeySet),
            _ if *door != Door::Main => None,
            "/agents" => Some(Self::Agents),
            "/.well-known/api-catalog" => Some(Self::ApiCatalog),
            "/-/route" => Some(Self::Route),
            _ => None,
        }
    }
}

impl Front {
    pub(super) fn page(&self, page: Page, caller: &Caller) -> Response<Body> {
        match page {
            Page::Agents => self.agents(caller),
            Page::ApiCatalog => self.api_catalog(caller),
            Page::KeySet => self.key_set(caller),
            Page::Route => self.route(caller),
        }
    }

    /// The router as this caller reaches it.
    fn base(&self, caller: &Caller) -> Base {
        match &self.settings.public_url {
            Some(url) => Base::of(url),
            None => Base::asked(
                &caller.headers,
                &caller.uri,
                caller.peer.ip(),
                &self.settings.proxies,
            ),
        }
    }

    /// What a page with our addresses was made of.
    fn varies_by(&self) -> Option<&'static str> {
        let is_asked = self.settings.public_url.is_none();
        is_asked.then_some(base::VARIES_BY)
    }

    fn route(&self, caller: &Caller) -> Response<Body> {
        if !caller.peer.ip().to_canonical().is_loopback() {
            let message = "where calls go is told to callers on this machine only";
            return rest::failure(&Problem::new(Fault::PermissionDenied, message));
        }
        let mut keys = Keys::default();
        let mut agent = None;
        let mut operation = None;
        let query = caller.uri.query().unwrap_or_default();
        for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let value = (!value.is_empty()).then(|| Box::from(&*value));
            match &*key {
                "agent" => agent = value,
                "tenant" => keys.tenant = value,
                "task" => keys.task = value,
                "context" => keys.context = value,
                "message" => keys.message = value,
                "operation" => operation = value,
                _ => {}
            }
        }
        let snapshot = self.catalogue.snapshot();
        let agent = agent.as_deref().map(AgentName::parse).and_then(Result::ok);
        let Some(agent) = agent.or_else(|| snapshot.default_agent().cloned()) else {
            let message = "name the agent: /-/route?agent=NAME&context=ID (or task=, message=)";
            return rest::failure(&Problem::new(Fault::InvalidParams, message));
        };
        let operation = operation.as_deref().and_then(Operation::from_rpc);
        let operation = operation.unwrap_or_else(|| match keys.message {
            None if keys.task.is_some() => Operation::GetTask,
            None if keys.context.is_none() => Operation::ListTasks,
            _ => Operation::SendMessage,
        });
        match self.catalogue.explain(&agent, operation, &keys) {
            Ok(explained) => super::json(
                StatusCode::OK,
                "application/json",
                json::to_bytes(&explained),
            ),
            Err(error) => rest::failure(&error.answer()),
        }
    }
}
