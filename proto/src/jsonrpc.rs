//! JSON-RPC 2.0 as A2A uses it: one request, one answer, no batches, no notifications.
//!
//! It owns the envelope; the messages inside are ProtoJSON. It never looks for ids: that is `scan`.
//!
//! # Invariants
//! - The caller's id comes back as the same text, so `1`, `1.0` and `"1"` stay what they are.
//! - An error's `data` is an array of typed objects with one ErrorInfo (spec 9.5).

use std::{collections::BTreeMap, fmt, slice};

use bytes::{BufMut, Bytes, BytesMut};
use http::StatusCode;
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};

use crate::{
    dialect::Version,
    error::{Fault, Info, Problem},
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

/// Makes a problem that was read sharper by the HTTP status that it came with, as [`status()`] gives it:
/// JSON-RPC has only one code for all that goes wrong inside, and one for a request that is wrong in
/// itself, and only a reason beside the code tells more.
pub(crate) fn sharpen(mut problem: Problem, status: StatusCode) -> Problem {
    let by_status = Fault::from_http(status.as_u16());
    let is_coarse = matches!(problem.fault, Fault::Internal | Fault::InvalidRequest);
    if is_coarse
        && self::status(by_status) == status
        && by_status.row().code == problem.fault.row().code
    {
        problem.fault = by_status;
    }
    problem
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
    #[serde(default)]
    code: Value,
    message: Option<String>,
    #[serde(default)]
    data: Value,
}

impl ErrorIn {
    fn problem(self) -> Problem {
        let details = match &self.data {
            Value::Array(details) => details.as_slice(),
            other => slice::from_ref(other),
        };
        let info = info(details);
        let is_free = info.is_none();
        let code = self.code.as_i64().and_then(|code| i32::try_from(code).ok());
        let guess = || code.map_or(Fault::Internal, Fault::from_code);
        let mut problem = Problem::reported(self.message.unwrap_or_default(), info, guess);
        if is_free {
            problem.metadata = free_form(self.data);
        }
        problem
    }
}

/// How much of an error's free-form data is kept: so many facts, each of so many bytes.
const FACTS_MAX: usize = 32;
const FACT_MAX: usize = 4096;

/// The facts in data that have no form: 1.0 asks for an ErrorInfo, but JSON-RPC and 0.3 do not.
fn free_form(data: Value) -> BTreeMap<String, String> {
    let text = |value: Value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    let facts = match data {
        Value::Null => return BTreeMap::new(),
        Value::Object(facts) => facts,
        other => [("data".to_owned(), other)].into_iter().collect(),
    };
    facts
        .into_iter()
        .map(|(key, value)| (key, text(value)))
        .filter(|(key, value)| key.len() + value.len() <= FACT_MAX)
        .take(FACTS_MAX)
        .collect()
}

/// `google.rpc.ErrorInfo`, as JSON-RPC and HTTP+JSON carry it.
#[derive(Serialize)]
pub(crate) struct ErrorInfo<'a> {
    #[serde(rename = "@type")]
    kind: &'static str,
    reason: &'a str,
    domain: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: &'a BTreeMap<String, String>,
}

impl<'a> ErrorInfo<'a> {
    pub(crate) fn of(problem: &'a Problem) -> Self {
        let (reason, domain) = problem.name();
        Self {
            kind: ERROR_INFO,
            reason,
            domain,
            metadata: &problem.metadata,
        }
    }
}

/// The ErrorInfo among the details of an error.
pub(crate) fn info(details: &[Value]) -> Option<Info> {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let found = details.iter().find(|detail| {
        detail.get("@type").and_then(Value::as_str) == Some(ERROR_INFO)
            && detail.get("reason").is_some()
    })?;
    let facts = found.get("metadata").and_then(Value::as_object);
    let facts = facts.into_iter().flatten();
    Some(Info {
        reason: text(found.get("reason")).unwrap_or_default(),
        domain: text(found.get("domain")).unwrap_or_default(),
        metadata: facts
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
            .collect(),
    })
}

#[cfg(test)]
mod tests;
