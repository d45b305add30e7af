//! The handle to a bus that everybody holds, whatever its form.
//!
//! # Invariants
//! - No message that is over a bound reaches a form, and no publish waits longer than [`PATIENCE`].

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use mesh_runtime::drain::Drain;
use parking_lot::Mutex;

use super::{
    ATTRIBUTES, BATCH, BODY_BYTES, Bounds, Bus, Deliveries, Depth, Error, Message, Metrics,
    Promises, Reach, Subscription, TEXT_BYTES, Topic,
    dapr::{Dapr, Inlet},
    memory::Memory,
    metrics::{Happened, Holding},
    sqlite::Sqlite,
};
use crate::{
    dapr::{Need, Settings, Unusable},
    state::Place,
};

/// How long a publish may take before it is given up as unavailable.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often [`Transit::watched`] looks.
const LOOK: Duration = Duration::from_secs(5);

/// A bus. Clones are handles to the same one.
#[derive(Clone, Debug)]
pub struct Transit {
    form: Arc<dyn Bus>,
    metrics: Metrics,
    patience: Duration,
    /// The groups that were joined by this handle or one like it.
    joined: Arc<Mutex<BTreeSet<(Topic, String)>>>,
    inlet: Option<Inlet>,
}

#[derive(Debug, thiserror::Error)]
#[error("it took longer than {0:?}")]
struct Late(Duration);

impl Transit {
    /// Opens the bus of a place: the processes that share the place share it.
    ///
    /// # Errors
    /// [`Error::Unavailable`], where it can't be opened; [`Error::Unable`], where a sidecar's component
    /// can't keep what workers need.
    pub async fn open(place: &Place) -> Result<Self, Error> {
        Self::open_in_batches(place, BTreeSet::new()).await
    }

    /// The same; what groups here are to have of these topics the sidecar brings in batches, by
    /// [`Self::inlet`].
    ///
    /// # Errors
    /// As of [`Self::open`]; [`Error::Unable`] for a bus without a sidecar.
    pub async fn open_in_batches(place: &Place, batches: BTreeSet<Topic>) -> Result<Self, Error> {
        match place {
            Place::Memory | Place::Sqlite(_) if !batches.is_empty() => {
                let why = "batches are what a Dapr sidecar brings; this bus is not behind one";
                Err(Error::Unable(why.to_owned()))
            }
            Place::Memory => Ok(Self::memory(Bounds::default())),
            Place::Sqlite(dir) => Ok(Self::of(Sqlite::open(dir.clone()).await?)),
            Place::Dapr { bus, .. } => {
                // No worker listens to a broadcast, so none needs a component for it. Where there is no
                // order, two pushes of one task may overtake each other; each tells when it was.
                let needs = [Need::Durable, Need::Groups, Need::Redelivery];
                let settings = Settings {
                    batches: batches.iter().map(Topic::to_string).collect(),
                    ..settings(bus, &needs)
                };
                let bus = Self::dapr(settings).await?;
                if !bus.promises().order {
                    tracing::warn!(%place, "the component of the bus {}", Need::Order.lack());
                }
                Ok(bus)
            }
        }
    }

    /// Opens the bus of a place to tell news to listeners in other processes.
    ///
    /// # Errors
    /// As of [`Self::open`]; [`Error::Unable`] for a bus that no other process has.
    pub async fn open_to_tell(place: &Place) -> Result<Self, Error> {
        match place {
            Place::Memory => Err(nobody_else()),
            Place::Sqlite(_) | Place::Dapr { .. } => Self::open(place).await,
        }
    }

    /// Opens the bus of a place to hear what is told to everybody ([`Reach::Broadcast`]).
    ///
    /// # Errors
    /// [`Error::Unable`] for a bus that no other process has, or whose component knows no broadcast;
    /// [`Error::Unavailable`], where it can't be opened.
    pub async fn open_to_hear(place: &Place) -> Result<Self, Error> {
        match place {
            Place::Memory => Err(nobody_else()),
            Place::Sqlite(_) => Self::open(place).await,
            Place::Dapr { bus, .. } => Self::dapr(settings(bus, &[Need::Broadcast])).await,
        }
    }

    /// The bus behind a Dapr sidecar, as soon as that is up.
    ///
    /// # Errors
    /// [`Error::Unable`], where a component lacks what is needed; [`Error::Unavailable`], where the
    /// sidecar does not come up.
    pub async fn dapr(settings: Settings) -> Result<Self, Error> {
        let by_batches = !settings.batches.is_empty();
        let opened = Dapr::open(settings).await;
        let form = opened.map_err(|unusable| match unusable {
            Unusable::Silent { .. } => Error::unavailable(unusable),
            Unusable::Address(_) | Unusable::Component { .. } | Unusable::Lacking(_) => {
                Error::Unable(unusable.to_string())
            }
        })?;
        let inlet = by_batches.then(|| form.inlet());
        Ok(Self {
            inlet,
            ..Self::of(form)
        })
    }

    /// What the sidecar's batches come in by, where it brings some: they are to be handed in from the
    /// port that its `--app-port` names, once all that listens here has subscribed.
    #[must_use]
    pub fn inlet(&self) -> Option<Inlet> {
        self.inlet.clone()
    }

    /// A bus of any form.
    #[must_use]
    pub fn of(form: impl Bus + 'static) -> Self {
        Self {
            form: Arc::new(form),
            metrics: Metrics::default(),
            patience: PATIENCE,
            joined: Arc::default(),
            inlet: None,
        }
    }

    /// A bus in memory, for this process alone.
    #[must_use]
    pub fn memory(bounds: Bounds) -> Self {
        Self::of(Memory::new(bounds))
    }

    /// The form itself, as one process has it.
    #[cfg(any(test, feature = "contract"))]
    #[must_use]
    pub fn form(&self) -> Arc<dyn Bus> {
        Arc::clone(&self.form)
    }

    /// The same bus, counted by these.
    #[must_use]
    pub fn counted(self, metrics: Metrics) -> Self {
        Self { metrics, ..self }
    }

    /// The same bus; every few seconds, until the drain is signaled, it is looked how much waits for each
    /// group that was joined here, and what the form threw away.
    #[must_use]
    pub fn watched(self, drain: &Drain) -> Self {
        let (bus, signal) = (self.clone(), drain.clone());
        drain.spawn("bus depth", async move {
            loop {
                bus.look().await;
                tokio::select! {
                    () = tokio::time::sleep(LOOK) => {}
                    () = signal.signaled() => return,
                }
            }
        });
        self
    }

    async fn look(&self) {
        self.metrics.lost(self.form.losses());
        let joined = self.joined.lock().clone();
        for (topic, group) in joined {
            if let Ok(Some(depth)) = self.depth(&topic, &group).await {
                self.metrics.deep(&topic, &group, depth);
            }
        }
    }

    /// The same bus, on which a publish is given up after another time than ten seconds.
    #[must_use]
    pub fn patient(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// What its form keeps of the contract by itself.
    #[must_use]
    pub fn promises(&self) -> Promises {
        self.form.promises()
    }

    /// Puts messages on the bus, one answer for each, in their order. One that failed keeps no other
    /// from being published.
    ///
    /// # Cancel safety
    /// Dropping the future leaves each message published or not.
    pub async fn publish(&self, batch: Vec<Message>) -> Vec<Result<(), Error>> {
        if batch.len() > BATCH {
            return batch.iter().map(|_| Err(Error::Size)).collect();
        }
        let mut answers: Vec<_> = batch.iter().map(check).collect();
        let topics: Vec<_> = batch.iter().map(|message| message.topic.clone()).collect();
        let within = batch.into_iter().zip(&answers);
        let within: Vec<_> = within
            .filter_map(|(message, answer)| answer.is_ok().then_some(message))
            .collect();
        let count = within.len();
        let put = tokio::time::timeout(self.patience, self.form.publish(within));
        let put = match put.await {
            Ok(put) if put.len() == count => put,
            Ok(_) => vec![Err(Error::Closed); count],
            Err(_) => vec![Err(Error::unavailable(Late(self.patience))); count],
        };
        let open = answers.iter_mut().filter(|answer| answer.is_ok());
        for (answer, put) in open.zip(put) {
            *answer = put;
        }
        for (topic, answer) in topics.iter().zip(&answers) {
            let happened = match answer {
                Ok(()) => Happened::Published,
                Err(_) => Happened::Refused,
            };
            self.metrics.count(topic, happened, 1);
        }
        answers
    }

    /// Puts one message on the bus.
    ///
    /// # Errors
    /// [`Error::Size`], [`Error::Full`], [`Error::Unavailable`].
    pub async fn publish_one(&self, message: Message) -> Result<(), Error> {
        let answers = self.publish(vec![message]).await;
        answers.into_iter().next().unwrap_or(Err(Error::Closed))
    }

    /// Subscribes. What arrives is handed out by [`Deliveries::next`], which must be polled for the
    /// rest to happen.
    ///
    /// # Errors
    /// [`Error::Unable`], where the form can't keep what is asked; [`Error::Unavailable`].
    pub async fn subscribe(&self, ask: Subscription) -> Result<Deliveries, Error> {
        let (topic, reach) = (ask.topic.clone(), ask.reach.clone());
        let in_flight = ask.in_flight.max(1);
        if let Reach::Group(group) = &reach {
            let place = (topic.clone(), group.clone());
            self.joined.lock().insert(place);
        }
        let arrivals = self.form.subscribe(topic, reach, in_flight).await?;
        Ok(Deliveries::new(arrivals, ask, self.clone()))
    }

    /// How much waits in a topic for a group; `None` where the form can't know.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn depth(&self, topic: &Topic, group: &str) -> Result<Option<Depth>, Error> {
        self.form.depth(topic.clone(), group.to_owned()).await
    }

    /// Puts a dead letter on the bus, whose texts may be longer than others'.
    pub(super) async fn bury(&self, letter: Message) -> Result<(), Error> {
        let put = self.form.publish(vec![letter]);
        let put = tokio::time::timeout(self.patience, put).await;
        let put = put.map_err(|_| Error::unavailable(Late(self.patience)))?;
        put.into_iter().next().unwrap_or(Err(Error::Closed))
    }

    pub(super) fn hold(&self, topic: &Topic) -> Holding {
        self.metrics.hold(topic)
    }

    pub(super) fn count(&self, topic: &Topic, happened: Happened) {
        self.metrics.count(topic, happened, 1);
    }
}

/// The sidecar of the surroundings, with a bus that must keep this much.
fn settings(bus: &str, needs: &[Need]) -> Settings {
    Settings {
        bus: bus.to_owned(),
        needs: needs.iter().copied().collect(),
        ..Settings::default()
    }
}

fn nobody_else() -> Error {
    let why = "a bus in memory is this process's alone; say sqlite:DIR or dapr";
    Error::Unable(why.to_owned())
}

fn check(message: &Message) -> Result<(), Error> {
    let is_text = |text: &String| (1..=TEXT_BYTES).contains(&text.len());
    let is_name = |name: &String| {
        let mut bytes = name.bytes();
        is_text(name) && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    let attributes = &message.attributes;
    let are_attributes = attributes.len() <= ATTRIBUTES
        && attributes.keys().all(is_name)
        && attributes.values().all(|value| value.len() <= TEXT_BYTES);
    let fits = is_text(&message.id)
        && is_text(&message.key)
        && are_attributes
        && message.body.len() <= BODY_BYTES;
    if fits { Ok(()) } else { Err(Error::Size) }
}
