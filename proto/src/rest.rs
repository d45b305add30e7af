//! The HTTP+JSON binding: paths, query strings and errors (spec 11).
//!
//! It owns the paths below an agent's base, in both directions; the prefix that names an agent is cut
//! before and put on after. Bodies are ProtoJSON and live in `json`.
//!
//! # Invariants
//! - Literal paths win over a tenant of the same name; a tenant is one segment.
//! - An id is percent-encoded out and decoded in, segment by segment, so it may hold `/` and `:`.
//! - What [`path()`] writes, [`route()`] reads back.

mod request;
mod route;

use bytes::Bytes;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    error::{Fault, Problem},
    json,
    jsonrpc::{ErrorInfo, info},
};

pub use request::{Call, Ids, Request, call, path};
pub use route::{Route, route, task_span};

/// Writes an error: the status of the table, and a body in the form of `google.rpc.Status`.
#[must_use]
pub fn error(problem: &Problem) -> (StatusCode, Bytes) {
    let row = problem.fault.row();
    let body = Body {
        error: ErrorOut {
            code: row.http,
            status: row.grpc.name(),
            message: &problem.message,
            details: [ErrorInfo::of(problem)],
        },
    };
    let status = StatusCode::from_u16(row.http).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, json::to_bytes(&body))
}

/// Reads an error as far as it can be understood; a body that tells nothing leaves the status.
#[must_use]
pub fn problem(status: StatusCode, body: &[u8]) -> Problem {
    let guess = || Fault::from_http(status.as_u16());
    match serde_json::from_slice::<Body<ErrorIn>>(body) {
        Ok(Body { error }) => error.problem(guess),
        Err(_) => {
            let told = told(body).unwrap_or_else(|| format!("the agent answered {status}"));
            Problem::new(guess(), told)
        }
    }
}

/// How much is repeated of an error that has a form of its own, in bytes.
const TOLD_MAX: usize = 1024;

/// The words of an error that is JSON, but not in the form of 1.0: frameworks and gateways have theirs.
fn told(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    ["message", "detail", "error", "title"]
        .into_iter()
        .find_map(|key| body.get(key)?.as_str())
        .filter(|text| !text.is_empty() && text.len() <= TOLD_MAX)
        .map(str::to_owned)
}

/// The problem that the data of an event reports, where it is one: it has the form of an error's body,
/// and its status is in it, since the answer's own has long been sent.
#[must_use]
pub fn problem_within(data: &[u8]) -> Option<Problem> {
    let Body { error } = serde_json::from_slice::<Body<ErrorIn>>(data).ok()?;
    let code = error
        .code
        .as_u64()
        .and_then(|code| u16::try_from(code).ok());
    Some(error.problem(|| code.map_or(Fault::Internal, Fault::from_http)))
}

#[derive(Deserialize, Serialize)]
struct Body<E> {
    error: E,
}

#[derive(Serialize)]
struct ErrorOut<'a> {
    code: u16,
    status: &'static str,
    message: &'a str,
    details: [ErrorInfo<'a>; 1],
}

#[derive(Deserialize)]
struct ErrorIn {
    #[serde(default)]
    code: Value,
    message: Option<String>,
    #[serde(default)]
    details: Value,
}

impl ErrorIn {
    fn problem(self, guess: impl FnOnce() -> Fault) -> Problem {
        let details = self.details.as_array().map(Vec::as_slice);
        let info = info(details.unwrap_or_default());
        Problem::reported(self.message.unwrap_or_default(), info, guess)
    }
}

#[cfg(test)]
mod tests;
