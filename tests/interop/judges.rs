//! What the tests themselves rest on is judged by somebody else first: our caller by an agent on the
//! Python SDK, our scripted model by OpenAI's own client, our messages by the SDK's descriptors.

use anyhow::{Context as _, Result, ensure};
use mesh_proto::{Binding, Fault, a2a::TaskState};
use mesh_tests::{
    caller::{
        Caller,
        words::{at_once, follow_up, question, said, state, word},
    },
    model::Model,
    parts::{Part, agent::ForeignAgent, repository},
    process,
};
use tokio::process::Command;

use crate::agents::STEWARD;

/// The tests' own client is judged by somebody else's agent before it judges ours.
#[tokio::test]
async fn the_tests_own_caller_agrees_with_a_python_agent() -> Result<()> {
    let Some(python) = Part::Python.find()? else {
        return Ok(());
    };
    let agent = ForeignAgent::start(&python, "steward").await?;
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
    let generated = repository().join("proto/src/gen");
    for (file, package) in [
        ("descriptor.bin", "lf.a2a.v1"),
        ("descriptor_v03.bin", "a2a.v1"),
    ] {
        let mut command = Command::new(&python);
        command
            .arg(repository().join("proto/tests/python_descriptors.py"))
            .arg(generated.join(file))
            .arg(package);
        let output = process::run(command).await?;
        let said = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{package}: {said}\n{errors}");
    }
    Ok(())
}
