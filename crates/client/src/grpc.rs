//! gRPC on the wire: one message in a frame out, frames back, the status in the trailers.
//!
//! By hand rather than by a generated client: the same connections, bounds and errors as the other
//! bindings, and a broken connection stays told apart from an agent's `UNAVAILABLE`.
//!
//! # Invariants
//! - An answer without `grpc-status` was cut, whatever came before.
//! - Compression is never offered, so none may come.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use http_body::Frame;
use http_body_util::Full;
use hyper::body::Incoming;
use mesh_proto::{Fault, Operation, a2a::StreamResponse, grpc};

use crate::{
    ask::{Answer, Ask},
    error::{Broken, Error},
    status, transport,
};

pub(crate) fn request<Q: Ask>(
    base: &str,
    operation: Operation,
    ask: &Q,
) -> Result<Request<Full<Bytes>>, Error> {
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(format!("{base}{}", grpc::path(operation)))
        .body(Full::new(grpc::frame(ask)))
        .map_err(Error::Request)?;
    let headers = request.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/grpc"),
    );
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    Ok(request)
}

pub(crate) async fn answer<A: Answer>(
    response: Response<Incoming>,
    limit: usize,
) -> Result<A, Error> {
    let body = begin(response)?;
    let mut frames = Frames::new("answer", limit);
    let body = transport::collect(body, "answer", limit).await?;
    let trailers = body.trailers().cloned();
    frames.reader.feed(&body.to_bytes());
    let message = frames.next()?;
    frames.end(trailers.as_ref())?;
    let message = message.ok_or(Broken::Short("a message"))?;
    A::decode(message).map_err(|error| status::not_understood(&error))
}

/// Takes the head of an answer: its body, or the status that came instead.
pub(crate) fn begin(response: Response<Incoming>) -> Result<Incoming, Error> {
    let (head, body) = response.into_parts();
    let grpc = head
        .headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    // Without a body the status comes in the head ("trailers only").
    if head.headers.contains_key(STATUS)
        && let Some(problem) = grpc::problem(&head.headers)
    {
        return Err(Error::Problem(problem));
    }
    if !head.status.is_success() || !grpc {
        return Err(status::foreign(&head));
    }
    Ok(body)
}

/// Frames in, messages out.
#[derive(Debug)]
struct Frames {
    reader: grpc::Reader,
    what: &'static str,
    limit: usize,
}

impl Frames {
    fn new(what: &'static str, limit: usize) -> Self {
        Self {
            reader: grpc::Reader::new(limit),
            what,
            limit,
        }
    }

    fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let (what, limit) = (self.what, self.limit);
        match self.reader.next_frame() {
            Ok(Some(frame)) if frame.compressed => Err(Broken::Compressed.into()),
            Ok(frame) => Ok(frame.map(|frame| frame.message)),
            Err(problem) if problem.fault == Fault::TooLarge => {
                Err(Broken::TooLarge { what, limit }.into())
            }
            Err(problem) => Err(status::not_understood(&problem)),
        }
    }

    /// Judges an answer by its trailers.
    fn end(&self, trailers: Option<&HeaderMap>) -> Result<(), Error> {
        let Some(trailers) = trailers.filter(|trailers| trailers.contains_key(STATUS)) else {
            return Err(Broken::Short("a status").into());
        };
        match grpc::problem(trailers) {
            Some(problem) => Err(Error::Problem(problem)),
            None if self.reader.is_empty() => Ok(()),
            None => Err(Broken::Short("the rest of a message").into()),
        }
    }
}

/// Frames of a stream in, events out.
#[derive(Debug)]
pub(crate) struct Decoder {
    frames: Frames,
    trailers: Option<HeaderMap>,
}

impl Decoder {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            frames: Frames::new("event", limit),
            trailers: None,
        }
    }

    pub(crate) fn feed(&mut self, frame: Frame<Bytes>) {
        match frame.into_data() {
            Ok(data) => self.frames.reader.feed(&data),
            Err(frame) => self.trailers = frame.into_trailers().ok(),
        }
    }

    pub(crate) fn next(&mut self) -> Result<Option<StreamResponse>, Error> {
        self.frames
            .next()?
            .map(StreamResponse::decode)
            .transpose()
            .map_err(|error| status::not_understood(&error))
    }

    pub(crate) fn finish(&self) -> Result<(), Error> {
        self.frames.end(self.trailers.as_ref())
    }
}

const STATUS: &str = "grpc-status";
