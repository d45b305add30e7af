//! Whole messages as ProtoJSON, and the well-known types in between: the door for everybody who is not
//! generated code.
//!
//! # Invariants
//! - A body that is not JSON is [`Fault::Parse`]; JSON that does not fit the message is
//!   [`Fault::InvalidParams`]. Callers depend on the difference.

use bytes::{BufMut, Bytes, BytesMut};
use prost_types::{Struct, Timestamp, Value};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    error::{Fault, Problem},
    protojson::{Any, In, Message, Object, Out},
};

pub use crate::protojson::time;

/// Reads a message.
///
/// # Errors
/// [`Fault::Parse`] when the bytes are not JSON, [`Fault::InvalidParams`] when a field is of the wrong
/// type.
pub fn from_slice<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| problem(&error))
}

/// Writes a message. What JSON cannot hold (a double that is not a number, a time beyond the year
/// 9999) comes only from a peer's protobuf, and leaves `null` in place of the whole.
#[must_use]
pub fn to_bytes<T: Serialize>(value: &T) -> Bytes {
    try_to_bytes(value).unwrap_or_else(|_| Bytes::from_static(b"null"))
}

/// Writes a message, or says why it cannot be written.
///
/// # Errors
/// [`Fault::InvalidAgentResponse`] when a value has no form in JSON.
pub fn try_to_bytes<T: Serialize>(value: &T) -> Result<Bytes, Problem> {
    let mut out = BytesMut::with_capacity(256).writer();
    match serde_json::to_writer(&mut out, value) {
        Ok(()) => Ok(out.into_inner().freeze()),
        Err(error) => Err(Problem::new(
            Fault::InvalidAgentResponse,
            format!("a value has no form in JSON: {error}"),
        )),
    }
}

/// Writes a message of a request, or says why it cannot be written.
///
/// # Errors
/// [`Fault::InvalidParams`] when a value has no form in JSON.
pub(crate) fn ask_to_bytes<T: Serialize>(value: &T) -> Result<Bytes, Problem> {
    try_to_bytes(value).map_err(|problem| Problem {
        fault: Fault::InvalidParams,
        ..problem
    })
}

/// Checks that every REQUIRED field of a request is set, here and in the messages within.
///
/// # Errors
/// [`Fault::InvalidParams`] naming the first that is not.
pub fn check_required<T: Message>(message: &T) -> Result<(), Problem> {
    message.missing().map_or(Ok(()), |path| {
        Err(Problem::new(
            Fault::InvalidParams,
            format!("{path} is required"),
        ))
    })
}

/// A `google.protobuf.Value` of any JSON value; `None` where a number is beyond a double.
#[must_use]
pub fn value(json: &serde_json::Value) -> Option<Value> {
    use serde::Deserialize;
    if json.is_null() {
        return Some(crate::protojson::null());
    }
    In::<Any>::deserialize(json).ok().map(|value| value.0)
}

/// A `google.protobuf.Struct` of a JSON object; `None` for anything else.
#[must_use]
pub fn object(json: &serde_json::Value) -> Option<Struct> {
    use serde::Deserialize;
    In::<Object>::deserialize(json).ok().map(|value| value.0)
}

/// The JSON of a `google.protobuf.Value`; `null` where JSON has no word for it.
#[must_use]
pub fn of_value(value: &Value) -> serde_json::Value {
    serde_json::to_value(Out::<Any>(value)).unwrap_or_default()
}

/// The JSON of a `google.protobuf.Struct`; `null` where JSON has no word for something in it.
#[must_use]
pub fn of_object(object: &Struct) -> serde_json::Value {
    serde_json::to_value(Out::<Object>(object)).unwrap_or_default()
}

/// The time of a clock that counts milliseconds since 1970.
#[must_use]
pub fn timestamp(unix_millis: u64) -> Timestamp {
    let millis = i32::try_from(unix_millis % 1000).unwrap_or_default();
    Timestamp {
        seconds: i64::try_from(unix_millis / 1000).unwrap_or(i64::MAX),
        nanos: millis * 1_000_000,
    }
}

/// `google.protobuf.Empty`: written as `{}`; whatever stands in its place is read as it, since SDKs
/// answer a deletion with `null` or `{}`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Empty {}

impl<'de> serde::Deserialize<'de> for Empty {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| Self {})
    }
}

/// The fault behind an error of serde_json.
pub(crate) fn problem(error: &serde_json::Error) -> Problem {
    let fault = match error.classify() {
        serde_json::error::Category::Data => Fault::InvalidParams,
        serde_json::error::Category::Syntax
        | serde_json::error::Category::Eof
        | serde_json::error::Category::Io => Fault::Parse,
    };
    Problem::new(fault, error.to_string())
}
