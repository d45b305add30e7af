//! What a turn reads from the store at its begin and writes to it at its end, and what it does where the
//! store does not answer.
//!
//! # Invariants
//! - A task that was taken is not failed by a store that is away for a moment.
//! - An answer that no store knows is told only after the store was asked itself: that it did not answer
//!   another one a moment ago is not enough.

use std::time::Duration;

use mesh_proto::a2a::stream_response::Payload;
use mesh_runtime::clock;
use tokio::time::Instant;
use tracing::{error, warn};

use super::Runner;
use crate::{
    record::{self, Custody},
    session::Item,
    task::{
        document::Task,
        ledger::{Patience, Step as Written},
        state::Event,
    },
};

/// How often a rest is written to a store that does not answer, and how long between.
const SAVES: u32 = 4;
const SAVE_PAUSE: Duration = Duration::from_millis(250);

/// How long the store may take with a rest that would else be told without it.
const INSIST: Duration = Duration::from_secs(1);

/// How long a turn waits for a store that does not say what was said before.
const READ_PATIENCE: Duration = Duration::from_secs(60);

impl Runner {
    /// What was said before.
    pub(super) async fn history(&self, context: &str, unstored: bool) -> Result<Vec<Item>, Event> {
        let since = Instant::now();
        loop {
            let read = self.ledger.conversation(&self.live.key.scope, context);
            match read.await {
                Ok(history) => return Ok(history),
                Err(error) if unstored => {
                    warn!(%error, "a turn begins without what was said before");
                    return Ok(Vec::new());
                }
                Err(record::Error::Store(error)) if since.elapsed() < READ_PATIENCE => {
                    warn!(%error, task = %self.live.key.id, "a turn waits for what was said before");
                    tokio::time::sleep(SAVE_PAUSE).await;
                }
                Err(error) => {
                    error!(%error, "a conversation cannot be read");
                    return Err(Event::Fail("the conversation cannot be read".to_owned()));
                }
            }
        }
    }

    /// Stores the task at rest, with what was said in the turn, and then shows it.
    pub(super) async fn settle(&self, event: Event) {
        for attempt in 1.. {
            match self.rest(&event, Patience::AsTold).await {
                Ok(()) => return,
                Err(record::Error::Taken) => return self.ledger.lose(&self.live).await,
                Err(error) if attempt >= SAVES || self.ledger.membership().is_down() => {
                    warn!(%error, task = %self.live.key.id, "a task's rest is not stored yet");
                    break;
                }
                Err(error) => {
                    warn!(%error, task = %self.live.key.id, "storing a task again");
                    tokio::time::sleep(SAVE_PAUSE).await;
                }
            }
        }
        let insisted = self.rest(&event, Patience::Insists);
        match tokio::time::timeout(INSIST, insisted).await {
            Ok(Ok(())) => {}
            Ok(Err(record::Error::Taken)) => self.ledger.lose(&self.live).await,
            Ok(Err(error)) => {
                error!(%error, task = %self.live.key.id, "a task's rest could not be stored");
                self.tell_unsaved(event);
            }
            Err(_) => {
                error!(task = %self.live.key.id, "the store was too slow for a task's rest");
                self.tell_unsaved(event);
            }
        }
    }

    async fn rest(&self, event: &Event, patience: Patience) -> Result<(), record::Error> {
        let event = event.clone();
        let step = Written {
            said: &self.items,
            patience,
            ..Written::default()
        };
        let rest = |task: &mut Task, custody: &mut Custody| {
            custody.step += 1;
            // Under the lock that its etag is read under: what another wrote is never moved on.
            (custody.fence == self.fence).then(|| step_of(task, event))?
        };
        self.ledger.advance(&self.live, step, rest).await
    }

    /// Shows the task at rest all the same. Better an answer that only this worker knows than none: it stays
    /// in memory until the store answers again.
    fn tell_unsaved(&self, event: Event) {
        self.ledger.metrics().unsaved.inc();
        {
            let mut cell = self.live.lock();
            if cell.custody.fence != self.fence {
                return;
            }
            cell.saved = !self.ledger.membership().may_wait();
            cell.said.clone_from(&self.items);
            cell.custody.owner.clear();
            cell.custody.progress = None;
            cell.custody.step += 1;
        }
        let shown = self.live.change(|task| step_of(task, event).ok_or(()));
        self.ledger.metrics().slow(shown.unwrap_or_default());
    }
}

/// The last step of a turn. One that the task's state does not allow becomes a failure, and a task
/// that is final already stays as it is.
fn step_of(task: &mut Task, event: Event) -> Option<Payload> {
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
