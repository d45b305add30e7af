//! What the Dapr sidecar brings to this port: events of input bindings at `/-/binding/NAME`, where `OPTIONS`
//! tells it whether anybody wants them and `POST` is one; and batches of the bus, for [`Inlet`].
//!
//! # Invariants
//! - Nobody but the sidecar brings events: it shows the token that it was given for that, or, where there
//!   is none, it calls from this machine.
//! - Taken is 200 and nothing else: a sidecar with a resiliency policy takes any other for a failure.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use mesh_fabric::bus::Inlet;
use mesh_proto::{Fault, Problem};
use mesh_runtime::net::Peer;

use super::{
    JSON,
    body::{self, Body, BoxError},
    rest,
};
use crate::{desk::Desk, record::digest};

/// What the path begins with.
const PATH: &str = "/-/binding/";

/// How the sidecar shows its token.
const TOKEN: &str = "dapr-api-token";

/// What the sidecar shows to its program, kept as a digest.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AppToken(String);

impl AppToken {
    /// A token.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(digest(text.as_bytes()))
    }

    fn is_shown(&self, headers: &HeaderMap) -> bool {
        let shown = headers.get(TOKEN);
        shown.is_some_and(|shown| digest(shown.as_bytes()) == self.0)
    }
}

/// What comes to a path of the sidecar's.
pub(super) enum Brought<'a> {
    /// An event of an input binding.
    Event,
    /// A batch of the bus, or the question what is to be brought.
    Batches(&'a Inlet),
}

/// What comes to a path, if that is one of the sidecar's.
pub(super) fn brought<'a>(path: &str, inlet: Option<&'a Inlet>) -> Option<Brought<'a>> {
    match inlet {
        _ if path.starts_with(PATH) => Some(Brought::Event),
        Some(inlet) if Inlet::takes(path) => Some(Brought::Batches(inlet)),
        _ => None,
    }
}

/// Refuses anybody else.
pub(super) fn is_sidecar(
    token: Option<&AppToken>,
    headers: &HeaderMap,
    peer: Peer,
) -> Result<(), Problem> {
    let is_sidecar = match token {
        Some(token) => token.is_shown(headers),
        None => peer.addr.ip().to_canonical().is_loopback(),
    };
    if is_sidecar {
        return Ok(());
    }
    let text = "only the sidecar brings events";
    Err(Problem::new(Fault::PermissionDenied, text))
}

/// Takes an event of an input binding, of so many bytes at most.
pub(super) async fn answer<B>(desk: &Desk, max: usize, request: Request<B>) -> Response<Body>
where
    B: http_body::Body<Data = Bytes> + Send,
    B::Error: Into<BoxError>,
{
    let (head, body) = request.into_parts();
    let name = head.uri.path().strip_prefix(PATH).unwrap_or_default();
    match head.method {
        Method::OPTIONS if desk.has_input(name) => taken(),
        Method::OPTIONS => {
            let text = format!("no agent here takes events of the binding {name:?}");
            rest::refuse(&Problem::new(Fault::MethodNotFound, text))
        }
        Method::POST => {
            let event = async {
                let body = body::read(&head.headers, body, max).await?;
                desk.event(name, &head.headers, &body).await
            };
            match event.await {
                Ok(()) => taken(),
                Err(problem) => rest::refuse(&problem),
            }
        }
        _ => {
            let text = "the sidecar brings events with POST";
            let mut response = rest::refuse(&Problem::new(Fault::MethodNotFound, text));
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            let allowed = HeaderValue::from_static("OPTIONS, POST");
            response.headers_mut().insert(header::ALLOW, allowed);
            response
        }
    }
}

fn taken() -> Response<Body> {
    body::full(StatusCode::OK, JSON, Bytes::new())
}
