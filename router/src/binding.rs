//! Which dialect a request speaks, and for which agent: the face that the listeners call.
//!
//! gRPC by content type, HTTP+JSON and JSON-RPC by path. An agent's name as the first segment wins
//! over everything else; the root of the port serves the default agent.
//!
//! # Invariants
//! - Every request gets an answer in its own binding's shape, also when nobody can be found for it.
//! - Headers that only the mesh may set never pass from outside; the hop count only grows.
//! - The client's bytes go on as they came: method, path, query, body, end-to-end headers.

pub mod cors;
pub mod grpc;
pub mod intake;
pub mod jsonrpc;
pub mod notify;
pub mod openai;
pub mod pages;
pub mod rest;
mod skill;
mod version;

use std::{net::SocketAddr, sync::Arc};

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use mesh_core::error::CallError;
use mesh_proto::{AgentName, Binding, Dialect, Fault, Problem, jsonrpc::RawId, mesh};
use mesh_runtime::telemetry::Traceparent;
use serde::Deserialize;

use self::skill::{Skill, To};
use crate::{
    call::{Body, Reply, whole},
    catalogue::Catalogue,
    push::Push,
    refusal::{Refusal, refusal},
    relay::Relay,
};

/// How the router is met from outside.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The base that cards carry, `https://mesh.example.com`. Unset: the scheme and host by which
    /// each request came.
    pub public_url: Option<url::Url>,
    /// Whose `X-Forwarded-Proto`, `-Host`, `-Port` and `-Prefix`, or `Forwarded`, are believed where
    /// `public_url` is unset: a list of networks, `["10.0.0.0/8"]`. Unset: peers on this machine and
    /// in private networks. Empty: nobody's.
    pub proxies: pages::Proxies,
    /// Bounds of a request's body.
    pub body: intake::Settings,
    /// Which web pages may call.
    pub cors: cors::Settings,
}

/// Everything that a request can meet on its way in.
#[derive(Clone, Debug)]
pub struct Front {
    settings: Arc<Settings>,
    relay: Arc<Relay>,
    catalogue: Arc<Catalogue>,
    push: Push,
    services: grpc::Services,
}

/// By which port a request came.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Door {
    /// The port of all agents.
    Main,
    /// A port of one agent's own.
    Agent(AgentName),
}

/// A request with what every binding asks of it.
#[derive(Debug)]
struct Caller {
    door: Door,
    peer: SocketAddr,
    method: Method,
    headers: HeaderMap,
    uri: http::Uri,
}

impl Front {
    /// Wires the bindings to the relay.
    #[must_use]
    pub fn new(
        settings: Settings,
        relay: Arc<Relay>,
        catalogue: Arc<Catalogue>,
        push: Push,
    ) -> Self {
        let services = grpc::Services::new();
        Self {
            settings: Arc::new(settings),
            relay,
            catalogue,
            push,
            services,
        }
    }

    /// Says, to who asks for its health, that it takes nothing new.
    pub async fn leave(&self) {
        self.services.end().await;
    }

    /// Answers one request.
    pub async fn answer(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
        door: Door,
    ) -> Response<Body> {
        if grpc::speaks(request.headers()) {
            return Box::pin(self.answer_grpc(request, peer, door)).await;
        }
        let origin = request.headers().get(header::ORIGIN).cloned();
        if let Some(preflight) = self.settings.cors.preflight(&request) {
            return preflight;
        }
        let mut response = Box::pin(self.answer_http(request, peer, door)).await;
        self.settings
            .cors
            .allow(origin.as_ref(), response.headers_mut());
        response
    }

    async fn answer_http(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
        door: Door,
    ) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let caller = Caller {
            door,
            peer,
            method: parts.method,
            headers: parts.headers,
            uri: parts.uri,
        };
        let path = caller.uri.path().to_owned();
        // `v1` names no agent, and no path of A2A's below it is one of these.
        if let Some(page) = openai::Page::of(&path) {
            return Box::pin(self.answer_openai(page, caller, body)).await;
        }
        if let Some(sealed) = notify::sealed(&path) {
            return self.notification(sealed, &caller, body).await;
        }
        // The names of pages are reserved, so no agent can lose one of its paths to them.
        if let Some(page) = pages::Page::of(&caller.door, &caller.method, &path) {
            return self.page(page, &caller);
        }
        let Some((to, below)) = self.find(&caller.door, &path) else {
            return self.nobody(&caller, &path, body).await;
        };
        if let Some(card) = pages::card_path(below) {
            return self.card(&to, card, &caller);
        }
        if below == pages::MEMBERS
            && let Some(worker) = self.worker_of(&to)
        {
            return self.members(&worker, caller, body).await;
        }
        if matches!(below, "" | "/") {
            return self.answer_json_rpc(to, caller, body).await;
        }
        let below = below.to_owned();
        self.answer_rest(to, &below, caller, body).await
    }

    /// Whom a path is for, and the path below that.
    fn find<'a>(&self, door: &Door, path: &'a str) -> Option<(To, &'a str)> {
        let snapshot = self.catalogue.snapshot();
        let default = match door {
            Door::Agent(name) => Some(name.clone()),
            Door::Main => {
                let bare = path.strip_prefix('/').unwrap_or(path);
                if let Some((skill, below)) = Skill::of_path(bare) {
                    return Some((To::Skill(skill), below));
                }
                let (first, _) = bare.split_once('/').unwrap_or((bare, ""));
                if let Some(agent) = snapshot.agent(first) {
                    let below = bare.strip_prefix(first).unwrap_or_default();
                    return Some((To::Agent(agent.name.clone()), below));
                }
                snapshot.default_agent().cloned()
            }
        };
        default.map(|name| (To::Agent(name), path))
    }

    /// Answers a request that is for no agent of ours.
    async fn nobody(&self, caller: &Caller, path: &str, body: Incoming) -> Response<Body> {
        let name = path
            .trim_start_matches('/')
            .split('/')
            .next()
            .unwrap_or_default();
        let error = CallError::no_such_agent(name);
        // A JSON-RPC caller posts to the agent's own path; anything longer is HTTP+JSON.
        let is_json_rpc =
            caller.method == Method::POST && !path.trim_matches('/').contains(['/', ':']);
        if is_json_rpc {
            let dialect = Dialect::new(Binding::JsonRpc, version::guess(caller));
            let id = self.id_of(caller, body).await;
            return refuse(dialect, Some(&id), &error.answer());
        }
        let style = rest::style(path).unwrap_or_else(|| version::guess(caller));
        refuse(Dialect::new(Binding::Rest, style), None, &error.answer())
    }
}

impl Caller {
    /// The headers that go on.
    fn onward(&self) -> HeaderMap {
        let mut headers = self.headers.clone();
        let named: Vec<String> = headers
            .get_all(header::CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(|name| name.trim().to_ascii_lowercase())
            .collect();
        for name in named
            .iter()
            .map(String::as_str)
            .chain(STOP_HERE)
            .chain(mesh::INTERNAL)
        {
            headers.remove(name);
        }
        version::repeat(self, &mut headers);
        if let Ok(peer) = HeaderValue::from_str(&self.peer.ip().to_string()) {
            headers.append("x-forwarded-for", peer);
        }
        headers
    }

    /// Routers passed, this one included. An unreadable count is as good as none.
    fn hops(&self) -> u32 {
        let passed = self
            .headers
            .get(mesh::HOPS)
            .and_then(|value| value.to_str().ok());
        passed
            .and_then(|value| value.parse::<u32>().ok())
            .unwrap_or(0)
            .saturating_add(1)
    }

    /// Our span of the caller's trace, or of a new one.
    fn trace(&self) -> Traceparent {
        let theirs = self
            .headers
            .get(mesh::TRACEPARENT)
            .and_then(|value| value.to_str().ok());
        theirs
            .and_then(Traceparent::parse)
            .map_or_else(Traceparent::root, Traceparent::child)
    }
}

/// Headers that end at this hop (RFC 9110, 7.6.1), those that our own request sets anew, and the hop
/// count and span, which go on as ours.
const STOP_HERE: [&str; 11] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
    "host",
    "content-length",
    "expect",
    mesh::HOPS,
    mesh::TRACEPARENT,
];

/// Writes the upstream's answer as it came.
fn pass(reply: Reply) -> Response<Body> {
    let mut response = Response::new(reply.body);
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    response
}

/// An error in the caller's own dialect; `id` is that of the call, over JSON-RPC.
fn refuse(dialect: Dialect, id: Option<&RawId>, problem: &Problem) -> Response<Body> {
    let Refusal {
        status,
        headers,
        body,
    } = refusal(dialect, id, problem);
    let mut response = Response::new(whole(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// A JSON answer of our own.
fn json(status: StatusCode, kind: &'static str, bytes: bytes::Bytes) -> Response<Body> {
    let mut response = Response::new(whole(bytes));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// A foreign name in a message of ours: bounded.
fn shortened(name: &str) -> String {
    name.chars().take(64).collect()
}

/// Refuses a body that says it is something other than JSON; one that says nothing is read.
fn check_json(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(kind) = headers.get(header::CONTENT_TYPE) else {
        return Ok(());
    };
    let kind = kind.to_str().unwrap_or_default();
    let essence = kind
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    if essence == "application/json" || essence.ends_with("+json") {
        return Ok(());
    }
    let shown = shortened(kind);
    let message = format!("content type `{shown}` is not JSON; send application/json");
    Err(Problem::new(Fault::ContentTypeNotSupported, message))
}
