//! The bus behind a Dapr sidecar: whatever broker its components are.
//!
//! What a component is called to keep depends on its type ([`kinds`]); what it can't keep it is refused
//! for at the start, unless the settings do without. What is published is a CloudEvent with the body in
//! base64 ([`event`]): Dapr rewrites JSON, and rounds its numbers.
//!
//! # Invariants
//! - Each event has an id of its own, whatever message it carries: JetStream drops what repeats one, and
//!   the sidecar tells two events of one id that are under way apart by nothing.
//! - Messages of one topic and key are published one after the other, but for Kafka, which keeps the
//!   order of what it is given together: a sidecar publishes what it is given at once side by side.
//! - A process has one stream for a component and topic. A second one would share with the first, or
//!   stand in its place, as the broker will.
//! - No event is answered with a failure: most components drop what failed. It is answered as done, or
//!   its stream is closed.

mod callback;
mod event;
mod inbox;
mod kinds;
mod stream;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use dapr::dapr::proto::runtime::v1::{
    BulkPublishRequest, BulkPublishRequestEntry, PublishEventRequest,
};
use futures_util::future::{BoxFuture, join_all};
use mesh_runtime::drain::Drain;
use parking_lot::Mutex;
use tokio::sync::Notify;

pub use self::callback::Inlet;
use self::{callback::Callbacks, kinds::Kind};
use super::{Arrivals, Bus, Depth, Error, Message, Promises, Reach, Topic};
use crate::dapr::{Need, Settings, Sidecar, Stub, Unusable};

/// The most events of one bulk call, and the most bytes: a sidecar takes 4 MiB by default.
const BULK: (usize, usize) = (100, 2 << 20);

/// See the module.
#[derive(Debug)]
pub(super) struct Dapr(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    settings: Settings,
    sidecar: Sidecar,
    kinds: BTreeMap<String, Kind>,
    drain: Drain,
    streams: Streams,
    callbacks: Callbacks,
}

/// Which component and topic have a stream here.
#[derive(Debug, Default)]
struct Streams {
    open: Mutex<HashMap<(String, Topic), Standing>>,
    ended: Notify,
}

impl Streams {
    /// Frees the place of a stream that has ended.
    fn leave(&self, place: &(String, Topic)) {
        self.open.lock().remove(place);
        self.ended.notify_waiters();
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Standing {
    Open,
    Closing,
}

impl Dapr {
    /// A bus on the sidecar, as soon as that is up.
    pub(super) async fn open(settings: Settings) -> Result<Self, Unusable> {
        let sidecar = Sidecar::new(&settings)?;
        let mut names: BTreeSet<_> = settings.groups.values().cloned().collect();
        names.insert(settings.bus.clone());
        if settings.needs.contains(&Need::Broadcast) {
            names.insert(settings.broadcast.clone());
        }
        let there = sidecar.kinds(&settings, &names).await?;
        let of_topics = format!("{}-", settings.bus);
        names.extend(there.iter().filter_map(|(name, kind)| {
            let is_ours = kind.starts_with("pubsub.") && name.starts_with(&of_topics);
            (is_ours && *name != settings.broadcast).then(|| name.clone())
        }));
        let kinds = there
            .into_iter()
            .map(|(name, kind)| (name, Kind::of(&kind)));
        let kinds: BTreeMap<_, _> = kinds.collect();
        for name in &names {
            let kind = kinds.get(name).copied().unwrap_or_default();
            kind.check(name, &settings.needs)
                .map_err(Unusable::Lacking)?;
        }
        Ok(Self(Arc::new(Shared {
            settings,
            sidecar,
            kinds,
            // Each task ends with its subscription; nobody waits for one.
            drain: mesh_runtime::drain::channel().1,
            streams: Streams::default(),
            callbacks: Callbacks::default(),
        })))
    }
}

impl Shared {
    fn kind(&self, component: &str) -> Kind {
        self.kinds.get(component).copied().unwrap_or_default()
    }

    /// The component by which a topic reaches whom it should.
    fn component(&self, topic: &Topic, reach: &Reach) -> Result<String, Error> {
        let Settings {
            broadcast,
            groups,
            bus,
            ..
        } = &self.settings;
        let name = match reach {
            Reach::Broadcast => broadcast,
            Reach::Group(group) => {
                let of_topic = format!("{bus}-{}", topic.as_str().replace('.', "-"));
                let told = groups.get(&format!("{group}@{topic}"));
                match told.or_else(|| groups.get(group)) {
                    Some(told) => told,
                    None if self.kinds.contains_key(&of_topic) => return Ok(of_topic),
                    None => bus,
                }
            }
        };
        if self.kinds.contains_key(name) {
            return Ok(name.clone());
        }
        Err(Error::Unable(format!(
            "the sidecar has no component {name:?} for {topic}"
        )))
    }

    /// Takes the one place for a stream, waiting for one that is about to leave it.
    async fn enter(&self, place: &(String, Topic)) -> Result<(), Error> {
        let (component, topic) = place;
        loop {
            let ended = self.streams.ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            {
                let mut open = self.streams.open.lock();
                match open.get(place) {
                    None => {
                        open.insert(place.clone(), Standing::Open);
                        return Ok(());
                    }
                    Some(Standing::Closing) => {}
                    Some(Standing::Open) => {
                        return Err(Error::Unable(format!(
                            "this process listens to {topic} by component {component:?} already; \
                             subscribe once and share what comes, or name another component"
                        )));
                    }
                }
            }
            ended.await;
        }
    }

    /// Whether the sidecar brings it in batches.
    fn is_brought(
        &self,
        (component, topic): &(String, Topic),
        reach: &Reach,
    ) -> Result<bool, Error> {
        if matches!(reach, Reach::Broadcast) || !self.settings.batches.contains(topic.as_str()) {
            return Ok(false);
        }
        if self.kind(component).brings_batches() {
            return Ok(true);
        }
        Err(Error::Unable(format!(
            "{topic} can't come in batches: component {component:?} is no pubsub.kafka, which alone \
             reads them from its broker"
        )))
    }

    /// Publishes messages of one topic whose order among each other is of no meaning, or is kept.
    async fn bulk(&self, wave: Vec<(usize, Message)>) -> Vec<(usize, Result<(), Error>)> {
        let (mut answers, mut chunk, mut bytes) = (Vec::with_capacity(wave.len()), Vec::new(), 0);
        for (place, message) in wave {
            let size = message.body.len() * 4 / 3 + 4096;
            if chunk.len() == BULK.0 || (bytes + size > BULK.1 && !chunk.is_empty()) {
                answers.extend(self.bulk_call(std::mem::take(&mut chunk)).await);
                bytes = 0;
            }
            bytes += size;
            chunk.push((place, message));
        }
        answers.extend(self.bulk_call(chunk).await);
        answers
    }

    async fn bulk_call(&self, chunk: Vec<(usize, Message)>) -> Vec<(usize, Result<(), Error>)> {
        let places: Vec<_> = chunk.iter().map(|(place, _)| *place).collect();
        let Some((_, first)) = chunk.first() else {
            return Vec::new();
        };
        if chunk.len() == 1 {
            let answer = self.single(first).await;
            return places
                .into_iter()
                .map(|place| (place, answer.clone()))
                .collect();
        }
        let topic = first.topic.to_string();
        let entry = |(place, message): (usize, Message)| BulkPublishRequestEntry {
            entry_id: place.to_string(),
            event: event::encode(&message),
            content_type: event::CONTENT_TYPE.to_owned(),
            metadata: event::metadata(&message),
        };
        let request = BulkPublishRequest {
            pubsub_name: self.settings.bus.clone(),
            topic,
            entries: chunk.into_iter().map(entry).collect(),
            metadata: HashMap::default(),
        };
        let put = self
            .sidecar
            .call(async move |mut stub: Stub| stub.bulk_publish_event(request).await);
        let failed = match put.await {
            Err(status) => {
                let error = Error::unavailable(status);
                let refuse = |place| (place, Err(error.clone()));
                return places.into_iter().map(refuse).collect();
            }
            Ok(answer) => answer.failed_entries,
        };
        let failed: HashMap<_, _> = failed
            .into_iter()
            .map(|entry| (entry.entry_id, entry.error))
            .collect();
        let answer = |place: usize| match failed.get(&place.to_string()) {
            None => (place, Ok(())),
            Some(error) => (place, Err(Error::unavailable(Refused(error.clone())))),
        };
        places.into_iter().map(answer).collect()
    }

    async fn single(&self, message: &Message) -> Result<(), Error> {
        let request = PublishEventRequest {
            pubsub_name: self.settings.bus.clone(),
            topic: message.topic.to_string(),
            data: event::encode(message),
            data_content_type: event::CONTENT_TYPE.to_owned(),
            metadata: event::metadata(message),
        };
        let put = self
            .sidecar
            .call(async move |mut stub: Stub| stub.publish_event(request).await);
        put.await.map_err(Error::unavailable)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the sidecar did not publish it: {0}")]
struct Refused(String);

/// Messages of one topic in turns, none of which has two of one key.
fn turns(batch: Vec<(usize, Message)>) -> Vec<Vec<(usize, Message)>> {
    let mut turns: Vec<Vec<_>> = Vec::new();
    let mut of_key = HashMap::<String, usize>::new();
    for (place, message) in batch {
        let turn = of_key.entry(message.key.clone()).or_default();
        if turns.len() == *turn {
            turns.push(Vec::new());
        }
        if let Some(taken) = turns.get_mut(*turn) {
            taken.push((place, message));
        }
        *turn += 1;
    }
    turns
}

impl Dapr {
    /// What the sidecar's batches come in by.
    pub(super) fn inlet(&self) -> Inlet {
        Inlet(Arc::clone(&self.0))
    }
}

impl Bus for Dapr {
    fn promises(&self) -> Promises {
        self.0.kind(&self.0.settings.bus).promises()
    }

    fn publish(&self, batch: Vec<Message>) -> BoxFuture<'_, Vec<Result<(), Error>>> {
        Box::pin(async move {
            let mut answers = vec![Err(Error::Closed); batch.len()];
            let mut topics = BTreeMap::<Topic, Vec<_>>::new();
            for (place, message) in batch.into_iter().enumerate() {
                let topic = topics.entry(message.topic.clone()).or_default();
                topic.push((place, message));
            }
            let is_ordered = self.0.kind(&self.0.settings.bus).keeps_bulk_order();
            let put = topics.into_values().map(|batch| async move {
                let turns = if is_ordered {
                    vec![batch]
                } else {
                    turns(batch)
                };
                let mut answers = Vec::new();
                for turn in turns {
                    answers.extend(self.0.bulk(turn).await);
                }
                answers
            });
            for (place, answer) in join_all(put).await.into_iter().flatten() {
                if let Some(open) = answers.get_mut(place) {
                    *open = answer;
                }
            }
            answers
        })
    }

    fn subscribe(
        &self,
        topic: Topic,
        reach: Reach,
        in_flight: usize,
    ) -> BoxFuture<'_, Result<Box<dyn Arrivals>, Error>> {
        let shared = Arc::clone(&self.0);
        Box::pin(async move {
            let name = (shared.component(&topic, &reach)?, topic);
            let is_brought = shared.is_brought(&name, &reach)?;
            shared.enter(&name).await?;
            if is_brought && let Some(arrivals) = callback::open(&shared, &name, in_flight) {
                return Ok(arrivals);
            }
            stream::open(shared, name.0, name.1, reach, in_flight).await
        })
    }

    fn depth(&self, _: Topic, _: String) -> BoxFuture<'_, Result<Option<Depth>, Error>> {
        // A sidecar tells nobody: its broker's own instruments do.
        Box::pin(async { Ok(None) })
    }
}

#[cfg(test)]
mod tests;
