//! HTTP+JSON of 0.3: paths below `/v1`, bodies in the ProtoJSON of `a2a.v1`.
//!
//! The Python and the JS SDK have it so. The Go SDK writes the objects of JSON-RPC there, with names in
//! snake_case and without `/v1`; that is read as well, wherever the body is no ProtoJSON.
//!
//! # Invariants
//! - A request is written only where its path would be read back as the same call.
//! - Only fields of `a2a.v1` are written: the Python SDK of 0.3 refuses a body with any other.
//! - A push configuration is made by a whole `CreateTaskPushNotificationConfigRequest`, as the Python SDK
//!   has it. The JS SDK takes the configuration alone, and so does the proto's own annotation: all of
//!   these are read.

use bytes::Bytes;
use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    JSON, card_of_1_0, card_to_1_0, error,
    json::{Happening, SendParams, Task, TaskConfig},
    no_such, not_understood, nothing, rpc,
    shape::{As, Shape},
    wire::name,
};
use crate::{
    a2a, a2a_v03 as old,
    error::{Fault, Problem},
    json::{self, Empty},
    operation::Operation,
    pivot::{Event, Request, Response, WireRequest, WireResponse},
    protojson::{In, List},
    rest::{self, Ids},
    sse,
};

pub(super) fn decode_request(
    operation: Operation,
    method: &Method,
    path_and_query: &str,
    body: &[u8],
) -> Result<Request, Problem> {
    let (path, query) = match path_and_query.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path_and_query, None),
    };
    let route = rest::route(method, path, query)?;
    if route.operation != operation {
        return Err(Problem::new(
            Fault::MethodNotFound,
            format!("the path is not that of {}", operation.name()),
        ));
    }
    let tenant = String::new();
    let task_id = route.task_id.clone().unwrap_or_default();
    Ok(match operation {
        Operation::SendMessage => Request::SendMessage(send(body)?),
        Operation::SendStreamingMessage => Request::SendStreamingMessage(send(body)?),
        Operation::GetTask => {
            let request = route.get_task()?;
            Request::GetTask(a2a::GetTaskRequest {
                tenant,
                history_length: request.history_length.filter(|length| *length != 0),
                id: task_id,
            })
        }
        Operation::ListTasks => return Err(no_such(operation)),
        Operation::CancelTask => Request::CancelTask(a2a::CancelTaskRequest {
            tenant,
            id: task_id,
            metadata: None,
        }),
        Operation::SubscribeToTask => Request::SubscribeToTask(a2a::SubscribeToTaskRequest {
            tenant,
            id: task_id,
        }),
        Operation::CreateTaskPushNotificationConfig => {
            let In(config) = json::from_slice::<In<As<TaskConfig>>>(body)?;
            Request::CreateTaskPushNotificationConfig(a2a::TaskPushNotificationConfig {
                task_id,
                ..config
            })
        }
        Operation::GetTaskPushNotificationConfig => {
            Request::GetTaskPushNotificationConfig(a2a::GetTaskPushNotificationConfigRequest {
                tenant,
                task_id,
                id: route.config_id.unwrap_or_default(),
            })
        }
        Operation::ListTaskPushNotificationConfigs => {
            Request::ListTaskPushNotificationConfigs(a2a::ListTaskPushNotificationConfigsRequest {
                task_id,
                ..Default::default()
            })
        }
        Operation::DeleteTaskPushNotificationConfig => Request::DeleteTaskPushNotificationConfig(
            a2a::DeleteTaskPushNotificationConfigRequest {
                tenant,
                task_id,
                id: route.config_id.unwrap_or_default(),
            },
        ),
        Operation::GetExtendedAgentCard => {
            Request::GetExtendedAgentCard(a2a::GetExtendedAgentCardRequest { tenant })
        }
    })
}

fn send(body: &[u8]) -> Result<a2a::SendMessageRequest, Problem> {
    either::<old::SendMessageRequest, SendParams>(body, |_| true)
}

/// Reads ProtoJSON or, where that fails or says nothing, the object as JSON-RPC has it. What is wrong is
/// told of the first.
fn either<P, S>(body: &[u8], says: impl FnOnce(&S::Value) -> bool) -> Result<S::Value, Problem>
where
    P: for<'de> Deserialize<'de> + Into<S::Value>,
    S: Shape,
{
    let first = json::from_slice::<P>(body).map(Into::into);
    match first {
        Ok(value) if says(&value) => Ok(value),
        first => match json::from_slice::<In<As<S>>>(body) {
            Ok(In(value)) => Ok(value),
            Err(_) => first,
        },
    }
}

pub(super) fn encode_request(request: &Request) -> Result<WireRequest, Problem> {
    let operation = request.operation();
    let (ids, body, query) = match request {
        Request::SendMessage(request) | Request::SendStreamingMessage(request) => {
            let body = ask(&old::SendMessageRequest::from(request))?;
            (Ids::default(), Some(body), None)
        }
        Request::GetTask(request) => (of_task(&request.id), None, request.history_length),
        Request::ListTasks(_) => return Err(no_such(operation)),
        Request::CancelTask(request) => {
            let name = name::of_task(&request.id);
            let body = ask(&old::CancelTaskRequest { name })?;
            (of_task(&request.id), Some(body), None)
        }
        Request::SubscribeToTask(request) => (of_task(&request.id), None, None),
        Request::CreateTaskPushNotificationConfig(config) => {
            let body = ask(&old::CreateTaskPushNotificationConfigRequest::from(config))?;
            (of_task(&config.task_id), Some(body), None)
        }
        Request::GetTaskPushNotificationConfig(request) => {
            (of_config(&request.task_id, &request.id), None, None)
        }
        Request::ListTaskPushNotificationConfigs(request) => {
            (of_task(&request.task_id), None, None)
        }
        Request::DeleteTaskPushNotificationConfig(request) => {
            (of_config(&request.task_id, &request.id), None, None)
        }
        Request::GetExtendedAgentCard(_) => (Ids::default(), None, None),
    };
    let (method, mut path) = path(operation, &ids)?;
    if let Some(length) = query {
        path.push_str(&format!("?historyLength={length}"));
    }
    Ok(WireRequest {
        method,
        path,
        content_type: body.is_some().then_some(JSON),
        body: body.unwrap_or_default(),
    })
}

const fn of_task(task: &str) -> Ids<'_> {
    Ids {
        tenant: None,
        task_id: Some(task),
        config_id: None,
    }
}

const fn of_config<'a>(task: &'a str, config: &'a str) -> Ids<'a> {
    Ids {
        tenant: None,
        task_id: Some(task),
        config_id: Some(config),
    }
}

fn ask<T: Serialize>(body: &T) -> Result<Bytes, Problem> {
    json::ask_to_bytes(body)
}

/// The path, if it says what it is to say: an id may be such that it can't stand in one.
fn path(operation: Operation, ids: &Ids<'_>) -> Result<(Method, String), Problem> {
    let (method, below) = match operation {
        Operation::GetExtendedAgentCard => (Method::GET, "/card".to_owned()),
        // The servers of 0.3 take GET, and that of the Python SDK nothing else.
        Operation::SubscribeToTask => (Method::GET, rest::path(operation, ids).1),
        _ => rest::path(operation, ids),
    };
    let path = format!("/v1{below}");
    let back = rest::route(&method, &path, None).ok();
    let is_same = back.is_some_and(|back| {
        back.operation == operation
            && back.task_id.as_deref() == ids.task_id
            && back.config_id.as_deref() == ids.config_id
    });
    // Whoever stands between may resolve these two, and then they name another path.
    let is_plain = [ids.task_id, ids.config_id]
        .iter()
        .all(|id| !matches!(id, Some("." | "..")));
    if is_same && is_plain {
        return Ok((method, path));
    }
    Err(Problem::new(
        Fault::InvalidParams,
        "an id is empty, or is such that it cannot stand in a path of HTTP+JSON",
    ))
}

pub(super) fn decode_response(
    operation: Operation,
    status: StatusCode,
    body: &[u8],
) -> Result<Response, Problem> {
    if !status.is_success() {
        return Err(error::of_rest(status, body));
    }
    answer(operation, body).map_err(not_understood)
}

fn answer(operation: Operation, body: &[u8]) -> Result<Response, Problem> {
    Ok(match operation {
        Operation::SendMessage | Operation::SendStreamingMessage | Operation::SubscribeToTask => {
            let sent = json::from_slice::<old::SendMessageResponse>(body);
            match sent.map(a2a::SendMessageResponse::from) {
                Ok(sent) if sent.payload.is_some() => Response::Sent(sent),
                first => {
                    let bare = json::from_slice::<In<As<Happening>>>(body);
                    let In(payload) = bare.map_err(|_| first.err().unwrap_or_else(nothing))?;
                    Response::Sent(rpc::sent(payload)?)
                }
            }
        }
        Operation::GetTask | Operation::CancelTask => {
            Response::Task(either::<old::Task, Task>(body, |_| true)?)
        }
        Operation::ListTasks => return Err(no_such(operation)),
        Operation::CreateTaskPushNotificationConfig | Operation::GetTaskPushNotificationConfig => {
            Response::Config(json::from_slice::<In<As<TaskConfig>>>(body)?.0)
        }
        Operation::ListTaskPushNotificationConfigs => {
            let list = json::from_slice::<old::ListTaskPushNotificationConfigResponse>(body);
            Response::Configs(match list {
                Ok(list) => list.into(),
                Err(problem) => a2a::ListTaskPushNotificationConfigsResponse {
                    configs: json::from_slice::<Option<In<List<As<TaskConfig>>>>>(body)
                        .map_err(|_| problem)?
                        .map(|list| list.0)
                        .unwrap_or_default(),
                    ..Default::default()
                },
            })
        }
        Operation::DeleteTaskPushNotificationConfig => Response::Deleted,
        Operation::GetExtendedAgentCard => {
            let card: Map<String, Value> = json::from_slice(body)?;
            Response::Card(Box::new(card_to_1_0(&card)))
        }
    })
}

pub(super) fn encode_response(outcome: Result<&Response, &Problem>) -> WireResponse {
    let written = outcome.map_err(Clone::clone).and_then(written);
    let (status, body) = match written {
        Ok(body) => (StatusCode::OK, body),
        Err(problem) => error::rest(&problem),
    };
    WireResponse {
        status,
        content_type: JSON,
        body,
        trailers: None,
    }
}

fn written(response: &Response) -> Result<Bytes, Problem> {
    match response {
        Response::Sent(sent) => json::try_to_bytes(&old::SendMessageResponse::from(sent)),
        Response::Task(task) => json::try_to_bytes(&old::Task::from(task)),
        Response::Tasks(_) => Err(no_such(Operation::ListTasks)),
        Response::Config(config) => {
            json::try_to_bytes(&old::TaskPushNotificationConfig::from(config))
        }
        Response::Configs(list) => {
            json::try_to_bytes(&old::ListTaskPushNotificationConfigResponse::from(list))
        }
        Response::Deleted => json::try_to_bytes(&Empty {}),
        // The Python SDK writes the card here as it does everywhere in JSON.
        Response::Card(card) => json::try_to_bytes(&card_of_1_0(card)),
    }
}

/// An error in a stream is looked for where an event has none of the known payloads.
pub(super) fn decode_event(data: &[u8]) -> Result<Event, Problem> {
    let first = json::from_slice::<old::StreamResponse>(data).map(Event::from);
    if matches!(&first, Ok(event) if event.payload.is_some()) {
        return first;
    }
    if let Ok(In(payload)) = json::from_slice::<In<As<Happening>>>(data) {
        return Ok(Event {
            payload: Some(payload),
        });
    }
    Err(error::within_rest(data)
        .unwrap_or_else(|| not_understood(first.err().unwrap_or_else(nothing))))
}

/// An error goes under the event type that the JS SDK gives it.
pub(super) fn encode_event(outcome: Result<&Event, &Problem>) -> Bytes {
    let written = outcome
        .map_err(Clone::clone)
        .and_then(|event| json::try_to_bytes(&old::StreamResponse::from(event)));
    let event = match written {
        Ok(data) => sse::Event {
            id: None,
            event: None,
            data,
        },
        Err(problem) => sse::Event {
            id: None,
            event: Some("error".to_owned()),
            data: error::rest(&problem).1,
        },
    };
    sse::write(&event)
}
