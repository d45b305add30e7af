//! What an agent posts to a webhook: a bare task in 0.3, any event in 1.0.
//!
//! # Invariants
//! - A push of 0.3 always has a status, since a task has one there; where an event brings none, the state
//!   is `unknown`.

use bytes::Bytes;

use super::{
    json::{Happening, Task},
    not_understood,
    shape::As,
};
use crate::{
    a2a::{self, stream_response::Payload},
    error::{Fault, Problem},
    json,
    pivot::Event,
    protojson::{In, Out},
};

/// Writes an event of 1.0 as the body of a push of 0.3: the task, as far as the event tells of it. A
/// receiver of 0.3 that wants more reads the task.
///
/// # Errors
/// [`Fault::InvalidAgentResponse`] for an event that is about no task, or holds what 0.3 cannot say.
pub fn push_of_1_0(event: &Event) -> Result<Bytes, Problem> {
    let task = match &event.payload {
        Some(Payload::Task(task)) => return json::try_to_bytes(&Out::<As<Task>>(task)),
        Some(Payload::StatusUpdate(update)) => a2a::Task {
            id: update.task_id.clone(),
            context_id: update.context_id.clone(),
            status: update.status.clone(),
            metadata: update.metadata.clone(),
            ..a2a::Task::default()
        },
        Some(Payload::ArtifactUpdate(update)) => a2a::Task {
            id: update.task_id.clone(),
            context_id: update.context_id.clone(),
            artifacts: update.artifact.clone().into_iter().collect(),
            metadata: update.metadata.clone(),
            ..a2a::Task::default()
        },
        Some(Payload::Message(_)) | None => {
            return Err(Problem::new(
                Fault::InvalidAgentResponse,
                "0.3 has no push that is about no task",
            ));
        }
    };
    json::try_to_bytes(&Out::<As<Task>>(&task))
}

/// Reads the body of a push of 0.3 as an event of 1.0: the task as it stands. Events are read as well,
/// since servers that speak both versions may post them.
///
/// # Errors
/// [`Fault::InvalidAgentResponse`] for what is neither.
pub fn push_to_1_0(body: &[u8]) -> Result<Event, Problem> {
    let In(payload) = json::from_slice::<In<As<Happening>>>(body).map_err(not_understood)?;
    Ok(Event {
        payload: Some(payload),
    })
}
