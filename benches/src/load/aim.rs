//! Where calls go, and the requests that are sent there.
//!
//! # Invariants
//! - A message's body is encoded once; only its id is put in anew, in place, since all ids have one
//!   length: the generator must stay cheaper than what it measures.

use std::{fmt, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Uri, header};
use http_body_util::Full;
use mesh_proto::{
    Binding, Dialect, Operation, Version, a2a,
    jsonrpc::RawId,
    mesh,
    pivot::{self, WireRequest},
};
use uuid::Uuid;

/// One agent at one address, over one binding.
#[derive(Clone, Debug)]
pub struct Aim {
    /// Where the connections go.
    pub(super) address: SocketAddr,
    authority: String,
    agent: String,
    /// How it is spoken to.
    pub(super) binding: Binding,
}

/// Why a URL is no aim.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// Not of the form that is understood.
    #[error("{0:?} is not http://HOST:PORT/AGENT; load goes over plain HTTP")]
    Form(String),
    /// The host has no address.
    #[error("{host} has no address")]
    Unresolved {
        /// The host and port.
        host: String,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
}

impl Aim {
    /// Reads `http://HOST:PORT/AGENT` and looks the host up, once.
    ///
    /// # Errors
    /// [`Unusable`].
    pub async fn parse(url: &str, binding: Binding) -> Result<Self, Unusable> {
        let form = || Unusable::Form(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| form())?;
        if uri.scheme_str() != Some("http") {
            return Err(form());
        }
        let authority = uri.authority().ok_or_else(form)?;
        let port = authority.port_u16().unwrap_or(80);
        let host = format!("{}:{port}", authority.host());
        let unresolved = |source| Unusable::Unresolved {
            host: host.clone(),
            source,
        };
        let mut found = tokio::net::lookup_host(&host).await.map_err(unresolved)?;
        let address = found
            .next()
            .ok_or_else(|| unresolved(std::io::ErrorKind::NotFound.into()))?;
        Ok(Self {
            address,
            authority: authority.to_string(),
            agent: uri.path().trim_matches('/').to_owned(),
            binding,
        })
    }

    pub(super) const fn dialect(&self) -> Dialect {
        Dialect::new(self.binding, Version::V1_0)
    }

    /// The headers and the target of a request, around a body.
    fn request(
        &self,
        wire: &WireRequest,
        body: Bytes,
        left: Option<Duration>,
    ) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body));
        let below = match self.binding {
            Binding::Grpc => String::new(),
            Binding::JsonRpc | Binding::Rest if self.agent.is_empty() => String::new(),
            Binding::JsonRpc | Binding::Rest => format!("/{}", self.agent),
        };
        let path = format!("{below}{}", wire.path);
        let path = if path.is_empty() { "/" } else { &path };
        let target = match self.binding {
            Binding::Grpc => format!("http://{}{path}", self.authority),
            Binding::JsonRpc | Binding::Rest => path.to_owned(),
        };
        *request.uri_mut() = target.parse().unwrap_or_default();
        *request.method_mut() = wire.method.clone();
        let headers = request.headers_mut();
        if self.binding == Binding::Grpc {
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
            if let Ok(agent) = HeaderValue::from_str(&self.agent) {
                headers.insert(mesh::AGENT, agent);
            }
        } else if let Ok(host) = HeaderValue::from_str(&self.authority) {
            headers.insert(header::HOST, host);
        }
        headers.insert(mesh::A2A_VERSION, HeaderValue::from_static("1.0"));
        if let Some(kind) = wire.content_type {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        if let Some(left) = left {
            let millis = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
            headers.insert(mesh::TIMEOUT, HeaderValue::from(millis.max(1)));
        }
        request
    }

    /// A request about a task.
    pub(super) fn about(
        &self,
        request: &pivot::Request,
        left: Option<Duration>,
    ) -> Option<Request<Full<Bytes>>> {
        let wire = pivot::encode_request(self.dialect(), &RawId::number(1), request).ok()?;
        let body = wire.body.clone();
        Some(self.request(&wire, body, left))
    }
}

impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (authority, agent) = (&self.authority, &self.agent);
        write!(
            f,
            "{} http://{authority}/{agent}",
            super::label(self.binding)
        )
    }
}

/// A message, but for its id.
#[derive(Debug)]
pub(super) struct Letter {
    wire: WireRequest,
    id_at: usize,
}

impl Letter {
    /// Encodes a message of this text, to be sent or streamed.
    pub(super) fn new(aim: &Aim, operation: Operation, text: &str) -> Self {
        let request = a2a::SendMessageRequest {
            message: Some(a2a::Message {
                message_id: PLACE.to_owned(),
                role: a2a::Role::User.into(),
                parts: vec![a2a::Part {
                    content: Some(a2a::part::Content::Text(text.to_owned())),
                    ..Default::default()
                }],
                ..Default::default()
            }),
            ..Default::default()
        };
        let request = match operation {
            Operation::SendStreamingMessage => pivot::Request::SendStreamingMessage(request),
            _ => pivot::Request::SendMessage(request),
        };
        let encoded = pivot::encode_request(aim.dialect(), &RawId::number(1), &request);
        // A text has a form in every dialect of 1.0; without one nothing would be sent, and all fails.
        let wire = encoded.unwrap_or_else(|_| WireRequest {
            method: Method::POST,
            path: String::new(),
            content_type: None,
            body: Bytes::new(),
        });
        let mut places = wire.body.windows(PLACE.len());
        let id_at = places.position(|part| part == PLACE.as_bytes());
        Self {
            id_at: id_at.unwrap_or(wire.body.len()),
            wire,
        }
    }

    /// The message with an id of its own.
    pub(super) fn write(&self, aim: &Aim, left: Option<Duration>) -> Request<Full<Bytes>> {
        let mut body = self.wire.body.to_vec();
        if let Some(place) = body
            .get_mut(self.id_at..)
            .and_then(|rest| rest.get_mut(..PLACE.len()))
        {
            let mut id = [0; PLACE.len()];
            Uuid::new_v4().hyphenated().encode_lower(&mut id);
            place.copy_from_slice(&id);
        }
        aim.request(&self.wire, body.into(), left)
    }
}

/// Where a message's id goes: of a UUID's length.
const PLACE: &str = "ffffffff-ffff-ffff-ffff-ffffffffffff";

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn two_messages_differ_in_their_id_alone() {
        for binding in Binding::ALL {
            let aim = Aim::parse("http://127.0.0.1:9/echo", binding)
                .await
                .unwrap();
            let letter = Letter::new(&aim, Operation::SendMessage, "hello");
            let mut bodies = Vec::new();
            for _ in 0..2 {
                let body = letter.write(&aim, None).into_body();
                bodies.push(body.collect().await.unwrap().to_bytes());
            }
            assert_ne!(bodies[0], bodies[1], "{binding}");
            assert_eq!(bodies[0].len(), bodies[1].len());
            let differs = |(a, b): (&u8, &u8)| a != b;
            let places: Vec<usize> = (0..bodies[0].len())
                .filter(|at| differs((&bodies[0][*at], &bodies[1][*at])))
                .collect();
            let span = places.last().unwrap() - places[0];
            assert!(span < PLACE.len(), "{binding}: {places:?}");
        }
    }

    #[tokio::test]
    async fn a_url_that_is_not_plain_http_is_refused_by_name() {
        for url in ["https://127.0.0.1:1/a", "127.0.0.1:1", "/a"] {
            let refused = Aim::parse(url, Binding::Rest).await.unwrap_err();
            assert!(refused.to_string().contains(url), "{refused}");
        }
    }
}
