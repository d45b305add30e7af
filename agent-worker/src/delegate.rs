//! Another agent as a tool: `ask_NAME` sends a message to that agent through the router.
//!
//! # Invariants
//! - The call goes through the router, so that it is placed, counted and limited as any other.
//! - It carries the trace, the caller's credentials and the count of routers passed; a chain that has
//!   passed too many ends here as a failure that no model can talk itself out of.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, header::AUTHORIZATION};
use mesh_client::{Call, Client, Error, Options};
use mesh_proto::{
    AgentName,
    a2a::{
        GetTaskRequest, Message, Part, Role, SendMessageRequest, Task, TaskState, part::Content,
        send_message_response::Payload,
    },
    mesh::{HOP_LIMIT, HOP_LIMIT_KEY, HOPS, TIMEOUT, TRACEPARENT},
};
use mesh_runtime::telemetry::Traceparent;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;

use crate::session::{CallContext, Ending, ToolKind, ToolOutput, ToolSpec};

/// An agent that may be asked, as the file has it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Its name at the router.
    pub agent: AgentName,
    /// What to ask it for: a model chooses by this.
    pub description: String,
}

/// An agent that can be asked.
#[derive(Debug)]
pub struct Delegate {
    config: Config,
    tool: String,
    /// Its address at the router; `None` when the worker knows no router.
    url: Option<String>,
    /// Made when it is first needed: its card tells the binding.
    client: Mutex<Option<Client>>,
}

impl Delegate {
    /// Describes an agent at a router, whose base URL is given.
    #[must_use]
    pub fn new(config: Config, router: Option<&str>) -> Self {
        let url = router.map(|base| format!("{}/{}", base.trim_end_matches('/'), config.agent));
        Self {
            tool: format!("ask_{}", config.agent),
            config,
            url,
            client: Mutex::new(None),
        }
    }

    /// The tool's name.
    #[must_use]
    pub fn tool(&self) -> &str {
        &self.tool
    }

    /// The agent as a model sees it.
    #[must_use]
    pub fn spec(&self) -> ToolSpec {
        let schema = json!({
            "type": "object",
            "properties": {
                "message": {
                    "type": "string",
                    "description": "What to ask, in plain language and whole: it knows nothing else",
                },
                "taskId": {
                    "type": "string",
                    "description": "Only to answer its question: the task that it named",
                },
                "contextId": {
                    "type": "string",
                    "description": "Only to answer its question: the context that it named",
                },
            },
            "required": ["message"],
        });
        let Value::Object(input) = schema else {
            unreachable!("the literal above is an object")
        };
        ToolSpec {
            name: self.tool.clone(),
            description: self.config.description.clone(),
            input,
            kind: ToolKind::Agent,
        }
    }

    /// Asks the agent and waits for its task.
    ///
    /// # Cancel safety
    /// Dropping the future drops the connection; the agent's task goes on without a listener.
    pub async fn call(&self, arguments: &Map<String, Value>, context: &CallContext) -> ToolOutput {
        let text = |name: &str| {
            arguments
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        if text("message").is_empty() {
            return ToolOutput::failed(format!("{} needs a message", self.tool));
        }
        if context.hops >= HOP_LIMIT {
            return self.loops();
        }
        let message = Message {
            message_id: message_id(&context.key),
            context_id: text("contextId").to_owned(),
            task_id: text("taskId").to_owned(),
            role: Role::User.into(),
            parts: vec![Part {
                content: Some(Content::Text(text("message").to_owned())),
                ..Part::default()
            }],
            ..Message::default()
        };
        let (within, work) = (context.within(ANSWER), Box::pin(self.ask(message, context)));
        match tokio::time::timeout(within, work).await {
            Ok(Ok(output)) => output,
            Ok(Err(error)) => self.refused(&error),
            Err(_) => ToolOutput::failed(format!(
                "{} gave no answer within {} s",
                self.config.agent,
                within.as_secs()
            )),
        }
    }

    async fn ask(&self, message: Message, context: &CallContext) -> Result<ToolOutput, Error> {
        let Some(url) = &self.url else {
            let agent = &self.config.agent;
            return Ok(ToolOutput::failed(format!(
                "{agent} can't be asked: this worker knows no router"
            )));
        };
        let client = self.client(url).await?;
        let call = Call::with_headers(headers(context));
        let ask = SendMessageRequest {
            message: Some(message),
            ..SendMessageRequest::default()
        };
        let mut task = match client.send(ask, &call).await?.payload {
            Some(Payload::Task(task)) => task,
            Some(Payload::Message(message)) => return Ok(ToolOutput::text(words(&message.parts))),
            None => return Ok(ToolOutput::failed("the answer was empty".to_owned())),
        };
        // A blocking send answers with a task at rest; an agent that answers early is asked again.
        let mut pause = POLL;
        loop {
            if let Some(output) = self.output(&task) {
                return Ok(output);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(POLL_MOST);
            let ask = GetTaskRequest {
                id: task.id.clone(),
                ..GetTaskRequest::default()
            };
            task = client.get_task(ask, &call).await?;
        }
    }

    async fn client(&self, url: &str) -> Result<Client, Error> {
        let mut held = self.client.lock().await;
        if let Some(client) = &*held {
            return Ok(client.clone());
        }
        let client = Box::pin(Client::from_url(url, Options::default())).await?;
        *held = Some(client.clone());
        Ok(client)
    }

    /// What a task at rest brings; `None` while it runs.
    fn output(&self, task: &Task) -> Option<ToolOutput> {
        let status = task.status.as_ref();
        let said = status.and_then(|status| status.message.as_ref());
        let said = said
            .map(|message| words(&message.parts))
            .unwrap_or_default();
        let state = status.and_then(|status| TaskState::try_from(status.state).ok());
        match state.unwrap_or_default() {
            TaskState::Completed => {
                let artifacts: Vec<_> = task.artifacts.iter().map(|a| words(&a.parts)).collect();
                let text = artifacts.join("\n");
                Some(ToolOutput::text(if text.is_empty() { said } else { text }))
            }
            TaskState::InputRequired => Some(ToolOutput {
                text: said,
                structured: None,
                ending: Ending::Waiting {
                    task: task.id.clone(),
                    context: task.context_id.clone(),
                },
            }),
            TaskState::AuthRequired => {
                let agent = &self.config.agent;
                Some(ToolOutput::failed(format!(
                    "{agent} wants other credentials: {said}"
                )))
            }
            TaskState::Failed | TaskState::Rejected | TaskState::Canceled => {
                Some(self.failed(&said))
            }
            TaskState::Unspecified | TaskState::Submitted | TaskState::Working => None,
        }
    }

    fn failed(&self, reason: &str) -> ToolOutput {
        // A loop is told upwards as it is, not wrapped once more by every agent in it.
        let is_loop = reason.starts_with(LOOP);
        let ending = if is_loop {
            Ending::Fatal
        } else {
            Ending::Failed
        };
        let text = match reason {
            reason if is_loop => reason.to_owned(),
            "" => format!("{} gave up without a reason", self.config.agent),
            reason => format!("{}: {reason}", self.config.agent),
        };
        ToolOutput {
            text,
            structured: None,
            ending,
        }
    }

    fn refused(&self, error: &Error) -> ToolOutput {
        match error {
            Error::Problem(problem) if problem.metadata.contains_key(HOP_LIMIT_KEY) => self.loops(),
            error => {
                let agent = &self.config.agent;
                let cause = std::error::Error::source(error);
                let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
                ToolOutput::failed(format!("{agent} could not be asked: {error}{cause}"))
            }
        }
    }

    fn loops(&self) -> ToolOutput {
        ToolOutput {
            text: format!(
                "{LOOP}: asking {} would pass more than {HOP_LIMIT} routers, so the agents ask each \
                 other in a circle",
                self.config.agent
            ),
            structured: None,
            ending: Ending::Fatal,
        }
    }
}

/// The id of what is said in a call: of the same call the same, so that the other agent, asked twice,
/// does it once.
pub(crate) fn message_id(key: &str) -> String {
    if key.is_empty() {
        return mesh_runtime::dice::uuid().to_string();
    }
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.as_bytes());
    let mut bytes = [0; 16];
    bytes
        .iter_mut()
        .zip(digest.as_ref())
        .for_each(|(to, from)| *to = *from);
    uuid::Builder::from_custom_bytes(bytes)
        .into_uuid()
        .to_string()
}

/// What every call to another agent carries of the call that it serves.
pub(crate) fn headers(context: &CallContext) -> HeaderMap {
    let parent = context.traceparent.as_deref().and_then(Traceparent::parse);
    let trace = parent.map_or_else(Traceparent::root, Traceparent::child);
    let mut headers = HeaderMap::new();
    let mut put = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    put(HeaderName::from_static(HOPS), &context.hops.to_string());
    put(HeaderName::from_static(TRACEPARENT), &trace.to_string());
    if context.deadline.is_some() {
        let left = context.within(ANSWER).as_millis();
        put(HeaderName::from_static(TIMEOUT), &left.to_string());
    }
    if let Some(authorization) = &context.authorization {
        put(AUTHORIZATION, authorization);
    }
    headers
}

/// The text of parts; data as JSON.
pub(crate) fn words(parts: &[Part]) -> String {
    let texts = parts.iter().filter_map(|part| match &part.content {
        Some(Content::Text(text)) => Some(text.clone()),
        Some(Content::Data(value)) => Some(mesh_proto::json::of_value(value).to_string()),
        Some(Content::Url(url)) => Some(url.clone()),
        Some(Content::Raw(_)) | None => None,
    });
    texts.collect::<Vec<_>>().join("\n")
}

/// How a loop's message begins, by which the next agent up knows it.
const LOOP: &str = "delegation loop";

/// How long another agent may take.
const ANSWER: Duration = Duration::from_secs(300);

/// How soon an agent that answered early is asked for its task, and how rarely at last.
const POLL: Duration = Duration::from_millis(100);
const POLL_MOST: Duration = Duration::from_secs(2);
