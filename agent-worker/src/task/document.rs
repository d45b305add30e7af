//! A task as its callers see it: the phase, with the messages and artifacts around it.
//!
//! # Invariants
//! - `status` on the wire always says what the phase says.
//! - History keeps the messages that were said, not the notes of a turn under way.
//! - A task has bounds: [`HISTORY`] messages, [`ARTIFACT_BYTES`] of artifacts.

use mesh_proto::{
    a2a::{
        self, Artifact, Message, Part, Role, TaskArtifactUpdateEvent, TaskState, TaskStatus,
        TaskStatusUpdateEvent, part::Content,
    },
    json,
};

use super::state::{Event, IllegalStep, Phase};

/// How many messages a task keeps; the oldest go first.
const HISTORY: usize = 200;

/// How much text the artifacts of a task may hold together.
const ARTIFACT_BYTES: usize = 4 << 20;

/// A task.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    phase: Phase,
    body: a2a::Task,
}

/// A piece of an answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Piece {
    /// Unique within the task; the same for all pieces of one artifact.
    pub artifact_id: String,
    /// A name for people.
    pub name: String,
    /// The piece.
    pub text: String,
    /// Whether it continues what came before; otherwise it takes its place.
    pub append: bool,
    /// Whether it is the last one.
    pub last: bool,
}

/// The artifacts would be over their bound.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the answer is over {ARTIFACT_BYTES} bytes")]
pub struct TooLarge;

impl Task {
    /// A task that was just taken.
    #[must_use]
    pub fn submitted(id: String, context_id: String, now: u64) -> Self {
        let phase = Phase::submitted();
        let mut task = Self {
            phase,
            body: a2a::Task {
                id,
                context_id,
                ..a2a::Task::default()
            },
        };
        task.body.status = Some(task.status(now));
        task
    }

    /// A task as a store kept it; `None` where it is none that this agent wrote.
    #[must_use]
    pub fn restored(body: a2a::Task) -> Option<Self> {
        let status = body.status.as_ref()?;
        let state = TaskState::try_from(status.state).ok()?;
        let text = status.message.as_ref().map(text_of);
        Some(Self {
            phase: Phase::restored(state, text)?,
            body,
        })
    }

    /// Moves on, and says so in an event. Nothing changes when the step is illegal.
    ///
    /// # Errors
    /// [`IllegalStep`].
    pub fn step(&mut self, event: Event, now: u64) -> Result<TaskStatusUpdateEvent, IllegalStep> {
        self.phase = self.phase.clone().advance(event)?;
        let status = self.status(now);
        self.body.status = Some(status.clone());
        Ok(TaskStatusUpdateEvent {
            task_id: self.body.id.clone(),
            context_id: self.body.context_id.clone(),
            status: Some(status),
            metadata: None,
        })
    }

    /// Keeps a message of the caller, after the question that it answers.
    pub fn hear(&mut self, mut message: Message) {
        message.task_id.clone_from(&self.body.id);
        message.context_id.clone_from(&self.body.context_id);
        let asked = match self.phase {
            Phase::InputRequired(_) => self.body.status.as_ref().and_then(|s| s.message.clone()),
            _ => None,
        };
        self.body.history.extend(asked);
        self.body.history.push(message);
        let over = self.body.history.len().saturating_sub(HISTORY);
        self.body.history.drain(..over);
    }

    /// Keeps a piece of an answer, and says so in an event.
    ///
    /// # Errors
    /// [`TooLarge`]; nothing is kept then.
    pub fn produce(&mut self, piece: Piece) -> Result<TaskArtifactUpdateEvent, TooLarge> {
        let index = self
            .body
            .artifacts
            .iter()
            .position(|artifact| artifact.artifact_id == piece.artifact_id);
        let others: usize = self
            .body
            .artifacts
            .iter()
            .enumerate()
            .filter(|(at, _)| piece.append || Some(*at) != index)
            .map(|(_, artifact)| artifact.parts.iter().map(text_len).sum::<usize>())
            .sum();
        if others + piece.text.len() > ARTIFACT_BYTES {
            return Err(TooLarge);
        }
        let delta = Artifact {
            artifact_id: piece.artifact_id,
            name: piece.name,
            parts: vec![text_part(piece.text)],
            ..Artifact::default()
        };
        let append = piece.append && index.is_some();
        match index.and_then(|index| self.body.artifacts.get_mut(index)) {
            Some(kept) if append => continue_with(kept, &delta),
            Some(kept) => *kept = delta.clone(),
            None => self.body.artifacts.push(delta.clone()),
        }
        Ok(TaskArtifactUpdateEvent {
            task_id: self.body.id.clone(),
            context_id: self.body.context_id.clone(),
            artifact: Some(delta),
            append,
            last_chunk: piece.last,
            metadata: None,
        })
    }

    /// Where it is in its life.
    #[must_use]
    pub const fn phase(&self) -> &Phase {
        &self.phase
    }

    /// All of it, as it goes to the store and to callers.
    #[must_use]
    pub const fn body(&self) -> &a2a::Task {
        &self.body
    }

    fn status(&self, now: u64) -> TaskStatus {
        let message = self.phase.text().map(|text| Message {
            message_id: mesh_runtime::dice::uuid().to_string(),
            context_id: self.body.context_id.clone(),
            task_id: self.body.id.clone(),
            role: Role::Agent.into(),
            parts: vec![text_part(text.to_owned())],
            ..Message::default()
        });
        TaskStatus {
            state: self.phase.state().into(),
            message,
            timestamp: Some(json::timestamp(now)),
        }
    }
}

/// The latest `length` messages of a task; all where unset.
pub(crate) fn shorten(mut task: a2a::Task, length: Option<usize>) -> a2a::Task {
    if let Some(length) = length {
        let over = task.history.len().saturating_sub(length);
        task.history.drain(..over);
    }
    task
}

/// Pieces of one text grow into one part, so that a reader of the whole sees what a reader of the
/// stream has put together.
fn continue_with(kept: &mut Artifact, delta: &Artifact) {
    for part in &delta.parts {
        let last = kept.parts.last_mut().map(|last| &mut last.content);
        match (last, &part.content) {
            (Some(Some(Content::Text(kept))), Some(Content::Text(more))) => kept.push_str(more),
            _ => kept.parts.push(part.clone()),
        }
    }
}

fn text_part(text: String) -> Part {
    Part {
        media_type: "text/plain".to_owned(),
        content: Some(Content::Text(text)),
        ..Part::default()
    }
}

fn text_len(part: &Part) -> usize {
    match &part.content {
        Some(Content::Text(text)) => text.len(),
        _ => 0,
    }
}

fn text_of(message: &Message) -> String {
    let texts = message.parts.iter().filter_map(|part| match &part.content {
        Some(Content::Text(text)) => Some(text.as_str()),
        _ => None,
    });
    texts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn working() -> Task {
        let mut task = Task::submitted("t".to_owned(), "c".to_owned(), 1);
        task.step(Event::Begin, 2).unwrap();
        task
    }

    fn piece(text: &str, append: bool) -> Piece {
        Piece {
            artifact_id: "a".to_owned(),
            name: "answer".to_owned(),
            text: text.to_owned(),
            append,
            last: false,
        }
    }

    #[test]
    fn pieces_grow_into_one_text() {
        let mut task = working();
        let first = task.produce(piece("one ", true)).unwrap();
        assert!(!first.append, "there is nothing yet to append to");
        assert!(task.produce(piece("two", true)).unwrap().append);
        let text = |task: &Task| task.body.artifacts[0].parts[0].content.clone();
        assert_eq!(text(&task), Some(Content::Text("one two".to_owned())));
        task.produce(piece("new", false)).unwrap();
        assert_eq!(text(&task), Some(Content::Text("new".to_owned())));
        assert_eq!(task.body.artifacts.len(), 1);
    }

    #[test]
    fn an_answer_over_the_bound_changes_nothing() {
        let mut task = working();
        task.produce(piece(&"x".repeat(ARTIFACT_BYTES), false))
            .unwrap();
        let before = task.clone();
        assert_eq!(task.produce(piece("y", true)), Err(TooLarge));
        assert_eq!(task, before);
        task.produce(piece("short again", false)).unwrap();
    }

    #[test]
    fn a_question_is_kept_before_its_answer() {
        let mut task = working();
        task.step(Event::Ask("which city?".to_owned()), 3).unwrap();
        task.hear(Message {
            message_id: "m2".to_owned(),
            role: Role::User.into(),
            parts: vec![text_part("Tokyo".to_owned())],
            ..Message::default()
        });
        let texts: Vec<_> = task.body.history.iter().map(text_of).collect();
        assert_eq!(texts, ["which city?", "Tokyo"]);
        assert_eq!(task.body.history[1].task_id, "t");
        let last = shorten(task.body.clone(), Some(1));
        assert_eq!(text_of(&last.history[0]), "Tokyo");
        assert!(shorten(task.body, Some(0)).history.is_empty());
    }

    #[test]
    fn what_the_store_gives_back_goes_on_where_it_was() {
        let mut task = working();
        task.step(Event::Ask("which city?".to_owned()), 3).unwrap();
        let mut restored = Task::restored(task.body.clone()).unwrap();
        assert_eq!(restored, task);
        restored.step(Event::Begin, 4).unwrap();
        assert_eq!(Task::restored(a2a::Task::default()), None);
    }
}
