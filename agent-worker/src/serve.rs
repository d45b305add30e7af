//! The A2A server: three bindings over one [`Desk`], on one port.
//!
//! It finds out which agent and which binding a request is for, and hands it on. Agent `NAME` is at
//! `/NAME` (JSON-RPC), `/NAME/message:send` and so on (HTTP+JSON), and over gRPC by the metadata
//! `a2a-agent`, else by the first segment of the tenant. The root serves the default agent.
//!
//! # Invariants
//! - Every answer carries `daca-boot`, so that a router learns which life of this worker it speaks to.
//! - A wrong request gets an error in the shape of the binding that it came in. So does a right one in a
//!   binding that the agent is not offered in.
//! - A body is read within a bound of size and time before anything is done with it.

mod body;
mod card;
mod grpc;
mod jsonrpc;
mod rest;
mod version;

use std::sync::Arc;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header::CONTENT_TYPE,
};
use hyper::body::Incoming;
use mesh_proto::{Binding, Fault, Problem, json, mesh};
use tonic::service::Routes;
use tower::ServiceExt as _;
use url::Url;

use crate::{
    agent::Agent,
    desk::{Caller, Desk},
};

pub use body::Body;

/// What the server allows and says of itself.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The base that cards carry; default: the request's own host.
    pub public_url: Option<Url>,
    /// The largest request body, decompressed, in bytes. One more is refused as too large.
    pub max_body: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            public_url: None,
            max_body: 10 << 20,
        }
    }
}

/// The server. Clones share everything.
#[derive(Clone, Debug)]
pub struct Server(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    desk: Arc<Desk>,
    settings: Settings,
    boot: HeaderValue,
    cards: card::Cards,
    grpc: Routes,
}

impl Server {
    /// A server for a desk. `boot` names this life of the worker.
    pub async fn new(desk: Arc<Desk>, settings: Settings, boot: uuid::Uuid) -> Self {
        let text = boot.to_string();
        Self(Arc::new(Inner {
            cards: card::Cards::new(settings.public_url.clone()),
            grpc: grpc::routes(&desk, settings.max_body).await,
            boot: HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("unknown")),
            desk,
            settings,
        }))
    }

    /// Answers one request.
    pub async fn call(&self, request: Request<Incoming>) -> Response<Body> {
        let mut response = if is_grpc(&request) {
            Box::pin(self.grpc(request)).await
        } else {
            Box::pin(self.http(request)).await
        };
        let boot = HeaderName::from_static(mesh::BOOT);
        response.headers_mut().insert(boot, self.0.boot.clone());
        response
    }

    async fn grpc(&self, request: Request<Incoming>) -> Response<Body> {
        let answer = self.0.grpc.clone().oneshot(request).await;
        answer
            .unwrap_or_else(|never| match never {})
            .map(body::wrap)
    }

    async fn http(&self, request: Request<Incoming>) -> Response<Body> {
        if request.uri().path() == mesh::WORKER_PATH {
            return self.worker(request.method());
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
            _ => Box::pin(self.rest(agent, &path, request)).await,
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

    fn worker(&self, method: &Method) -> Response<Body> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return body::full(StatusCode::METHOD_NOT_ALLOWED, JSON, Bytes::new());
        }
        let report = mesh::WorkerReport {
            boot: self.0.boot.to_str().unwrap_or_default().to_owned(),
            ..self.0.desk.report()
        };
        body::full(StatusCode::OK, JSON, json::to_bytes(&report))
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
