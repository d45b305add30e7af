//! What a process's subscriptions and publishers went through, in numbers.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::{Depth, Losses, Topic};

/// See the module. Topics and groups are named by the program, never by a caller, so their number is
/// bounded.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    published: Family<Labels, Counter>,
    refused: Family<Labels, Counter>,
    delivered: Family<Labels, Counter>,
    again: Family<Labels, Counter>,
    dead: Family<Labels, Counter>,
    expired: Family<Labels, Counter>,
    held: Family<Labels, Gauge>,
    waiting: Family<Queue, Gauge>,
    oldest: Family<Queue, Gauge<f64, AtomicU64>>,
    evicted: Counter,
    unreadable: Counter,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Labels {
    topic: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Queue {
    topic: String,
    group: String,
}

/// A message that a subscription here holds, as long as this lives.
#[derive(Debug)]
pub(super) struct Holding(Gauge);

impl Drop for Holding {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// What can happen to a message here.
#[derive(Clone, Copy, Debug)]
pub(super) enum Happened {
    Published,
    Refused,
    Delivered,
    Again,
    Dead,
    Expired,
}

impl Metrics {
    /// Registers the families.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        for (name, help, family) in [
            (
                "mesh_bus_published",
                "Messages put on the bus",
                &metrics.published,
            ),
            (
                "mesh_bus_refused",
                "Messages that the bus did not take",
                &metrics.refused,
            ),
            (
                "mesh_bus_delivered",
                "Deliveries begun, each attempt counted",
                &metrics.delivered,
            ),
            (
                "mesh_bus_again",
                "Attempts that failed or took too long",
                &metrics.again,
            ),
            (
                "mesh_bus_dead",
                "Messages given up, now dead letters",
                &metrics.dead,
            ),
            (
                "mesh_bus_expired",
                "Messages too old to be handed out",
                &metrics.expired,
            ),
        ] {
            registry.register(name, help, family.clone());
        }
        let help = "Messages that subscriptions here have and that are not done";
        registry.register("mesh_bus_held", help, metrics.held.clone());
        let help =
            "Messages that wait for a group, in all processes, where the form of the bus knows";
        registry.register("mesh_bus_waiting", help, metrics.waiting.clone());
        let help = "Seconds for which the oldest of them has waited";
        registry.register("mesh_bus_oldest_seconds", help, metrics.oldest.clone());
        let help = "Messages that no group had claimed, thrown away for want of room";
        registry.register("mesh_bus_evicted", help, metrics.evicted.clone());
        let help = "Messages that could not be read any more, set aside";
        registry.register("mesh_bus_unreadable", help, metrics.unreadable.clone());
        metrics
    }

    /// Counts a message as held until what is given back is dropped.
    pub(super) fn hold(&self, topic: &Topic) -> Holding {
        let labels = Labels {
            topic: topic.as_str().to_owned(),
        };
        let held = self.held.get_or_create(&labels).clone();
        held.inc();
        Holding(held)
    }

    pub(super) fn deep(&self, topic: &Topic, group: &str, depth: Depth) {
        let queue = Queue {
            topic: topic.as_str().to_owned(),
            group: group.to_owned(),
        };
        let waiting = i64::try_from(depth.messages).unwrap_or(i64::MAX);
        self.waiting.get_or_create(&queue).set(waiting);
        let oldest = depth.oldest.as_secs_f64();
        self.oldest.get_or_create(&queue).set(oldest);
    }

    pub(super) fn lost(&self, losses: Losses) {
        self.evicted.inc_by(losses.evicted);
        self.unreadable.inc_by(losses.unreadable);
    }

    pub(super) fn count(&self, topic: &Topic, happened: Happened, how_many: u64) {
        let family = match happened {
            Happened::Published => &self.published,
            Happened::Refused => &self.refused,
            Happened::Delivered => &self.delivered,
            Happened::Again => &self.again,
            Happened::Dead => &self.dead,
            Happened::Expired => &self.expired,
        };
        let labels = Labels {
            topic: topic.as_str().to_owned(),
        };
        family.get_or_create(&labels).inc_by(how_many);
    }
}
