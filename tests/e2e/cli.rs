//! The command line, against our agents and against somebody else's.

use anyhow::{Context as _, Result, ensure};
use mesh_proto::Binding;
use mesh_tests::{
    caller::{BINDINGS, words::in_context},
    parts::{Part, agent::ForeignAgent},
    process::{self, run},
};
use serde_json::Value;

use crate::stage::{mesh, program};

/// Runs one verb and gives what it printed, whatever its exit code.
async fn daca(arguments: &[&str]) -> Result<(i32, String)> {
    let mut command = process::daca(program());
    command.args(arguments);
    let output = run(command).await?;
    let code = output.status.code().context("killed")?;
    let said = String::from_utf8(output.stdout)?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(!errors.contains("panicked"), "{arguments:?}: {errors}");
    Ok((
        code,
        format!("{said}{}", if code == 0 { "" } else { &errors }),
    ))
}

#[tokio::test]
async fn send_and_stream_answer_over_each_binding() -> Result<()> {
    let mesh = mesh(2).start().await?;
    let url = mesh.router().url("assistant");
    for binding in BINDINGS {
        let over = ["--binding", binding.label()];
        let (code, said) = daca(&[&["send", &url, "what is 17*23+4"], &over[..]].concat()).await?;
        ensure!(
            code == 0 && said.contains("395"),
            "{binding}: {code}: {said}"
        );
        let ask = ["stream", &url, "what is 17*23+4", "--output", "json"];
        let (code, said) = daca(&[&ask, &over[..]].concat()).await?;
        ensure!(code == 0, "{binding}: {code}: {said}");
        let events: Vec<Value> = said
            .lines()
            .map(|line| serde_json::from_str(line).with_context(|| line.to_owned()))
            .collect::<Result<_>>()?;
        ensure!(
            events
                .iter()
                .any(|event| event.get("artifactUpdate").is_some()),
            "{said}"
        );
        let last = &events.last().context("no event")?["statusUpdate"]["status"]["state"];
        ensure!(last == "TASK_STATE_COMPLETED", "{binding}: {said}");
    }
    Ok(())
}

#[tokio::test]
async fn a_question_with_something_missing_is_taken_up_with_the_task() -> Result<()> {
    let mesh = mesh(2).start().await?;
    let url = mesh.router().url("assistant");
    let (code, said) = daca(&["send", &url, "what time is it", "--output", "json"]).await?;
    let answer: Value = serde_json::from_str(&said).with_context(|| said.clone())?;
    let task = &answer["task"];
    ensure!(
        code == 0 && task["status"]["state"] == "TASK_STATE_INPUT_REQUIRED",
        "{said}"
    );
    let id = task["id"].as_str().context("no id")?;
    let (code, said) = daca(&["send", &url, "Tokyo", "--task", id]).await?;
    ensure!(code == 0 && said.contains("Tokyo"), "{code}: {said}");
    let (code, said) = daca(&["tasks", "get", &url, id, "--output", "json"]).await?;
    let task: Value = serde_json::from_str(&said).with_context(|| said.clone())?;
    ensure!(
        code == 0 && task["status"]["state"] == "TASK_STATE_COMPLETED",
        "{said}"
    );
    let context = task["contextId"].as_str().context("no context")?;
    let (code, said) = daca(&["tasks", "list", &url, "--context", context]).await?;
    ensure!(code == 0 && said.contains(id), "{code}: {said}");
    Ok(())
}

#[tokio::test]
async fn errors_have_their_exit_codes() -> Result<()> {
    let mesh = mesh(1).start().await?;
    let url = mesh.router().url("assistant");
    let (code, said) = daca(&["tasks", "get", &url, "no-such-task"]).await?;
    ensure!(
        code == 3 && said.contains("TASK_NOT_FOUND"),
        "{code}: {said}"
    );
    let (code, said) = daca(&["send", "http://127.0.0.1:9/assistant", "hi"]).await?;
    ensure!(code == 4, "{code}: {said}");
    let (code, said) = daca(&["send", &url]).await?;
    ensure!(code == 2, "{code}: {said}");
    Ok(())
}

#[tokio::test]
async fn route_explain_names_the_worker_that_really_answers() -> Result<()> {
    let mesh = mesh(3).start().await?;
    let base = format!("http://{}", mesh.router().address);
    for number in 0..5 {
        let context = format!("explained-{number}");
        let explain = [
            "route",
            "explain",
            "--router",
            &base,
            "--agent",
            "assistant",
        ];
        let context_flag = ["--context", &context, "--output", "json"];
        let (code, said) = daca(&[&explain[..], &context_flag[..]].concat()).await?;
        ensure!(code == 0, "{code}: {said}");
        let why: Value = serde_json::from_str(&said).with_context(|| said.clone())?;
        ensure!(
            why["reason"]
                .as_str()
                .is_some_and(|reason| !reason.is_empty()),
            "{said}"
        );
        let first = why["candidates"][0]["id"]
            .as_str()
            .context("no candidate")?
            .to_owned();
        let caller = mesh.router().caller("assistant", Binding::JsonRpc);
        let task = caller.send(in_context("1+1", &context)).await??;
        for worker in &mesh.workers {
            let has = worker
                .caller("assistant", Binding::JsonRpc)
                .get(&task.id)
                .await?
                .is_ok();
            let named = first.contains(&worker.address.to_string());
            ensure!(
                has == named,
                "{context}: {first} was named; {} has it: {has}",
                worker.address
            );
        }
        // The task's own id says the same.
        let task_flag = ["--task", &task.id, "--output", "json"];
        let (code, said) = daca(&[&explain[..], &task_flag[..]].concat()).await?;
        let why: Value = serde_json::from_str(&said).with_context(|| said.clone())?;
        ensure!(code == 0 && why["candidates"][0]["id"] == first, "{said}");
    }
    Ok(())
}

#[tokio::test]
async fn the_verbs_work_against_an_agent_that_is_not_ours() -> Result<()> {
    let Some(python) = Part::Python.find()? else {
        return Ok(());
    };
    let agent = ForeignAgent::start(&python, "steward").await?;
    let url = agent.url();
    for binding in BINDINGS {
        let over = ["--binding", binding.label()];
        let (code, said) = daca(&[&["send", &url, "what is 17*23+4"], &over[..]].concat()).await?;
        ensure!(
            code == 0 && said.contains("395"),
            "{binding}: {code}: {said}"
        );
        let (code, said) = daca(&[&["stream", &url, "wait 1 seconds"], &over[..]].concat()).await?;
        ensure!(
            code == 0 && said.contains("tick 3"),
            "{binding}: {code}: {said}"
        );
        let slow = [
            "send",
            &url,
            "wait 60 seconds",
            "--return-immediately",
            "--output",
            "json",
        ];
        let (code, said) = daca(&[&slow[..], &over[..]].concat()).await?;
        ensure!(code == 0, "{binding}: {said}");
        let answer: Value = serde_json::from_str(&said).with_context(|| said.clone())?;
        let id = answer["task"]["id"].as_str().context("no id")?;
        let (code, said) = daca(&[&["tasks", "cancel", &url, id], &over[..]].concat()).await?;
        ensure!(code == 0 || code == 1, "{binding}: {code}: {said}");
        ensure!(said.contains("cancel"), "{binding}: {said}");
    }
    let (code, said) = daca(&["card", &url]).await?;
    ensure!(code == 0 && said.contains("steward"), "{code}: {said}");
    Ok(())
}
