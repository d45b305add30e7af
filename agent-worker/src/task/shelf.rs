//! The events of tasks that were let go of, for those who come back a little late.
//!
//! # Invariants
//! - An entry is given out only for the record that it led up to (the same etag): what another worker
//!   did to the task since is in no ring of ours.
//! - Bounded in time, in tasks and in bytes; the oldest go first.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use mesh_fabric::state::Etag;
use tokio::time::Instant;

use super::ring::Ring;
use crate::record::TaskKey;

/// How long the events of a task are held after it came to rest.
pub(super) const KEPT_FOR: Duration = Duration::from_secs(60);
const TASKS: usize = 1024;
const BYTES: usize = 64 << 20;

/// Rings of tasks that are not in memory.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    entries: HashMap<TaskKey, Entry>,
    /// The keys in the order in which they came; one that was taken since is passed over.
    order: VecDeque<(TaskKey, Instant)>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    ring: Ring,
    etag: Etag,
    since: Instant,
}

impl Shelf {
    /// Keeps a ring.
    pub(super) fn put(&mut self, key: TaskKey, ring: Ring, etag: Etag, now: Instant) {
        self.remove(&key);
        self.bytes += ring.bytes();
        self.order.push_back((key.clone(), now));
        let entry = Entry {
            ring,
            etag,
            since: now,
        };
        self.entries.insert(key, entry);
        while let Some((key, since)) = self.order.front().cloned() {
            let is_held = self
                .entries
                .get(&key)
                .is_some_and(|held| held.since == since);
            let is_over = self.order.len() > TASKS || self.bytes > BYTES;
            if is_held && !is_over && now.duration_since(since) < KEPT_FOR {
                break;
            }
            self.order.pop_front();
            if is_held {
                self.remove(&key);
            }
        }
    }

    /// Gives a ring out, for good.
    pub(super) fn take(&mut self, key: &TaskKey, etag: Etag, now: Instant) -> Option<Ring> {
        let entry = self.remove(key)?;
        let is_good = entry.etag == etag && now.duration_since(entry.since) < KEPT_FOR;
        is_good.then_some(entry.ring)
    }

    /// Looks at a ring.
    pub(super) fn get(&self, key: &TaskKey, etag: Etag, now: Instant) -> Option<&Ring> {
        let entry = self.entries.get(key)?;
        let is_good = entry.etag == etag && now.duration_since(entry.since) < KEPT_FOR;
        is_good.then_some(&entry.ring)
    }

    fn remove(&mut self, key: &TaskKey) -> Option<Entry> {
        let entry = self.entries.remove(key)?;
        self.bytes -= entry.ring.bytes();
        Some(entry)
    }
}

#[cfg(test)]
mod tests;
