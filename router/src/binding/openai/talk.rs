//! How an agent's events become one answer in a chat.
//!
//! Artifacts are the answer. What an agent says while it works is progress: in a stream it comes as
//! `reasoning_content`, which chat clients show apart or not at all; in a whole answer it is left
//! out. What it says when it rests is the answer where there is no artifact, and comes after the
//! artifacts where it asks for something.
//!
//! # Invariants
//! - What was said is never said again: an artifact that comes again (as a whole after its pieces, or
//!   in the task at the end) adds only what is new in it. One that is replaced by another text
//!   follows it, since what was said can't be taken back.
//! - Nothing is said after the task rests.

use mesh_proto::a2a::{
    Artifact, Message, Task, TaskArtifactUpdateEvent, TaskState, TaskStatus,
    stream_response::Payload,
};

use super::{content::Text, failure::Failure, request::Place};

/// Between artifacts, and between an artifact and what is said after it.
const PAUSE: &str = "\n\n";

/// One task, as far as it was heard.
#[derive(Debug)]
pub(super) struct Talk {
    place: Place,
    is_follow_up: bool,
    artifacts: Vec<Told>,
    /// The artifact that spoke last.
    last: Option<usize>,
    is_anything_said: bool,
    bytes: usize,
}

/// An artifact, as far as it was told.
#[derive(Debug)]
struct Told {
    id: String,
    text: Text,
}

/// What an event adds to the answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Heard {
    /// A piece of the answer.
    Content(String),
    /// What the agent is about.
    Progress(String),
}

/// What one event comes to.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) heard: Vec<Heard>,
    /// Set when the task rests.
    pub(super) ending: Option<Ending>,
}

/// How an answer ends, in OpenAI's words.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ending {
    /// The agent has said what it had to say, or asks.
    Stop,
    /// The agent answered before it was done: there may be more.
    Length,
}

/// A whole answer.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) content: String,
    pub(super) ending: Ending,
}

impl Ending {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
        }
    }
}

impl Talk {
    /// Nothing heard yet. A follow-up goes on with a task, whose earlier artifacts are no news.
    pub(super) const fn new(is_follow_up: bool) -> Self {
        Self {
            place: Place {
                context_id: None,
                task_id: None,
                state: None,
            },
            is_follow_up,
            artifacts: Vec::new(),
            last: None,
            is_anything_said: false,
            bytes: 0,
        }
    }

    pub(super) const fn place(&self) -> &Place {
        &self.place
    }

    /// How much was said, in bytes.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes an answer that is one piece.
    pub(super) fn whole(&mut self, payload: Payload) -> Result<Said, Failure> {
        let turn = self.hear(payload)?;
        let pieces = turn.heard.into_iter().filter_map(|heard| match heard {
            Heard::Content(text) => Some(text),
            Heard::Progress(_) => None,
        });
        Ok(Said {
            content: pieces.collect(),
            ending: turn.ending.unwrap_or(Ending::Length),
        })
    }

    /// Takes the next event. An error is a task that ended without an answer.
    pub(super) fn hear(&mut self, payload: Payload) -> Result<Turn, Failure> {
        let mut heard = Vec::new();
        let ending = match payload {
            Payload::Message(message) => {
                self.at(&message.task_id, &message.context_id);
                self.say(Text::of(&message.parts).as_str(), &mut heard);
                Some(Ending::Stop)
            }
            Payload::Task(task) => self.task(task, &mut heard)?,
            Payload::StatusUpdate(update) => {
                self.at(&update.task_id, &update.context_id);
                self.status(update.status, &mut heard)?
            }
            Payload::ArtifactUpdate(update) => {
                self.at(&update.task_id, &update.context_id);
                self.piece(&update, &mut heard);
                None
            }
        };
        Ok(Turn { heard, ending })
    }

    fn at(&mut self, task: &str, context: &str) {
        for (held, id) in [
            (&mut self.place.task_id, task),
            (&mut self.place.context_id, context),
        ] {
            if !id.is_empty() && held.as_deref() != Some(id) {
                *held = Some(id.to_owned());
            }
        }
    }

    fn task(&mut self, task: Task, heard: &mut Vec<Heard>) -> Result<Option<Ending>, Failure> {
        self.at(&task.id, &task.context_id);
        let is_first = !std::mem::replace(&mut self.is_follow_up, false);
        let rests = task
            .status
            .as_ref()
            .is_some_and(|status| rests(status.state()));
        // The first look at a task that is gone on with shows what the client has seen before.
        let is_news = is_first || rests;
        for artifact in &task.artifacts {
            let text = Text::of(&artifact.parts);
            if is_news {
                self.artifact(artifact, text, heard);
            } else {
                self.artifacts.push(Told {
                    id: artifact.artifact_id.clone(),
                    text,
                });
            }
        }
        self.status(task.status, heard)
    }

    /// Takes a whole artifact, of which a part may have been told.
    fn artifact(&mut self, artifact: &Artifact, text: Text, heard: &mut Vec<Heard>) {
        let at = self.index(&artifact.artifact_id);
        let Some(told) = self.artifacts.get_mut(at) else {
            return;
        };
        let old = std::mem::replace(&mut told.text, text);
        let all = told.text.as_str().to_owned();
        match all.strip_prefix(old.as_str()) {
            Some(new) => self.tell(at, new, heard),
            None => {
                self.last = None;
                self.tell(at, &all, heard);
            }
        }
    }

    /// Takes an artifact, or the next piece of one.
    fn piece(&mut self, update: &TaskArtifactUpdateEvent, heard: &mut Vec<Heard>) {
        let Some(artifact) = &update.artifact else {
            return;
        };
        if !update.append {
            self.artifact(artifact, Text::of(&artifact.parts), heard);
            return;
        }
        let at = self.index(&artifact.artifact_id);
        let Some(told) = self.artifacts.get_mut(at) else {
            return;
        };
        let before = told.text.as_str().len();
        for part in &artifact.parts {
            told.text.add(part);
        }
        let new = told
            .text
            .as_str()
            .get(before..)
            .unwrap_or_default()
            .to_owned();
        self.tell(at, &new, heard);
    }

    fn index(&mut self, id: &str) -> usize {
        let known = self.artifacts.iter().position(|told| told.id == id);
        known.unwrap_or_else(|| {
            self.artifacts.push(Told {
                id: id.to_owned(),
                text: Text::default(),
            });
            self.artifacts.len() - 1
        })
    }

    fn tell(&mut self, at: usize, new: &str, heard: &mut Vec<Heard>) {
        if new.is_empty() {
            return;
        }
        let goes_on = self.last == Some(at);
        self.last = Some(at);
        if goes_on {
            self.push(new.to_owned(), heard);
        } else {
            self.say(new, heard);
        }
    }

    /// Says something that stands for itself.
    fn say(&mut self, text: &str, heard: &mut Vec<Heard>) {
        if text.is_empty() {
            return;
        }
        let pause = if self.is_anything_said { PAUSE } else { "" };
        self.push(format!("{pause}{text}"), heard);
    }

    fn push(&mut self, text: String, heard: &mut Vec<Heard>) {
        self.is_anything_said = true;
        self.bytes = self.bytes.saturating_add(text.len());
        heard.push(Heard::Content(text));
    }

    fn status(
        &mut self,
        status: Option<TaskStatus>,
        heard: &mut Vec<Heard>,
    ) -> Result<Option<Ending>, Failure> {
        let Some(status) = status else {
            return Ok(None);
        };
        let state = status.state();
        self.place.state = Some(state.as_str_name().to_owned());
        let said = said(status.message.as_ref());
        match state {
            TaskState::Completed => {
                if !self.is_anything_said {
                    self.say(&said, heard);
                }
                Ok(Some(Ending::Stop))
            }
            TaskState::InputRequired | TaskState::AuthRequired => {
                self.say(&said, heard);
                Ok(Some(Ending::Stop))
            }
            TaskState::Failed | TaskState::Rejected | TaskState::Canceled => {
                Err(Failure::task(state, said, self.place.clone()))
            }
            TaskState::Unspecified | TaskState::Submitted | TaskState::Working => {
                if !said.is_empty() {
                    self.bytes = self.bytes.saturating_add(said.len());
                    heard.push(Heard::Progress(said));
                }
                Ok(None)
            }
        }
    }
}

fn said(message: Option<&Message>) -> String {
    message.map_or_else(String::new, |message| {
        Text::of(&message.parts).into_string()
    })
}

/// Whether a task in this state waits for its caller, or for nobody.
const fn rests(state: TaskState) -> bool {
    !matches!(
        state,
        TaskState::Unspecified | TaskState::Submitted | TaskState::Working
    )
}

#[cfg(test)]
mod tests {
    use mesh_proto::json;
    use serde_json::{Value, json};

    use super::*;

    fn payload(event: &Value) -> Payload {
        let event: mesh_proto::a2a::StreamResponse =
            json::from_slice(event.to_string().as_bytes()).unwrap();
        event.payload.unwrap()
    }

    fn artifact(id: &str, text: &str, append: bool) -> Value {
        json!({"artifactUpdate": {"taskId": "t", "contextId": "c", "append": append,
            "artifact": {"artifactId": id, "parts": [{"text": text}]}}})
    }

    fn status(state: &str, text: &str) -> Value {
        let message = json!({"messageId": "s", "role": "ROLE_AGENT", "parts": [{"text": text}]});
        json!({"statusUpdate": {"taskId": "t", "contextId": "c",
            "status": {"state": state, "message": message}}})
    }

    fn task(state: &str, artifacts: &[(&str, &str)]) -> Value {
        let artifacts: Vec<Value> = artifacts
            .iter()
            .map(|(id, text)| json!({"artifactId": id, "parts": [{"text": text}]}))
            .collect();
        json!({"task": {"id": "t", "contextId": "c", "status": {"state": state}, "artifacts": artifacts}})
    }

    /// What was said, progress in brackets, and how it ended.
    fn told(talk: &mut Talk, events: &[Value]) -> (String, Option<Ending>) {
        let (mut text, mut ending) = (String::new(), None);
        for event in events {
            assert_eq!(ending, None, "nothing is said after the end");
            let turn = talk.hear(payload(event)).unwrap();
            for heard in turn.heard {
                match heard {
                    Heard::Content(piece) => text.push_str(&piece),
                    Heard::Progress(piece) => text.push_str(&format!("({piece})")),
                }
            }
            ending = turn.ending;
        }
        (text, ending)
    }

    const WORKING: &str = "TASK_STATE_WORKING";
    const DONE: &str = "TASK_STATE_COMPLETED";

    #[test]
    fn pieces_make_one_text_and_the_task_at_the_end_repeats_nothing() {
        let mut talk = Talk::new(false);
        let events = [
            task("TASK_STATE_SUBMITTED", &[]),
            status(WORKING, "looking"),
            artifact("a", "Hel", false),
            artifact("a", "lo", true),
            artifact("b", "second", false),
            task(DONE, &[("a", "Hello"), ("b", "second!")]),
        ];
        let said = told(&mut talk, &events);
        assert_eq!(
            said,
            ("(looking)Hello\n\nsecond!".to_owned(), Some(Ending::Stop))
        );
        assert_eq!(talk.place().task_id.as_deref(), Some("t"));
        assert_eq!(talk.place().state.as_deref(), Some(DONE));
    }

    #[test]
    fn an_artifact_that_is_replaced_follows_what_was_said() {
        let events = [
            artifact("a", "draft", false),
            artifact("a", "draft, longer", false),
            artifact("a", "another", false),
            status(DONE, "done"),
        ];
        let said = told(&mut Talk::new(false), &events);
        assert_eq!(said.0, "draft, longer\n\nanother");
    }

    #[test]
    fn words_at_rest_are_the_answer_where_there_is_no_other_and_follow_it_where_they_ask() {
        let done = told(&mut Talk::new(false), &[status(DONE, "that is it")]);
        assert_eq!(done, ("that is it".to_owned(), Some(Ending::Stop)));
        let events = [
            artifact("a", "half", false),
            status("TASK_STATE_INPUT_REQUIRED", "which?"),
        ];
        let asks = told(&mut Talk::new(false), &events);
        assert_eq!(asks, ("half\n\nwhich?".to_owned(), Some(Ending::Stop)));
    }

    #[test]
    fn what_a_task_showed_before_it_is_gone_on_with_is_no_news() {
        let events = [
            task(WORKING, &[("a", "old")]),
            artifact("a", " and new", true),
            status(DONE, ""),
        ];
        assert_eq!(told(&mut Talk::new(true), &events).0, " and new");
        let whole = task(DONE, &[("a", "old and new")]);
        assert_eq!(told(&mut Talk::new(true), &[whole]).0, "old and new");
    }

    #[test]
    fn a_task_that_fails_is_an_error_with_what_the_agent_said() {
        for (state, code) in [
            ("FAILED", "task_failed"),
            ("REJECTED", "task_rejected"),
            ("CANCELED", "task_canceled"),
        ] {
            let mut talk = Talk::new(false);
            let event = status(&format!("TASK_STATE_{state}"), "no paper");
            let failure = talk.hear(payload(&event)).unwrap_err().to_json();
            assert_eq!(failure["error"]["code"], code);
            assert_eq!(failure["error"]["message"], "no paper");
            assert_eq!(failure["error"]["a2a"]["task_id"], "t");
        }
    }

    #[test]
    fn a_whole_answer_leaves_progress_out_and_says_when_there_may_be_more() {
        let done = Talk::new(false).whole(payload(&task(DONE, &[("a", "x"), ("b", "y")])));
        assert_eq!(done.unwrap().content, "x\n\ny");
        let early = Talk::new(false)
            .whole(payload(&task(WORKING, &[])))
            .unwrap();
        assert_eq!((early.content.as_str(), early.ending), ("", Ending::Length));
        let message =
            json!({"message": {"messageId": "m", "role": "ROLE_AGENT", "parts": [{"text": "hi"}]}});
        let answer = Talk::new(false).whole(payload(&message)).unwrap();
        assert_eq!(
            (answer.content.as_str(), answer.ending),
            ("hi", Ending::Stop)
        );
    }
}
