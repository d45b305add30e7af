//! What can be asked of a task that is there: how it is, how it goes on, that it stops.

use std::sync::Arc;

use mesh_proto::{
    Problem,
    a2a::{self, stream_response::Payload},
};
use mesh_runtime::clock;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    super::{
        document::Task,
        live::{Events, Live},
        metrics::Resumed,
        problem::{final_state, not_cancelable, unavailable},
        ring::EventId,
        state::Event,
    },
    Found, Ledger, Step,
};
use crate::record::{Custody, TaskKey};

impl Ledger {
    /// A task as it is now. With `orphan`, a router says that its owner is gone.
    ///
    /// # Errors
    /// [`Fault::TaskNotFound`](mesh_proto::Fault::TaskNotFound);
    /// [`Fault::Unavailable`](mesh_proto::Fault::Unavailable), which names the owner where another
    /// worker moves it on.
    pub async fn read(&self, key: &TaskKey, orphan: bool) -> Result<a2a::Task, Problem> {
        let (Found::Here(live) | Found::AtRest(live)) = self.locate(key, orphan).await?;
        let cell = live.lock();
        Ok(cell.task.body().clone())
    }

    /// Follows a task that is not final. Who names the last event that it saw gets what followed, as
    /// far as that is still held, instead of the task as it is; then also of one that has become final.
    ///
    /// # Errors
    /// As [`Self::read`]; [`Fault::UnsupportedOperation`](mesh_proto::Fault::UnsupportedOperation) when
    /// it is final.
    pub async fn follow(
        &self,
        key: &TaskKey,
        last: Option<&str>,
        orphan: bool,
    ) -> Result<Events, Problem> {
        let after = last.and_then(EventId::parse);
        if last.is_some() && after.is_none() {
            self.metrics().resumed(Resumed::Unreadable);
        }
        let (Found::Here(live) | Found::AtRest(live)) = self.locate(key, orphan).await?;
        {
            let cell = live.lock();
            let phase = cell.task.phase();
            if phase.is_final() {
                let refused = final_state(phase, "be followed");
                drop(cell);
                return self.replay(&live, after).ok_or(refused);
            }
        }
        let live = self.hold(live);
        let (events, is_replay) = live.watch(self, after, false);
        if after.is_some() {
            let how = if is_replay {
                Resumed::Replayed
            } else {
                Resumed::Snapshot
            };
            self.metrics().resumed(how);
        }
        Ok(events)
    }

    /// The end of a task that is final, for who saw its beginning.
    fn replay(&self, live: &Arc<Live>, after: Option<EventId>) -> Option<Events> {
        let after = after?;
        let (held, etag) = {
            let cell = live.lock();
            (cell.ring.since(after), cell.etag?)
        };
        let followed = held.or_else(|| {
            let shelf = self.0.shelf.lock();
            shelf.get(&live.key, etag, Instant::now())?.since(after)
        })?;
        self.metrics().resumed(Resumed::Replayed);
        Some(live.replay(self, after, followed))
    }

    /// Stops a task.
    ///
    /// # Errors
    /// As [`Self::read`]; [`Fault::TaskNotCancelable`](mesh_proto::Fault::TaskNotCancelable) when it is
    /// final, or became so first.
    pub async fn cancel(&self, key: &TaskKey, orphan: bool) -> Result<a2a::Task, Problem> {
        let (Found::Here(live) | Found::AtRest(live)) = self.locate(key, orphan).await?;
        let live = self.hold(live);
        let running = {
            let mut cell = live.lock();
            match &cell.mover {
                Some(mover) => {
                    mover.cancel();
                    true
                }
                None => {
                    live.occupy(&mut cell, CancellationToken::new());
                    false
                }
            }
        };
        let canceled = if running {
            let task = live.rested().await?;
            match task.status.as_ref().map(a2a::TaskStatus::state) {
                Some(a2a::TaskState::Canceled) => Ok(task),
                // Its turn came to rest by itself first.
                Some(a2a::TaskState::InputRequired) => Box::pin(self.cancel(key, orphan)).await,
                _ => Err(not_cancelable()),
            }
        } else {
            let canceled = self.cancel_at_rest(&live).await;
            match canceled {
                Ok(_) => live.finish(),
                Err(_) => live.release(),
            }
            canceled
        };
        self.retire(&live);
        canceled
    }

    async fn cancel_at_rest(&self, live: &Live) -> Result<a2a::Task, Problem> {
        self.refresh(live).await?;
        if live.lock().task.phase().is_final() {
            return Err(not_cancelable());
        }
        let cancel = |task: &mut Task, _: &mut Custody| {
            let update = task.step(Event::Cancel, clock::unix_millis());
            update.ok().map(Payload::StatusUpdate)
        };
        self.advance(live, Step::default(), cancel)
            .await
            .map_err(|e| unavailable(&e))?;
        self.metrics().settled(a2a::TaskState::Canceled);
        Ok(live.lock().task.body().clone())
    }
}
