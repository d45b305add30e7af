//! JSON-RPC of 0.3: slash-style methods, bare results, errors of a code and a message.
//!
//! # Invariants
//! - An answer travels with HTTP status 200, errors too, as the SDKs' servers of 0.3 send it, but for the
//!   few that [`jsonrpc::status`] names.
//! - A push configuration's list is a bare array, and a deletion answers `null`.

use bytes::Bytes;
use http::{Method, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    JSON, card_of_1_0, card_to_1_0, error,
    json::{ConfigQuery, Happening, SendParams, Task, TaskConfig, TaskParams, TaskQuery},
    no_such, nothing,
    shape::{As, Shape},
};
use crate::{
    a2a::{self, send_message_response, stream_response::Payload},
    dialect::Version,
    error::{Fault, Problem},
    json::{self, Empty},
    jsonrpc::{self, RawId},
    operation::Operation,
    pivot::{self, Event, Request, Response, WireRequest, WireResponse},
    protojson::{In, List, Out},
    sse,
};

pub(super) fn decode_request(operation: Operation, body: &[u8]) -> Result<Request, Problem> {
    Ok(match operation {
        Operation::SendMessage => Request::SendMessage(params::<SendParams>(body)?),
        Operation::SendStreamingMessage => {
            Request::SendStreamingMessage(params::<SendParams>(body)?)
        }
        Operation::GetTask => Request::GetTask(params::<TaskQuery>(body)?),
        Operation::ListTasks => return Err(no_such(operation)),
        Operation::CancelTask => Request::CancelTask(params::<TaskParams>(body)?),
        Operation::SubscribeToTask => Request::SubscribeToTask(a2a::SubscribeToTaskRequest {
            id: params::<TaskParams>(body)?.id,
            ..Default::default()
        }),
        Operation::CreateTaskPushNotificationConfig => {
            Request::CreateTaskPushNotificationConfig(params::<TaskConfig>(body)?)
        }
        Operation::GetTaskPushNotificationConfig => {
            Request::GetTaskPushNotificationConfig(params::<ConfigQuery>(body)?)
        }
        Operation::ListTaskPushNotificationConfigs => {
            Request::ListTaskPushNotificationConfigs(a2a::ListTaskPushNotificationConfigsRequest {
                task_id: params::<TaskParams>(body)?.id,
                ..Default::default()
            })
        }
        Operation::DeleteTaskPushNotificationConfig => {
            let query = params::<ConfigQuery>(body)?;
            Request::DeleteTaskPushNotificationConfig(
                a2a::DeleteTaskPushNotificationConfigRequest {
                    tenant: String::new(),
                    task_id: query.task_id,
                    id: query.id,
                },
            )
        }
        Operation::GetExtendedAgentCard => {
            Request::GetExtendedAgentCard(a2a::GetExtendedAgentCardRequest::default())
        }
    })
}

fn params<S: Shape>(body: &[u8]) -> Result<S::Value, Problem> {
    jsonrpc::params::<In<As<S>>>(body).map(|params| params.0)
}

pub(super) fn encode_request(id: &RawId, request: &Request) -> Result<WireRequest, Problem> {
    let operation = request.operation();
    let params = match request {
        Request::SendMessage(request) | Request::SendStreamingMessage(request) => {
            text::<SendParams>(request)?
        }
        Request::GetTask(request) => text::<TaskQuery>(request)?,
        Request::ListTasks(_) => return Err(no_such(operation)),
        Request::CancelTask(request) => text::<TaskParams>(request)?,
        Request::SubscribeToTask(request) => of_task(&request.id)?,
        Request::CreateTaskPushNotificationConfig(config) => text::<TaskConfig>(config)?,
        Request::GetTaskPushNotificationConfig(request) => text::<ConfigQuery>(request)?,
        Request::ListTaskPushNotificationConfigs(request) => of_task(&request.task_id)?,
        Request::DeleteTaskPushNotificationConfig(request) => {
            text::<ConfigQuery>(&a2a::GetTaskPushNotificationConfigRequest {
                tenant: String::new(),
                task_id: request.task_id.clone(),
                id: request.id.clone(),
            })?
        }
        Request::GetExtendedAgentCard(_) => Bytes::from_static(b"{}"),
    };
    let method = operation
        .method(Version::V0_3)
        .ok_or_else(|| no_such(operation))?;
    Ok(WireRequest {
        method: Method::POST,
        path: String::new(),
        content_type: Some(JSON),
        body: jsonrpc::envelope(id, &[",\"method\":\"", method, "\",\"params\":"], &params),
    })
}

fn text<S: Shape>(value: &S::Value) -> Result<Bytes, Problem> {
    json::ask_to_bytes(&Out::<As<S>>(value))
}

fn of_task(id: &str) -> Result<Bytes, Problem> {
    text::<TaskParams>(&a2a::CancelTaskRequest {
        id: id.to_owned(),
        ..Default::default()
    })
}

pub(super) fn decode_response(
    operation: Operation,
    status: StatusCode,
    body: &[u8],
) -> Result<Response, Problem> {
    let read = || {
        Ok(match operation {
            Operation::SendMessage
            | Operation::SendStreamingMessage
            | Operation::SubscribeToTask => Response::Sent(sent(result::<Happening>(body)?)?),
            Operation::GetTask | Operation::CancelTask => Response::Task(result::<Task>(body)?),
            Operation::ListTasks => return Err(no_such(operation)),
            Operation::CreateTaskPushNotificationConfig
            | Operation::GetTaskPushNotificationConfig => {
                Response::Config(result::<TaskConfig>(body)?)
            }
            Operation::ListTaskPushNotificationConfigs => {
                Response::Configs(a2a::ListTaskPushNotificationConfigsResponse {
                    configs: configs(body)?,
                    ..Default::default()
                })
            }
            Operation::DeleteTaskPushNotificationConfig => match jsonrpc::response::<Empty>(body) {
                Err(problem) if !is_empty_answer(body) => return Err(problem),
                Ok(Empty {}) | Err(_) => Response::Deleted,
            },
            Operation::GetExtendedAgentCard => {
                let card: Map<String, Value> = jsonrpc::response(body)?;
                Response::Card(Box::new(card_to_1_0(&card)))
            }
        })
    };
    read().map_err(|problem: Problem| {
        let says_nothing = problem.fault == Fault::InvalidAgentResponse;
        if says_nothing && !status.is_success() {
            // Whoever answered was no agent, or had no answer: the status is all there is.
            return pivot::foreign(status);
        }
        jsonrpc::sharpen(problem, status)
    })
}

fn result<S: Shape>(body: &[u8]) -> Result<S::Value, Problem> {
    jsonrpc::response::<In<As<S>>>(body).map(|result| result.0)
}

/// A list that is empty may be `null` or not there at all: so writes the Go SDK.
fn configs(body: &[u8]) -> Result<Vec<a2a::TaskPushNotificationConfig>, Problem> {
    match jsonrpc::response::<Option<In<List<As<TaskConfig>>>>>(body) {
        Ok(configs) => Ok(configs.map(|configs| configs.0).unwrap_or_default()),
        Err(_) if is_empty_answer(body) => Ok(Vec::new()),
        Err(problem) => Err(problem),
    }
}

/// An answer with neither result nor error, which stands for `null` where a server leaves that out.
fn is_empty_answer(body: &[u8]) -> bool {
    serde_json::from_slice::<Map<String, Value>>(body).is_ok_and(|answer| {
        answer.contains_key("jsonrpc")
            && !answer.contains_key("result")
            && !answer.contains_key("error")
    })
}

/// What a send may answer: no event.
pub(super) fn sent(payload: Payload) -> Result<a2a::SendMessageResponse, Problem> {
    let payload = match payload {
        Payload::Task(task) => send_message_response::Payload::Task(task),
        Payload::Message(message) => send_message_response::Payload::Message(message),
        Payload::StatusUpdate(_) | Payload::ArtifactUpdate(_) => {
            return Err(Problem::new(
                Fault::InvalidAgentResponse,
                "a send was answered with an event",
            ));
        }
    };
    Ok(a2a::SendMessageResponse {
        payload: Some(payload),
    })
}

pub(super) fn encode_response(
    id: Option<&RawId>,
    outcome: Result<&Response, &Problem>,
) -> WireResponse {
    let null = RawId::null();
    let id = id.unwrap_or(&null);
    let (status, body) = match outcome {
        Ok(response) => (StatusCode::OK, answer(id, response)),
        Err(problem) => (jsonrpc::status(problem.fault), error::json_rpc(id, problem)),
    };
    WireResponse {
        status,
        content_type: JSON,
        body,
        trailers: None,
    }
}

fn answer(id: &RawId, response: &Response) -> Bytes {
    match response {
        Response::Sent(sent) => match &sent.payload {
            Some(send_message_response::Payload::Task(task)) => write(id, &Out::<As<Task>>(task)),
            Some(send_message_response::Payload::Message(message)) => {
                write(id, &Out::<As<super::json::Message>>(message))
            }
            None => error::json_rpc(id, &nothing()),
        },
        Response::Task(task) => write(id, &Out::<As<Task>>(task)),
        Response::Tasks(_) => error::json_rpc(id, &no_such(Operation::ListTasks)),
        Response::Config(config) => write(id, &Out::<As<TaskConfig>>(config)),
        Response::Configs(list) => write(id, &Out::<List<As<TaskConfig>>>(&list.configs)),
        Response::Deleted => write(id, &()),
        Response::Card(card) => write(id, &card_of_1_0(card)),
    }
}

fn write<T: Serialize>(id: &RawId, result: &T) -> Bytes {
    match json::try_to_bytes(result) {
        Ok(result) => jsonrpc::envelope(id, &[",\"result\":"], &result),
        Err(problem) => error::json_rpc(id, &problem),
    }
}

pub(super) fn decode_event(data: &[u8]) -> Result<Event, Problem> {
    let payload = Some(result::<Happening>(data)?);
    Ok(a2a::StreamResponse { payload })
}

pub(super) fn encode_event(id: Option<&RawId>, outcome: Result<&Event, &Problem>) -> Bytes {
    let null = RawId::null();
    let id = id.unwrap_or(&null);
    let data = match outcome.map(|event| event.payload.as_ref()) {
        Ok(Some(payload)) => write(id, &Out::<As<Happening>>(payload)),
        Ok(None) => error::json_rpc(id, &nothing()),
        Err(problem) => error::json_rpc(id, problem),
    };
    sse::write(&sse::Event::of_data(&data))
}
