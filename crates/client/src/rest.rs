//! HTTP+JSON on the wire: a path per operation, answers as bare messages, streams as server-sent
//! events of bare [`StreamResponse`]s.

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header, response};
use http_body_util::Full;
use hyper::body::Incoming;
use mesh_proto::{Operation, a2a::StreamResponse, rest};
use serde::de::DeserializeOwned;

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
    let call = rest::call(operation, ask).map_err(Error::Problem)?;
    let has_body = call.body.is_some();
    let mut request = Request::builder()
        .method(call.method)
        .uri(format!("{base}{}", call.path))
        .body(Full::new(call.body.unwrap_or_default()))
        .map_err(Error::Request)?;
    let headers = request.headers_mut();
    if has_body {
        // Not `application/a2a+json`: stock middleware of many servers parses no other JSON type,
        // and every version of the specification takes this one.
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
    }
    let answer = "application/a2a+json, application/json";
    headers.insert(header::ACCEPT, sse::accept(operation, answer));
    Ok(request)
}

/// The other form of a subscription, if an answer asks for it: the specification's proto says GET,
/// its prose POST, and servers are split.
pub(crate) fn other_form(
    operation: Operation,
    request: &Request<Full<Bytes>>,
    response: &Response<Incoming>,
) -> Option<Request<Full<Bytes>>> {
    let turn = operation == Operation::SubscribeToTask
        && request.method() == Method::GET
        && response.status() == StatusCode::METHOD_NOT_ALLOWED;
    turn.then(|| {
        let mut other = request.clone();
        *other.method_mut() = Method::POST;
        other
    })
}

pub(crate) async fn answer<A: Answer>(
    response: Response<Incoming>,
    limit: usize,
) -> Result<A, Error> {
    let (head, body) = response.into_parts();
    let body = transport::collect(body, "answer", limit).await?.to_bytes();
    if !head.status.is_success() {
        return Err(refusal(&head, &body));
    }
    // A deletion may be answered with nothing at all.
    read(if body.is_empty() { b"null" } else { &body })
}

/// Takes the head of a stream's answer: its body, or the error that came instead.
pub(crate) async fn begin(response: Response<Incoming>, limit: usize) -> Result<Incoming, Error> {
    if sse::is_stream(&response) {
        return Ok(response.into_body());
    }
    let (head, body) = response.into_parts();
    let body = transport::collect(body, "answer", limit).await?.to_bytes();
    Err(refusal(&head, &body))
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
        // An error in a stream looks like the body of an error answer; it has no status of its own.
        if is_error(&data) {
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            return Err(Error::Problem(rest::problem(status, &data)));
        }
        read(&data).map(Some)
    }

    pub(crate) fn finish(&self) -> Result<(), Error> {
        self.0.finish()
    }
}

fn refusal(head: &response::Parts, body: &[u8]) -> Error {
    if is_error(body) {
        Error::Problem(rest::problem(head.status, body))
    } else {
        status::foreign(head)
    }
}

fn is_error(body: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Body {
        #[expect(dead_code, reason = "only that it is there and an object matters")]
        error: serde_json::Map<String, serde_json::Value>,
    }
    serde_json::from_slice::<Body>(body).is_ok()
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|error| status::not_understood(&error))
}
