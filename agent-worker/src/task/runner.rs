//! Runs one turn of one task, from its first step to the task's rest.
//!
//! # Invariants
//! - It alone changes its task while the turn runs.
//! - However the turn ends (by itself, canceled, in a panic), the task comes to rest and says how.
//! - The conversation is stored before the task's rest, so that a follow-up finds it.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use mesh_proto::a2a::{self, Message, TaskState, stream_response::Payload};
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
    turn::{Outcome, Step, TurnAsk},
};

/// Steps that wait to be shown; the turn waits after that.
const STEPS: usize = 64;

/// How often a rest is written to a store that does not answer, and how long between.
const SAVES: u32 = 4;
const SAVE_PAUSE: Duration = Duration::from_millis(250);

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
    /// Whether the caller wants to follow.
    pub follow: bool,
}

impl Start {
    /// A new id, under the route that the router gave.
    pub(super) fn mint(&self) -> String {
        let id = uuid::Uuid::new_v4();
        match &self.affinity {
            Some(route) => format!("{route}.{id}"),
            None => id.to_string(),
        }
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
            events: follow.then(|| live.watch(ledger)),
        }
    }

    /// The task as it is now.
    #[must_use]
    pub fn now(&self) -> a2a::Task {
        self.live.lock().task.body().clone()
    }

    /// The task once it rests. Dropping the future changes nothing for the task.
    pub async fn rested(&self) -> a2a::Task {
        self.live.rested().await
    }
}

pub(super) struct Runner {
    ledger: Ledger,
    live: Arc<Live>,
    start: Start,
    items: Vec<Item>,
    tool_calls: u64,
    _seat: Seat,
}

impl Runner {
    pub(super) fn new(ledger: Ledger, live: Arc<Live>, start: Start, seat: Seat) -> Self {
        Self {
            ledger,
            live,
            start,
            items: Vec::new(),
            tool_calls: 0,
            _seat: seat,
        }
    }

    pub(super) async fn run(mut self, cancel: CancellationToken) {
        let begun = Instant::now();
        let event = Box::pin(self.turn(&cancel)).await;
        if let Err(error) = self.remember().await {
            error!(%error, task = %self.live.key.id, "the conversation could not be stored");
        }
        self.settle(event).await;
        let took = begun.elapsed();
        let metrics = self.ledger.metrics();
        metrics.turns.inc();
        metrics.tool_calls.inc_by(self.tool_calls);
        metrics.turn_seconds.observe(took.as_secs_f64());
        let (state, context) = {
            let cell = self.live.lock();
            let body = cell.task.body();
            (cell.task.phase().state(), body.context_id.clone())
        };
        metrics.settled(state);
        info!(
            trace = self.start.call.trace(),
            agent = %self.start.scope.agent,
            task = %self.live.key.id,
            context,
            state = state.as_str_name(),
            tool_calls = self.tool_calls,
            millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            "turn"
        );
        self.live.finish();
        self.ledger.retire(&self.live);
    }

    /// Runs the turn and shows its steps; what the task becomes at its end.
    async fn turn(&mut self, cancel: &CancellationToken) -> Event {
        let context = self.live.lock().task.body().context_id.clone();
        let history = self
            .ledger
            .records()
            .conversation(&self.start.scope, &context)
            .await;
        let history = match history {
            Ok(history) => history,
            Err(error) => {
                error!(%error, "a conversation cannot be read");
                return Event::Fail("the conversation cannot be read".to_owned());
            }
        };
        self.begin();
        let ask = TurnAsk {
            task_id: self.live.key.id.clone(),
            context_id: context,
            message: self.start.message.clone(),
            history,
            call: self.start.call.clone(),
        };
        let (steps, mut shown) = mpsc::channel(STEPS);
        let agent = self.start.agent.clone();
        // A panic in a tool or a model is that task's failure, not the worker's.
        let mut turn = Box::pin(AssertUnwindSafe(agent.turn(ask, &steps)).catch_unwind());
        let ended = loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => return Event::Cancel,
                Some(step) = shown.recv() => {
                    if let Err(error) = self.show(step) {
                        return Event::Fail(error.to_string());
                    }
                }
                ended = &mut turn => break ended,
            }
        };
        while let Ok(step) = shown.try_recv() {
            if let Err(error) = self.show(step) {
                return Event::Fail(error.to_string());
            }
        }
        match ended {
            Ok(Outcome::Completed { message }) => Event::Complete(message),
            Ok(Outcome::InputRequired { ask }) => Event::Ask(ask),
            Ok(Outcome::Rejected { reason }) => Event::Reject(reason),
            Ok(Outcome::Failed { reason }) => Event::Fail(reason),
            Err(_) => {
                error!(task = %self.live.key.id, "a turn panicked");
                Event::Fail("the agent met a fault of its own".to_owned())
            }
        }
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

    /// What was said so far stays said, even where the turn was canceled.
    async fn remember(&mut self) -> Result<(), record::Error> {
        let items = std::mem::take(&mut self.items);
        let context = self.live.lock().task.body().context_id.clone();
        self.ledger
            .records()
            .remember(&self.start.scope, &context, &items)
            .await
    }

    /// Stores the task at rest and then shows it.
    async fn settle(&self, event: Event) {
        for attempt in 1.. {
            let event = event.clone();
            let saved = self
                .ledger
                .advance(&self.live, |task| step(task, event))
                .await;
            match saved {
                Ok(()) => return,
                Err(record::Error::Taken) => return self.yield_task().await,
                Err(error) if attempt >= SAVES => {
                    error!(%error, task = %self.live.key.id, "a task's rest could not be stored");
                    break;
                }
                Err(error) => {
                    warn!(%error, task = %self.live.key.id, "storing a task again");
                    tokio::time::sleep(SAVE_PAUSE).await;
                }
            }
        }
        // Better an answer that only this worker knows than none: it stays in memory.
        self.ledger.metrics().unsaved.inc();
        self.live.lock().saved = false;
        let shown = self.live.change(|task| step(task, event).ok_or(()));
        self.ledger.metrics().slow(shown.unwrap_or_default());
    }

    /// Another worker has moved the task on: what it made of it is what counts.
    async fn yield_task(&self) {
        warn!(task = %self.live.key.id, "another worker has taken the task");
        if let Err(problem) = self.ledger.refresh(&self.live).await {
            error!(%problem, task = %self.live.key.id, "cannot see what became of the task");
            return;
        }
        let shown = self.live.change(|task| {
            let body = task.body();
            Ok::<_, std::convert::Infallible>(Payload::StatusUpdate(a2a::TaskStatusUpdateEvent {
                task_id: body.id.clone(),
                context_id: body.context_id.clone(),
                status: body.status.clone(),
                metadata: None,
            }))
        });
        self.ledger.metrics().slow(shown.unwrap_or_default());
    }
}

/// The last step of a turn. One that the task's state does not allow becomes a failure, and a task
/// that is final already stays as it is.
fn step(task: &mut Task, event: Event) -> Option<Payload> {
    let now = clock::unix_millis();
    let update = task.step(event, now).or_else(|illegal| {
        error!(%illegal, "a turn ended in a step that there is not");
        task.step(
            Event::Fail("the agent met a fault of its own".to_owned()),
            now,
        )
    });
    update.ok().map(Payload::StatusUpdate)
}
