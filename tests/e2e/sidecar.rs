//! What an agent has of the Dapr sidecar beside it: bindings as tools and as what begins tasks,
//! secrets, settings.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use mesh_proto::{
    Binding,
    a2a::{Part, SendMessageRequest, TaskState, part::Content},
    json,
};
use mesh_tests::{
    caller::words::{question, said, state, text},
    eventually::eventually,
    mesh::Plan,
    parts::{
        broker::{Broker, free_port},
        daprd::{Component, Daprd},
    },
    process,
    recorder::{Answer, Recorder},
    wire::Ask,
};
use tempfile::TempDir;

use crate::stage::program;

/// An agents file.
struct Agents {
    path: PathBuf,
    _folder: TempDir,
}

fn agents(text: &str) -> Result<Agents> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("agents.yaml");
    std::fs::write(&path, text)?;
    Ok(Agents {
        path,
        _folder: folder,
    })
}

/// A worker's plan, with a sidecar beside it and tasks in memory.
fn beside(sidecar: &Daprd, agents: &Agents, name: &str) -> Plan {
    Plan::of(program(), 1)
        .agents(&agents.path, &[name])
        .sidecars(vec![sidecar.endpoint()])
        .worker("--state")
        .worker("memory")
}

fn with_data(text: &str, data: &serde_json::Value) -> SendMessageRequest {
    let mut request = question(text);
    let part = json::value(data).map(|data| Part {
        content: Some(Content::Data(data)),
        ..Part::default()
    });
    if let Some(message) = &mut request.message {
        message.parts.extend(part);
    }
    request
}

const SCRIBE: &str = "
agents:
  - name: scribe
    description: sends notes
    model: rules
    outputs:
      - {binding: notes, description: Sends a note to the team, metadata: {X-Team: red}}
";

#[tokio::test]
async fn an_agent_calls_an_output_binding_as_a_tool_and_the_service_behind_it_sees_the_calls_key()
-> Result<()> {
    let service = Recorder::start().await?;
    service.answer(Answer::whole("/notes", "text/plain", "kept as note 7"));
    let url = format!("{}/notes", service.url());
    let binding = Component::new("notes", "bindings.http", &[("url", &url)]);
    let Some(sidecar) = Daprd::start(&[binding]).await? else {
        return Ok(());
    };
    let mesh = beside(&sidecar, &agents(SCRIBE)?, "scribe").start().await?;
    let ask = with_data(
        "send a note to the team",
        &serde_json::json!({"data": "the roof leaks"}),
    );
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let scribe = mesh.router().caller("scribe", Binding::JsonRpc);
    let scribe = scribe.with("traceparent", &format!("00-{trace}-00f067aa0ba902b7-01"));
    let task = scribe.send(ask.clone()).await??;
    ensure!(state(&task) == TaskState::Completed, "{task:?}");
    ensure!(said(&task).contains("kept as note 7"), "{}", said(&task));
    let seen = service.last("/notes")?;
    ensure!(seen.body == "the roof leaks", "{seen:?}");
    let header = |name| seen.headers.get(name).and_then(|v| v.to_str().ok());
    let key = header("idempotency-key").unwrap_or_default();
    ensure!(key.starts_with(&task.id), "{seen:?}");
    ensure!(header("x-team") == Some("red"), "{seen:?}");
    ensure!(
        header("traceparent").is_some_and(|sent| sent.contains(trace)),
        "{seen:?}"
    );

    // What the service refuses, the model is told.
    let refusal = Answer::whole("/notes", "text/plain", "no more paper");
    service.answer(Answer {
        status: 507,
        ..refusal
    });
    let task = scribe.send(with_data(
        "send a note to the team",
        &serde_json::json!({"data": "x"}),
    ));
    let task = task.await??;
    ensure!(format!("{task:?}").contains("507"), "{task:?}");
    Ok(())
}

#[tokio::test]
async fn a_worker_whose_agents_want_a_binding_starts_only_beside_a_sidecar_that_has_it()
-> Result<()> {
    let file = agents(SCRIBE)?;
    let refusal = async |endpoint: Option<String>| {
        let mut command = process::daca(program());
        command.args(["worker", "--state", "memory", "--agents"]);
        command.arg(&file.path).env_remove("DAPR_GRPC_PORT");
        match endpoint {
            Some(endpoint) => command.env("DAPR_GRPC_ENDPOINT", endpoint),
            None => command.env_remove("DAPR_GRPC_ENDPOINT"),
        };
        let output = process::run(command).await?;
        ensure!(!output.status.success(), "{output:?}");
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let said = refusal(None).await?;
    ensure!(
        said.contains("the output binding \"notes\"") && said.contains("set DAPR_GRPC_PORT"),
        "{said}"
    );
    let Some(sidecar) = Daprd::start(&[]).await? else {
        return Ok(());
    };
    let said = refusal(Some(sidecar.endpoint())).await?;
    ensure!(said.contains("no component \"notes\""), "{said}");
    Ok(())
}

const WATCH: &str = "
agents:
  - name: watch
    description: looks after things
    model: echo
    inputs:
      - {binding: tick, text: Look around.}
";

#[tokio::test]
async fn an_input_binding_begins_tasks_which_are_listed_and_nobody_else_does_in_its_place()
-> Result<()> {
    let port = free_port()?;
    let settings = [
        ("schedule", "@every 1s"),
        ("direction", "input"),
        ("route", "/-/binding/tick"),
    ];
    let tick = Component::new("tick", "bindings.cron", &settings);
    let token = "a token of no worth";
    let Some(sidecar) = Daprd::start_for(&[tick], port, token).await? else {
        return Ok(());
    };
    let at = SocketAddr::from(([127, 0, 0, 1], port));
    let file = agents(WATCH)?;
    let plan = beside(&sidecar, &file, "watch").environment("APP_API_TOKEN", token);
    let worker = plan.start_worker_at(0, at).await?;
    let ask = Ask::post("/-/binding/tick", "application/json", "{}");
    ensure!(worker.exchange(&ask).await?.status == 403);
    let caller = worker.caller("watch", Binding::JsonRpc);
    let tasks = eventually("two ticks have begun a task each", async || {
        let tasks = caller.list_all().await?;
        Ok((tasks.len() > 1).then_some(tasks))
    });
    for task in tasks.await? {
        let text = text(&task.history.first().context("a message")?.parts);
        ensure!(text == "Look around.", "{task:?}");
    }
    Ok(())
}

fn with_key(key: &str, base: &str) -> Result<Agents> {
    agents(&format!(
        "openai: {{base_url: '{base}/v1', key: '{key}'}}\n\
         agents: [{{name: thinker, description: thinks, model: openai}}]"
    ))
}

/// Where a language model answers.
const COMPLETIONS: &str = "/v1/chat/completions";

/// A language model that has one thought.
async fn thinking() -> Result<Recorder> {
    let model = Recorder::start().await?;
    let chunk = serde_json::json!({
        "id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": [{"index": 0, "delta": {"content": "thought"}, "finish_reason": "stop"}],
    });
    let stream = format!("data: {chunk}\n\ndata: [DONE]\n\n");
    model.answer(Answer::whole(COMPLETIONS, "text/event-stream", stream));
    Ok(model)
}

#[tokio::test]
async fn a_secret_of_the_sidecars_store_reaches_the_model_and_no_log_and_one_that_is_not_there_is_refused()
-> Result<()> {
    let model = thinking().await?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("secrets.json");
    let secret = "f3a9-of-no-worth";
    std::fs::write(&file, serde_json::json!({"model-key": secret}).to_string())?;
    let file = file.to_str().context("a path")?;
    let settings = [("secretsFile", file)];
    let vault = Component::new("vault", "secretstores.local.file", &settings);
    let Some(sidecar) = Daprd::start(&[vault]).await? else {
        return Ok(());
    };
    let named = with_key("${secret:vault/model-key}", &model.url())?;
    let worker = beside(&sidecar, &named, "thinker").start_worker(0).await?;
    let caller = worker.caller("thinker", Binding::JsonRpc);
    let task = caller.send(question("think")).await??;
    ensure!(said(&task) == "thought", "{task:?}");
    let sent = model.last(COMPLETIONS)?;
    let shown = sent.headers.get("authorization");
    ensure!(
        shown.is_some_and(|shown| shown.as_bytes() == format!("Bearer {secret}").as_bytes()),
        "{sent:?}"
    );
    let log = worker.process.log();
    ensure!(!log.iter().any(|line| line.contains(secret)), "{log:?}");

    for (key, complaint) in [
        (
            "${secret:vault/other}",
            "the secret ${secret:vault/other} is not to be had",
        ),
        ("${secret:nowhere/model-key}", "nowhere"),
    ] {
        let file = with_key(key, &model.url())?;
        let mut command = process::daca(program());
        command
            .args(["worker", "--state", "memory", "--agents"])
            .arg(&file.path);
        command.env("DAPR_GRPC_ENDPOINT", sidecar.endpoint());
        let output = process::run(command).await?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            !output.status.success() && said.contains(complaint),
            "{said}"
        );
    }
    Ok(())
}

/// An agent whose instructions are partly elsewhere.
fn told(place: &str, model: &Recorder) -> Result<Agents> {
    agents(&format!(
        "openai: {{base_url: '{}/v1'}}\n\
         agents: [{{name: thinker, description: thinks, model: openai, \
         instructions: 'Be ${{config:{place}}}.'}}]",
        model.url()
    ))
}

#[tokio::test]
async fn instructions_follow_the_sidecars_configuration_while_the_agent_runs() -> Result<()> {
    let model = thinking().await?;
    let Some(redis) = Broker::redis().await? else {
        return Ok(());
    };
    // Else it tells nobody of changes.
    redis
        .command(&["CONFIG", "SET", "notify-keyspace-events", "KEA"])
        .await?;
    redis.command(&["SET", "tone", "brief||1"]).await?;
    let address = redis.address();
    let tones = Component::new(
        "tones",
        "configuration.redis",
        &[("redisHost", &address), ("redisPassword", "")],
    );
    let Some(sidecar) = Daprd::start(&[tones]).await? else {
        return Ok(());
    };
    let file = told("tones/tone", &model)?;
    let worker = beside(&sidecar, &file, "thinker").start_worker(0).await?;
    let caller = worker.caller("thinker", Binding::JsonRpc);
    let instructions = async || {
        caller.send(question("think")).await??;
        let sent: serde_json::Value = serde_json::from_slice(&model.last(COMPLETIONS)?.body)?;
        let first = &sent["messages"][0]["content"];
        Ok::<_, anyhow::Error>(first.as_str().context("a system message")?.to_owned())
    };
    ensure!(instructions().await? == "Be brief.");
    redis.command(&["SET", "tone", "polite||2"]).await?;
    eventually("the agent is told anew", async || {
        Ok((instructions().await? == "Be polite.").then_some(()))
    })
    .await?;

    for (place, complaint) in [
        (
            "tones/none",
            "the setting ${config:tones/none} is not to be had: the store has no such key",
        ),
        (
            "nowhere/tone",
            "the setting ${config:nowhere/tone} is not to be had",
        ),
        ("tones", "it must be config:STORE/KEY"),
    ] {
        let file = told(place, &model)?;
        let mut command = process::daca(program());
        command
            .args(["worker", "--state", "memory", "--agents"])
            .arg(&file.path);
        command.env("DAPR_GRPC_ENDPOINT", sidecar.endpoint());
        let output = process::run(command).await?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            !output.status.success() && said.contains(complaint),
            "{place}: {said}"
        );
    }
    Ok(())
}
