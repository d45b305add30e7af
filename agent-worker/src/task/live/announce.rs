//! What happens to a task, told to all who want to know: those who watch it, and webhooks.

use std::sync::Arc;

use mesh_proto::a2a::{self, StreamResponse, stream_response::Payload};

use super::{Cell, Live};
use crate::notify::{Note, Notifier, transition};

impl Live {
    /// Has webhooks told, too.
    pub(in crate::task) fn notify_by(&self, notifier: &Notifier) {
        self.notifier.get_or_init(|| notifier.clone());
    }

    /// Whether the transitions of a task are told although no webhook wants to know.
    pub(in crate::task) fn tells_transitions(&self) -> bool {
        let notifier = self.notifier.get();
        notifier.is_some_and(Notifier::tells_transitions)
    }

    /// Tells what no watcher hears: that a task was taken.
    pub(in crate::task) fn tell_taken(&self, name: String, event: Payload) {
        if let Some(notifier) = self.notifier.get() {
            notifier.tell(Note {
                key: self.key.clone(),
                id: name,
                event: Arc::new(StreamResponse {
                    payload: Some(event),
                }),
                hooks: Some(Arc::from([])),
                stored: true,
                slot: self.lock().custody.slot,
            });
        }
    }

    /// Whether webhooks are told at all.
    pub(in crate::task) fn notifies(&self) -> bool {
        self.notifier.get().is_some()
    }

    /// Tells the watchers, and the webhooks and taps if it is something that lasts. `stored` is its name
    /// where the store has it, too. Returns how many watchers were dropped as too slow.
    pub(in crate::task) fn announce(
        &self,
        cell: &mut Cell,
        payload: Payload,
        stored: Option<String>,
    ) -> usize {
        let lasting = self.notifier.get().and_then(|notifier| {
            let for_taps = notifier.tells_transitions()
                && matches!(payload, Payload::StatusUpdate(_))
                && (stored.is_some() || cell.task.phase().is_at_rest());
            let lasting = cell.lasting(&payload, for_taps)?;
            Some((notifier, lasting))
        });
        let slow = cell.tell(payload);
        if let Some((notifier, payload)) = lasting {
            let is_stored = stored.is_some();
            let id = stored.unwrap_or_else(|| cell.event_name(&payload));
            notifier.tell(Note {
                key: self.key.clone(),
                id,
                event: Arc::new(StreamResponse {
                    payload: Some(payload),
                }),
                hooks: cell.hooks.clone(),
                stored: is_stored,
                slot: cell.custody.slot,
            });
        }
        slow
    }
}

impl Cell {
    /// What webhooks are told: each state, and an artifact once it is whole; never its pieces.
    fn lasting(&self, payload: &Payload, for_taps: bool) -> Option<Payload> {
        if !for_taps && self.hooks.as_ref().is_some_and(|hooks| hooks.is_empty()) {
            return None;
        }
        match payload {
            Payload::StatusUpdate(_) => Some(payload.clone()),
            Payload::ArtifactUpdate(update) if update.last_chunk => {
                let id = &update.artifact.as_ref()?.artifact_id;
                let mut all = self.task.body().artifacts.iter();
                Some(Payload::ArtifactUpdate(a2a::TaskArtifactUpdateEvent {
                    artifact: all.find(|whole| whole.artifact_id == *id).cloned(),
                    append: false,
                    ..update.clone()
                }))
            }
            Payload::ArtifactUpdate(_) | Payload::Task(_) | Payload::Message(_) => None,
        }
    }

    /// By what webhooks know an event again. A state in which the task rests has the same name whoever
    /// tells it, and however late; the rest is told once, by the number that it has here.
    fn event_name(&self, payload: &Payload) -> String {
        match payload {
            Payload::StatusUpdate(update) if self.task.phase().is_at_rest() => {
                transition::name(&self.custody, update)
            }
            _ => self.ring.last().to_string(),
        }
    }
}
