//! Whose a task is: found out, taken over, noted on the way, given back.
//!
//! # Invariants
//! - A task is adopted only from an owner that is gone, whose lease has run out or that let go of it, or
//!   because a router vouches for that in the very call. Whoever is mistaken costs a repeated step, not
//!   a second outcome: each adoption raises the fence under the etag, and the old owner's next write
//!   fails.
//! - Who loses a task tells nobody anything of it any more: its streams break, its callers are sent to
//!   the new owner.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream};
use mesh_proto::{Problem, a2a::TaskState};
use mesh_runtime::clock;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{
    super::{
        document::Task,
        live::Live,
        problem::{elsewhere, moved, not_found, unavailable},
        runner::Runner,
        state::Event,
        survival::Duty,
    },
    Found, Ledger,
};
use crate::record::{self, Custody, Move, Owned, Record, TaskKey};

/// How many tasks are adopted or looked at side by side.
const AT_ONCE: usize = 16;

/// How long a store that may not answer is waited for before a rest is told that it does not know.
const SAVE_WITHIN: Duration = Duration::from_millis(500);

/// How often a task is looked for that others move on at the same moment.
const LOOKS: usize = 4;

/// Whose a task is.
enum Whose {
    /// Nobody's: it may be adopted.
    Free(Duty),
    /// Another worker's, by its boot.
    Other(String),
}

impl Ledger {
    /// Finds a task where it is: here, in the store, or with another worker, which the problem names.
    /// One whose owner is gone is here after that.
    pub(super) async fn locate(&self, key: &TaskKey, orphan: bool) -> Result<Found, Problem> {
        for _ in 0..LOOKS {
            let held = self.find(key);
            if let Some(live) = held.clone().filter(|live| live.is_moving()) {
                if self.is_still_ours(&live).await {
                    return Ok(Found::Here(live));
                }
                continue;
            }
            let read = self.records().task(key).await;
            let Some((record, etag)) = read.map_err(|e| unavailable(&e))? else {
                // A store in memory may have forgotten it; then what we hold is all there is.
                return held.map(Found::AtRest).ok_or_else(|| not_found(key));
            };
            let Record { task, custody } = record;
            let task =
                Task::restored(task).ok_or_else(|| unavailable(&record::Error::Unreadable))?;
            let at_rest = task.phase().is_at_rest();
            let whose = if at_rest {
                None
            } else {
                let whose = self.whose(key.scope.agent.as_str(), &custody, orphan).await;
                Some(whose.map_err(|e| unavailable(&e))?)
            };
            if let Some(Whose::Other(owner)) = &whose {
                if let Some(live) = held {
                    self.let_go(&live, &moved(owner));
                }
                return Err(moved(owner));
            }
            let live = match held {
                Some(live) => live,
                None => Arc::new(Live::restored(
                    key.clone(),
                    task.clone(),
                    custody.clone(),
                    etag,
                )),
            };
            if !live.renew(task, custody, etag) {
                // Somebody here has begun to move it meanwhile.
                continue;
            }
            match whose {
                Some(Whose::Free(why)) => {
                    if let Some(live) = self.adopt(live, why).await? {
                        return Ok(Found::Here(live));
                    }
                }
                _ => return Ok(Found::AtRest(live)),
            }
        }
        Err(elsewhere())
    }

    async fn whose(
        &self,
        agent: &str,
        custody: &Custody,
        orphan: bool,
    ) -> Result<Whose, record::Error> {
        let owner = &custody.owner;
        let why = if custody.released || owner.is_empty() || owner == self.boot() {
            Duty::Released
        } else if orphan && custody.fence <= 1 {
            // The word is of the worker that the id names, the first one. Of who adopted the task since,
            // the router knows nothing.
            Duty::Vouched
        } else if self.is_out_of_reach(agent, owner) {
            Duty::Gone
        } else if !self.records().lives(owner).await? {
            Duty::Lapsed
        } else {
            return Ok(Whose::Other(owner.clone()));
        };
        Ok(Whose::Free(why))
    }

    /// Whether routers hold a life of a worker to be over, or have it among an agent's members no more: then
    /// whoever asked for its task can't be sent there.
    fn is_out_of_reach(&self, agent: &str, owner: &str) -> bool {
        let seen = self.0.membership.views.now();
        seen.is_gone(owner) || seen.has_left(agent, owner)
    }

    /// Takes a task over and goes on with its turn; `None` where another worker was first.
    async fn adopt(&self, live: Arc<Live>, why: Duty) -> Result<Option<Arc<Live>>, Problem> {
        let Some(agent) = self.0.membership.agents.get(&live.key.scope.agent).cloned() else {
            return Err(elsewhere());
        };
        let live = self.hold(live);
        let cancel = CancellationToken::new();
        let (task, record, etag, left) = {
            let mut cell = live.lock();
            if cell.mover.is_some() {
                drop(cell);
                return Ok(Some(live));
            }
            live.occupy(&mut cell, cancel.clone());
            let mut custody = cell.custody.clone();
            let left = std::mem::replace(&mut custody.owner, self.boot().to_owned());
            custody.fence += 1;
            custody.released = false;
            let mut task = cell.task.clone();
            if task.phase().state() == TaskState::Submitted
                && let Err(illegal) = task.step(Event::Begin, clock::unix_millis())
            {
                warn!(%illegal, task = live.key.id, "an adopted task cannot begin");
            }
            let body = task.body().clone();
            let record = Record {
                task: body,
                custody,
            };
            (task, record, cell.etag, left)
        };
        let written = self.write(Move {
            enters: true,
            leaves: &left,
            ..Move::of(&live.key, &record, etag)
        });
        match written.await {
            Ok(etag) => {
                live.take_over(task, record.custody, etag);
                self.learn_hooks(&live).await;
            }
            Err(error) => {
                live.release();
                self.retire(&live);
                return match error {
                    record::Error::Taken => Ok(None),
                    error => Err(unavailable(&error)),
                };
            }
        }
        info!(task = live.key.id, from = left, ?why, "a task is adopted");
        self.0.membership.counts.adopted(why);
        let runner = Runner::adopted(self.clone(), Arc::clone(&live), agent, self.any_seat());
        self.0.drain.spawn("turn", runner.run(cancel));
        Ok(Some(live))
    }

    /// Adopts what another life of a worker has left, as far as it is in slots of our own. Returns
    /// whether anything is left of it.
    pub(in crate::task) async fn sweep(&self, boot: &str) -> Result<bool, record::Error> {
        let (mut after, mut left) = (None, false);
        loop {
            let (owned, next) = self.records().owned(boot, after.as_deref()).await?;
            let adopted = stream::iter(owned).map(|owned| self.inherit(owned));
            let adopted: Vec<bool> = adopted.buffer_unordered(AT_ONCE).collect().await;
            left |= adopted.contains(&false);
            match next {
                Some(next) => after = Some(next),
                None => return Ok(left),
            }
        }
    }

    async fn inherit(&self, owned: Owned) -> bool {
        let agent = owned.key.scope.agent.as_str();
        let seen = self.0.membership.views.now();
        let is_ours = owned.slot.is_none_or(|slot| {
            // Where no router told who has the slot, whoever is first has it.
            seen.is_mine(agent, slot) || seen.owner(agent, slot).is_none()
        });
        if !is_ours || !self.0.membership.agents.contains_key(agent) {
            return false;
        }
        match self.locate(&owned.key, false).await {
            Ok(_) => true,
            Err(problem) => {
                warn!(%problem, task = owned.key.id, "a task was not adopted");
                super::is_moved(&problem)
            }
        }
    }

    /// Adopts tasks that another worker hands over.
    pub(crate) async fn take_over(&self, keys: Vec<TaskKey>) -> Vec<Result<(), Problem>> {
        let taken =
            stream::iter(keys).map(|key| async move { self.locate(&key, false).await.map(|_| ()) });
        taken.buffered(AT_ONCE).collect().await
    }

    /// Notes how far a turn has come. Without a store the turn goes on all the same.
    pub(in crate::task) async fn checkpoint(&self, live: &Live) -> Result<(), record::Error> {
        if self.0.membership.is_down() {
            return Ok(());
        }
        let (record, etag) = live.record();
        let written = self.write(Move::of(&live.key, &record, etag)).await;
        self.0.membership.counts.checkpoint(written.is_ok());
        live.lock().etag = Some(written?);
        Ok(())
    }

    /// Somebody else has written the task: from here on it is theirs.
    pub(in crate::task) async fn lose(&self, live: &Arc<Live>) {
        warn!(task = %live.key.id, "another worker has taken the task");
        self.0.membership.counts.lost.inc();
        match self.records().task(&live.key).await {
            Ok(Some((Record { task, custody }, etag))) => {
                let owner = custody.owner.clone();
                match Task::restored(task) {
                    Some(task) if task.phase().is_at_rest() => {
                        // Who waits for the answer gets it; who followed lacks what led to it.
                        live.part(&moved(""));
                        live.settle(task, custody, etag);
                        self.retire(live);
                    }
                    _ => self.let_go(live, &moved(&owner)),
                }
            }
            Ok(None) | Err(_) => self.let_go(live, &elsewhere()),
        }
    }

    /// Looks whether the tasks that we move on are still ours: after a time in which our lease may have
    /// run out.
    pub(in crate::task) async fn recheck(&self) {
        let all: Vec<_> = self.0.live.lock().values().cloned().collect();
        let moving = all.into_iter().filter(|live| live.is_moving());
        let checks = stream::iter(moving).map(|live| async move { self.recheck_one(&live).await });
        checks.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await;
    }

    /// Whether a task that moves here is ours: after this process stood still, the store tells. What came to
    /// rest while the store did not answer is written first, where it does by now: others may have
    /// adopted the task meanwhile, and nobody is told of two outcomes.
    async fn is_still_ours(&self, live: &Arc<Live>) -> bool {
        if self.membership().stood_still(Instant::now()) {
            self.recheck_one(live).await;
        }
        if live.is_unsaved() {
            let saved = tokio::time::timeout(SAVE_WITHIN, self.save(live)).await;
            if saved.is_err() {
                debug!(task = %live.key.id, "a task's rest is told that no store knows");
            }
        }
        live.is_moving()
    }

    /// The same of one task. Returns whether it is ours and has come to rest, be it that only the store
    /// knows of that yet: then whoever moves it is about to let go.
    pub(super) async fn recheck_one(&self, live: &Arc<Live>) -> bool {
        let stored = self.records().task(&live.key).await;
        let Ok(Some((Record { task, custody }, _))) = stored else {
            return live.is_settling();
        };
        let fence = live.lock().custody.fence;
        let is_anothers = !custody.owner.is_empty() && custody.owner != self.boot();
        if custody.fence > fence || is_anothers {
            self.lose(live).await;
            return false;
        }
        let rests = Task::restored(task).is_some_and(|task| task.phase().is_at_rest());
        rests || live.is_settling()
    }

    /// Lets go of a task: who is told of it is told to ask elsewhere.
    pub(in crate::task) fn let_go(&self, live: &Arc<Live>, problem: &Problem) {
        live.let_go(problem);
        self.forget(live);
    }

    /// Writes what came to rest while the store did not answer.
    pub(in crate::task) async fn catch_up(&self) {
        let all: Vec<_> = self.0.live.lock().values().cloned().collect();
        for live in all.iter().filter(|live| live.is_unsaved()) {
            self.save(live).await;
        }
    }

    /// The same of one task.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it written or not; what is written already is found so the next time.
    async fn save(&self, live: &Arc<Live>) {
        let _one_at_a_time = live.taking.lock().await;
        if !live.is_unsaved() {
            return;
        }
        let said = live.lock().said.clone();
        let (record, etag) = live.record();
        let written = self.records().write(Move {
            leaves: self.boot(),
            said: &said,
            ..Move::of(&live.key, &record, etag)
        });
        match written.await {
            Ok(etag) => {
                let mut cell = live.lock();
                (cell.etag, cell.saved) = (Some(etag), true);
                cell.said.clear();
                drop(cell);
                self.membership().saved();
                self.retire(live);
            }
            Err(record::Error::Taken) => {
                self.membership().saved();
                self.lose(live).await;
            }
            Err(error) => {
                warn!(%error, task = %live.key.id, "a task's rest still cannot be stored");
            }
        }
    }
}
