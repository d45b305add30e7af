//! Short words for what callers say and hear, so that tests read as sentences.

use mesh_proto::a2a::{self, TaskState, part::Content};
use uuid::Uuid;

use super::Event;

/// A question of a user.
#[must_use]
pub fn question(text: &str) -> a2a::SendMessageRequest {
    a2a::SendMessageRequest {
        message: Some(a2a::Message {
            message_id: Uuid::new_v4().to_string(),
            role: a2a::Role::User as i32,
            parts: vec![a2a::Part {
                content: Some(Content::Text(text.to_owned())),
                ..Default::default()
            }],
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// A question in a context.
#[must_use]
pub fn in_context(text: &str, context: &str) -> a2a::SendMessageRequest {
    let mut request = question(text);
    if let Some(message) = &mut request.message {
        context.clone_into(&mut message.context_id);
    }
    request
}

/// An answer to what a task asked for.
#[must_use]
pub fn follow_up(text: &str, task: &a2a::Task) -> a2a::SendMessageRequest {
    let mut request = in_context(text, &task.context_id);
    if let Some(message) = &mut request.message {
        task.id.clone_into(&mut message.task_id);
    }
    request
}

/// The same, but answered at once, while the task runs.
#[must_use]
pub fn at_once(mut request: a2a::SendMessageRequest) -> a2a::SendMessageRequest {
    request
        .configuration
        .get_or_insert_default()
        .return_immediately = true;
    request
}

/// A task's state.
#[must_use]
pub fn state(task: &a2a::Task) -> TaskState {
    task.status
        .as_ref()
        .map_or(TaskState::Unspecified, a2a::TaskStatus::state)
}

/// Whether nothing can follow a state.
#[must_use]
pub const fn is_final(state: TaskState) -> bool {
    matches!(
        state,
        TaskState::Completed | TaskState::Failed | TaskState::Canceled | TaskState::Rejected
    )
}

/// The text of a task's artifacts.
#[must_use]
pub fn said(task: &a2a::Task) -> String {
    task.artifacts
        .iter()
        .map(|artifact| text(&artifact.parts))
        .collect::<Vec<_>>()
        .join(" ")
}

/// The text of a task's status message: what it asks for, or why it failed.
#[must_use]
pub fn asked(task: &a2a::Task) -> String {
    task.status
        .as_ref()
        .and_then(|status| status.message.as_ref())
        .map(|message| text(&message.parts))
        .unwrap_or_default()
}

/// The text of parts.
#[must_use]
pub fn text(parts: &[a2a::Part]) -> String {
    parts
        .iter()
        .filter_map(|part| match &part.content {
            Some(Content::Text(text)) => Some(text.as_str()),
            _ => None,
        })
        .collect()
}

/// One word for an event: the state's name, `artifact` or `message`.
#[must_use]
pub fn word(event: &Event) -> String {
    let state = |status: &Option<a2a::TaskStatus>| {
        let state = status
            .as_ref()
            .map_or(TaskState::Unspecified, a2a::TaskStatus::state);
        state
            .as_str_name()
            .trim_start_matches("TASK_STATE_")
            .to_lowercase()
    };
    match event {
        Event::Task(task) => format!("task:{}", state(&task.status)),
        Event::StatusUpdate(update) => state(&update.status),
        Event::ArtifactUpdate(_) => "artifact".to_owned(),
        Event::Message(_) => "message".to_owned(),
    }
}

/// The text of all artifact pieces of a stream, in order.
#[must_use]
pub fn streamed(events: &[Event]) -> String {
    events
        .iter()
        .filter_map(|event| match event {
            Event::ArtifactUpdate(update) => update.artifact.as_ref(),
            _ => None,
        })
        .map(|artifact| text(&artifact.parts))
        .collect()
}
