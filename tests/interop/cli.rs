//! Our own command line as one of the clients: the same steps, each by its verb.
//!
//! # Invariants
//! - Every step is one or two runs of the program, as a script would have them: JSON out, exit code in.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::{StreamExt as _, stream};
use mesh_proto::Version;
use mesh_tests::{
    parts::sdk::{Cell, STEPS, Script, Step},
    process::{self, daca},
};
use serde_json::Value;

/// What it speaks.
pub(crate) const VERSIONS: &[Version] = &[Version::V1_0, Version::V0_3];

/// How many runs of the program at once: each is a process on a machine with two cores.
const AT_ONCE: usize = 4;

/// Takes the steps of all cells.
pub(crate) async fn run(cells: &[Cell], script: &Script) -> Result<Vec<Vec<Step>>> {
    let cells = cells.iter().enumerate();
    let taken = stream::iter(cells.map(|(number, cell)| take(number, cell, script)));
    Ok(taken.buffered(AT_ONCE).collect().await)
}

async fn take(number: usize, cell: &Cell, script: &Script) -> Vec<Step> {
    let mut scenario = Scenario {
        cell,
        script,
        task: Value::Null,
    };
    let mut steps = Vec::new();
    for name in STEPS {
        let outcome = match cell.without.get(name) {
            Some(reason) => Ok(format!("left out: {reason}")),
            None => Box::pin(scenario.step(name)).await,
        };
        steps.push(Step {
            cell: number,
            step: name.to_owned(),
            ok: outcome.is_ok(),
            detail: outcome.unwrap_or_else(|error| format!("{error:#}")),
        });
    }
    steps
}

struct Scenario<'a> {
    cell: &'a Cell,
    script: &'a Script,
    /// The task that the question made.
    task: Value,
}

impl Scenario<'_> {
    async fn step(&mut self, name: &str) -> Result<String> {
        let url = self.cell.url.as_str();
        match name {
            "card" => {
                let card = self.json(&["card", url], 0).await?;
                Ok(text(&card["name"]))
            }
            "send" => self.send().await,
            "stream" => self.stream().await,
            "get" => {
                let id = text(&self.task["id"]);
                let task = self.json(&["tasks", "get", url, &id], 0).await?;
                ensure!(task["id"] == self.task["id"], "{task}");
                ensure!(said(&task).contains(self.script.question.1), "{task}");
                Ok(id)
            }
            "list" => self.list().await,
            "cancel" => {
                let url = self.cell.slow_url.as_deref().unwrap_or(url);
                let task = self.at_once(url, self.script.slow).await?;
                let id = text(&task["id"]);
                let done = self.json(&["tasks", "cancel", url, &id], 0).await?;
                state(&done, "CANCELED")
            }
            "subscribe" => self.subscribe().await,
            "multi-turn" => self.multi_turn().await,
            "parts" => Ok("left out: the command line sends text alone".to_owned()),
            "fail" => {
                let url = self.cell.fail_url.as_deref().unwrap_or(url);
                let answer = self.json(&["send", url, self.script.fail], 1).await?;
                state(&answer["task"], "FAILED")
            }
            _ => {
                let (code, said) = self.run(&["tasks", "get", url, "no-such-task"]).await?;
                ensure!(
                    code == 3 && said.contains("TASK_NOT_FOUND"),
                    "{code}: {said}"
                );
                Ok(said)
            }
        }
    }

    async fn send(&mut self) -> Result<String> {
        let (question, expected) = self.script.question;
        let answer = self.json(&["send", &self.cell.url, question], 0).await?;
        self.task = answer["task"].clone();
        state(&self.task, "COMPLETED")?;
        ensure!(said(&self.task).contains(expected), "{answer}");
        Ok(said(&self.task))
    }

    async fn stream(&self) -> Result<String> {
        let (question, expected) = self.script.question;
        let events = self.events(&["stream", &self.cell.url, question]).await?;
        let words: Vec<String> = events.iter().map(word).collect();
        let at = |wanted: &str| words.iter().position(|word| word == wanted);
        let order = [at("WORKING"), at("artifact"), at("COMPLETED")];
        ensure!(
            order.iter().all(Option::is_some) && order.is_sorted(),
            "{words:?}"
        );
        ensure!(order[2] == Some(words.len() - 1), "{words:?}");
        let artifacts = events
            .iter()
            .map(|event| &event["artifactUpdate"]["artifact"]);
        let heard: String = artifacts.map(parts).collect();
        ensure!(heard.contains(expected), "{heard}");
        Ok(words.join(" "))
    }

    async fn list(&self) -> Result<String> {
        if self.cell.version == Version::V0_3 {
            return Ok("left out: 0.3 has no ListTasks".to_owned());
        }
        let context = text(&self.task["contextId"]);
        let verb = ["tasks", "list", &self.cell.url, "--context", &context];
        let page = self.json(&verb, 0).await?;
        let tasks = page["tasks"].as_array().context("no tasks")?;
        let found = tasks.iter().any(|task| task["id"] == self.task["id"]);
        ensure!(found, "{page}");
        Ok(format!("{} in the context", tasks.len()))
    }

    async fn subscribe(&self) -> Result<String> {
        let url = self.cell.brief_url.as_deref().unwrap_or(&self.cell.url);
        let task = self.at_once(url, self.script.brief).await?;
        let id = text(&task["id"]);
        let events = self.events(&["tasks", "subscribe", url, &id]).await?;
        let words: Vec<String> = events.iter().map(word).collect();
        let promised = self.cell.snapshot && self.cell.version == Version::V1_0;
        let first = events.first().context("no event")?;
        ensure!(!promised || first.get("task").is_some(), "{words:?}");
        let last = words.last().is_some_and(|word| word == "COMPLETED");
        ensure!(last, "{words:?}");
        Ok(words.join(" "))
    }

    async fn multi_turn(&self) -> Result<String> {
        let (ask, answer, answered) = self.script.ask;
        let url = self.cell.url.as_str();
        let asked = self.json(&["send", url, ask], 0).await?["task"].clone();
        state(&asked, "INPUT_REQUIRED")?;
        let (id, context) = (text(&asked["id"]), text(&asked["contextId"]));
        let verb = ["send", url, answer, "--task", &id, "--context", &context];
        let done = self.json(&verb, 0).await?["task"].clone();
        ensure!(done["id"] == asked["id"], "{done}");
        state(&done, "COMPLETED")?;
        ensure!(said(&done).contains(answered), "{done}");
        Ok(said(&done))
    }

    /// Starts a task and comes back while it is not at its end.
    async fn at_once(&self, url: &str, words: &str) -> Result<Value> {
        let verb = ["send", url, words, "--return-immediately"];
        let task = self.json(&verb, 0).await?["task"].clone();
        let now = text(&task["status"]["state"]);
        ensure!(
            now.ends_with("SUBMITTED") || now.ends_with("WORKING"),
            "already {now}"
        );
        Ok(task)
    }

    /// What a verb prints as its one JSON.
    async fn json(&self, verb: &[&str], expected: i32) -> Result<Value> {
        let (code, said) = self.run(verb).await?;
        ensure!(code == expected, "{code}: {said}");
        serde_json::from_str(&said).with_context(|| said.clone())
    }

    /// What a verb prints as JSON lines.
    async fn events(&self, verb: &[&str]) -> Result<Vec<Value>> {
        let (code, said) = self.run(verb).await?;
        ensure!(code == 0, "{code}: {said}");
        let lines = said.lines();
        let parsed = lines.map(|line| serde_json::from_str(line).with_context(|| line.to_owned()));
        parsed.collect()
    }

    async fn run(&self, verb: &[&str]) -> Result<(i32, String)> {
        let mut command = daca(Path::new(env!("CARGO_BIN_EXE_daca-under-test")));
        command.args(verb).args(["--output", "json"]);
        if verb.first() != Some(&"card") {
            command.args(["--binding", self.cell.binding.label()]);
            command.args(["--a2a-version", self.cell.version.as_str()]);
        }
        let output = process::run(command).await?;
        let Some(code) = output.status.code() else {
            bail!("killed: {}", output.status);
        };
        let printed = String::from_utf8(output.stdout)?;
        let errors = String::from_utf8_lossy(&output.stderr);
        // What a task that failed looks like is on stdout; what went wrong with the call is not.
        let said = if printed.is_empty() {
            errors.into_owned()
        } else {
            printed
        };
        Ok((code, said))
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn state(task: &Value, wanted: &str) -> Result<String> {
    let state = text(&task["status"]["state"]);
    ensure!(state == format!("TASK_STATE_{wanted}"), "{task}");
    Ok(state)
}

fn parts(artifact: &Value) -> String {
    let parts = artifact["parts"].as_array().into_iter().flatten();
    parts.map(|part| text(&part["text"])).collect()
}

fn said(task: &Value) -> String {
    let artifacts = task["artifacts"].as_array().into_iter().flatten();
    artifacts.map(parts).collect::<Vec<_>>().join(" ")
}

/// One word for an event.
fn word(event: &Value) -> String {
    if event.get("artifactUpdate").is_some() {
        return "artifact".to_owned();
    }
    let task = event.get("task").or_else(|| event.get("statusUpdate"));
    let state = task.map(|one| text(&one["status"]["state"]));
    state.map_or_else(
        || "message".to_owned(),
        |state| state.trim_start_matches("TASK_STATE_").to_owned(),
    )
}
