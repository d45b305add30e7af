//! From a path to an operation, and from a path, a query string and a body to a request.

use std::ops::Range;

use http::Method;
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{
    a2a,
    dialect::Version,
    error::{Fault, Problem},
    json,
    operation::Operation,
};

/// What a method, a path and a query string say.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Route {
    /// What is asked for.
    pub operation: Operation,
    /// 0.3 where the path begins with `/v1`, else 1.0.
    pub version: Version,
    /// The tenant, from the path or else from the query string.
    pub tenant: Option<String>,
    /// The task that the path names.
    pub task_id: Option<String>,
    /// The push configuration that the path names.
    pub config_id: Option<String>,
    /// The conversation that the query string names; only lists have one.
    pub context_id: Option<String>,
    query: Map<String, Value>,
}

/// Reads the request line. The path is the one below the agent's base.
///
/// # Errors
/// [`Fault::MethodNotFound`] for a path that the binding does not have, [`Fault::InvalidParams`] for one
/// that is not UTF-8 after decoding.
pub fn route(method: &Method, path: &str, query: Option<&str>) -> Result<Route, Problem> {
    let bare = path.strip_prefix('/').unwrap_or(path);
    let segments: Vec<String> = bare
        .strip_suffix('/')
        .unwrap_or(bare)
        .split('/')
        .map(decode)
        .collect::<Result<_, _>>()?;
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let found = match segments.as_slice() {
        ["v1", rest @ ..] => find_0_3(method, rest).map(|found| (Version::V0_3, None, found)),
        all => find(method, all)
            .map(|found| (Version::V1_0, None, found))
            .or_else(|| {
                let (tenant, rest) = all.split_first()?;
                let tenant = Some(*tenant).filter(|tenant| !tenant.is_empty())?;
                find(method, rest).map(|found| (Version::V1_0, Some(tenant), found))
            }),
    };
    let Some((version, tenant, (operation, task_id, config_id))) = found else {
        let shown: String = path.chars().take(128).collect();
        return Err(Problem::new(
            Fault::MethodNotFound,
            format!("nothing answers {method} {shown}"),
        ));
    };
    let query = read_query(query.unwrap_or_default())?;
    let from_query = |camel: &str, snake: &str| {
        let value = query.get(camel).or_else(|| query.get(snake))?;
        Some(value.as_str()?.to_owned())
    };
    let context_id = match operation {
        Operation::ListTasks => from_query("contextId", "context_id"),
        _ => None,
    };
    Ok(Route {
        operation,
        version,
        tenant: tenant
            .map(str::to_owned)
            .or_else(|| from_query("tenant", "tenant")),
        task_id: task_id.map(str::to_owned),
        config_id: config_id.map(str::to_owned),
        context_id,
        query,
    })
}

/// Where the task's id stands in a path, as it came and with its escapes; `None` where there is none.
/// It reads a path as [`route`] does.
#[must_use]
pub fn task_span(method: &Method, path: &str) -> Option<Range<usize>> {
    let bare = path.strip_prefix('/').unwrap_or(path);
    let bare = bare.strip_suffix('/').unwrap_or(bare);
    let segments: Vec<String> = bare.split('/').map(decode).collect::<Result<_, _>>().ok()?;
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let (index, (operation, task, _)) = match segments.as_slice() {
        ["v1", rest @ ..] => (2, find_0_3(method, rest)?),
        all => match find(method, all) {
            Some(found) => (1, found),
            None => (2, find(method, all.get(1..)?)?),
        },
    };
    task?;
    let leading = usize::from(path.starts_with('/'));
    let before = bare.split('/').take(index);
    let start = leading + before.map(|segment| segment.len() + 1).sum::<usize>();
    let segment = bare.split('/').nth(index)?;
    let verb = match operation {
        // The last colon, however it is written, parts the verb.
        Operation::CancelTask | Operation::SubscribeToTask => [":", "%3A", "%3a"]
            .into_iter()
            .filter_map(|colon| segment.rfind(colon))
            .max()?,
        _ => segment.len(),
    };
    Some(start..start + verb)
}

type Found<'a> = (Operation, Option<&'a str>, Option<&'a str>);

fn find<'a>(method: &Method, segments: &[&'a str]) -> Option<Found<'a>> {
    if segments.iter().any(|segment| segment.is_empty()) {
        return None;
    }
    let (get, post) = (method == Method::GET, method == Method::POST);
    match *segments {
        ["message:send"] if post => Some((Operation::SendMessage, None, None)),
        ["message:stream"] if post => Some((Operation::SendStreamingMessage, None, None)),
        ["extendedAgentCard"] if get => Some((Operation::GetExtendedAgentCard, None, None)),
        ["tasks"] if get => Some((Operation::ListTasks, None, None)),
        ["tasks", last] => find_task(method, last),
        ["tasks", task, "pushNotificationConfigs"] => {
            let operation = match *method {
                Method::GET => Operation::ListTaskPushNotificationConfigs,
                Method::POST => Operation::CreateTaskPushNotificationConfig,
                _ => return None,
            };
            Some((operation, Some(task), None))
        }
        ["tasks", task, "pushNotificationConfigs", config] => {
            let operation = match *method {
                Method::GET => Operation::GetTaskPushNotificationConfig,
                Method::DELETE => Operation::DeleteTaskPushNotificationConfig,
                _ => return None,
            };
            Some((operation, Some(task), Some(config)))
        }
        _ => None,
    }
}

/// `/tasks/{id}`, or a verb after the id. An id may hold `:`, so only the two verbs are cut. The proto
/// has GET for subscribe and the prose POST; both are about, so both are served.
fn find_task<'a>(method: &Method, last: &'a str) -> Option<Found<'a>> {
    let id = |text: &'a str| (!text.is_empty()).then_some(text);
    if let Some(task) = last.strip_suffix(":cancel").and_then(id) {
        return (method == Method::POST).then_some((Operation::CancelTask, Some(task), None));
    }
    if let Some(task) = last.strip_suffix(":subscribe").and_then(id) {
        let fits = method == Method::GET || method == Method::POST;
        return fits.then_some((Operation::SubscribeToTask, Some(task), None));
    }
    (method == Method::GET).then_some((Operation::GetTask, Some(last), None))
}

/// The paths of 0.3 below `/v1` are those of 1.0, but for the card; there are no lists and no tenants.
fn find_0_3<'a>(method: &Method, segments: &[&'a str]) -> Option<Found<'a>> {
    match *segments {
        ["card"] if method == Method::GET => Some((Operation::GetExtendedAgentCard, None, None)),
        ["extendedAgentCard"] => None,
        _ => find(method, segments),
    }
}

fn decode(text: &str) -> Result<String, Problem> {
    match percent_decode_str(text).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(Problem::new(Fault::InvalidParams, "the URL is not UTF-8")),
    }
}

/// Makes of a query string the JSON that it stands for. Everything is text there; ProtoJSON reads
/// numbers, names and times from text, and the rest is set right here.
fn read_query(query: &str) -> Result<Map<String, Value>, Problem> {
    let mut fields = Map::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (key, value) = (
            decode(&key.replace('+', " "))?,
            decode(&value.replace('+', " "))?,
        );
        if value.is_empty() {
            continue;
        }
        let value = match (key.as_str(), value.as_str()) {
            ("includeArtifacts" | "include_artifacts", "true" | "True" | "1") => Value::Bool(true),
            ("includeArtifacts" | "include_artifacts", "false" | "False" | "0") => {
                Value::Bool(false)
            }
            ("status", number) => match number.parse::<i32>() {
                Ok(number) => Value::from(number),
                Err(_) => Value::String(value),
            },
            _ => Value::String(value),
        };
        fields.insert(key, value);
    }
    Ok(fields)
}

impl Route {
    /// The request of `GetTask`.
    ///
    /// # Errors
    /// [`Fault::InvalidParams`] for a query string that does not fit.
    pub fn get_task(&self) -> Result<a2a::GetTaskRequest, Problem> {
        let request: a2a::GetTaskRequest = self.read_fields()?;
        Ok(a2a::GetTaskRequest {
            tenant: self.tenant(),
            id: self.task(),
            ..request
        })
    }

    /// The request of `ListTasks`.
    ///
    /// # Errors
    /// [`Fault::InvalidParams`] for a query string that does not fit.
    pub fn list_tasks(&self) -> Result<a2a::ListTasksRequest, Problem> {
        let request: a2a::ListTasksRequest = self.read_fields()?;
        Ok(a2a::ListTasksRequest {
            tenant: self.tenant(),
            ..request
        })
    }

    /// The request of `SendMessage` and `SendStreamingMessage`.
    ///
    /// # Errors
    /// [`Fault::Parse`] and [`Fault::InvalidParams`], for the body.
    pub fn send(&self, body: &[u8]) -> Result<a2a::SendMessageRequest, Problem> {
        let mut request: a2a::SendMessageRequest = from_body(body)?;
        self.overrule(&mut request.tenant);
        Ok(request)
    }

    /// The request of `CancelTask`; the body may be empty.
    ///
    /// # Errors
    /// [`Fault::Parse`] and [`Fault::InvalidParams`], for the body.
    pub fn cancel_task(&self, body: &[u8]) -> Result<a2a::CancelTaskRequest, Problem> {
        let mut request: a2a::CancelTaskRequest = from_body(body)?;
        self.overrule(&mut request.tenant);
        request.id = self.task();
        Ok(request)
    }

    /// The request of `SubscribeToTask`.
    #[must_use]
    pub fn subscribe(&self) -> a2a::SubscribeToTaskRequest {
        a2a::SubscribeToTaskRequest {
            tenant: self.tenant(),
            id: self.task(),
        }
    }

    /// The request of `CreateTaskPushNotificationConfig`.
    ///
    /// # Errors
    /// [`Fault::Parse`] and [`Fault::InvalidParams`], for the body.
    pub fn create_config(&self, body: &[u8]) -> Result<a2a::TaskPushNotificationConfig, Problem> {
        let mut request: a2a::TaskPushNotificationConfig = from_body(body)?;
        self.overrule(&mut request.tenant);
        request.task_id = self.task();
        Ok(request)
    }

    /// The request of `GetTaskPushNotificationConfig`.
    #[must_use]
    pub fn get_config(&self) -> a2a::GetTaskPushNotificationConfigRequest {
        a2a::GetTaskPushNotificationConfigRequest {
            tenant: self.tenant(),
            task_id: self.task(),
            id: self.config_id.clone().unwrap_or_default(),
        }
    }

    /// The request of `ListTaskPushNotificationConfigs`.
    ///
    /// # Errors
    /// [`Fault::InvalidParams`] for a query string that does not fit.
    pub fn list_configs(&self) -> Result<a2a::ListTaskPushNotificationConfigsRequest, Problem> {
        let request: a2a::ListTaskPushNotificationConfigsRequest = self.read_fields()?;
        Ok(a2a::ListTaskPushNotificationConfigsRequest {
            tenant: self.tenant(),
            task_id: self.task(),
            ..request
        })
    }

    /// The request of `DeleteTaskPushNotificationConfig`.
    #[must_use]
    pub fn delete_config(&self) -> a2a::DeleteTaskPushNotificationConfigRequest {
        a2a::DeleteTaskPushNotificationConfigRequest {
            tenant: self.tenant(),
            task_id: self.task(),
            id: self.config_id.clone().unwrap_or_default(),
        }
    }

    /// The request of `GetExtendedAgentCard`.
    #[must_use]
    pub fn extended_card(&self) -> a2a::GetExtendedAgentCardRequest {
        a2a::GetExtendedAgentCardRequest {
            tenant: self.tenant(),
        }
    }

    fn tenant(&self) -> String {
        self.tenant.clone().unwrap_or_default()
    }

    fn task(&self) -> String {
        self.task_id.clone().unwrap_or_default()
    }

    /// The path's tenant counts before the body's.
    fn overrule(&self, tenant: &mut String) {
        if let Some(of_path) = &self.tenant {
            tenant.clone_from(of_path);
        }
    }

    fn read_fields<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        T::deserialize(Value::Object(self.query.clone())).map_err(|error| {
            Problem::new(Fault::InvalidParams, format!("the query string: {error}"))
        })
    }
}

/// An empty body says nothing, and so does `null`, which the Go SDK sends where it has nothing to
/// say.
fn from_body<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    if matches!(body.trim_ascii(), b"" | b"null") {
        return json::from_slice(b"{}");
    }
    json::from_slice(body)
}
