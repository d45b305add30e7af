//! Asks one member, through the router.
//!
//! # Invariants
//! - The message's id is made of the group's task and the member, so that a member that is asked again
//!   by another worker does its work once.
//! - Stopped, it leaves no task behind that it knows of: the member's task is canceled.

use mesh_client::{
    Binding, Call, Client, Error, Followed, Options, Resume,
    a2a::{
        CancelTaskRequest, Message, SendMessageRequest, StreamResponse, TaskState, TaskStatus,
        stream_response::Payload,
    },
};
use mesh_proto::AgentName;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Inner, metrics::Outcome};
use crate::{
    delegate::{headers, message_id, words},
    record::{End, Seat, TaskKey},
    session::CallContext,
};

/// What all members of a chunk are asked alike.
#[derive(Debug)]
pub(super) struct Question<'a> {
    pub(super) key: &'a TaskKey,
    pub(super) message: &'a Message,
    pub(super) call: &'a CallContext,
    pub(super) keep: usize,
    pub(super) stop: &'a CancellationToken,
}

impl Inner {
    /// Asks a member to its end; `begun` hears of its task, by its place, as soon as it is known.
    ///
    /// # Cancel safety
    /// Dropping the future lets the member go on without a listener.
    pub(super) async fn member(
        &self,
        question: &Question<'_>,
        mut seat: Seat,
        begun: (usize, &mpsc::Sender<(usize, Seat)>),
    ) -> Seat {
        let asked = self.asked(question, &mut seat, begun).await;
        let (end, outcome) = match asked {
            Ok(Some(text)) => {
                seat.text = shortened(text, question.keep);
                (End::Answered, Outcome::Answered)
            }
            Ok(None) => (End::Open, Outcome::Stopped),
            Err(reason) => {
                seat.text = shortened(reason, question.keep);
                (End::Failed, Outcome::Failed)
            }
        };
        self.metrics.member(outcome);
        seat.end = end.into();
        seat
    }

    /// The member's answer, `None` where it was stopped, or why there is none.
    async fn asked(
        &self,
        question: &Question<'_>,
        seat: &mut Seat,
        (place, begun): (usize, &mpsc::Sender<(usize, Seat)>),
    ) -> Result<Option<String>, String> {
        let client = self.client(&seat.agent)?;
        let call = Call::with_headers(headers(question.call));
        let message = Message {
            message_id: message_id(&format!("{}/{}", question.key.id, seat.name())),
            context_id: seat.context.clone(),
            task_id: String::new(),
            ..question.message.clone()
        };
        let ask = SendMessageRequest {
            message: Some(message),
            ..SendMessageRequest::default()
        };
        // The message's id makes it the same message however often it is sent.
        let resume = Resume {
            resend: true,
            sends: SENDS,
            ..Resume::default()
        };
        let mut follow = client.follow(ask, call.clone(), resume);
        let mut heard = Heard::default();
        loop {
            let next = tokio::select! {
                biased;
                () = question.stop.cancelled() => {
                    drop(follow);
                    cancel(&client, &seat.task, &call).await;
                    return Ok(None);
                }
                next = follow.next() => next,
            };
            match next {
                Some(Ok(Followed::Event(event))) => heard.take(*event),
                Some(Ok(Followed::Resumed)) => {}
                Some(Err(error)) => return Err(told(&error)),
                None => return heard.answer().map(Some),
            }
            if seat.task.is_empty() && !heard.task.is_empty() {
                seat.task.clone_from(&heard.task);
                begun.send((place, seat.clone())).await.ok();
            }
        }
    }

    /// Cancels the task of a member that nobody waits for any more.
    pub(super) async fn let_go(&self, seat: &Seat, call: &CallContext) {
        if let Ok(client) = self.client(&seat.agent) {
            let call = Call::with_headers(headers(call));
            cancel(&client, &seat.task, &call).await;
            self.metrics.member(Outcome::Stopped);
        }
    }

    fn client(&self, agent: &str) -> Result<Client, String> {
        let router = self.settings.router.as_deref();
        let router = router.ok_or_else(|| super::Error::NoRouter.to_string())?;
        let name: AgentName = agent
            .parse()
            .map_err(|_| format!("{agent:?} names no agent"))?;
        let mut clients = self.clients.lock();
        if let Some(client) = clients.get(&name) {
            return Ok(client.clone());
        }
        let url = format!("{}/{name}", router.trim_end_matches('/'));
        // The router speaks every agent's dialect, so no card has to be read.
        let client = Client::direct(Binding::JsonRpc, &url, Options::default());
        let client = client.map_err(|error| told(&error))?;
        if clients.len() >= CLIENTS {
            clients.clear();
        }
        clients.insert(name, client.clone());
        Ok(client)
    }
}

/// What was heard of a member's task so far.
#[derive(Debug, Default)]
struct Heard {
    task: String,
    state: TaskState,
    said: String,
    artifacts: Vec<(String, String)>,
    message: Option<String>,
}

impl Heard {
    fn take(&mut self, event: StreamResponse) {
        match event.payload {
            Some(Payload::Task(task)) => {
                self.artifacts = task
                    .artifacts
                    .iter()
                    .map(|artifact| (artifact.artifact_id.clone(), words(&artifact.parts)))
                    .collect();
                self.task = task.id;
                self.status(task.status);
            }
            Some(Payload::StatusUpdate(update)) => {
                self.task = update.task_id;
                self.status(update.status);
            }
            Some(Payload::ArtifactUpdate(update)) => {
                let Some(artifact) = update.artifact else {
                    return;
                };
                let text = words(&artifact.parts);
                let mut held = self.artifacts.iter_mut();
                match held.find(|(id, _)| *id == artifact.artifact_id) {
                    Some((_, held)) if update.append => held.push_str(&text),
                    Some((_, held)) => *held = text,
                    None => self.artifacts.push((artifact.artifact_id, text)),
                }
            }
            Some(Payload::Message(message)) => self.message = Some(words(&message.parts)),
            None => {}
        }
    }

    fn status(&mut self, status: Option<TaskStatus>) {
        let Some(status) = status else { return };
        self.state = status.state();
        self.said = status
            .message
            .map(|message| words(&message.parts))
            .unwrap_or_default();
    }

    fn answer(self) -> Result<String, String> {
        if let Some(message) = self.message {
            return Ok(message);
        }
        let said = self.said;
        match self.state {
            TaskState::Completed => {
                let texts: Vec<_> = self.artifacts.into_iter().map(|(_, text)| text).collect();
                let text = texts.join("\n");
                Ok(if text.is_empty() { said } else { text })
            }
            TaskState::InputRequired => Err(format!("it asks back: {said}")),
            TaskState::AuthRequired => Err(format!("it wants other credentials: {said}")),
            TaskState::Canceled => Err("its task was canceled".to_owned()),
            TaskState::Failed | TaskState::Rejected if !said.is_empty() => Err(said),
            _ => Err("it gave up without a reason".to_owned()),
        }
    }
}

async fn cancel(client: &Client, task: &str, call: &Call) {
    if task.is_empty() {
        return;
    }
    let ask = CancelTaskRequest {
        id: task.to_owned(),
        ..CancelTaskRequest::default()
    };
    let canceled = tokio::time::timeout(CANCEL, client.cancel_task(ask, call)).await;
    if !matches!(canceled, Ok(Ok(_))) {
        tracing::debug!(task, "a member's task could not be canceled");
    }
}

fn told(error: &Error) -> String {
    let cause = std::error::Error::source(error);
    let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("it could not be asked: {error}{cause}")
}

fn shortened(mut text: String, most: usize) -> String {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most));
        text.push('…');
    }
    text
}

/// How often a member is sent its message at most.
const SENDS: u32 = 4;

/// How long a member may take to cancel.
const CANCEL: std::time::Duration = std::time::Duration::from_secs(5);

/// How many agents' connections are kept.
const CLIENTS: usize = 1024;
