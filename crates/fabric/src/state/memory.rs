//! The store in memory: bounded, and gone with the process.
//!
//! # Invariants
//! - It holds at most [`Bounds::entries`] keys and [`Bounds::bytes`] of keys and values. A write that
//!   would pass a bound first drops what has expired, then what was written longest ago: a worker
//!   without a store on disk forgets its oldest tasks rather than refusing new ones.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    future::ready,
    ops::Bound,
    sync::Arc,
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tracing::warn;

use super::{Change, Entry, Error, Etag, StateStore, Write, expiry};

/// Tells the time in milliseconds, by which values expire.
pub trait Clock: Fn() -> i64 + Send + Sync {}

impl<F: Fn() -> i64 + Send + Sync> Clock for F {}

/// How much a store in memory may hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bounds {
    /// Keys. Default 200,000.
    pub entries: usize,
    /// Bytes of keys and values together. Default 256 MiB.
    pub bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            entries: 200_000,
            bytes: 256 << 20,
        }
    }
}

pub(super) struct Memory {
    bounds: Bounds,
    shared: bool,
    clock: Box<dyn Clock>,
    inner: Mutex<Inner>,
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory")
            .field("bounds", &self.bounds)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Inner {
    rows: BTreeMap<Arc<str>, Row>,
    /// Keys by etag, which grows with each write: the order in which they are forgotten.
    written: BTreeMap<i64, Arc<str>>,
    expiring: BTreeSet<(i64, i64)>,
    bytes: usize,
    last: i64,
    forgotten: u64,
}

#[derive(Debug)]
struct Row {
    value: Bytes,
    etag: i64,
    expires: Option<i64>,
}

impl Row {
    fn lives(&self, now: i64) -> bool {
        self.expires.is_none_or(|at| at > now)
    }
}

impl Memory {
    pub(super) fn new(bounds: Bounds, clock: impl Clock + 'static) -> Self {
        Self {
            bounds,
            shared: false,
            clock: Box::new(clock),
            inner: Mutex::default(),
        }
    }

    /// The same, for several workers.
    pub(super) fn shared(mut self) -> Self {
        self.shared = true;
        self
    }

    fn now(&self) -> i64 {
        (self.clock)()
    }

    fn read(&self, key: &str) -> Option<Entry> {
        let now = self.now();
        let inner = self.inner.lock();
        let row = inner.rows.get(key).filter(|row| row.lives(now))?;
        Some(entry(key, row))
    }

    fn write(&self, writes: Vec<Write>) -> Result<Vec<Etag>, Error> {
        let now = self.now();
        let mut inner = self.inner.lock();
        for write in &writes {
            write.condition.check(inner.etag(&write.key, now))?;
        }
        let before = inner.last;
        let mut etags = Vec::with_capacity(writes.len());
        for Write { key, change, .. } in writes {
            inner.remove(&key);
            inner.last += 1;
            if let Change::Put { value, ttl } = change {
                let row = Row {
                    value,
                    etag: inner.last,
                    expires: expiry(ttl, now),
                };
                inner.insert(Arc::from(key), row);
            }
            etags.push(Etag(inner.last));
        }
        inner.keep(self.bounds, now, before);
        Ok(etags)
    }

    fn page(&self, prefix: &str, after: Option<&str>, limit: usize) -> Vec<Entry> {
        let now = self.now();
        let inner = self.inner.lock();
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        inner
            .rows
            .range::<str, _>((from, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .filter(|(_, row)| row.lives(now))
            .take(limit)
            .map(|(key, row)| entry(key, row))
            .collect()
    }
}

impl StateStore for Memory {
    fn is_durable(&self) -> bool {
        self.shared
    }

    fn get(&self, key: String) -> BoxFuture<'_, Result<Option<Entry>, Error>> {
        Box::pin(ready(Ok(self.read(&key))))
    }

    fn commit(&self, writes: Vec<Write>) -> BoxFuture<'_, Result<Vec<Etag>, Error>> {
        Box::pin(async move { self.write(writes) })
    }

    fn list(
        &self,
        prefix: String,
        after: Option<String>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Entry>, Error>> {
        Box::pin(ready(Ok(self.page(&prefix, after.as_deref(), limit))))
    }
}

impl Inner {
    fn etag(&self, key: &str, now: i64) -> Option<Etag> {
        let row = self.rows.get(key).filter(|row| row.lives(now))?;
        Some(Etag(row.etag))
    }

    fn insert(&mut self, key: Arc<str>, row: Row) {
        self.bytes += key.len() + row.value.len();
        self.written.insert(row.etag, Arc::clone(&key));
        self.expiring.extend(row.expires.map(|at| (at, row.etag)));
        self.rows.insert(key, row);
    }

    fn remove(&mut self, key: &str) {
        if let Some((key, row)) = self.rows.remove_entry(key) {
            self.bytes -= key.len() + row.value.len();
            self.written.remove(&row.etag);
            if let Some(at) = row.expires {
                self.expiring.remove(&(at, row.etag));
            }
        }
    }

    /// Comes back within the bounds, but for what was written after the etag `before`.
    fn keep(&mut self, bounds: Bounds, now: i64, before: i64) {
        // Only under pressure: what has expired is out of sight anyway.
        while self.is_over(bounds) {
            let expired = self.expiring.first().filter(|(at, _)| *at <= now);
            let etag = match expired {
                Some((_, etag)) => *etag,
                None => {
                    self.count_forgotten(bounds);
                    self.written.keys().next().copied().unwrap_or_default()
                }
            };
            // What was written last stays, even if it alone is over the bound of bytes.
            let Some(key) = self.written.get(&etag).filter(|_| etag <= before) else {
                return;
            };
            let key = Arc::clone(key);
            self.remove(&key);
        }
    }

    /// Says so the first time and then each time that it has happened ten times as often.
    fn count_forgotten(&mut self, bounds: Bounds) {
        self.forgotten += 1;
        let mut power = self.forgotten;
        while power.is_multiple_of(10) {
            power /= 10;
        }
        if power == 1 {
            warn!(
                forgotten = self.forgotten,
                ?bounds,
                "the store in memory is full and forgets the oldest"
            );
        }
    }

    fn is_over(&self, bounds: Bounds) -> bool {
        self.rows.len() > bounds.entries || self.bytes > bounds.bytes
    }
}

fn entry(key: &str, row: &Row) -> Entry {
    Entry {
        key: key.to_owned(),
        value: row.value.clone(),
        etag: Etag(row.etag),
    }
}
