//! Where turns begin: a message makes a task, goes on with one, or is one that was taken before.
//!
//! # Invariants
//! - A message is taken once: what takes it is written together with it, whoever else is given the same
//!   one at the same moment. Who comes second joins the task of the first.
//! - The same id with other words is an error of the caller's, never another task.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
};

use mesh_fabric::state;
use mesh_proto::{
    Fault, Problem,
    a2a::{self, Message, stream_response::Payload},
};
use mesh_runtime::clock;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{
    super::{
        document::Task,
        live::Live,
        problem::{busy, final_state, unavailable},
        runner::{Begun, Runner, Start},
        state::{Event, Phase},
        survival::WhenDown,
    },
    Found, Ledger, Step,
};
use crate::{
    notify::{self, transition},
    record::{self, Custody, Move, Progress, Record, Scope, Taken, TaskKey, digest},
};

impl Ledger {
    /// Begins a turn, of a new task or of the one that the message names; or joins the one that the
    /// same message began before.
    ///
    /// # Errors
    /// [`Fault::Exhausted`] when the worker is full; [`Fault::Unavailable`] when it drains, or its store
    /// does not answer, or another worker has the task, which the problem then names;
    /// [`Fault::TaskNotFound`]; [`Fault::InvalidParams`] when the task is of another context, or the message's id was another
    /// message's; [`Fault::UnsupportedOperation`] when the task takes no message now.
    pub async fn start(&self, start: Start) -> Result<Begun, Problem> {
        let hash = hash(&start.message);
        let follows_up = !start.message.task_id.is_empty();
        let seat = match self.seat(follows_up) {
            Ok(seat) => seat,
            Err(full) => return self.join(&start, &hash).await?.ok_or(full),
        };
        let cancel = CancellationToken::new();
        let begun = if follows_up {
            self.resume(&start, &hash, cancel.clone()).await
        } else {
            self.create(&start, &hash, cancel.clone()).await
        };
        let live = match begun {
            Ok(live) => live,
            Err(problem) if super::is_moved(&problem) => return Err(problem),
            Err(problem) => return self.join(&start, &hash).await?.ok_or(problem),
        };
        let begun = Begun::new(&live, self, start.follow);
        let runner = Runner::new(self.clone(), live, start, seat);
        self.0.drain.spawn("turn", runner.run(cancel));
        Ok(begun)
    }

    /// The task that took the same message before; `None` where none is known.
    async fn join(&self, start: &Start, hash: &str) -> Result<Option<Begun>, Problem> {
        let id = &start.message.message_id;
        let known = self.records().taken(&start.scope, id).await;
        let Ok(Some(known)) = known else {
            let unstored = self.join_unstored(start);
            // Where nobody can say whether it was taken, it is not refused for good.
            return match known {
                Err(error) if unstored.is_none() => Err(unavailable(&error)),
                _ => Ok(unstored),
            };
        };
        if known.hash != hash {
            let text = format!("message.messageId {id} was that of another message");
            return Err(Problem::new(Fault::InvalidParams, text)
                .with("field", "message.messageId")
                .with("messageId", id));
        }
        let key = TaskKey {
            scope: start.scope.clone(),
            id: known.task,
        };
        self.0.membership.counts.joined.inc();
        match self.locate(&key, start.orphan).await {
            Ok(Found::Here(live)) => Ok(Some(Begun::new(&live, self, start.follow))),
            Ok(Found::AtRest(live)) => Ok(Some(Begun::over(&live, self, start.follow))),
            Err(problem) if problem.fault == Fault::TaskNotFound => Ok(None),
            Err(problem) => Err(problem),
        }
    }

    /// The same among tasks that no store knows of.
    fn join_unstored(&self, start: &Start) -> Option<Begun> {
        let all = self.0.live.lock();
        let same = unstored(&all, &start.scope, &start.message.message_id).cloned();
        drop(all);
        same.map(|live| Begun::new(&live, self, start.follow))
    }

    /// Keeps a task that the store did not take; not where the same message made one before.
    fn keep_unstored(&self, live: &Live) -> bool {
        let message = {
            let cell = live.lock();
            let heard = cell.task.body().history.first();
            heard.map_or_else(String::new, |first| first.message_id.clone())
        };
        let all = self.0.live.lock();
        let is_first = unstored(&all, &live.key.scope, &message).is_none();
        if is_first {
            live.lock().unstored = true;
        }
        is_first
    }

    async fn create(
        &self,
        start: &Start,
        hash: &str,
        mover: CancellationToken,
    ) -> Result<Arc<Live>, Problem> {
        let context = match start.message.context_id.as_str() {
            "" => start.mint(),
            given => given.to_owned(),
        };
        let key = TaskKey {
            scope: start.scope.clone(),
            id: start.mint(),
        };
        let mut task = Task::submitted(key.id.clone(), context, clock::unix_millis());
        task.hear(start.message.clone());
        let custody = Custody {
            owner: self.boot().to_owned(),
            fence: 1,
            slot: start.slot,
            progress: Some(self.begun(start)),
            ..Custody::default()
        };
        let record = Record {
            task: task.body().clone(),
            custody: custody.clone(),
        };
        let live = Arc::new(Live::new(key.clone(), task, custody));
        self.have_told(&live);
        let hooks = start.hooks(&key.id);
        {
            let mut cell = live.lock();
            cell.hooks = Some(hooks.clone().into());
            live.occupy(&mut cell, mover);
        }
        // Before it is stored: who is sent here with the same message finds it.
        self.0.live.lock().insert(key.clone(), Arc::clone(&live));
        let taken = Taken {
            task: key.id.clone(),
            hash: hash.to_owned(),
        };
        let submitted = live.tells_transitions().then(|| submitted(&record));
        let unsent = submitted.as_ref().and_then(|(name, event)| {
            let note = notify::kept(&key, name, event, start.slot)?;
            Some((name.as_str(), note))
        });
        let written = self.write(Move {
            enters: true,
            message: Some((&start.message.message_id, &taken)),
            hooks: &hooks,
            unsent: unsent.as_ref().map(|(name, note)| (*name, note)),
            ..Move::of(&key, &record, None)
        });
        match written.await {
            Ok(etag) => {
                live.lock().etag = Some(etag);
                if let Some((name, event)) = submitted {
                    live.tell_taken(name, event);
                }
            }
            Err(record::Error::Store(error))
                if self.is_ephemeral() && self.keep_unstored(&live) =>
            {
                warn!(%error, task = key.id, "a task begins that no store knows of");
                self.0.membership.counts.ephemeral.inc();
            }
            Err(error) => {
                live.finish();
                self.forget(&live);
                return Err(unavailable(&error));
            }
        }
        Ok(live)
    }

    fn is_ephemeral(&self) -> bool {
        self.0.membership.when_down == WhenDown::Ephemeral
    }

    async fn resume(
        &self,
        start: &Start,
        hash: &str,
        mover: CancellationToken,
    ) -> Result<Arc<Live>, Problem> {
        let key = TaskKey {
            scope: start.scope.clone(),
            id: start.message.task_id.clone(),
        };
        let mut found = self.locate(&key, start.orphan).await?;
        if let Found::Here(live) = &found {
            drop(live.taking.lock().await);
            // Another may have taken it over and brought it to rest, and only we do not know. And whoever
            // was told of its rest may answer before its mover has let go of it.
            if self.recheck_one(live).await && live.is_moving_on() {
                live.rested().await?;
            }
            if !live.is_moving() {
                found = self.locate(&key, start.orphan).await?;
            }
        }
        let live = match found {
            Found::AtRest(live) => live,
            // It rests, but the store does not know.
            Found::Here(live) if !live.is_moving_on() => {
                return Err(unavailable(&record::Error::Store(state::Error::Closed)));
            }
            Found::Here(_) => return Err(busy()),
        };
        let live = self.hold(live);
        let taking = live.taking.lock().await;
        {
            let mut cell = live.lock();
            if cell.mover.is_some() {
                return Err(busy());
            }
            live.occupy(&mut cell, mover);
        }
        let resumed = self.resume_held(&live, start, hash).await;
        drop(taking);
        if resumed.is_err() {
            live.release();
            self.retire(&live);
        }
        resumed.map(|()| live)
    }

    async fn resume_held(&self, live: &Live, start: &Start, hash: &str) -> Result<(), Problem> {
        self.refresh(live).await?;
        {
            let cell = live.lock();
            let (phase, body) = (cell.task.phase(), cell.task.body());
            let context = &start.message.context_id;
            if !context.is_empty() && *context != body.context_id {
                let message = "message.contextId is not the context of message.taskId";
                return Err(Problem::new(Fault::InvalidParams, message));
            }
            match phase {
                Phase::InputRequired(_) => {}
                phase if phase.is_final() => return Err(final_state(phase, "take a message")),
                _ => return Err(busy()),
            }
        }
        self.add_hook(live, start).await?;
        let (message, progress) = (start.message.clone(), self.begun(start));
        let taken = Taken {
            task: live.key.id.clone(),
            hash: hash.to_owned(),
        };
        let step = Step {
            message: Some((&start.message.message_id, &taken)),
            ..Step::default()
        };
        let begin = |task: &mut Task, custody: &mut Custody| {
            task.hear(message);
            let update = task.step(Event::Begin, clock::unix_millis());
            custody.owner = self.boot().to_owned();
            // Taken on in the place of the worker that the id names: as adopted, though at rest.
            custody.fence = custody.fence.max(1) + u64::from(start.orphan);
            custody.slot = start.slot.or(custody.slot);
            custody.progress = Some(progress);
            update.ok().map(Payload::StatusUpdate)
        };
        let begun = self.advance(live, step, begin).await;
        begun.map_err(|error| unavailable(&error))
    }

    fn begun(&self, start: &Start) -> Progress {
        Progress::begun(&start.call, start.agent.delegates())
    }

    /// A place for a turn. One of a task that waits for its caller is given also while the worker
    /// drains: nobody else has the task in memory.
    fn seat(&self, follows_up: bool) -> Result<super::Seat, Problem> {
        if self.is_draining() && !follows_up {
            return Err(Problem::new(
                Fault::Unavailable,
                "the worker is shutting down",
            ));
        }
        let seat = self.any_seat();
        if self.0.in_flight.load(Ordering::Relaxed) > self.0.limits.capacity {
            return Err(Problem::new(Fault::Exhausted, "the worker is full"));
        }
        Ok(seat)
    }
}

/// A new task's first transition, and its name.
fn submitted(record: &Record) -> (String, Payload) {
    let update = a2a::TaskStatusUpdateEvent {
        task_id: record.task.id.clone(),
        context_id: record.task.context_id.clone(),
        status: record.task.status.clone(),
        ..a2a::TaskStatusUpdateEvent::default()
    };
    let name = transition::name(&record.custody, &update);
    (name, Payload::StatusUpdate(update))
}

/// The task that a message made and that no store knows of.
fn unstored<'a>(
    all: &'a HashMap<TaskKey, Arc<Live>>,
    scope: &Scope,
    message: &str,
) -> Option<&'a Arc<Live>> {
    all.values().find(|live| {
        let cell = live.lock();
        let mut heard = cell.task.body().history.iter();
        cell.unstored && live.key.scope == *scope && heard.any(|heard| heard.message_id == message)
    })
}

/// What a message says, for comparison: its protobuf bytes without its metadata, which a client may
/// change from one attempt to the next (a trace, a time) without meaning anything else.
fn hash(message: &Message) -> String {
    let said = Message {
        metadata: None,
        ..message.clone()
    };
    digest(&prost::Message::encode_to_vec(&said))
}
