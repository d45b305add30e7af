//! Answers that no agent wrote: a gateway's page, an HTTP status alone, a message that does not decode.

use http::{header, response};
use mesh_proto::{Fault, Problem};

use crate::error::{Broken, Error};

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

/// A message that does not decode.
pub(crate) fn not_understood(error: &dyn std::error::Error) -> Error {
    Error::Problem(Problem::new(
        Fault::InvalidAgentResponse,
        format!("the agent's answer is not understood: {error}"),
    ))
}
