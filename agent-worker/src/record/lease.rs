//! Who lives: a lease per life of a worker, and the list of lives that may have left tasks behind.
//!
//! # Invariants
//! - A lease that is not renewed in time is absent to everybody, by the store's own clock.
//! - A life is listed from before its first task on, until it ended or somebody found nothing left
//!   of it.

use std::time::Duration;

use bytes::Bytes;
use mesh_fabric::state::{self, Condition, Etag, Write};
use mesh_proto::{AgentName, mesh::Slot};
use serde::{Deserialize, Serialize};

use super::{Error, PAGE, Records, Scope, TaskKey, keys};

/// A task in the index of its owner.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Owned {
    /// The task.
    pub key: TaskKey,
    /// The slot that it was placed by.
    pub slot: Option<Slot>,
}

#[derive(Deserialize, Serialize)]
struct StoredOwned {
    agent: AgentName,
    #[serde(default)]
    tenant: String,
    #[serde(default)]
    principal: String,
    id: String,
    #[serde(default)]
    slot: Option<u16>,
}

impl Owned {
    pub(super) fn encode(&self) -> Option<Bytes> {
        let Scope {
            agent,
            tenant,
            principal,
        } = self.key.scope.clone();
        let stored = StoredOwned {
            agent,
            tenant,
            principal,
            id: self.key.id.clone(),
            slot: self.slot.map(|slot| slot.0),
        };
        serde_json::to_vec(&stored).ok().map(Bytes::from)
    }

    fn decode(value: &[u8]) -> Option<Self> {
        let stored: StoredOwned = serde_json::from_slice(value).ok()?;
        Some(Self {
            key: TaskKey {
                scope: Scope {
                    agent: stored.agent,
                    tenant: stored.tenant,
                    principal: stored.principal,
                },
                id: stored.id,
            },
            slot: stored.slot.map(Slot),
        })
    }
}

impl Records {
    /// Renews the lease of a boot for `ttl`; `held` is what the last renewal returned.
    ///
    /// # Errors
    /// [`Error::Taken`] when the lease had run out, so that others may have taken its tasks.
    pub async fn renew(
        &self,
        boot: &str,
        ttl: Duration,
        held: Option<Etag>,
    ) -> Result<Etag, Error> {
        let condition = held.map_or(Condition::Any, Condition::Etag);
        let (lease, worker) = (keys::lease(boot), keys::worker(boot));
        let writes = vec![
            Write::put(lease, Bytes::new(), condition, Some(ttl)),
            Write::put(worker, Bytes::new(), Condition::Any, Some(self.retention)),
        ];
        let etags = self.commit(writes).await?;
        etags.first().copied().ok_or(Error::Unreadable)
    }

    /// Whether a boot holds its lease.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn lives(&self, boot: &str) -> Result<bool, Error> {
        let entry = self.store.get(&keys::lease(boot)).await;
        entry.map(|entry| entry.is_some()).map_err(Error::Store)
    }

    /// Gives a lease back; with `done`, the boot is no more looked at: it has left nothing behind.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn release(&self, boot: &str, done: bool) -> Result<(), Error> {
        let mut writes = vec![Write::delete(keys::lease(boot), Condition::Any)];
        if done {
            writes.push(Write::delete(keys::worker(boot), Condition::Any));
        }
        self.commit(writes).await.map(|_| ())
    }

    /// The boots that may have tasks. There are about as many as there are workers.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn workers(&self) -> Result<Vec<String>, Error> {
        let (mut boots, mut after) = (Vec::new(), None);
        loop {
            let page = self.page(keys::WORKERS, after.as_deref()).await?;
            let names = page.iter().filter_map(|entry| entry.key.split('/').nth(1));
            boots.extend(names.map(str::to_owned));
            if page.len() < PAGE {
                return Ok(boots);
            }
            after = page.last().map(|entry| entry.key.clone());
        }
    }

    /// The next tasks that a boot moves on or has left, and where to go on, if there are more.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn owned(
        &self,
        boot: &str,
        after: Option<&str>,
    ) -> Result<(Vec<Owned>, Option<String>), Error> {
        let page = self.page(&keys::owned_by(boot), after).await?;
        let next = (page.len() == PAGE)
            .then(|| page.last().map(|entry| entry.key.clone()))
            .flatten();
        let owned = page.iter().filter_map(|entry| {
            let owned = Owned::decode(&entry.value);
            if owned.is_none() {
                tracing::warn!(key = entry.key, "an index entry cannot be read");
            }
            owned
        });
        Ok((owned.collect(), next))
    }

    async fn page(&self, prefix: &str, after: Option<&str>) -> Result<Vec<state::Entry>, Error> {
        let page = self.store.list(prefix, after, PAGE).await;
        page.map_err(Error::Store)
    }
}
