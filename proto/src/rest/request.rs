//! From a request to a method, a path, a query string and a body.

use bytes::Bytes;
use http::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

use crate::{a2a, error::Problem, json, operation::Operation, protojson};

/// All but the characters that no part of a URL needs to escape (RFC 3986, 2.3).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The ids that stand in a path. An empty one is the same as none.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Ids<'a> {
    /// The tenant.
    pub tenant: Option<&'a str>,
    /// The task.
    pub task_id: Option<&'a str>,
    /// The push configuration.
    pub config_id: Option<&'a str>,
}

/// What a client sends.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Call {
    /// The HTTP method.
    pub method: Method,
    /// Below the agent's base, beginning with `/`, query string included.
    pub path: String,
    /// The body, where there is one.
    pub body: Option<Bytes>,
}

/// The method and the path of an operation, below the agent's base. For subscribe the method is POST, as
/// the prose has it: the servers of all SDKs take it, while that of Go reads the GET of the proto as one
/// of a task whose id ends in `:subscribe`.
#[must_use]
pub fn path(operation: Operation, ids: &Ids<'_>) -> (Method, String) {
    let mut path = String::new();
    if let Some(tenant) = ids.tenant.filter(|tenant| !tenant.is_empty()) {
        push(&mut path, tenant);
    }
    let task = |path: &mut String| {
        path.push_str("/tasks");
        push(path, ids.task_id.unwrap_or_default());
    };
    let method = match operation {
        Operation::SendMessage => {
            path.push_str("/message:send");
            Method::POST
        }
        Operation::SendStreamingMessage => {
            path.push_str("/message:stream");
            Method::POST
        }
        Operation::ListTasks => {
            path.push_str("/tasks");
            Method::GET
        }
        Operation::GetExtendedAgentCard => {
            path.push_str("/extendedAgentCard");
            Method::GET
        }
        Operation::GetTask => {
            task(&mut path);
            Method::GET
        }
        Operation::CancelTask => {
            task(&mut path);
            path.push_str(":cancel");
            Method::POST
        }
        Operation::SubscribeToTask => {
            task(&mut path);
            path.push_str(":subscribe");
            Method::POST
        }
        Operation::CreateTaskPushNotificationConfig => {
            task(&mut path);
            path.push_str("/pushNotificationConfigs");
            Method::POST
        }
        Operation::ListTaskPushNotificationConfigs => {
            task(&mut path);
            path.push_str("/pushNotificationConfigs");
            Method::GET
        }
        Operation::GetTaskPushNotificationConfig | Operation::DeleteTaskPushNotificationConfig => {
            task(&mut path);
            path.push_str("/pushNotificationConfigs");
            push(&mut path, ids.config_id.unwrap_or_default());
            if operation == Operation::DeleteTaskPushNotificationConfig {
                Method::DELETE
            } else {
                Method::GET
            }
        }
    };
    (method, path)
}

/// A request that can be sent over HTTP+JSON.
pub trait Request: Serialize {
    /// The ids that stand in its path.
    fn ids(&self) -> Ids<'_>;

    /// The fields that stand in its query string, under their JSON names; empty ones are left out.
    fn query(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }
}

/// Makes the HTTP form of a request.
///
/// # Errors
/// [`crate::Fault::InvalidParams`] when a value has no form in JSON.
pub fn call<T: Request>(operation: Operation, request: &T) -> Result<Call, Problem> {
    let (method, mut path) = path(operation, &request.ids());
    let mut separator = '?';
    for (key, value) in request.query() {
        if !value.is_empty() {
            path.push(separator);
            path.push_str(key);
            path.push('=');
            path.extend(utf8_percent_encode(&value, ESCAPED));
            separator = '&';
        }
    }
    let body = (method == Method::POST).then(|| json::ask_to_bytes(request));
    Ok(Call {
        method,
        path,
        body: body.transpose()?,
    })
}

fn push(path: &mut String, segment: &str) {
    path.push('/');
    path.extend(utf8_percent_encode(segment, ESCAPED));
}

fn number(value: Option<i32>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

impl Request for a2a::SendMessageRequest {
    fn ids(&self) -> Ids<'_> {
        Ids {
            tenant: Some(&self.tenant),
            ..Ids::default()
        }
    }
}

impl Request for a2a::GetTaskRequest {
    fn ids(&self) -> Ids<'_> {
        Ids {
            tenant: Some(&self.tenant),
            task_id: Some(&self.id),
            config_id: None,
        }
    }

    fn query(&self) -> Vec<(&'static str, String)> {
        vec![("historyLength", number(self.history_length))]
    }
}

impl Request for a2a::ListTasksRequest {
    fn ids(&self) -> Ids<'_> {
        Ids {
            tenant: Some(&self.tenant),
            ..Ids::default()
        }
    }

    fn query(&self) -> Vec<(&'static str, String)> {
        let status = match self.status {
            0 => String::new(),
            known => a2a::TaskState::try_from(known).map_or_else(
                |_| known.to_string(),
                |state| state.as_str_name().to_owned(),
            ),
        };
        let after = self.status_timestamp_after.as_ref();
        let artifacts = self.include_artifacts;
        vec![
            ("contextId", self.context_id.clone()),
            ("status", status),
            ("pageSize", number(self.page_size)),
            ("pageToken", self.page_token.clone()),
            ("historyLength", number(self.history_length)),
            (
                "statusTimestampAfter",
                after.and_then(protojson::time::format).unwrap_or_default(),
            ),
            (
                "includeArtifacts",
                artifacts.map_or_else(String::new, |flag| flag.to_string()),
            ),
        ]
    }
}

impl Request for a2a::CancelTaskRequest {
    fn ids(&self) -> Ids<'_> {
        Ids {
            tenant: Some(&self.tenant),
            task_id: Some(&self.id),
            config_id: None,
        }
    }
}

impl Request for a2a::SubscribeToTaskRequest {
    fn ids(&self) -> Ids<'_> {
        Ids {
            tenant: Some(&self.tenant),
            task_id: Some(&self.id),
            config_id: None,
        }
    }
}

impl Request for a2a::TaskPushNotificationConfig {
    fn ids(&self) -> Ids<'_> {
        Ids {
            tenant: Some(&self.tenant),
            task_id: Some(&self.task_id),
            config_id: None,
        }
    }
}

impl Request for a2a::GetTaskPushNotificationConfigRequest {
    fn ids(&self) -> Ids<'_> {
        Ids {
            tenant: Some(&self.tenant),
            task_id: Some(&self.task_id),
            config_id: Some(&self.id),
        }
    }
}

impl Request for a2a::ListTaskPushNotificationConfigsRequest {
    fn ids(&self) -> Ids<'_> {
        Ids {
            tenant: Some(&self.tenant),
            task_id: Some(&self.task_id),
            config_id: None,
        }
    }

    fn query(&self) -> Vec<(&'static str, String)> {
        let size = Some(self.page_size).filter(|size| *size != 0);
        vec![
            ("pageSize", number(size)),
            ("pageToken", self.page_token.clone()),
        ]
    }
}

impl Request for a2a::DeleteTaskPushNotificationConfigRequest {
    fn ids(&self) -> Ids<'_> {
        Ids {
            tenant: Some(&self.tenant),
            task_id: Some(&self.task_id),
            config_id: Some(&self.id),
        }
    }
}

impl Request for a2a::GetExtendedAgentCardRequest {
    fn ids(&self) -> Ids<'_> {
        Ids {
            tenant: Some(&self.tenant),
            ..Ids::default()
        }
    }
}
