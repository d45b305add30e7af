//! A key-value store with etags, first-write-wins and expiry: where tasks and sessions survive.
//!
//! # Invariants
//! - A write with a [`Condition`] happens entirely or not at all, whoever else writes: other tasks,
//!   and for SQLite other processes on the same directory.
//! - An etag is never given to two contents of a key, not even across a deletion.
//! - What has expired reads as absent, to every condition too.
//! - [`Store::list`] is in byte order of the keys and, when walked with `after`, meets each key that
//!   stays in place exactly once.

use std::{fmt, path::PathBuf, str::FromStr, sync::Arc, time::Duration};

use bytes::Bytes;

mod memory;
mod sqlite;

pub use memory::Bounds;
use memory::Memory;
use sqlite::Sqlite;

/// Where a store lives, as a command line says it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Place {
    /// `memory`: in this process, gone with it.
    #[default]
    Memory,
    /// `sqlite:DIR`: in a directory that the processes of one machine may share.
    Sqlite(PathBuf),
}

/// A text that names no place.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0:?} is no store; say memory or sqlite:DIR")]
pub struct UnknownPlace(String);

impl FromStr for Place {
    type Err = UnknownPlace;

    fn from_str(text: &str) -> Result<Self, UnknownPlace> {
        match text.split_once(':') {
            None if text == "memory" => Ok(Self::Memory),
            Some(("sqlite", dir)) if !dir.is_empty() => Ok(Self::Sqlite(PathBuf::from(dir))),
            _ => Err(UnknownPlace(text.to_owned())),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::Sqlite(dir) => write!(f, "sqlite:{}", dir.display()),
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

/// The longest key, in bytes.
pub const KEY_BYTES: usize = 4096;

/// The largest value, in bytes.
pub const VALUE_BYTES: usize = 16 << 20;

/// Why the store did not do it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The condition does not hold. Read again and decide anew.
    #[error("the value was changed by somebody else")]
    Conflict,
    /// The key is empty or over [`KEY_BYTES`], or the value over [`VALUE_BYTES`].
    #[error("key or value is over its size bound")]
    Size,
    /// The directory cannot be made or opened.
    #[error("cannot open the store in {dir}")]
    Open {
        /// The directory.
        dir: PathBuf,
        /// What stands in the way.
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// SQLite refuses: the disk is full, or another process has held the lock too long. A retry may
    /// help, and is safe with a condition.
    #[error("the store does not answer")]
    Unavailable(#[source] Arc<rusqlite::Error>),
    /// The process is being shut down.
    #[error("the store is closed")]
    Closed,
}

/// A store. Clones are handles to the same one.
#[derive(Clone, Debug)]
pub struct Store(Form);

#[derive(Clone, Debug)]
enum Form {
    Memory(Arc<Memory>),
    Sqlite(Arc<Sqlite>),
}

impl Store {
    /// Opens a store, making its directory where there is none.
    ///
    /// # Errors
    /// [`Error::Open`].
    pub async fn open(place: &Place) -> Result<Self, Error> {
        match place {
            Place::Memory => Ok(Self::memory(Bounds::default())),
            Place::Sqlite(dir) => {
                let sqlite = Sqlite::open(dir.clone()).await?;
                Ok(Self(Form::Sqlite(Arc::new(sqlite))))
            }
        }
    }

    /// A store in memory with bounds of one's own.
    #[must_use]
    pub fn memory(bounds: Bounds) -> Self {
        Self(Form::Memory(Arc::new(Memory::new(bounds))))
    }

    /// Whether it outlives the process.
    #[must_use]
    pub const fn is_durable(&self) -> bool {
        matches!(self.0, Form::Sqlite(_))
    }

    /// Reads a key.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        match &self.0 {
            Form::Memory(memory) => Ok(memory.get(key)),
            Form::Sqlite(sqlite) => sqlite.get(key.to_owned()).await,
        }
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
        if key.is_empty() || key.len() > KEY_BYTES || value.len() > VALUE_BYTES {
            return Err(Error::Size);
        }
        match &self.0 {
            Form::Memory(memory) => memory.put(key, value, condition, ttl),
            Form::Sqlite(sqlite) => sqlite.put(key.to_owned(), value, condition, ttl).await,
        }
    }

    /// Removes a key if the condition holds; whether there was a value. Removing nothing under
    /// [`Condition::Any`] or [`Condition::Absent`] is no error.
    ///
    /// # Errors
    /// [`Error::Conflict`], when the condition does not hold; [`Error::Unavailable`].
    pub async fn delete(&self, key: &str, condition: Condition) -> Result<bool, Error> {
        match &self.0 {
            Form::Memory(memory) => memory.delete(key, condition),
            Form::Sqlite(sqlite) => sqlite.delete(key.to_owned(), condition).await,
        }
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
        match &self.0 {
            Form::Memory(memory) => Ok(memory.list(prefix, after, limit)),
            Form::Sqlite(sqlite) => {
                let after = after.map(str::to_owned);
                sqlite.list(prefix.to_owned(), after, limit).await
            }
        }
    }
}

/// Opens the store that a text names: `memory` or `sqlite:DIR`.
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
fn expiry(ttl: Option<Duration>) -> Option<i64> {
    let ttl = ttl?;
    let millis = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
    let at = mesh_runtime::clock::unix_millis().saturating_add(millis);
    Some(i64::try_from(at).unwrap_or(i64::MAX))
}

/// Now, in the unit of [`expiry`].
fn now() -> i64 {
    i64::try_from(mesh_runtime::clock::unix_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod contract;
