//! JSON-RPC 2.0 as A2A uses it: one request, one answer, no batches, no notifications.
//!
//! It owns the envelope; the messages inside are ProtoJSON. It never looks for ids: that is `scan`.
//!
//! # Invariants
//! - The caller's id comes back as the same text, so `1`, `1.0` and `"1"` stay what they are.
//! - An error's `data` is an array of typed objects with one ErrorInfo (spec 9.5).

use std::{collections::BTreeMap, fmt};

use bytes::{BufMut, Bytes, BytesMut};
use http::StatusCode;
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};

use crate::{
    dialect::Version,
    error::{DOMAIN, Fault, Problem},
    json,
    operation::Operation,
};

/// `@type` of a `google.rpc.ErrorInfo` in JSON.
pub(crate) const ERROR_INFO: &str = "type.googleapis.com/google.rpc.ErrorInfo";

/// The caller's id as it stands in the request: JSON text of a string, a number or `null`.
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct RawId(Text);

/// An id is short as a rule (a UUID in quotes is 38 bytes), and kept without an allocation then.
#[derive(Clone, Eq, Hash, PartialEq)]
enum Text {
    Short { length: u8, bytes: [u8; SHORT] },
    Long(Box<str>),
}

const SHORT: usize = 46;

impl RawId {
    /// The id of an answer to a request whose id is not known.
    #[must_use]
    pub fn null() -> Self {
        Self::keep("null")
    }

    /// An id that is a number.
    #[must_use]
    pub fn number(number: u64) -> Self {
        Self::keep(&number.to_string())
    }

    /// An id that is a string.
    #[must_use]
    pub fn string(text: &str) -> Self {
        Self::keep(&Value::from(text).to_string())
    }

    /// Takes the JSON text of an id; `None` unless it is a string, a number or `null`. The text must
    /// be JSON: only its kind is looked at.
    #[must_use]
    pub fn parse(json: &str) -> Option<Self> {
        match json.as_bytes().first()? {
            b'"' | b'-' | b'0'..=b'9' | b'n' => Some(Self::keep(json)),
            _ => None,
        }
    }

    /// The JSON text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Text::Short { length, bytes } => bytes
                .get(..usize::from(*length))
                .and_then(|bytes| str::from_utf8(bytes).ok())
                .unwrap_or("null"),
            Text::Long(text) => text,
        }
    }

    /// Whether no answer can be told apart by it.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.as_str() == "null"
    }

    fn keep(json: &str) -> Self {
        let mut bytes = [0; SHORT];
        match (u8::try_from(json.len()), bytes.get_mut(..json.len())) {
            (Ok(length), Some(place)) => {
                place.copy_from_slice(json.as_bytes());
                Self(Text::Short { length, bytes })
            }
            _ => Self(Text::Long(json.into())),
        }
    }
}

impl fmt::Debug for RawId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for RawId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Writes a request of 1.0.
///
/// # Errors
/// [`Fault::InvalidParams`] when a value has no form in JSON.
pub fn request<T: Serialize>(
    id: &RawId,
    operation: Operation,
    params: &T,
) -> Result<Bytes, Problem> {
    let method = operation.method(Version::V1_0).unwrap_or_default();
    let params = json::ask_to_bytes(params)?;
    let head = [",\"method\":\"", method, "\",\"params\":"];
    Ok(envelope(id, &head, &params))
}

/// Writes an answer. What has no form in JSON becomes an error that says so.
#[must_use]
pub fn result<T: Serialize>(id: &RawId, result: &T) -> Bytes {
    match json::try_to_bytes(result) {
        Ok(result) => envelope(id, &[",\"result\":"], &result),
        Err(problem) => error(id, &problem),
    }
}

/// The HTTP status that an error travels with: 200, as the SDKs have it, but for what the infrastructure
/// in between must see: who you are, how much, and come back later.
#[must_use]
pub fn status(fault: Fault) -> StatusCode {
    let status = match fault {
        Fault::Unauthenticated
        | Fault::PermissionDenied
        | Fault::TooLarge
        | Fault::Exhausted
        | Fault::Unavailable
        | Fault::DeadlineExceeded => StatusCode::from_u16(fault.row().http),
        _ => Ok(StatusCode::OK),
    };
    status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// Writes an error; [`status()`] says what it travels with.
#[must_use]
pub fn error(id: &RawId, problem: &Problem) -> Bytes {
    let row = problem.fault.row();
    let body = ErrorOut {
        code: row.code,
        message: &problem.message,
        data: [ErrorInfo::of(problem)],
    };
    envelope(id, &[",\"error\":"], &json::to_bytes(&body))
}

/// Reads the params of a request. Absent params are an empty object.
///
/// # Errors
/// [`Fault::Parse`] for what is not JSON, [`Fault::InvalidParams`] for params of the wrong type.
pub fn params<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    #[derive(Deserialize)]
    struct Request<T> {
        params: Option<T>,
    }
    match json::from_slice::<Request<T>>(body)?.params {
        Some(params) => Ok(params),
        None => json::from_slice(b"{}"),
    }
}

/// Reads an answer: what came of the call, or the problem that the other side reports.
///
/// # Errors
/// The peer's own problem, or [`Fault::InvalidAgentResponse`] for what is no answer.
pub fn response<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    answer(body).flatten()
}

/// Reads an answer: outside is whether it is one, inside what it says.
pub(crate) fn answer<T: DeserializeOwned>(body: &[u8]) -> Result<Result<T, Problem>, Problem> {
    let no_answer = |error: serde_json::Error| {
        Problem::new(
            Fault::InvalidAgentResponse,
            format!("the agent's answer is not understood: {error}"),
        )
    };
    let response: Response<'_> = serde_json::from_slice(body).map_err(no_answer)?;
    match (response.error, response.result) {
        (Some(error), _) => Ok(Err(error.problem())),
        (None, Some(result)) => serde_json::from_str(result.get())
            .map(Ok)
            .map_err(no_answer),
        (None, None) => Err(Problem::new(
            Fault::InvalidAgentResponse,
            "the agent's answer has neither a result nor an error",
        )),
    }
}

/// A member that is there even when it is `null`: a call without a result answers so.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

pub(crate) fn envelope(id: &RawId, head: &[&str], body: &[u8]) -> Bytes {
    let id = id.as_str();
    let head_length: usize = head.iter().map(|part| part.len()).sum();
    let mut out = BytesMut::with_capacity(24 + id.len() + head_length + body.len());
    out.put_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    out.put_slice(id.as_bytes());
    for part in head {
        out.put_slice(part.as_bytes());
    }
    out.put_slice(body);
    out.put_u8(b'}');
    out.freeze()
}

#[derive(Deserialize)]
struct Response<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    error: Option<ErrorIn>,
}

#[derive(Serialize)]
struct ErrorOut<'a> {
    code: i32,
    message: &'a str,
    data: [ErrorInfo<'a>; 1],
}

#[derive(Deserialize)]
struct ErrorIn {
    code: i64,
    #[serde(default)]
    message: String,
    #[serde(default)]
    data: Value,
}

impl ErrorIn {
    fn problem(self) -> Problem {
        let details = self.data.as_array().map(Vec::as_slice).unwrap_or_default();
        let guess = || i32::try_from(self.code).map_or(Fault::Internal, Fault::from_code);
        with_details(self.message, details, guess)
    }
}

/// `google.rpc.ErrorInfo`, as JSON-RPC and HTTP+JSON carry it.
#[derive(Serialize)]
pub(crate) struct ErrorInfo<'a> {
    #[serde(rename = "@type")]
    kind: &'static str,
    reason: &'static str,
    domain: &'static str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: &'a BTreeMap<String, String>,
}

impl<'a> ErrorInfo<'a> {
    pub(crate) const fn of(problem: &'a Problem) -> Self {
        Self {
            kind: ERROR_INFO,
            reason: problem.fault.row().reason,
            domain: DOMAIN,
            metadata: &problem.metadata,
        }
    }
}

/// Builds a problem from a message and the details that came with it; `guess` where they name no fault
/// that we know.
pub(crate) fn with_details(
    message: String,
    details: &[Value],
    guess: impl FnOnce() -> Fault,
) -> Problem {
    let info = details.iter().find(|detail| {
        detail.get("@type").and_then(Value::as_str) == Some(ERROR_INFO)
            && detail.get("reason").is_some()
    });
    let fault = info
        .and_then(|info| Fault::from_reason(info.get("reason")?.as_str()?))
        .unwrap_or_else(guess);
    let mut problem = Problem::new(fault, message);
    let metadata = info.and_then(|info| info.get("metadata")?.as_object());
    for (key, value) in metadata.into_iter().flatten() {
        if let Some(value) = value.as_str() {
            problem.metadata.insert(key.clone(), value.to_owned());
        }
    }
    problem
}

#[cfg(test)]
mod tests;
