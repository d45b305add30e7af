//! Control events: what every router is told at once, on the bus.
//!
//! A worker that drains is given nothing new from then on, and an agent whose card has changed is asked for
//! it, without waiting for the next report or for the end of the time for which the card was given.
//!
//! # Invariants
//! - Nothing depends on them: reports, answers and scouts find the same out, only later, and what they say
//!   of a worker's state stands over what was told here.
//! - Only of agents and workers of the catalogue anything is believed: a drain of a life that is known, by
//!   its boot id, which callers never see.
//! - What is older than [`RECENT`], or as far ahead, is not acted on.
//! - However often a card is said to have changed, its agent is asked at most once a second.

use std::{fmt, sync::Arc, time::Duration};

use mesh_fabric::{
    bus::{self, Deliveries, Message, Reach, Subscription, Topic, Transit},
    state::Place,
};
use mesh_proto::mesh::{CONTROL_TOPIC, ControlKind, ControlNews, WorkerState};
use mesh_runtime::{clock, egress::Target};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use serde::Deserialize;
use tracing::{debug, info, warn};
use url::Url;

use super::{Agent, Catalogue, Snapshot};
use crate::upstream::Endpoint;

/// How far from now the time of an event may be.
const RECENT: Duration = Duration::from_secs(60);

/// How many agents of one event are looked at.
const NAMES: usize = 1024;

/// The pause before a subscription that has ended is made again; doubles up to [`SLOWEST`].
const FIRST: Duration = Duration::from_secs(1);
const SLOWEST: Duration = Duration::from_secs(30);

/// Whether control events are heard, and where.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The bus, as workers name their store: `sqlite:DIR`, `dapr`. Unset: none are heard.
    pub at: Option<Place>,
}

/// A router's subscription, which no other router shares.
pub struct Control {
    bus: Transit,
    topic: Topic,
    deliveries: Deliveries,
    metrics: Metrics,
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").finish_non_exhaustive()
    }
}

impl Control {
    /// Subscribes, where events are to be heard.
    ///
    /// # Errors
    /// [`bus::Error`], where the bus can't be opened, or has no broadcast between processes.
    pub async fn open(
        settings: &Settings,
        counts: bus::Metrics,
        registry: &mut Registry,
    ) -> Result<Option<Self>, bus::Error> {
        let Some(place) = &settings.at else {
            return Ok(None);
        };
        let bus = Transit::open_to_hear(place).await?.counted(counts);
        let topic: Topic = CONTROL_TOPIC
            .parse()
            .map_err(|error: bus::UnknownTopic| bus::Error::Unable(error.to_string()))?;
        let deliveries = bus.subscribe(ask(&topic)).await?;
        Ok(Some(Self {
            bus,
            topic,
            deliveries,
            metrics: Metrics::register(registry),
        }))
    }

    /// Acts on what comes, until the catalogue's drain.
    pub fn follow(self, catalogue: &Arc<Catalogue>) {
        let (catalogue, drain) = (Arc::clone(catalogue), catalogue.drain.clone());
        let signal = drain.clone();
        drain.spawn("control", async move {
            tokio::select! {
                () = signal.signaled() => {}
                () = self.listen(catalogue) => {}
            }
        });
    }

    async fn listen(mut self, catalogue: Arc<Catalogue>) {
        let mut pause = FIRST;
        loop {
            while let Some(delivery) = self.deliveries.next().await {
                pause = FIRST;
                let (kind, outcome) = hear(&catalogue, delivery.message());
                self.metrics.count(kind, outcome);
                // Whatever came of it: nobody carries it out better for having it once more.
                delivery.done().await;
            }
            loop {
                tokio::time::sleep(pause).await;
                pause = pause.saturating_mul(2).min(SLOWEST);
                match self.bus.subscribe(ask(&self.topic)).await {
                    Ok(deliveries) => {
                        self.deliveries = deliveries;
                        break;
                    }
                    Err(error) => warn!(%error, "control events are not heard at present"),
                }
            }
        }
    }
}

fn ask(topic: &Topic) -> Subscription {
    Subscription::new(topic.clone(), Reach::Broadcast)
}

/// What came of an event.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Outcome {
    /// It was acted on.
    Taken,
    /// It said what was known already.
    Known,
    /// Its kind, its agents or its worker are none that this router knows.
    Unknown,
    /// Its time is not [`RECENT`].
    Old,
    /// It can't be read.
    Unreadable,
}

impl Outcome {
    /// What can come of an event of a kind that is known.
    const OF_KNOWN: [Self; 4] = [Self::Taken, Self::Known, Self::Unknown, Self::Old];

    const fn label(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Known => "known",
            Self::Unknown => "unknown",
            Self::Old => "old",
            Self::Unreadable => "unreadable",
        }
    }
}

fn hear(catalogue: &Catalogue, message: &Message) -> (ControlKind, Outcome) {
    let Ok(news) = serde_json::from_slice::<ControlNews>(&message.body) else {
        return (ControlKind::Unknown, Outcome::Unreadable);
    };
    let age = clock::unix_millis().abs_diff(news.at);
    let outcome = if Duration::from_millis(age) > RECENT {
        Outcome::Old
    } else {
        match news.kind {
            ControlKind::Draining => begin_draining(catalogue, &news),
            ControlKind::CardChanged => ask_for_cards(catalogue, &news),
            ControlKind::Unknown => Outcome::Unknown,
        }
    };
    debug!(kind = ?news.kind, boot = news.boot, ?outcome, "control event");
    (news.kind, outcome)
}

/// Takes a worker for draining, at all agents that live there: it is one process.
fn begin_draining(catalogue: &Catalogue, news: &ControlNews) -> Outcome {
    if news.boot.is_empty() {
        return Outcome::Unknown;
    }
    let snapshot = catalogue.snapshot();
    let mut agents = named(&snapshot, news);
    let Some(endpoint) = agents.find_map(|agent| agent.living(&news.boot)) else {
        return Outcome::Unknown;
    };
    let mut changed = false;
    for (_, resident) in endpoint.home().residents() {
        let lives = resident.facts().boot.as_deref() == Some(&news.boot);
        changed |= lives && resident.learn_state(WorkerState::Draining);
    }
    if !changed {
        return Outcome::Known;
    }
    info!(target = %endpoint.home().target(), "a worker told that it drains");
    catalogue.refresh();
    Outcome::Taken
}

/// Has the cards that may have changed asked for anew.
fn ask_for_cards(catalogue: &Catalogue, news: &ControlNews) -> Outcome {
    let spot = Spot::of(news);
    let snapshot = catalogue.snapshot();
    let mut outcome = Outcome::Unknown;
    for agent in named(&snapshot, news) {
        for endpoint in agent.endpoints.iter().filter(|each| spot.has(each)) {
            endpoint.want_card();
            outcome = Outcome::Taken;
        }
    }
    outcome
}

/// The agents of an event that there are.
fn named<'a>(
    snapshot: &'a Snapshot,
    news: &'a ControlNews,
) -> impl Iterator<Item = &'a Arc<Agent>> {
    let names = news.agents.iter().take(NAMES);
    names.filter_map(|name| snapshot.agent(name))
}

/// Where an event has happened. The life of a worker that has just come may not be known yet, but where
/// it listens is.
enum Spot<'a> {
    Everywhere,
    Worker {
        boot: &'a str,
        target: Option<Target>,
    },
}

impl<'a> Spot<'a> {
    fn of(news: &'a ControlNews) -> Self {
        if news.boot.is_empty() && news.url.is_empty() {
            return Self::Everywhere;
        }
        let url = Url::parse(&news.url).ok();
        Self::Worker {
            boot: &news.boot,
            target: url.and_then(|url| Target::try_from(&url).ok()),
        }
    }

    fn has(&self, endpoint: &Endpoint) -> bool {
        match self {
            Self::Everywhere => true,
            Self::Worker { boot, target } => {
                let lives = !boot.is_empty() && endpoint.facts().boot.as_deref() == Some(*boot);
                let is_there = target.as_ref() == Some(endpoint.home().target());
                lives || (is_there && !endpoint.is_invoked())
            }
        }
    }
}

/// The families of this module.
#[derive(Clone, Debug, Default)]
struct Metrics {
    events: Family<Labels, Counter>,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Labels {
    kind: &'static str,
    outcome: &'static str,
}

impl Metrics {
    /// Registers the series, at zero.
    fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let help = "Control events heard, by kind and what came of them";
        registry.register("mesh_control_events", help, metrics.events.clone());
        for kind in [ControlKind::Draining, ControlKind::CardChanged] {
            for outcome in Outcome::OF_KNOWN {
                drop(metrics.events.get_or_create(&labels(kind, outcome)));
            }
        }
        for outcome in [Outcome::Unknown, Outcome::Unreadable] {
            let labels = labels(ControlKind::Unknown, outcome);
            drop(metrics.events.get_or_create(&labels));
        }
        metrics
    }

    fn count(&self, kind: ControlKind, outcome: Outcome) {
        self.events.get_or_create(&labels(kind, outcome)).inc();
    }
}

const fn labels(kind: ControlKind, outcome: Outcome) -> Labels {
    Labels {
        kind: match kind {
            ControlKind::Draining => "draining",
            ControlKind::CardChanged => "card_changed",
            ControlKind::Unknown => "other",
        },
        outcome: outcome.label(),
    }
}
