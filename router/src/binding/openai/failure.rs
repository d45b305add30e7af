//! Errors as OpenAI's clients read them: `{"error": {message, type, param, code}}` and a status.
//!
//! # Invariants
//! - The status is the row's of `mesh_proto::error`, so that a fault looks alike in every binding.
//! - Only what provably reached nobody may be sent again by the client itself.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use mesh_core::error::CallError;
use mesh_proto::{Fault, Problem, a2a::TaskState, json};
use serde_json::{Value, json};

use super::request::Place;
use crate::{call::Body, refusal::retry_after};

/// The header by which OpenAI's clients are told whether to repeat a request by themselves.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// What an OpenAI client is told instead of an answer.
#[derive(Clone, Debug)]
pub(super) struct Failure(Box<Told>);

#[derive(Clone, Debug)]
struct Told {
    status: StatusCode,
    code: Cow<'static, str>,
    param: Option<String>,
    message: String,
    again: Again,
    place: Place,
    headers: HeaderMap,
}

/// Whether the client may send the request again by itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Again {
    /// As its own rules have it.
    May,
    /// The agent may be at work already.
    MustNot,
}

impl Failure {
    /// A fault that was found before anything was sent.
    pub(super) fn of(problem: &Problem) -> Self {
        let row = problem.fault.row();
        let status = StatusCode::from_u16(row.http).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut headers = HeaderMap::new();
        retry_after(problem, &mut headers);
        Self(Box::new(Told {
            status,
            code: row.reason.to_ascii_lowercase().into(),
            param: None,
            message: problem.message.clone(),
            again: Again::May,
            place: Place::default(),
            headers,
        }))
    }

    /// The agent's own error. One that says what is wrong with the request came before any work; one
    /// of the agent's own faults may have come after some.
    pub(super) fn answered(problem: &Problem) -> Self {
        let faults = [
            Fault::Internal,
            Fault::InvalidAgentResponse,
            Fault::DeadlineExceeded,
        ];
        let failure = Self::of(problem);
        if faults.contains(&problem.fault) {
            failure.seen()
        } else {
            failure
        }
    }

    /// A request that is wrong in itself, and where.
    pub(super) fn param(param: impl Into<String>, message: impl Into<String>) -> Self {
        let mut failure = Self::of(&Problem::new(Fault::InvalidParams, message));
        failure.0.param = Some(param.into());
        failure
    }

    /// Something that is asked for and not done here.
    pub(super) fn unsupported(param: &'static str, message: &str) -> Self {
        let mut failure = Self::param(param, message);
        failure.0.code = "unsupported_parameter".into();
        failure
    }

    pub(super) fn no_model(model: &str) -> Self {
        let shown = crate::binding::shortened(model);
        let message = format!("there is no agent named {shown:?} here; GET /v1/models lists them");
        let mut failure = Self::param("model", message);
        failure.0.status = StatusCode::NOT_FOUND;
        failure.0.code = "model_not_found".into();
        failure
    }

    pub(super) fn method(allowed: &'static str) -> Self {
        let message = format!("this path is for {allowed}");
        let mut failure = Self::of(&Problem::new(Fault::InvalidRequest, message));
        failure.0.status = StatusCode::METHOD_NOT_ALLOWED;
        failure.0.code = "method_not_allowed".into();
        failure
            .0
            .headers
            .insert(header::ALLOW, HeaderValue::from_static(allowed));
        failure
    }

    pub(super) fn not_served() -> Self {
        let message = "agents are reached as chat completions, POST /v1/chat/completions; nothing \
                       else of OpenAI's interface is here but /v1/models";
        let mut failure = Self::of(&Problem::new(Fault::MethodNotFound, message));
        failure.0.code = "unknown_url".into();
        failure
    }

    /// The agent's answer is none of A2A's.
    pub(super) fn not_understood() -> Self {
        Self::of(&CallError::BadAnswer.answer()).seen()
    }

    /// The agent's answer broke off, or was over its bound.
    pub(super) fn broken() -> Self {
        let message = "the agent's answer broke off, or was longer than this router takes";
        Self::of(&Problem::new(Fault::Unavailable, message)).seen()
    }

    /// The stream ended well, but the task had not.
    pub(super) fn unfinished(place: Place) -> Self {
        let message = "the agent's stream ended before its task did; the task may still go on";
        let mut failure = Self::of(&Problem::new(Fault::InvalidAgentResponse, message)).seen();
        failure.0.code = "stream_ended_early".into();
        failure.0.place = place;
        failure
    }

    /// A task that ended without what was asked for: by the agent's fault, by its will, or by
    /// somebody's cancelling.
    pub(super) fn task(state: TaskState, said: String, place: Place) -> Self {
        let (status, code, unsaid) = match state {
            TaskState::Rejected => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "task_rejected",
                "the agent rejected the task",
            ),
            TaskState::Canceled => (
                StatusCode::CONFLICT,
                "task_canceled",
                "the task was canceled",
            ),
            _ => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "task_failed",
                "the task failed",
            ),
        };
        let message = if said.is_empty() {
            unsaid.to_owned()
        } else {
            said
        };
        let mut failure = Self::of(&Problem::new(Fault::Internal, message)).seen();
        failure.0.status = status;
        failure.0.code = code.into();
        failure.0.place = place;
        failure
    }

    /// The same, of which the client must not send the request again by itself.
    fn seen(mut self) -> Self {
        self.0.again = Again::MustNot;
        self.0.headers.remove(header::RETRY_AFTER);
        self
    }

    /// Keeps what an answer's head says for those who come back.
    pub(super) fn keep(&mut self, headers: &HeaderMap) {
        for name in [header::RETRY_AFTER, header::WWW_AUTHENTICATE] {
            if let Some(value) = headers.get(&name) {
                self.0.headers.insert(name, value.clone());
            }
        }
    }

    /// The error object, as it stands in a body and in a stream.
    pub(super) fn to_json(&self) -> Value {
        let kind = match self.0.status.as_u16() {
            401 => "authentication_error",
            403 => "permission_error",
            429 => "rate_limit_error",
            400..500 => "invalid_request_error",
            _ => "server_error",
        };
        let mut error = json!({
            "message": self.0.message, "type": kind, "param": self.0.param, "code": self.0.code,
        });
        if self.0.place != Place::default()
            && let Some(fields) = error.as_object_mut()
        {
            fields.insert("a2a".to_owned(), json!(self.0.place));
        }
        json!({"error": error})
    }

    pub(super) fn response(&self) -> Response<Body> {
        let body: Bytes = json::to_bytes(&self.to_json());
        let mut response = crate::binding::json(self.0.status, "application/json", body);
        let headers = response.headers_mut();
        headers.extend(self.0.headers.clone());
        if self.0.again == Again::MustNot {
            headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
        }
        self.0.place.tell(headers);
        response
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        let failure = Self::of(&error.answer());
        match error {
            CallError::UpstreamReset | CallError::BadAnswer | CallError::Deadline => failure.seen(),
            _ => failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_its_rows_status_and_a_type_that_clients_know() {
        for fault in Fault::ALL {
            let failure = Failure::of(&Problem::new(fault, "words"));
            assert_eq!(failure.0.status.as_u16(), fault.row().http, "{fault:?}");
            let error = failure.to_json();
            assert_eq!(error["error"]["message"], "words");
            let code = fault.row().reason.to_ascii_lowercase();
            assert_eq!(error["error"]["code"], code);
            let kind = error["error"]["type"].as_str().unwrap();
            assert_eq!(kind == "server_error", fault.row().http >= 500, "{fault:?}");
        }
    }

    #[test]
    fn only_what_reached_nobody_may_be_sent_again() {
        let told = |failure: &Failure| {
            let response = failure.response();
            let header = response.headers().get(SHOULD_RETRY).cloned();
            (
                header.is_some(),
                response.headers().contains_key("retry-after"),
            )
        };
        assert_eq!(told(&CallError::Connect.into()), (false, true));
        assert_eq!(told(&CallError::Exhausted.into()), (false, true));
        assert_eq!(told(&CallError::UpstreamReset.into()), (true, false));
        assert_eq!(told(&Failure::not_understood()), (true, false));
        let busy = Problem::new(Fault::Exhausted, "later");
        assert_eq!(told(&Failure::answered(&busy)), (false, true));
        let fault = Problem::new(Fault::Internal, "oh");
        assert_eq!(told(&Failure::answered(&fault)), (true, false));
    }
}
