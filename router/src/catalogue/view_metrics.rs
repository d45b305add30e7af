//! The view in numbers, so that a dashboard sees whether all routers see the same.
//!
//! Two routers with the same listing have the same hash. A monitor alarms where
//! `count(count_values("view", mesh_view_hash)) > 1` lasts for ten seconds.
//!
//! # Invariants
//! - A sample of a metric is a 64-bit float, exact up to 53 bits: what is shown of the hash is its lower 48.

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

use super::Snapshot;

/// How much of the hash is shown.
const SHOWN: u64 = (1 << 48) - 1;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Metrics {
    hash: Gauge,
    members: Gauge,
    changes: Counter,
}

impl Metrics {
    /// Registers the series, at zero.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "mesh_view_hash",
            "The lower 48 bits of the hash of the view: the same on all routers that see the same",
            metrics.hash.clone(),
        );
        registry.register(
            "mesh_view_members",
            "Members of all agents in the view",
            metrics.members.clone(),
        );
        registry.register(
            "mesh_view_changes",
            "Views that differed from the one before",
            metrics.changes.clone(),
        );
        metrics
    }

    /// Shows a new snapshot.
    pub(super) fn show(&self, now: &Snapshot) {
        let shown = i64::try_from(now.view().0 & SHOWN).unwrap_or_default();
        if self.hash.set(shown) != shown {
            self.changes.inc();
        }
        let members = now
            .agents()
            .map(|agent| agent.endpoints.len())
            .sum::<usize>();
        self.members.set(i64::try_from(members).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use mesh_proto::mesh::ViewHash;

    use super::*;

    #[test]
    fn what_is_shown_of_the_hash_is_exact_as_a_float() {
        let metrics = Metrics::register(&mut Registry::default());
        let view = |hash| Snapshot {
            view: ViewHash(hash),
            agents: BTreeMap::new(),
            default: None,
        };
        for (hash, shown, changes) in [
            (u64::MAX, (1 << 48) - 1, 1),
            (u64::MAX, (1 << 48) - 1, 1),
            (0xabcd_0000_0000_0001, 1, 2),
        ] {
            metrics.show(&view(hash));
            assert_eq!(
                (metrics.hash.get(), metrics.changes.get()),
                (shown, changes)
            );
            #[expect(
                clippy::cast_precision_loss,
                reason = "that it loses none is what is shown"
            )]
            let sample = shown as f64;
            #[expect(clippy::cast_possible_truncation, reason = "it is a whole number")]
            let back = sample as i64;
            assert_eq!(back, shown);
        }
    }
}
