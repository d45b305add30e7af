//! Errors as 0.3 tells of them: a code and a message over JSON-RPC, a name before the message over gRPC,
//! an object with code, name and message over HTTP+JSON; `ErrorInfo` nowhere.
//!
//! The statuses are those of the Python SDK's 0.3 servers (0.3.26, `A2AErrorToHttpStatus` and
//! `abort_context`). The names are its classes', which its clients look for, as do those of 1.3.0 when
//! they speak 0.3; the code over HTTP+JSON is what clients of the JS SDK look for.
//!
//! # Invariants
//! - Codes that came with 1.0 are unknown to clients of 0.3, and go as an internal error.
//! - An error is read in every form that one of the SDKs writes, that of 1.0 included.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    error::{Fault, GrpcCode, Problem},
    grpc, json,
    jsonrpc::{self, RawId},
    pivot, rest,
};

/// What 0.3 says of a fault.
struct Row {
    code: i32,
    grpc: GrpcCode,
    http: u16,
    /// The name of the SDK's class; empty where it has none.
    name: &'static str,
}

const fn row(fault: Fault) -> Row {
    use GrpcCode as G;
    let new = fault.row();
    let (code, grpc, http, name) = match fault {
        Fault::TaskNotFound => (new.code, G::NotFound, 404, "TaskNotFoundError"),
        Fault::TaskNotCancelable => (new.code, G::Unimplemented, 409, "TaskNotCancelableError"),
        Fault::PushNotificationNotSupported => (
            new.code,
            G::Unimplemented,
            501,
            "PushNotificationNotSupportedError",
        ),
        Fault::UnsupportedOperation => {
            (new.code, G::Unimplemented, 501, "UnsupportedOperationError")
        }
        Fault::ContentTypeNotSupported => (
            new.code,
            G::Unimplemented,
            415,
            "ContentTypeNotSupportedError",
        ),
        Fault::InvalidAgentResponse => (new.code, G::Internal, 502, "InvalidAgentResponseError"),
        Fault::ExtendedAgentCardNotConfigured => (
            new.code,
            G::FailedPrecondition,
            404,
            "ExtendedAgentCardNotConfiguredError",
        ),
        Fault::ExtensionSupportRequired => {
            (-32603, new.grpc, new.http, "ExtensionSupportRequiredError")
        }
        Fault::VersionNotSupported => (-32603, new.grpc, new.http, "VersionNotSupportedError"),
        Fault::Parse => (new.code, new.grpc, 400, "JSONParseError"),
        Fault::InvalidRequest => (new.code, new.grpc, 400, "InvalidRequestError"),
        Fault::MethodNotFound => (new.code, new.grpc, 404, "MethodNotFoundError"),
        Fault::InvalidParams => (new.code, new.grpc, 422, "InvalidParamsError"),
        Fault::Internal => (new.code, new.grpc, 500, "InternalError"),
        Fault::Unauthenticated
        | Fault::PermissionDenied
        | Fault::Unavailable
        | Fault::TooLarge
        | Fault::Exhausted
        | Fault::DeadlineExceeded => (new.code, new.grpc, new.http, ""),
    };
    Row {
        code,
        grpc,
        http,
        name,
    }
}

fn of_name(name: &str) -> Option<Fault> {
    // What 1.0 renamed.
    if name == "AuthenticatedExtendedCardNotConfiguredError" {
        return Some(Fault::ExtendedAgentCardNotConfigured);
    }
    Fault::ALL
        .into_iter()
        .find(|fault| !name.is_empty() && row(*fault).name == name)
}

#[derive(Serialize)]
struct RpcError<'a> {
    code: i32,
    message: &'a str,
}

/// An error of JSON-RPC, in its envelope. Without `data`: 0.3 leaves its form open, and a client of the Go
/// SDK that finds any other there than the one it expects does not read the error at all.
pub(super) fn json_rpc(id: &RawId, problem: &Problem) -> Bytes {
    let error = RpcError {
        code: row(problem.fault).code,
        message: &problem.message,
    };
    jsonrpc::envelope(id, &[",\"error\":"], &json::to_bytes(&error))
}

#[derive(Serialize)]
struct RestError<'a> {
    code: i32,
    #[serde(rename = "type", skip_serializing_if = "str::is_empty")]
    name: &'static str,
    message: &'a str,
}

/// The status and the body of an error of HTTP+JSON.
pub(super) fn rest(problem: &Problem) -> (StatusCode, Bytes) {
    let row = row(problem.fault);
    let body = RestError {
        code: row.code,
        name: row.name,
        message: &problem.message,
    };
    let status = StatusCode::from_u16(row.http).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, json::to_bytes(&body))
}

/// Reads an error of HTTP+JSON as far as it can be understood.
pub(super) fn of_rest(status: StatusCode, body: &[u8]) -> Problem {
    let guess = || match status.as_u16() {
        409 => Fault::TaskNotCancelable,
        501 => Fault::UnsupportedOperation,
        other => Fault::from_http(other),
    };
    match serde_json::from_slice::<Map<String, Value>>(body) {
        Ok(fields) if fields.contains_key("error") => rest::problem(status, body),
        Ok(fields) => jsonrpc::sharpen(of_fields(&fields, guess), status),
        Err(_) => pivot::foreign(status),
    }
}

/// The problem that the data of an event reports, where it is one.
pub(super) fn within_rest(data: &[u8]) -> Option<Problem> {
    let fields: Map<String, Value> = serde_json::from_slice(data).ok()?;
    if fields.contains_key("error") {
        return rest::problem_within(data);
    }
    let tells = fields.contains_key("code") || fields.contains_key("type");
    (tells && fields.contains_key("message")).then(|| of_fields(&fields, || Fault::Internal))
}

fn of_fields(fields: &Map<String, Value>, guess: impl FnOnce() -> Fault) -> Problem {
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
    let of_code = || {
        let code = fields.get("code")?.as_i64()?;
        let code = i32::try_from(code).ok()?;
        // A positive one is the HTTP status once more.
        (code < 0).then(|| Fault::from_code(code))
    };
    let fault = of_name(text("type")).or_else(of_code).unwrap_or_else(guess);
    Problem::new(fault, text("message"))
}

/// The trailers of a failed gRPC call.
pub(super) fn trailers(problem: &Problem) -> HeaderMap {
    let row = row(problem.fault);
    let message = match row.name {
        "" => problem.message.clone(),
        name => format!("{name}: {}", problem.message),
    };
    grpc::plain_trailers(row.grpc, &message)
}

/// Finds the name before the message.
pub(super) fn of_grpc(problem: Problem) -> Problem {
    let Some((name, message)) = problem.message.split_once(": ") else {
        return problem;
    };
    match of_name(name) {
        Some(fault) => Problem::new(fault, message),
        None => problem,
    }
}
