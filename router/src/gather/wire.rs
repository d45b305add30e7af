//! ListTasks as it stands on the wire, read and written.
//!
//! # Invariants
//! - What can't be read is nobody's list: the call then passes as any other, or its answer is told to be
//!   none.
//! - Everything is in the caller's dialect; what an agent speaks is `upstream`'s affair.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use mesh_proto::{
    Binding, Dialect, Fault, Operation, Problem,
    a2a::{ListTasksRequest, ListTasksResponse},
    pivot,
};

use crate::call::Ask;

/// Bytes before a message of gRPC: a flag and a length.
const PREFIX: usize = 5;

/// A member's answer, or ours, read to its end.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) trailers: Option<HeaderMap>,
}

/// Reads the request; `None` where it is none.
pub(super) fn request(ask: &Ask) -> Option<ListTasksRequest> {
    let (dialect, operation) = (ask.dialect, ask.operation);
    let body = message(ask.dialect, ask.plain.as_ref(), &ask.body);
    match pivot::decode_request(dialect, operation, &ask.method, &ask.path, body) {
        Ok(pivot::Request::ListTasks(request)) => Some(request),
        Ok(_) | Err(_) => None,
    }
}

/// The same call with another request.
///
/// # Errors
/// What of the request has no form in the caller's dialect.
pub(super) fn ask(ask: &Ask, request: ListTasksRequest) -> Result<Ask, Problem> {
    ask.rewritten(&pivot::Request::ListTasks(request))
}

/// Reads an answer.
///
/// # Errors
/// What the member says is wrong; [`Fault::InvalidAgentResponse`] where it says nothing of the kind.
pub(super) fn answer(dialect: Dialect, answer: &Whole) -> Result<ListTasksResponse, Problem> {
    let Whole {
        status,
        headers,
        body,
        trailers,
    } = answer;
    let body = message(dialect, None, body);
    let (list, trailers) = (Operation::ListTasks, trailers.as_ref());
    match pivot::decode_response(dialect, list, *status, headers, trailers, body)? {
        pivot::Response::Tasks(tasks) => Ok(tasks),
        _ => Err(Problem::new(
            Fault::InvalidAgentResponse,
            "the answer is no list of tasks",
        )),
    }
}

/// Writes an answer.
pub(super) fn whole(ask: &Ask, list: ListTasksResponse) -> Whole {
    let list = pivot::Response::Tasks(list);
    let written = pivot::encode_response(ask.dialect, ask.farewell.id.as_ref(), Ok(&list));
    let kind = HeaderValue::from_static(written.content_type);
    Whole {
        status: written.status,
        headers: HeaderMap::from_iter([(header::CONTENT_TYPE, kind)]),
        body: written.body,
        trailers: written.trailers,
    }
}

/// The message in a body: out of its frame, and inflated where it came compressed.
fn message<'a>(dialect: Dialect, plain: Option<&'a Bytes>, body: &'a Bytes) -> &'a [u8] {
    match (plain, dialect.binding) {
        (Some(plain), _) => plain,
        (None, Binding::Grpc) => body.get(PREFIX..).unwrap_or_default(),
        (None, Binding::JsonRpc | Binding::Rest) => body,
    }
}
