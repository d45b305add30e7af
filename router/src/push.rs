//! The page at which agents notify us, and from which their notifications go on to clients.
//!
//! # Invariants
//! - The agent is answered after the webhook has answered: what we say is done is done, and what failed
//!   is the agent's to repeat. Nothing is kept here.
//! - A webhook sees ids as the client holds them, and the credentials that the client gave the agent.
//! - Deliveries at a time are bounded; one more is told to come again.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode, header};
use mesh_proto::{AgentName, mesh};
use mesh_runtime::egress::guard;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use tokio::sync::Semaphore;
use tracing::{debug, warn};

use crate::{
    upstream::envelope,
    webhook::{Webhook, Webhooks},
};

/// What of a notification's headers goes on: who it is for, what it is, and where it belongs in a trace.
const ONWARD: [HeaderName; 6] = [
    header::AUTHORIZATION,
    header::CONTENT_TYPE,
    HeaderName::from_static("x-a2a-notification-token"),
    HeaderName::from_static(mesh::A2A_VERSION),
    HeaderName::from_static("a2a-extensions"),
    HeaderName::from_static(mesh::TRACEPARENT),
];

/// See the module.
#[derive(Clone, Debug)]
pub struct Push {
    webhooks: Arc<Webhooks>,
    seats: Arc<Semaphore>,
    metrics: Metrics,
}

/// How a notification ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Outcome {
    /// The webhook took it.
    Delivered,
    /// The address is none of ours.
    Unknown,
    /// What came is no notification.
    Unreadable,
    /// The webhook is where nobody may be called.
    Refused,
    /// The webhook did not take it, or can't be reached.
    Failed,
    /// The webhook did not answer in time.
    Late,
    /// Too many at a time.
    Busy,
}

impl Outcome {
    const ALL: [Self; 7] = [
        Self::Delivered,
        Self::Unknown,
        Self::Unreadable,
        Self::Refused,
        Self::Failed,
        Self::Late,
        Self::Busy,
    ];

    /// What the agent is told.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Delivered => StatusCode::OK,
            Self::Unknown => StatusCode::NOT_FOUND,
            Self::Unreadable => StatusCode::BAD_REQUEST,
            Self::Refused => StatusCode::FORBIDDEN,
            Self::Failed => StatusCode::BAD_GATEWAY,
            Self::Late => StatusCode::GATEWAY_TIMEOUT,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The label's value, and the word that the agent is told.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Unknown => "unknown",
            Self::Unreadable => "unreadable",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Late => "late",
            Self::Busy => "busy",
        }
    }
}

#[derive(Clone, Debug)]
struct Metrics {
    notifications: Family<Labels, Counter>,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Labels {
    outcome: &'static str,
}

impl Push {
    /// Delivers to these webhooks, so many at a time.
    #[must_use]
    pub fn new(webhooks: Arc<Webhooks>, at_once: usize, registry: &mut Registry) -> Self {
        let notifications = Family::<Labels, Counter>::default();
        for outcome in Outcome::ALL {
            let outcome = outcome.label();
            drop(notifications.get_or_create(&Labels { outcome }));
        }
        let what = "Notifications that agents sent to clients through this router, and their ends";
        registry.register("mesh_router_notifications", what, notifications.clone());
        Self {
            webhooks,
            seats: Arc::new(Semaphore::new(at_once.min(Semaphore::MAX_PERMITS))),
            metrics: Metrics { notifications },
        }
    }

    /// Whether an address is one of ours, before anything else of the notification is read.
    #[must_use]
    pub fn open(&self, sealed: &str) -> Option<Webhook> {
        self.webhooks.open(sealed)
    }

    /// Delivers a notification; its body is inflated.
    pub async fn deliver(&self, webhook: Webhook, headers: &HeaderMap, body: Bytes) -> Outcome {
        let Ok(_seat) = self.seats.try_acquire() else {
            return Outcome::Busy;
        };
        let Ok(agent) = AgentName::parse(&webhook.agent) else {
            return Outcome::Unknown;
        };
        let Ok(body) = envelope::notification(&webhook, &agent, self.webhooks.keys(), body) else {
            return Outcome::Unreadable;
        };
        let posted = self
            .webhooks
            .guard()
            .post(&webhook.url, onward(headers), body)
            .await;
        match posted {
            Ok(status) if status.is_success() => Outcome::Delivered,
            Ok(status) => {
                debug!(%agent, status = status.as_u16(), "a webhook did not take a notification");
                Outcome::Failed
            }
            Err(error @ guard::Error::Refused(_)) => {
                warn!(%agent, %error, "a webhook is where nobody may be called");
                Outcome::Refused
            }
            Err(error @ guard::Error::Timeout(_)) => {
                debug!(%agent, %error, "a webhook did not answer");
                Outcome::Late
            }
            Err(error) => {
                debug!(%agent, %error, "a webhook cannot be reached");
                Outcome::Failed
            }
        }
    }

    /// Counts how a notification ended.
    pub fn count(&self, outcome: Outcome) {
        let outcome = outcome.label();
        self.metrics
            .notifications
            .get_or_create(&Labels { outcome })
            .inc();
    }
}

fn onward(headers: &HeaderMap) -> HeaderMap {
    let kept = headers.iter().filter(|(name, _)| ONWARD.contains(name));
    kept.map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}
