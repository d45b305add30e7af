//! One call as HTTP: what goes out, and what comes back, in whatever dialect the agent speaks.
//!
//! The codecs of all dialects are the pivot's; here is what the bindings differ in as HTTP.
//!
//! # Invariants
//! - What an agent says is told in its own words; what no agent wrote, a gateway's page for instance,
//!   is told by its status ([`status::foreign`]).

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header, response};
use http_body_util::Full;
use hyper::body::Incoming;
use mesh_proto::{
    Binding, Dialect, Fault, Operation, Problem,
    jsonrpc::RawId,
    mesh,
    pivot::{self, WireRequest},
};

use crate::{error::Error, grpc, sse, status, transport};

/// Writes a request.
///
/// # Errors
/// [`Error::Unspoken`] where the dialect has no form for it.
pub(crate) fn request(
    dialect: Dialect,
    base: &str,
    ask: &pivot::Request,
) -> Result<Request<Full<Bytes>>, Error> {
    // One call per HTTP exchange: the id has nothing to tell apart.
    let wire = pivot::encode_request(dialect, &RawId::number(1), ask).map_err(Error::Unspoken)?;
    let WireRequest {
        method,
        path,
        content_type,
        body,
    } = wire;
    let mut request = Request::builder()
        .method(method)
        .uri(format!("{base}{path}"))
        .body(Full::new(body))
        .map_err(Error::Request)?;
    let headers = request.headers_mut();
    if let Some(kind) = content_type {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    match dialect.binding {
        Binding::Grpc => {
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
        }
        Binding::JsonRpc | Binding::Rest => {
            let answer = match dialect.binding {
                Binding::Rest => "application/a2a+json, application/json",
                Binding::JsonRpc | Binding::Grpc => "application/json",
            };
            headers.insert(header::ACCEPT, sse::accept(ask.operation(), answer));
        }
    }
    headers.insert(
        mesh::A2A_VERSION,
        HeaderValue::from_static(dialect.version.as_str()),
    );
    Ok(request)
}

/// Says how long the caller waits, so that nobody works for an answer that nobody takes.
pub(crate) fn deadline(headers: &mut HeaderMap, binding: Binding, within: Duration) {
    let millis = within.as_millis();
    let (name, text) = match binding {
        // gRPC has eight digits for it.
        Binding::Grpc if millis < 100_000_000 => ("grpc-timeout", format!("{millis}m")),
        Binding::Grpc => (
            "grpc-timeout",
            format!("{}S", within.as_secs().min(99_999_999)),
        ),
        Binding::JsonRpc | Binding::Rest => (mesh::TIMEOUT, millis.to_string()),
    };
    if let Ok(value) = HeaderValue::from_str(&text) {
        headers.insert(name, value);
    }
}

/// The other form of a subscription, if an answer asks for it: the specification's proto says GET,
/// its prose POST, and servers are split.
pub(crate) fn other_form(
    dialect: Dialect,
    operation: Operation,
    request: &Request<Full<Bytes>>,
    response: &Response<Incoming>,
) -> Option<Request<Full<Bytes>>> {
    let turn = operation == Operation::SubscribeToTask
        && dialect.binding == Binding::Rest
        && response.status() == StatusCode::METHOD_NOT_ALLOWED;
    turn.then(|| {
        let mut other = request.clone();
        *other.method_mut() = if request.method() == Method::GET {
            Method::POST
        } else {
            Method::GET
        };
        other
    })
}

/// Reads the one answer of a call.
pub(crate) async fn answer(
    dialect: Dialect,
    operation: Operation,
    response: Response<Incoming>,
    limit: usize,
) -> Result<pivot::Response, Error> {
    if dialect.binding == Binding::Grpc {
        return grpc::answer(dialect, operation, response, limit).await;
    }
    let (head, body) = response.into_parts();
    let body = transport::collect(body, "answer", limit).await?.to_bytes();
    judged(dialect, operation, &head, &body)
}

/// Takes the head of a stream's answer: its body, or the error that came instead.
pub(crate) async fn begin(
    dialect: Dialect,
    operation: Operation,
    response: Response<Incoming>,
    limit: usize,
) -> Result<Incoming, Error> {
    if dialect.binding == Binding::Grpc {
        return grpc::begin(dialect.version, response);
    }
    if sse::is_stream(&response) {
        return Ok(response.into_body());
    }
    let (head, body) = response.into_parts();
    let body = transport::collect(body, "answer", limit).await?.to_bytes();
    // One answer where a stream was asked for is not what was asked for.
    let one = judged(dialect, operation, &head, &body)?;
    drop(one);
    Err(status::foreign(&head))
}

fn judged(
    dialect: Dialect,
    operation: Operation,
    head: &response::Parts,
    body: &[u8],
) -> Result<pivot::Response, Error> {
    let outcome =
        pivot::decode_response(dialect, operation, head.status, &head.headers, None, body);
    outcome.map_err(|problem| status::with_retry_after(&head.headers, refusal(head, body, problem)))
}

/// An error answer. Its body tells most; where the body is nothing of an agent's, the status is all
/// there is.
fn refusal(head: &response::Parts, body: &[u8], problem: Problem) -> Error {
    let is_an_agents = serde_json::from_slice::<serde_json::Map<_, serde_json::Value>>(body);
    if problem.fault == Fault::InvalidAgentResponse
        && !head.status.is_success()
        && is_an_agents.is_err()
    {
        status::foreign(head)
    } else {
        Error::Problem(problem)
    }
}
