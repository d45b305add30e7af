//! What the test agent says: a task, its artifact, and the ways in which a stream can end.

use mesh_proto::{
    Fault, Problem,
    a2a::{
        Artifact, Message, Part, SendMessageRequest, SendMessageResponse, StreamResponse, Task,
        TaskArtifactUpdateEvent, TaskState, TaskStatus, TaskStatusUpdateEvent, part::Content,
        send_message_response, stream_response,
    },
};

/// What a message asks this agent to do.
pub(crate) fn said(ask: &SendMessageRequest) -> String {
    let message = ask.message.clone().unwrap_or_default();
    match message.parts.first().and_then(|part| part.content.clone()) {
        Some(Content::Text(text)) => text,
        _ => String::new(),
    }
}

pub(crate) fn unary(said: &str) -> Result<SendMessageResponse, Problem> {
    let text = match said {
        "missing" => return Err(missing()),
        "huge" => "x".repeat(100_000),
        said => format!("you said {said}"),
    };
    let mut task = task("t-1", TaskState::Completed);
    task.artifacts = vec![artifact(&text)];
    Ok(SendMessageResponse {
        payload: Some(send_message_response::Payload::Task(task)),
    })
}

pub(crate) fn missing() -> Problem {
    Problem::new(Fault::TaskNotFound, "no such task: t-9").with("taskId", "t-9")
}

/// The events of a stream, and how it ends: well, with a problem, cut, or not at all.
pub(crate) fn events(said: &str) -> Vec<Result<StreamResponse, Problem>> {
    let mut events = vec![Ok(StreamResponse {
        payload: Some(stream_response::Payload::Task(task(
            "t-1",
            TaskState::Submitted,
        ))),
    })];
    match said {
        "huge" => events.push(Ok(artifact_update(&"x".repeat(100_000)))),
        "late problem" => {
            events.push(Err(Problem::new(Fault::Internal, "the model is gone")));
        }
        "cut" | "silence" => {}
        said => {
            events.push(Ok(artifact_update(&format!("you said {said}"))));
            events.push(Ok(StreamResponse {
                payload: Some(stream_response::Payload::StatusUpdate(
                    TaskStatusUpdateEvent {
                        task_id: "t-1".to_owned(),
                        context_id: "c-1".to_owned(),
                        status: Some(status(TaskState::Completed)),
                        ..TaskStatusUpdateEvent::default()
                    },
                )),
            }));
        }
    }
    events
}

fn artifact(text: &str) -> Artifact {
    Artifact {
        artifact_id: "a-1".to_owned(),
        parts: vec![Part {
            content: Some(Content::Text(text.to_owned())),
            ..Part::default()
        }],
        ..Artifact::default()
    }
}

fn artifact_update(text: &str) -> StreamResponse {
    StreamResponse {
        payload: Some(stream_response::Payload::ArtifactUpdate(
            TaskArtifactUpdateEvent {
                task_id: "t-1".to_owned(),
                context_id: "c-1".to_owned(),
                artifact: Some(artifact(text)),
                last_chunk: true,
                ..TaskArtifactUpdateEvent::default()
            },
        )),
    }
}

pub(crate) fn task(id: &str, state: TaskState) -> Task {
    Task {
        id: id.to_owned(),
        context_id: "c-1".to_owned(),
        status: Some(status(state)),
        ..Task::default()
    }
}

fn status(state: TaskState) -> TaskStatus {
    TaskStatus {
        state: state.into(),
        ..TaskStatus::default()
    }
}

pub(crate) fn ask(text: &str) -> SendMessageRequest {
    SendMessageRequest {
        message: Some(Message {
            message_id: "m-1".to_owned(),
            role: mesh_proto::a2a::Role::User.into(),
            parts: vec![Part {
                content: Some(Content::Text(text.to_owned())),
                ..Part::default()
            }],
            ..Message::default()
        }),
        ..SendMessageRequest::default()
    }
}
