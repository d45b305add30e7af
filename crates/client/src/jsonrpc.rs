//! JSON-RPC on the wire: one POST per call, answers as JSON, streams as server-sent events of whole
//! JSON-RPC responses.

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header, response};
use http_body_util::Full;
use hyper::body::Incoming;
use mesh_proto::{
    Fault, Operation, Problem,
    a2a::StreamResponse,
    jsonrpc::{self, RawId},
};

use crate::{
    ask::{Answer, Ask},
    error::Error,
    sse::{self, Reader},
    status, transport,
};

pub(crate) fn request<Q: Ask>(
    base: &str,
    operation: Operation,
    ask: &Q,
) -> Result<Request<Full<Bytes>>, Error> {
    // One call per HTTP exchange: the id has nothing to tell apart.
    let body = jsonrpc::request(&RawId::number(1), operation, ask).map_err(Error::Problem)?;
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(base)
        .body(Full::new(body))
        .map_err(Error::Request)?;
    let headers = request.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(header::ACCEPT, sse::accept(operation, "application/json"));
    Ok(request)
}

pub(crate) async fn answer<A: Answer>(
    response: Response<Incoming>,
    limit: usize,
) -> Result<A, Error> {
    let (head, body) = response.into_parts();
    let body = transport::collect(body, "answer", limit).await?.to_bytes();
    jsonrpc::response(&body).map_err(|problem| refusal(&head, problem))
}

/// Takes the head of a stream's answer: its body, or the error that came instead.
pub(crate) async fn begin(response: Response<Incoming>, limit: usize) -> Result<Incoming, Error> {
    if sse::is_stream(&response) {
        return Ok(response.into_body());
    }
    let (head, body) = response.into_parts();
    let body = transport::collect(body, "answer", limit).await?.to_bytes();
    match jsonrpc::response::<StreamResponse>(&body) {
        Err(problem) => Err(refusal(&head, problem)),
        // One event as an answer of its own is not what was asked for.
        Ok(_) => Err(status::foreign(&head)),
    }
}

/// An error answer. It may have a status of its own, but its body tells more; where the body tells
/// nothing, a gateway's page for instance, the status is all there is.
fn refusal(head: &response::Parts, problem: Problem) -> Error {
    if !head.status.is_success() && problem.fault == Fault::InvalidAgentResponse {
        status::foreign(head)
    } else {
        Error::Problem(problem)
    }
}

/// Server-sent events in, events out.
#[derive(Debug)]
pub(crate) struct Decoder(Reader);

impl Decoder {
    pub(crate) fn new(limit: usize) -> Self {
        Self(Reader::new(limit))
    }

    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.0.feed(bytes);
    }

    pub(crate) fn next(&mut self) -> Result<Option<StreamResponse>, Error> {
        let Some(data) = self.0.next()? else {
            return Ok(None);
        };
        jsonrpc::response(&data).map(Some).map_err(Error::Problem)
    }

    pub(crate) fn finish(&self) -> Result<(), Error> {
        self.0.finish()
    }
}
