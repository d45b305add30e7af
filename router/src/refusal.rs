//! Errors in the words of the one who meets them: whole answers, and the last words of streams.
//!
//! # Invariants
//! - Every dialect has its shape, which `mesh_proto::pivot` writes; nothing here knows one.
//! - JSON-RPC answers with HTTP status 200, as the SDKs have it, but for what the infrastructure between
//!   must see: who you are, how much, and come back later.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use mesh_proto::{
    Binding, Dialect, Fault, Problem, Version, grpc,
    jsonrpc::RawId,
    pivot::{self, WireResponse},
};

use crate::call::{Farewell, LastWords};

/// What an unavailable mesh asks its callers to wait, in seconds: one ejection's order of magnitude.
const RETRY_SECONDS: &str = "1";
const RETRY_MILLIS: &str = "1000";

/// An error as a whole answer.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Its status.
    pub status: StatusCode,
    /// Its content type, over gRPC its `grpc-status` with all that belongs to it (a gRPC error is a head
    /// that is its own end), and when to come back, where coming back can help.
    pub headers: HeaderMap,
    /// Its body; empty over gRPC.
    pub body: Bytes,
}

/// Writes an error as a whole answer. `id` is that of the call, over JSON-RPC.
#[must_use]
pub fn refusal(dialect: Dialect, id: Option<&RawId>, problem: &Problem) -> Refusal {
    let WireResponse {
        status,
        content_type,
        body,
        trailers,
    } = pivot::encode_response(dialect, id, Err(problem));
    let mut headers = trailers.unwrap_or_default();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    match dialect.binding {
        Binding::Grpc => pushback(problem, &mut headers),
        Binding::JsonRpc | Binding::Rest => retry_after(problem, &mut headers),
    }
    Refusal {
        status: match dialect.binding {
            Binding::JsonRpc => json_rpc_status(problem),
            Binding::Rest | Binding::Grpc => status,
        },
        headers,
        body,
    }
}

/// Says when to come back, where coming back can help.
pub fn retry_after(problem: &Problem, headers: &mut HeaderMap) {
    if matches!(problem.fault, Fault::Unavailable | Fault::Exhausted) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_SECONDS));
    }
}

/// The same to clients of gRPC that retry by themselves (gRFC A6).
fn pushback(problem: &Problem, headers: &mut HeaderMap) {
    if matches!(problem.fault, Fault::Unavailable | Fault::Exhausted) {
        let pause = HeaderValue::from_static(RETRY_MILLIS);
        headers.insert("grpc-retry-pushback-ms", pause);
    }
}

fn json_rpc_status(problem: &Problem) -> StatusCode {
    let status = match problem.fault {
        Fault::Unauthenticated
        | Fault::PermissionDenied
        | Fault::TooLarge
        | Fault::Exhausted
        | Fault::Unavailable
        | Fault::DeadlineExceeded => StatusCode::from_u16(problem.fault.row().http),
        _ => Ok(StatusCode::OK),
    };
    status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// How a stream of this dialect ends that breaks off.
#[must_use]
pub fn farewell(dialect: Dialect, id: Option<RawId>) -> Farewell {
    use Version::{V0_3, V1_0};
    let write: fn(Option<&RawId>, &Problem) -> LastWords = match (dialect.binding, dialect.version)
    {
        (Binding::JsonRpc, V1_0) => |id, problem| event(Binding::JsonRpc, V1_0, id, problem),
        (Binding::JsonRpc, V0_3) => |id, problem| event(Binding::JsonRpc, V0_3, id, problem),
        (Binding::Rest, V1_0) => |id, problem| event(Binding::Rest, V1_0, id, problem),
        (Binding::Rest, V0_3) => |id, problem| event(Binding::Rest, V0_3, id, problem),
        (Binding::Grpc, V1_0) => |_, problem| trailers(V1_0, problem),
        (Binding::Grpc, V0_3) => |_, problem| trailers(V0_3, problem),
    };
    Farewell { id, write }
}

fn event(binding: Binding, version: Version, id: Option<&RawId>, problem: &Problem) -> LastWords {
    let dialect = Dialect::new(binding, version);
    LastWords::Event(pivot::encode_event(dialect, id, Err(problem)))
}

fn trailers(version: Version, problem: &Problem) -> LastWords {
    LastWords::Trailers(grpc::trailers_in(version, problem))
}
