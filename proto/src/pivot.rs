//! One form of every call, whatever dialect it came in: the way from any dialect to any other.
//!
//! The pivot is the generated messages of 1.0. A request, an answer or an event is read into them from
//! one dialect and written from them in another, so that six dialects need six codecs and not thirty.
//! Problems are the second half of the pivot: [`Problem`] is read from, and written in, the error form
//! of every dialect. The door for all of it is here; the bindings of 1.0 are below, and those of 0.3 are
//! another room with the same functions.
//!
//! What is spoken in the same dialect on both sides never comes here: its bytes pass untouched.
//!
//! # What the pivot cannot carry
//! - **Unknown fields**, of a newer minor version or of an extension that adds fields instead of
//!   metadata, are dropped (spec 5.7 lets a reader ignore them).
//! - **The order of keys** in an object, and **a key that is given twice**: the last one counts.
//! - **Numbers in metadata and data parts** are doubles, as `google.protobuf.Value` has them: integers
//!   beyond 2^53 are rounded, and `3.0` becomes `3`.
//! - **Nothing as against empty**: `null`, an absent field, and an empty string, list or map are the same
//!   for fields without presence; empty objects in fields with presence are kept.
//! - **An event of a kind that is not known** is an event without a payload, and an unknown name of an
//!   enum is refused, while an unknown number is kept.
//! - **Text that is not UTF-8** is refused; so are, towards JSON, doubles that are no numbers and times
//!   beyond the year 9999.
//! - **Nesting**: JSON is read to a depth of 128, protobuf to one of 100 messages, where an object within
//!   an object of metadata counts three. What is deeper is refused by whoever reads it.
//! - **Ids in HTTP+JSON** stand in the path: an id that is empty, `.` or `..`, a task to be read whose id
//!   ends in a verb (`x:cancel`), a tenant that makes another path (`tasks`, `v1`) have no form there and
//!   are refused.
//! - **Details of errors** other than one `ErrorInfo`, and error codes of an agent's own invention; the
//!   reason, the domain and the metadata of a foreign `ErrorInfo` are kept. 0.3 has no `ErrorInfo`: there
//!   only JSON-RPC keeps the metadata. A gRPC status beyond what a header can hold loses its metadata, and
//!   the end of its message.
//!
//! # Invariants
//! - Pure functions: no I/O, no clock, no state. Nothing here panics on any bytes.
//! - Memory is bounded by the body, which the caller bounds.
//! - What is written in a dialect is read back from it as the same message.
//! - Nothing is judged: whether a request makes sense is the agent's affair.

mod answer;
mod grpc;
mod jsonrpc;
mod request;
mod rest;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use prost::Message;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    a2a,
    dialect::{Binding, Dialect, Version},
    error::{Fault, Problem},
    jsonrpc::RawId,
    operation::Operation,
    v03,
};

pub use answer::Response;
pub(crate) use grpc::check as check_grpc;
pub use request::Request;

/// One event of a stream.
pub type Event = a2a::StreamResponse;

const JSON: &str = "application/json";
const GRPC: &str = "application/grpc";

/// A request as it stands on the wire, below an interface's own path.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WireRequest {
    /// The HTTP method.
    pub method: Method,
    /// Path and query, to be put after the path of the interface's URL; empty for JSON-RPC. For gRPC it
    /// is `/package.Service/Method`, and the interface has no path of its own.
    pub path: String,
    /// What the body is; `None` where there is no body.
    pub content_type: Option<&'static str>,
    /// The body. For gRPC it is one uncompressed frame.
    pub body: Bytes,
}

/// An answer as it stands on the wire.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WireResponse {
    /// The HTTP status; always 200 for gRPC.
    pub status: StatusCode,
    /// What the body is.
    pub content_type: &'static str,
    /// The body. For gRPC it is one uncompressed frame, or empty where the call failed.
    pub body: Bytes,
    /// The status of a gRPC call, of success too; `None` in the other bindings.
    pub trailers: Option<HeaderMap>,
}

/// Reads a request whose operation is known already. The path is the one below the interface's own; for
/// gRPC the body is the bare message.
///
/// # Errors
/// [`Fault::Parse`] for what is neither JSON nor protobuf, [`Fault::InvalidParams`] for fields of the
/// wrong type, [`Fault::MethodNotFound`] for a path that is not the operation's.
pub fn decode_request(
    dialect: Dialect,
    operation: Operation,
    method: &Method,
    path_and_query: &str,
    body: &[u8],
) -> Result<Request, Problem> {
    match (dialect.version, dialect.binding) {
        (Version::V0_3, _) => v03::decode_request(dialect, operation, method, path_and_query, body),
        (Version::V1_0, Binding::JsonRpc) => Request::read(operation, &jsonrpc::Params(body)),
        (Version::V1_0, Binding::Grpc) => Request::read(operation, &grpc::Bare(body)),
        (Version::V1_0, Binding::Rest) => rest::request(operation, method, path_and_query, body),
    }
}

/// Writes a request. The id is used by JSON-RPC alone.
///
/// # Errors
/// [`Fault::MethodNotFound`] or [`Fault::UnsupportedOperation`] where the dialect has no such operation,
/// [`Fault::InvalidParams`] where it has no form for a value: an id that cannot stand in a path, a number
/// that JSON does not have.
pub fn encode_request(
    dialect: Dialect,
    id: &RawId,
    request: &Request,
) -> Result<WireRequest, Problem> {
    match (dialect.version, dialect.binding) {
        (Version::V0_3, _) => v03::encode_request(dialect, id, request),
        (Version::V1_0, Binding::JsonRpc) => jsonrpc::write_request(id, request),
        (Version::V1_0, Binding::Grpc) => Ok(grpc::write_request(request)),
        (Version::V1_0, Binding::Rest) => rest::write_request(request),
    }
}

/// Reads the whole answer of a call. For gRPC the body is the bare message, and the status is looked for
/// in the trailers and then in the headers, where an answer without a body has it. Where a stream was
/// asked for and one answer came instead, that is read as the answer to a send.
///
/// # Errors
/// What the agent itself reports, or what the status tells where it reports nothing;
/// [`Fault::InvalidAgentResponse`] for what is no answer.
pub fn decode_response(
    dialect: Dialect,
    operation: Operation,
    status: StatusCode,
    headers: &HeaderMap,
    trailers: Option<&HeaderMap>,
    body: &[u8],
) -> Result<Response, Problem> {
    match (dialect.version, dialect.binding) {
        (Version::V0_3, _) => {
            v03::decode_response(dialect, operation, status, headers, trailers, body)
        }
        (Version::V1_0, Binding::JsonRpc) => {
            Response::read(operation, &jsonrpc::Answer { status, body })
        }
        (Version::V1_0, Binding::Grpc) => {
            check_grpc(status, headers, trailers)?;
            Response::read(operation, &grpc::Bare(body)).map_err(not_understood)
        }
        (Version::V1_0, Binding::Rest) => Response::read(operation, &rest::Answer { status, body }),
    }
}

/// Writes the whole answer of a call. Without an id, JSON-RPC answers to `null`. An answer that has no
/// form in the dialect becomes the problem that says so.
#[must_use]
pub fn encode_response(
    dialect: Dialect,
    id: Option<&RawId>,
    outcome: Result<&Response, &Problem>,
) -> WireResponse {
    match (dialect.version, dialect.binding) {
        (Version::V0_3, _) => v03::encode_response(dialect, id, outcome),
        (Version::V1_0, Binding::JsonRpc) => jsonrpc::write_response(id, outcome),
        (Version::V1_0, Binding::Grpc) => grpc::write_response(outcome),
        (Version::V1_0, Binding::Rest) => rest::write_response(outcome),
    }
}

/// Reads one event: the data of a server-sent event, or the bare message of gRPC. An event of a kind
/// that is not known has no payload; there is nothing in it to pass on.
///
/// # Errors
/// The problem that the event reports, or [`Fault::InvalidAgentResponse`] for what is no event.
pub fn decode_event(dialect: Dialect, operation: Operation, data: &[u8]) -> Result<Event, Problem> {
    match (dialect.version, dialect.binding) {
        (Version::V0_3, _) => v03::decode_event(dialect, operation, data),
        (Version::V1_0, Binding::JsonRpc) => {
            let status = StatusCode::OK;
            jsonrpc::Answer { status, body: data }.message()
        }
        (Version::V1_0, Binding::Grpc) => grpc::Bare(data).message().map_err(not_understood),
        (Version::V1_0, Binding::Rest) => rest::event(data),
    }
}

/// Writes one event in its frame: a server-sent event with its blank line, or a frame of gRPC. A problem
/// in a stream of gRPC is no frame but its end, so that nothing comes out here:
/// [`crate::grpc::trailers_in`] writes it.
#[must_use]
pub fn encode_event(
    dialect: Dialect,
    id: Option<&RawId>,
    outcome: Result<&Event, &Problem>,
) -> Bytes {
    match (dialect.version, dialect.binding) {
        (Version::V0_3, _) => v03::encode_event(dialect, id, outcome),
        (Version::V1_0, Binding::JsonRpc) => jsonrpc::write_event(id, outcome),
        (Version::V1_0, Binding::Grpc) => outcome.map(crate::grpc::frame).unwrap_or_default(),
        (Version::V1_0, Binding::Rest) => rest::write_event(outcome),
    }
}

/// Where a message is read from: each binding has its own.
trait Source {
    fn message<T: Message + Default + DeserializeOwned>(&self) -> Result<T, Problem>;

    /// Reads an answer that says nothing but that it went well.
    fn nothing(&self) -> Result<(), Problem>;
}

/// Where a message is written to: each binding has its own.
trait Sink {
    type Out;

    fn message<T: Message + Serialize>(self, message: &T) -> Self::Out;

    /// Writes the answer that says nothing but that it went well.
    fn nothing(self) -> Self::Out;
}

/// An answer that breaks its own encoding is the agent's fault, not the caller's.
fn not_understood(problem: Problem) -> Problem {
    Problem {
        fault: Fault::InvalidAgentResponse,
        message: format!("the agent's answer is not understood: {}", problem.message),
        ..problem
    }
}

/// What is told of an answer that is none of the protocol, by its status alone. A status that speaks of
/// the whole connection keeps its meaning; any other says that no agent answers there.
pub(crate) fn foreign(status: StatusCode) -> Problem {
    let fault = match status.as_u16() {
        401 | 403 | 413 | 429 | 502..=504 => Fault::from_http(status.as_u16()),
        _ => Fault::InvalidAgentResponse,
    };
    Problem::new(fault, format!("the agent answered {status}"))
}

#[cfg(test)]
pub(crate) mod tests;
