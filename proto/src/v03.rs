//! The 0.3 dialects, between their wires and the pivot: JSON-RPC, HTTP+JSON below `/v1`, and gRPC of
//! package `a2a.v1`.
//!
//! 0.3 was written down less exactly than 1.0, so what its SDKs' servers write and take is the measure
//! here: first the Python SDK (0.3.26, and the 0.3 side of 1.3.0), then the JS and the Go SDK. What is
//! read is whatever one of them writes; what is written is what all of them read, and the Python SDK
//! where they differ.
//!
//! What 0.3 cannot carry, and so is lost on the way into it:
//! - the tenant, and `ListTasks` as a whole, which is refused;
//! - the media type and the file name of a part that is text or data;
//! - a `historyLength` of 0: servers of 0.3 take it for "all", and gRPC has no other word for "not set";
//! - paging of push configurations over JSON-RPC and HTTP+JSON;
//! - `ErrorInfo`: an error keeps its message and, where 0.3 knows it, its code;
//! - over gRPC and HTTP+JSON the metadata of a cancel, and `referenceTaskIds` of a message;
//! - device code flows, and proof keys, of OAuth in cards;
//! - in a push, all that an event says beside its task.
//!
//! What 1.0 cannot carry, and so is lost on the way out of it: `final` (it follows from the state again:
//! terminal and interrupted states end a stream for clients of 0.3), metadata of queries, push schemes
//! after the first, `stateTransitionHistory` of cards.
//!
//! Data that is no object, which 1.0 allows and 0.3 does not, goes as `{"value": ..}` under the mark that
//! the SDKs use, and comes back whole.
//!
//! # Invariants
//! - Nothing here panics or recurses without bound, whatever the bytes.
//! - The same facts are read from each of the three bindings, so that 0.3 to 0.3 over another binding
//!   loses only what that binding lacks.

mod card;
mod error;
mod grpc;
mod json;
mod push;
mod rest;
mod rpc;
mod shape;
mod wire;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};

use crate::{
    a2a,
    dialect::{Binding, Dialect},
    error::{Fault, Problem},
    jsonrpc::RawId,
    operation::Operation,
    pivot::{Event, Request, Response, WireRequest, WireResponse},
};

pub use card::{card_of_1_0, card_to_1_0};
pub use push::{push_of_1_0, push_to_1_0};

const JSON: &str = "application/json";

/// Reads a request; as [`crate::pivot::decode_request`].
///
/// # Errors
/// [`Fault::Parse`] and [`Fault::InvalidParams`] for what cannot be read, [`Fault::MethodNotFound`] for an
/// operation that 0.3 does not have.
pub fn decode_request(
    dialect: Dialect,
    operation: Operation,
    method: &Method,
    path_and_query: &str,
    body: &[u8],
) -> Result<Request, Problem> {
    match dialect.binding {
        Binding::JsonRpc => rpc::decode_request(operation, body),
        Binding::Rest => rest::decode_request(operation, method, path_and_query, body),
        Binding::Grpc => grpc::decode_request(operation, body),
    }
}

/// Writes a request; as [`crate::pivot::encode_request`].
///
/// # Errors
/// [`Fault::UnsupportedOperation`] for what 0.3 does not have.
pub fn encode_request(
    dialect: Dialect,
    id: &RawId,
    request: &Request,
) -> Result<WireRequest, Problem> {
    match dialect.binding {
        Binding::JsonRpc => rpc::encode_request(id, request),
        Binding::Rest => rest::encode_request(request),
        Binding::Grpc => grpc::encode_request(request),
    }
}

/// Reads an answer; as [`crate::pivot::decode_response`].
///
/// # Errors
/// The agent's own problem, or [`Fault::InvalidAgentResponse`] for what is no answer.
pub fn decode_response(
    dialect: Dialect,
    operation: Operation,
    status: StatusCode,
    headers: &HeaderMap,
    trailers: Option<&HeaderMap>,
    body: &[u8],
) -> Result<Response, Problem> {
    match dialect.binding {
        Binding::JsonRpc => rpc::decode_response(operation, status, body),
        Binding::Rest => rest::decode_response(operation, status, body),
        Binding::Grpc => grpc::decode_response(operation, status, headers, trailers, body),
    }
}

/// Writes an answer; as [`crate::pivot::encode_response`].
#[must_use]
pub fn encode_response(
    dialect: Dialect,
    id: Option<&RawId>,
    outcome: Result<&Response, &Problem>,
) -> WireResponse {
    match dialect.binding {
        Binding::JsonRpc => rpc::encode_response(id, outcome),
        Binding::Rest => rest::encode_response(outcome),
        Binding::Grpc => grpc::encode_response(outcome),
    }
}

/// Reads one event of a stream; as [`crate::pivot::decode_event`].
///
/// # Errors
/// The agent's own problem, or [`Fault::InvalidAgentResponse`] for what is no event.
pub fn decode_event(
    dialect: Dialect,
    _operation: Operation,
    data: &[u8],
) -> Result<Event, Problem> {
    match dialect.binding {
        Binding::JsonRpc => rpc::decode_event(data),
        Binding::Rest => rest::decode_event(data),
        Binding::Grpc => grpc::decode_event(data),
    }
}

/// Writes one event of a stream; as [`crate::pivot::encode_event`].
#[must_use]
pub fn encode_event(
    dialect: Dialect,
    id: Option<&RawId>,
    outcome: Result<&Event, &Problem>,
) -> Bytes {
    match dialect.binding {
        Binding::JsonRpc => rpc::encode_event(id, outcome),
        Binding::Rest => rest::encode_event(outcome),
        Binding::Grpc => grpc::encode_event(outcome),
    }
}

/// The trailers that end a failed gRPC call of 0.3: a status, and the error's name before its message.
#[must_use]
pub fn trailers(problem: &Problem) -> HeaderMap {
    error::trailers(problem)
}

/// The problem that the trailers of a gRPC call of 0.3 tell of; `None` for success, and where there is no
/// status at all.
#[must_use]
pub fn problem(trailers: &HeaderMap) -> Option<Problem> {
    crate::grpc::problem(trailers).map(error::of_grpc)
}

/// An answer that breaks its own encoding is the agent's fault, not the caller's.
fn not_understood(problem: Problem) -> Problem {
    match problem.fault {
        Fault::Parse | Fault::InvalidParams => Problem {
            fault: Fault::InvalidAgentResponse,
            message: format!("the agent's answer is not understood: {}", problem.message),
            ..problem
        },
        _ => problem,
    }
}

fn nothing() -> Problem {
    Problem::new(
        Fault::InvalidAgentResponse,
        "the agent's answer is neither a task nor a message",
    )
}

/// What is said of an operation that 0.3 does not have.
fn no_such(operation: Operation) -> Problem {
    Problem::new(
        Fault::UnsupportedOperation,
        format!("0.3 has no {}", operation.name()),
    )
}

/// `final` of a status update: whether a client of 0.3 is to stop listening. The states are those at
/// which a stream of 1.0 ends (spec 1.0.1, 11.7): terminal and interrupted.
fn is_final(status: Option<&a2a::TaskStatus>) -> bool {
    use a2a::TaskState as S;
    match status.map(a2a::TaskStatus::state) {
        Some(
            S::Completed
            | S::Failed
            | S::Canceled
            | S::Rejected
            | S::InputRequired
            | S::AuthRequired,
        ) => true,
        Some(S::Unspecified | S::Submitted | S::Working) | None => false,
    }
}
