//! Out of the choice for a while, and longer each time in a row.
//!
//! # Invariants
//! - An ejection ends by itself: what comes then is the trial.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

/// The first ejection's length; it doubles with each one in a row, up to [`MOST`].
const FIRST: Duration = Duration::from_millis(250);
const MOST: Duration = Duration::from_secs(30);

/// See the module. Times are since whenever its owner counts from.
#[derive(Debug, Default)]
pub(in crate::upstream) struct Ejection {
    /// In milliseconds; 0 for none.
    until: AtomicU64,
    strikes: AtomicU32,
}

impl Ejection {
    /// Whether it lasts.
    pub(in crate::upstream) fn lasts(&self, now: Duration) -> bool {
        let until = self.until.load(Ordering::Relaxed);
        until != 0 && millis(now) < until
    }

    /// Begins one. True if none lasted.
    pub(in crate::upstream) fn begin(&self, now: Duration) -> bool {
        // Calls that failed together are one failure.
        if self.lasts(now) {
            return false;
        }
        let strikes = self.strikes.fetch_add(1, Ordering::Relaxed).min(16);
        let pause = FIRST.saturating_mul(1 << strikes).min(MOST);
        self.until
            .store(millis(now + pause).max(1), Ordering::Relaxed);
        true
    }

    /// Ends it, and forgets those before.
    pub(in crate::upstream) fn end(&self) {
        if self.strikes.load(Ordering::Relaxed) != 0 {
            self.strikes.store(0, Ordering::Relaxed);
            self.until.store(0, Ordering::Relaxed);
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
