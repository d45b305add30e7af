//! The A2A server: three bindings over one [`Desk`], on one port.
//!
//! It finds out which agent and which binding a request is for, and hands it on. Agent `NAME` is at
//! `/NAME` (JSON-RPC), `/NAME/message:send` and so on (HTTP+JSON), and over gRPC by the metadata
//! `a2a-agent`, else by the first segment of the tenant. The root serves the default agent.
//!
//! # Invariants
//! - Every answer carries `daca-boot` and `daca-load`, so that a router learns which life of this worker
//!   it speaks to, and how busy that is.
//! - A wrong request gets an error in the shape of the binding that it came in. So does a right one in a
//!   binding that the agent is not offered in.
//! - A body is read within a bound of size and time before anything is done with it.

mod body;
mod card;
mod grpc;
mod inlet;
mod jsonrpc;
mod members;
mod mesh;
mod moved;
mod rest;
mod version;

use std::sync::Arc;

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header::CONTENT_TYPE,
};
use hyper::body::Incoming;
use mesh_fabric::bus::Inlet;
use mesh_proto::{Binding, Fault, Problem, mesh as contract};
use mesh_runtime::net::Peer;
use tonic::service::Routes;
use tower::ServiceExt as _;
use url::Url;

use crate::{
    agent::Agent,
    desk::{Caller, Desk},
    view::Views,
};

pub use body::Body;
pub use inlet::AppToken;
use inlet::Brought;

/// What the server allows and says of itself.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The base that cards carry; default: the request's own host.
    pub public_url: Option<Url>,
    /// The largest request body, decompressed, in bytes. One more is refused as too large.
    pub max_body: usize,
    /// What the Dapr sidecar shows when it brings events of input bindings. Default none: events then come
    /// from this machine only.
    pub app_token: Option<AppToken>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            public_url: None,
            max_body: 10 << 20,
            app_token: None,
        }
    }
}

/// The server. Clones share everything.
#[derive(Clone, Debug)]
pub struct Server(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    desk: Arc<Desk>,
    inlet: Option<Inlet>,
    settings: Settings,
    boot: HeaderValue,
    mesh: mesh::Mesh,
    cards: card::Cards,
    grpc: Routes,
    health: grpc::Health,
}

impl Server {
    /// A server for a desk. `boot` names this life of the worker, `views` takes what routers tell, `inlet`
    /// what a sidecar brings of the bus.
    pub async fn new(
        desk: Arc<Desk>,
        settings: Settings,
        boot: uuid::Uuid,
        views: Views,
        inlet: Option<Inlet>,
    ) -> Self {
        let text = boot.to_string();
        let (grpc, health) = grpc::routes(&desk, settings.max_body).await;
        Self(Arc::new(Inner {
            mesh: mesh::Mesh::new(Arc::clone(&desk), views, text.clone()),
            cards: card::Cards::new(settings.public_url.clone()),
            grpc,
            health,
            boot: HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("unknown")),
            desk,
            inlet,
            settings,
        }))
    }

    /// Says to who asks for health that the worker ends. Calls are answered as before.
    pub async fn drain(&self) {
        self.0.health.end().await;
    }

    /// Answers one request.
    pub async fn call(&self, request: Request<Incoming>, peer: Peer) -> Response<Body> {
        let mut response = if is_grpc(&request) {
            Box::pin(self.grpc(request)).await
        } else {
            Box::pin(self.http(request, peer)).await
        };
        let headers = response.headers_mut();
        let boot = HeaderName::from_static(contract::BOOT);
        headers.insert(boot, self.0.boot.clone());
        if let Ok(load) = HeaderValue::from_str(&self.0.desk.load().to_string()) {
            headers.insert(HeaderName::from_static(contract::LOAD), load);
        }
        response
    }

    async fn grpc(&self, request: Request<Incoming>) -> Response<Body> {
        let is_a2a = grpc::is_a2a(request.uri().path());
        let answer = self.0.grpc.clone().oneshot(request).await;
        let mut answer = answer.unwrap_or_else(|never| match never {});
        if is_a2a {
            grpc::explain(&mut answer);
        }
        answer.map(|body| body::wrap(moved::Breaking(body)))
    }

    async fn http(&self, request: Request<Incoming>, peer: Peer) -> Response<Body> {
        if let Some(brought) = inlet::brought(request.uri().path(), self.0.inlet.as_ref()) {
            let token = self.0.settings.app_token.as_ref();
            if let Err(problem) = inlet::is_sidecar(token, request.headers(), peer) {
                return rest::refuse(&problem);
            }
            return match brought {
                Brought::Batches(inlet) => Box::pin(inlet.answer(request)).await.map(body::wrap),
                Brought::Event => {
                    let max = self.0.settings.max_body;
                    Box::pin(inlet::answer(&self.0.desk, max, request)).await
                }
            };
        }
        match request.uri().path() {
            contract::WORKER_PATH => return self.0.mesh.worker(&request),
            contract::VIEW_PATH => {
                let (head, body) = request.into_parts();
                return self.0.mesh.view(&head.method, &head.headers, body).await;
            }
            contract::ADOPT_PATH => {
                let (head, body) = request.into_parts();
                return self.0.mesh.adopt(&head.method, &head.headers, body).await;
            }
            _ => {}
        }
        let Some((agent, at)) = self.locate(request.uri().path()) else {
            return self.nobody();
        };
        let (agent, path) = (agent.clone(), at.path(request.uri()).to_owned());
        match (path.as_str(), request.method()) {
            (card::PATH | card::OLD_PATH, &(Method::GET | Method::HEAD)) => {
                let alone = self.0.desk.names().count() == 1;
                self.0.cards.answer(&agent.card_facts(), alone, &request)
            }
            ("" | "/", &Method::POST) => Box::pin(self.json_rpc(agent, request)).await,
            ("" | "/", _) => {
                let allow = (http::header::ALLOW, HeaderValue::from_static("POST"));
                let text =
                    "JSON-RPC is spoken with POST; the card is at .well-known/agent-card.json";
                let problem = Problem::new(Fault::MethodNotFound, text);
                let mut response = rest::refuse(&problem);
                *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
                response.headers_mut().insert(allow.0, allow.1);
                response
            }
            (members::PATH, _) if agent.is_group() => self.members(agent, request).await,
            _ => Box::pin(self.rest(agent, &path, request)).await,
        }
    }

    async fn members(&self, agent: Agent, request: Request<Incoming>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let caller = Caller::new(agent, &head.headers);
        let read = body::read(&head.headers, body, self.0.settings.max_body).await;
        match read {
            Ok(body) => {
                let asked = (&head.method, head.uri.query());
                members::answer(&self.0.desk, &caller, asked, &body).await
            }
            Err(problem) => rest::refuse(&problem),
        }
    }

    async fn json_rpc(&self, agent: Agent, request: Request<Incoming>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let version = version::of(&head.headers, head.uri.query())
            .and_then(|()| offered(&agent, Binding::JsonRpc));
        let caller = Caller::new(agent, &head.headers);
        let read = match content_type(&head.headers) {
            Err(problem) => Err(problem),
            Ok(_) => body::read(&head.headers, body, self.0.settings.max_body).await,
        };
        match read {
            Ok(body) => jsonrpc::answer(&self.0.desk, &caller, version, &body).await,
            Err(problem) => jsonrpc::refuse(&problem),
        }
    }

    async fn rest(&self, agent: Agent, path: &str, request: Request<Incoming>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let routed = match mesh_proto::rest::route(&head.method, path, head.uri.query()) {
            Ok(route) => version::check(route.version)
                .and_then(|()| version::of(&head.headers, head.uri.query()))
                .and_then(|()| offered(&agent, Binding::Rest))
                .map(|()| route),
            Err(problem) => Err(problem),
        };
        let route = match routed {
            Ok(route) => route,
            Err(problem) => return rest::refuse(&problem),
        };
        let read = body::read(&head.headers, body, self.0.settings.max_body).await;
        let body = read.and_then(|body| {
            if !body.is_empty() {
                content_type(&head.headers)?;
            }
            Ok(body)
        });
        match body {
            Ok(body) => {
                let caller = Caller::new(agent, &head.headers);
                let mut response = rest::answer(&self.0.desk, &caller, &route, &body).await;
                speak_alike(&head.headers, &mut response);
                response
            }
            Err(problem) => rest::refuse(&problem),
        }
    }

    /// The agent of a path: a known agent's name as its first segment, else the default agent.
    fn locate(&self, path: &str) -> Option<(&Agent, At)> {
        let rest = path.strip_prefix('/').unwrap_or(path);
        let name = rest.split('/').next().unwrap_or_default();
        match self.0.desk.agent(name) {
            Some(agent) => Some((agent, At::Below(1 + name.len()))),
            None => Some((self.0.desk.default_agent()?, At::Root)),
        }
    }

    fn nobody(&self) -> Response<Body> {
        let names: Vec<_> = self.0.desk.names().map(|name| format!("/{name}")).collect();
        let text = format!("no agent is at this path; there are {}", names.join(", "));
        rest::refuse(&Problem::new(Fault::MethodNotFound, text))
    }
}

/// Where an agent's paths begin.
#[derive(Clone, Copy)]
enum At {
    Root,
    Below(usize),
}

impl At {
    fn path(self, uri: &http::Uri) -> &str {
        match self {
            Self::Root => uri.path(),
            Self::Below(cut) => uri.path().get(cut..).unwrap_or_default(),
        }
    }
}

const JSON: &str = "application/json";
const A2A_JSON: &str = "application/a2a+json";

fn is_grpc<B>(request: &Request<B>) -> bool {
    let kind = request.headers().get(CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// Refuses a call in a binding that the agent's card leaves out. What a caller of such a binding does
/// not find is the method itself: a server of that binding is not there.
fn offered(agent: &Agent, binding: Binding) -> Result<(), Problem> {
    if agent.offers(binding) {
        return Ok(());
    }
    let text = format!(
        "{} is not offered over {binding}; see its card",
        agent.name()
    );
    Err(Problem::new(Fault::MethodNotFound, text))
}

/// The media type of a JSON body. None at all is taken for JSON.
fn content_type(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(kind) = headers.get(CONTENT_TYPE) else {
        return Ok(());
    };
    let kind = kind.to_str().unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case(JSON) || essence.eq_ignore_ascii_case(A2A_JSON) {
        return Ok(());
    }
    let text = format!("the content type must be {JSON} or {A2A_JSON}");
    Err(Problem::new(Fault::ContentTypeNotSupported, text))
}

/// Who asks in A2A's own media type is answered in it; others get plain JSON, which all clients know.
fn speak_alike(asked: &HeaderMap, response: &mut Response<Body>) {
    let named = |name| {
        asked
            .get_all(name)
            .iter()
            .any(|value| value.to_str().is_ok_and(|text| text.contains(A2A_JSON)))
    };
    let plain = response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind == JSON);
    if plain && (named(CONTENT_TYPE) || named(http::header::ACCEPT)) {
        let kind = HeaderValue::from_static(A2A_JSON);
        response.headers_mut().insert(CONTENT_TYPE, kind);
    }
}
