//! The store in memory: bounded, and gone with the process.
//!
//! # Invariants
//! - It holds at most [`Bounds::entries`] keys and [`Bounds::bytes`] of keys and values. A write that
//!   would pass a bound first drops what has expired, then what was written longest ago: a worker
//!   without a store on disk forgets its oldest tasks rather than refusing new ones.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use tracing::warn;

use super::{Condition, Entry, Error, Etag, expiry, now};

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

#[derive(Debug)]
pub(super) struct Memory {
    bounds: Bounds,
    inner: Mutex<Inner>,
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
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            inner: Mutex::default(),
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<Entry> {
        let inner = self.inner.lock();
        let row = inner.rows.get(key).filter(|row| row.lives(now()))?;
        Some(entry(key, row))
    }

    pub(super) fn put(
        &self,
        key: &str,
        value: Bytes,
        condition: Condition,
        ttl: Option<Duration>,
    ) -> Result<Etag, Error> {
        let mut inner = self.inner.lock();
        condition.check(inner.etag(key))?;
        inner.remove(key);
        inner.last += 1;
        let row = Row {
            value,
            etag: inner.last,
            expires: expiry(ttl),
        };
        inner.insert(Arc::from(key), row);
        inner.keep(self.bounds);
        Ok(Etag(inner.last))
    }

    pub(super) fn delete(&self, key: &str, condition: Condition) -> Result<bool, Error> {
        let mut inner = self.inner.lock();
        let current = inner.etag(key);
        condition.check(current)?;
        inner.remove(key);
        Ok(current.is_some())
    }

    pub(super) fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Vec<Entry> {
        let inner = self.inner.lock();
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let now = now();
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

impl Inner {
    fn etag(&self, key: &str) -> Option<Etag> {
        let row = self.rows.get(key).filter(|row| row.lives(now()))?;
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

    fn keep(&mut self, bounds: Bounds) {
        let now = now();
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
            // The last one written stays, even if it alone is over the bound of bytes.
            let Some(key) = self.written.get(&etag).filter(|_| etag != self.last) else {
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
