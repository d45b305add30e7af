//! What becomes of a task, for taps: audit, billing, whoever counts. Transitions that are in the store, never
//! what a turn says on the way.
//!
//! One topic for all, [`TOPIC`], and a key for each shard (the upper twelve bits of the slot): brokers keep
//! the order of a key, and have no topic for each task. A transition is noted in the commit that makes it
//! and told once that is done, so it is told though its worker dies, then by another and later: what came
//! after it may be told before. Its name says when a consumer has seen it, its sequence whether it is late.

use mesh_proto::{
    a2a::{StreamResponse, TaskState, TaskStatusUpdateEvent, stream_response::Payload},
    mesh::Slot,
};
use serde::{Deserialize, Serialize};

use crate::record::{Custody, TaskKey, digest};

/// Where the transitions of tasks go.
pub const TOPIC: &str = "a2a.task-events.v1";

/// A transition as it is on the bus, in JSON. Fields may be added; none changes its meaning within
/// [`TOPIC`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Transition {
    /// The same however often it is told: `AGENT/TASK/FENCE.STEP.STATE`, with the tenant before it where
    /// there is one.
    pub id: String,
    /// The agent.
    pub agent: String,
    /// The caller's tenant.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tenant: String,
    /// Whose task it is: a hash of the caller's credentials, empty where there were none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub principal: String,
    /// The task.
    pub task: String,
    /// Its context.
    pub context: String,
    /// The state that it is in from now on: `TASK_STATE_COMPLETED`.
    pub state: String,
    /// When, in RFC 3339.
    pub at: String,
    /// Grows with each transition of a task: compared number by number.
    pub sequence: [u64; 3],
    /// Which of the 4,096 shards it is of, which is also the key.
    pub shard: u16,
}

/// What a transition is known by within its task.
pub(crate) fn name(custody: &Custody, update: &TaskStatusUpdateEvent) -> String {
    let (fence, step) = (custody.fence, custody.step);
    format!("{fence}.{step}.{}", state(update).as_str_name())
}

pub(super) fn state(update: &TaskStatusUpdateEvent) -> TaskState {
    let status = update.status.as_ref();
    status.map_or(TaskState::Unspecified, |status| status.state())
}

impl Transition {
    /// The transition that an event is, if its name is one's.
    pub(super) fn of(
        key: &TaskKey,
        name: &str,
        event: &StreamResponse,
        slot: Option<Slot>,
    ) -> Option<Self> {
        let Some(Payload::StatusUpdate(update)) = &event.payload else {
            return None;
        };
        let mut parts = name.splitn(3, '.');
        let mut number = || parts.next()?.parse::<u64>().ok();
        let (fence, step) = (number()?, number()?);
        let state = state(update);
        // A task that goes on after it has rested does so in the step in which it came to rest.
        let goes_on = u64::from(state == TaskState::Working);
        let scope = &key.scope;
        let tenant = match scope.tenant.as_str() {
            "" => String::new(),
            tenant => format!("{tenant}/"),
        };
        let at = update.status.as_ref()?.timestamp.as_ref();
        Some(Self {
            id: format!("{tenant}{}/{}/{name}", scope.agent, key.id),
            agent: scope.agent.to_string(),
            tenant: scope.tenant.clone(),
            principal: scope.principal.clone(),
            task: key.id.clone(),
            context: update.context_id.clone(),
            state: state.as_str_name().to_owned(),
            at: at.map(ToString::to_string).unwrap_or_default(),
            sequence: [fence, step, goes_on],
            shard: shard(slot, &update.context_id),
        })
    }
}

/// The shard of a slot; of a task that no router placed, that of its context.
fn shard(slot: Option<Slot>, context: &str) -> u16 {
    let of_context = || {
        let hash = digest(context.as_bytes());
        u16::from_str_radix(hash.get(..4).unwrap_or_default(), 16)
    };
    slot.map_or_else(|| of_context().unwrap_or_default(), |slot| slot.0) >> 4
}

#[cfg(test)]
mod tests {
    use mesh_proto::{AgentName, a2a::TaskStatus};

    use super::*;
    use crate::record::Scope;

    fn told(name: &str, is: TaskState, slot: Option<Slot>) -> Option<Transition> {
        let key = TaskKey {
            scope: Scope {
                agent: AgentName::parse("shop").unwrap(),
                tenant: "acme".to_owned(),
                principal: String::new(),
            },
            id: "t".to_owned(),
        };
        let event = StreamResponse {
            payload: Some(Payload::StatusUpdate(TaskStatusUpdateEvent {
                task_id: "t".to_owned(),
                context_id: "c".to_owned(),
                status: Some(TaskStatus {
                    state: is as i32,
                    ..TaskStatus::default()
                }),
                ..TaskStatusUpdateEvent::default()
            })),
        };
        Transition::of(&key, name, &event, slot)
    }

    #[test]
    fn the_sequence_of_a_task_grows_also_where_it_goes_on_and_where_another_takes_it() {
        let all = [
            ("1.0.TASK_STATE_SUBMITTED", TaskState::Submitted),
            ("1.3.TASK_STATE_INPUT_REQUIRED", TaskState::InputRequired),
            ("1.3.TASK_STATE_WORKING", TaskState::Working),
            ("2.3.TASK_STATE_INPUT_REQUIRED", TaskState::InputRequired),
            ("2.10.TASK_STATE_COMPLETED", TaskState::Completed),
        ];
        let all: Vec<_> = all
            .into_iter()
            .map(|(name, state)| told(name, state, None).unwrap())
            .collect();
        assert!(all.is_sorted_by(|one, next| one.sequence < next.sequence));
        assert_eq!(all[0].id, "acme/shop/t/1.0.TASK_STATE_SUBMITTED");
    }

    #[test]
    fn the_shard_is_of_the_slot_and_without_one_always_the_same() {
        let name = "1.0.TASK_STATE_SUBMITTED";
        let of = |slot| told(name, TaskState::Submitted, slot).unwrap().shard;
        assert_eq!(of(Some(Slot(0xabcd))), 0xabc);
        assert_eq!(of(None), of(None));
    }

    #[test]
    fn an_event_that_the_store_does_not_have_is_no_transition() {
        assert_eq!(told("17", TaskState::Working, None), None);
    }
}
