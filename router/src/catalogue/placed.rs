//! Where calls went, counted by why.
//!
//! # Invariants
//! - Every series is there from the start, at zero.

use mesh_core::placement::Reason;
use mesh_proto::mesh::Incarnation;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

/// The families of this module.
#[derive(Clone, Debug)]
pub struct Metrics {
    reasons: [Counter; 9],
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Labels {
    reason: &'static str,
}

const SPILLED: usize = 8;

impl Metrics {
    /// Makes the family and registers it.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let family = Family::<Labels, Counter>::default();
        let help =
            "Calls placed, by what decided; spilled is new work whose first choice was too busy";
        registry.register("mesh_placements", help, family.clone());
        let incarnation = Incarnation::default();
        let labels = [
            Reason::Token { incarnation }.label(),
            Reason::Orphan { incarnation }.label(),
            Reason::Context.label(),
            Reason::Message.label(),
            Reason::ForeignTask.label(),
            Reason::Scatter.label(),
            Reason::Any.label(),
            Reason::Only.label(),
            "spilled",
        ];
        Self {
            reasons: labels.map(|reason| family.get_or_create_owned(&Labels { reason })),
        }
    }

    /// Counts a call.
    pub fn count(&self, reason: Reason, spilled: bool) {
        let place = match reason {
            _ if spilled => SPILLED,
            Reason::Token { .. } => 0,
            Reason::Orphan { .. } => 1,
            Reason::Context => 2,
            Reason::Message => 3,
            Reason::ForeignTask => 4,
            Reason::Scatter => 5,
            Reason::Any => 6,
            Reason::Only => 7,
        };
        if let Some(counter) = self.reasons.get(place) {
            counter.inc();
        }
    }
}
