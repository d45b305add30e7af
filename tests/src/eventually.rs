//! Waiting for a condition instead of for a time.
//!
//! # Invariants
//! - The one place of the tests that pauses, and never longer than a condition takes to come true.

use std::{future::Future, time::Duration};

use anyhow::{Result, bail};

/// How long anything may take before a test calls it hung. Generous: the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Asks `condition` until it answers with something, for [`PATIENCE`] at most.
///
/// # Errors
/// When the time is over, naming `what` was waited for; or what `condition` itself fails with.
pub async fn eventually<T, F>(what: &str, condition: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<Option<T>>>,
{
    eventually_for(PATIENCE, what, condition).await
}

/// The same for another time: where somebody who is not ours pauses for longer than [`PATIENCE`].
///
/// # Errors
/// As [`eventually`].
pub async fn eventually_for<T, F>(
    patience: Duration,
    what: &str,
    mut condition: impl FnMut() -> F,
) -> Result<T>
where
    F: Future<Output = Result<Option<T>>>,
{
    let start = tokio::time::Instant::now();
    loop {
        if let Some(value) = condition().await? {
            return Ok(value);
        }
        if start.elapsed() > patience {
            bail!("not within {} s: {what}", patience.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Gives `future` [`PATIENCE`]: a hang becomes a failure that names `what` hung.
///
/// # Errors
/// When the time is over, or what the future fails with.
pub async fn within<T>(what: &str, future: impl Future<Output = Result<T>>) -> Result<T> {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(result) => result,
        Err(_) => bail!("hung for {} s: {what}", PATIENCE.as_secs()),
    }
}
