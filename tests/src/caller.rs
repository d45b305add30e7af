//! A client of A2A by hand: one binding, every operation that the tests need.
//!
//! # Invariants
//! - Written from the specification, not over `mesh-client`: it is the second opinion on it.
//! - What the agent refuses is a [`Refusal`], what breaks the protocol is an error.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, bail};
use http::Method;
use mesh_proto::{Binding, Fault, Operation, a2a};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    eventually::within,
    wire::{self, Ask, Reply},
};

pub mod events;
pub mod refusal;
pub mod words;

pub use events::{Event, Events};
pub use refusal::Refusal;

/// What an agent says to a call: an answer, or no.
pub type Said<T> = std::result::Result<T, Refusal>;

/// One agent at one address in one binding.
#[derive(Clone, Debug)]
pub struct Caller {
    to: SocketAddr,
    agent: String,
    binding: Binding,
    headers: Vec<(String, String)>,
}

impl Caller {
    /// Calls `agent` behind the router, or on the worker, at `to`.
    #[must_use]
    pub fn new(to: SocketAddr, agent: &str, binding: Binding) -> Self {
        Self {
            to,
            agent: agent.to_owned(),
            binding,
            headers: Vec::new(),
        }
    }

    /// Calls the agent at the root of `to`, by no name.
    #[must_use]
    pub fn at_root(to: SocketAddr, binding: Binding) -> Self {
        Self::new(to, "", binding)
    }

    /// The path below which the agent is.
    fn base(&self) -> String {
        if self.agent.is_empty() {
            String::new()
        } else {
            format!("/{}", self.agent)
        }
    }

    /// With one more header on each call.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The binding that it speaks.
    #[must_use]
    pub const fn binding(&self) -> Binding {
        self.binding
    }

    /// Sends and waits for the task.
    ///
    /// # Errors
    /// When the answer is not A2A, or not a task.
    pub async fn send(&self, request: a2a::SendMessageRequest) -> Result<Said<a2a::Task>> {
        let said = self
            .call::<_, a2a::SendMessageResponse>(Operation::SendMessage, &request, String::new())
            .await?;
        match said {
            Err(refusal) => Ok(Err(refusal)),
            Ok(a2a::SendMessageResponse {
                payload: Some(a2a::send_message_response::Payload::Task(task)),
            }) => Ok(Ok(task)),
            Ok(other) => bail!("not a task: {other:?}"),
        }
    }

    /// Sends and follows the task's events.
    ///
    /// # Errors
    /// When the answer is not A2A.
    pub async fn stream(&self, request: a2a::SendMessageRequest) -> Result<Said<Events>> {
        self.events(Operation::SendStreamingMessage, &request, String::new())
            .await
    }

    /// Reads a task.
    ///
    /// # Errors
    /// When the answer is not A2A.
    pub async fn get(&self, id: &str) -> Result<Said<a2a::Task>> {
        let request = a2a::GetTaskRequest {
            id: id.to_owned(),
            ..Default::default()
        };
        self.call(Operation::GetTask, &request, format!("/tasks/{id}"))
            .await
    }

    /// Asks for a task's end.
    ///
    /// # Errors
    /// When the answer is not A2A.
    pub async fn cancel(&self, id: &str) -> Result<Said<a2a::Task>> {
        let request = a2a::CancelTaskRequest {
            id: id.to_owned(),
            ..Default::default()
        };
        self.call(
            Operation::CancelTask,
            &request,
            format!("/tasks/{id}:cancel"),
        )
        .await
    }

    /// Follows a task that runs.
    ///
    /// # Errors
    /// When the answer is not A2A.
    pub async fn subscribe(&self, id: &str) -> Result<Said<Events>> {
        let request = a2a::SubscribeToTaskRequest {
            id: id.to_owned(),
            ..Default::default()
        };
        self.events(
            Operation::SubscribeToTask,
            &request,
            format!("/tasks/{id}:subscribe"),
        )
        .await
    }

    /// Reads one page of tasks.
    ///
    /// # Errors
    /// When the answer is not A2A.
    pub async fn list(
        &self,
        context: Option<&str>,
        token: &str,
    ) -> Result<Said<a2a::ListTasksResponse>> {
        let request = a2a::ListTasksRequest {
            context_id: context.unwrap_or_default().to_owned(),
            page_size: Some(100),
            page_token: token.to_owned(),
            ..Default::default()
        };
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("pageSize", "100");
        if let Some(context) = context {
            query.append_pair("contextId", context);
        }
        if !token.is_empty() {
            query.append_pair("pageToken", token);
        }
        self.call(
            Operation::ListTasks,
            &request,
            format!("/tasks?{}", query.finish()),
        )
        .await
    }

    /// Reads all tasks, page by page.
    ///
    /// # Errors
    /// When an answer is not A2A or a refusal, or the pages do not end.
    pub async fn list_all(&self) -> Result<Vec<a2a::Task>> {
        let mut tasks = Vec::new();
        let mut token = String::new();
        for _ in 0..1_000 {
            let page = self.list(None, &token).await??;
            tasks.extend(page.tasks);
            if page.next_page_token.is_empty() {
                return Ok(tasks);
            }
            token = page.next_page_token;
        }
        bail!("a thousand pages and no end")
    }

    /// The agent's card.
    ///
    /// # Errors
    /// When there is none.
    pub async fn card(&self) -> Result<Value> {
        let path = format!("{}/.well-known/agent-card.json", self.base());
        let reply = wire::exchange(self.to, &Ask::get(&path)).await?;
        reply.json()
    }

    /// The raw request of an operation in this binding; `rest` is its REST path.
    ///
    /// # Errors
    /// When the request does not encode.
    pub fn ask<T>(&self, operation: Operation, request: &T, rest: &str) -> Result<Ask>
    where
        T: Serialize + prost::Message,
    {
        let mut ask = match self.binding {
            Binding::JsonRpc => {
                let body = json!({
                    "jsonrpc": "2.0",
                    "id": 1,
                    "method": operation.name(),
                    "params": request,
                });
                let path = format!("/{}", self.agent);
                Ask::post(&path, "application/json", serde_json::to_vec(&body)?)
                    .header("a2a-version", "1.0")
            }
            Binding::Rest => self
                .rest(operation, request, rest)?
                .header("a2a-version", "1.0"),
            Binding::Grpc => {
                let path = format!("/lf.a2a.v1.A2AService/{}", operation.name());
                Ask::post(&path, "application/grpc", wire::frame(request))
                    .header("te", "trailers")
                    .header("a2a-version", "1.0")
                    .http2()
            }
        };
        if self.binding == Binding::Grpc && !self.agent.is_empty() {
            ask = ask.header("a2a-agent", &self.agent);
        }
        ask.headers.extend(self.headers.iter().cloned());
        Ok(ask)
    }

    fn rest<T: Serialize>(&self, operation: Operation, request: &T, rest: &str) -> Result<Ask> {
        let path = format!("{}{rest}", self.base());
        Ok(match operation {
            Operation::SendMessage | Operation::SendStreamingMessage => {
                let verb = if operation.streams() {
                    "stream"
                } else {
                    "send"
                };
                Ask::post(
                    &format!("{}/message:{verb}", self.base()),
                    "application/json",
                    serde_json::to_vec(request)?,
                )
            }
            Operation::CancelTask => Ask::post(&path, "application/json", "{}"),
            Operation::CreateTaskPushNotificationConfig => {
                Ask::post(&path, "application/json", serde_json::to_vec(request)?)
            }
            Operation::DeleteTaskPushNotificationConfig => Ask::get(&path).method(Method::DELETE),
            Operation::GetTask
            | Operation::ListTasks
            | Operation::SubscribeToTask
            | Operation::GetTaskPushNotificationConfig
            | Operation::ListTaskPushNotificationConfigs
            | Operation::GetExtendedAgentCard => Ask::get(&path),
        })
    }

    /// Any unary operation; `rest` is its REST path.
    ///
    /// # Errors
    /// When the answer is not A2A.
    pub async fn call<T, R>(
        &self,
        operation: Operation,
        request: &T,
        rest: String,
    ) -> Result<Said<R>>
    where
        T: Serialize + prost::Message,
        R: DeserializeOwned + prost::Message + Default,
    {
        let ask = self.ask(operation, request, &rest)?;
        let reply = wire::exchange(self.to, &ask).await?;
        self.said(&reply)
    }

    /// What a whole answer says.
    ///
    /// # Errors
    /// When it is not A2A.
    pub fn said<R>(&self, reply: &Reply) -> Result<Said<R>>
    where
        R: DeserializeOwned + prost::Message + Default,
    {
        if let Some(refusal) = Refusal::of(self.binding, reply)? {
            return Ok(Err(refusal));
        }
        let answer = match self.binding {
            Binding::JsonRpc => {
                let result = reply.json()?.get_mut("result").map(Value::take);
                serde_json::from_value(result.context("neither result nor error")?)?
            }
            Binding::Rest => serde_json::from_slice(&reply.body)?,
            Binding::Grpc => {
                let mut body = reply.body.as_ref().into();
                let [message] = wire::unframe(&mut body).try_into().map_err(|all: Vec<_>| {
                    anyhow::anyhow!("{} messages in a unary answer", all.len())
                })?;
                R::decode(message)?
            }
        };
        Ok(Ok(answer))
    }

    async fn events<T>(
        &self,
        operation: Operation,
        request: &T,
        rest: String,
    ) -> Result<Said<Events>>
    where
        T: Serialize + prost::Message,
    {
        let ask = self.ask(operation, request, &rest)?;
        let answer = within(operation.name(), wire::open(self.to, &ask)).await?;
        Events::open(self.binding, answer).await
    }
}

impl From<Refusal> for anyhow::Error {
    fn from(refusal: Refusal) -> Self {
        Self::msg(format!("{refusal:?}"))
    }
}

/// The three bindings, for tests that hold in each.
pub const BINDINGS: [Binding; 3] = [Binding::JsonRpc, Binding::Rest, Binding::Grpc];

/// What the table says of a fault in a binding: JSON-RPC code, HTTP status or gRPC status.
#[must_use]
pub const fn number(fault: Fault, binding: Binding) -> i32 {
    let row = fault.row();
    match binding {
        Binding::JsonRpc => row.code,
        Binding::Rest => row.http as i32,
        Binding::Grpc => row.grpc.number(),
    }
}
