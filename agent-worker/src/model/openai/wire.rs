//! The chat-completions interface as far as it is used: what is sent, and what is read of a stream.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{
    model::Prompt,
    session::{Entry, Item, ToolSpec},
};

/// A request.
#[derive(Debug, Serialize)]
pub(super) struct Request {
    model: String,
    messages: Vec<Message>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool>,
    stream: bool,
}

#[derive(Debug, Serialize)]
#[serde(tag = "role", rename_all = "lowercase")]
enum Message {
    System {
        content: String,
    },
    User {
        content: String,
    },
    Assistant {
        #[serde(skip_serializing_if = "Option::is_none")]
        content: Option<String>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        tool_calls: Vec<Call>,
    },
    Tool {
        tool_call_id: String,
        content: String,
    },
}

#[derive(Debug, Serialize)]
struct Call {
    id: String,
    r#type: &'static str,
    function: CallFunction,
}

#[derive(Debug, Serialize)]
struct CallFunction {
    name: String,
    /// JSON in a string: so the interface has it.
    arguments: String,
}

#[derive(Debug, Serialize)]
struct Tool {
    r#type: &'static str,
    function: ToolFunction,
}

#[derive(Debug, Serialize)]
struct ToolFunction {
    name: String,
    description: String,
    parameters: Value,
}

/// One event of a stream. What is not here is not read, and what is here may be missing.
#[derive(Debug, Deserialize)]
pub(super) struct Chunk {
    #[serde(default)]
    choices: Vec<Choice>,
}

#[derive(Debug, Deserialize)]
struct Choice {
    #[serde(default)]
    delta: Delta,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Delta {
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    refusal: Option<String>,
    #[serde(default)]
    tool_calls: Option<Vec<CallDelta>>,
}

#[derive(Debug, Deserialize)]
struct CallDelta {
    #[serde(default)]
    index: Option<u32>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    function: Option<FunctionDelta>,
}

#[derive(Debug, Deserialize)]
struct FunctionDelta {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    arguments: Option<String>,
}

/// A reply as far as it has come.
#[derive(Debug, Default)]
pub(super) struct Partial {
    /// What was said.
    pub(super) text: String,
    /// What was called, by its index.
    pub(super) calls: BTreeMap<u32, PartialCall>,
    /// Whether the server held the reply back.
    pub(super) is_filtered: bool,
    bytes: usize,
}

/// A call as far as it has come.
#[derive(Debug, Default)]
pub(super) struct PartialCall {
    /// The server's id for it.
    pub(super) id: String,
    /// The name on the wire.
    pub(super) name: String,
    /// JSON.
    pub(super) arguments: String,
}

impl Partial {
    /// Adds an event; what it adds to the text.
    ///
    /// # Errors
    /// A sentence when the reply is over its bound.
    pub(super) fn add(&mut self, chunk: Chunk) -> Result<String, String> {
        let mut added = String::new();
        // Only the first choice: no other is asked for.
        let Some(choice) = chunk.choices.into_iter().next() else {
            return Ok(added);
        };
        self.is_filtered |= choice.finish_reason.as_deref() == Some("content_filter");
        for text in [choice.delta.content, choice.delta.refusal]
            .into_iter()
            .flatten()
        {
            self.bytes += text.len();
            added.push_str(&text);
        }
        for delta in choice.delta.tool_calls.unwrap_or_default() {
            let next = u32::try_from(self.calls.len()).unwrap_or(u32::MAX);
            let is_new = delta.id.as_ref().is_some_and(|id| !id.is_empty());
            let last = self.calls.keys().next_back().copied();
            // Some servers leave the index out: an id then begins a new call.
            let index = delta
                .index
                .or_else(|| last.filter(|_| !is_new))
                .unwrap_or(next);
            let call = self.calls.entry(index).or_default();
            let function = delta.function.unwrap_or(FunctionDelta {
                name: None,
                arguments: None,
            });
            for (to, from) in [
                (&mut call.id, delta.id),
                (&mut call.name, function.name),
                (&mut call.arguments, function.arguments),
            ] {
                let from = from.unwrap_or_default();
                self.bytes += from.len();
                to.push_str(&from);
            }
        }
        if self.bytes > REPLY_BYTES || self.calls.len() > CALLS {
            return Err(format!("it is over {REPLY_BYTES} bytes or {CALLS} calls"));
        }
        self.text.push_str(&added);
        Ok(added)
    }
}

/// Makes a request of a prompt.
pub(super) fn request(model: &str, prompt: Prompt<'_>) -> Request {
    let mut messages = Vec::new();
    if !prompt.instructions.is_empty() {
        messages.push(Message::System {
            content: prompt.instructions.to_owned(),
        });
    }
    // What other tasks of the context said comes first, in words only: their calls would stand
    // between a call of this task and its answer.
    let (own, others): (Vec<_>, Vec<_>) = prompt
        .items
        .iter()
        .partition(|item| item.task == prompt.task);
    messages.extend(others.into_iter().filter_map(in_words));
    with_calls(&own, &mut messages);
    let mut tools: Vec<_> = prompt.tools.iter().map(tool).collect();
    tools.push(ask());
    Request {
        model: model.to_owned(),
        messages,
        tools,
        stream: true,
    }
}

/// A tool's name as the interface takes it.
pub(super) fn name(tool: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    tool.chars()
        .take(64)
        .map(|c| if allowed(c) { c } else { '_' })
        .collect()
}

fn tool(spec: &ToolSpec) -> Tool {
    let function = ToolFunction {
        name: name(&spec.name),
        description: spec.description.clone(),
        parameters: Value::Object(spec.input.clone()),
    };
    Tool {
        r#type: "function",
        function,
    }
}

/// How a language model asks its caller: by a tool that is no tool.
fn ask() -> Tool {
    let function = ToolFunction {
        name: ASK.to_owned(),
        description: "Ask the user for what is missing and wait for the answer.".to_owned(),
        parameters: json!({
            "type": "object",
            "properties": {"question": {"type": "string", "description": "The question"}},
            "required": ["question"],
        }),
    };
    Tool {
        r#type: "function",
        function,
    }
}

fn in_words(item: &Item) -> Option<Message> {
    match &item.entry {
        Entry::User { text, fields } => Some(Message::User {
            content: said(text, fields),
        }),
        Entry::Assistant { text, .. } | Entry::Asked { question: text, .. } => (!text.is_empty())
            .then(|| Message::Assistant {
                content: Some(text.clone()),
                tool_calls: Vec::new(),
            }),
        Entry::Tool { .. } => None,
    }
}

/// The task's own items. Each call has its answer behind it: the interface refuses a conversation in
/// which one is missing, as it is after a turn that was cancelled.
fn with_calls(items: &[&Item], messages: &mut Vec<Message>) {
    let mut open: Vec<&str> = Vec::new();
    for item in items {
        if let Entry::Tool { call, output, .. } = &item.entry {
            if let Some(at) = open.iter().position(|id| id == call) {
                open.remove(at);
                messages.push(answer(call, &output.text));
            }
            continue;
        }
        for id in open.drain(..) {
            messages.push(answer(id, "cancelled"));
        }
        match &item.entry {
            Entry::Assistant { text, calls } if !calls.is_empty() => {
                open.extend(calls.iter().map(|call| call.id.as_str()));
                let tool_calls = calls.iter().map(|call| Call {
                    id: call.id.clone(),
                    r#type: "function",
                    function: CallFunction {
                        name: name(&call.name),
                        arguments: Value::Object(call.arguments.clone()).to_string(),
                    },
                });
                let content = (!text.is_empty()).then(|| text.clone());
                messages.push(Message::Assistant {
                    content,
                    tool_calls: tool_calls.collect(),
                });
            }
            _ => messages.extend(in_words(item)),
        }
    }
    for id in open {
        messages.push(answer(id, "cancelled"));
    }
}

fn answer(call: &str, text: &str) -> Message {
    Message::Tool {
        tool_call_id: call.to_owned(),
        content: text.to_owned(),
    }
}

fn said(text: &str, fields: &Map<String, Value>) -> String {
    match (text.is_empty(), fields.is_empty()) {
        (_, true) => text.to_owned(),
        (true, false) => Value::Object(fields.clone()).to_string(),
        (false, false) => format!("{text}\n{}", Value::Object(fields.clone())),
    }
}

/// The name of the tool that asks the caller.
pub(super) const ASK: &str = "request_input";

/// The largest reply that is read.
const REPLY_BYTES: usize = 1 << 20;

/// The most calls in one reply.
const CALLS: usize = 64;

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::session::{ToolCall, ToolOutput};

    fn item(task: &str, entry: Entry) -> Item {
        Item {
            task: task.to_owned(),
            entry,
        }
    }

    fn calls(ids: &[&str]) -> Entry {
        let call = |id: &&str| ToolCall {
            id: (*id).to_owned(),
            name: "a.clock".to_owned(),
            arguments: Map::new(),
        };
        Entry::Assistant {
            text: String::new(),
            calls: ids.iter().map(call).collect(),
        }
    }

    fn result(id: &str) -> Entry {
        let output = ToolOutput::text("12:00".to_owned());
        Entry::Tool {
            call: id.to_owned(),
            name: "a.clock".to_owned(),
            output,
        }
    }

    #[test]
    fn every_call_has_its_answer_behind_it_whatever_the_history() {
        let user = |text: &str| Entry::User {
            text: text.to_owned(),
            fields: Map::new(),
        };
        let items = [
            item("old", result("lost")),
            item("t", result("cut off")),
            item("t", user("one")),
            item("t", calls(&["a", "b"])),
            item("old", user("meanwhile")),
            item("t", result("b")),
            item("t", user("two")),
        ];
        let prompt = Prompt {
            task: "t",
            instructions: "Be brief.",
            tools: &[],
            items: &items,
        };
        let shown = serde_json::to_value(request("m", prompt)).unwrap();
        let lines: Vec<_> = shown["messages"]
            .as_array()
            .unwrap()
            .iter()
            .map(Value::to_string)
            .collect();
        expect![[r#"
            {"content":"Be brief.","role":"system"}
            {"content":"meanwhile","role":"user"}
            {"content":"one","role":"user"}
            {"role":"assistant","tool_calls":[{"function":{"arguments":"{}","name":"a_clock"},"id":"a","type":"function"},{"function":{"arguments":"{}","name":"a_clock"},"id":"b","type":"function"}]}
            {"content":"12:00","role":"tool","tool_call_id":"b"}
            {"content":"cancelled","role":"tool","tool_call_id":"a"}
            {"content":"two","role":"user"}"#]].assert_eq(&lines.join("\n"));
    }

    #[test]
    fn calls_are_put_together_from_pieces_with_or_without_an_index() {
        let mut reply = Partial::default();
        for chunk in [
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"x","function":{"name":"clock","arguments":"{\"zo"}}]}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"ne\":1}"}}]}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"id":"y","function":{"name":"calc"}}]}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"function":{"arguments":"{}"}}]}}]}"#,
            r#"{"choices":[],"usage":{}}"#,
            r#"{}"#,
        ] {
            reply.add(serde_json::from_str(chunk).unwrap()).unwrap();
        }
        let shown: Vec<_> = reply
            .calls
            .values()
            .map(|c| format!("{} {} {}", c.id, c.name, c.arguments))
            .collect();
        assert_eq!(shown, [r#"x clock {"zone":1}"#, "y calc {}"]);
    }

    #[test]
    fn a_reply_without_end_is_cut_off() {
        let mut reply = Partial::default();
        let text = "x".repeat(1 << 18);
        let chunk = json!({"choices": [{"delta": {"content": text}}]});
        let outcome: Vec<_> = (0..5)
            .map(|_| reply.add(serde_json::from_value(chunk.clone()).unwrap()))
            .collect();
        assert!(outcome[..4].iter().all(Result::is_ok) && outcome[4].is_err());
    }
}
