//! Work that is too long for an async thread: the building of tables, mostly.

use tokio::task::JoinError;

use crate::socket::is_simulated;

/// Runs `work` on a thread of its own; inside of a simulation, which has one thread, right here.
///
/// # Errors
/// When it panicked.
pub async fn run<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    if is_simulated() {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await
}
