//! How many members of each agent a call could be given to, counted when somebody asks.
//!
//! # Invariants
//! - What is shown is what a call would see at that moment, the bound on ejections included.

use std::{fmt, sync::Arc};

use arc_swap::ArcSwap;
use mesh_core::placement::Standing;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, gauge::ConstGauge},
    registry::Registry,
};
use tokio::time::Instant;

use super::{Agent, Snapshot, outlook::Outlook};

/// See the module.
pub(super) struct Census {
    pub(super) current: Arc<ArcSwap<Snapshot>>,
    pub(super) slow_start: std::time::Duration,
}

impl fmt::Debug for Census {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Census").finish_non_exhaustive()
    }
}

impl Census {
    /// Registers the series.
    pub(super) fn register(self, registry: &mut Registry) {
        registry.register_collector(Box::new(self));
    }

    fn count(&self, agent: &Agent, standing: Standing, now: Instant) -> usize {
        let outlook = Outlook::of(agent, now, self.slow_start);
        let members = 0..agent.pool.count();
        members
            .filter(|member| outlook.standing(*member) == standing)
            .count()
    }
}

impl Collector for Census {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help =
            "Members by what this router thinks of them; one that is ejected gets no new calls";
        let mut family =
            encoder.encode_descriptor("mesh_endpoints", help, None, MetricType::Gauge)?;
        let now = Instant::now();
        for agent in self.current.load().agents() {
            for standing in Standing::ALL {
                let labels = [
                    ("agent", agent.name.as_str()),
                    ("standing", standing.label()),
                ];
                let count = i64::try_from(self.count(agent, standing, now)).unwrap_or(i64::MAX);
                ConstGauge::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}
