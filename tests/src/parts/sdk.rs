//! The official SDKs as clients: programs with one command line and one form of output.

use std::{collections::BTreeMap, process::Output};

use anyhow::{Context as _, Result, ensure};
use mesh_proto::{Binding, Version};
use serde::{Deserialize, Serialize, Serializer};
use tokio::process::Command;

use super::{Part, folder, node, repository};
use crate::process;

/// The SDKs.
pub const SDKS: [Part; 5] = [
    Part::Python,
    Part::Js,
    Part::Go,
    Part::RustClient,
    Part::Python03,
];

/// The steps, in the order in which every client takes them.
pub const STEPS: [&str; 11] = [
    "card",
    "send",
    "stream",
    "get",
    "list",
    "cancel",
    "subscribe",
    "multi-turn",
    "parts",
    "fail",
    "unknown-task",
];

/// The versions that an SDK's client speaks. The Rust SDK knows no 0.3, and the Python SDK of 0.3
/// nothing else.
#[must_use]
pub const fn versions(sdk: Part) -> &'static [Version] {
    match sdk {
        Part::RustClient => &[Version::V1_0],
        Part::Python03 => &[Version::V0_3],
        _ => &[Version::V1_0, Version::V0_3],
    }
}

/// One client of one agent: which, and how it is spoken to.
#[derive(Clone, Debug, Serialize)]
pub struct Cell {
    /// The agent's base URL.
    pub url: String,
    /// The agent of the brief task, where it is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub brief_url: Option<String>,
    /// The agent of the slow task, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slow_url: Option<String>,
    /// The agent of the task that fails, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fail_url: Option<String>,
    /// The binding to speak.
    #[serde(serialize_with = "label")]
    pub binding: Binding,
    /// The version to speak.
    #[serde(serialize_with = "number")]
    pub version: Version,
    /// Whether its agent begins a subscription with the task, as 1.0 promises and 0.3 does not.
    pub snapshot: bool,
    /// Steps to leave out, each with the reason.
    pub without: BTreeMap<&'static str, &'static str>,
}

impl Cell {
    /// An agent that does all that the steps ask for.
    #[must_use]
    pub fn new(url: &str, binding: Binding, version: Version) -> Self {
        Self {
            url: url.to_owned(),
            brief_url: None,
            slow_url: None,
            fail_url: None,
            binding,
            version,
            snapshot: true,
            without: BTreeMap::new(),
        }
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde asks for"
)]
fn label<S: Serializer>(binding: &Binding, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(binding.label())
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde asks for"
)]
fn number<S: Serializer>(version: &Version, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(version.as_str())
}

/// One line of a client.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Which cell, by its place in the command line; a client of one alone need not say.
    #[serde(default)]
    pub cell: usize,
    /// Its name, one of [`STEPS`].
    pub step: String,
    /// Whether it went as the specification says.
    pub ok: bool,
    /// What was seen, or what went wrong.
    pub detail: String,
}

impl Step {
    /// The reason for which the step was not taken, if it was not.
    #[must_use]
    pub fn left_out(&self) -> Option<&str> {
        self.detail.strip_prefix("left out: ")
    }
}

/// What an agent is asked in the steps.
#[derive(Clone, Copy, Debug)]
pub struct Script {
    /// A question and part of its answer.
    pub question: (&'static str, &'static str),
    /// Makes a task that runs a moment and completes.
    pub brief: &'static str,
    /// Makes a task that runs until it is cancelled.
    pub slow: &'static str,
    /// A request that lacks something, what it lacks, and part of the answer to both.
    pub ask: (&'static str, &'static str, &'static str),
    /// Asks for the message's other parts back; empty for an agent that does not do that.
    pub parts: &'static str,
    /// Makes a task that fails.
    pub fail: &'static str,
}

/// Runs one SDK's client, all cells at once, and gives the steps of each. `None` where the SDK is not
/// here.
///
/// # Errors
/// When the client does not run or does not print its steps, or the SDK is required but missing.
pub async fn run(sdk: Part, cells: &[Cell], script: &Script) -> Result<Option<Vec<Vec<Step>>>> {
    let Some(file) = sdk.find()? else {
        return Ok(None);
    };
    let interop = repository().join("tests/interop");
    let mut command = match sdk {
        Part::Python => {
            let mut command = Command::new(file);
            command.arg(interop.join("python/client.py"));
            command
        }
        Part::Python03 => {
            let mut command = Command::new(file);
            command.arg(interop.join("python03/client.py"));
            command
        }
        Part::Js => node(&folder().join("js/client.mjs")),
        _ => Command::new(file),
    };
    for cell in cells {
        command.arg("--cell").arg(serde_json::to_string(cell)?);
    }
    let (ask, answer, answered) = script.ask;
    for (name, value) in [
        ("--question", script.question.0),
        ("--expect", script.question.1),
        ("--brief", script.brief),
        ("--slow", script.slow),
        ("--ask", ask),
        ("--answer", answer),
        ("--answered", answered),
        ("--parts", script.parts),
        ("--fail", script.fail),
    ] {
        command.args([name, value]);
    }
    let output = process::run(command).await?;
    Ok(Some(
        steps(&output, cells.len()).with_context(|| sdk.name())?,
    ))
}

fn steps(output: &Output, cells: usize) -> Result<Vec<Vec<Step>>> {
    let text = String::from_utf8_lossy(&output.stdout);
    let complaints = String::from_utf8_lossy(&output.stderr);
    let mut all: Vec<Vec<Step>> = vec![Vec::new(); cells];
    for line in text.lines() {
        let step: Step = serde_json::from_str(line)
            .with_context(|| format!("not a step: {line}; its errors: {complaints}"))?;
        let cell = all.get_mut(step.cell).context("a step of no cell")?;
        cell.push(step);
    }
    for steps in &all {
        let names: Vec<&str> = steps.iter().map(|step| step.step.as_str()).collect();
        ensure!(names == STEPS, "steps {names:?}; its errors: {complaints}");
    }
    let failed = all.iter().flatten().any(|step| !step.ok);
    ensure!(
        failed != output.status.success(),
        "{}, but its steps say else",
        output.status
    );
    Ok(all)
}
