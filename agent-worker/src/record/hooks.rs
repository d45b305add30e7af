//! Where a task's events are pushed to, and what of them is still to be put on the bus.
//!
//! # Invariants
//! - Configurations are kept beside their task, not in it: who gives one need not own the task, and it is
//!   there for whoever adopts it.
//! - What a task has come to and the note that says so to its webhooks are one commit. The note goes
//!   when the bus has it; whoever finds one that is left puts it there.

use std::time::Duration;

use bytes::Bytes;
use mesh_fabric::state::{Condition, Write};
use mesh_proto::{Problem, a2a::TaskPushNotificationConfig as Config};
use prost::Message as _;

use super::{Error, Records, TRIES, TaskKey, keys};

/// How many configurations a task may have.
pub const HOOKS: usize = 10;

#[derive(Clone, PartialEq, prost::Message)]
struct Stored {
    #[prost(message, repeated, tag = "1")]
    configs: Vec<Config>,
}

/// What is to be put on the bus, and the key under which the store has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unsent {
    /// The key.
    pub key: String,
    /// The note.
    pub note: Bytes,
}

impl Records {
    /// Where a task's events are pushed to.
    ///
    /// # Errors
    /// [`Error`], but for [`Error::Taken`].
    pub async fn hooks(&self, key: &TaskKey) -> Result<Vec<Config>, Error> {
        let entry = self.store.get(&keys::hooks(key)).await;
        let entry = entry.map_err(Error::Store)?;
        entry.map_or_else(|| Ok(Vec::new()), |entry| decode(&entry.value))
    }

    /// Changes where a task's events are pushed to, and says where that is then. What `change` refuses
    /// stays as it is.
    ///
    /// # Errors
    /// [`Error`]; [`Error::Taken`] where others change it all the time.
    pub async fn change_hooks<T>(
        &self,
        key: &TaskKey,
        change: impl Fn(&mut Vec<Config>) -> Result<T, Problem> + Send + Sync,
    ) -> Result<Result<(T, Vec<Config>), Problem>, Error> {
        let name = keys::hooks(key);
        for _ in 0..TRIES {
            let entry = self.store.get(&name).await.map_err(Error::Store)?;
            let (mut configs, condition) = match entry {
                Some(entry) => (decode(&entry.value)?, Condition::Etag(entry.etag)),
                None => (Vec::new(), Condition::Absent),
            };
            let changed = match change(&mut configs) {
                Ok(changed) => changed,
                Err(problem) => return Ok(Err(problem)),
            };
            let value = encode(&configs);
            let write = Write::put(name.clone(), value, condition, Some(self.retention));
            match self.commit(vec![write]).await {
                Ok(_) => return Ok(Ok((changed, configs))),
                Err(Error::Taken) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::Taken)
    }

    /// Notes that nobody has put on the bus yet, the next of them after a key.
    ///
    /// # Errors
    /// [`Error`], but for [`Error::Taken`].
    pub async fn unsent(&self, after: Option<&str>, most: usize) -> Result<Vec<Unsent>, Error> {
        let entries = self.store.list(keys::OUTBOX, after, most).await;
        let entries = entries.map_err(Error::Store)?.into_iter();
        let unsent = entries.map(|entry| Unsent {
            key: entry.key,
            note: entry.value,
        });
        Ok(unsent.collect())
    }

    /// Keeps what could not be pushed.
    ///
    /// # Errors
    /// [`Error`], but for [`Error::Taken`].
    pub async fn lay_down(&self, name: &str, value: Bytes, kept: Duration) -> Result<(), Error> {
        let key = keys::dead(name);
        let laid = self
            .store
            .put(&key, value, Condition::Any, Some(kept))
            .await;
        laid.map(|_| ()).map_err(Error::Store)
    }

    /// What could not be pushed, by its names, in their order.
    ///
    /// # Errors
    /// [`Error`], but for [`Error::Taken`].
    pub async fn laid_down(
        &self,
        after: Option<&str>,
        most: usize,
    ) -> Result<Vec<(String, Bytes)>, Error> {
        let after = after.map(keys::dead);
        let entries = self.store.list(keys::DEAD, after.as_deref(), most).await;
        let entries = entries.map_err(Error::Store)?.into_iter();
        let named = entries.filter_map(|entry| {
            let name = entry.key.strip_prefix(keys::DEAD)?.to_owned();
            Some((name, entry.value))
        });
        Ok(named.collect())
    }

    /// Forgets one of them.
    ///
    /// # Errors
    /// [`Error`], but for [`Error::Taken`].
    pub async fn take_up(&self, name: &str) -> Result<(), Error> {
        let deleted = self.store.delete(&keys::dead(name), Condition::Any).await;
        deleted.map_err(Error::Store)
    }

    /// The bus has a note.
    ///
    /// # Errors
    /// [`Error`], but for [`Error::Taken`].
    pub async fn sent(&self, key: &str) -> Result<(), Error> {
        let deleted = self.store.delete(key, Condition::Any).await;
        deleted.map_err(Error::Store)
    }
}

pub(super) fn encode(configs: &[Config]) -> Bytes {
    let stored = Stored {
        configs: configs.to_vec(),
    };
    stored.encode_to_vec().into()
}

fn decode(value: &Bytes) -> Result<Vec<Config>, Error> {
    let stored = Stored::decode(value.clone());
    Ok(stored.map_err(|_| Error::Unreadable)?.configs)
}
