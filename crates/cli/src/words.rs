//! A2A for the eye: what a task, a message and a part look like on a terminal.

use mesh_client::a2a::{Artifact, Message, Part, Task, TaskState, TaskStatus, part::Content};

use crate::{
    exit::Exit,
    output::{Output, Tone},
};

/// The state of a task as one word: `working`, `input-required`.
pub(crate) fn state(state: TaskState) -> String {
    state
        .as_str_name()
        .trim_start_matches("TASK_STATE_")
        .to_ascii_lowercase()
        .replace('_', "-")
}

/// The colour of a state.
pub(crate) const fn tone(state: TaskState) -> Tone {
    match state {
        TaskState::Completed => Tone::Good,
        TaskState::Failed | TaskState::Rejected | TaskState::Canceled => Tone::Bad,
        TaskState::InputRequired | TaskState::AuthRequired => Tone::Strong,
        TaskState::Unspecified | TaskState::Submitted | TaskState::Working => Tone::Faint,
    }
}

/// The exit code that a task's state asks for.
pub(crate) const fn exit(state: TaskState) -> Exit {
    match state {
        TaskState::Failed | TaskState::Rejected | TaskState::Canceled => Exit::Failed,
        TaskState::Unspecified
        | TaskState::Submitted
        | TaskState::Working
        | TaskState::Completed
        | TaskState::InputRequired
        | TaskState::AuthRequired => Exit::Ok,
    }
}

/// Whether a stream has nothing more to say after this state.
pub(crate) const fn rests(state: TaskState) -> bool {
    !matches!(
        state,
        TaskState::Unspecified | TaskState::Submitted | TaskState::Working
    )
}

/// A status's state, and `Unspecified` where the number is of a later version.
pub(crate) fn state_of(status: Option<&TaskStatus>) -> TaskState {
    status.map_or(TaskState::Unspecified, TaskStatus::state)
}

/// The text of some parts, one below the other. What is no text is named.
pub(crate) fn parts(parts: &[Part]) -> String {
    let texts: Vec<String> = parts.iter().map(part).collect();
    texts.join("\n")
}

fn part(part: &Part) -> String {
    let name = if part.filename.is_empty() {
        "file"
    } else {
        &part.filename
    };
    match &part.content {
        Some(Content::Text(text)) => text.clone(),
        Some(Content::Url(url)) => format!("[{name}: {url}]"),
        Some(Content::Raw(bytes)) => format!("[{name}: {} bytes {}]", bytes.len(), part.media_type),
        Some(Content::Data(_)) => serde_json::to_value(part)
            .ok()
            .and_then(|part| part.get("data").map(ToString::to_string))
            .unwrap_or_else(|| "[data]".to_owned()),
        None => "[empty part]".to_owned(),
    }
}

/// The text of a message, and the empty text where there is none.
pub(crate) fn message(message: Option<&Message>) -> String {
    message.map_or_else(String::new, |message| parts(&message.parts))
}

/// The text of an artifact.
pub(crate) fn artifact(artifact: &Artifact) -> String {
    parts(&artifact.parts)
}

/// What a task answers: its artifacts, and else, or where it asks for something, what its status
/// says.
pub(crate) fn answer(task: &Task) -> String {
    let state = state_of(task.status.as_ref());
    let said = task
        .status
        .as_ref()
        .map(|status| message(status.message.as_ref()));
    let said = said.filter(|said| !said.is_empty());
    let mut texts: Vec<String> = task.artifacts.iter().map(artifact).collect();
    if texts.is_empty() || state != TaskState::Completed {
        texts.extend(said);
    }
    texts.retain(|text| !text.is_empty());
    texts.join("\n")
}

/// A task in one line: id, state, context.
pub(crate) fn line(task: &Task, output: &Output) -> String {
    let state_now = state_of(task.status.as_ref());
    let mut line = format!(
        "{}  {}",
        task.id,
        output.paint(tone(state_now), &format!("{:<14}", state(state_now)))
    );
    if !task.context_id.is_empty() {
        line.push_str("  context ");
        line.push_str(&task.context_id);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Part {
        Part {
            content: Some(Content::Text(text.to_owned())),
            ..Part::default()
        }
    }

    fn task(state: TaskState, said: &str, artifact: Option<&str>) -> Task {
        Task {
            status: Some(TaskStatus {
                state: state.into(),
                message: Some(Message {
                    parts: vec![text(said)],
                    ..Message::default()
                }),
                ..TaskStatus::default()
            }),
            artifacts: artifact
                .map(|artifact| Artifact {
                    parts: vec![text(artifact)],
                    ..Artifact::default()
                })
                .into_iter()
                .collect(),
            ..Task::default()
        }
    }

    #[test]
    fn an_answer_is_the_artifacts_and_a_question_is_never_hidden_behind_them() {
        assert_eq!(
            answer(&task(TaskState::Completed, "done", Some("395"))),
            "395"
        );
        assert_eq!(answer(&task(TaskState::Completed, "done", None)), "done");
        assert_eq!(
            answer(&task(
                TaskState::InputRequired,
                "which city?",
                Some("draft")
            )),
            "draft\nwhich city?"
        );
        assert_eq!(answer(&task(TaskState::Failed, "no tool", None)), "no tool");
    }

    #[test]
    fn a_state_is_a_word() {
        assert_eq!(state(TaskState::InputRequired), "input-required");
        assert_eq!(state(TaskState::Working), "working");
    }

    #[test]
    fn only_a_task_that_went_wrong_is_a_failure() {
        assert_eq!(exit(TaskState::Rejected), Exit::Failed);
        assert_eq!(exit(TaskState::InputRequired), Exit::Ok);
        assert_eq!(exit(TaskState::Working), Exit::Ok);
    }
}
