//! SQLite files in WAL mode that several processes of one machine open at once.
//!
//! # Invariants
//! - SQLite calls run on the blocking pool, so many at a time per process as there are connections; more
//!   callers wait in order, and another process is waited for at most [`BUSY`].
//! - `synchronous=NORMAL`: a killed process loses nothing, a power cut may lose the last moments but
//!   never leaves a half-written state.

use std::{path::Path, sync::Arc, time::Duration};

use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::Semaphore;

/// How long a write waits for another process's before it fails.
pub(crate) const BUSY: Duration = Duration::from_secs(5);

/// How long opening waits for another process's: longer than one that is frozen in the middle of a write
/// commonly is.
const OPENING: Duration = Duration::from_secs(60);

/// What kept a file from being opened.
pub(crate) type Failed = Box<dyn std::error::Error + Send + Sync>;

/// The process is being shut down.
#[derive(Debug)]
pub(crate) struct Closed;

/// A file, opened.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) writer: Connection,
    pub(crate) readers: Vec<Connection>,
}

impl Opened {
    /// Opens `NAME.db` in a directory, making both where they are not.
    pub(crate) fn open(
        dir: &Path,
        name: &str,
        schema: &str,
        readers: usize,
    ) -> Result<Self, Failed> {
        std::fs::create_dir_all(dir)?;
        // Turning a fresh file to WAL needs it alone, and SQLite does not wait for that but fails as
        // busy. Processes that start together open one after the other.
        let alone = std::fs::File::create(dir.join(format!("{name}.opening")))?;
        alone.lock()?;
        let file = dir.join(format!("{name}.db"));
        let writer = connect(&file)?;
        writer.execute_batch(schema)?;
        writer.busy_timeout(BUSY)?;
        let readers = (0..readers).map(|_| {
            let reader = connect(&file)?;
            reader.busy_timeout(BUSY)?;
            Ok(reader)
        });
        Ok(Self {
            writer,
            readers: readers.collect::<rusqlite::Result<_>>()?,
        })
    }
}

fn connect(file: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(file)?;
    connection.busy_timeout(OPENING)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "normal")?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

/// Connections that are lent to one call each; who finds none free waits.
#[derive(Debug)]
pub(crate) struct Lane {
    free: Mutex<Vec<Connection>>,
    room: Arc<Semaphore>,
}

impl Lane {
    pub(crate) fn of(connections: Vec<Connection>) -> Arc<Self> {
        let room = Arc::new(Semaphore::new(connections.len()));
        Arc::new(Self {
            free: Mutex::new(connections),
            room,
        })
    }

    /// Runs `work` with a connection on the blocking pool. Once it runs, it runs to its end, even if
    /// the caller is dropped: a write is never cut in the middle.
    pub(crate) async fn run<T, E>(
        self: &Arc<Self>,
        work: impl FnOnce(&mut Connection) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Closed> + Send + 'static,
    {
        let permit = Arc::clone(&self.room).acquire_owned().await;
        let permit = permit.map_err(|_| Closed)?;
        let lane = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let mut connection = lane.free.lock().pop().ok_or(Closed)?;
            let result = work(&mut connection);
            lane.free.lock().push(connection);
            result
        })
        .await
        .map_err(|_| Closed)?
    }
}
