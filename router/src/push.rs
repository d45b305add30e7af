//! The page at which agents notify us, and from which their notifications go on to clients.
//!
//! # Invariants
//! - The agent is answered after the webhook has answered: what we say is done is done, and what failed
//!   is the agent's to repeat. Nothing is kept here. Before a [`Queue`] it is answered once that has the
//!   notification, which is then the queue's to deliver.
//! - A webhook sees ids as the client holds them, and the credentials that the client gave the agent.
//! - Deliveries at a time are bounded, in all and to one host; one more is told to come again.
//! - An address is good for as long as it was made for; after that its agent is told that it is gone.
//! - A notification states the version that its client speaks, whatever its agent does.

mod seats;

use std::{fmt, sync::Arc};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use mesh_proto::{AgentName, mesh};
use mesh_runtime::egress::guard;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use serde::de::IgnoredAny;
use tracing::{debug, warn};
use xxhash_rust::xxh3;

use self::seats::Seats;
use crate::{
    upstream::envelope,
    webhook::{Bounds, Webhook, Webhooks},
};

/// What of a notification's headers goes on: who it is for, what it is, and where it belongs in a trace.
const ONWARD: [HeaderName; 5] = [
    header::AUTHORIZATION,
    header::CONTENT_TYPE,
    HeaderName::from_static("x-a2a-notification-token"),
    HeaderName::from_static("a2a-extensions"),
    HeaderName::from_static(mesh::TRACEPARENT),
];

/// The longest name that an agent may give a notification.
const ID_BYTES: usize = 256;

/// See the module.
#[derive(Clone, Debug)]
pub struct Push {
    webhooks: Arc<Webhooks>,
    seats: Arc<Seats>,
    queue: Option<Arc<dyn Queue>>,
    metrics: Metrics,
}

/// A notification with ids as its client holds them, on its way to the webhook.
#[derive(Clone, Debug)]
pub struct Notice {
    /// Whose it is.
    pub agent: AgentName,
    /// The webhook.
    pub url: String,
    /// What goes along: the client's credentials, the version, the trace.
    pub headers: HeaderMap,
    /// What it is known again by: the agent's word, else a hash of address and body.
    pub id: String,
    /// JSON.
    pub body: Bytes,
}

/// Where notifications are kept until they are delivered.
pub trait Queue: fmt::Debug + Send + Sync {
    /// Keeps one: [`Outcome::Queued`] once it can't be lost any more.
    fn put(&self, notice: Notice) -> BoxFuture<'_, Outcome>;
}

/// How a notification ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Outcome {
    /// The webhook took it.
    Delivered,
    /// The queue has it.
    Queued,
    /// The address is none of ours.
    Unknown,
    /// The address was good until some time ago.
    Expired,
    /// What came is no notification.
    Unreadable,
    /// The webhook is where nobody may be called.
    Refused,
    /// The webhook did not take it, or can't be reached.
    Failed,
    /// The webhook did not answer in time.
    Late,
    /// Too many at a time, or the queue does not take it now.
    Busy,
    /// The queue takes none of its size.
    TooLarge,
}

impl Outcome {
    const ALL: [Self; 10] = [
        Self::Delivered,
        Self::Queued,
        Self::Unknown,
        Self::Expired,
        Self::Unreadable,
        Self::Refused,
        Self::Failed,
        Self::Late,
        Self::Busy,
        Self::TooLarge,
    ];

    /// What the agent is told.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Delivered => StatusCode::OK,
            Self::Queued => StatusCode::ACCEPTED,
            Self::Unknown => StatusCode::NOT_FOUND,
            Self::Expired => StatusCode::GONE,
            Self::Unreadable => StatusCode::BAD_REQUEST,
            Self::Refused => StatusCode::FORBIDDEN,
            Self::Failed => StatusCode::BAD_GATEWAY,
            Self::Late => StatusCode::GATEWAY_TIMEOUT,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        }
    }

    /// The label's value, and the word that the agent is told.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Queued => "queued",
            Self::Unknown => "unknown",
            Self::Expired => "expired",
            Self::Unreadable => "unreadable",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Late => "late",
            Self::Busy => "busy",
            Self::TooLarge => "too_large",
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
    pub fn new(webhooks: Arc<Webhooks>, bounds: Bounds, registry: &mut Registry) -> Self {
        let notifications = Family::<Labels, Counter>::default();
        for outcome in Outcome::ALL {
            let outcome = outcome.label();
            drop(notifications.get_or_create(&Labels { outcome }));
        }
        let what = "Notifications that agents sent to clients through this router, and their ends";
        registry.register("mesh_router_notifications", what, notifications.clone());
        Self {
            webhooks,
            seats: Arc::new(Seats::new(bounds)),
            queue: None,
            metrics: Metrics { notifications },
        }
    }

    /// The same, but what comes is a queue's to deliver.
    #[must_use]
    pub fn queued(self, queue: Arc<dyn Queue>) -> Self {
        let queue = Some(queue);
        Self { queue, ..self }
    }

    /// Whether an address is one of ours, before anything else of the notification is read.
    #[must_use]
    pub fn open(&self, sealed: &str) -> Option<Webhook> {
        self.webhooks.open(sealed)
    }

    /// Delivers a notification; its body is inflated.
    pub async fn deliver(&self, webhook: Webhook, headers: &HeaderMap, body: Bytes) -> Outcome {
        if self.webhooks.is_over(&webhook) {
            return Outcome::Expired;
        }
        let Some(_seat) = self.seats.take(&webhook.url) else {
            return Outcome::Busy;
        };
        let Ok(agent) = AgentName::parse(&webhook.agent) else {
            return Outcome::Unknown;
        };
        let id = self.queue.as_ref().map(|_| id(headers, &webhook, &body));
        let Ok(body) = envelope::notification(&webhook, &agent, self.webhooks.keys(), body) else {
            return Outcome::Unreadable;
        };
        if let Some((queue, id)) = self.queue.as_ref().zip(id) {
            if serde_json::from_slice::<IgnoredAny>(&body).is_err() {
                return Outcome::Unreadable;
            }
            let notice = Notice {
                agent,
                url: webhook.url,
                headers: onward(headers, webhook.is_0_3),
                id,
                body,
            };
            return queue.put(notice).await;
        }
        let posted = self
            .webhooks
            .guard()
            .post(&webhook.url, onward(headers, webhook.is_0_3), body)
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

/// What an agent's notification is known again by when it comes twice.
fn id(headers: &HeaderMap, webhook: &Webhook, body: &[u8]) -> String {
    let told = headers.get("idempotency-key");
    let told = told.and_then(|told| told.to_str().ok());
    match told.filter(|told| (1..=ID_BYTES).contains(&told.len())) {
        Some(told) => format!("{}/{told}", webhook.agent),
        None => {
            let url = xxh3::xxh3_128(webhook.url.as_bytes());
            format!("{}/{url:x}/{:x}", webhook.agent, xxh3::xxh3_128(body))
        }
    }
}

/// What goes along, in the version of the client.
fn onward(headers: &HeaderMap, is_0_3: bool) -> HeaderMap {
    let kept = headers.iter().filter(|(name, _)| ONWARD.contains(name));
    let mut kept: HeaderMap = kept
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let version = HeaderValue::from_static(if is_0_3 { "0.3" } else { "1.0" });
    kept.insert(HeaderName::from_static(mesh::A2A_VERSION), version);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notification_states_the_version_of_its_client_and_not_of_its_agent() {
        let mut headers = HeaderMap::new();
        headers.insert(mesh::A2A_VERSION, HeaderValue::from_static("1.0"));
        headers.insert(header::COOKIE, HeaderValue::from_static("of the agent"));
        let version = |is_0_3| onward(&headers, is_0_3).remove(mesh::A2A_VERSION);
        assert_eq!(version(true).unwrap(), "0.3");
        assert_eq!(version(false).unwrap(), "1.0");
        assert!(!onward(&headers, true).contains_key(header::COOKIE));
    }
}
