//! Attempts without the answer that was asked for: how they stop, and what a refusal says.
//!
//! # Invariants
//! - What is given up is dropped, and with it the stream at the upstream.

use std::fmt;

use http::{HeaderMap, HeaderValue, Response, StatusCode};
use mesh_core::error::CallError;
use mesh_proto::{error::GrpcCode, mesh};
use tokio::time::Instant;

use super::{
    lookup::Answer,
    retry::{Failed, Whose},
};
use crate::upstream::{self, Line, origin::Carried, transcode::Outgoing};

/// An attempt without the answer that was asked for.
#[derive(Debug)]
pub(super) struct Missed {
    /// How; unset for what would fail everywhere.
    pub(super) failed: Option<Failed>,
    pub(super) whose: Whose,
    /// What the caller gets, where nobody does better.
    pub(super) answer: Result<Answer, CallError>,
    /// The boot that has the task, by the word of who refused.
    pub(super) owner: Option<Box<str>>,
}

impl From<CallError> for Box<Missed> {
    fn from(error: CallError) -> Self {
        Self::new(Missed {
            failed: None,
            whose: Whose::Theirs,
            answer: Err(error),
            owner: None,
        })
    }
}

/// Why an attempt has no answer's head.
pub(super) enum Stopped {
    Late,
    /// Its worker is frozen, or cut off.
    Silenced,
    Upstream(upstream::Error),
}

/// Sends a request and waits for the answer's head.
pub(super) async fn sent(
    line: &Line,
    outgoing: Outgoing,
    until: Option<Instant>,
    may_leave: bool,
) -> Result<Response<Carried>, Stopped> {
    let Outgoing {
        method,
        path,
        headers,
        body,
    } = outgoing;
    let health = line.origin().health();
    let late = async {
        match until {
            Some(until) => tokio::time::sleep_until(until).await,
            None => std::future::pending().await,
        }
    };
    let silenced = async {
        if may_leave && health.is_watched() {
            health.silenced().await;
        } else {
            std::future::pending().await
        }
    };
    tokio::select! {
        biased;
        answered = line.send(method, &path, headers, body) => answered.map_err(Stopped::Upstream),
        () = late => Err(Stopped::Late),
        () = silenced => Err(Stopped::Silenced),
    }
}

/// Whether an answer says that its server can't serve.
pub(super) fn fails(answered: &Response<Carried>) -> bool {
    let unavailable = GrpcCode::Unavailable.number().to_string();
    let grpc = answered.headers().get("grpc-status");
    answered.status().is_server_error()
        || grpc.is_some_and(|status| status.as_bytes() == unavailable.as_bytes())
}

/// How a worker of ours refused a call of which it has done nothing, if it did.
pub(super) fn refusal_of(
    headers: &mut HeaderMap,
    status: StatusCode,
) -> Option<(Failed, Option<Box<str>>)> {
    if let Some(owner) = headers.remove(mesh::OWNER) {
        return Some((Failed::Misplaced, owner.to_str().ok().map(Box::from)));
    }
    let grpc = headers.get("grpc-status").map(HeaderValue::as_bytes);
    let busy = [GrpcCode::Unavailable, GrpcCode::ResourceExhausted];
    let is_busy = matches!(
        status,
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
    ) || grpc.is_some_and(|grpc| {
        busy.iter()
            .any(|code| grpc == code.number().to_string().as_bytes())
    });
    is_busy.then_some((Failed::Refused, None))
}

/// An error with all its causes, on one line.
pub(super) struct Chain<'a>(pub(super) &'a (dyn std::error::Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
