//! Runs one turn of one task, from its first step, or from where another worker left it, to the task's
//! rest.
//!
//! # Invariants
//! - It alone changes its task while the turn runs.
//! - However the turn ends (by itself, canceled, in a panic), the task comes to rest and says how; but
//!   where the task is another worker's by then, this one says nothing.
//! - What was said joins the conversation in the write that puts the task to rest: once, whoever ends it.
//! - The turn passes a boundary only after it is noted how far it has come, or while the store does not
//!   answer.

mod store;

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt as _;
use mesh_proto::{
    Problem,
    a2a::{self, Message, Role, TaskState, stream_response::Payload},
    mesh::Slot,
};
use mesh_runtime::clock;
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{
    document::{Piece, Task, TooLarge},
    ledger::{Ledger, Seat},
    live::{Events, Live},
    state::Event,
};
use crate::{
    agent::Agent,
    record::{self, Scope},
    session::{CallContext, Entry, Item},
    turn::{Boundary, Outcome, Step, TurnAsk},
};

/// Steps that wait to be shown; the turn waits after that.
const STEPS: usize = 64;

/// A message for an agent, with all that its task needs.
#[derive(Clone, Debug)]
pub struct Start {
    /// The agent.
    pub agent: Agent,
    /// Whose task.
    pub scope: Scope,
    /// The message, checked. With `task_id` it goes on with that task.
    pub message: Message,
    /// The route to put in front of ids that are minted, where the router sent one.
    pub affinity: Option<String>,
    /// Where the call comes from.
    pub call: CallContext,
    /// The slot that the router placed the call by.
    pub slot: Option<Slot>,
    /// Whether the router says that the owner of the task is gone.
    pub orphan: bool,
    /// Whether the caller wants to follow.
    pub follow: bool,
    /// Where the caller wants the task's events pushed, checked.
    pub hook: Option<a2a::TaskPushNotificationConfig>,
}

impl Start {
    /// A new id, under the route that the router gave.
    pub(super) fn mint(&self) -> String {
        let id = mesh_runtime::dice::uuid();
        match &self.affinity {
            Some(route) => format!("{route}.{id}"),
            None => id.to_string(),
        }
    }

    /// Where the events of its task are to be pushed.
    pub(super) fn hooks(&self, task: &str) -> Vec<a2a::TaskPushNotificationConfig> {
        let hook = self.hook.iter().cloned();
        hook.map(|hook| a2a::TaskPushNotificationConfig {
            task_id: task.to_owned(),
            ..hook
        })
        .collect()
    }
}

/// A turn that was begun.
#[derive(Debug)]
pub struct Begun {
    live: Arc<Live>,
    /// What happens, where the caller wants to follow.
    pub events: Option<Events>,
}

impl Begun {
    pub(super) fn new(live: &Arc<Live>, ledger: &Ledger, follow: bool) -> Self {
        Self {
            live: Arc::clone(live),
            events: follow.then(|| live.watch(ledger, None, true).0),
        }
    }

    /// The same for a task whose turn is over already: whoever follows gets it as it is, and the end.
    pub(super) fn over(live: &Arc<Live>, ledger: &Ledger, follow: bool) -> Self {
        Self {
            live: Arc::clone(live),
            events: follow.then(|| live.snapshot(ledger)),
        }
    }

    /// The task as it is now.
    #[must_use]
    pub fn now(&self) -> a2a::Task {
        self.live.lock().task.body().clone()
    }

    /// Whether a store knows of the task.
    #[must_use]
    pub fn is_stored(&self) -> bool {
        !self.live.lock().unstored
    }

    /// The task once it rests. Dropping the future changes nothing for the task.
    ///
    /// # Errors
    /// Where it went, when another worker has it by then.
    pub async fn rested(&self) -> Result<a2a::Task, Problem> {
        self.live.rested().await
    }
}

pub(super) struct Runner {
    ledger: Ledger,
    live: Arc<Live>,
    agent: Agent,
    /// What the turn is about; an adopted one may have lost it.
    message: Option<Message>,
    call: CallContext,
    items: Vec<Item>,
    tool_calls: u64,
    /// What the task was taken under. Where it has another by now, somebody else has moved it on.
    fence: u64,
    _seat: Seat,
}

/// How a turn came to its end.
enum Ended {
    /// The task moves on by this.
    With(Event),
    /// It left this worker, or is to.
    Leaving,
}

impl Runner {
    pub(super) fn new(ledger: Ledger, live: Arc<Live>, start: Start, seat: Seat) -> Self {
        let fence = live.lock().custody.fence;
        Self {
            ledger,
            live,
            fence,
            agent: start.agent,
            message: Some(start.message),
            call: start.call,
            items: Vec::new(),
            tool_calls: 0,
            _seat: seat,
        }
    }

    /// A turn that another worker has begun.
    pub(super) fn adopted(ledger: Ledger, live: Arc<Live>, agent: Agent, seat: Seat) -> Self {
        let (message, progress, fence) = {
            let cell = live.lock();
            let mut said = cell.task.body().history.iter().rev();
            let message = said.find(|message| message.role() == Role::User).cloned();
            let custody = &cell.custody;
            let progress = custody.progress.clone().unwrap_or_default();
            (message, progress, custody.fence)
        };
        Self {
            ledger,
            live,
            fence,
            agent,
            message,
            call: progress.call(),
            items: progress.items,
            tool_calls: 0,
            _seat: seat,
        }
    }

    pub(super) async fn run(mut self, cancel: CancellationToken) {
        let begun = Instant::now();
        let ended = Box::pin(self.turn(&cancel)).await;
        match ended {
            _ if self.is_lost() => {}
            Ended::With(event) => self.settle(event).await,
            Ended::Leaving => self.ledger.hand_over(&self.live).await,
        }
        let took = begun.elapsed();
        let metrics = self.ledger.metrics();
        metrics.turns.inc();
        metrics.tool_calls.inc_by(self.tool_calls);
        metrics.turn_seconds.observe(took.as_secs_f64());
        let is_lost = self.is_lost();
        let (state, context) = {
            let cell = self.live.lock();
            let context = cell.task.body().context_id.clone();
            (cell.task.phase().state(), context)
        };
        if !is_lost {
            metrics.settled(state);
        }
        info!(
            trace = self.call.trace(),
            agent = %self.live.key.scope.agent,
            task = %self.live.key.id,
            context,
            state = state.as_str_name(),
            left = is_lost,
            tool_calls = self.tool_calls,
            millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            "turn"
        );
        if !is_lost {
            self.live.finish();
            self.ledger.retire(&self.live);
        }
    }

    /// Whether the task is another's by now, or what another has made of it.
    fn is_lost(&self) -> bool {
        let cell = self.live.lock();
        cell.gone.is_some() || cell.custody.fence != self.fence
    }

    /// What the turn is asked, or why it cannot be.
    async fn ask(&self, boundaries: mpsc::Sender<Boundary>) -> Result<TurnAsk, Event> {
        let (context, step, unstored) = {
            let cell = self.live.lock();
            let context = cell.task.body().context_id.clone();
            (context, cell.custody.step, cell.unstored)
        };
        let history = self.history(&context, unstored).await?;
        let lost = || Event::Fail("the message is no more known".to_owned());
        Ok(TurnAsk {
            task_id: self.live.key.id.clone(),
            scope: self.live.key.scope.clone(),
            context_id: context,
            message: self.message.clone().ok_or_else(lost)?,
            history,
            call: self.call.clone(),
            step,
            done: self.items.clone(),
            boundaries: Some(boundaries),
        })
    }

    /// Runs the turn and shows its steps; what the task becomes at its end.
    async fn turn(&mut self, cancel: &CancellationToken) -> Ended {
        // One place: the turn waits at each boundary until it may pass.
        let (boundaries, mut reached) = mpsc::channel(1);
        let ask = tokio::select! {
            biased;
            () = cancel.cancelled() => return self.stopped(),
            ask = self.ask(boundaries) => ask,
        };
        let ask = match ask {
            Ok(ask) => ask,
            Err(event) => return Ended::With(event),
        };
        self.begin();
        let (steps, mut shown) = mpsc::channel(STEPS);
        let agent = self.agent.clone();
        // A panic in a tool or a model is that task's failure, not the worker's.
        let mut turn = Box::pin(AssertUnwindSafe(agent.turn(ask, &steps)).catch_unwind());
        let ended = loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => return self.stopped(),
                Some(step) = shown.recv() => {
                    if let Err(error) = self.show(step) {
                        return Ended::With(Event::Fail(error.to_string()));
                    }
                }
                Some(boundary) = reached.recv() => {
                    if self.note(&boundary).await {
                        return Ended::Leaving;
                    }
                    // A turn that has ended meanwhile waits for nothing.
                    boundary.passed.send(()).ok();
                }
                ended = &mut turn => break ended,
            }
        };
        while let Ok(step) = shown.try_recv() {
            if let Err(error) = self.show(step) {
                return Ended::With(Event::Fail(error.to_string()));
            }
        }
        Ended::With(match ended {
            Ok(Outcome::Completed { message }) => Event::Complete(message),
            Ok(Outcome::InputRequired { ask }) => Event::Ask(ask),
            Ok(Outcome::Rejected { reason }) => Event::Reject(reason),
            Ok(Outcome::Failed { reason }) => Event::Fail(reason),
            Err(_) => {
                error!(task = %self.live.key.id, "a turn panicked");
                Event::Fail("the agent met a fault of its own".to_owned())
            }
        })
    }

    /// Who stopped the turn: a caller, or the worker itself.
    fn stopped(&self) -> Ended {
        if self.live.lock().leaving {
            Ended::Leaving
        } else {
            Ended::With(Event::Cancel)
        }
    }

    /// Notes how far the turn has come; whether it ends here.
    async fn note(&self, boundary: &Boundary) -> bool {
        {
            let mut cell = self.live.lock();
            if cell.custody.fence != self.fence {
                return true;
            }
            cell.custody.step = boundary.step;
            let progress = cell.custody.progress.get_or_insert_default();
            progress.items.clone_from(&self.items);
        }
        match self.ledger.checkpoint(&self.live).await {
            Ok(()) => {}
            Err(record::Error::Taken) => {
                self.ledger.lose(&self.live).await;
                return true;
            }
            Err(error) => warn!(%error, task = %self.live.key.id, "a step was not noted"),
        }
        self.live.lock().leaving
    }

    /// A new task begins to work; one that is continued was begun when its message was taken.
    fn begin(&self) {
        let begin = |task: &mut Task| {
            let update = task.step(Event::Begin, clock::unix_millis())?;
            Ok::<_, super::state::IllegalStep>(Payload::StatusUpdate(update))
        };
        if self.live.lock().task.phase().state() == TaskState::Submitted
            && let Ok(slow) = self.live.change(begin)
        {
            self.ledger.metrics().slow(slow);
        }
    }

    fn show(&mut self, step: Step) -> Result<(), TooLarge> {
        let shown = match step {
            Step::Remember(item) => {
                self.tool_calls += u64::from(matches!(item.entry, Entry::Tool { .. }));
                self.items.push(item);
                return Ok(());
            }
            Step::Status(note) => self.live.change(|task| {
                let update = task.step(Event::Note(note), clock::unix_millis());
                update.map(Payload::StatusUpdate)
            }),
            Step::Artifact {
                artifact_id,
                name,
                text,
                append,
                last,
            } => {
                let piece = Piece {
                    artifact_id,
                    name,
                    text,
                    append,
                    last,
                };
                let slow = self
                    .live
                    .change(|task| task.produce(piece).map(Payload::ArtifactUpdate))?;
                Ok(slow)
            }
        };
        match shown {
            Ok(slow) => self.ledger.metrics().slow(slow),
            Err(illegal) => {
                warn!(%illegal, task = %self.live.key.id, "a turn's note was not shown")
            }
        }
        Ok(())
    }
}
