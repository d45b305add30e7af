//! What is counted of the asking.

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

/// The counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Metrics {
    members: Family<Labels, Counter>,
    pub(super) chunks: Counter,
}

#[derive(Clone, Copy, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Labels {
    outcome: Outcome,
}

/// How a member that this worker asked ended.
#[derive(Clone, Copy, Debug, EncodeLabelValue, Eq, Hash, PartialEq)]
pub(super) enum Outcome {
    Answered,
    Failed,
    Stopped,
}

impl Metrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        for outcome in [Outcome::Answered, Outcome::Failed, Outcome::Stopped] {
            metrics.members.get_or_create_owned(&Labels { outcome });
        }
        let (members, chunks) = (metrics.members.clone(), metrics.chunks.clone());
        registry.register("mesh_group_members", "Members asked, by outcome", members);
        registry.register("mesh_group_chunks", "Chunks of members taken", chunks);
        metrics
    }

    pub(super) fn member(&self, outcome: Outcome) {
        self.members.get_or_create_owned(&Labels { outcome }).inc();
    }
}
