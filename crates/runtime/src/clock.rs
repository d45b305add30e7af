//! The wall clock: the one place that reads it.
//!
//! Durations come from `tokio::time`, which a test can pause; wall time is only for what leaves the
//! process: timestamps in tasks, the hour in a token, an expiry in a store. Inside of a simulation both
//! are the simulation's.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970-01-01 UTC.
#[must_use]
pub fn unix_millis() -> u64 {
    #[cfg(feature = "simulated")]
    if let Some(since) = turmoil::since_epoch() {
        return u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the place that the ban points to"
    )]
    let now = SystemTime::now();
    // A clock before 1970 reads as 1970: an odd timestamp is better than a stopped process.
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Whole hours since 1970-01-01 UTC, as a route token carries them.
#[must_use]
pub fn hour() -> u32 {
    u32::try_from(unix_millis() / 3_600_000).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hour_is_the_hour_of_the_milliseconds() {
        let before = unix_millis() / 3_600_000;
        let hour = u64::from(hour());
        let after = unix_millis() / 3_600_000;
        assert!((before..=after).contains(&hour));
    }
}
