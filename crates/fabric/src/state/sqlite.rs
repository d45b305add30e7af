//! The store in SQLite: a file in WAL mode that several processes of one machine open at once.
//!
//! # Invariants
//! - Each commit is one `BEGIN IMMEDIATE` transaction: conditions and writes see the same state.
//! - `synchronous=NORMAL`: a killed process loses nothing, a power cut may lose the last moments but
//!   never leaves a half-written state.
//! - SQLite calls run on the blocking pool: one writer and a few readers at a time per process; more
//!   callers wait in order, and another process is waited for at most
//!   [`BUSY`](crate::sqlite::BUSY).

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use rusqlite::{Connection, OptionalExtension as _, Row, TransactionBehavior, params};

use super::{Change, Entry, Error, Etag, StateStore, Write, expiry, now};
use crate::sqlite::{Closed, Failed, Lane, Opened};

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

    fn open_blocking(dir: &Path) -> Result<Self, Failed> {
        let opened = Opened::open(dir, "state", SCHEMA, READERS)?;
        Ok(Self {
            writer: Lane::of(vec![opened.writer]),
            readers: Lane::of(opened.readers),
            writes: AtomicU64::new(0),
        })
    }
}

impl StateStore for Sqlite {
    fn is_durable(&self) -> bool {
        true
    }

    fn get(&self, key: String) -> BoxFuture<'_, Result<Option<Entry>, Error>> {
        Box::pin(self.readers.run(move |connection| {
            connection
                .prepare_cached(
                    "SELECT key, value, etag FROM state
                     WHERE key = ?1 AND (expires IS NULL OR expires > ?2)",
                )?
                .query_row(params![key.as_bytes(), now()], entry)
                .optional()
                .map_err(Error::from)
        }))
    }

    fn commit(&self, writes: Vec<Write>) -> BoxFuture<'_, Result<Vec<Etag>, Error>> {
        let sweeps = self.writes.fetch_add(1, Ordering::Relaxed) % SWEEP == SWEEP - 1;
        Box::pin(self.writer.run(move |connection| {
            let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for write in &writes {
                write.condition.check(current(&change, &write.key)?)?;
            }
            let etags = writes.iter().map(|write| apply(&change, write));
            let etags = etags.collect::<Result<_, _>>()?;
            if sweeps {
                sweep(&change)?;
            }
            change.commit()?;
            Ok(etags)
        }))
    }

    fn list(
        &self,
        prefix: String,
        after: Option<String>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Entry>, Error>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        Box::pin(self.readers.run(move |connection| {
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
        }))
    }
}

/// One write, whose condition holds.
fn apply(change: &Connection, write: &Write) -> Result<Etag, Error> {
    let etag: i64 = change
        .prepare_cached("UPDATE sequence SET last = last + 1 RETURNING last")?
        .query_row([], |row| row.get(0))?;
    match &write.change {
        Change::Put { value, ttl } => change
            .prepare_cached(
                "INSERT INTO state (key, value, etag, expires) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (key) DO UPDATE
                 SET value = excluded.value, etag = excluded.etag, expires = excluded.expires",
            )?
            .execute(params![
                write.key.as_bytes(),
                &value[..],
                etag,
                expiry(*ttl, now())
            ])?,
        Change::Delete => change
            .prepare_cached("DELETE FROM state WHERE key = ?1")?
            .execute([write.key.as_bytes()])?,
    };
    Ok(Etag(etag))
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

impl From<Closed> for Error {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
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
