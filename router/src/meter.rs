//! Counters of calls, resolved when an agent appears, so that a call looks up no label.
//!
//! # Invariants
//! - Every series of an agent is there from the start, at zero.
//! - Labels are closed sets and configured names; never an id that a client chose.

use std::{sync::Arc, time::Duration};

use mesh_proto::{AgentName, Binding, Dialect, Operation, Version};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use crate::call::Outcome;

/// The families of this module.
#[derive(Clone, Debug)]
pub struct Metrics {
    calls: Family<CallLabels, Counter>,
    running: Family<AgentLabels, Gauge>,
    operations: Family<OperationLabels, Counter>,
    heads: Family<HeadLabels, Histogram, fn() -> Histogram>,
    attempts: Family<EndpointLabels, Counter>,
    unsent: Family<EndpointLabels, Counter>,
    transcoded: Transcoded,
}

impl Metrics {
    /// Makes the families and registers them.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            calls: Family::default(),
            running: Family::default(),
            operations: Family::default(),
            heads: Family::new_with_constructor(head_histogram as fn() -> Histogram),
            attempts: Family::default(),
            unsent: Family::default(),
            transcoded: Transcoded::register(registry),
        };
        let calls = "Calls by agent, binding and how they ended";
        registry.register("mesh_router_calls", calls, metrics.calls.clone());
        let running = "Calls that run now, streams included";
        registry.register(
            "mesh_router_calls_running",
            running,
            metrics.running.clone(),
        );
        let operations = "Calls by operation and binding";
        registry.register(
            "mesh_router_operations",
            operations,
            metrics.operations.clone(),
        );
        let heads =
            "Seconds from a call's last byte to its answer's head; sends wait for the model";
        registry.register("mesh_router_head_seconds", heads, metrics.heads.clone());
        let attempts = "Requests to each endpoint";
        registry.register("mesh_router_attempts", attempts, metrics.attempts.clone());
        let unsent = "Attempts that could not connect, by endpoint; each ejects it for a while";
        registry.register(
            "mesh_router_attempts_unsent",
            unsent,
            metrics.unsent.clone(),
        );
        metrics
    }

    /// Resolves an agent's counters.
    #[must_use]
    pub fn agent(&self, agent: &AgentName) -> Arc<AgentMeter> {
        let name = agent.to_string();
        let calls = Binding::ALL.map(|binding| {
            Outcome::ALL.map(|outcome| {
                let labels = CallLabels {
                    agent: name.clone(),
                    binding: binding.label(),
                    outcome: outcome.label(),
                };
                self.calls.get_or_create_owned(&labels)
            })
        });
        let operations = Binding::ALL.map(|binding| {
            Operation::ALL.map(|operation| {
                let labels = OperationLabels {
                    operation: operation.name(),
                    binding: binding.label(),
                };
                self.operations.get_or_create_owned(&labels)
            })
        });
        let heads = Binding::ALL.map(|binding| {
            [Kind::Send, Kind::Other].map(|kind| {
                let labels = HeadLabels {
                    binding: binding.label(),
                    kind: kind.label(),
                };
                self.heads.get_or_create_owned(&labels)
            })
        });
        let running = self
            .running
            .get_or_create_owned(&AgentLabels { agent: name });
        Arc::new(AgentMeter {
            calls,
            operations,
            heads,
            running,
            transcoded: self.transcoded.clone(),
        })
    }

    /// Resolves an endpoint's counters.
    #[must_use]
    pub fn endpoint(&self, agent: &AgentName, endpoint: &str) -> EndpointMeter {
        let labels = EndpointLabels {
            agent: agent.to_string(),
            endpoint: endpoint.to_owned(),
        };
        EndpointMeter {
            attempts: self.attempts.get_or_create_owned(&labels),
            unsent: self.unsent.get_or_create_owned(&labels),
        }
    }

    /// Forgets an endpoint that has left, so that churn does not grow the page for ever.
    pub fn forget_endpoint(&self, agent: &AgentName, endpoint: &str) {
        let labels = EndpointLabels {
            agent: agent.to_string(),
            endpoint: endpoint.to_owned(),
        };
        self.attempts.remove(&labels);
        self.unsent.remove(&labels);
    }
}

/// An agent's counters.
#[derive(Debug)]
pub struct AgentMeter {
    calls: [[Counter; 5]; 3],
    operations: [[Counter; 11]; 3],
    heads: [[Histogram; 2]; 3],
    running: Gauge,
    transcoded: Transcoded,
}

impl AgentMeter {
    /// A call goes from one dialect into another.
    pub fn transcoded(&self, client: Dialect, agent: Dialect) {
        let counter = self.transcoded.0.get(place(client));
        if let Some(counter) = counter.and_then(|row| row.get(place(agent))) {
            counter.inc();
        }
    }
}

/// Calls from one dialect into another, of all agents together: the client's, then the agent's.
#[derive(Clone, Debug)]
struct Transcoded(Arc<[[Counter; DIALECTS]; DIALECTS]>);

const DIALECTS: usize = Binding::ALL.len() * Version::ALL.len();

impl Transcoded {
    fn register(registry: &mut Registry) -> Self {
        let family = Family::<DialectLabels, Counter>::default();
        let help = "Calls that were put into another dialect, by the client's and the agent's";
        registry.register("mesh_router_transcoded", help, family.clone());
        let all = || {
            let versions = Version::ALL.into_iter();
            versions.flat_map(|version| {
                let bindings = Binding::ALL.into_iter();
                bindings.map(move |binding| Dialect::new(binding, version))
            })
        };
        let mut counters: [[Counter; DIALECTS]; DIALECTS] = Default::default();
        for client in all() {
            for agent in all().filter(|agent| *agent != client) {
                let labels = DialectLabels {
                    from: name(client),
                    to: name(agent),
                };
                let row = counters.get_mut(place(client));
                if let Some(counter) = row.and_then(|row| row.get_mut(place(agent))) {
                    *counter = family.get_or_create_owned(&labels);
                }
            }
        }
        Self(Arc::new(counters))
    }
}

/// A dialect's place in a table of all.
const fn place(dialect: Dialect) -> usize {
    let version = match dialect.version {
        Version::V0_3 => 0,
        Version::V1_0 => Binding::ALL.len(),
    };
    version + column(dialect.binding)
}

fn name(dialect: Dialect) -> String {
    format!("{} {}", dialect.binding.label(), dialect.version)
}

/// An endpoint's counters.
#[derive(Clone, Debug, Default)]
pub struct EndpointMeter {
    /// Requests sent or tried.
    pub attempts: Counter,
    /// Requests that found no connection.
    pub unsent: Counter,
}

/// The counters that one call moves.
#[derive(Clone, Debug)]
pub struct CallMeter {
    agent: Arc<AgentMeter>,
    dialect: Dialect,
    operation: Operation,
}

impl CallMeter {
    /// The counters of a call to an agent.
    #[must_use]
    pub const fn new(agent: Arc<AgentMeter>, dialect: Dialect, operation: Operation) -> Self {
        Self {
            agent,
            dialect,
            operation,
        }
    }

    /// A call begins.
    pub fn begin(&self) {
        self.agent.running.inc();
        if let Some(counter) = self.agent.operations.get(self.binding()).and_then(|row| {
            let index = Operation::ALL
                .iter()
                .position(|each| *each == self.operation)?;
            row.get(index)
        }) {
            counter.inc();
        }
    }

    /// Its answer's head is there.
    pub fn head(&self, after: Duration) {
        let kind = if self.operation.sends() {
            Kind::Send
        } else {
            Kind::Other
        };
        if let Some(histogram) = self
            .agent
            .heads
            .get(self.binding())
            .and_then(|row| row.get(kind as usize))
        {
            histogram.observe(after.as_secs_f64());
        }
    }

    /// It ended.
    pub fn end(&self, outcome: Outcome) {
        self.agent.running.dec();
        if let Some(counter) = self
            .agent
            .calls
            .get(self.binding())
            .and_then(|row| row.get(outcome.index()))
        {
            counter.inc();
        }
    }

    const fn binding(&self) -> usize {
        column(self.dialect.binding)
    }
}

/// A binding's place in a table of all.
const fn column(binding: Binding) -> usize {
    match binding {
        Binding::JsonRpc => 0,
        Binding::Grpc => 1,
        Binding::Rest => 2,
    }
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct CallLabels {
    agent: String,
    binding: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct AgentLabels {
    agent: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct EndpointLabels {
    agent: String,
    endpoint: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct OperationLabels {
    operation: &'static str,
    binding: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct DialectLabels {
    from: String,
    to: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct HeadLabels {
    binding: &'static str,
    kind: &'static str,
}

/// Sends wait for an agent to think; the rest are look-ups. One histogram would hide both.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Send = 0,
    Other = 1,
}

impl Kind {
    const fn label(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Other => "other",
        }
    }
}

/// 100 us to 60 s: from a look-up on loopback to a model that thinks.
fn head_histogram() -> Histogram {
    Histogram::new([
        0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
        5.0, 10.0, 30.0, 60.0,
    ])
}
