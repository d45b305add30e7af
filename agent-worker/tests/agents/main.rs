//! Agents from their file to their outcome: real MCP children, a mock of a language model, other
//! agents behind a small router.
#![expect(clippy::unwrap_used, reason = "a test says what it needs by failing")]

mod delegation;
#[cfg(feature = "openai")]
mod language;
mod tools;
mod turns;

use std::sync::Arc;

use daca_worker::{
    agent::Agent,
    config::{Config, Roster, Surroundings},
    model::Model,
    record::Scope,
    session::{Entry, Item},
    tools::{Metrics, Toolbox},
    turn::{CallContext, Outcome, Step, TurnAsk},
};
use mesh_proto::a2a;
use prometheus_client::registry::Registry;
use tokio::sync::mpsc;

/// The built-in server as this crate's own program.
fn builtin() -> Vec<std::ffi::OsString> {
    vec![env!("CARGO_BIN_EXE_mcp-under-test").into()]
}

fn around(router: Option<String>) -> Surroundings {
    Surroundings {
        router,
        builtin: builtin(),
        notes: None,
        sidecar: None,
        #[cfg(feature = "openai")]
        openai: None,
    }
}

fn roster(config: &Config, around: &Surroundings) -> Roster {
    config
        .roster(around, &Metrics::register(&mut Registry::default()))
        .unwrap()
}

/// An agent of a YAML list of agents, by its name.
fn agent(yaml: &str, name: &str) -> Agent {
    let config = Config::from_yaml(yaml).unwrap();
    named(roster(&config, &around(None)), name)
}

fn named(roster: Roster, name: &str) -> Agent {
    roster
        .agents
        .into_iter()
        .find(|agent| agent.name().as_str() == name)
        .unwrap()
}

/// An agent with a model of the test's own and no tools.
fn modelled(model: Arc<dyn Model>, toolbox: Toolbox) -> Agent {
    let yaml = "agents: [{name: a, description: d, max_turns: 3}]";
    let config = Config::from_yaml(yaml).unwrap().agents.remove(0);
    Agent::new(config, model, toolbox)
}

fn message(text: &str) -> a2a::Message {
    a2a::Message {
        message_id: "m".to_owned(),
        role: a2a::Role::User.into(),
        parts: vec![a2a::Part {
            content: Some(a2a::part::Content::Text(text.to_owned())),
            ..a2a::Part::default()
        }],
        ..a2a::Message::default()
    }
}

/// A conversation in one task.
#[derive(Default)]
struct Talk {
    history: Vec<Item>,
    call: CallContext,
    /// Beyond the rounds of all turns before.
    step: u32,
}

/// What a turn did.
#[derive(Debug)]
struct Turned {
    outcome: Outcome,
    statuses: Vec<String>,
    /// The artifact as a reader of the stream has it at the end.
    artifact: String,
    pieces: usize,
}

impl Talk {
    async fn say(&mut self, agent: &Agent, text: &str) -> Turned {
        let ask = TurnAsk {
            task_id: "t".to_owned(),
            scope: Scope {
                agent: agent.name().clone(),
                tenant: String::new(),
                principal: String::new(),
            },
            context_id: "c".to_owned(),
            message: message(text),
            history: self.history.clone(),
            call: self.call.clone(),
            step: self.step,
            done: vec![],
            boundaries: None,
        };
        self.step += 100;
        let (sender, mut steps) = mpsc::channel(4);
        let reader = async {
            let mut read = Vec::new();
            while let Some(step) = steps.recv().await {
                read.push(step);
            }
            read
        };
        let turn = async move { Box::pin(agent.turn(ask, &sender)).await };
        let (outcome, read) = tokio::join!(turn, reader);
        let mut turned = Turned {
            outcome,
            statuses: vec![],
            artifact: String::new(),
            pieces: 0,
        };
        let mut ended = false;
        for step in read {
            match step {
                Step::Status(status) => turned.statuses.push(status),
                Step::Artifact {
                    text, append, last, ..
                } => {
                    assert!(!ended, "nothing follows the last piece");
                    if !append {
                        turned.artifact.clear();
                    }
                    turned.artifact.push_str(&text);
                    turned.pieces += 1;
                    ended = last;
                }
                Step::Remember(item) => self.history.push(item),
            }
        }
        assert_eq!(ended, turned.pieces > 0, "the last piece says so");
        turned
    }

    fn last_tool_output(&self) -> &str {
        let output = self
            .history
            .iter()
            .rev()
            .find_map(|item| match &item.entry {
                Entry::Tool { output, .. } => Some(output.text.as_str()),
                Entry::User { .. } | Entry::Assistant { .. } | Entry::Asked { .. } => None,
            });
        output.unwrap()
    }
}

const COMPLETED: Outcome = Outcome::Completed { message: None };
