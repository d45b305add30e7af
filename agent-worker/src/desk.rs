//! The one face of the eleven operations: what every binding asks, in the messages of the .proto.
//!
//! # Invariants
//! - It knows no binding: a caller, a request, an answer or a [`Problem`].
//! - Each lookup is within the caller's scope; what is outside of it does not exist.

mod caller;
mod check;
mod deadline;
mod event;
mod list;
mod members;
mod push;

use std::collections::BTreeMap;

use mesh_proto::{
    AgentName, Fault, Problem,
    a2a::{
        self, CancelTaskRequest, GetTaskRequest, ListTasksRequest, ListTasksResponse,
        SendMessageConfiguration, SendMessageRequest, SendMessageResponse, SubscribeToTaskRequest,
        send_message_response,
    },
    mesh::{Load, WorkerReport, WorkerState},
};
use mesh_runtime::egress::guard::Guard;
use tokio::{sync::watch, time::Instant};

use crate::{
    agent::Agent,
    post::HandOver,
    record::TaskKey,
    task::{Begun, Events, Ledger, Start, shorten},
};

pub use caller::Caller;
pub use members::{Done, Named, Page};

/// The agents of a worker and their tasks.
#[derive(Debug)]
pub struct Desk {
    agents: BTreeMap<AgentName, Agent>,
    default: Option<AgentName>,
    ledger: Ledger,
    store: String,
    push: Option<Guard>,
}

impl Desk {
    /// A desk for these agents. The root of the worker serves `default`, or else the only agent.
    #[must_use]
    pub fn new(agents: Vec<Agent>, default: Option<AgentName>, ledger: Ledger) -> Self {
        let agents: BTreeMap<_, _> = agents
            .into_iter()
            .map(|agent| (agent.name().clone(), agent))
            .collect();
        let only = match agents.len() {
            1 => agents.keys().next().cloned(),
            _ => None,
        };
        Self {
            default: default.filter(|name| agents.contains_key(name)).or(only),
            agents,
            ledger,
            store: String::new(),
            push: None,
        }
    }

    /// Says which store the tasks are in; empty for one that nobody else sees.
    #[must_use]
    pub fn in_store(self, store: String) -> Self {
        Self { store, ..self }
    }

    /// Has events pushed to webhooks that this guard lets pass.
    #[must_use]
    pub fn pushing(self, guard: Guard) -> Self {
        Self {
            push: Some(guard),
            ..self
        }
    }

    /// An agent by its name.
    #[must_use]
    pub fn agent(&self, name: &str) -> Option<&Agent> {
        self.agents.get(name)
    }

    /// The agent that the root serves.
    #[must_use]
    pub fn default_agent(&self) -> Option<&Agent> {
        self.agents.get(self.default.as_ref()?)
    }

    /// The names of the agents, sorted.
    pub fn names(&self) -> impl Iterator<Item = &AgentName> {
        self.agents.keys()
    }

    /// What the worker says of itself.
    #[must_use]
    pub fn report(&self) -> WorkerReport {
        WorkerReport {
            agents: self.names().map(ToString::to_string).collect(),
            store: self.store.clone(),
            ..self.ledger.report()
        }
    }

    /// How busy the worker is.
    #[must_use]
    pub fn load(&self) -> Load {
        self.ledger.load()
    }

    /// Whether the worker takes new work, and each change of that.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<WorkerState> {
        self.ledger.state()
    }

    /// Sends a message; by default the answer comes once the task rests. The task goes on where the
    /// caller's deadline passes first.
    ///
    /// # Errors
    /// What [`Ledger::start`] says, and what is wrong with the request; [`Fault::DeadlineExceeded`].
    pub async fn send(
        &self,
        caller: &Caller,
        request: SendMessageRequest,
    ) -> Result<SendMessageResponse, Problem> {
        let settings = request.configuration.clone().unwrap_or_default();
        let length = check::history_length(settings.history_length)?;
        let begun = self.begin(caller, request, &settings, false).await?;
        let task = if settings.return_immediately {
            begun.now()
        } else {
            let rested = begun.rested();
            within(caller.deadline()?, rested).await.ok_or_else(|| {
                let text = "the deadline passed; the task goes on and can be asked for";
                Problem::new(Fault::DeadlineExceeded, text).with("taskId", begun.now().id)
            })??
        };
        Ok(SendMessageResponse {
            payload: Some(send_message_response::Payload::Task(shorten(task, length))),
        })
    }

    /// Sends a message and follows the task until it rests.
    ///
    /// # Errors
    /// What [`Ledger::start`] says, and what is wrong with the request.
    pub async fn stream(
        &self,
        caller: &Caller,
        request: SendMessageRequest,
    ) -> Result<Events, Problem> {
        let settings = request.configuration.clone().unwrap_or_default();
        check::history_length(settings.history_length)?;
        let begun = self.begin(caller, request, &settings, true).await?;
        begun
            .events
            .ok_or_else(|| Problem::new(Fault::Internal, "the task is not followed"))
    }

    /// Reads a task.
    ///
    /// # Errors
    /// [`Fault::TaskNotFound`], and what is wrong with the request.
    pub async fn task(
        &self,
        caller: &Caller,
        request: GetTaskRequest,
    ) -> Result<a2a::Task, Problem> {
        let length = check::history_length(request.history_length)?;
        let key = key(caller, &request.tenant, request.id)?;
        Ok(shorten(
            self.ledger.read(&key, caller.is_orphan()).await?,
            length,
        ))
    }

    /// Reads a page of the caller's tasks, the latest change first.
    ///
    /// # Errors
    /// What is wrong with the request; [`Fault::Unavailable`].
    pub async fn tasks(
        &self,
        caller: &Caller,
        request: ListTasksRequest,
    ) -> Result<ListTasksResponse, Problem> {
        list::page(&self.ledger, &caller.scope(&request.tenant)?, &request).await
    }

    /// Stops a task.
    ///
    /// # Errors
    /// [`Fault::TaskNotFound`], [`Fault::TaskNotCancelable`].
    pub async fn cancel(
        &self,
        caller: &Caller,
        request: CancelTaskRequest,
    ) -> Result<a2a::Task, Problem> {
        let key = key(caller, &request.tenant, request.id)?;
        self.ledger.cancel(&key, caller.is_orphan()).await
    }

    /// Follows a task that is not final, or what is left of one whose beginning the caller saw.
    ///
    /// # Errors
    /// [`Fault::TaskNotFound`], [`Fault::UnsupportedOperation`].
    pub async fn subscribe(
        &self,
        caller: &Caller,
        request: SubscribeToTaskRequest,
    ) -> Result<Events, Problem> {
        let key = key(caller, &request.tenant, request.id)?;
        let (last, orphan) = (caller.last_event(), caller.is_orphan());
        self.ledger.follow(&key, last, orphan).await
    }

    /// Takes over what another worker hands over.
    ///
    /// # Errors
    /// [`Fault::InvalidParams`] where that names no tasks; the first problem that a task met.
    pub async fn adopt(&self, given: HandOver) -> Result<(), Problem> {
        let wrong = || Problem::new(Fault::InvalidParams, "these are no tasks of an agent");
        let taken = self.ledger.take_over(given.keys().ok_or_else(wrong)?).await;
        taken.into_iter().collect()
    }

    /// The answer to `GetExtendedAgentCard`, as the cards say.
    #[must_use]
    pub fn no_extended_card() -> Problem {
        Problem::new(
            Fault::ExtendedAgentCardNotConfigured,
            "this agent has only its public card",
        )
    }

    async fn begin(
        &self,
        caller: &Caller,
        request: SendMessageRequest,
        settings: &SendMessageConfiguration,
        follow: bool,
    ) -> Result<Begun, Problem> {
        let hook = self.hook(settings.task_push_notification_config.clone())?;
        caller.deadline()?;
        let message = check::message(request.message)?;
        self.ledger
            .start(Start {
                agent: caller.agent().clone(),
                scope: caller.scope(&request.tenant)?,
                message,
                affinity: caller.affinity().map(str::to_owned),
                slot: caller.slot(),
                orphan: caller.is_orphan(),
                call: caller.call().clone(),
                follow,
                hook,
            })
            .await
    }
}

/// What comes before the deadline.
async fn within<T>(deadline: Option<Instant>, answer: impl Future<Output = T>) -> Option<T> {
    match deadline {
        Some(deadline) => tokio::time::timeout_at(deadline, answer).await.ok(),
        None => Some(answer.await),
    }
}

fn key(caller: &Caller, tenant: &str, id: String) -> Result<TaskKey, Problem> {
    check::id("id", &id)?;
    Ok(TaskKey {
        scope: caller.scope(tenant)?,
        id,
    })
}
