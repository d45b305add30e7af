//! Who may enter, and how much at once.
//!
//! # Invariants
//! - An admitted call holds a [`Ticket`] until its last byte; the count never leaks.
//! - There is no queue: a call over the bound is refused at once, with words that say so.
//! - Nothing of a call is decoded, copied or looked up before it is admitted, but its ids.

pub mod deadline;
pub mod gate;

use std::sync::Arc;

use http::header;
use mesh_core::error::CallError;
use mesh_proto::mesh::HOP_LIMIT;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use serde::Deserialize;
use xxhash_rust::xxh3;

use self::gate::{Class, Entry, Gate, Refused};
use crate::call::Ask;

/// Bounds of what one router takes on.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Calls at once, streams included; one more is refused with `Exhausted`, and the less urgent are
    /// refused before it is reached. Default 100,000: the streams that a pod is sized for
    /// (`routing-and-scale` 4).
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
    gate: Arc<Gate>,
    metrics: Metrics,
}

/// The right to run one call.
#[derive(Debug)]
pub struct Ticket {
    _entry: Entry,
}

impl Admission {
    /// Nothing admitted yet.
    #[must_use]
    pub fn new(settings: Settings, registry: &mut Registry) -> Self {
        Self {
            gate: Arc::new(Gate::new(settings.calls)),
            metrics: Metrics::register(registry),
        }
    }

    /// Lets a call in, or says why not.
    ///
    /// # Errors
    /// [`CallError::HopLimit`] for a call that has passed too many routers,
    /// [`CallError::Exhausted`] at the bound and [`CallError::Shed`] below it.
    pub fn admit(&self, ask: &Ask) -> Result<Ticket, CallError> {
        if ask.hops > HOP_LIMIT {
            return Err(CallError::HopLimit);
        }
        let class = Class::of(ask);
        match self.gate.enter(class, tenant(ask)) {
            Ok(entry) => Ok(Ticket { _entry: entry }),
            Err(refused) => {
                self.metrics.count(class, refused as usize);
                Err(match refused {
                    Refused::Full => CallError::Exhausted,
                    Refused::Class | Refused::Share => CallError::Shed {
                        class: class.label(),
                    },
                })
            }
        }
    }

    /// Takes note of a call for which no worker had room.
    pub fn overloaded(&self, ask: &Ask) {
        self.metrics.count(Class::of(ask), CAPACITY);
    }

    /// Calls that run now.
    #[must_use]
    pub fn running(&self) -> usize {
        self.gate.inside()
    }
}

/// Whose call it is, as far as shares go: its tenant, and who pays for it by its credentials.
fn tenant(ask: &Ask) -> u64 {
    let tenant = ask.keys.tenant.as_deref().unwrap_or_default();
    let principal = ask.headers.get(header::AUTHORIZATION);
    let seed = principal.map_or(0, |value| xxh3::xxh3_64(value.as_bytes()));
    xxh3::xxh3_64_with_seed(tenant.as_bytes(), seed)
}

/// Why calls are refused, the last being that no worker had room.
const REASONS: [&str; 4] = ["full", "class", "share", "capacity"];
const CAPACITY: usize = 3;

/// The families of this module.
#[derive(Clone, Debug)]
struct Metrics {
    shed: [[Counter; 4]; 5],
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Labels {
    class: &'static str,
    reason: &'static str,
}

impl Metrics {
    fn register(registry: &mut Registry) -> Self {
        let family = Family::<Labels, Counter>::default();
        let help = "Calls refused for want of room, by how urgent they were and what was short";
        registry.register("mesh_shed", help, family.clone());
        let counter = |class: Class, reason| {
            let class = class.label();
            family.get_or_create_owned(&Labels { class, reason })
        };
        Self {
            shed: Class::ALL.map(|class| REASONS.map(|reason| counter(class, reason))),
        }
    }

    fn count(&self, class: Class, reason: usize) {
        let row = self.shed.get(class as usize);
        if let Some(counter) = row.and_then(|row| row.get(reason)) {
            counter.inc();
        }
    }
}
