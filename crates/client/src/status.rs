//! Answers that no agent wrote: a gateway's page, an HTTP status alone, a message that does not decode.

use http::{HeaderMap, header, response};
use mesh_proto::{Fault, Problem};

use crate::error::{Broken, Error, RETRY_AFTER};

/// What an HTTP answer means that carries no A2A. Statuses that mean the same whoever sends them
/// become their row of the table; of the others only the number is known.
pub(crate) fn foreign(head: &response::Parts) -> Error {
    let status = head.status.as_u16();
    if matches!(status, 401 | 403 | 413 | 429 | 502..=504) {
        let fault = Fault::from_http(status);
        return Error::Problem(Problem::new(fault, format!("HTTP status {}", head.status)));
    }
    let content_type = head.headers.get(header::CONTENT_TYPE);
    Broken::ContentType {
        status,
        content_type: content_type
            .map(|kind| String::from_utf8_lossy(kind.as_bytes()).into_owned())
            .unwrap_or_default(),
    }
    .into()
}

/// Keeps with an error when the agent wants to be asked again, where the answer's head says so.
pub(crate) fn with_retry_after(headers: &HeaderMap, error: Error) -> Error {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.parse::<u64>().ok();
    let seconds = number(header::RETRY_AFTER.as_str()).map(|s| s.saturating_mul(1000));
    match (error, number("grpc-retry-pushback-ms").or(seconds)) {
        (Error::Problem(problem), Some(millis)) => {
            Error::Problem(problem.with(RETRY_AFTER, millis.to_string()))
        }
        (error, _) => error,
    }
}

/// A message that does not decode.
pub(crate) fn not_understood(error: &dyn std::error::Error) -> Error {
    Error::Problem(Problem::new(
        Fault::InvalidAgentResponse,
        format!("the agent's answer is not understood: {error}"),
    ))
}
