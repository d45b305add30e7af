//! A key-value store with etags, first-write-wins, transactions and expiry: where tasks and sessions
//! survive.
//!
//! [`StateStore`] is what a form must do, [`Store`] the handle that everybody holds. It asks for no more
//! than state behind a sidecar can give: reads by key, conditional writes that happen together, a time to
//! live. A form that cannot list keeps index documents, so [`Store::list`] is for prefixes that somebody
//! bounds.
//!
//! # Invariants
//! - The writes of one [`Store::commit`] happen together or not at all, each only under its
//!   [`Condition`], whoever else writes: other tasks, and for SQLite other processes on the same directory.
//! - An etag is never given to two contents of a key, not even across a deletion.
//! - What has expired reads as absent, to every condition too.
//! - [`Store::list`] is in byte order of the keys and, when walked with `after`, meets each key that
//!   stays in place exactly once.

use std::{fmt, path::PathBuf, str::FromStr, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::Deserialize;

use crate::dapr::{Settings, Unusable};

mod dapr;
mod faults;
mod memory;
mod sqlite;

use dapr::Dapr;
pub use dapr::Shelf;
pub use faults::Faults;
use memory::Memory;
pub use memory::{Bounds, Clock};
use sqlite::Sqlite;

/// Where a store lives, as a command line says it.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(try_from = "String")]
pub enum Place {
    /// `memory`: in this process, gone with it.
    #[default]
    Memory,
    /// `sqlite:DIR`: in a directory that the processes of one machine may share.
    Sqlite(PathBuf),
    /// `dapr`, or `dapr:STORE/BUS` with the names of its components: behind the Dapr sidecar that the
    /// environment names.
    Dapr {
        /// The state store component.
        store: String,
        /// The pub/sub component.
        bus: String,
    },
}

/// A text that names no place.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0:?} is no store; say memory, sqlite:DIR, dapr or dapr:STORE/BUS")]
pub struct UnknownPlace(String);

impl FromStr for Place {
    type Err = UnknownPlace;

    fn from_str(text: &str) -> Result<Self, UnknownPlace> {
        match text.split_once(':') {
            None if text == "memory" => Ok(Self::Memory),
            None if text == "dapr" => Ok(Self::dapr()),
            Some(("sqlite", dir)) if !dir.is_empty() => Ok(Self::Sqlite(PathBuf::from(dir))),
            Some(("dapr", names)) => match names.split_once('/') {
                Some((store, bus)) if !store.is_empty() && !bus.is_empty() => Ok(Self::Dapr {
                    store: store.to_owned(),
                    bus: bus.to_owned(),
                }),
                _ => Err(UnknownPlace(text.to_owned())),
            },
            _ => Err(UnknownPlace(text.to_owned())),
        }
    }
}

impl TryFrom<String> for Place {
    type Error = UnknownPlace;

    fn try_from(text: String) -> Result<Self, UnknownPlace> {
        text.parse()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::Sqlite(dir) => write!(f, "sqlite:{}", dir.display()),
            Self::Dapr { store, bus } => write!(f, "dapr:{store}/{bus}"),
        }
    }
}

impl Place {
    /// Behind a sidecar, in the components of the usual names.
    fn dapr() -> Self {
        let Settings { store, bus, .. } = Settings::default();
        Self::Dapr { store, bus }
    }

    /// Where a process keeps its things that was told nothing: behind the sidecar that it was started
    /// beside, else in memory.
    #[must_use]
    pub fn of_surroundings() -> Self {
        if crate::dapr::is_beside() {
            Self::dapr()
        } else {
            Self::Memory
        }
    }
}

/// The version of one key's content.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Etag(i64);

/// When a write may happen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Condition {
    /// Always: the last write wins.
    Any,
    /// Only when the key has no value: the first write wins.
    Absent,
    /// Only when the value is still the one that was read.
    Etag(Etag),
}

/// A key with its value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Bytes,
    /// Its version.
    pub etag: Etag,
}

/// One write of a commit.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Write {
    /// The key.
    pub key: String,
    /// What becomes of it.
    pub change: Change,
    /// When it may.
    pub condition: Condition,
}

/// What a write does to its key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Change {
    /// It has this value from now on; with `ttl` it reads as absent after that time.
    Put {
        /// The value.
        value: Bytes,
        /// How long it lives.
        ttl: Option<Duration>,
    },
    /// It has none. Deleting what is absent is no error, unless the condition says so.
    Delete,
}

impl Write {
    /// A write of a value.
    #[must_use]
    pub const fn put(
        key: String,
        value: Bytes,
        condition: Condition,
        ttl: Option<Duration>,
    ) -> Self {
        Self {
            key,
            change: Change::Put { value, ttl },
            condition,
        }
    }

    /// A deletion.
    #[must_use]
    pub const fn delete(key: String, condition: Condition) -> Self {
        Self {
            key,
            change: Change::Delete,
            condition,
        }
    }

    fn is_within_bounds(&self) -> bool {
        let value = match &self.change {
            Change::Put { value, .. } => value.len(),
            Change::Delete => 0,
        };
        !self.key.is_empty() && self.key.len() <= KEY_BYTES && value <= VALUE_BYTES
    }
}

/// How many writes a commit may have.
pub const COMMIT_WRITES: usize = 64;

/// What a form of the store does. Keys, values and counts are within their bounds when it is asked.
pub trait StateStore: fmt::Debug + Send + Sync {
    /// Whether it outlives the worker.
    fn is_durable(&self) -> bool;

    /// Reads a key.
    fn get(&self, key: String) -> BoxFuture<'_, Result<Option<Entry>, Error>>;

    /// Writes all or nothing. The etags are in the order of the writes; that of a deletion is of no
    /// content.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the commit done or not done, never half done.
    fn commit(&self, writes: Vec<Write>) -> BoxFuture<'_, Result<Vec<Etag>, Error>>;

    /// At most `limit` entries whose keys begin with `prefix` and come after `after`, in byte order.
    fn list(
        &self,
        prefix: String,
        after: Option<String>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Entry>, Error>>;
}

/// The longest key, in bytes.
pub const KEY_BYTES: usize = 4096;

/// The largest value, in bytes.
pub const VALUE_BYTES: usize = 16 << 20;

/// Why the store did not do it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// A condition does not hold, and nothing was written. Read again and decide anew.
    #[error("the value was changed by somebody else")]
    Conflict,
    /// A key is empty or over [`KEY_BYTES`], a value over [`VALUE_BYTES`], or there are more than
    /// [`COMMIT_WRITES`] writes or two of one key.
    #[error("key, value or commit is over its size bound")]
    Size,
    /// The directory cannot be made or opened, or the sidecar has no component for it.
    #[error("cannot open the store in {dir}")]
    Open {
        /// The directory, or the sidecar's address.
        dir: PathBuf,
        /// What stands in the way.
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// It cannot be read or written now: for SQLite the disk is full or not writable, or another
    /// process has held the lock too long. A retry may help, and is safe with a condition.
    #[error("the store does not answer")]
    Unavailable(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// The process is being shut down.
    #[error("the store is closed")]
    Closed,
}

/// A store. Clones are handles to the same one.
#[derive(Clone, Debug)]
pub struct Store(Arc<dyn StateStore>);

impl Store {
    /// Opens a store of which nothing is listed, making its directory where there is none.
    ///
    /// # Errors
    /// [`Error::Open`]; [`Error::Unavailable`], where a sidecar does not come up.
    pub async fn open(place: &Place) -> Result<Self, Error> {
        Self::with_shelves(place, &[]).await
    }

    /// The same; what is on these shelves can be listed in every form.
    ///
    /// # Errors
    /// As of [`Self::open`].
    pub async fn with_shelves(place: &Place, shelves: &[Shelf]) -> Result<Self, Error> {
        match place {
            Place::Memory => Ok(Self::memory(Bounds::default())),
            Place::Sqlite(dir) => Ok(Self::of(Sqlite::open(dir.clone()).await?)),
            Place::Dapr { store, .. } => {
                let settings = Settings {
                    store: store.clone(),
                    ..Settings::default()
                };
                Self::dapr(&settings, shelves.to_vec()).await
            }
        }
    }

    /// The store behind a Dapr sidecar, as soon as that is up. What is on no shelf cannot be listed.
    ///
    /// # Errors
    /// [`Error::Open`], where its component is missing or can't keep what is needed;
    /// [`Error::Unavailable`], where the sidecar does not come up.
    pub async fn dapr(settings: &Settings, shelves: Vec<Shelf>) -> Result<Self, Error> {
        let opened = Dapr::open(settings, shelves).await;
        opened.map(Self::of).map_err(|unusable| match unusable {
            Unusable::Silent { .. } => Error::Unavailable(Arc::new(unusable)),
            Unusable::Address(_) | Unusable::Component { .. } | Unusable::Lacking(_) => {
                Error::Open {
                    dir: PathBuf::from(&settings.endpoint),
                    source: Arc::new(unusable),
                }
            }
        })
    }

    /// A store of any form.
    #[must_use]
    pub fn of(form: impl StateStore + 'static) -> Self {
        Self(Arc::new(form))
    }

    /// A store in memory with bounds of one's own.
    #[must_use]
    pub fn memory(bounds: Bounds) -> Self {
        Self::of(Memory::new(bounds, now))
    }

    /// A store in memory that several workers of one process share: to each of them it is durable,
    /// since it outlives them.
    #[must_use]
    pub fn shared(bounds: Bounds) -> Self {
        Self::shared_by(bounds, now)
    }

    /// The same, whose values expire by a clock of one's own, in milliseconds.
    #[must_use]
    pub fn shared_by(bounds: Bounds, clock: impl Clock + 'static) -> Self {
        Self::of(Memory::new(bounds, clock).shared())
    }

    /// Whether it outlives the worker.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.0.is_durable()
    }

    /// Reads a key.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        self.0.get(key.to_owned()).await
    }

    /// Does all the writes, or none where one of the conditions does not hold. No two may be of one key.
    /// The etags are in the order of the writes; that of a deletion is of no content.
    ///
    /// # Errors
    /// [`Error::Conflict`], [`Error::Size`], [`Error::Unavailable`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves all done or nothing.
    pub async fn commit(&self, writes: Vec<Write>) -> Result<Vec<Etag>, Error> {
        let mut keys: Vec<_> = writes.iter().map(|write| write.key.as_str()).collect();
        keys.sort_unstable();
        let twice = keys.windows(2).any(|pair| pair[0] == pair[1]);
        if twice || writes.len() > COMMIT_WRITES || !writes.iter().all(Write::is_within_bounds) {
            return Err(Error::Size);
        }
        self.0.commit(writes).await
    }

    /// Writes a key if the condition holds. With `ttl` it reads as absent after that time.
    ///
    /// # Errors
    /// [`Error::Conflict`], when the condition does not hold; [`Error::Size`];
    /// [`Error::Unavailable`].
    pub async fn put(
        &self,
        key: &str,
        value: Bytes,
        condition: Condition,
        ttl: Option<Duration>,
    ) -> Result<Etag, Error> {
        let write = Write::put(key.to_owned(), value, condition, ttl);
        let etags = self.commit(vec![write]).await?;
        // A form that answers for another number of writes than it was given is broken.
        etags.first().copied().ok_or(Error::Closed)
    }

    /// Removes a key if the condition holds. Removing nothing under [`Condition::Any`] or
    /// [`Condition::Absent`] is no error.
    ///
    /// # Errors
    /// [`Error::Conflict`], when the condition does not hold; [`Error::Unavailable`].
    pub async fn delete(&self, key: &str, condition: Condition) -> Result<(), Error> {
        let write = Write::delete(key.to_owned(), condition);
        self.commit(vec![write]).await.map(|_| ())
    }

    /// At most `limit` entries whose keys begin with `prefix` and come after `after`.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Entry>, Error> {
        let after = after.map(str::to_owned);
        self.0.list(prefix.to_owned(), after, limit).await
    }
}

/// Opens the store that a text names: `memory`, `sqlite:DIR`, `dapr`.
///
/// # Errors
/// [`Error::Open`], also for a text that names none.
pub async fn open(text: &str) -> Result<Store, Error> {
    let place = text.parse().map_err(|source: UnknownPlace| Error::Open {
        dir: PathBuf::from(text),
        source: Arc::new(source),
    })?;
    Store::open(&place).await
}

impl Condition {
    /// Judges the content that is there now.
    fn check(self, current: Option<Etag>) -> Result<(), Error> {
        let holds = match self {
            Self::Any => true,
            Self::Absent => current.is_none(),
            Self::Etag(etag) => current == Some(etag),
        };
        holds.then_some(()).ok_or(Error::Conflict)
    }
}

/// When a value that is written now expires, in Unix milliseconds.
fn expiry(ttl: Option<Duration>, now: i64) -> Option<i64> {
    let millis = i64::try_from(ttl?.as_millis()).unwrap_or(i64::MAX);
    Some(now.saturating_add(millis))
}

/// Now, in the unit of [`expiry`].
fn now() -> i64 {
    i64::try_from(mesh_runtime::clock::unix_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod contract;
