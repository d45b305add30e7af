//! Task ids that nobody knew a moment ago, so that who keeps asking for one does not cost a question to
//! each member each time.
//!
//! # Invariants
//! - Bounded: a table of fixed size, in which a later id takes an earlier one's place.
//! - Short: a task that comes to be is found again after [`KEPT`] at the latest.
//! - An id of one agent and tenant says nothing of another's.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;
use xxhash_rust::xxh3;

use crate::call::Ask;

/// How long an id is taken for unknown.
const KEPT: Duration = Duration::from_secs(2);
const PLACES: usize = 8192;
/// Bits of a word that hold a time, in tenths of a second: nineteen days, then it begins anew.
const TIME_BITS: u32 = 24;

/// See the module.
#[derive(Debug)]
pub(super) struct Absent {
    born: Instant,
    places: Box<[AtomicU64]>,
}

impl Absent {
    pub(super) fn new() -> Self {
        Self {
            born: Instant::now(),
            places: (0..PLACES).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Notes that nobody knows the task of a call.
    pub(super) fn note(&self, ask: &Ask, now: Instant) {
        let (place, mark) = key(ask);
        self.places[place].store(mark | self.tenths(now), Ordering::Relaxed);
    }

    /// Whether nobody knew it just now.
    pub(super) fn knows(&self, ask: &Ask, now: Instant) -> bool {
        let (place, mark) = key(ask);
        let word = self.places[place].load(Ordering::Relaxed);
        let (noted, now) = (word & TIME_MASK, self.tenths(now));
        let kept = u64::try_from(KEPT.as_millis() / 100).unwrap_or_default();
        word & !TIME_MASK == mark && now.wrapping_sub(noted) & TIME_MASK < kept
    }

    fn tenths(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.born).as_millis() / 100;
        (u64::try_from(since).unwrap_or_default() + 1) & TIME_MASK
    }
}

const TIME_MASK: u64 = (1 << TIME_BITS) - 1;

/// Where a call's task is noted, and what by.
fn key(ask: &Ask) -> (usize, u64) {
    let task = ask.keys.task.as_deref().unwrap_or_default();
    let tenant = ask.keys.tenant.as_deref().unwrap_or_default();
    let of_agent = xxh3::xxh3_64(ask.agent.as_str().as_bytes());
    let of_tenant = xxh3::xxh3_64_with_seed(tenant.as_bytes(), of_agent);
    let hash = xxh3::xxh3_64_with_seed(task.as_bytes(), of_tenant);
    let place = usize::try_from(hash % PLACES as u64).unwrap_or_default();
    (place, hash & !TIME_MASK)
}
