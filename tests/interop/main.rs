//! The official SDKs as clients of the mesh, in every binding that they support, against our agents
//! and against an agent on the Python SDK; what they saw is printed as a table.
//!
//! # Invariants
//! - Every step is the SDK's own doing; nothing here speaks A2A.
//! - A known limit of an SDK is named in its client, with the reason; there is no list of failures
//!   that are let pass.

mod cards;
mod openai;
mod resolve;

use std::{fmt::Write as _, io::Write as _, path::Path};

use anyhow::{Context as _, Result, ensure};
use mesh_proto::{Binding, Fault, a2a::TaskState};
use mesh_tests::{
    caller::{
        Caller,
        words::{at_once, follow_up, question, said, state, word},
    },
    mesh::Plan,
    model::Model,
    parts::{
        Part,
        agent::PythonAgent,
        repository,
        sdk::{SDKS, STEPS, Script, run},
    },
    process::{self, say},
};
use tokio::process::Command;

const BINDINGS: [Binding; 3] = [Binding::JsonRpc, Binding::Rest, Binding::Grpc];

/// What `agent.py` promises at its top.
const STEWARD: Script = Script {
    question: ("what is 17*23+4", "395"),
    brief: "wait 1 second",
    brief_agent: "",
    slow: "wait 60 seconds",
    slow_agent: "",
    ask: ("book a table", "4 people", "4 people"),
};

/// Our `assistant` with its tools, and two agents of the synthetic model that just take their time.
const OURS: Script = Script {
    question: ("what is 17*23+4", "395"),
    brief: "take your time",
    brief_agent: "brief",
    slow: "take your time",
    slow_agent: "slow",
    ask: ("what time is it", "Tokyo", "Tokyo"),
};

/// The agents of [`OURS`].
const AGENTS: &str = "
agents:
  - name: assistant
    description: Answers with tools.
    model: rules
    tools: [builtin]
  - name: brief
    description: Takes two seconds.
    model: work:wait_ms=250,pieces=8
  - name: slow
    description: Takes a minute.
    model: work:wait_ms=1000,pieces=60
";

fn plan(workers: usize) -> Plan {
    Plan::of(Path::new(env!("CARGO_BIN_EXE_daca-under-test")), workers)
}

#[tokio::test]
async fn the_sdks_talk_to_a_python_agent_without_us() -> Result<()> {
    let Some(python) = Part::Python.find()? else {
        return Ok(());
    };
    let agent = PythonAgent::start(&python, "steward").await?;
    all_green("directly", &agent.url(), &STEWARD).await
}

#[tokio::test]
async fn the_sdks_talk_to_a_python_agent_through_the_router() -> Result<()> {
    let Some(python) = Part::Python.find()? else {
        return Ok(());
    };
    let agent = PythonAgent::start(&python, "steward").await?;
    let mesh = plan(0).other("steward", &agent.url()).start().await?;
    all_green("behind the router", &mesh.router().url("steward"), &STEWARD).await
}

#[tokio::test]
async fn the_sdks_talk_to_our_workers_through_the_router() -> Result<()> {
    let mut file = tempfile::Builder::new().suffix(".yaml").tempfile()?;
    file.write_all(AGENTS.as_bytes())?;
    let agents = ["assistant", "brief", "slow"];
    let mesh = plan(3).agents(file.path(), &agents).start().await?;
    all_green("with our workers", &mesh.router().url("assistant"), &OURS).await
}

/// The tests' own client is judged by somebody else's agent before it judges ours.
#[tokio::test]
async fn the_tests_own_caller_agrees_with_a_python_agent() -> Result<()> {
    let Some(python) = Part::Python.find()? else {
        return Ok(());
    };
    let agent = PythonAgent::start(&python, "steward").await?;
    for caller in [
        Caller::new(agent.http, "a2a/jsonrpc", Binding::JsonRpc),
        Caller::new(agent.http, "a2a/rest", Binding::Rest),
        Caller::new(agent.grpc, "", Binding::Grpc),
    ] {
        let binding = caller.binding();
        let task = caller.send(question(STEWARD.question.0)).await??;
        ensure!(said(&task) == STEWARD.question.1, "{binding}: {task:?}");
        let words = caller
            .stream(question(STEWARD.question.0))
            .await??
            .words()
            .await?;
        ensure!(
            words == ["task:submitted", "working", "artifact", "completed"],
            "{words:?}"
        );
        let open = caller.send(at_once(question(STEWARD.slow))).await??;
        let mut events = caller.subscribe(&open.id).await??;
        let first = events.event().await?.as_ref().map(word);
        ensure!(
            first.is_some_and(|first| first.starts_with("task:")),
            "{binding}"
        );
        let canceled = caller.cancel(&open.id).await??;
        ensure!(
            state(&canceled) == TaskState::Canceled,
            "{binding}: {canceled:?}"
        );
        let words = events.words().await?;
        ensure!(
            words.last().is_some_and(|last| last == "canceled"),
            "{binding}: {words:?}"
        );
        let asked = caller.send(question(STEWARD.ask.0)).await??;
        let done = caller.send(follow_up(STEWARD.ask.1, &asked)).await??;
        ensure!(
            done.id == asked.id && said(&done).contains(STEWARD.ask.2),
            "{binding}: {done:?}"
        );
        let listed: Vec<String> = caller
            .list_all()
            .await?
            .into_iter()
            .map(|one| one.id)
            .collect();
        ensure!(
            listed.contains(&task.id) && listed.contains(&done.id),
            "{binding}: {listed:?}"
        );
        let refusal = caller.get("no-such-task").await?.err().context("refused")?;
        refusal.expect(Fault::TaskNotFound)?;
    }
    Ok(())
}

/// Tries each SDK in each binding and prints the table before it judges.
async fn all_green(how: &str, url: &str, script: &Script) -> Result<()> {
    let mut table = format!("\nSDK clients {how}\n{:<16} {:<8}", "client", "binding");
    for step in STEPS {
        write!(table, " {step:<12}")?;
    }
    let mut wrong = Vec::new();
    for sdk in SDKS {
        for binding in BINDINGS {
            let Some(steps) = run(sdk, url, binding, script).await? else {
                continue;
            };
            write!(table, "\n{:<16} {:<8}", sdk.name(), binding.label())?;
            for step in steps {
                write!(table, " {:<12}", if step.ok { "ok" } else { "FAILED" })?;
                if !step.ok {
                    wrong.push(format!(
                        "{} {binding} {}: {}",
                        sdk.name(),
                        step.step,
                        step.detail
                    ));
                }
            }
        }
    }
    say(&table);
    ensure!(wrong.is_empty(), "{how}:\n{}", wrong.join("\n"));
    Ok(())
}

/// The scripted model of the tests is judged by OpenAI's own client before our worker meets it.
#[tokio::test]
async fn openais_own_client_understands_the_scripted_model() -> Result<()> {
    let Some(python) = Part::Python.find()? else {
        return Ok(());
    };
    let model = Model::start().await?;
    model.release("key");
    for (text, expected) in [
        ("hello", "echo: hello"),
        ("hold key", "holding released key"),
        ("wait 1 second", "tick 0 tick 1 tick 2 tick 3 "),
    ] {
        let mut command = Command::new(&python);
        command
            .arg(repository().join("tests/interop/python/chat.py"))
            .args(["--base", &model.base_url(), text]);
        let output = process::run(command).await?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(
            said == format!("{expected}\n{expected}\n"),
            "{said}: {output:?}"
        );
    }
    Ok(())
}

/// The Python SDK's own descriptors against those that our generated code was made from.
#[tokio::test]
async fn our_messages_are_those_of_the_python_sdk() -> Result<()> {
    let Some(python) = Part::Python.find()? else {
        return Ok(());
    };
    let script = repository().join("proto/tests/python_descriptors.py");
    let mut command = Command::new(python);
    command
        .arg(&script)
        .arg(repository().join("proto/src/gen/descriptor.bin"));
    let output = process::run(command).await?;
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}\n{errors}");
    Ok(())
}
