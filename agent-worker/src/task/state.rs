//! The life of a task, one struct per state.
//!
//! ```text
//! Submitted -> Working -> Completed | Failed | Canceled | Rejected
//!                 ^ |
//!                 | v
//!            InputRequired
//! ```
//!
//! # Invariants
//! - The last four are final: no event leads out of them.
//! - A state carries what its words on the wire need, and nothing else.

use mesh_proto::a2a::TaskState;

/// Taken, not begun.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Submitted;

/// A turn runs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Working {
    /// What it is at, if it said so.
    note: Option<String>,
}

/// The agent waits for the caller.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InputRequired {
    /// What is missing.
    ask: String,
}

/// Done. Final.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Completed {
    /// A word beside the artifacts.
    word: Option<String>,
}

/// Not done, by a fault. Final.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failed {
    /// Why.
    reason: String,
}

/// Stopped on demand. Final.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Canceled;

/// Not taken. Final.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rejected {
    /// Why.
    reason: String,
}

/// Where a task is in its life.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "each is documented at its struct")]
pub enum Phase {
    Submitted(Submitted),
    Working(Working),
    InputRequired(InputRequired),
    Completed(Completed),
    Failed(Failed),
    Canceled(Canceled),
    Rejected(Rejected),
}

/// What moves a task on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// A turn begins, with the first message or with the one that was waited for.
    Begin,
    /// The turn says what it is at.
    Note(String),
    /// The turn needs something from the caller.
    Ask(String),
    /// The turn is done.
    Complete(Option<String>),
    /// The turn cannot be done.
    Fail(String),
    /// The agent does not take the message.
    Reject(String),
    /// The caller wants no more of it.
    Cancel,
}

/// A step that the protocol does not allow.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a task that is {from:?} does not {event}")]
pub struct IllegalStep {
    /// The state.
    pub from: TaskState,
    /// The event's word.
    pub event: &'static str,
}

impl Submitted {
    fn advance(self, event: Event) -> Result<Phase, IllegalStep> {
        match event {
            Event::Begin => Ok(Phase::Working(Working { note: None })),
            Event::Fail(reason) => Ok(Phase::Failed(Failed { reason })),
            Event::Reject(reason) => Ok(Phase::Rejected(Rejected { reason })),
            Event::Cancel => Ok(Phase::Canceled(Canceled)),
            Event::Note(_) | Event::Ask(_) | Event::Complete(_) => {
                Err(illegal(TaskState::Submitted, &event))
            }
        }
    }
}

impl Working {
    fn advance(self, event: Event) -> Result<Phase, IllegalStep> {
        match event {
            Event::Note(note) => Ok(Phase::Working(Self { note: Some(note) })),
            Event::Ask(ask) => Ok(Phase::InputRequired(InputRequired { ask })),
            Event::Complete(word) => Ok(Phase::Completed(Completed { word })),
            Event::Fail(reason) => Ok(Phase::Failed(Failed { reason })),
            Event::Reject(reason) => Ok(Phase::Rejected(Rejected { reason })),
            Event::Cancel => Ok(Phase::Canceled(Canceled)),
            Event::Begin => Err(illegal(TaskState::Working, &event)),
        }
    }
}

impl InputRequired {
    fn advance(self, event: Event) -> Result<Phase, IllegalStep> {
        match event {
            Event::Begin => Ok(Phase::Working(Working { note: None })),
            Event::Fail(reason) => Ok(Phase::Failed(Failed { reason })),
            Event::Cancel => Ok(Phase::Canceled(Canceled)),
            Event::Note(_) | Event::Ask(_) | Event::Complete(_) | Event::Reject(_) => {
                Err(illegal(TaskState::InputRequired, &event))
            }
        }
    }
}

impl Phase {
    /// The beginning.
    #[must_use]
    pub const fn submitted() -> Self {
        Self::Submitted(Submitted)
    }

    /// One step.
    ///
    /// # Errors
    /// [`IllegalStep`], when the protocol has no such step.
    pub fn advance(self, event: Event) -> Result<Self, IllegalStep> {
        match self {
            Self::Submitted(state) => state.advance(event),
            Self::Working(state) => state.advance(event),
            Self::InputRequired(state) => state.advance(event),
            Self::Completed(_) | Self::Failed(_) | Self::Canceled(_) | Self::Rejected(_) => {
                Err(illegal(self.state(), &event))
            }
        }
    }

    /// Takes up a task where a store left it. `None` for a state that this agent never writes.
    #[must_use]
    pub fn restored(state: TaskState, text: Option<String>) -> Option<Self> {
        Some(match state {
            TaskState::Submitted => Self::Submitted(Submitted),
            TaskState::Working => Self::Working(Working { note: text }),
            TaskState::InputRequired => Self::InputRequired(InputRequired {
                ask: text.unwrap_or_default(),
            }),
            TaskState::Completed => Self::Completed(Completed { word: text }),
            TaskState::Failed => Self::Failed(Failed {
                reason: text.unwrap_or_default(),
            }),
            TaskState::Canceled => Self::Canceled(Canceled),
            TaskState::Rejected => Self::Rejected(Rejected {
                reason: text.unwrap_or_default(),
            }),
            TaskState::Unspecified | TaskState::AuthRequired => return None,
        })
    }

    /// The name on the wire.
    #[must_use]
    pub const fn state(&self) -> TaskState {
        match self {
            Self::Submitted(_) => TaskState::Submitted,
            Self::Working(_) => TaskState::Working,
            Self::InputRequired(_) => TaskState::InputRequired,
            Self::Completed(_) => TaskState::Completed,
            Self::Failed(_) => TaskState::Failed,
            Self::Canceled(_) => TaskState::Canceled,
            Self::Rejected(_) => TaskState::Rejected,
        }
    }

    /// The words that go with it.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Submitted(_) | Self::Canceled(_) => None,
            Self::Working(state) => state.note.as_deref(),
            Self::InputRequired(state) => Some(&state.ask),
            Self::Completed(state) => state.word.as_deref(),
            Self::Failed(state) => Some(&state.reason),
            Self::Rejected(state) => Some(&state.reason),
        }
    }

    /// Whether no event leads out of it.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Completed(_) | Self::Failed(_) | Self::Canceled(_) | Self::Rejected(_)
        )
    }

    /// Whether nothing happens until somebody else acts: final, or waiting for the caller.
    #[must_use]
    pub const fn is_at_rest(&self) -> bool {
        self.is_final() || matches!(self, Self::InputRequired(_))
    }
}

impl Event {
    const fn word(&self) -> &'static str {
        match self {
            Self::Begin => "begin",
            Self::Note(_) => "note",
            Self::Ask(_) => "ask",
            Self::Complete(_) => "complete",
            Self::Fail(_) => "fail",
            Self::Reject(_) => "reject",
            Self::Cancel => "cancel",
        }
    }
}

const fn illegal(from: TaskState, event: &Event) -> IllegalStep {
    IllegalStep {
        from,
        event: event.word(),
    }
}

#[cfg(test)]
mod tests {
    use TaskState as S;

    use super::*;

    #[test]
    fn each_state_and_event_lead_where_the_table_says() {
        let text = || "why".to_owned();
        let events = [
            Event::Begin,
            Event::Note(text()),
            Event::Ask(text()),
            Event::Complete(Some(text())),
            Event::Fail(text()),
            Event::Reject(text()),
            Event::Cancel,
        ];
        let (w, i) = (Some(S::Working), Some(S::InputRequired));
        let (d, f, c, r) = (
            Some(S::Completed),
            Some(S::Failed),
            Some(S::Canceled),
            Some(S::Rejected),
        );
        let table = [
            // begin, note, ask, complete, fail, reject, cancel
            (S::Submitted, [w, None, None, None, f, r, c]),
            (S::Working, [None, w, i, d, f, r, c]),
            (S::InputRequired, [w, None, None, None, f, None, c]),
            (S::Completed, [None; 7]),
            (S::Failed, [None; 7]),
            (S::Canceled, [None; 7]),
            (S::Rejected, [None; 7]),
        ];
        for (from, row) in table {
            for (event, to) in events.iter().zip(row) {
                let phase = Phase::restored(from, Some(text())).unwrap();
                let stepped = phase.advance(event.clone());
                assert_eq!(
                    stepped.as_ref().ok().map(Phase::state),
                    to,
                    "{from:?} {event:?}"
                );
                if let Err(illegal) = stepped {
                    assert_eq!(illegal.from, from);
                }
            }
        }
    }

    #[test]
    fn a_final_state_is_at_rest_and_has_no_way_out() {
        for state in [S::Completed, S::Failed, S::Canceled, S::Rejected] {
            let phase = Phase::restored(state, None).unwrap();
            assert!(phase.is_final() && phase.is_at_rest(), "{state:?}");
        }
        for (state, at_rest) in [
            (S::Submitted, false),
            (S::Working, false),
            (S::InputRequired, true),
        ] {
            let phase = Phase::restored(state, None).unwrap();
            assert_eq!((phase.is_final(), phase.is_at_rest()), (false, at_rest));
        }
        assert_eq!(Phase::restored(S::AuthRequired, None), None);
        assert_eq!(Phase::restored(S::Unspecified, None), None);
    }

    #[test]
    fn the_words_of_a_state_are_those_of_the_event() {
        let working = Phase::submitted().advance(Event::Begin).unwrap();
        let asked = working
            .advance(Event::Ask("which city?".to_owned()))
            .unwrap();
        assert_eq!(asked.text(), Some("which city?"));
        assert_eq!(
            asked
                .advance(Event::Cancel)
                .map(|phase| phase.text().is_none()),
            Ok(true)
        );
    }
}
