//! The words of a conversation: what was said, what was called, what came back.
//!
//! Everything above speaks in these types; this file does nothing with them and keeps nothing. They
//! are stored as JSON, so a field that is added later needs a default.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::time::Instant;

/// One thing that happened in a conversation (an A2A context), and in which of its tasks.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Item {
    /// The task in which it happened. Tasks of one context may run side by side.
    pub task: String,
    /// What happened.
    #[serde(flatten)]
    pub entry: Entry,
}

/// What happened.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "role", rename_all = "snake_case")]
pub enum Entry {
    /// The caller said something.
    User {
        /// The text of all text parts, one part after another.
        text: String,
        /// The members of structured parts that were objects.
        #[serde(default, skip_serializing_if = "Map::is_empty")]
        fields: Map<String, Value>,
    },
    /// The agent said something, or called tools, or both.
    Assistant {
        /// What it said.
        #[serde(default)]
        text: String,
        /// What it called, to be answered by [`Entry::Tool`] items.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        calls: Vec<ToolCall>,
    },
    /// The agent asked the caller for what is missing, and the task waits.
    Asked {
        /// The question.
        question: String,
        /// The calls that wait for the answer, as far as they are known.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pending: Vec<Pending>,
    },
    /// A tool answered.
    Tool {
        /// The [`ToolCall::id`] that it answers.
        call: String,
        /// The tool.
        name: String,
        /// What it answered.
        output: ToolOutput,
    },
}

/// One call of a tool.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ToolCall {
    /// Unique within the turn; minted by the model.
    pub id: String,
    /// The tool.
    pub name: String,
    /// By the tool's schema, if the model is right.
    #[serde(default)]
    pub arguments: Map<String, Value>,
}

/// A call that lacks arguments, or waits for one that does.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Pending {
    /// The tool.
    pub tool: String,
    /// What is known already.
    #[serde(default)]
    pub arguments: Map<String, Value>,
    /// The required arguments that are not known.
    #[serde(default)]
    pub missing: Vec<String>,
}

/// What a tool answered, within its size bound.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ToolOutput {
    /// In words.
    pub text: String,
    /// As data, where the tool gives any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub structured: Option<Value>,
    /// How it ended.
    #[serde(default)]
    pub ending: Ending,
}

/// How a call of a tool ended.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// With an answer.
    #[default]
    Done,
    /// Without one; the text says why, and the model may try something else.
    Failed,
    /// In a way that no other attempt can mend, such as a loop of delegations: the turn fails.
    Fatal,
    /// Another agent asks back; its task goes on with the next message.
    Waiting {
        /// The task at that agent.
        task: String,
        /// Its context, where it has one.
        context: String,
    },
}

impl ToolOutput {
    /// An answer in words.
    #[must_use]
    pub const fn text(text: String) -> Self {
        Self {
            text,
            structured: None,
            ending: Ending::Done,
        }
    }

    /// A failure in words.
    #[must_use]
    pub const fn failed(text: String) -> Self {
        Self {
            text,
            structured: None,
            ending: Ending::Failed,
        }
    }
}

/// A tool as a model sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolSpec {
    /// Its name, unique within the agent.
    pub name: String,
    /// What it does.
    pub description: String,
    /// The JSON Schema of its arguments, an object.
    pub input: Map<String, Value>,
    /// Who answers.
    pub kind: ToolKind,
}

/// Who answers a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ToolKind {
    /// Code.
    Tool,
    /// Another agent, which takes a message in plain language.
    Agent,
}

/// What a call carries from where it came to where it leads.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CallContext {
    /// The trace that the call belongs to, as its W3C header.
    pub traceparent: Option<String>,
    /// How many routers the call and those that led to it have passed.
    pub hops: u32,
    /// The caller's credentials, passed on to agents and to nobody else.
    pub authorization: Option<String>,
    /// When whoever waits for the answer stops waiting.
    pub deadline: Option<Instant>,
    /// Names one call of a tool, `TASK:STEP:N`: repeated, by this worker or by one that took the task
    /// on, it has the same name. Empty outside of a tool call.
    pub key: String,
}

impl CallContext {
    /// The trace id for logs; empty when the caller sent none.
    #[must_use]
    pub fn trace(&self) -> &str {
        self.traceparent
            .as_deref()
            .and_then(|text| text.split('-').nth(1))
            .unwrap_or_default()
    }

    /// How long a call may take that takes `most` by itself.
    #[must_use]
    pub fn within(&self, most: Duration) -> Duration {
        let left = |deadline: Instant| deadline.saturating_duration_since(Instant::now());
        self.deadline
            .map_or(most, |deadline| most.min(left(deadline)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_stored_flat_and_read_back() {
        let items = [
            Entry::User {
                text: "hi".to_owned(),
                fields: Map::new(),
            },
            Entry::Assistant {
                text: String::new(),
                calls: vec![],
            },
            Entry::Asked {
                question: "which?".to_owned(),
                pending: vec![],
            },
            Entry::Tool {
                call: "c1".to_owned(),
                name: "clock".to_owned(),
                output: ToolOutput {
                    text: "?".to_owned(),
                    structured: None,
                    ending: Ending::Waiting {
                        task: "t".to_owned(),
                        context: "c".to_owned(),
                    },
                },
            },
        ]
        .map(|entry| Item {
            task: "t1".to_owned(),
            entry,
        });
        for item in items {
            let stored = serde_json::to_string(&item).unwrap();
            assert_eq!(
                serde_json::from_str::<Item>(&stored).unwrap(),
                item,
                "{stored}"
            );
        }
        let bare = r#"{"task":"t","role":"assistant"}"#;
        assert!(serde_json::from_str::<Item>(bare).is_ok());
    }
}
