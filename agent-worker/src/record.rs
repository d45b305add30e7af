//! What the store keeps: a task at rest, and the conversation of a context.
//!
//! # Invariants
//! - Every key begins with a [`Scope`]: agent, tenant and caller. No read crosses it.
//! - A task is written under the etag that its writer read: of two workers that move the same task on,
//!   one fails.
//! - A conversation is appended to under its etag, so that tasks that run side by side lose nothing of
//!   each other; it keeps its last `ITEMS` items.

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;
use mesh_fabric::state::{self, Condition, Etag, Store};
use mesh_proto::{AgentName, a2a};
use prost::Message as _;

use crate::session::Item;

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

/// How often an append is tried against others that append at the same time.
const TRIES: usize = 16;

/// How many tasks are read from the store at once.
const PAGE: usize = 256;

/// Where a store keeps its own name; no kind of record begins so.
const STORE_NAME: &str = "store/name";

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
        let mine = Bytes::from(uuid::Uuid::new_v4().to_string());
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

    /// Reads a task.
    ///
    /// # Errors
    /// [`Error`], but for [`Error::Taken`].
    pub async fn task(&self, key: &TaskKey) -> Result<Option<(a2a::Task, Etag)>, Error> {
        let entry = self.store.get(&task_key(key)).await.map_err(Error::Store)?;
        entry
            .map(|entry| Ok((decode(entry.value)?, entry.etag)))
            .transpose()
    }

    /// Writes a task; `held` is the etag of the last read or write, `None` for a new task.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn save(
        &self,
        key: &TaskKey,
        task: &a2a::Task,
        held: Option<Etag>,
    ) -> Result<Etag, Error> {
        let (name, value) = (task_key(key), Bytes::from(task.encode_to_vec()));
        let condition = held.map_or(Condition::Absent, Condition::Etag);
        let written = self.put(&name, value.clone(), condition).await;
        let forgotten = matches!(written, Err(Error::Taken))
            && !self.store.is_durable()
            && matches!(self.store.get(&name).await, Ok(None));
        if forgotten {
            // A full store in memory has dropped the record while its task ran. Nobody else can have
            // moved it on, since nobody else sees this store.
            return self.put(&name, value, Condition::Absent).await;
        }
        written
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
        let prefix = scope_key("task", scope);
        let entries = self.store.list(&prefix, after, PAGE).await;
        let entries = entries.map_err(Error::Store)?;
        let next = (entries.len() == PAGE)
            .then(|| entries.last().map(|entry| entry.key.clone()))
            .flatten();
        let tasks = entries.into_iter().map(|entry| decode(entry.value));
        Ok((tasks.collect::<Result<_, _>>()?, next))
    }

    /// What was said in a context so far, oldest first.
    ///
    /// # Errors
    /// [`Error`], but for [`Error::Taken`].
    pub async fn conversation(&self, scope: &Scope, context: &str) -> Result<Vec<Item>, Error> {
        let entry = self.store.get(&context_key(scope, context)).await;
        match entry.map_err(Error::Store)? {
            None => Ok(Vec::new()),
            Some(entry) => items(&entry.value),
        }
    }

    /// Adds to what was said in a context.
    ///
    /// # Errors
    /// [`Error`]; [`Error::Taken`] when others added without a pause.
    pub async fn remember(&self, scope: &Scope, context: &str, new: &[Item]) -> Result<(), Error> {
        if new.is_empty() {
            return Ok(());
        }
        let key = context_key(scope, context);
        for _ in 0..TRIES {
            let (mut all, condition) = match self.store.get(&key).await.map_err(Error::Store)? {
                None => (Vec::new(), Condition::Absent),
                Some(entry) => (items(&entry.value)?, Condition::Etag(entry.etag)),
            };
            all.extend_from_slice(new);
            all.drain(..all.len().saturating_sub(ITEMS));
            let value = serde_json::to_vec(&all).map_err(|_| Error::Unreadable)?;
            match self.put(&key, Bytes::from(value), condition).await {
                Err(Error::Taken) => {}
                written => return written.map(|_| ()),
            }
        }
        Err(Error::Taken)
    }

    async fn put(&self, key: &str, value: Bytes, condition: Condition) -> Result<Etag, Error> {
        let written = self.store.put(key, value, condition, Some(self.retention));
        written.await.map_err(|error| match error {
            state::Error::Conflict => Error::Taken,
            error => Error::Store(error),
        })
    }
}

fn decode(value: Bytes) -> Result<a2a::Task, Error> {
    a2a::Task::decode(value).map_err(|_| Error::Unreadable)
}

fn items(value: &[u8]) -> Result<Vec<Item>, Error> {
    serde_json::from_slice(value).map_err(|_| Error::Unreadable)
}

fn task_key(key: &TaskKey) -> String {
    scope_key("task", &key.scope) + &escape(&key.id)
}

fn context_key(scope: &Scope, context: &str) -> String {
    scope_key("context", scope) + &escape(context)
}

fn scope_key(kind: &str, scope: &Scope) -> String {
    let Scope {
        agent,
        tenant,
        principal,
    } = scope;
    format!("{kind}/{agent}/{}/{principal}/", escape(tenant))
}

/// Foreign text never holds the character that separates the parts of a key.
fn escape(text: &str) -> Cow<'_, str> {
    if text.contains(['/', '%']) {
        Cow::Owned(text.replace('%', "%25").replace('/', "%2F"))
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;
    use crate::session::Entry;

    fn scope(tenant: &str, principal: &str) -> Scope {
        Scope {
            agent: AgentName::parse("a").unwrap(),
            tenant: tenant.to_owned(),
            principal: principal.to_owned(),
        }
    }

    fn records(bounds: state::Bounds) -> Records {
        Records::new(Store::memory(bounds), Duration::from_secs(60))
    }

    fn task(id: &str) -> a2a::Task {
        a2a::Task {
            id: id.to_owned(),
            ..a2a::Task::default()
        }
    }

    fn item(text: &str) -> Item {
        Item {
            task: "t".to_owned(),
            entry: Entry::User {
                text: text.to_owned(),
                fields: Map::new(),
            },
        }
    }

    #[tokio::test]
    async fn one_of_two_writers_fails_and_no_scope_sees_anothers_task() {
        let records = records(state::Bounds::default());
        let key = |tenant: &str, principal: &str| TaskKey {
            scope: scope(tenant, principal),
            id: "x/1".to_owned(),
        };
        let mine = key("t", "p");
        let etag = records.save(&mine, &task("x/1"), None).await.unwrap();
        let twice = records.save(&mine, &task("x/1"), None).await;
        assert!(matches!(twice, Err(Error::Taken)));
        records.save(&mine, &task("x/1"), Some(etag)).await.unwrap();
        let late = records.save(&mine, &task("x/1"), Some(etag)).await;
        assert!(matches!(late, Err(Error::Taken)));
        for other in [key("t", ""), key("", "p"), key("t/p", ""), key("t%2Fp", "")] {
            assert!(records.task(&other).await.unwrap().is_none(), "{other:?}");
            let (tasks, _) = records.tasks(&other.scope, None).await.unwrap();
            assert!(tasks.is_empty(), "{other:?}");
        }
        assert!(records.task(&mine).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn a_task_that_a_full_memory_forgot_is_written_again() {
        let records = records(state::Bounds {
            entries: 1,
            bytes: 1000,
        });
        let key = |id: &str| TaskKey {
            scope: scope("", ""),
            id: id.to_owned(),
        };
        let etag = records.save(&key("1"), &task("1"), None).await.unwrap();
        records.save(&key("2"), &task("2"), None).await.unwrap();
        records
            .save(&key("1"), &task("1"), Some(etag))
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn whoever_opens_the_same_store_reads_the_same_name() {
        let directory = tempfile::tempdir().unwrap();
        let open = async |place: &std::path::Path| {
            let store = Store::open(&state::Place::Sqlite(place.to_owned()))
                .await
                .unwrap();
            let records = Records::new(store, Duration::from_secs(60));
            records.store_name().await.unwrap()
        };
        let one = open(directory.path()).await;
        assert!(!one.is_empty());
        assert_eq!(open(&directory.path().join(".")).await, one);
        assert_ne!(open(&directory.path().join("other")).await, one);
        let memory = records(state::Bounds::default());
        assert_eq!(memory.store_name().await.unwrap(), "");
    }

    #[tokio::test]
    async fn conversations_that_grow_side_by_side_lose_nothing_but_their_oldest() {
        let records = records(state::Bounds::default());
        let scope = scope("", "");
        let add = |text: &'static str| {
            let (records, scope) = (records.clone(), scope.clone());
            async move { records.remember(&scope, "c", &[item(text)]).await.unwrap() }
        };
        tokio::join!(add("1"), add("2"), add("3"), add("4"));
        assert_eq!(records.conversation(&scope, "c").await.unwrap().len(), 4);
        assert!(records.conversation(&scope, "d").await.unwrap().is_empty());
        let many = vec![item("x"); ITEMS - 1];
        records.remember(&scope, "c", &many).await.unwrap();
        let kept = records.conversation(&scope, "c").await.unwrap();
        assert_eq!(kept.len(), ITEMS);
        assert_eq!(kept[1], item("x"));
    }

    #[tokio::test]
    async fn tasks_are_read_page_by_page() {
        let records = records(state::Bounds::default());
        for n in 0..PAGE + 3 {
            let id = format!("{n:04}");
            let key = TaskKey {
                scope: scope("", ""),
                id: id.clone(),
            };
            records.save(&key, &task(&id), None).await.unwrap();
        }
        let (first, next) = records.tasks(&scope("", ""), None).await.unwrap();
        assert_eq!(first.len(), PAGE);
        let (rest, end) = records
            .tasks(&scope("", ""), next.as_deref())
            .await
            .unwrap();
        assert_eq!((rest.len(), end), (3, None));
    }
}
