//! What a verb runs on: a runtime, and the signals that end it.

#[cfg(any(feature = "router", feature = "worker"))]
use std::num::NonZeroUsize;

use tokio::signal::unix::{self, SignalKind, signal};

use crate::exit::{Exit, Failure};

/// Runs a verb of one connection or a few on this thread.
pub(crate) fn here(verb: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::role)?
        .block_on(verb)
}

/// Runs a role that serves many on as many threads as the machine has cores, or as told.
#[cfg(any(feature = "router", feature = "worker"))]
pub(crate) fn on_threads(
    threads: Option<NonZeroUsize>,
    role: impl Future<Output = Result<Exit, Failure>>,
) -> Result<Exit, Failure> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = threads {
        builder.worker_threads(threads.get());
    }
    builder
        .enable_all()
        .build()
        .map_err(Failure::role)?
        .block_on(role)
}

/// Ends this process when the `up` that started it is gone, even if that was killed: nobody else
/// knows of it then. Outside of `up` it does nothing.
#[cfg(any(feature = "router", feature = "worker"))]
pub(crate) fn follow_parent() {
    use rustix::process::{Pid, getppid};
    #[cfg(target_os = "linux")]
    use rustix::process::{Signal, set_parent_process_death_signal};

    let parent = std::env::var(PARENT).ok().and_then(|pid| pid.parse().ok());
    if let Some(parent) = parent.and_then(Pid::from_raw) {
        #[cfg(target_os = "linux")]
        set_parent_process_death_signal(Some(Signal::TERM)).unwrap_or_default();
        // It may have been gone before that.
        if getppid() != Some(parent) {
            std::process::exit(Exit::Failed as i32);
        }
    }
}

/// Where `up` tells its children its pid.
pub(crate) const PARENT: &str = "DACA_UP_PID";

/// Ctrl-C and SIGTERM.
pub(crate) struct Stop {
    interrupt: unix::Signal,
    terminate: unix::Signal,
}

impl Stop {
    pub(crate) fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// # Cancel safety
    /// A signal that comes while nobody waits is told to the next who does.
    pub(crate) async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
