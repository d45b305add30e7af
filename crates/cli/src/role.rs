//! What a verb runs on: a runtime, and the signals that end it.

use std::num::NonZeroUsize;

use tokio::signal::unix::{Signal, SignalKind, signal};

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

/// Ctrl-C and SIGTERM.
pub(crate) struct Stop {
    interrupt: Signal,
    terminate: Signal,
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
