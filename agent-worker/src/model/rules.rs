//! The deterministic model: it matches words to tools and forms to arguments, and is no language
//! model; its label says so.
//!
//! A message is split into clauses; each clause goes to the tool that it fits best, its arguments
//! filled from what the clause says. What is missing is asked for; what fits nothing is answered with
//! what could be asked. `/tool {"argument": 1}` calls a tool by name.
//!
//! # Invariants
//! - Same conversation and same tools, same reply: no clock, no chance, no state.
//! - It says nothing that a tool did not say.

mod clause;
mod fill;
mod mask;
mod param;
mod plan;
mod render;
mod score;
mod value;

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use self::{
    fill::Memory,
    plan::{Part, Planned, Planner},
};
use crate::{
    model::{Error, Model, Prompt, Reply},
    session::{Ending, Entry, Item, Pending, ToolCall, ToolKind, ToolOutput, ToolSpec},
};

/// The deterministic model.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules;

impl Model for Rules {
    fn label(&self) -> &'static str {
        "rules/1 (deterministic, no LLM)"
    }

    fn respond<'a>(
        &'a self,
        prompt: Prompt<'a>,
        deltas: mpsc::Sender<String>,
    ) -> BoxFuture<'a, Result<Reply, Error>> {
        Box::pin(async move {
            let reply = decide(prompt);
            if let Reply::Answer { text } = &reply {
                // One piece for each line, so that a stream shows an answer of several parts grow.
                for line in text.split_inclusive('\n') {
                    deltas.send(line.to_owned()).await.ok();
                }
            }
            Ok(reply)
        })
    }
}

/// The next step of the turn.
fn decide(prompt: Prompt<'_>) -> Reply {
    let Some(turn) = Turn::of(prompt) else {
        return Reply::Fail {
            reason: "there is no message to answer".to_owned(),
        };
    };
    let parts = match turn.parts(prompt.tools) {
        Ok(parts) => parts,
        Err(reply) => return reply,
    };
    if let Some(reply) = turn.asked_back() {
        return reply;
    }
    let calls: Vec<&Planned> = parts.iter().filter_map(call_of).collect();
    if calls.is_empty() {
        return Reply::Ask {
            question: offer(prompt.tools),
            pending: Vec::new(),
        };
    }
    if parts.len() > plan::PARTS {
        let question = format!("Please ask for at most {} things at once.", plan::PARTS);
        return Reply::Ask {
            question,
            pending: Vec::new(),
        };
    }
    if turn.outputs.is_empty() && calls.iter().any(|call| !call.missing.is_empty()) {
        return ask(&calls, prompt.tools);
    }
    let ready = turn.ready(&calls);
    if ready.is_empty() {
        turn.answer(&parts)
    } else {
        Reply::Calls {
            text: String::new(),
            calls: ready,
        }
    }
}

/// The message under way, with what was called for it.
struct Turn<'a> {
    text: &'a str,
    fields: &'a Map<String, Value>,
    before: &'a [Item],
    pending: &'a [Pending],
    names: BTreeMap<&'a str, &'a str>,
    outputs: BTreeMap<&'a str, &'a ToolOutput>,
}

impl<'a> Turn<'a> {
    fn of(prompt: Prompt<'a>) -> Option<Self> {
        let own = |item: &&Item| item.task == prompt.task;
        let is_user = |item: &Item| own(&item) && matches!(item.entry, Entry::User { .. });
        let at = prompt.items.iter().rposition(is_user)?;
        let (before, rest) = prompt.items.split_at(at);
        let (Entry::User { text, fields }, after) =
            rest.split_first().map(|(i, a)| (&i.entry, a))?
        else {
            return None;
        };
        let pending = match before.iter().rev().find(own).map(|item| &item.entry) {
            Some(Entry::Asked { pending, .. }) => pending.as_slice(),
            _ => &[],
        };
        let mut outputs = BTreeMap::new();
        let mut names = BTreeMap::new();
        for item in after.iter().filter(own) {
            if let Entry::Tool { call, name, output } = &item.entry {
                outputs.insert(call.as_str(), output);
                names.insert(call.as_str(), name.as_str());
            }
        }
        // What a chat client said before is told to agents in front; here only the words count that
        // are meant for an answer now.
        let text = match text.rsplit_once(mesh_proto::mesh::TO_ANSWER) {
            Some((_, words)) => words.trim_start(),
            None => text,
        };
        Some(Self {
            text,
            fields,
            before,
            pending,
            names,
            outputs,
        })
    }

    /// What the message asks for, or what to reply at once.
    fn parts(&self, tools: &[ToolSpec]) -> Result<Vec<Part>, Reply> {
        let planner = Planner::new(tools, self.fields, Memory(self.before));
        let text = self.text.trim();
        if let Some(command) = text.strip_prefix('/') {
            let (name, rest) = command
                .split_once(char::is_whitespace)
                .unwrap_or((command, ""));
            if name == "help" {
                return Err(Reply::Answer { text: offer(tools) });
            }
            return planner
                .command(name, rest.trim())
                .map(|part| vec![part])
                .ok_or_else(|| {
                    let question = format!("There is no tool {name}. {}", offer(tools));
                    Reply::Ask {
                        question,
                        pending: Vec::new(),
                    }
                });
        }
        if self.pending.is_empty() {
            return Ok(planner.plan(text));
        }
        if DROPPED.contains(&text.to_lowercase().trim_end_matches(['.', '!'])) {
            return Err(Reply::Answer {
                text: "Dropped.".to_owned(),
            });
        }
        Ok(planner.resume(self.pending, text))
    }

    /// When an agent that was asked asks back, so does this one, and keeps the thread.
    fn asked_back(&self) -> Option<Reply> {
        let mut questions = Vec::new();
        let mut pending = Vec::new();
        for (call, output) in &self.outputs {
            if let Ending::Waiting { task, context } = &output.ending {
                questions.push(output.text.clone());
                let thread = [("taskId", task), ("contextId", context)];
                let thread = thread.into_iter().filter(|(_, id)| !id.is_empty());
                pending.push(Pending {
                    tool: self.names.get(call).copied().unwrap_or_default().to_owned(),
                    arguments: thread
                        .map(|(k, id)| (k.to_owned(), Value::from(id.as_str())))
                        .collect(),
                    missing: vec!["message".to_owned()],
                });
            }
        }
        let question = questions.join("\n");
        (!pending.is_empty()).then_some(Reply::Ask { question, pending })
    }

    /// The calls that can be made now.
    fn ready(&self, calls: &[&Planned]) -> Vec<ToolCall> {
        let mut ready = Vec::new();
        for (at, planned) in calls.iter().enumerate() {
            let id = call_id(at);
            if self.outputs.contains_key(id.as_str()) {
                continue;
            }
            let mut arguments = planned.arguments.clone();
            if let Some(name) = &planned.link {
                let before = at.checked_sub(1).map(call_id);
                let output = before.and_then(|before| self.outputs.get(before.as_str()));
                let Some(output) = output.filter(|output| output.ending == Ending::Done) else {
                    continue;
                };
                arguments.insert(name.clone(), Value::from(render::value(output)));
            }
            ready.push(ToolCall {
                id,
                name: planned.tool.clone(),
                arguments,
            });
        }
        ready
    }

    fn answer(&self, parts: &[Part]) -> Reply {
        let mut lines = Vec::new();
        let mut done = 0;
        let mut at = 0;
        for part in parts {
            match part {
                Part::Call(planned) => {
                    match self.outputs.get(call_id(at).as_str()) {
                        Some(output) => {
                            done += usize::from(output.ending == Ending::Done);
                            lines.push(render::answer(&planned.tool, output));
                        }
                        None => lines.push(format!("{} was not called.", planned.tool)),
                    }
                    at += 1;
                }
                Part::Unknown(text) => lines.push(format!("I have no tool for {text:?}.")),
            }
        }
        let text = lines.join("\n");
        if done == 0 {
            Reply::Fail { reason: text }
        } else {
            Reply::Answer { text }
        }
    }
}

fn call_of(part: &Part) -> Option<&Planned> {
    match part {
        Part::Call(planned) => Some(planned),
        Part::Unknown(_) => None,
    }
}

/// The id of the n-th call of a turn: the same in each round.
fn call_id(at: usize) -> String {
    format!("call-{at}")
}

/// Asks for what is missing, naming each field.
fn ask(calls: &[&Planned], tools: &[ToolSpec]) -> Reply {
    let mut wanted = Vec::new();
    for call in calls {
        let tool = tools.iter().find(|tool| tool.name == call.tool);
        let params = tool.map(param::of).unwrap_or_default();
        for name in &call.missing {
            let param = params.iter().find(|param| param.name == *name);
            let meaning = param
                .map(|p| p.description.trim_end_matches('.'))
                .unwrap_or_default();
            let is_new = !wanted.iter().any(|(seen, _)| seen == name);
            if is_new {
                wanted.push((name.clone(), meaning.to_owned()));
            }
        }
    }
    let fields: Vec<_> = wanted
        .iter()
        .map(|(name, meaning)| match meaning.as_str() {
            "" => format!("`{name}`"),
            meaning => format!("`{name}` ({meaning})"),
        })
        .collect();
    let list = match fields.as_slice() {
        [] => String::new(),
        [only] => only.clone(),
        [others @ .., last] => format!("{} and {last}", others.join(", ")),
    };
    let pending = calls.iter().map(|call| Pending {
        tool: call.tool.clone(),
        arguments: call.arguments.clone(),
        missing: call.missing.clone(),
    });
    Reply::Ask {
        question: format!("Please give me {list}."),
        pending: pending.collect(),
    }
}

/// What could be asked.
fn offer(tools: &[ToolSpec]) -> String {
    if tools.is_empty() {
        return "I have no tools, so there is nothing that I can do.".to_owned();
    }
    let mut text = "I match words to tools and found no tool for this. What I can do:".to_owned();
    for tool in tools.iter().take(OFFERED) {
        let name = match tool.kind {
            ToolKind::Tool => format!("/{}", tool.name),
            ToolKind::Agent => tool.name.clone(),
        };
        text.push_str(&format!("\n- {name}: {}", tool.description));
    }
    text
}

/// What drops a question instead of answering it.
const DROPPED: [&str; 4] = ["cancel", "never mind", "forget it", "stop"];

/// How many tools an offer names.
const OFFERED: usize = 20;

#[cfg(test)]
mod tests;
