//! The router's own pages: the cards of its agents, the catalogue, and why a call goes where it goes.
//!
//! # Invariants
//! - A card never shows an upstream's address: each interface carries the router's public base.
//! - Where calls go is told to this machine only; a client needs none of it.

use http::{HeaderValue, Method, Response, StatusCode, header};
use mesh_core::error::CallError;
use mesh_proto::{
    AgentName, Binding, Fault, Operation, Problem, Version,
    card::{Card, Interface},
    json,
};
use serde::Serialize;
use url::Url;

use super::{Caller, Door, Front, rest};
use crate::{
    call::{Body, Keys, empty},
    catalogue::Agent,
};

/// How long a card may be used unasked, in seconds. Ours change with a restart of an agent.
const CARD_SECONDS: &str = "public, max-age=60";

/// A page of the router's own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Page {
    /// The catalogue.
    Agents,
    /// Why a call would go where.
    Route,
}

/// Whether a path below an agent is its card: `well-known` of 1.0 and 0.3, and that of 0.2.
pub(super) fn card_path(below: &str) -> Option<CardPath> {
    matches!(
        below,
        "/.well-known/agent-card.json" | "/.well-known/agent.json"
    )
    .then_some(CardPath)
}

/// A path that is a card's.
#[derive(Clone, Copy, Debug)]
pub(super) struct CardPath;

impl Page {
    pub(super) fn of(method: &Method, path: &str) -> Option<Self> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return None;
        }
        match path.trim_end_matches('/') {
            "/agents" => Some(Self::Agents),
            "/-/route" => Some(Self::Route),
            _ => None,
        }
    }
}

impl Front {
    pub(super) fn page(&self, page: Page, caller: &Caller) -> Response<Body> {
        match page {
            Page::Agents => self.agents(caller),
            Page::Route => self.route(caller),
        }
    }

    /// An agent's card with the router in place of the agent.
    pub(super) fn card(
        &self,
        agent: &AgentName,
        _path: CardPath,
        caller: &Caller,
    ) -> Response<Body> {
        if !matches!(caller.method, Method::GET | Method::HEAD) {
            let message = format!("a card is read by GET, not {}", caller.method);
            return rest::failure(&Problem::new(Fault::MethodNotFound, message));
        }
        let snapshot = self.catalogue.snapshot();
        let Some(agent) = snapshot.agent(agent.as_str()) else {
            return rest::failure(&CallError::no_such_agent(agent.as_str()).answer());
        };
        let Some(card) = agent.card() else {
            let message = format!("the card of agent {} can't be read at present", agent.name);
            return rest::failure(&Problem::new(Fault::Unavailable, message));
        };
        let public = self.rewritten(agent, &card, caller).to_bytes();
        let tag = format!("\"{:016x}\"", xxhash_rust::xxh3::xxh3_64(&public));
        let fresh = caller.headers.get(header::IF_NONE_MATCH);
        if fresh.is_some_and(|seen| seen.as_bytes() == tag.as_bytes()) {
            let mut unchanged = Response::new(empty());
            *unchanged.status_mut() = StatusCode::NOT_MODIFIED;
            return with_freshness(unchanged, &tag);
        }
        with_freshness(
            super::json(StatusCode::OK, "application/json", public),
            &tag,
        )
    }

    fn rewritten(&self, agent: &Agent, card: &Card, caller: &Caller) -> Card {
        let base = self.base(caller);
        let (http, tenant) = match &caller.door {
            Door::Agent(_) => (base.http.clone(), None),
            Door::Main => (format!("{}/{}", base.http, agent.name), Some(&agent.name)),
        };
        let is_default = self.catalogue.snapshot().default_agent() == Some(&agent.name);
        card.rewrite(|shown| {
            let binding = shown.binding?;
            // 0.3 has no tenant by which a gRPC call on the port of all agents could name this one.
            let names_nobody = binding == Binding::Grpc && shown.version == Some(Version::V0_3);
            if names_nobody && tenant.is_some() && !is_default {
                return None;
            }
            let (url, tenant) = match binding {
                Binding::JsonRpc | Binding::Rest => (http.clone(), shown.tenant.clone()),
                Binding::Grpc => (base.grpc.clone(), grpc_tenant(tenant, shown)),
            };
            Some(Interface {
                url,
                tenant,
                ..shown.clone()
            })
        })
    }

    /// The router as this caller reaches it.
    fn base(&self, caller: &Caller) -> Base {
        if let Some(url) = &self.settings.public_url {
            return Base::of(url);
        }
        let said = |name: &str| {
            caller
                .headers
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        let scheme = match said("x-forwarded-proto") {
            Some("https") => "https",
            Some(_) | None => "http",
        };
        let host = said("x-forwarded-host")
            .or_else(|| said("host"))
            .or_else(|| caller.uri.authority().map(http::uri::Authority::as_str))
            .unwrap_or("localhost");
        // What does not read as an address is not repeated in a card.
        let url = Url::parse(&format!("{scheme}://{host}"));
        url.as_ref()
            .map_or_else(|_| Base::of_host("localhost"), Base::of)
    }

    fn agents(&self, caller: &Caller) -> Response<Body> {
        let snapshot = self.catalogue.snapshot();
        let base = self.base(caller);
        let agents = snapshot
            .agents()
            .map(|agent| Listed::of(agent, &base))
            .collect();
        let page = Catalogue { agents };
        super::json(StatusCode::OK, "application/json", json::to_bytes(&page))
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

/// The router's public addresses: for HTTP a base URL without a slash at its end, for gRPC
/// `host:port`, the form that every SDK's channel takes.
struct Base {
    http: String,
    grpc: String,
}

impl Base {
    fn of(url: &Url) -> Self {
        let host = url.host_str().unwrap_or("localhost");
        let port = url.port_or_known_default().unwrap_or(80);
        Self {
            http: url.as_str().trim_end_matches('/').to_owned(),
            grpc: format!("{host}:{port}"),
        }
    }

    fn of_host(host: &str) -> Self {
        Self {
            http: format!("http://{host}"),
            grpc: format!("{host}:80"),
        }
    }
}

/// What a gRPC client sends as tenant so that the router finds the agent: its name, and behind it the
/// agent's own tenant. An agent whose own tenant is its name (another mesh) needs it said once only.
fn grpc_tenant(name: Option<&AgentName>, shown: &Interface) -> Option<String> {
    let own = shown.tenant.as_deref().filter(|own| !own.is_empty());
    match (name, own) {
        (None, own) => own.map(str::to_owned),
        (Some(name), Some(own)) if own != name.as_str() => Some(format!("{name}/{own}")),
        (Some(name), _) => Some(name.to_string()),
    }
}

fn with_freshness(mut response: Response<Body>, tag: &str) -> Response<Body> {
    let headers = response.headers_mut();
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static(CARD_SECONDS),
    );
    headers.append(header::VARY, HeaderValue::from_static("host"));
    if let Ok(tag) = HeaderValue::from_str(tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}

#[derive(Serialize)]
struct Catalogue {
    agents: Vec<Listed>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    name: String,
    url: String,
    card_url: String,
    /// `read`, or `unread`: then calls pass as JSON-RPC and the card is asked for again.
    card: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    bindings: Vec<String>,
    members: usize,
    reachable: usize,
}

impl Listed {
    fn of(agent: &Agent, base: &Base) -> Self {
        let card = agent.card();
        let url = format!("{}/{}", base.http, agent.name);
        let bindings = card.as_ref().map_or_else(
            || vec![Binding::JsonRpc.to_string()],
            |card| {
                let mut names: Vec<String> = card
                    .interfaces()
                    .iter()
                    .filter_map(|each| each.binding.map(|binding| binding.to_string()))
                    .collect();
                names.sort();
                names.dedup();
                names
            },
        );
        Self {
            name: agent.name.to_string(),
            card_url: format!("{url}/.well-known/agent-card.json"),
            url,
            card: if card.is_some() { "read" } else { "unread" },
            description: card
                .as_ref()
                .and_then(|card| card.description())
                .map(str::to_owned),
            bindings,
            members: agent.endpoints.len(),
            reachable: agent.reachable(),
        }
    }
}
