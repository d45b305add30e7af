//! Who may enter, and how much at once.
//!
//! # Invariants
//! - An admitted call holds a [`Ticket`] until its last byte; the count never leaks.
//! - There is no queue: a call over the bound is refused at once, with words that say so.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use mesh_core::error::CallError;
use mesh_proto::mesh::HOP_LIMIT;
use serde::Deserialize;

use crate::call::Ask;

/// Bounds of what one router takes on.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Calls at once, streams included; one more is refused with `Exhausted`. Default 100,000: the
    /// streams that a pod is sized for (`routing-and-scale` 4).
    pub calls: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { calls: 100_000 }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Admission {
    settings: Settings,
    running: Arc<AtomicUsize>,
}

/// The right to run one call.
#[derive(Debug)]
pub struct Ticket(Arc<AtomicUsize>);

impl Admission {
    /// Nothing admitted yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            running: Arc::default(),
        }
    }

    /// Lets a call in, or says why not.
    ///
    /// # Errors
    /// [`CallError::HopLimit`] for a call that has passed too many routers, and
    /// [`CallError::Exhausted`] at the bound.
    pub fn admit(&self, ask: &Ask) -> Result<Ticket, CallError> {
        if ask.hops > HOP_LIMIT {
            return Err(CallError::HopLimit);
        }
        if self.running.fetch_add(1, Ordering::Relaxed) >= self.settings.calls {
            self.running.fetch_sub(1, Ordering::Relaxed);
            return Err(CallError::Exhausted);
        }
        Ok(Ticket(Arc::clone(&self.running)))
    }

    /// Calls that run now.
    #[must_use]
    pub fn running(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
