//! The webhooks that want to know what happens to a task.
//!
//! # Invariants
//! - They are given, read and taken away by whoever may read the task, at the worker that has it: what
//!   it holds of them in memory is what the store has.
//! - A configuration has an id, and a task at most [`HOOKS`] of them.

use std::sync::Arc;

use bytes::Bytes;
use mesh_proto::{
    Fault, Problem,
    a2a::{TaskPushNotificationConfig as Config, stream_response::Payload},
};
use tracing::warn;

use super::{
    super::{document::Task, live::Live, problem::unavailable, runner::Start},
    Found, Ledger,
};
use crate::{
    notify::{self, Notifier, transition},
    record::{Custody, HOOKS, TaskKey},
};

impl Ledger {
    /// Has webhooks told from now on.
    pub fn notify_by(&self, notifier: Notifier) {
        self.0.notifier.get_or_init(|| notifier);
    }

    /// Adds a configuration to a task, or replaces the one of its id.
    ///
    /// # Errors
    /// As [`Ledger::read`]; [`Fault::InvalidParams`] when the task has too many.
    pub async fn give_hook(
        &self,
        key: &TaskKey,
        config: Config,
        orphan: bool,
    ) -> Result<Config, Problem> {
        let config = Config {
            task_id: key.id.clone(),
            ..config
        };
        let given = config.clone();
        self.change_hooks(key, orphan, move |all| put(all, &given))
            .await?;
        Ok(config)
    }

    /// The configurations of a task.
    ///
    /// # Errors
    /// As [`Ledger::read`].
    pub async fn hooks(&self, key: &TaskKey, orphan: bool) -> Result<Vec<Config>, Problem> {
        self.locate(key, orphan).await?;
        let hooks = self.records().hooks(key).await;
        hooks.map_err(|error| unavailable(&error))
    }

    /// Takes a configuration away; that there is none of this id is no error.
    ///
    /// # Errors
    /// As [`Ledger::read`].
    pub async fn take_hook(&self, key: &TaskKey, id: &str, orphan: bool) -> Result<(), Problem> {
        self.change_hooks(key, orphan, |all| {
            all.retain(|each| each.id != id);
            Ok(())
        })
        .await
    }

    async fn change_hooks(
        &self,
        key: &TaskKey,
        orphan: bool,
        change: impl Fn(&mut Vec<Config>) -> Result<(), Problem> + Send + Sync,
    ) -> Result<(), Problem> {
        let (Found::Here(live) | Found::AtRest(live)) = self.locate(key, orphan).await?;
        let changed = self.records().change_hooks(key, change).await;
        let ((), hooks) = changed.map_err(|error| unavailable(&error))??;
        live.lock().hooks = Some(hooks.into());
        Ok(())
    }

    /// Adds what a message that goes on with a task wants, and learns what was wanted before.
    pub(super) async fn add_hook(&self, live: &Live, start: &Start) -> Result<(), Problem> {
        let [given] = &start.hooks(&live.key.id)[..] else {
            self.learn_hooks(live).await;
            return Ok(());
        };
        let changed = self
            .records()
            .change_hooks(&live.key, |all| put(all, given));
        let ((), hooks) = changed.await.map_err(|error| unavailable(&error))??;
        live.lock().hooks = Some(hooks.into());
        Ok(())
    }

    /// A task that comes into memory is told of by the ledger's notifier.
    pub(super) fn have_told(&self, live: &Live) {
        if let Some(notifier) = self.0.notifier.get() {
            live.notify_by(notifier);
        }
    }

    /// Reads who wants to know of a task, where that is not known here.
    pub(super) async fn learn_hooks(&self, live: &Live) {
        if !live.notifies() || live.lock().hooks.is_some() {
            return;
        }
        match self.records().hooks(&live.key).await {
            Ok(hooks) => live.lock().hooks = Some(hooks.into()),
            Err(error) => warn!(%error, task = live.key.id, "nobody knows yet who is to be told"),
        }
    }

    /// What the store is to keep of a step until the bus has it: the rest of a task that somebody wants
    /// to know of, and each transition where they are told; and the event's name.
    pub(super) async fn unsent(
        &self,
        live: &Live,
        task: &Task,
        custody: &Custody,
        payload: &Payload,
    ) -> Option<(String, Bytes)> {
        let Payload::StatusUpdate(update) = payload else {
            return None;
        };
        let tells_all = live.tells_transitions();
        if !(tells_all || task.phase().is_at_rest()) || !live.notifies() {
            return None;
        }
        self.learn_hooks(live).await;
        // Where nobody could say, it is better told to nobody than lost.
        let is_for_nobody = |hooks: &Arc<[Config]>| hooks.is_empty();
        if !tells_all && live.lock().hooks.as_ref().is_some_and(is_for_nobody) {
            return None;
        }
        let id = transition::name(custody, update);
        let note = notify::kept(&live.key, &id, payload, custody.slot)?;
        Some((id, note))
    }
}

/// Adds a configuration, or replaces the one of its id.
fn put(all: &mut Vec<Config>, given: &Config) -> Result<(), Problem> {
    let is_full = all.len() >= HOOKS;
    match all.iter_mut().find(|each| each.id == given.id) {
        Some(same) => *same = given.clone(),
        None if is_full => return Err(too_many()),
        None => all.push(given.clone()),
    }
    Ok(())
}

fn too_many() -> Problem {
    let text = format!("a task has at most {HOOKS} push configurations");
    Problem::new(Fault::InvalidParams, text).with("field", "pushNotificationConfig")
}
