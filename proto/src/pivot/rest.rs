//! The pivot in HTTP+JSON of 1.0.
//!
//! # Invariants
//! - A request is written only where its path would be read back as the same call: no id, whatever is
//!   in it, makes another call of it.

use bytes::Bytes;
use http::{Method, StatusCode};
use prost::Message;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    Event, JSON, Request, Response, Sink, Source, WireRequest, WireResponse, not_understood,
};
use crate::{
    dialect::Version,
    error::{Fault, Problem},
    json::{self, Empty},
    operation::Operation,
    rest, sse,
};

pub(super) fn request(
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
    if (route.version, route.operation) != (Version::V1_0, operation) {
        return Err(Problem::new(
            Fault::MethodNotFound,
            format!("the path is not that of {}", operation.name()),
        ));
    }
    Ok(match operation {
        Operation::SendMessage => Request::SendMessage(route.send(body)?),
        Operation::SendStreamingMessage => Request::SendStreamingMessage(route.send(body)?),
        Operation::GetTask => Request::GetTask(route.get_task()?),
        Operation::ListTasks => Request::ListTasks(route.list_tasks()?),
        Operation::CancelTask => Request::CancelTask(route.cancel_task(body)?),
        Operation::SubscribeToTask => Request::SubscribeToTask(route.subscribe()),
        Operation::CreateTaskPushNotificationConfig => {
            Request::CreateTaskPushNotificationConfig(route.create_config(body)?)
        }
        Operation::GetTaskPushNotificationConfig => {
            Request::GetTaskPushNotificationConfig(route.get_config())
        }
        Operation::ListTaskPushNotificationConfigs => {
            Request::ListTaskPushNotificationConfigs(route.list_configs()?)
        }
        Operation::DeleteTaskPushNotificationConfig => {
            Request::DeleteTaskPushNotificationConfig(route.delete_config())
        }
        Operation::GetExtendedAgentCard => Request::GetExtendedAgentCard(route.extended_card()),
    })
}

pub(super) fn write_request(request: &Request) -> Result<WireRequest, Problem> {
    let operation = request.operation();
    let call = match request {
        Request::SendMessage(request) | Request::SendStreamingMessage(request) => {
            call(operation, request)
        }
        Request::GetTask(request) => call(operation, request),
        Request::ListTasks(request) => call(operation, request),
        Request::CancelTask(request) => call(operation, request),
        Request::SubscribeToTask(request) => call(operation, request),
        Request::CreateTaskPushNotificationConfig(request) => call(operation, request),
        Request::GetTaskPushNotificationConfig(request) => call(operation, request),
        Request::ListTaskPushNotificationConfigs(request) => call(operation, request),
        Request::DeleteTaskPushNotificationConfig(request) => call(operation, request),
        Request::GetExtendedAgentCard(request) => call(operation, request),
    }?;
    Ok(WireRequest {
        method: call.method,
        path: call.path,
        content_type: call.body.is_some().then_some(JSON),
        body: call.body.unwrap_or_default(),
    })
}

fn call<T: rest::Request>(operation: Operation, request: &T) -> Result<rest::Call, Problem> {
    let call = rest::call(operation, request)?;
    let ids = request.ids();
    let path = call
        .path
        .split_once('?')
        .map_or(&*call.path, |split| split.0);
    let some = |id: Option<&str>| id.filter(|id| !id.is_empty()).map(str::to_owned);
    let back = rest::route(&call.method, path, None).ok();
    let same = back.is_some_and(|back| {
        (back.operation, back.version) == (operation, Version::V1_0)
            && back.tenant == some(ids.tenant)
            && back.task_id.as_deref() == ids.task_id
            && back.config_id.as_deref() == ids.config_id
    });
    // Whoever stands between may resolve these two, and then they name another path.
    let dots = [ids.tenant, ids.task_id, ids.config_id]
        .into_iter()
        .flatten()
        .any(|id| matches!(id, "." | ".."));
    if same && !dots {
        return Ok(call);
    }
    Err(Problem::new(
        Fault::InvalidParams,
        "an id or the tenant is empty, or is such that it cannot stand in a path of HTTP+JSON",
    ))
}

/// An answer.
pub(super) struct Answer<'a> {
    pub(super) status: StatusCode,
    pub(super) body: &'a [u8],
}

impl Answer<'_> {
    fn read<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        if !self.status.is_success() {
            return Err(rest::problem(self.status, self.body));
        }
        json::from_slice(self.body).map_err(not_understood)
    }
}

impl Source for Answer<'_> {
    fn message<T: Message + Default + DeserializeOwned>(&self) -> Result<T, Problem> {
        self.read()
    }

    /// A deletion may be answered with nothing at all.
    fn nothing(&self) -> Result<(), Problem> {
        if self.status.is_success() && self.body.trim_ascii().is_empty() {
            return Ok(());
        }
        self.read().map(|Empty {}| ())
    }
}

struct Body;

impl Sink for Body {
    type Out = Result<Bytes, Problem>;

    fn message<T: Message + Serialize>(self, message: &T) -> Self::Out {
        json::try_to_bytes(message)
    }

    fn nothing(self) -> Self::Out {
        json::try_to_bytes(&Empty {})
    }
}

pub(super) fn write_response(outcome: Result<&Response, &Problem>) -> WireResponse {
    let written = match outcome {
        Ok(response) => response.write(Body),
        Err(problem) => Err(problem.clone()),
    };
    let (status, body) = match written {
        Ok(body) => (StatusCode::OK, body),
        Err(problem) => rest::error(&problem),
    };
    WireResponse {
        status,
        content_type: JSON,
        body,
        trailers: None,
    }
}

/// An error in a stream looks like the body of an error, so it is looked for where an event has none of
/// the known payloads.
pub(super) fn event(data: &[u8]) -> Result<Event, Problem> {
    match json::from_slice::<Event>(data) {
        Ok(event) if event.payload.is_some() => Ok(event),
        read => match rest::problem_within(data) {
            Some(problem) => Err(problem),
            None => read.map_err(not_understood),
        },
    }
}

pub(super) fn write_event(outcome: Result<&Event, &Problem>) -> Bytes {
    let written = match outcome {
        Ok(event) => json::try_to_bytes(event),
        Err(problem) => Err(problem.clone()),
    };
    let data = written.unwrap_or_else(|problem| rest::error(&problem).1);
    sse::write(&sse::Event {
        id: None,
        event: None,
        data,
    })
}
