//! THE LIFE OF A TURN: model -> tools -> model -> artifact.
//!
//! A turn takes one message of one task to an outcome. It is called by the task that owns the
//! message, tells what happens on the way through [`Step`]s, and keeps nothing.
//!
//! # Invariants
//! - The model is asked at most `max_turns` times; then the task fails.
//! - Each tool call is remembered with its answer, or the turn was dropped.
//! - A tool that fails is told to the model in words; only a failure that no attempt can mend, such as
//!   a loop of delegations, fails the task at once.
//! - Dropping the future cancels the turn: no task of its own outlives it.
//! - No tool is called before its owner has let the turn over the [`Boundary`] behind the model's reply:
//!   what a turn that goes on elsewhere repeats, it repeats under the same keys.

mod gathered;
mod heard;
mod streamed;

use futures_util::future::join_all;
use mesh_proto::a2a;
use mesh_runtime::{
    dice,
    flaw::{self, Flaw},
};
use tokio::sync::{mpsc, oneshot};

use crate::{
    agent::Agent,
    group,
    model::{Error, Prompt, Reply},
    record::{Scope, TaskKey},
    session::{Ending, Entry, Item, ToolCall, ToolOutput, ToolSpec},
};

pub use crate::session::CallContext;

/// One message for an agent, with all that a turn needs to know.
#[derive(Clone, Debug)]
pub struct TurnAsk {
    /// The task.
    pub task_id: String,
    /// Whose it is.
    pub scope: Scope,
    /// Its context.
    pub context_id: String,
    /// What the caller says.
    pub message: a2a::Message,
    /// What was said and done in the context before, oldest first.
    pub history: Vec<Item>,
    /// Where the call comes from.
    pub call: CallContext,
    /// How many rounds of model and tools the task has behind it.
    pub step: u32,
    /// What this turn has remembered already, where it goes on after another worker: it ends with a
    /// boundary.
    pub done: Vec<Item>,
    /// Who is asked at each boundary; nobody is where the turn can go on nowhere else.
    pub boundaries: Option<mpsc::Sender<Boundary>>,
}

/// A place from which another worker could go on with a turn: all that was remembered was told before.
#[derive(Debug)]
pub struct Boundary {
    /// How many rounds of model and tools the task has behind it here.
    pub step: u32,
    /// Lets the turn go on.
    pub passed: oneshot::Sender<()>,
}

/// What happens on the way.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// The task works on this now.
    Status(String),
    /// A piece of the answer.
    Artifact {
        /// Unique within the task; the same for all pieces.
        artifact_id: String,
        /// A name for people.
        name: String,
        /// The piece.
        text: String,
        /// Whether it continues what came before; otherwise it takes its place.
        append: bool,
        /// Whether it is the last one.
        last: bool,
    },
    /// To be kept in the session, in this order.
    Remember(Item),
}

/// How the message ends for its task.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// The task is done.
    Completed {
        /// A word beside the artifact, if there is one.
        message: Option<String>,
    },
    /// The task waits for the caller.
    InputRequired {
        /// What is missing.
        ask: String,
    },
    /// The message is none that this agent takes.
    Rejected {
        /// Why.
        reason: String,
    },
    /// There is no answer.
    Failed {
        /// Why.
        reason: String,
    },
}

impl Agent {
    /// Takes one message to its outcome.
    ///
    /// The steps go to a bounded channel: a reader that is slow slows the turn, and one that is gone
    /// is nobody to tell, so the turn goes on without it.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the turn; what was remembered so far stays true.
    pub async fn turn(&self, ask: TurnAsk, steps: &mpsc::Sender<Step>) -> Outcome {
        let heard = match heard::read(&ask.message) {
            Ok(entry) => entry,
            Err(reason) => return Outcome::Rejected { reason },
        };
        if let Some(config) = &self.config.group {
            return Box::pin(self.group_turn(config, ask, heard, steps)).await;
        }
        let mut run = Run {
            agent: self,
            task: ask.task_id,
            call: ask.call,
            items: recent(ask.history),
            step: ask.step,
            boundaries: ask.boundaries,
            steps,
        };
        let (rounds, unanswered) = left_over(&ask.done);
        if ask.done.is_empty() {
            run.remember(heard).await;
        }
        run.items.extend(ask.done);
        let offer = self.toolbox.list().await;
        if offer.tools.is_empty() && !offer.missing.is_empty() {
            return Outcome::Failed {
                reason: offer.missing.join("; "),
            };
        }
        if let Some(calls) = unanswered
            && let Some(reason) = run.answer(calls).await
        {
            return Outcome::Failed { reason };
        }
        for _ in rounds..self.config.max_turns.get() {
            let reply = match run.model(&offer.tools).await {
                Ok(reply) => reply,
                Err(error) => {
                    return Outcome::Failed {
                        reason: error.to_string(),
                    };
                }
            };
            match reply {
                Reply::Calls { text, calls } => {
                    if let Some(reason) = run.tools(text, calls).await {
                        return Outcome::Failed { reason };
                    }
                }
                Reply::Answer { text } => {
                    run.remember(Entry::Assistant {
                        text,
                        calls: Vec::new(),
                    })
                    .await;
                    return Outcome::Completed { message: None };
                }
                Reply::Ask { question, pending } => {
                    let ask = question.clone();
                    run.remember(Entry::Asked { question, pending }).await;
                    return Outcome::InputRequired { ask };
                }
                Reply::Fail { reason } => {
                    let text = reason.clone();
                    run.remember(Entry::Assistant {
                        text,
                        calls: Vec::new(),
                    })
                    .await;
                    return Outcome::Failed { reason };
                }
            }
        }
        Outcome::Failed {
            reason: format!(
                "no answer after {} rounds of model and tools",
                self.config.max_turns
            ),
        }
    }

    /// The same for an agent that is a group.
    async fn group_turn(
        &self,
        config: &group::Config,
        ask: TurnAsk,
        heard: Entry,
        steps: &mpsc::Sender<Step>,
    ) -> Outcome {
        let Some(fanout) = &self.fanout else {
            let reason = group::Error::NoRouter.to_string();
            return Outcome::Failed { reason };
        };
        let remember = async |entry| {
            let task = ask.task_id.clone();
            let step = Step::Remember(Item { task, entry });
            if steps.send(step).await.is_err() {
                tracing::debug!(task = %ask.task_id, "nobody listens to the turn");
            }
        };
        if ask.done.is_empty() {
            remember(heard).await;
        }
        let gathering = gathered::Gathering {
            config,
            fanout,
            key: TaskKey {
                scope: ask.scope.clone(),
                id: ask.task_id.clone(),
            },
            message: ask.message.clone(),
            step: ask.step,
            boundaries: ask.boundaries.clone(),
            steps,
        };
        let outcome = gathering.gather().await;
        if let Outcome::Completed {
            message: Some(text),
        } = &outcome
        {
            let (text, calls) = (text.clone(), Vec::new());
            remember(Entry::Assistant { text, calls }).await;
        }
        outcome
    }
}

/// A turn under way.
struct Run<'a> {
    agent: &'a Agent,
    task: String,
    call: CallContext,
    items: Vec<Item>,
    step: u32,
    boundaries: Option<mpsc::Sender<Boundary>>,
    steps: &'a mpsc::Sender<Step>,
}

impl Run<'_> {
    /// Asks the model for its next step and streams what it says of the answer.
    async fn model(&self, tools: &[ToolSpec]) -> Result<Reply, Error> {
        let (sender, mut deltas) = mpsc::channel(DELTAS);
        let instructions = self.agent.wording.text();
        let prompt = Prompt {
            task: &self.task,
            instructions: &instructions,
            tools,
            items: &self.items,
        };
        let mut responding = self.agent.model.respond(prompt, sender);
        let mut streamed = streamed::Streamed::default();
        let reply = loop {
            tokio::select! {
                biased;
                Some(delta) = deltas.recv() => self.tell(streamed.push(delta)).await,
                reply = &mut responding => break reply,
            }
        };
        drop(responding);
        while let Ok(delta) = deltas.try_recv() {
            self.tell(streamed.push(delta)).await;
        }
        if let Ok(Reply::Answer { text }) = &reply {
            self.tell(streamed.finish(text)).await;
        }
        reply
    }

    /// Does what the model wants; why the turn must fail, if so.
    async fn tools(&mut self, text: String, calls: Vec<ToolCall>) -> Option<String> {
        let all = calls.clone();
        self.remember(Entry::Assistant { text, calls: all }).await;
        self.boundary().await;
        self.answer(calls).await
    }

    /// Calls the tools, all at once, and remembers what they answer; why the turn must fail, if so.
    async fn answer(&mut self, mut calls: Vec<ToolCall>) -> Option<String> {
        let refused = calls.split_off(calls.len().min(CALLS));
        for call in &calls {
            self.tell(Some(Step::Status(format!("calling {}", call.name))))
                .await;
        }
        let toolbox = &self.agent.toolbox;
        let keyed = calls.iter().enumerate().map(|(n, call)| {
            let mut key = format!("{}:{}:{n}", self.task, self.step);
            if flaw::has(Flaw::ChangesKeys) {
                key = dice::uuid().to_string();
            }
            (
                call,
                CallContext {
                    key,
                    ..self.call.clone()
                },
            )
        });
        let work = keyed.map(|(call, context)| async move { toolbox.call(call, &context).await });
        let mut outputs = Box::pin(join_all(work)).await;
        let too_many = || ToolOutput::failed(format!("at most {CALLS} tools are called at once"));
        outputs.extend(refused.iter().map(|_| too_many()));
        let mut fatal = None;
        for (call, output) in calls.into_iter().chain(refused).zip(outputs) {
            if output.ending == Ending::Fatal {
                fatal.get_or_insert_with(|| output.text.clone());
            }
            self.remember(Entry::Tool {
                call: call.id,
                name: call.name,
                output,
            })
            .await;
        }
        self.step += 1;
        self.boundary().await;
        fatal
    }

    /// Waits until the owner has noted how far the turn has come.
    async fn boundary(&self) {
        let (passed, pass) = oneshot::channel();
        let boundary = Boundary {
            step: self.step,
            passed,
        };
        if let Some(boundaries) = &self.boundaries
            && boundaries.send(boundary).await.is_ok()
            && pass.await.is_err()
        {
            tracing::debug!(task = %self.task, "the turn goes on without a word of its owner");
        }
    }

    async fn remember(&mut self, entry: Entry) {
        let item = Item {
            task: self.task.clone(),
            entry,
        };
        self.items.push(item.clone());
        self.tell(Some(Step::Remember(item))).await;
    }

    async fn tell(&self, step: Option<Step>) {
        if let Some(step) = step
            && self.steps.send(step).await.is_err()
        {
            tracing::debug!(task = %self.task, "nobody listens to the turn");
        }
    }
}

/// How many rounds are in what a turn has done, and the calls at its end that have no answer.
fn left_over(done: &[Item]) -> (u32, Option<Vec<ToolCall>>) {
    let calls = |item: &Item| match &item.entry {
        Entry::Assistant { calls, .. } if !calls.is_empty() => Some(calls.clone()),
        _ => None,
    };
    let rounds = done.iter().filter_map(calls).count();
    let unanswered = done.last().and_then(calls);
    (u32::try_from(rounds).unwrap_or(u32::MAX), unanswered)
}

/// The end of a long conversation. It is cut once, so that a model sees the same beginning in each round.
fn recent(mut history: Vec<Item>) -> Vec<Item> {
    history.drain(..history.len().saturating_sub(ITEMS));
    history
}

/// How many pieces of text may wait for the reader of the steps; the model waits after that.
const DELTAS: usize = 32;

/// How many tools one step of the model may call; the others are answered with a refusal.
const CALLS: usize = 16;

/// How much of a conversation before this turn a model is shown.
const ITEMS: usize = 200;
