//! One dialect in, another out: a call that its agent does not take in the client's own dialect.
//!
//! The request is read into the pivot (`mesh_proto::pivot`) and written anew in the line's dialect; the
//! answer goes the other way. It stands between the opening of ids and the wire on the way in, and
//! between the wire and their sealing on the way out, so that ids are always replaced in the client's
//! dialect.
//!
//! What is lost: fields that neither dialect's schema knows, the exactness of numbers beyond a double, the
//! order of keys, and the spelling of all of it. What 0.3 lacks is listed in `mesh_proto::v03`.
//!
//! # Invariants
//! - Same dialect on both sides never comes here: its bytes pass as they came.
//! - An error of the agent before its first event is an ordinary error answer; one after it ends the
//!   stream in the client's own way.
//! - A stream that broke never looks whole: it breaks here, too, and its pump says so.
//! - At most one answer, event or message is held, and never more than the bound; nothing is inflated,
//!   since nobody asked for compression.

mod headers;
mod stream;

use std::{borrow::Cow, collections::VecDeque};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::BodyExt as _;
use mesh_core::error::CallError;
use mesh_proto::{
    Binding, Dialect, Fault, Operation, Problem, a2a, grpc,
    jsonrpc::RawId,
    pivot::{self, Event},
};
use serde::Deserialize;

use super::{envelope::Envelope, line::Line, origin::Carried};
use crate::{
    call::Ask,
    refusal::{Refusal, refusal},
};

pub use stream::Stream;

/// Bytes before each message of gRPC: a flag and a length.
const PREFIX: usize = 5;

/// Bounds.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The longest answer, event or message that is translated, in bytes; a longer one is refused, or
    /// breaks off where its stream has begun. Default 64 MiB.
    pub answer_bytes: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            answer_bytes: 64 << 20,
        }
    }
}

/// One call between two dialects.
#[derive(Clone, Debug)]
pub struct Transcoding {
    /// What the client speaks.
    client: Dialect,
    /// What the agent speaks.
    agent: Dialect,
    operation: Operation,
    /// The client's id, over JSON-RPC.
    id: Option<RawId>,
    limit: usize,
}

/// A request as the agent gets it.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// The HTTP method.
    pub method: Method,
    /// Path and query below the line's own path.
    pub path: Cow<'static, str>,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// An answer as the client gets it.
#[derive(Debug)]
pub struct Incoming {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// The frames that are there already.
    pub read: VecDeque<Frame<Bytes>>,
    /// What follows them.
    pub rest: Option<Stream>,
    /// What the agent complained of, where its answer is an error.
    pub fault: Option<Fault>,
}

impl Transcoding {
    /// For a call down this line; `None` where both sides speak one dialect.
    #[must_use]
    pub fn between(ask: &Ask, line: &Line, settings: Settings) -> Option<Self> {
        let agent = line.dialect(ask.dialect.version);
        (agent != ask.dialect).then(|| Self {
            client: ask.dialect,
            agent,
            operation: ask.operation,
            id: ask.farewell.id.clone(),
            limit: settings.answer_bytes,
        })
    }

    /// Both sides, the client's first.
    #[must_use]
    pub const fn dialects(&self) -> (Dialect, Dialect) {
        (self.client, self.agent)
    }

    /// Writes a call in the agent's dialect. Ids come opened, where there is an envelope; the tenant is
    /// the caller's, else the one that the line's card asks for.
    ///
    /// # Errors
    /// A bad request, for what can't be read, or what the agent's version does not have.
    pub fn request(
        &self,
        ask: &Ask,
        opened: Option<&Envelope>,
        tenant: Option<&str>,
        mut headers: HeaderMap,
    ) -> Result<Outgoing, CallError> {
        let path = opened
            .and_then(|opened| opened.path.as_deref())
            .unwrap_or(&ask.path);
        let body = self.message(ask, opened);
        let mut request =
            pivot::decode_request(self.client, self.operation, &ask.method, path, &body)?;
        if request.tenant().is_empty()
            && let Some(tenant) = tenant
        {
            request.set_tenant(tenant.to_owned());
        }
        let number = RawId::number(1);
        let id = self.id.as_ref().unwrap_or(&number);
        let wire = pivot::encode_request(self.agent, id, &request)?;
        headers::onward(&mut headers, self, wire.content_type);
        Ok(Outgoing {
            method: wire.method,
            path: wire.path.into(),
            headers,
            body: wire.body,
        })
    }

    /// The request's body uncompressed, out of its frame, and with ids opened.
    fn message(&self, ask: &Ask, opened: Option<&Envelope>) -> Bytes {
        let bare = |body: &Bytes| match self.client.binding {
            Binding::Grpc => body.slice(PREFIX.min(body.len())..),
            Binding::JsonRpc | Binding::Rest => body.clone(),
        };
        match (opened.and_then(|opened| opened.body.as_ref()), &ask.plain) {
            (Some(opened), _) => bare(opened),
            (None, Some(plain)) => plain.clone(),
            (None, None) => bare(&ask.body),
        }
    }

    /// Reads an answer and writes it in the client's dialect: whole, or as far as its first event.
    ///
    /// # Errors
    /// [`CallError`], where the agent broke off before that, or answered what is none.
    pub async fn answer(self, response: Response<Carried>) -> Result<Incoming, CallError> {
        let (parts, body) = response.into_parts();
        let mut head = parts.headers;
        let encoding = head.get(header::CONTENT_ENCODING);
        if encoding.is_some_and(|encoding| encoding != "identity") {
            return Err(CallError::BadAnswer);
        }
        let kind = head
            .get(header::CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok())
            .unwrap_or_default()
            .to_ascii_lowercase();
        let streams = match self.agent.binding {
            Binding::Grpc if parts.status != StatusCode::OK => return Err(CallError::BadAnswer),
            Binding::Grpc if !kind.starts_with("application/grpc") => {
                return Err(CallError::BadAnswer);
            }
            // A status in the head is the whole answer.
            Binding::Grpc => self.operation.streams() && !head.contains_key("grpc-status"),
            Binding::JsonRpc | Binding::Rest => {
                parts.status.is_success() && kind.starts_with("text/event-stream")
            }
        };
        if streams {
            headers::back(&mut head, &self);
            return self.stream(head, body).await;
        }
        let Whole { message, trailers } = self.whole(&mut head, body).await?;
        let outcome = pivot::decode_response(
            self.agent,
            self.operation,
            parts.status,
            &head,
            trailers.as_ref(),
            &message,
        );
        if let Some(trailers) = trailers {
            head.extend(trailers);
        }
        headers::back(&mut head, &self);
        match outcome {
            Err(problem) => Ok(self.refused(head, &problem)),
            Ok(response) if self.operation.streams() => match event_of(response) {
                Some(event) => Ok(self.single(head, &event)),
                None => Err(CallError::BadAnswer),
            },
            Ok(response) => Ok(self.answered(head, &response)),
        }
    }

    /// Reads a whole answer; over gRPC its one message, out of the frame, and the trailers.
    async fn whole(&self, head: &mut HeaderMap, body: Carried) -> Result<Whole, CallError> {
        let mut body = std::pin::pin!(body);
        let (mut held, mut trailers) = (BytesMut::new(), None);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| CallError::UpstreamReset)?;
            match frame.into_data() {
                Ok(data) if held.len() + data.len() > self.limit => {
                    return Err(CallError::BadAnswer);
                }
                Ok(data) => held.extend_from_slice(&data),
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
        }
        if self.agent.binding != Binding::Grpc {
            let message = held.freeze();
            return Ok(Whole { message, trailers });
        }
        let mut frames = grpc::Reader::new(self.limit);
        frames.feed(&held);
        let message = match frames.next_frame() {
            Ok(Some(frame)) if !frame.compressed && frames.is_empty() => frame.message,
            Ok(None) if frames.is_empty() => Bytes::new(),
            Ok(_) | Err(_) => return Err(CallError::BadAnswer),
        };
        // An error may be all head; what has neither head nor trailers with a status is no answer.
        if trailers.is_none() && head.contains_key("grpc-status") {
            trailers = Some(headers::take_status(head));
        }
        let trailers = trailers.filter(|all| all.contains_key("grpc-status"));
        if trailers.is_none() {
            return Err(CallError::BadAnswer);
        }
        Ok(Whole { message, trailers })
    }

    async fn stream(&self, mut head: HeaderMap, body: Carried) -> Result<Incoming, CallError> {
        let mut stream = Stream::new(self.clone(), body);
        if let Some(problem) = stream.begin().await? {
            return Ok(self.refused(head, &problem));
        }
        headers::of_stream(&mut head, self);
        Ok(Incoming {
            status: StatusCode::OK,
            headers: head,
            read: VecDeque::new(),
            rest: Some(stream),
            fault: None,
        })
    }

    fn answered(&self, mut headers: HeaderMap, response: &pivot::Response) -> Incoming {
        let wire = pivot::encode_response(self.client, self.id.as_ref(), Ok(response));
        headers::of_body(&mut headers, self, wire.content_type, wire.body.len());
        let mut read = VecDeque::with_capacity(2);
        if !wire.body.is_empty() {
            read.push_back(Frame::data(wire.body));
        }
        read.extend(wire.trailers.map(Frame::trailers));
        Incoming {
            status: wire.status,
            headers,
            read,
            rest: None,
            fault: None,
        }
    }

    /// The one event of an agent that answers a call for a stream in one piece.
    fn single(&self, mut headers: HeaderMap, event: &Event) -> Incoming {
        headers::of_stream(&mut headers, self);
        let event = pivot::encode_event(self.client, self.id.as_ref(), Ok(event));
        let mut read = VecDeque::from([Frame::data(event)]);
        if self.client.binding == Binding::Grpc {
            read.push_back(Frame::trailers(headers::success()));
        }
        Incoming {
            status: StatusCode::OK,
            headers,
            read,
            rest: None,
            fault: None,
        }
    }

    fn refused(&self, mut head: HeaderMap, problem: &Problem) -> Incoming {
        let Refusal {
            status,
            headers,
            body,
        } = refusal(self.client, self.id.as_ref(), problem);
        if let Some(kind) = headers.get(header::CONTENT_TYPE)
            && let Ok(kind) = kind.to_str()
        {
            headers::of_body(&mut head, self, kind, body.len());
        }
        // When to come back is for the agent to say, where it says so.
        for (name, value) in &headers {
            if *name != header::RETRY_AFTER || !head.contains_key(name) {
                head.insert(name, value.clone());
            }
        }
        let whole = (!body.is_empty()).then(|| Frame::data(body));
        Incoming {
            status,
            headers: head,
            read: whole.into_iter().collect(),
            rest: None,
            fault: Some(problem.fault),
        }
    }
}

/// A whole answer.
struct Whole {
    message: Bytes,
    trailers: Option<HeaderMap>,
}

/// What a stream would have said of an answer in one piece.
fn event_of(response: pivot::Response) -> Option<Event> {
    use a2a::{send_message_response::Payload as Sent, stream_response::Payload};
    let payload = match response {
        pivot::Response::Sent(sent) => match sent.payload? {
            Sent::Task(task) => Payload::Task(task),
            Sent::Message(message) => Payload::Message(message),
        },
        pivot::Response::Task(task) => Payload::Task(task),
        _ => return None,
    };
    Some(Event {
        payload: Some(payload),
    })
}
