//! ListTasks as it stands on the wire, in each binding of 1.0, read and written.
//!
//! # Invariants
//! - What can't be read is nobody's list: the call then passes as any other, or its answer is told to be
//!   none.
//! - An answer has every field that the specification requires, `nextPageToken` also when it is empty.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use mesh_proto::{
    Binding, Dialect, Fault, Operation, Problem, Version,
    a2a::{ListTasksRequest, ListTasksResponse},
    grpc, json,
    jsonrpc::{self, RawId},
    rest,
};
use prost::Message as _;

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

/// Reads the request; `None` where it is none of 1.0, or none at all.
pub(super) fn request(ask: &Ask) -> Option<ListTasksRequest> {
    if ask.dialect.version != Version::V1_0 {
        return None;
    }
    let body = ask.plain.as_ref().unwrap_or(&ask.body);
    match ask.dialect.binding {
        Binding::JsonRpc => jsonrpc::params(body).ok(),
        Binding::Rest => {
            let (path, query) = ask.path.split_once('?').unzip();
            let path = path.unwrap_or(&ask.path);
            rest::route(&ask.method, path, query)
                .ok()?
                .list_tasks()
                .ok()
        }
        Binding::Grpc => {
            let message = match &ask.plain {
                Some(plain) => plain,
                None => ask.body.get(PREFIX..)?,
            };
            ListTasksRequest::decode(message).ok()
        }
    }
}

/// The same call with another request.
pub(super) fn ask(ask: &Ask, request: &ListTasksRequest) -> Ask {
    let mut asked = Ask {
        plain: None,
        ..ask.clone()
    };
    // It is written anew, and its answer will be read.
    for name in [header::CONTENT_ENCODING, header::ACCEPT_ENCODING] {
        asked.headers.remove(name);
    }
    for name in ["grpc-encoding", "grpc-accept-encoding"] {
        asked.headers.remove(name);
    }
    match ask.dialect.binding {
        Binding::JsonRpc => {
            asked.body = jsonrpc::request(&id(ask), Operation::ListTasks, request);
        }
        Binding::Rest => {
            let call = rest::call(Operation::ListTasks, request);
            (asked.method, asked.path) = (call.method, call.path.into());
            asked.body = call.body.unwrap_or_default();
            // The version may have stood in the query that was.
            let version = HeaderValue::from_static(Version::V1_0.as_str());
            asked.headers.insert(mesh_proto::mesh::A2A_VERSION, version);
        }
        Binding::Grpc => asked.body = grpc::frame(request),
    }
    asked.headers.remove(header::CONTENT_LENGTH);
    asked
}

/// Reads an answer.
///
/// # Errors
/// What the member says is wrong; [`Fault::InvalidAgentResponse`] where it says nothing of the kind.
pub(super) fn answer(dialect: Dialect, answer: &Whole) -> Result<ListTasksResponse, Problem> {
    let none = || {
        Problem::new(
            Fault::InvalidAgentResponse,
            "the answer is no list of tasks",
        )
    };
    match dialect.binding {
        Binding::JsonRpc => {
            let read = jsonrpc::response(&answer.body);
            // Somebody between, or the agent's own front, may refuse without a word of JSON-RPC.
            if read.is_err() && !answer.status.is_success() {
                return Err(Problem::new(Fault::Unavailable, "refused"));
            }
            read
        }
        Binding::Rest if answer.status.is_success() => {
            json::from_slice(&answer.body).map_err(|_| none())
        }
        Binding::Rest => Err(rest::problem(answer.status, &answer.body)),
        Binding::Grpc => {
            let told = answer.trailers.as_ref().unwrap_or(&answer.headers);
            if let Some(problem) = grpc::problem(told) {
                return Err(problem);
            }
            let message = answer.body.get(PREFIX..).ok_or_else(none)?;
            ListTasksResponse::decode(message).map_err(|_| none())
        }
    }
}

/// Writes an answer.
pub(super) fn whole(ask: &Ask, list: &ListTasksResponse) -> Whole {
    let (kind, body) = match ask.dialect.binding {
        Binding::JsonRpc => ("application/json", jsonrpc::result(&id(ask), list)),
        Binding::Rest => ("application/json", json::to_bytes(list)),
        Binding::Grpc => ("application/grpc", grpc::frame(list)),
    };
    let trailers = (ask.dialect.binding == Binding::Grpc).then(|| {
        let (name, ok) = ("grpc-status", HeaderValue::from_static("0"));
        HeaderMap::from_iter([(HeaderName::from_static(name), ok)])
    });
    let kind = HeaderValue::from_static(kind);
    Whole {
        status: StatusCode::OK,
        headers: HeaderMap::from_iter([(header::CONTENT_TYPE, kind)]),
        body,
        trailers,
    }
}

fn id(ask: &Ask) -> RawId {
    ask.farewell.id.clone().unwrap_or_else(RawId::null)
}
