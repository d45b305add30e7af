//! The relay: takes what is to be pushed from the bus and posts it to webhooks, until each has it or it
//! is given up.
//!
//! ```text
//!  a2a.push.v1 -> post -> done
//!                  |-> a few tries within seconds -> a2a.push-later-*.v1, due later -> a2a.push.v1 again
//!                  |-> refused by us, or gone for good, or tried for hours -> dead letter -> the store
//! ```
//!
//! # Invariants
//! - At least once: a push is done when its webhook took it, or it lies in a later round or among the
//!   dead letters. A webhook knows it again by its `idempotency-key`.
//! - An address is judged when it is called, and the connection goes to an address that was judged
//!   (`egress::guard`).
//! - A webhook that fails holds up no other: after [`FAILURES`] in a row, and none that it took for two
//!   seconds, it is left alone for a while, and what comes for it goes to a later round unsent. One that is slow has at most half of the places
//!   while others want some.
//! - Where it has a key, each attempt is signed over the bytes that are sent ([`mesh_card::notice`]); what
//!   could not be signed is not sent. Routers that pass a push on write its body anew, and get none.
//! - Credentials of webhooks are on the bus and in the store, never in a log.

mod dead;
mod later;
mod target;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use ipnet::IpNet;
use mesh_card::{Signer, notice, sign::SignError};
use mesh_fabric::bus::{self, Delivery, Reach, Subscription, Topic, Transit};
use mesh_proto::mesh;
use mesh_runtime::{
    clock,
    drain::Drain,
    egress::{
        self, Egress,
        guard::{self, Guard},
    },
};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use tracing::{debug, warn};
use url::Url;

pub use self::dead::Letter;
use self::target::Targets;
use crate::{
    notify::{self, Push},
    record::Records,
};

/// The group of all relays of a mesh.
const GROUP: &str = "push-dispatch";

/// Failures in a row after which a webhook is left alone, unless it took something just before.
const FAILURES: u32 = 5;

/// Tries of one round.
const TRIES: u32 = 3;

/// How webhooks are called.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Networks that webhooks may be in although they are private, over `http` too. Default none.
    pub allow: Vec<IpNet>,
    /// Where the routers of this mesh take pushes for clients of another version of A2A; called whatever
    /// the address. Default none.
    pub own: Vec<Url>,
    /// How long a webhook may take, from the look-up of its name on. Default 10 s.
    pub within: Duration,
    /// Pushes that are posted at a time. Default 128.
    pub at_once: usize,
    /// The pauses before later rounds, and how many rounds after each. Default 10 s three times, a minute
    /// five times, ten minutes eighteen times: a webhook may be away for three hours.
    pub rounds: Vec<(Duration, u32)>,
    /// Signs what is posted, so that webhooks know that it is ours. Default nobody.
    pub signer: Option<Arc<Signer>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            own: Vec::new(),
            within: Duration::from_secs(10),
            at_once: 128,
            rounds: vec![
                (Duration::from_secs(10), 3),
                (Duration::from_secs(60), 5),
                (Duration::from_secs(600), 18),
            ],
            signer: None,
        }
    }
}

impl Settings {
    /// Who judges the webhooks that callers name.
    #[must_use]
    pub fn guard(&self) -> Guard {
        let settings = guard::Settings {
            allow: self.allow.clone(),
            own: self.own.clone(),
            within: self.within,
        };
        Guard::new(settings, Egress::new(egress::Settings::default()))
    }

    /// The pause before the round after so many failed ones, if there is one more.
    fn pause(&self, failed: u32) -> Option<Duration> {
        let mut left = failed;
        for (pause, rounds) in &self.rounds {
            match left.checked_sub(*rounds) {
                Some(rest) => left = rest,
                None => return Some(*pause),
            }
        }
        None
    }
}

/// How a push ended here.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Outcome {
    /// The webhook took it.
    Delivered,
    /// It did not, or could not be reached.
    Failed,
    /// It is where nobody may be called, or says that it is gone for good.
    Refused,
    /// It was left alone.
    Spared,
}

impl Outcome {
    const ALL: [Self; 4] = [Self::Delivered, Self::Failed, Self::Refused, Self::Spared];

    const fn label(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Spared => "spared",
        }
    }
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Labels {
    outcome: &'static str,
}

#[derive(Clone, Debug, Default)]
struct Metrics {
    pushes: Family<Labels, Counter>,
    waiting: Gauge,
    oldest: Gauge<f64, std::sync::atomic::AtomicU64>,
    dead: Counter,
}

impl Metrics {
    fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        for outcome in Outcome::ALL {
            metrics.count(outcome, 0);
        }
        let help = "Attempts to push an event to a webhook, and their ends";
        registry.register("mesh_pushes", help, metrics.pushes.clone());
        let help = "Pushes on the bus that are not done, as this worker last saw it";
        registry.register("mesh_push_waiting", help, metrics.waiting.clone());
        let help = "Seconds for which the oldest of them has waited";
        registry.register("mesh_push_oldest_seconds", help, metrics.oldest.clone());
        let help = "Pushes given up and laid down in the store";
        registry.register("mesh_push_dead", help, metrics.dead.clone());
        metrics
    }

    fn count(&self, outcome: Outcome, times: u64) {
        let outcome = outcome.label();
        let counter = self.pushes.get_or_create(&Labels { outcome });
        counter.inc_by(times);
    }
}

/// See the module.
#[derive(Debug)]
pub struct Relay {
    bus: Transit,
    records: Records,
    guard: Guard,
    settings: Settings,
    targets: Targets,
    metrics: Metrics,
    topic: Topic,
    drain: Drain,
}

impl Relay {
    /// Begins to push, until the drain is signaled; what is under way then is finished, and the rest is
    /// another relay's, or this one's next life's.
    ///
    /// # Errors
    /// [`bus::Error`], where the bus can't be subscribed to.
    pub async fn start(
        bus: Transit,
        records: Records,
        settings: Settings,
        registry: &mut Registry,
        drain: &Drain,
    ) -> Result<(), bus::Error> {
        let unable = |error: bus::UnknownTopic| bus::Error::Unable(error.to_string());
        let topic: Topic = notify::TOPIC.parse().map_err(unable)?;
        let relay = Arc::new(Self {
            bus,
            records,
            guard: settings.guard(),
            targets: Targets::new(settings.at_once),
            settings,
            metrics: Metrics::register(registry),
            topic: topic.clone(),
            drain: drain.clone(),
        });
        let group = Reach::Group(GROUP.to_owned());
        let mut deliveries = relay
            .bus
            .subscribe(Subscription {
                in_flight: relay.settings.at_once,
                deadline: relay.settings.within + Duration::from_secs(50),
                attempts: TRIES + 1,
                ..Subscription::new(topic, group)
            })
            .await?;
        let (pushing, signal) = (Arc::clone(&relay), drain.clone());
        drain.spawn("pushes", async move {
            loop {
                let delivery = tokio::select! {
                    delivery = deliveries.next() => delivery,
                    () = signal.signaled() => return,
                };
                match delivery {
                    Some(delivery) => Arc::clone(&pushing).take(delivery),
                    None => {
                        warn!("the bus gives nothing to push any more");
                        return;
                    }
                }
            }
        });
        later::start(&relay).await?;
        dead::start(&relay).await?;
        relay.measure();
        Ok(())
    }

    /// Looks now and then how much waits.
    fn measure(self: &Arc<Self>) {
        const EVERY: Duration = Duration::from_secs(5);
        let (relay, signal) = (Arc::clone(self), self.drain.clone());
        self.drain.spawn("push depth", async move {
            loop {
                if let Ok(Some(depth)) = relay.bus.depth(&relay.topic, GROUP).await {
                    let waiting = i64::try_from(depth.messages).unwrap_or(i64::MAX);
                    relay.metrics.waiting.set(waiting);
                    relay.metrics.oldest.set(depth.oldest.as_secs_f64());
                }
                tokio::select! {
                    () = tokio::time::sleep(EVERY) => {}
                    () = signal.signaled() => return,
                }
            }
        });
    }

    fn take(self: Arc<Self>, delivery: Delivery) {
        let drain = self.drain.clone();
        drain.spawn("push", async move { self.push(delivery).await });
    }

    async fn push(&self, delivery: Delivery) {
        let Ok(push) = serde_json::from_slice::<Push>(&delivery.message().body) else {
            return delivery.dead("it is no push");
        };
        let target = target::of(&push.url);
        let Some(seat) = self.targets.enter(&target) else {
            self.metrics.count(Outcome::Spared, 1);
            return self
                .later(push, delivery, "its webhook failed for others")
                .await;
        };
        let posted = self.post(&push).await;
        drop(seat);
        let (outcome, reason) = judge(&posted);
        self.metrics.count(outcome, 1);
        match outcome {
            Outcome::Delivered => {
                self.targets.works(&target);
                delivery.done().await;
            }
            Outcome::Refused => delivery.dead(&reason),
            Outcome::Failed | Outcome::Spared => {
                self.targets.fails(&target);
                debug!(task = push.task, %reason, "a webhook did not take an event");
                if delivery.attempt() < TRIES {
                    delivery.again(&reason);
                } else {
                    self.later(push, delivery, &reason).await;
                }
            }
        }
    }

    /// Another round, or none.
    async fn later(&self, push: Push, delivery: Delivery, reason: &str) {
        let Some(pause) = self.settings.pause(push.failed) else {
            return delivery.dead(reason);
        };
        match later::put(&self.bus, &push, pause).await {
            Ok(()) => delivery.done().await,
            Err(error) => {
                warn!(%error, "a push could not be put off; it is tried again at once");
                delivery.again(reason);
            }
        }
    }

    async fn post(&self, push: &Push) -> Result<StatusCode, Unposted> {
        let body = Bytes::copy_from_slice(push.event.get().as_bytes());
        let mut headers = headers(push);
        let own = &self.settings.own;
        let is_own = own.iter().any(|own| push.url.starts_with(own.as_str()));
        if let Some(signer) = self.settings.signer.as_ref().filter(|_| !is_own) {
            let now_seconds = clock::unix_millis() / 1000;
            let signature = signer.sign_notice(&body, &push.url, now_seconds)?;
            if let Ok(signature) = HeaderValue::try_from(signature) {
                headers.insert(HeaderName::from_static(notice::HEADER), signature);
            }
        }
        Ok(self.guard.post(&push.url, headers, body).await?)
    }
}

/// Why a webhook has not answered.
#[derive(Debug, thiserror::Error)]
enum Unposted {
    #[error(transparent)]
    Guard(#[from] guard::Error),
    #[error(transparent)]
    Unsigned(#[from] SignError),
}

fn judge(posted: &Result<StatusCode, Unposted>) -> (Outcome, String) {
    match posted {
        Ok(status) if status.is_success() => (Outcome::Delivered, String::new()),
        Ok(status @ StatusCode::GONE) => (Outcome::Refused, format!("it answered {status}")),
        Ok(status) => (Outcome::Failed, format!("it answered {status}")),
        Err(error @ Unposted::Guard(guard::Error::Refused(_))) => {
            (Outcome::Refused, error.to_string())
        }
        Err(error) => (Outcome::Failed, error.to_string()),
    }
}

/// What a webhook is told beside the event. What can't be a header is left out: the caller gave it.
fn headers(push: &Push) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let kind = HeaderValue::from_static("application/a2a+json");
    headers.insert(header::CONTENT_TYPE, kind);
    let version = HeaderValue::from_static("1.0");
    headers.insert(HeaderName::from_static(mesh::A2A_VERSION), version);
    let mut give = |name: HeaderName, text: &str, is_secret: bool| {
        if let Ok(mut value) = HeaderValue::from_str(text)
            && !text.is_empty()
        {
            value.set_sensitive(is_secret);
            headers.insert(name, value);
        }
    };
    give(HeaderName::from_static("idempotency-key"), &push.id, false);
    let token = HeaderName::from_static("x-a2a-notification-token");
    give(token, &push.token, true);
    if !push.scheme.is_empty() {
        let authorization = format!("{} {}", push.scheme, push.credentials);
        give(header::AUTHORIZATION, authorization.trim(), true);
    }
    for (name, text) in &push.headers {
        if let Ok(name) = HeaderName::try_from(name) {
            give(name, text, false);
        }
    }
    headers
}

#[cfg(test)]
mod tests;
