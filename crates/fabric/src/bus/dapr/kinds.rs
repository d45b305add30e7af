//! What each type of pub/sub component keeps, as it was found out against the real ones: by the contract
//! in `tests/fabric`, with the settings that are there and in `deploy/dapr`.

use std::collections::BTreeSet;

use super::{super::Promises, Need};

/// A type of component.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Kind {
    /// `pubsub.in-memory`: within one sidecar, a copy for each subscriber, and no second try.
    Memory,
    /// `pubsub.redis`: several members of a group work at one key at a time.
    Redis,
    /// `pubsub.jetstream`: in order while `maxAckPending` is 1.
    JetStream,
    /// `pubsub.kafka`.
    Kafka,
    /// Those of whose type only the documentation is known, which says that they keep messages, share
    /// them in groups and bring back what was not answered: Pulsar, and the clouds' own.
    Documented,
    /// Any other: nothing is known of it.
    #[default]
    Other,
}

impl Kind {
    pub(super) fn of(text: &str) -> Self {
        match text {
            "pubsub.in-memory" => Self::Memory,
            "pubsub.redis" => Self::Redis,
            "pubsub.jetstream" => Self::JetStream,
            "pubsub.kafka" => Self::Kafka,
            "pubsub.pulsar"
            | "pubsub.aws.snssqs"
            | "pubsub.azure.servicebus.topics"
            | "pubsub.gcp.pubsub" => Self::Documented,
            _ => Self::Other,
        }
    }

    pub(super) const fn promises(self) -> Promises {
        let kept = !matches!(self, Self::Memory | Self::Other);
        Promises {
            durable: kept,
            groups: kept,
            broadcast: kept,
            order: matches!(self, Self::Memory | Self::JetStream | Self::Kafka),
            redelivery: kept,
        }
    }

    /// Whether what is given in one bulk call arrives in its order.
    pub(super) const fn keeps_bulk_order(self) -> bool {
        matches!(self, Self::Kafka)
    }

    /// Whether a sidecar gets batches from the broker and gives them on as they are. With others it makes
    /// them up of single messages, each of which waits for the rest; with `maxAckPending` 1 for none.
    pub(super) const fn brings_batches(self) -> bool {
        matches!(self, Self::Kafka)
    }

    /// Whether an event that is not answered keeps publishers waiting, so that it must be at once.
    pub(super) const fn blocks_publishers(self) -> bool {
        matches!(self, Self::Memory)
    }

    /// Whether all of what is needed is kept; what is not, in words.
    pub(super) fn check(self, name: &str, needs: &BTreeSet<Need>) -> Result<(), String> {
        let promises = self.promises();
        let is_kept = |need: &Need| match need {
            Need::Durable => promises.durable,
            Need::Groups => promises.groups,
            Need::Broadcast => promises.broadcast,
            Need::Order => promises.order,
            Need::Redelivery => promises.redelivery,
        };
        let lacks: Vec<_> = needs.iter().filter(|need| !is_kept(need)).collect();
        if lacks.is_empty() {
            return Ok(());
        }
        let words: Vec<_> = lacks.iter().map(|need| need.lack()).collect();
        let kind = match self {
            Self::Memory => "pubsub.in-memory",
            Self::Redis => "pubsub.redis",
            Self::JetStream => "pubsub.jetstream",
            Self::Kafka => "pubsub.kafka",
            Self::Documented => "of a type that we know by its documentation only",
            Self::Other => "of a type that nothing is known of",
        };
        Err(format!(
            "component {name:?} ({kind}) {}; use pubsub.kafka, or do without what it lacks",
            words.join(", ")
        ))
    }
}
