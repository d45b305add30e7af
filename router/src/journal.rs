//! Records of calls: one for each call that was admitted, put on the bus when its books close, for audit
//! and billing.
//!
//! # Invariants
//! - No call waits for its record or fails for it: where the queue before the bus is full, the record is
//!   dropped and counted (`mesh_publisher_dropped`).
//! - A record says who was called, how, and how that ended. It holds no body, no header, no credentials
//!   and no id of a task, a context or a message.

use std::time::Duration;

use mesh_fabric::{
    bus::{
        self, Message, Topic, Transit,
        publisher::{self, Publisher},
    },
    state::Place,
};
use mesh_runtime::{clock, dice, drain::Drain};
use prometheus_client::registry::Registry;
use serde::{Deserialize, Serialize};

use crate::call::{Ask, Outcome};

/// Where the records go.
const TOPIC: &str = "a2a.calls.v1";

/// How long a record is kept that nobody fetches.
const KEPT: Duration = Duration::from_hours(7 * 24);

/// Whether calls are recorded, and where.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The bus, as workers name their store: `sqlite:DIR`. Unset: nothing is recorded.
    pub to: Option<Place>,
}

/// Where records are left. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Journal(Option<Publisher>);

/// The record of a call that goes on.
#[derive(Debug)]
pub struct Entry {
    publisher: Publisher,
    record: Record,
}

/// What a record says. Fields may be added; none changes its meaning within `a2a.calls.v1`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    /// When the books closed, in Unix milliseconds.
    at: u64,
    agent: String,
    operation: &'static str,
    binding: &'static str,
    version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<Box<str>>,
    /// Which replica answered; unset where none did.
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<String>,
    /// The HTTP status of its answer. An error of JSON-RPC or gRPC has 200.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// As in `mesh_router_calls`.
    outcome: &'static str,
    /// Bytes of the request's body, as it came.
    request_bytes: usize,
    /// From the request's last byte to the answer's head, and to the end of the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    head_seconds: Option<f64>,
    seconds: f64,
    /// Routers passed, this one included.
    hops: u32,
    trace: String,
}

impl Journal {
    /// Opens the bus, where records are wanted. What is left when the drain begins is still put on it,
    /// within the drain's grace.
    ///
    /// # Errors
    /// [`bus::Error`], where the bus can't be opened.
    pub async fn open(
        settings: &Settings,
        counts: bus::Metrics,
        registry: &mut Registry,
        drain: &Drain,
    ) -> Result<Self, bus::Error> {
        let Some(place) = &settings.to else {
            return Ok(Self::default());
        };
        let bus = Transit::open(place).await?.counted(counts);
        Ok(Self::on(bus, registry, drain))
    }

    fn on(bus: Transit, registry: &mut Registry, drain: &Drain) -> Self {
        let settings = publisher::Settings {
            linger: Duration::from_millis(200),
            ..publisher::Settings::default()
        };
        let metrics = publisher::Metrics::register(registry);
        Self(Some(Publisher::start(
            "calls", bus, settings, &metrics, drain,
        )))
    }

    /// The record of a call, where records are wanted.
    #[must_use]
    pub fn entry(&self, ask: &Ask) -> Option<Box<Entry>> {
        let publisher = self.0.clone()?;
        let record = Record {
            at: 0,
            agent: ask.agent.to_string(),
            operation: ask.operation.name(),
            binding: ask.dialect.binding.label(),
            version: ask.dialect.version.as_str(),
            tenant: ask.keys.tenant.clone(),
            endpoint: None,
            status: None,
            outcome: "",
            request_bytes: ask.body.len(),
            head_seconds: None,
            seconds: 0.0,
            hops: ask.hops,
            trace: ask.trace.trace_id().to_string(),
        };
        Some(Box::new(Entry { publisher, record }))
    }
}

impl Entry {
    /// Notes who answered, and so quickly.
    pub fn answered(&mut self, by: Option<(&str, u16)>, seconds: f64) {
        self.record.head_seconds = Some(seconds);
        if let Some((endpoint, status)) = by {
            self.record.endpoint = Some(endpoint.to_owned());
            self.record.status = Some(status);
        }
    }

    /// Leaves the record to be put on the bus.
    pub fn close(mut self, outcome: Outcome, seconds: f64) {
        self.record.at = clock::unix_millis();
        self.record.outcome = outcome.label();
        self.record.seconds = seconds;
        let Ok(body) = serde_json::to_vec(&self.record) else {
            return;
        };
        let id = dice::uuid().to_string();
        let message = Message {
            ttl: Some(KEPT),
            ..Message::new(topic(), id, self.record.agent, body.into())
        };
        // Dropped, it is counted.
        self.publisher.offer(message);
    }
}

fn topic() -> Topic {
    #[expect(clippy::expect_used, reason = "a constant; a test records to it")]
    TOPIC.parse().expect("a constant that is a topic")
}
