//! gRPC on the wire: frames back, the status in the trailers.
//!
//! By hand rather than by a generated client: the same connections, bounds and errors as the other
//! bindings, and a broken connection stays told apart from an agent's `UNAVAILABLE`.
//!
//! # Invariants
//! - An answer without `grpc-status` was cut, whatever came before.
//! - Compression is never offered, so none may come.

use bytes::Bytes;
use http::{HeaderMap, Response, header, response};
use hyper::body::Incoming;
use mesh_proto::{Dialect, Fault, Operation, Problem, Version, grpc, pivot, v03};

use crate::{
    error::{Broken, Error},
    status, transport,
};

pub(crate) async fn answer(
    dialect: Dialect,
    operation: Operation,
    response: Response<Incoming>,
    limit: usize,
) -> Result<pivot::Response, Error> {
    let (head, body) = begun(dialect.version, response)?;
    let mut frames = Frames::new(dialect.version, "answer", limit);
    let body = transport::collect(body, "answer", limit).await?;
    let trailers = body.trailers().cloned();
    frames.feed(&body.to_bytes());
    let message = frames.next()?;
    frames.end(trailers.as_ref())?;
    let message = message.ok_or(Broken::Short("a message"))?;
    let (status, headers) = (head.status, &head.headers);
    pivot::decode_response(
        dialect,
        operation,
        status,
        headers,
        trailers.as_ref(),
        &message,
    )
    .map_err(Error::Problem)
}

/// Takes the head of an answer: its body, or the status that came instead.
pub(crate) fn begin(version: Version, response: Response<Incoming>) -> Result<Incoming, Error> {
    Ok(begun(version, response)?.1)
}

fn begun(
    version: Version,
    response: Response<Incoming>,
) -> Result<(response::Parts, Incoming), Error> {
    let (head, body) = response.into_parts();
    let grpc = head
        .headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    // Without a body the status comes in the head ("trailers only").
    if head.headers.contains_key(STATUS)
        && let Some(problem) = problem(version, &head.headers)
    {
        let error = Error::Problem(problem);
        return Err(status::with_retry_after(&head.headers, error));
    }
    if !head.status.is_success() || !grpc {
        return Err(status::foreign(&head));
    }
    Ok((head, body))
}

/// What a status says, which the versions write in their own ways.
fn problem(version: Version, trailers: &HeaderMap) -> Option<Problem> {
    match version {
        Version::V1_0 => grpc::problem(trailers),
        Version::V0_3 => v03::problem(trailers),
    }
}

/// Frames in, messages out.
#[derive(Debug)]
pub(crate) struct Frames {
    version: Version,
    reader: grpc::Reader,
    what: &'static str,
    limit: usize,
}

impl Frames {
    pub(crate) fn new(version: Version, what: &'static str, limit: usize) -> Self {
        Self {
            version,
            reader: grpc::Reader::new(limit),
            what,
            limit,
        }
    }

    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.reader.feed(bytes);
    }

    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, Error> {
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
    pub(crate) fn end(&self, trailers: Option<&HeaderMap>) -> Result<(), Error> {
        let Some(trailers) = trailers.filter(|trailers| trailers.contains_key(STATUS)) else {
            return Err(Broken::Short("a status").into());
        };
        match problem(self.version, trailers) {
            Some(problem) => Err(Error::Problem(problem)),
            None if self.reader.is_empty() => Ok(()),
            None => Err(Broken::Short("the rest of a message").into()),
        }
    }
}

const STATUS: &str = "grpc-status";
