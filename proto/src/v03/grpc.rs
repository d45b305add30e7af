//! gRPC of 0.3: package `a2a.v1`, resource names, and errors whose name stands before their message.
//!
//! # Invariants
//! - A failed call has no message, only a status, and no details.

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use prost::Message;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    card::{card_to_1_0, proto_of_1_0},
    error, no_such, not_understood, nothing,
    wire::name,
};
use crate::{
    a2a, a2a_v03 as old,
    dialect::Version,
    error::{Fault, Problem},
    grpc,
    operation::Operation,
    pivot::{self, Event, Request, Response, WireRequest, WireResponse},
};

const GRPC: &str = "application/grpc";

pub(super) fn decode_request(operation: Operation, body: &[u8]) -> Result<Request, Problem> {
    Ok(match operation {
        Operation::SendMessage => {
            Request::SendMessage(read::<old::SendMessageRequest>(body)?.into())
        }
        Operation::SendStreamingMessage => {
            Request::SendStreamingMessage(read::<old::SendMessageRequest>(body)?.into())
        }
        Operation::GetTask => {
            let request = read::<old::GetTaskRequest>(body)?;
            Request::GetTask(a2a::GetTaskRequest {
                id: name::task(&request.name)?,
                history_length: Some(request.history_length).filter(|length| *length != 0),
                ..Default::default()
            })
        }
        Operation::ListTasks => return Err(no_such(operation)),
        Operation::CancelTask => Request::CancelTask(a2a::CancelTaskRequest {
            id: name::task(&read::<old::CancelTaskRequest>(body)?.name)?,
            ..Default::default()
        }),
        Operation::SubscribeToTask => Request::SubscribeToTask(a2a::SubscribeToTaskRequest {
            id: name::task(&read::<old::TaskSubscriptionRequest>(body)?.name)?,
            ..Default::default()
        }),
        Operation::CreateTaskPushNotificationConfig => {
            let request = read::<old::CreateTaskPushNotificationConfigRequest>(body)?;
            Request::CreateTaskPushNotificationConfig(request.try_into()?)
        }
        Operation::GetTaskPushNotificationConfig => {
            let request = read::<old::GetTaskPushNotificationConfigRequest>(body)?;
            let (task_id, id) = name::config(&request.name)?;
            Request::GetTaskPushNotificationConfig(a2a::GetTaskPushNotificationConfigRequest {
                tenant: String::new(),
                task_id,
                id,
            })
        }
        Operation::ListTaskPushNotificationConfigs => {
            let request = read::<old::ListTaskPushNotificationConfigRequest>(body)?;
            Request::ListTaskPushNotificationConfigs(a2a::ListTaskPushNotificationConfigsRequest {
                tenant: String::new(),
                task_id: name::task(&request.parent)?,
                page_size: request.page_size,
                page_token: request.page_token,
            })
        }
        Operation::DeleteTaskPushNotificationConfig => {
            let request = read::<old::DeleteTaskPushNotificationConfigRequest>(body)?;
            let (task_id, id) = name::config(&request.name)?;
            Request::DeleteTaskPushNotificationConfig(
                a2a::DeleteTaskPushNotificationConfigRequest {
                    tenant: String::new(),
                    task_id,
                    id,
                },
            )
        }
        Operation::GetExtendedAgentCard => {
            Request::GetExtendedAgentCard(a2a::GetExtendedAgentCardRequest::default())
        }
    })
}

fn read<T: Message + Default>(body: &[u8]) -> Result<T, Problem> {
    T::decode(body).map_err(|error| Problem::new(Fault::Parse, error.to_string()))
}

pub(super) fn encode_request(request: &Request) -> Result<WireRequest, Problem> {
    let operation = request.operation();
    let body = match request {
        Request::SendMessage(request) | Request::SendStreamingMessage(request) => {
            grpc::frame(&old::SendMessageRequest::from(request))
        }
        Request::GetTask(request) => grpc::frame(&old::GetTaskRequest {
            name: name::of_task(&request.id),
            history_length: request.history_length.unwrap_or_default(),
        }),
        Request::ListTasks(_) => return Err(no_such(operation)),
        Request::CancelTask(request) => grpc::frame(&old::CancelTaskRequest {
            name: name::of_task(&request.id),
        }),
        Request::SubscribeToTask(request) => grpc::frame(&old::TaskSubscriptionRequest {
            name: name::of_task(&request.id),
        }),
        Request::CreateTaskPushNotificationConfig(config) => {
            grpc::frame(&old::CreateTaskPushNotificationConfigRequest::from(config))
        }
        Request::GetTaskPushNotificationConfig(request) => {
            grpc::frame(&old::GetTaskPushNotificationConfigRequest {
                name: name::of_config(&request.task_id, &request.id),
            })
        }
        Request::ListTaskPushNotificationConfigs(request) => {
            grpc::frame(&old::ListTaskPushNotificationConfigRequest {
                parent: name::of_task(&request.task_id),
                page_size: request.page_size,
                page_token: request.page_token.clone(),
            })
        }
        Request::DeleteTaskPushNotificationConfig(request) => {
            grpc::frame(&old::DeleteTaskPushNotificationConfigRequest {
                name: name::of_config(&request.task_id, &request.id),
            })
        }
        Request::GetExtendedAgentCard(_) => grpc::frame(&old::GetAgentCardRequest {}),
    };
    let path = grpc::path_of(operation, Version::V0_3).ok_or_else(|| no_such(operation))?;
    Ok(WireRequest {
        method: Method::POST,
        path: path.to_owned(),
        content_type: Some(GRPC),
        body,
    })
}

pub(super) fn decode_response(
    operation: Operation,
    status: StatusCode,
    headers: &HeaderMap,
    trailers: Option<&HeaderMap>,
    body: &[u8],
) -> Result<Response, Problem> {
    pivot::check_grpc(status, headers, trailers).map_err(error::of_grpc)?;
    answer(operation, body).map_err(not_understood)
}

fn answer(operation: Operation, body: &[u8]) -> Result<Response, Problem> {
    Ok(match operation {
        Operation::SendMessage | Operation::SendStreamingMessage | Operation::SubscribeToTask => {
            let sent: a2a::SendMessageResponse = read::<old::SendMessageResponse>(body)?.into();
            if sent.payload.is_none() {
                return Err(nothing());
            }
            Response::Sent(sent)
        }
        Operation::GetTask | Operation::CancelTask => {
            Response::Task(read::<old::Task>(body)?.into())
        }
        Operation::ListTasks => return Err(no_such(operation)),
        Operation::CreateTaskPushNotificationConfig | Operation::GetTaskPushNotificationConfig => {
            Response::Config(read::<old::TaskPushNotificationConfig>(body)?.into())
        }
        Operation::ListTaskPushNotificationConfigs => {
            Response::Configs(read::<old::ListTaskPushNotificationConfigResponse>(body)?.into())
        }
        Operation::DeleteTaskPushNotificationConfig => Response::Deleted,
        Operation::GetExtendedAgentCard => {
            let card = read::<old::AgentCard>(body)?;
            let Ok(Value::Object(mut fields)) = serde_json::to_value(card) else {
                return Err(Problem::new(Fault::Parse, "the card has no form in JSON"));
            };
            say_no(&mut fields);
            Response::Card(Box::new(card_to_1_0(&fields)))
        }
    })
}

/// What a card of `a2a.v1` does not say is "no": its flags can't be unset, those of 1.0 can.
fn say_no(card: &mut Map<String, Value>) {
    let no = || Value::Bool(false);
    card.entry("supportsAuthenticatedExtendedCard")
        .or_insert_with(no);
    if let Some(Value::Object(capabilities)) = card.get_mut("capabilities") {
        capabilities.entry("streaming").or_insert_with(no);
        capabilities.entry("pushNotifications").or_insert_with(no);
    }
}

pub(super) fn encode_response(outcome: Result<&Response, &Problem>) -> WireResponse {
    let written = outcome.map_err(Clone::clone).and_then(written);
    let (body, trailers) = match written {
        Ok(body) => (body, grpc::success()),
        Err(problem) => (Bytes::new(), error::trailers(&problem)),
    };
    WireResponse {
        status: StatusCode::OK,
        content_type: GRPC,
        body,
        trailers: Some(trailers),
    }
}

fn written(response: &Response) -> Result<Bytes, Problem> {
    Ok(match response {
        Response::Sent(sent) => grpc::frame(&old::SendMessageResponse::from(sent)),
        Response::Task(task) => grpc::frame(&old::Task::from(task)),
        Response::Tasks(_) => return Err(no_such(Operation::ListTasks)),
        Response::Config(config) => grpc::frame(&old::TaskPushNotificationConfig::from(config)),
        Response::Configs(configs) => {
            grpc::frame(&old::ListTaskPushNotificationConfigResponse::from(configs))
        }
        Response::Deleted => grpc::frame(&()),
        Response::Card(card) => {
            let fields = Value::Object(proto_of_1_0(card));
            let card = old::AgentCard::deserialize(fields).map_err(|error| {
                Problem::new(Fault::InvalidAgentResponse, format!("the card: {error}"))
            })?;
            grpc::frame(&card)
        }
    })
}

pub(super) fn decode_event(data: &[u8]) -> Result<Event, Problem> {
    let event = read::<old::StreamResponse>(data).map_err(not_understood)?;
    Ok(event.into())
}

/// A problem is no frame but the end of the stream: [`super::trailers`] writes it.
pub(super) fn encode_event(outcome: Result<&Event, &Problem>) -> Bytes {
    outcome
        .map(|event| grpc::frame(&old::StreamResponse::from(event)))
        .unwrap_or_default()
}
