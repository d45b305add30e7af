//! What the calls of one agent may spend on trying again, and how often they did.
//!
//! # Invariants
//! - However much fails, an agent's members get at most its budget more than its callers sent: retries
//!   never make an overload worse.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use tokio::time::Instant;

/// Why a call is tried again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cause {
    /// Nothing of it was sent.
    Unsent = 0,
    /// The exchange broke.
    Broken = 1,
    /// A worker of ours was full, or drains.
    Refused = 2,
    /// Another worker has the task.
    Misplaced = 3,
}

impl Cause {
    const ALL: [Self; 4] = [Self::Unsent, Self::Broken, Self::Refused, Self::Misplaced];

    const fn label(self) -> &'static str {
        match self {
            Self::Unsent => "unsent",
            Self::Broken => "broken",
            Self::Refused => "refused",
            Self::Misplaced => "misplaced",
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Purse {
    born: Instant,
    budget: Budget,
    metrics: Metrics,
}

impl Purse {
    /// A call came.
    pub fn earn(&self, now: Instant) {
        self.budget.earn(self.since(now));
    }

    /// Whether a call may be tried again; then it is paid for.
    pub fn pay(&self, cause: Cause, now: Instant) -> bool {
        let is_paid = self.budget.spend(self.since(now));
        let counters = if is_paid {
            &self.metrics.made
        } else {
            &self.metrics.denied
        };
        if let Some(counter) = counters.get(cause as usize) {
            counter.inc();
        }
        is_paid
    }

    fn since(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.born)
    }
}

/// A fifth of the calls of the last ten seconds, and ten a second on top: who is called seldom may try
/// again, too.
#[derive(Debug, Default)]
struct Budget {
    calls: Window,
    spent: Window,
}

const SECONDS: u64 = 10;
const FLOOR: u64 = 10 * SECONDS;

impl Budget {
    fn earn(&self, now: Duration) {
        self.calls.add(now.as_secs());
    }

    fn spend(&self, now: Duration) -> bool {
        let now = now.as_secs();
        let is_left = self.spent.sum(now) < FLOOR + self.calls.sum(now) / 5;
        if is_left {
            self.spent.add(now);
        }
        is_left
    }
}

/// Counts of the last seconds, each with the second that it is of.
#[derive(Debug, Default)]
struct Window([AtomicU64; 16]);

impl Window {
    fn add(&self, now: u64) {
        let Some(place) = self.0.get((now % 16) as usize) else {
            return;
        };
        let add = |word: u64| match word >> 32 == now {
            true => Some(word + 1),
            false => Some(now << 32 | 1),
        };
        // It never gives up: the closure always has a value.
        place
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add)
            .ok();
    }

    fn sum(&self, now: u64) -> u64 {
        let words = self.0.iter().map(|word| word.load(Ordering::Relaxed));
        let recent = words.filter(|word| now.saturating_sub(word >> 32) < SECONDS);
        recent.map(|word| word & u64::from(u32::MAX)).sum()
    }
}

/// The families of this module.
#[derive(Clone, Debug)]
pub struct Metrics {
    made: [Counter; 4],
    denied: [Counter; 4],
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Labels {
    cause: &'static str,
}

impl Metrics {
    /// Makes the families and registers them.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let family = |registry: &mut Registry, name, help| {
            let family = Family::<Labels, Counter>::default();
            registry.register(name, help, family.clone());
            Cause::ALL.map(|cause| {
                let cause = cause.label();
                family.get_or_create_owned(&Labels { cause })
            })
        };
        let made = "Attempts after the first, by what the one before met";
        let denied = "Attempts that were not made, since the retry budget was spent";
        Self {
            made: family(registry, "mesh_retries", made),
            denied: family(registry, "mesh_retries_denied", denied),
        }
    }

    /// A full purse.
    #[must_use]
    pub fn purse(&self) -> Purse {
        Purse {
            born: Instant::now(),
            budget: Budget::default(),
            metrics: self.clone(),
        }
    }
}
