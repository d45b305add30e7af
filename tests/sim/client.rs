//! A client as its script has it: conversations of a few turns, each turn pursued until its end is known.
//!
//! # Invariants
//! - It judges nothing: what it says and hears goes into the history.
//! - A message that is sent again is the same message, by its id.

use std::{collections::BTreeMap, time::Duration};

use futures_util::StreamExt as _;
use mesh_client::{
    Binding, Call, Client, Error, Fault, Options,
    a2a::{
        GetTaskRequest, Message, Part, Role, SendMessageConfiguration, SendMessageRequest, Task,
        TaskState, part::Content, send_message_response, stream_response::Payload,
    },
};
use mesh_proto::mesh;
use tokio::time::sleep;

use crate::{
    agent::{AGENT, Wish},
    history::{Event, Failure, History, Seen, Token, What},
};

/// The port of a router.
pub(crate) const ROUTER_PORT: u16 = 8080;

/// How a client says something.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Mode {
    /// Waits for the answer.
    Blocking,
    /// Takes the task, and asks for it from time to time.
    Polling,
    /// Follows the stream.
    Streaming,
}

/// One message and how it is said.
#[derive(Clone, Debug)]
pub(crate) struct Turn {
    pub(crate) token: Token,
    pub(crate) mode: Mode,
    pub(crate) binding: Binding,
    pub(crate) router: usize,
    pub(crate) wish: Wish,
    pub(crate) pause: Duration,
}

/// Everything that one client does.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) begin: Duration,
    /// Each with its turns in order.
    pub(crate) conversations: Vec<Vec<Turn>>,
    /// How many routers there are.
    pub(crate) routers: usize,
}

/// How long a client waits for one answer.
pub(crate) const DEADLINE: Duration = Duration::from_secs(12);

/// How long it rests between two attempts.
const PAUSE: Duration = Duration::from_millis(400);

/// One client.
pub(crate) struct Speaker {
    history: History,
    script: Script,
    clients: BTreeMap<(u8, usize), Client>,
}

impl Speaker {
    pub(crate) fn new(script: Script, history: History) -> Self {
        Self {
            history,
            script,
            clients: BTreeMap::new(),
        }
    }

    /// Says everything. Ends when each message has its answer.
    pub(crate) async fn speak(mut self) {
        sleep(self.script.begin).await;
        for conversation in std::mem::take(&mut self.script.conversations) {
            let mut context = None;
            for turn in conversation {
                sleep(turn.pause).await;
                let rested = self.pursue(&turn, context.take(), None).await;
                let rested = match rested {
                    Some(task) if task.state.ends_with("INPUT_REQUIRED") => {
                        let more = Turn {
                            token: Token::from(format!("{}-more", turn.token)),
                            wish: Wish {
                                ask: false,
                                ..turn.wish
                            },
                            ..turn.clone()
                        };
                        self.pursue(&more, Some(task.context.clone()), Some(task.id))
                            .await
                    }
                    other => other,
                };
                let Some(task) = rested else { break };
                context = Some(task.context);
            }
        }
    }

    /// Says one thing until it is known how it ends.
    async fn pursue(
        &mut self,
        turn: &Turn,
        context: Option<String>,
        task: Option<String>,
    ) -> Option<Seen> {
        let mut router = turn.router;
        let ask = request(turn, context, task);
        let mut seen = loop {
            let (answer, failure) = self.say(turn, router, ask.clone()).await;
            if let Some(seen) = answer {
                break seen;
            }
            if failure.is_some_and(|failure| failure.not_found) {
                self.history.tell(What::GivenUp {
                    token: turn.token.clone(),
                });
                return None;
            }
            router += 1;
            sleep(PAUSE).await;
        };
        while !seen.rests() {
            sleep(PAUSE).await;
            router += 1;
            if let Some(now) = self.look(turn, router, &seen.id).await {
                seen = now;
            }
        }
        self.history.tell(What::Settled {
            token: turn.token.clone(),
            task: seen.clone(),
        });
        Some(seen)
    }

    /// Sends the message once, and hears it out.
    async fn say(
        &mut self,
        turn: &Turn,
        router: usize,
        ask: SendMessageRequest,
    ) -> (Option<Seen>, Option<Failure>) {
        let client = self.client(turn.binding, router);
        let call = self.history.call();
        self.history.tell(What::Asked {
            call,
            token: turn.token.clone(),
            message: ask
                .message
                .as_ref()
                .map_or_else(String::new, |m| m.message_id.clone()),
            how: match turn.mode {
                Mode::Blocking => "blocking",
                Mode::Polling => "polling",
                Mode::Streaming => "streaming",
            },
            deadline: DEADLINE,
        });
        let mut seen = None;
        let outcome = if turn.mode == Mode::Streaming {
            let heard = self.listen(&client, call, turn, ask, &mut seen);
            // The client's own patience: a stream has no deadline of its own.
            tokio::time::timeout(DEADLINE, heard)
                .await
                .unwrap_or(Ok(()))
        } else {
            client.send(ask, &timed()).await.map(|answer| {
                if let Some(send_message_response::Payload::Task(task)) = answer.payload {
                    seen = Some(self.saw(call, turn, &task));
                }
            })
        };
        let failure = outcome.err().map(|error| failure(&error));
        self.history.tell(What::Ended {
            call,
            outcome: failure.clone().map_or(Ok(()), Err),
        });
        (seen, failure)
    }

    async fn listen(
        &self,
        client: &Client,
        call: u64,
        turn: &Turn,
        ask: SendMessageRequest,
        seen: &mut Option<Seen>,
    ) -> Result<(), Error> {
        let mut events = client.stream(ask, &Call::default()).await?;
        while let Some(event) = events.next().await {
            let payload = event?.payload;
            let token = turn.token.clone();
            let event = event_of(payload.as_ref());
            self.history.tell(What::Event { call, token, event });
            match (payload, seen.as_mut()) {
                (Some(Payload::Task(task)), _) => *seen = Some(self.saw(call, turn, &task)),
                (Some(Payload::StatusUpdate(update)), Some(seen)) => {
                    let now = update.status.as_ref().map_or(0, |status| status.state);
                    // The words of a task that rests are read with the next look.
                    seen.state = if is_rest(now) {
                        String::new()
                    } else {
                        state_name(now).to_owned()
                    };
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Reads the task.
    async fn look(&mut self, turn: &Turn, router: usize, id: &str) -> Option<Seen> {
        let client = self.client(turn.binding, router);
        let call = self.history.call();
        self.history.tell(What::Asked {
            call,
            token: turn.token.clone(),
            message: String::new(),
            how: "look",
            deadline: DEADLINE,
        });
        let ask = GetTaskRequest {
            id: id.to_owned(),
            ..GetTaskRequest::default()
        };
        let answer = client.get_task(ask, &timed()).await;
        let answer = answer.map(|task| self.saw(call, turn, &task));
        let failure = answer.as_ref().err().map(failure);
        self.history.tell(What::Ended {
            call,
            outcome: failure.map_or(Ok(()), Err),
        });
        answer.ok()
    }

    fn saw(&self, call: u64, turn: &Turn, task: &Task) -> Seen {
        let seen = Seen {
            id: task.id.clone(),
            context: task.context_id.clone(),
            state: state(task).to_owned(),
            text: text_of_task(task),
        };
        self.history.tell(What::Saw {
            call,
            token: turn.token.clone(),
            task: seen.clone(),
        });
        seen
    }

    fn client(&mut self, binding: Binding, router: usize) -> Client {
        let router = router % self.script.routers;
        let key = (binding as u8, router);
        let client = self.clients.entry(key).or_insert_with(|| {
            let base = format!("http://router-{router}:{ROUTER_PORT}");
            let url = match binding {
                Binding::JsonRpc | Binding::Rest => format!("{base}/{AGENT}"),
                Binding::Grpc => base,
            };
            let options = Options {
                connect_timeout: Duration::from_secs(2),
                answer_timeout: Some(DEADLINE),
                ..Options::default()
            };
            Client::direct(binding, &url, options).expect("the URL is one")
        });
        client.clone()
    }
}

/// A call that says how long it may take.
fn timed() -> Call {
    let mut call = Call::default();
    let millis = DEADLINE.as_millis().to_string();
    let millis = millis.parse().expect("a number is a header's value");
    call.headers.insert(mesh::TIMEOUT, millis);
    call
}

fn request(turn: &Turn, context: Option<String>, task: Option<String>) -> SendMessageRequest {
    SendMessageRequest {
        message: Some(Message {
            message_id: format!("m-{}", turn.token),
            context_id: context.unwrap_or_default(),
            task_id: task.unwrap_or_default(),
            role: Role::User.into(),
            parts: vec![Part {
                content: Some(Content::Text(turn.wish.text(&turn.token))),
                ..Part::default()
            }],
            ..Message::default()
        }),
        configuration: Some(SendMessageConfiguration {
            return_immediately: turn.mode == Mode::Polling,
            ..SendMessageConfiguration::default()
        }),
        ..SendMessageRequest::default()
    }
}

fn event_of(payload: Option<&Payload>) -> Event {
    match payload {
        Some(Payload::Task(task)) => Event::Task {
            state: state(task).to_owned(),
            text: text_of_task(task),
        },
        Some(Payload::StatusUpdate(update)) => Event::Status {
            state: state_name(update.status.as_ref().map_or(0, |status| status.state)).to_owned(),
        },
        Some(Payload::ArtifactUpdate(update)) => {
            let parts = update
                .artifact
                .as_ref()
                .map(|artifact| text_of(&artifact.parts));
            Event::Artifact {
                text: parts.unwrap_or_default(),
                append: update.append,
                last: update.last_chunk,
            }
        }
        Some(Payload::Message(_)) | None => Event::Other,
    }
}

fn failure(error: &Error) -> Failure {
    Failure {
        words: chain(error),
        unsent: error.is_unsent(),
        not_found: error
            .problem()
            .is_some_and(|problem| problem.fault == Fault::TaskNotFound),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

fn text_of_task(task: &Task) -> String {
    let texts = task.artifacts.iter().map(|each| text_of(&each.parts));
    texts.collect::<Vec<_>>().join("|")
}

fn text_of(parts: &[Part]) -> String {
    parts
        .iter()
        .filter_map(|part| match &part.content {
            Some(Content::Text(text)) => Some(text.as_str()),
            _ => None,
        })
        .collect()
}

fn state(task: &Task) -> &'static str {
    state_name(task.status.as_ref().map_or(0, |status| status.state))
}

fn state_name(state: i32) -> &'static str {
    TaskState::try_from(state).map_or("UNKNOWN", |state| state.as_str_name())
}

fn is_rest(state: i32) -> bool {
    let name = state_name(state);
    [
        "COMPLETED",
        "FAILED",
        "CANCELED",
        "REJECTED",
        "INPUT_REQUIRED",
    ]
    .iter()
    .any(|each| name.ends_with(each))
}
