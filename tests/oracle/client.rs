//! One of many users: says things in its contexts, one after the other, and pursues each message by its
//! id until it knows what came of it.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::Result;
use mesh_client::{
    Call, Client, Followed, Options, Resume,
    a2a::{
        GetTaskRequest, Message, Part, Role, SendMessageConfiguration, SendMessageRequest, Task,
        TaskState, part::Content, send_message_response, stream_response::Payload,
    },
};
use mesh_proto::Binding;
use tokio::time::Instant;

use crate::{faults::Dice, history::History};

const BINDINGS: [Binding; 3] = [Binding::JsonRpc, Binding::Rest, Binding::Grpc];

/// How long a message is pursued before it counts as stuck.
const PATIENCE: Duration = Duration::from_secs(90);
const PAUSE: Duration = Duration::from_millis(250);

/// See the module.
pub(crate) struct User {
    name: String,
    client: Client,
    dice: Dice,
    said: u32,
    context: Option<String>,
}

/// What a pursuit ends with.
type Pursued = Result<Task, String>;

impl User {
    pub(crate) async fn new(number: usize, seed: u64, url: &str) -> Result<Self> {
        let options = Options {
            binding: Some(BINDINGS[number % BINDINGS.len()]),
            answer_timeout: Some(Duration::from_secs(30)),
            idle_timeout: Some(Duration::from_secs(45)),
            ..Options::default()
        };
        Ok(Self {
            name: format!("u{number}"),
            client: Client::from_url(url, options).await?,
            dice: Dice::new(seed ^ (number as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)),
            said: 0,
            context: None,
        })
    }

    /// Lives until it is over.
    ///
    /// # Errors
    /// What it was told that must not be.
    pub(crate) async fn live(
        &mut self,
        history: &History,
        over: &AtomicBool,
    ) -> Result<(), String> {
        while !over.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(self.dice.between(1000, 5000))).await;
            let told = match self.dice.below(4) {
                0 | 1 => self.stream(history).await?,
                2 => self.send(history).await?,
                _ => self.ask_and_answer(history).await?,
            };
            // Some conversations go on, some end.
            self.context = (self.dice.below(3) > 0).then_some(told.context_id);
        }
        Ok(())
    }

    async fn stream(&mut self, history: &History) -> Pursued {
        let (id, request) = self.says(None);
        let task = self.pursue(history, &id, "streamed", &request).await?;
        Ok(task)
    }

    async fn send(&mut self, history: &History) -> Pursued {
        let (id, request) = self.says(None);
        let task = self.pursue(history, &id, "sent", &request).await?;
        if self.dice.below(4) == 0 {
            // A user that is not sure says it again.
            let again = self.pursue(history, &id, "sent", &request).await?;
            if again.id != task.id {
                return Err(format!("message {id} made {} and {}", task.id, again.id));
            }
        }
        Ok(task)
    }

    async fn ask_and_answer(&mut self, history: &History) -> Pursued {
        let (id, mut request) = self.says(None);
        if let Some(message) = &mut request.message {
            message.parts = vec![text("/count {}")];
        }
        let asked = self.pursue(history, &id, "asked", &request).await?;
        if state(&asked) != TaskState::InputRequired {
            return Ok(asked);
        }
        let (id, answer) = self.says(Some(&asked));
        self.pursue(history, &id, "answered", &answer).await
    }

    /// The next thing that it says: a new task in its context, or an answer to one that waits.
    fn says(&mut self, task: Option<&Task>) -> (String, SendMessageRequest) {
        self.said += 1;
        let id = format!("{}-{}", self.name, self.said);
        let words = match task {
            None => format!("/count {{\"of\": \"{id}\"}}"),
            Some(_) => format!("w{id}"),
        };
        let context = task.map(|task| task.context_id.clone());
        let message = Message {
            message_id: id.clone(),
            role: Role::User.into(),
            parts: vec![text(&words)],
            context_id: context.or_else(|| self.context.clone()).unwrap_or_default(),
            task_id: task.map_or_else(String::new, |task| task.id.clone()),
            ..Message::default()
        };
        let request = SendMessageRequest {
            message: Some(message),
            ..SendMessageRequest::default()
        };
        (id, request)
    }

    /// Says it as often as it takes to know what came of it.
    async fn pursue(
        &mut self,
        history: &History,
        id: &str,
        how: &'static str,
        request: &SendMessageRequest,
    ) -> Pursued {
        let follows = request
            .message
            .as_ref()
            .is_some_and(|message| !message.task_id.is_empty());
        let begun = Instant::now();
        loop {
            history.sends(id, how, follows);
            let polls = self.dice.below(2) == 0 && !follows;
            let attempt = async {
                match how {
                    "streamed" => self.follow(history, id, request).await,
                    _ if polls => self.look(history, id, request).await,
                    _ => self.wait(request).await,
                }
            };
            // A stream that stands open for ever is as bad as none.
            let hung = || Err(Tried::Failed("no end of it".to_owned()));
            let tried = tokio::time::timeout(PATIENCE, attempt).await;
            let tried = tried.unwrap_or_else(|_| hung());
            match tried {
                Ok(task) if is_at_rest(&task) => {
                    history.acknowledged(id, &task.id);
                    history.ended(id, state(&task));
                    history.known(id);
                    return Ok(task);
                }
                Ok(task) if begun.elapsed() > PATIENCE => {
                    let state = state(&task).as_str_name();
                    return Err(format!(
                        "{how} message {id} is stuck: {} is {state}",
                        task.id
                    ));
                }
                Ok(task) => history.acknowledged(id, &task.id),
                Err(Tried::Wrong(wrong)) => return Err(format!("{how} message {id}: {wrong}")),
                Err(Tried::Failed(error)) if begun.elapsed() > PATIENCE => {
                    return Err(format!("{how} message {id} is stuck: {error}"));
                }
                Err(Tried::Failed(_)) => {}
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Sends and waits for the end.
    async fn wait(&self, request: &SendMessageRequest) -> Result<Task, Tried> {
        let call = Call::default();
        let sent = self.client.send(request.clone(), &call);
        match sent.await.map_err(Tried::from)?.payload {
            Some(send_message_response::Payload::Task(task)) => Ok(task),
            other => Err(Tried::Wrong(format!("no task: {other:?}"))),
        }
    }

    /// Sends, and looks again and again for what comes of it.
    async fn look(
        &self,
        history: &History,
        id: &str,
        request: &SendMessageRequest,
    ) -> Result<Task, Tried> {
        let mut request = request.clone();
        request.configuration = Some(SendMessageConfiguration {
            return_immediately: true,
            ..SendMessageConfiguration::default()
        });
        let mut task = self.wait(&request).await?;
        let begun = Instant::now();
        while !is_at_rest(&task) && begun.elapsed() < PATIENCE {
            history.acknowledged(id, &task.id);
            tokio::time::sleep(PAUSE).await;
            let ask = GetTaskRequest {
                id: task.id.clone(),
                ..GetTaskRequest::default()
            };
            task = self.client.get_task(ask, &Call::default()).await?;
        }
        Ok(task)
    }

    /// Sends and follows to the end, over as many streams as that takes.
    async fn follow(
        &self,
        history: &History,
        id: &str,
        request: &SendMessageRequest,
    ) -> Result<Task, Tried> {
        let resume = Resume {
            resend: true,
            longest_pause: Duration::from_secs(1),
            ..Resume::default()
        };
        let mut events = self.client.follow(request.clone(), Call::default(), resume);
        let mut task: Option<Task> = None;
        let mut may_be_whole = true;
        while let Some(event) = events.next().await {
            let payload = match event? {
                Followed::Resumed => {
                    history.resumed(id);
                    may_be_whole = true;
                    continue;
                }
                Followed::Event(event) => event.payload,
            };
            match (payload, &mut task) {
                // One that is at its end is read where its stream can't be taken up any more.
                (Some(Payload::Task(whole)), task) if may_be_whole || is_at_rest(&whole) => {
                    if !may_be_whole {
                        history.resumed(id);
                    }
                    history.acknowledged(id, &whole.id);
                    *task = Some(whole);
                }
                (Some(Payload::Task(_)), _) => {
                    return Err(Tried::Wrong("a second snapshot in one stream".to_owned()));
                }
                (Some(Payload::StatusUpdate(update)), Some(task)) => {
                    if task.status.is_some() && is_final(state(task)) {
                        return Err(Tried::Wrong("a state after the last".to_owned()));
                    }
                    task.status = update.status;
                }
                (Some(Payload::ArtifactUpdate(update)), Some(task)) => {
                    task.artifacts.extend(update.artifact);
                }
                (other, _) => return Err(Tried::Wrong(format!("before its task: {other:?}"))),
            }
            may_be_whole = false;
        }
        task.ok_or_else(|| Tried::Failed("a stream without an event".to_owned()))
    }
}

/// Why an attempt did not bring the end.
enum Tried {
    /// It may be tried again.
    Failed(String),
    /// It broke a promise.
    Wrong(String),
}

impl From<mesh_client::Error> for Tried {
    fn from(error: mesh_client::Error) -> Self {
        use mesh_proto::Fault;
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        let text = format!("{error} {}", cause.unwrap_or_default());
        match error.problem().map(|problem| problem.fault) {
            Some(
                Fault::Unavailable | Fault::Exhausted | Fault::DeadlineExceeded | Fault::Internal,
            )
            | None => Self::Failed(text),
            Some(_) => Self::Wrong(text),
        }
    }
}

fn text(text: &str) -> Part {
    Part {
        content: Some(Content::Text(text.to_owned())),
        ..Part::default()
    }
}

fn state(task: &Task) -> TaskState {
    let status = task.status.as_ref();
    status.map_or(TaskState::Unspecified, |status| status.state())
}

fn is_final(state: TaskState) -> bool {
    matches!(
        state,
        TaskState::Completed | TaskState::Failed | TaskState::Canceled | TaskState::Rejected
    )
}

fn is_at_rest(task: &Task) -> bool {
    is_final(state(task)) || state(task) == TaskState::InputRequired
}
