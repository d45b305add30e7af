//! What happens to a task, on its way to the webhooks that want to know: from the turn to the bus.
//!
//! The turn says what happened and goes on; one task of the worker puts it on the bus, in its order. What
//! a task has come to when it rests is in the store before ([`Records::write`]) and goes from there when
//! the bus has it, so it is told though this worker dies; what happens in between (it works, an artifact
//! is whole) is told as long as the worker lives.
//!
//! # Invariants
//! - A turn never waits here. When [`QUEUE`] notes wait, one more is dropped and counted, and where it
//!   is in the store it is found there by [`Notifier::start`]'s sweep.
//! - The id of a note is the same however often it is told: webhooks know it again.
//! - Notes of one task are on the bus in their order: its key is the task.

pub mod transition;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use mesh_fabric::bus::{BODY_BYTES, Message, Topic, Transit};
use mesh_proto::{
    a2a::{
        StreamResponse, TaskPushNotificationConfig as Config, TaskState, stream_response::Payload,
    },
    json,
    mesh::Slot,
};
use mesh_runtime::{clock, drain::Drain};
use prometheus_client::{metrics::counter::Counter, registry::Registry};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tracing::{debug, warn};

use self::transition::Transition;
use crate::record::{Records, TaskKey, Unsent};

/// Notes that wait for the bus.
const QUEUE: usize = 4096;

/// How often notes are looked for that somebody left in the store.
const SWEEP: Duration = Duration::from_secs(10);

/// How old a note in the store is before somebody else than its writer puts it on the bus.
const LEFT: Duration = Duration::from_secs(5);

/// How many are looked at at once.
const PAGE: usize = 128;

/// Where what is to be pushed waits.
pub const TOPIC: &str = "a2a.push.v1";

/// One event for one webhook, as it is on the bus. It holds the credentials that the client gave for it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Push {
    /// The agent whose task it is.
    pub agent: String,
    /// The task.
    pub task: String,
    /// The id of the event, the same in each attempt.
    pub id: String,
    /// Where it goes.
    pub url: String,
    /// What the receiver knows the pushes by.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub token: String,
    /// How the receiver wants to be convinced: `Bearer`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub scheme: String,
    /// By what.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub credentials: String,
    /// What else goes along, in place of what our own pushes say: the headers of another agent's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// How often it was tried in vain in earlier rounds.
    #[serde(default)]
    pub failed: u32,
    /// A `StreamResponse` in ProtoJSON.
    pub event: Box<RawValue>,
}

/// What is told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    /// Whether the transitions of all tasks are put on the bus, as [`transition::TOPIC`] has them. Default
    /// no: each costs one more key in the commit that makes it, a message, and a deletion.
    pub transitions: bool,
}

/// Something that happened to a task.
#[derive(Debug)]
pub struct Note {
    /// The task.
    pub key: TaskKey,
    /// What the event is known again by, within the task.
    pub id: String,
    /// The event.
    pub event: Arc<StreamResponse>,
    /// Who wants to know; unset where the store has to be asked.
    pub hooks: Option<Arc<[Config]>>,
    /// Whether the store has it too.
    pub stored: bool,
    /// The slot that the task was placed by.
    pub slot: Option<Slot>,
}

/// A note as the store keeps it.
#[derive(Debug, Deserialize, Serialize)]
struct Kept {
    tenant: String,
    agent: String,
    principal: String,
    task: String,
    id: String,
    millis: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    slot: Option<u16>,
    event: Box<RawValue>,
}

#[derive(Clone, Debug, Default)]
struct Metrics {
    told: Counter,
    transitions: Counter,
    dropped: Counter,
    left: Counter,
}

impl Metrics {
    fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        for (name, help, counter) in [
            (
                "mesh_notes_told",
                "Events of tasks put on the bus for a webhook",
                &metrics.told,
            ),
            (
                "mesh_transitions_told",
                "Transitions of tasks put on the bus for taps",
                &metrics.transitions,
            ),
            (
                "mesh_notes_dropped",
                "Events not told at once, the queue being full or the bus away",
                &metrics.dropped,
            ),
            (
                "mesh_notes_left",
                "Events found in the store that somebody had not told",
                &metrics.left,
            ),
        ] {
            registry.register(name, help, counter.clone());
        }
        metrics
    }
}

/// See the module. Clones feed the same queue.
#[derive(Clone, Debug)]
pub struct Notifier {
    notes: mpsc::Sender<Note>,
    tells_transitions: bool,
    metrics: Metrics,
}

struct Clerk {
    bus: Transit,
    records: Records,
    topic: Topic,
    /// Where transitions go, if they are told.
    transitions: Option<Topic>,
    metrics: Metrics,
}

impl Notifier {
    /// Begins to put notes on the bus, and to look for those that were left.
    #[must_use]
    pub fn start(
        bus: Transit,
        records: Records,
        settings: Settings,
        registry: &mut Registry,
        drain: &Drain,
    ) -> Self {
        let (notes, mut queue) = mpsc::channel(QUEUE);
        let metrics = Metrics::register(registry);
        let notifier = Self {
            notes,
            tells_transitions: settings.transitions,
            metrics: metrics.clone(),
        };
        let Ok(topic) = TOPIC.parse() else {
            return notifier;
        };
        let clerk = Clerk {
            bus,
            records,
            topic,
            transitions: transition::TOPIC
                .parse()
                .ok()
                .filter(|_| settings.transitions),
            metrics,
        };
        let signal = drain.clone();
        drain.spawn("notes", async move {
            let mut sweep = tokio::time::interval(SWEEP);
            sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    biased;
                    note = queue.recv() => match note {
                        Some(note) => clerk.tell(note).await,
                        None => return,
                    },
                    _ = sweep.tick() => clerk.sweep().await,
                    () = signal.signaled() => break,
                }
            }
            // What the last turns say is still told; no turn waits for that.
            while let Ok(note) = queue.try_recv() {
                clerk.tell(note).await;
            }
        });
        notifier
    }

    /// Whether the transitions of all tasks are told, also where no webhook wants to know.
    #[must_use]
    pub const fn tells_transitions(&self) -> bool {
        self.tells_transitions
    }

    /// Says that something happened, to whoever wants to know.
    pub fn tell(&self, note: Note) {
        let is_for_hooks = note.hooks.as_ref().is_none_or(|hooks| !hooks.is_empty());
        if !is_for_hooks && !self.tells_transitions {
            return;
        }
        if self.notes.try_send(note).is_err() {
            self.metrics.dropped.inc();
        }
    }
}

/// A note for the store: what happened to a task, and is still to be told.
#[must_use]
pub fn kept(key: &TaskKey, id: &str, payload: &Payload, slot: Option<Slot>) -> Option<Bytes> {
    let event = StreamResponse {
        payload: Some(payload.clone()),
    };
    let kept = Kept {
        tenant: key.scope.tenant.clone(),
        agent: key.scope.agent.to_string(),
        principal: key.scope.principal.clone(),
        task: key.id.clone(),
        id: id.to_owned(),
        millis: clock::unix_millis(),
        slot: slot.map(|slot| slot.0),
        event: raw(&event)?,
    };
    serde_json::to_vec(&kept).ok().map(Bytes::from)
}

impl Clerk {
    async fn tell(&self, note: Note) {
        let hooks = match note.hooks {
            Some(hooks) => hooks,
            None => match self.records.hooks(&note.key).await {
                Ok(hooks) => hooks.into(),
                Err(error) => {
                    debug!(%error, task = note.key.id, "nobody knows who is to be told");
                    self.metrics.dropped.inc();
                    return;
                }
            },
        };
        let Some(event) = raw(&note.event) else {
            return;
        };
        let mut is_told = self.publish(&note.key, &note.id, &hooks, &event).await;
        is_told &= self.tap(&note.key, &note.id, &note.event, note.slot).await;
        if is_told && note.stored {
            self.clear(&Records::unsent_key(&note.key, &note.id)).await;
        }
    }

    /// Puts a transition on the bus, where they are told; whether nothing is left to do.
    async fn tap(
        &self,
        key: &TaskKey,
        name: &str,
        event: &StreamResponse,
        slot: Option<Slot>,
    ) -> bool {
        let Some(topic) = &self.transitions else {
            return true;
        };
        let Some(transition) = Transition::of(key, name, event, slot) else {
            return true;
        };
        let Ok(body) = serde_json::to_vec(&transition) else {
            return true;
        };
        let id = crate::record::digest(transition.id.as_bytes());
        let shard = format!("{:03x}", transition.shard);
        let message = Message::new(topic.clone(), format!("{id}@{topic}"), shard, body.into());
        match self.bus.publish_one(message).await {
            Ok(()) => {
                self.metrics.transitions.inc();
                true
            }
            Err(error) => {
                debug!(%error, task = key.id, "a transition is not on the bus");
                self.metrics.dropped.inc();
                false
            }
        }
    }

    /// Puts an event on the bus for each webhook; whether the bus has it.
    async fn publish(&self, key: &TaskKey, id: &str, hooks: &[Config], event: &RawValue) -> bool {
        let messages = hooks.iter().filter_map(|hook| {
            let push = push(key, id, hook, event);
            let message = self.message(&push)?;
            if message.body.len() > BODY_BYTES {
                warn!(
                    task = key.id,
                    bytes = message.body.len(),
                    "an event is too large to be pushed"
                );
                return None;
            }
            Some(message)
        });
        let messages: Vec<_> = messages.collect();
        let mut is_told = true;
        for answer in self.bus.publish(messages).await {
            match answer {
                Ok(()) => {
                    self.metrics.told.inc();
                }
                Err(error) => {
                    debug!(%error, task = key.id, "an event is not on the bus");
                    self.metrics.dropped.inc();
                    is_told = false;
                }
            }
        }
        is_told
    }

    fn message(&self, push: &Push) -> Option<Message> {
        message(&self.topic, push)
    }

    async fn clear(&self, key: &str) {
        if let Err(error) = self.records.sent(key).await {
            debug!(%error, "an event that was told stays in the store, and will be told again");
        }
    }

    /// Tells what others, or this worker while the bus was away, have left.
    async fn sweep(&self) {
        let mut after = None;
        loop {
            let unsent = match self.records.unsent(after.as_deref(), PAGE).await {
                Ok(unsent) => unsent,
                Err(error) => {
                    debug!(%error, "what was left to tell cannot be read");
                    return;
                }
            };
            let is_last = unsent.len() < PAGE;
            after = unsent.last().map(|last| last.key.clone());
            for unsent in unsent {
                self.tell_left(unsent).await;
            }
            if is_last {
                return;
            }
        }
    }

    async fn tell_left(&self, unsent: Unsent) {
        let Ok(kept) = serde_json::from_slice::<Kept>(&unsent.note) else {
            warn!(
                key = unsent.key,
                "what was left to tell is nothing that we wrote"
            );
            return self.clear(&unsent.key).await;
        };
        let age = clock::unix_millis().saturating_sub(kept.millis);
        if Duration::from_millis(age) < LEFT {
            return;
        }
        let Some(key) = kept.key() else {
            return self.clear(&unsent.key).await;
        };
        let Ok(event) = json::from_slice::<StreamResponse>(kept.event.get().as_bytes()) else {
            return self.clear(&unsent.key).await;
        };
        let hooks = match &event.payload {
            // Who gives a webhook has the task in hand then.
            Some(Payload::StatusUpdate(update))
                if transition::state(update) == TaskState::Submitted =>
            {
                Vec::new()
            }
            _ => match self.records.hooks(&key).await {
                Ok(hooks) => hooks,
                Err(_) => return,
            },
        };
        self.metrics.left.inc();
        let mut is_told = self.publish(&key, &kept.id, &hooks, &kept.event).await;
        is_told &= self.tap(&key, &kept.id, &event, kept.slot.map(Slot)).await;
        if is_told {
            self.clear(&unsent.key).await;
        }
    }
}

impl Kept {
    fn key(&self) -> Option<TaskKey> {
        Some(TaskKey {
            scope: crate::record::Scope {
                agent: mesh_proto::AgentName::parse(&self.agent).ok()?,
                tenant: self.tenant.clone(),
                principal: self.principal.clone(),
            },
            id: self.task.clone(),
        })
    }
}

/// A push as it is on the bus: under an id that no other topic has.
#[must_use]
pub fn message(topic: &Topic, push: &Push) -> Option<Message> {
    let body = serde_json::to_vec(push).ok()?;
    let id = crate::record::digest(push.id.as_bytes());
    let id = format!("{id}/{}@{topic}", push.failed);
    let key = crate::record::digest(push.task.as_bytes());
    Some(Message::new(topic.clone(), id, key, body.into()))
}

fn push(key: &TaskKey, id: &str, hook: &Config, event: &RawValue) -> Push {
    let (scheme, credentials) = match &hook.authentication {
        Some(given) => (given.scheme.clone(), given.credentials.clone()),
        None => (String::new(), String::new()),
    };
    Push {
        agent: key.scope.agent.to_string(),
        task: key.id.clone(),
        id: format!("{}/{id}/{}", key.id, hook.id),
        url: hook.url.clone(),
        token: hook.token.clone(),
        scheme,
        credentials,
        headers: BTreeMap::new(),
        failed: 0,
        event: event.to_owned(),
    }
}

fn raw(event: &StreamResponse) -> Option<Box<RawValue>> {
    let text = String::from_utf8(json::try_to_bytes(event).ok()?.to_vec()).ok()?;
    RawValue::from_string(text).ok()
}

#[cfg(test)]
mod tests;
