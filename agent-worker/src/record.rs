//! What the store keeps: tasks and who moves them on, conversations, messages that were taken, leases.
//!
//! # Invariants
//! - Every key of a caller's begins with a [`Scope`]: agent, tenant and caller. No read crosses it.
//! - A task is written under the etag that its writer read: of two workers that move the same task on,
//!   one fails. What changes with it (the index of its owner, the message that it took, what it adds to
//!   its conversation) is written in the same commit, so it happens exactly once.
//! - A conversation is appended to under its etag, so that tasks that run side by side lose nothing of
//!   each other; it keeps its last `ITEMS` items.

use std::{fmt::Write as _, time::Duration};

use bytes::Bytes;
use mesh_fabric::state::{self, Condition, Entry, Etag, Place, Store, Write};
use mesh_proto::{AgentName, a2a};
use mesh_runtime::flaw::{self, Flaw};
use serde::{Deserialize, Serialize};

use crate::session::Item;

mod custody;
mod fanned;
mod hooks;
mod keys;
mod lease;
mod roll;

pub use custody::{Custody, Progress, Record};
pub use fanned::{CHUNK, Chunk, End, Head, Seat};
pub use hooks::{HOOKS, Unsent};
pub use lease::Owned;
pub use roll::{EDIT, Edit, Edited};

/// Whose tasks and conversations: they are found under the same scope or not at all.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Scope {
    /// The agent.
    pub agent: AgentName,
    /// The tenant of the request, empty where there is none.
    pub tenant: String,
    /// The caller: a hash of its credentials, empty where there are none.
    pub principal: String,
}

/// A task within its scope.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct TaskKey {
    /// Whose.
    pub scope: Scope,
    /// Its id.
    pub id: String,
}

/// Opens the store of a place with the shelves on which records are listed.
///
/// # Errors
/// As of [`Store::open`].
pub async fn open(place: &Place) -> Result<Store, state::Error> {
    Store::with_shelves(place, keys::SHELVES).await
}

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody else has moved the task on.
    #[error("another worker has moved the task on")]
    Taken,
    /// The store's own fault.
    #[error("the store failed")]
    Store(#[source] state::Error),
    /// What was read is nothing that we wrote.
    #[error("the record cannot be read")]
    Unreadable,
}

/// How many items of a conversation are kept.
const ITEMS: usize = 400;

/// How long a message is known. A client that repeats it later says it anew.
const KNOWN_FOR: Duration = Duration::from_hours(24);

/// How often an append is tried against others that append at the same time.
const TRIES: usize = 16;

/// How many tasks are read from the store at once.
const PAGE: usize = 256;

/// Where a store keeps its own name; no kind of record begins so.
const STORE_NAME: &str = "store/name";

/// A message that was taken: by which task, and what it said.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Taken {
    /// The task.
    pub task: String,
    /// A hash of what it said.
    pub hash: String,
}

/// One step of a task in the store.
#[derive(Clone, Copy, Debug)]
pub struct Move<'a> {
    /// The task.
    pub key: &'a TaskKey,
    /// What becomes of it.
    pub record: &'a Record,
    /// The etag of the last read or write; `None` for a new task.
    pub held: Option<Etag>,
    /// Whether it enters the index of its owner.
    pub enters: bool,
    /// The boot whose index it leaves.
    pub leaves: &'a str,
    /// The message that it takes with this step, by its id. The same message is taken once.
    pub message: Option<(&'a str, &'a Taken)>,
    /// What it adds to the conversation of its context.
    pub said: &'a [Item],
    /// Where a new task's events are pushed to.
    pub hooks: &'a [a2a::TaskPushNotificationConfig],
    /// What is to be put on the bus once it is done, by the event's id.
    pub unsent: Option<(&'a str, &'a Bytes)>,
}

impl<'a> Move<'a> {
    /// A step that changes the record alone.
    #[must_use]
    pub const fn of(key: &'a TaskKey, record: &'a Record, held: Option<Etag>) -> Self {
        Self {
            key,
            record,
            held,
            enters: false,
            leaves: "",
            message: None,
            said: &[],
            hooks: &[],
            unsent: None,
        }
    }
}

/// Tasks and conversations in a store.
#[derive(Clone, Debug)]
pub struct Records {
    store: Store,
    retention: Duration,
}

impl Records {
    /// Keeps each record for `retention` after it was written last.
    #[must_use]
    pub const fn new(store: Store, retention: Duration) -> Self {
        Self { store, retention }
    }

    /// The name of the store, which is kept in the store itself: whoever opens the same one, by whatever
    /// path, reads the same name. Empty for a store that nobody else sees.
    ///
    /// # Errors
    /// [`state::Error`].
    pub async fn store_name(&self) -> Result<String, state::Error> {
        if !self.store.is_durable() {
            return Ok(String::new());
        }
        let mine = Bytes::from(mesh_runtime::dice::uuid().to_string());
        let written = self
            .store
            .put(STORE_NAME, mine, Condition::Absent, None)
            .await;
        match written {
            Ok(_) | Err(state::Error::Conflict) => {}
            Err(error) => return Err(error),
        }
        let entry = self.store.get(STORE_NAME).await?;
        let name = entry.map(|entry| String::from_utf8_lossy(&entry.value).into_owned());
        Ok(name.unwrap_or_default())
    }

    /// Whether other workers may see these records.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.store.is_durable()
    }

    /// Reads a task.
    ///
    /// # Errors
    /// [`Error`], but for [`Error::Taken`].
    pub async fn task(&self, key: &TaskKey) -> Result<Option<(Record, Etag)>, Error> {
        let entry = self.store.get(&keys::task(key)).await;
        let entry = entry.map_err(Error::Store)?;
        entry
            .map(|entry| Ok((decode(&entry)?, entry.etag)))
            .transpose()
    }

    /// What became of a message, as far back as messages are known.
    ///
    /// # Errors
    /// [`Error`], but for [`Error::Taken`].
    pub async fn taken(&self, scope: &Scope, message: &str) -> Result<Option<Taken>, Error> {
        let entry = self.store.get(&keys::message(scope, message)).await;
        let entry = entry.map_err(Error::Store)?;
        let read = |entry: Entry| serde_json::from_slice(&entry.value);
        entry.map(read).transpose().map_err(|_| Error::Unreadable)
    }

    /// Does one step of a task, all of it or nothing.
    ///
    /// # Errors
    /// [`Error`]; [`Error::Taken`] when the task is not what was held, or the message was taken before.
    pub async fn write(&self, step: Move<'_>) -> Result<Etag, Error> {
        for _ in 0..TRIES {
            let (writes, spoken) = self.writes(&step).await?;
            let written = self.commit(writes.clone()).await;
            match written {
                Err(Error::Taken) => {}
                written => {
                    let etags = written?;
                    return etags.first().copied().ok_or(Error::Unreadable);
                }
            }
            let stored = self.store.get(&keys::task(step.key)).await;
            let stored = stored.map_err(Error::Store)?.map(|entry| entry.etag);
            if stored.is_none() && step.held.is_some() && !self.store.is_durable() {
                // A full store in memory has dropped the record while its task ran. Nobody else can
                // have moved it on, since nobody else sees this store.
                return Box::pin(self.write(Move { held: None, ..step })).await;
            }
            // Where the task is what we hold, it was somebody's turn beside it that added to the
            // conversation: once more.
            if stored != step.held || !spoken {
                return Err(Error::Taken);
            }
        }
        Err(Error::Taken)
    }

    /// The writes of a step, the task's first, and whether a conversation is among them.
    async fn writes(&self, step: &Move<'_>) -> Result<(Vec<Write>, bool), Error> {
        let kept = Some(self.retention);
        let value = step.record.encode().ok_or(Error::Unreadable)?;
        let condition = match step.held {
            _ if flaw::has(Flaw::IgnoresFences) => Condition::Any,
            None => Condition::Absent,
            Some(etag) => Condition::Etag(etag),
        };
        let mut writes = vec![Write::put(keys::task(step.key), value, condition, kept)];
        let custody = &step.record.custody;
        if step.enters {
            let owned = Owned {
                key: step.key.clone(),
                slot: custody.slot,
            };
            let (key, value) = (keys::owned(&custody.owner, step.key), owned.encode());
            let value = value.ok_or(Error::Unreadable)?;
            writes.push(Write::put(key, value, Condition::Any, kept));
        }
        let stays = step.enters && step.leaves == custody.owner;
        if !step.leaves.is_empty() && !stays {
            let key = keys::owned(step.leaves, step.key);
            writes.push(Write::delete(key, Condition::Any));
        }
        if let Some((message, taken)) = step.message
            && !flaw::has(Flaw::ForgetsMessages)
        {
            let key = keys::message(&step.key.scope, message);
            let value = serde_json::to_vec(taken).map_err(|_| Error::Unreadable)?;
            let kept = Some(KNOWN_FOR.min(self.retention));
            writes.push(Write::put(key, value.into(), Condition::Absent, kept));
        }
        if !step.hooks.is_empty() {
            let value = hooks::encode(step.hooks);
            writes.push(Write::put(
                keys::hooks(step.key),
                value,
                Condition::Any,
                kept,
            ));
        }
        if let Some((event, note)) = step.unsent {
            let key = keys::unsent(step.key, event);
            writes.push(Write::put(key, note.clone(), Condition::Any, kept));
        }
        let context = &step.record.task.context_id;
        let spoken = !step.said.is_empty();
        if spoken {
            let key = keys::context(&step.key.scope, context);
            let (mut all, condition) = match self.store.get(&key).await.map_err(Error::Store)? {
                None => (Vec::new(), Condition::Absent),
                Some(entry) => (items(&entry.value)?, Condition::Etag(entry.etag)),
            };
            all.extend_from_slice(step.said);
            all.drain(..all.len().saturating_sub(ITEMS));
            let value = serde_json::to_vec(&all).map_err(|_| Error::Unreadable)?;
            writes.push(Write::put(key, value.into(), condition, kept));
        }
        Ok((writes, spoken))
    }

    /// The next tasks of a scope in the order of their keys, and where to go on, if there are more.
    ///
    /// # Errors
    /// [`Error`], but for [`Error::Taken`].
    pub async fn tasks(
        &self,
        scope: &Scope,
        after: Option<&str>,
    ) -> Result<(Vec<a2a::Task>, Option<String>), Error> {
        let prefix = keys::scope("task", scope);
        let entries = self.store.list(&prefix, after, PAGE).await;
        let entries = entries.map_err(Error::Store)?;
        let next = (entries.len() == PAGE)
            .then(|| entries.last().map(|entry| entry.key.clone()))
            .flatten();
        let tasks = entries.iter().map(|entry| Ok(decode(entry)?.task));
        Ok((tasks.collect::<Result<_, _>>()?, next))
    }

    /// What was said in a context so far, oldest first.
    ///
    /// # Errors
    /// [`Error`], but for [`Error::Taken`].
    pub async fn conversation(&self, scope: &Scope, context: &str) -> Result<Vec<Item>, Error> {
        let entry = self.store.get(&keys::context(scope, context)).await;
        match entry.map_err(Error::Store)? {
            None => Ok(Vec::new()),
            Some(entry) => items(&entry.value),
        }
    }

    /// The key of a note, for [`Self::sent`].
    #[must_use]
    pub fn unsent_key(key: &TaskKey, event: &str) -> String {
        keys::unsent(key, event)
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<Vec<Etag>, Error> {
        let written = self.store.commit(writes).await;
        written.map_err(|error| match error {
            state::Error::Conflict => Error::Taken,
            error => Error::Store(error),
        })
    }
}

/// Half of a SHA-256: enough that nobody finds other bytes with the same one.
pub(crate) fn digest(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    let half = digest.as_ref().iter().take(16);
    half.fold(String::with_capacity(32), |mut text, byte| {
        if write!(text, "{byte:02x}").is_err() {
            tracing::debug!("a string takes all that is written to it");
        }
        text
    })
}

fn decode(entry: &Entry) -> Result<Record, Error> {
    Record::decode(&entry.value).ok_or(Error::Unreadable)
}

fn items(value: &[u8]) -> Result<Vec<Item>, Error> {
    serde_json::from_slice(value).map_err(|_| Error::Unreadable)
}

#[cfg(test)]
mod tests;
