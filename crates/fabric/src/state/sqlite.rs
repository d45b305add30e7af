//! The store in SQLite: a file in WAL mode that several processes of one machine open at once.
//!
//! # Invariants
//! - Each write is one `BEGIN IMMEDIATE` transaction: condition and write see the same state.
//! - `synchronous=NORMAL`: a killed process loses nothing, a power cut may lose the last moments but
//!   never leaves a half-written state.
//! - SQLite calls run on the blocking pool: one writer and a few readers at a time per process; more
//!   callers wait in order, and another process is waited for at most [`BUSY`].

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension as _, Row, TransactionBehavior, params};
use tokio::sync::Semaphore;

use super::{Condition, Entry, Error, Etag, expiry, now};

/// How long a write waits for another process's before it fails as unavailable.
const BUSY: Duration = Duration::from_secs(5);

/// Connections for reading; WAL lets them run beside the writer.
const READERS: usize = 4;

/// After how many writes expired rows are looked for, and how many go at once.
const SWEEP: u64 = 256;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS state (
        key     BLOB NOT NULL PRIMARY KEY,
        value   BLOB NOT NULL,
        etag    INTEGER NOT NULL,
        expires INTEGER
    );
    CREATE INDEX IF NOT EXISTS state_expires ON state (expires) WHERE expires IS NOT NULL;
    CREATE TABLE IF NOT EXISTS sequence (one INTEGER PRIMARY KEY CHECK (one = 1), last INTEGER NOT NULL);
    INSERT OR IGNORE INTO sequence VALUES (1, 0);
";

#[derive(Debug)]
pub(super) struct Sqlite {
    writer: Arc<Lane>,
    readers: Arc<Lane>,
    writes: AtomicU64,
}

/// Connections that are lent to one call each; who finds none free waits.
#[derive(Debug)]
struct Lane {
    free: Mutex<Vec<Connection>>,
    room: Arc<Semaphore>,
}

impl Lane {
    fn of(connections: Vec<Connection>) -> Arc<Self> {
        let room = Arc::new(Semaphore::new(connections.len()));
        Arc::new(Self {
            free: Mutex::new(connections),
            room,
        })
    }

    /// Runs `work` with a connection on the blocking pool. Once it runs, it runs to its end, even if
    /// the caller is dropped: a write is never cut in the middle.
    async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&mut Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let permit = Arc::clone(&self.room)
            .acquire_owned()
            .await
            .map_err(|_| Error::Closed)?;
        let lane = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let mut connection = lane.free.lock().pop().ok_or(Error::Closed)?;
            let result = work(&mut connection);
            lane.free.lock().push(connection);
            result
        })
        .await
        .map_err(|_| Error::Closed)?
    }
}

impl Sqlite {
    pub(super) async fn open(dir: PathBuf) -> Result<Self, Error> {
        let failed = dir.clone();
        let opened = tokio::task::spawn_blocking(move || Self::open_blocking(&dir));
        opened
            .await
            .map_err(|_| Error::Closed)?
            .map_err(|source| Error::Open {
                dir: failed,
                source: Arc::from(source),
            })
    }

    fn open_blocking(dir: &Path) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        std::fs::create_dir_all(dir)?;
        // Turning a fresh file to WAL needs it alone, and SQLite does not wait for that but fails as
        // busy. Processes that start together open one after the other.
        let alone = std::fs::File::create(dir.join("state.opening"))?;
        alone.lock()?;
        let file = dir.join("state.db");
        let writer = connect(&file)?;
        writer.execute_batch(SCHEMA)?;
        let readers = (0..READERS)
            .map(|_| connect(&file))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            writer: Lane::of(vec![writer]),
            readers: Lane::of(readers),
            writes: AtomicU64::new(0),
        })
    }

    pub(super) async fn get(&self, key: String) -> Result<Option<Entry>, Error> {
        self.readers
            .run(move |connection| {
                connection
                    .prepare_cached(
                        "SELECT key, value, etag FROM state
                         WHERE key = ?1 AND (expires IS NULL OR expires > ?2)",
                    )?
                    .query_row(params![key.as_bytes(), now()], entry)
                    .optional()
                    .map_err(Error::from)
            })
            .await
    }

    pub(super) async fn put(
        &self,
        key: String,
        value: Bytes,
        condition: Condition,
        ttl: Option<Duration>,
    ) -> Result<Etag, Error> {
        let sweeps = self.writes.fetch_add(1, Ordering::Relaxed) % SWEEP == SWEEP - 1;
        let expires = expiry(ttl);
        let write = move |connection: &mut Connection| {
            let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            condition.check(current(&change, &key)?)?;
            let etag: i64 = change
                .prepare_cached("UPDATE sequence SET last = last + 1 RETURNING last")?
                .query_row([], |row| row.get(0))?;
            change
                .prepare_cached(
                    "INSERT INTO state (key, value, etag, expires) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT (key) DO UPDATE
                     SET value = excluded.value, etag = excluded.etag, expires = excluded.expires",
                )?
                .execute(params![key.as_bytes(), &value[..], etag, expires])?;
            if sweeps {
                sweep(&change)?;
            }
            change.commit()?;
            Ok(Etag(etag))
        };
        self.writer.run(write).await
    }

    pub(super) async fn delete(&self, key: String, condition: Condition) -> Result<bool, Error> {
        let remove = move |connection: &mut Connection| {
            let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let current = current(&change, &key)?;
            condition.check(current)?;
            change
                .prepare_cached("DELETE FROM state WHERE key = ?1")?
                .execute([key.as_bytes()])?;
            change.commit()?;
            Ok(current.is_some())
        };
        self.writer.run(remove).await
    }

    pub(super) async fn list(
        &self,
        prefix: String,
        after: Option<String>,
        limit: usize,
    ) -> Result<Vec<Entry>, Error> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let read = move |connection: &mut Connection| {
            let mut statement = connection.prepare_cached(
                "SELECT key, value, etag FROM state
                 WHERE key >= ?1 AND key < ?2 AND key > ?3 AND (expires IS NULL OR expires > ?4)
                 ORDER BY key LIMIT ?5",
            )?;
            let after = after.unwrap_or_default();
            let bounds = params![
                prefix.as_bytes(),
                end_of(&prefix),
                after.as_bytes(),
                now(),
                limit
            ];
            let rows = statement.query_map(bounds, entry)?;
            rows.collect::<Result<_, _>>().map_err(Error::from)
        };
        self.readers.run(read).await
    }
}

fn connect(file: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(file)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "normal")?;
    connection.set_prepared_statement_cache_capacity(16);
    Ok(connection)
}

fn current(connection: &Connection, key: &str) -> Result<Option<Etag>, Error> {
    let etag = connection
        .prepare_cached(
            "SELECT etag FROM state WHERE key = ?1 AND (expires IS NULL OR expires > ?2)",
        )?
        .query_row(params![key.as_bytes(), now()], |row| row.get(0))
        .optional()?;
    Ok(etag.map(Etag))
}

fn sweep(connection: &Connection) -> rusqlite::Result<usize> {
    connection
        .prepare_cached(
            "DELETE FROM state WHERE rowid IN
             (SELECT rowid FROM state WHERE expires <= ?1 ORDER BY expires LIMIT 1024)",
        )?
        .execute([now()])
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let key: Vec<u8> = row.get(0)?;
    let value: Vec<u8> = row.get(1)?;
    Ok(Entry {
        key: String::from_utf8_lossy(&key).into_owned(),
        value: Bytes::from(value),
        etag: Etag(row.get(2)?),
    })
}

/// The first byte string after all that begin with `prefix`. UTF-8 has no 0xff, so adding one to the
/// last byte cannot overflow; after the empty prefix comes a byte that no text begins with.
fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    match end.last_mut() {
        Some(last) => *last += 1,
        None => end.push(0xff),
    }
    end
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        Self::Unavailable(Arc::new(error))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn many_that_open_a_fresh_store_at_once_all_get_it() {
        for _ in 0..8 {
            let dir = tempfile::tempdir().unwrap();
            let open = (0..12).map(|_| Sqlite::open(dir.path().to_owned()));
            for opened in join_all(open).await {
                opened.unwrap();
            }
        }
    }
}
