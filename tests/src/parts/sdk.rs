//! The official SDKs as clients: three programs with one command line and one form of output.

use std::process::Output;

use anyhow::{Context as _, Result, ensure};
use mesh_proto::Binding;
use serde::Deserialize;
use tokio::process::Command;

use super::{Part, folder, node, repository};
use crate::process;

/// The SDKs.
pub const SDKS: [Part; 3] = [Part::Python, Part::Js, Part::Go];

/// The steps, in the order in which every client takes them.
pub const STEPS: [&str; 9] = [
    "card",
    "send",
    "stream",
    "get",
    "list",
    "cancel",
    "subscribe",
    "multi-turn",
    "unknown-task",
];

/// One line of a client.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Its name, one of [`STEPS`].
    pub step: String,
    /// Whether it went as the specification says.
    pub ok: bool,
    /// What was seen, or what went wrong.
    pub detail: String,
}

/// What an agent is asked in the steps.
#[derive(Clone, Copy, Debug)]
pub struct Script {
    /// A question and part of its answer.
    pub question: (&'static str, &'static str),
    /// Makes a task that runs a moment and completes.
    pub brief: &'static str,
    /// The agent of that task beside the main one, by its name; the main one itself if empty.
    pub brief_agent: &'static str,
    /// Makes a task that runs until it is cancelled.
    pub slow: &'static str,
    /// The agent of that task, likewise.
    pub slow_agent: &'static str,
    /// A request that lacks something, what it lacks, and part of the answer to both.
    pub ask: (&'static str, &'static str, &'static str),
}

/// Runs one SDK's client against the agent at `url`. `None` where the SDK is not here.
///
/// # Errors
/// When the client does not run or does not print its steps, or the SDK is required but missing.
pub async fn run(
    sdk: Part,
    url: &str,
    binding: Binding,
    script: &Script,
) -> Result<Option<Vec<Step>>> {
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
        Part::Js => node(&folder().join("js/client.mjs")),
        Part::Go | Part::Grpcurl | Part::Aimock | Part::Curl => Command::new(file),
    };
    let (ask, answer, answered) = script.ask;
    let beside = |agent: &str| match url.rsplit_once('/') {
        Some((base, _)) if !agent.is_empty() => format!("{base}/{agent}"),
        _ => url.to_owned(),
    };
    for (name, value) in [
        ("--url", url),
        ("--brief-url", &beside(script.brief_agent)),
        ("--slow-url", &beside(script.slow_agent)),
        ("--binding", binding.label()),
        ("--question", script.question.0),
        ("--expect", script.question.1),
        ("--brief", script.brief),
        ("--slow", script.slow),
        ("--ask", ask),
        ("--answer", answer),
        ("--answered", answered),
    ] {
        command.args([name, value]);
    }
    Ok(Some(
        steps(&process::run(command).await?).with_context(|| sdk.name())?,
    ))
}

fn steps(output: &Output) -> Result<Vec<Step>> {
    let text = String::from_utf8_lossy(&output.stdout);
    let complaints = String::from_utf8_lossy(&output.stderr);
    let steps: Vec<Step> = text
        .lines()
        .map(|line| serde_json::from_str(line).with_context(|| format!("not a step: {line}")))
        .collect::<Result<_>>()
        .with_context(|| format!("its errors: {complaints}"))?;
    let names: Vec<&str> = steps.iter().map(|step| step.step.as_str()).collect();
    ensure!(names == STEPS, "steps {names:?}; its errors: {complaints}");
    let failed = steps.iter().any(|step| !step.ok);
    ensure!(
        failed != output.status.success(),
        "{}, but its steps say else",
        output.status
    );
    Ok(steps)
}
