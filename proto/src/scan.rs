//! Finds the routing ids in a body that is passed on untouched.
//!
//! It owns which field of which operation is an id, in both versions of the protocol; it never
//! decodes content and never judges whether a request makes sense: that is the agent's affair.
//!
//! # Invariants
//! - Nothing is copied, unless a name or an id is escaped.
//! - `null`, `""` and absent are one and the same: not set. Of a field given twice the last counts, as
//!   in the readers behind us.
//! - Whatever is accepted as JSON here, serde_json accepts, too (numbers beyond a double excepted).

pub(crate) mod json;
pub(crate) mod named;
mod params;
pub(crate) mod protobuf;

use std::borrow::Cow;

use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    dialect::Version,
    error::{Fault, Problem},
    jsonrpc::RawId,
    operation::Operation,
};
use json::{Cursor, Found, Malformed};
use params::{Call, Params};

/// The ids that decide where a call goes. `None` is "not set".
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Ids<'a> {
    /// The tenant.
    pub tenant: Option<Cow<'a, str>>,
    /// The task that the call is about.
    pub task_id: Option<Cow<'a, str>>,
    /// The conversation that the call is about.
    pub context_id: Option<Cow<'a, str>>,
    /// The message that is sent.
    pub message_id: Option<Cow<'a, str>>,
}

/// A JSON-RPC request, as far as routing cares.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Envelope<'a> {
    /// The caller's id, to be repeated in the answer.
    pub id: RawId,
    /// What is asked for.
    pub operation: Operation,
    /// The version that the method's name belongs to.
    pub version: Version,
    /// Where it may have to go.
    pub ids: Ids<'a>,
}

/// A body that is no JSON-RPC request for us, with all that an answer needs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rejected {
    /// The caller's id, `null` where it cannot be known.
    pub id: RawId,
    /// What is wrong.
    pub problem: Problem,
}

/// Reads the envelope and the ids of a JSON-RPC request.
///
/// # Errors
/// [`Fault::Parse`] for what is not JSON, [`Fault::InvalidRequest`] for JSON that is no single request,
/// [`Fault::MethodNotFound`], and [`Fault::InvalidParams`] for params or ids of the wrong type.
pub fn json_rpc(body: &[u8]) -> Result<Envelope<'_>, Rejected> {
    let reject = |id: RawId, fault, message: &str| Rejected {
        id,
        problem: Problem::new(fault, message),
    };
    let call = match Call::read(body) {
        Ok(Some(call)) => call,
        Ok(None) => {
            let message = "the body is not one JSON-RPC request (batches are not supported)";
            return Err(reject(RawId::null(), Fault::InvalidRequest, message));
        }
        Err(malformed) => {
            return Err(Rejected {
                id: RawId::null(),
                problem: parse_problem(malformed),
            });
        }
    };
    let Some(id) = RawId::parse(call.id) else {
        let message = "`id` is neither a string nor a number nor null";
        return Err(reject(RawId::null(), Fault::InvalidRequest, message));
    };
    if !matches!(call.jsonrpc, Found::Text(text) if text.decode() == "2.0") {
        return Err(reject(
            id,
            Fault::InvalidRequest,
            "`jsonrpc` must be \"2.0\"",
        ));
    }
    let Found::Text(method) = call.method else {
        return Err(reject(
            id,
            Fault::InvalidRequest,
            "`method` must be a string",
        ));
    };
    let method = method.decode();
    let Some((operation, version)) = Operation::from_method(&method) else {
        let shown: String = method.chars().take(64).collect();
        let message = format!("no method `{shown}`");
        return Err(reject(id, Fault::MethodNotFound, &message));
    };
    match call.params.ids(operation, version) {
        Ok(ids) => Ok(Envelope {
            id,
            operation,
            version,
            ids,
        }),
        Err(problem) => Err(Rejected { id, problem }),
    }
}

/// Reads the ids of an HTTP+JSON body of 1.0. An empty body has none.
///
/// # Errors
/// As [`rest_body_in`].
pub fn rest_body(operation: Operation, body: &[u8]) -> Result<Ids<'_>, Problem> {
    rest_body_in(Version::V1_0, operation, body)
}

/// Reads the ids of an HTTP+JSON body. An empty body has none; ids in the path are the route's.
///
/// # Errors
/// [`Fault::Parse`] for what is not JSON, [`Fault::InvalidParams`] for what is no object or has ids of the
/// wrong type.
pub fn rest_body_in(
    version: Version,
    operation: Operation,
    body: &[u8],
) -> Result<Ids<'_>, Problem> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Ids::default());
    }
    let read = || {
        let mut cursor = Cursor::new(body)?;
        let params = Params::read(&mut cursor)?;
        cursor.end()?;
        Ok(params)
    };
    read().map_err(parse_problem)?.ids(operation, version)
}

/// Reads the ids of a protobuf request of a version.
///
/// # Errors
/// As [`protobuf()`].
pub fn protobuf_in(
    version: Version,
    operation: Operation,
    body: &[u8],
) -> Result<Ids<'_>, Problem> {
    match version {
        Version::V1_0 => protobuf(operation, body),
        Version::V0_3 => named::ids(operation, body),
    }
}

/// Reads the ids of a protobuf request of 1.0.
///
/// # Errors
/// [`Fault::Parse`] for what is no protobuf message, or an id that is no UTF-8 string.
pub fn protobuf(operation: Operation, body: &[u8]) -> Result<Ids<'_>, Problem> {
    let numbers = numbers(operation);
    let mut ids = Ids::default();
    for field in protobuf::Fields::new(body) {
        let field = field.map_err(|_| no_protobuf())?;
        match Some(field.number) {
            number if number == Some(numbers.tenant) => ids.tenant = string(&field)?,
            number if number == numbers.task_id => ids.task_id = string(&field)?,
            number if number == numbers.context_id => ids.context_id = string(&field)?,
            number if number == numbers.message => message_ids(&field, &mut ids)?,
            _ => {}
        }
    }
    Ok(ids)
}

/// Reads the ids of a message, whose numbers are the same in both versions.
fn message_ids<'a>(message: &protobuf::Field<'a>, ids: &mut Ids<'a>) -> Result<(), Problem> {
    for field in protobuf::Fields::new(message.bytes.ok_or_else(no_protobuf)?) {
        let field = field.map_err(|_| no_protobuf())?;
        match field.number {
            1 => ids.message_id = string(&field)?,
            2 => ids.context_id = string(&field)?,
            3 => ids.task_id = string(&field)?,
            _ => {}
        }
    }
    Ok(())
}

/// Replaces the tenant of a protobuf request of 1.0 (0.3 has none), and no other byte. What is no protobuf message comes back
/// as it is: [`protobuf()`] is where that is refused.
#[must_use]
pub fn protobuf_tenant(operation: Operation, body: &[u8], new: Option<&str>) -> Bytes {
    let tenant = numbers(operation).tenant;
    let mut out = BytesMut::with_capacity(body.len() + new.map_or(0, |new| new.len() + 6));
    let mut place = new.filter(|new| !new.is_empty());
    let mut kept = 0;
    let found: Result<Vec<_>, _> = protobuf::Fields::new(body)
        .filter(|field| field.as_ref().map_or(true, |field| field.number == tenant))
        .map(|field| field.map(|field| field.span))
        .collect();
    let Ok(spans) = found else {
        return Bytes::copy_from_slice(body);
    };
    if spans.is_empty() {
        put_tenant(&mut out, tenant, place.take());
    }
    for span in spans {
        out.extend_from_slice(body.get(kept..span.start).unwrap_or_default());
        put_tenant(&mut out, tenant, place.take());
        kept = span.end;
    }
    out.extend_from_slice(body.get(kept..).unwrap_or_default());
    out.freeze()
}

fn put_tenant(out: &mut BytesMut, number: u32, tenant: Option<&str>) {
    if let Some(tenant) = tenant {
        prost::encoding::encode_varint(u64::from(number << 3 | 2), out);
        prost::encoding::encode_varint(tenant.len() as u64, out);
        out.put_slice(tenant.as_bytes());
    }
}

/// Which fields of a protobuf request are ids.
struct Numbers {
    tenant: u32,
    task_id: Option<u32>,
    context_id: Option<u32>,
    message: Option<u32>,
}

const fn numbers(operation: Operation) -> Numbers {
    let (tenant, task_id, context_id, message) = match operation {
        Operation::SendMessage | Operation::SendStreamingMessage => (1, None, None, Some(2)),
        Operation::GetTask | Operation::CancelTask | Operation::SubscribeToTask => {
            (1, Some(2), None, None)
        }
        Operation::ListTasks => (1, None, Some(2), None),
        Operation::CreateTaskPushNotificationConfig => (1, Some(3), None, None),
        Operation::GetTaskPushNotificationConfig | Operation::DeleteTaskPushNotificationConfig => {
            (1, Some(2), None, None)
        }
        Operation::ListTaskPushNotificationConfigs => (4, Some(1), None, None),
        Operation::GetExtendedAgentCard => (1, None, None, None),
    };
    Numbers {
        tenant,
        task_id,
        context_id,
        message,
    }
}

fn string<'a>(field: &protobuf::Field<'a>) -> Result<Option<Cow<'a, str>>, Problem> {
    let bytes = field.bytes.ok_or_else(no_protobuf)?;
    let text = str::from_utf8(bytes).map_err(|_| no_protobuf())?;
    Ok((!text.is_empty()).then_some(Cow::Borrowed(text)))
}

pub(crate) fn no_protobuf() -> Problem {
    Problem::new(Fault::Parse, "the message is no protobuf of this request")
}

pub(crate) fn parse_problem(malformed: Malformed) -> Problem {
    let Malformed { at, what } = malformed;
    Problem::new(
        Fault::Parse,
        format!("the body is not JSON: {what} at byte {at}"),
    )
}

#[cfg(test)]
mod protobuf_tests;
#[cfg(test)]
mod tests;
