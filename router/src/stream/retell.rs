//! A task as it is, told as changes: what a stream goes on with that has missed some.
//!
//! A client that has seen the task once would take a second snapshot for a fault, or for another task.
//!
//! # Invariants
//! - Who follows what is told has the task as it is: each artifact whole, in place of the pieces that
//!   came before, and then its state.

use bytes::{Bytes, BytesMut};
use mesh_proto::{
    Binding, Dialect,
    a2a::{
        StreamResponse, Task, TaskArtifactUpdateEvent, TaskState, TaskStatusUpdateEvent,
        stream_response::Payload,
    },
    jsonrpc::RawId,
    pivot,
};

/// Whether nobody moves the task on: it is at its end, or waits for its caller.
pub(super) fn is_at_rest(task: &Task) -> bool {
    let state = task.status.as_ref().map(|status| status.state());
    matches!(
        state,
        Some(
            TaskState::Completed
                | TaskState::Failed
                | TaskState::Canceled
                | TaskState::Rejected
                | TaskState::InputRequired
                | TaskState::AuthRequired
        )
    )
}

/// Writes the changes in a client's dialect. The last of them carries the event's id, where it has one:
/// who has seen less of them has not seen that event.
pub(super) fn retell(
    dialect: Dialect,
    rpc: Option<&RawId>,
    event: Option<&str>,
    task: Task,
) -> Bytes {
    let last_chunk = is_at_rest(&task);
    let (task_id, context_id) = (task.id, task.context_id);
    let artifacts = task.artifacts.into_iter().map(|artifact| {
        Payload::ArtifactUpdate(TaskArtifactUpdateEvent {
            task_id: task_id.clone(),
            context_id: context_id.clone(),
            artifact: Some(artifact),
            append: false,
            last_chunk,
            ..TaskArtifactUpdateEvent::default()
        })
    });
    let mut told = BytesMut::new();
    let mut tell = |payload| {
        let event = StreamResponse {
            payload: Some(payload),
        };
        told.extend_from_slice(&pivot::encode_event(dialect, rpc, Ok(&event)));
    };
    artifacts.for_each(&mut tell);
    let before_last = told.len();
    let status = Payload::StatusUpdate(TaskStatusUpdateEvent {
        task_id,
        context_id,
        status: task.status,
        ..TaskStatusUpdateEvent::default()
    });
    let status = StreamResponse {
        payload: Some(status),
    };
    if let Some(id) = event.filter(|_| dialect.binding != Binding::Grpc) {
        told.extend_from_slice(format!("id: {id}\n").as_bytes());
    }
    told.extend_from_slice(&pivot::encode_event(dialect, rpc, Ok(&status)));
    debug_assert!(told.len() > before_last, "a status is always told");
    told.freeze()
}

#[cfg(test)]
mod tests {
    use mesh_proto::{
        Operation, Version,
        a2a::{Artifact, TaskStatus},
        sse,
    };

    use super::*;

    fn task(state: TaskState) -> Task {
        let artifact = |id: &str| Artifact {
            artifact_id: id.to_owned(),
            ..Artifact::default()
        };
        Task {
            id: "t".to_owned(),
            context_id: "c".to_owned(),
            status: Some(TaskStatus {
                state: state.into(),
                ..TaskStatus::default()
            }),
            artifacts: vec![artifact("a"), artifact("b")],
            ..Task::default()
        }
    }

    #[test]
    fn a_snapshot_is_told_as_whole_artifacts_and_then_the_state() {
        let dialect = Dialect::new(Binding::JsonRpc, Version::V1_0);
        for (state, is_last) in [(TaskState::Working, false), (TaskState::Completed, true)] {
            let told = retell(dialect, None, Some("2-7"), task(state));
            let mut reader = sse::Reader::new(1 << 20);
            reader.feed(&told).unwrap();
            let events: Vec<_> = std::iter::from_fn(|| reader.next_event()).collect();
            let ids: Vec<_> = events.iter().map(|event| event.id.as_deref()).collect();
            assert_eq!(ids, [None, None, Some("2-7")]);
            let read = |event: &sse::Event| {
                let operation = Operation::SubscribeToTask;
                let event = pivot::decode_event(dialect, operation, &event.data).unwrap();
                event.payload.unwrap()
            };
            for (event, id) in events.iter().zip(["a", "b"]) {
                let Payload::ArtifactUpdate(update) = read(event) else {
                    panic!("an artifact")
                };
                assert_eq!(update.artifact.unwrap().artifact_id, id);
                assert_eq!((update.append, update.last_chunk), (false, is_last));
                assert_eq!(
                    (update.task_id.as_str(), update.context_id.as_str()),
                    ("t", "c")
                );
            }
            let Payload::StatusUpdate(update) = read(&events[2]) else {
                panic!("a state")
            };
            assert_eq!(update.status.unwrap().state(), state);
        }
    }
}
