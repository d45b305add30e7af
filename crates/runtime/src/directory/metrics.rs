//! What the sources of a process count, and whether each is in touch with what it watches.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use tracing::{info, warn};

use crate::clock;

/// The series of all sources.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    pub(super) updates: Counter,
    pub(super) refused: Counter,
    pub(super) held: Counter,
    pub(super) empty: Counter,
    stale: Family<Label, Gauge>,
    seen: Family<Label, Gauge>,
}

/// One source, as it is configured.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Label {
    source: String,
}

impl Metrics {
    /// Registers the series, at zero.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "mesh_directory_updates",
            "Rosters taken over from a source, the first included",
            metrics.updates.clone(),
        );
        registry.register(
            "mesh_directory_refused",
            "Rosters refused as unreadable, wrong or empty; the last good one stays",
            metrics.refused.clone(),
        );
        registry.register(
            "mesh_directory_shrinks_held",
            "Losses of more than half of an agent's members that were not believed at first sight",
            metrics.held.clone(),
        );
        registry.register(
            "mesh_directory_empties_refused",
            "Times that a source named no member of an agent any more; the last ones stay",
            metrics.empty.clone(),
        );
        registry.register(
            "mesh_directory_stale",
            "1 while a source is out of touch with what it watches, and its last roster serves",
            metrics.stale.clone(),
        );
        registry.register(
            "mesh_directory_seen_timestamp_seconds",
            "When a source was last in touch, in seconds since 1970; 0 for never",
            metrics.seen.clone(),
        );
        metrics
    }

    /// Whether a source is out of touch.
    #[cfg(test)]
    pub(super) fn is_stale(&self, source: &str) -> bool {
        let source = source.to_owned();
        self.stale.get_or_create(&Label { source }).get() == 1
    }

    /// The touch of one source: out of it, until it has been heard from.
    pub(super) fn touch(&self, source: String) -> Touch {
        let label = Label { source };
        let stale = self.stale.get_or_create(&label).clone();
        let seen = self.seen.get_or_create(&label).clone();
        stale.set(1);
        Touch {
            source: Arc::from(label.source),
            is_lost: Arc::new(AtomicBool::new(true)),
            is_told: Arc::default(),
            stale,
            seen,
        }
    }
}

/// Whether one source is in touch with what it watches.
#[derive(Clone, Debug)]
pub(super) struct Touch {
    source: Arc<str>,
    is_lost: Arc<AtomicBool>,
    /// Whether the outage is in the log already.
    is_told: Arc<AtomicBool>,
    stale: Gauge,
    seen: Gauge,
}

impl Touch {
    /// It was heard from.
    pub(super) fn keep(&self) {
        let now = i64::try_from(clock::unix_millis() / 1000);
        self.seen.set(now.unwrap_or(i64::MAX));
        if self.is_lost.swap(false, Ordering::Relaxed) {
            self.stale.set(0);
            if self.is_told.swap(false, Ordering::Relaxed) {
                info!(source = %self.source, "in touch again");
            }
        }
    }

    /// It was not to be had. Logged once per outage.
    pub(super) fn lose(&self, why: &dyn std::fmt::Display) {
        self.is_lost.store(true, Ordering::Relaxed);
        self.stale.set(1);
        if !self.is_told.swap(true, Ordering::Relaxed) {
            warn!(source = %self.source, %why, "out of touch; its last roster stays");
        }
    }

    /// What it is, as configured.
    pub(super) const fn source(&self) -> &Arc<str> {
        &self.source
    }
}
