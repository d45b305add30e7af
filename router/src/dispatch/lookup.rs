//! An endpoint's answer, and the reading of it that a look-up needs.
//!
//! # Invariants
//! - Only a look-up reads an answer; every other answer's body passes unread, but for ids that are
//!   sealed on the way (`upstream::envelope`), and what comes in another dialect (`upstream::transcode`).
//! - A look-up reads one page at most; a longer answer is certainly a task, and is lost to nobody:
//!   what was read goes on in front of the rest.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, header};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;
use mesh_core::error::CallError;
use mesh_proto::{Binding, Fault, error::GrpcCode, json};
use serde::Deserialize;

use crate::{
    call::Broken,
    upstream::{
        Endpoint,
        envelope::{Envelope, Sealer},
        origin::Carried,
        transcode,
    },
};

/// How much of an answer a look-up reads before it takes it for a task.
const PEEK_BYTES: usize = 16 << 10;

/// What an endpoint answered.
#[derive(Debug)]
pub struct Answer {
    /// Who.
    pub endpoint: Arc<Endpoint>,
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Peeked,
    knows: Knows,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Knows {
    Unasked,
    Something,
    NoSuchTask,
}

/// A body of which the first frames may have been read already.
#[derive(Debug)]
pub struct Peeked {
    read: VecDeque<Frame<Bytes>>,
    rest: Rest,
    /// What seals ids on the way out, where any are to be sealed.
    sealer: Option<Sealer>,
}

/// What follows the frames that have been read.
#[derive(Debug)]
enum Rest {
    /// The endpoint's own bytes.
    AsItComes(Carried),
    /// Its events in the client's dialect.
    Translated(Box<transcode::Stream>),
    /// Nothing.
    Nothing,
}

impl Answer {
    /// An answer whose body nobody has touched.
    #[must_use]
    pub fn new(endpoint: Arc<Endpoint>, response: Response<Carried>) -> Self {
        let (parts, rest) = response.into_parts();
        Self {
            endpoint,
            status: parts.status,
            headers: parts.headers,
            body: Peeked {
                read: VecDeque::new(),
                rest: Rest::AsItComes(rest),
                sealer: None,
            },
            knows: Knows::Unasked,
        }
    }

    /// An answer that came in another dialect. Whether the endpoint knows the task is known already.
    #[must_use]
    pub fn translated(endpoint: Arc<Endpoint>, answer: transcode::Incoming) -> Self {
        let stream = |rest| Rest::Translated(Box::new(rest));
        Self {
            endpoint,
            status: answer.status,
            headers: answer.headers,
            body: Peeked {
                read: answer.read,
                rest: answer.rest.map_or(Rest::Nothing, stream),
                sealer: None,
            },
            knows: match answer.fault {
                Some(Fault::TaskNotFound) => Knows::NoSuchTask,
                Some(_) | None => Knows::Something,
            },
        }
    }

    /// Has the ids in the body sealed as it is carried.
    pub fn seal(&mut self, envelope: &Envelope) {
        let life = self.endpoint.third_party();
        self.body.sealer = envelope.seal(life, self.status, &mut self.headers);
    }

    /// Refuses what can't be passed on in the caller's binding: a gRPC call whose answer is not gRPC.
    /// HTTP answers pass whatever they are; their status says enough.
    ///
    /// # Errors
    /// [`CallError::BadAnswer`].
    pub fn check(&self, binding: Binding) -> Result<(), CallError> {
        let is_grpc = || {
            let kind = self.headers.get(header::CONTENT_TYPE);
            kind.and_then(|kind| kind.to_str().ok())
                .is_some_and(|kind| kind.starts_with("application/grpc"))
        };
        match binding {
            Binding::Grpc if self.status != StatusCode::OK || !is_grpc() => {
                Err(CallError::BadAnswer)
            }
            Binding::Grpc | Binding::JsonRpc | Binding::Rest => Ok(()),
        }
    }

    /// Reads far enough to tell whether the endpoint knows the task.
    pub async fn settled(mut self, binding: Binding) -> Self {
        if self.knows != Knows::Unasked {
            return self;
        }
        self.knows = match binding {
            Binding::Rest if self.status == StatusCode::NOT_FOUND => Knows::NoSuchTask,
            Binding::Rest => Knows::Something,
            Binding::Grpc => self.settled_grpc().await,
            Binding::JsonRpc => self.settled_json_rpc().await,
        };
        self
    }

    /// Whether the endpoint said that it has no such task.
    #[must_use]
    pub fn is_unknown_task(&self) -> bool {
        self.knows == Knows::NoSuchTask
    }

    async fn settled_grpc(&mut self) -> Knows {
        if says_not_found(&self.headers) {
            return Knows::NoSuchTask;
        }
        // An error may come as trailers alone behind an empty head; anything else is a message.
        match self.body.peek().await {
            Some(frame) => match frame.trailers_ref() {
                Some(trailers) if says_not_found(trailers) => Knows::NoSuchTask,
                Some(_) | None => Knows::Something,
            },
            None => Knows::Something,
        }
    }

    async fn settled_json_rpc(&mut self) -> Knows {
        let kind = self
            .headers
            .get(header::CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok());
        if !kind.is_some_and(|kind| kind.starts_with("application/")) {
            return Knows::Something;
        }
        let mut page = Vec::new();
        while let Some(frame) = self.body.peek().await {
            if let Some(data) = frame.data_ref() {
                page.extend_from_slice(data);
            }
            if page.len() > PEEK_BYTES {
                return Knows::Something;
            }
        }
        match json::from_slice::<RpcAnswer>(&page) {
            Ok(RpcAnswer {
                error: Some(Failure { code }),
            }) if code == Fault::TaskNotFound.row().code => Knows::NoSuchTask,
            Ok(_) | Err(_) => Knows::Something,
        }
    }
}

impl Peeked {
    /// Reads one more frame and keeps it. `None` at the end, or when the body breaks: the break then
    /// shows again when the body is carried.
    async fn peek(&mut self) -> Option<&Frame<Bytes>> {
        let Rest::AsItComes(rest) = &mut self.rest else {
            return None;
        };
        let frame = rest.frame().await?.ok()?;
        self.read.push_back(frame);
        self.read.back()
    }
}

impl http_body::Body for Peeked {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        loop {
            if let Some(sealer) = &mut self.sealer {
                if let Some(frame) = sealer.next_frame() {
                    return Poll::Ready(Some(Ok(frame)));
                }
                if sealer.has_ended() {
                    return Poll::Ready(None);
                }
            }
            let polled = match self.read.pop_front() {
                Some(frame) => Some(Ok(frame)),
                None => ready!(self.rest.poll_frame(cx)),
            };
            match (&mut self.sealer, polled) {
                (Some(sealer), Some(Ok(frame))) => sealer.take(frame)?,
                (Some(sealer), None) => sealer.end(),
                (_, polled) => return Poll::Ready(polled),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.sealer {
            // An error of gRPC is all head: saying that a body follows would take its status away.
            Some(sealer) if sealer.is_untouched() => self.read.is_empty() && self.rest.has_ended(),
            Some(sealer) => sealer.has_ended(),
            None => self.read.is_empty() && self.rest.has_ended(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.rest {
            Rest::AsItComes(rest) if self.read.is_empty() && self.sealer.is_none() => {
                rest.size_hint()
            }
            Rest::AsItComes(_) | Rest::Translated(_) | Rest::Nothing => SizeHint::default(),
        }
    }
}

impl Rest {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self {
            Self::AsItComes(rest) => Pin::new(rest).poll_frame(cx),
            Self::Translated(rest) => rest.poll_next(cx),
            Self::Nothing => Poll::Ready(None),
        }
    }

    fn has_ended(&self) -> bool {
        match self {
            Self::AsItComes(rest) => rest.is_end_stream(),
            Self::Translated(rest) => rest.has_ended(),
            Self::Nothing => true,
        }
    }
}

#[derive(Deserialize)]
struct RpcAnswer {
    error: Option<Failure>,
}

#[derive(Deserialize)]
struct Failure {
    code: i32,
}

fn says_not_found(headers: &HeaderMap) -> bool {
    let not_found = GrpcCode::NotFound.number().to_string();
    headers
        .get("grpc-status")
        .is_some_and(|status| status.as_bytes() == not_found.as_bytes())
}
