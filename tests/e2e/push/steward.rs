//! Two replicas of an agent on the Python SDK behind two routers: what a client's webhook hears.

use anyhow::{Context as _, Result, ensure};
use mesh_proto::{Binding, a2a};
use mesh_tests::{
    caller::words::{follow_up, question},
    eventually::eventually,
    mesh::Mesh,
    parts::{Part, repository},
    process::Process,
    recorder::{Answer, Recorder},
    wire::Ask,
};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::stage::mesh;

/// A replica that sends notifications; its process and its base URL.
pub(super) async fn replica(python: &std::path::Path, name: &str) -> Result<(Process, String)> {
    let script = repository().join("tests/interop/python/notifying.py");
    let mut command = Command::new(python);
    command.arg(script).arg(name);
    let mut process = Process::start(name, command)?;
    let port = |line: &str| line.strip_prefix("ready http=")?.trim().parse::<u16>().ok();
    let port = process.line(port).await?;
    Ok((process, format!("http://127.0.0.1:{port}")))
}

async fn webhook() -> Result<Recorder> {
    let hook = Recorder::start().await?;
    hook.answer(Answer::whole("/hook", "application/json", "{}"));
    Ok(hook)
}

pub(super) fn config(hook: &Recorder, task: &a2a::Task) -> a2a::TaskPushNotificationConfig {
    a2a::TaskPushNotificationConfig {
        // Without an id of its own one would take the other's place.
        id: hook.address.port().to_string(),
        task_id: task.id.clone(),
        url: format!("{}/hook", hook.url()),
        token: "t-1".to_owned(),
        authentication: Some(a2a::AuthenticationInfo {
            scheme: "Bearer".to_owned(),
            credentials: "c-1".to_owned(),
        }),
        ..Default::default()
    }
}

/// What a webhook heard last, once it is of this state.
async fn heard(hook: &Recorder, state: &str) -> Result<(Value, Option<String>)> {
    eventually(&format!("the webhook to hear of {state}"), || async {
        let Ok(seen) = hook.last("/hook") else {
            return Ok(None);
        };
        let told: Value = serde_json::from_slice(&seen.body)?;
        let token = seen.headers.get("x-a2a-notification-token");
        let token = token
            .and_then(|token| token.to_str().ok())
            .map(str::to_owned);
        Ok(told.to_string().contains(state).then_some((told, token)))
    })
    .await
}

/// Every id of a notification is one that the client holds.
pub(super) fn is_of(told: &Value, task: &a2a::Task) -> Result<()> {
    let of = told.as_object().and_then(|told| told.values().next());
    let of = of.context("an empty notification")?;
    let id = if of["taskId"].is_null() {
        &of["id"]
    } else {
        &of["taskId"]
    };
    ensure!(*id == *task.id, "{id} and not {}", task.id);
    ensure!(of["contextId"] == *task.context_id, "{told}");
    Ok(())
}

/// The configurations of a task, as a router shows them.
async fn shown(mesh: &Mesh, router: usize, task: &a2a::Task) -> Result<Vec<Value>> {
    let path = format!("/steward/tasks/{}/pushNotificationConfigs", task.id);
    let ask = Ask::get(&path).header("a2a-version", "1.0");
    let listed = mesh.routers[router].exchange(&ask).await?.json()?;
    let configs = listed["configs"].as_array();
    Ok(configs.with_context(|| listed.to_string())?.clone())
}

#[tokio::test]
async fn a_webhook_hears_of_the_ids_that_its_client_holds() -> Result<()> {
    let Some(python) = Part::Python.find()? else {
        return Ok(());
    };
    let (_one, first) = replica(&python, "steward-1").await?;
    let (_two, second) = replica(&python, "steward-2").await?;
    let mesh = mesh(0)
        .routers(2)
        .other("steward", &format!("{first},{second}"))
        .router("--push-allow")
        .router("127.0.0.0/8")
        .start()
        .await?;
    for number in 0..4 {
        let binding = [Binding::JsonRpc, Binding::Rest][number % 2];
        let (here, there) = (number % 2, (number + 1) % 2);
        let (inline, created) = (webhook().await?, webhook().await?);
        let mut request = question("book a table");
        let configuration = request.configuration.get_or_insert_default();
        configuration.task_push_notification_config = Some(config(&inline, &a2a::Task::default()));
        let task = mesh.routers[here]
            .caller("steward", binding)
            .send(request)
            .await??;
        ensure!(task.id.starts_with("z1"), "{}", task.id);
        let (told, token) = heard(&inline, "TASK_STATE_INPUT_REQUIRED").await?;
        is_of(&told, &task)?;
        ensure!(token.as_deref() == Some("t-1"), "{token:?}");

        // The other router takes a second webhook for the same task, and shows both as they were given.
        let path = format!("/steward/tasks/{}/pushNotificationConfigs", task.id);
        let body = serde_json::to_vec(&config(&created, &task))?;
        let ask = Ask::post(&path, "application/json", body).header("a2a-version", "1.0");
        let answer = mesh.routers[there].exchange(&ask).await?.json()?;
        ensure!(
            answer["url"] == format!("{}/hook", created.url()),
            "{answer}"
        );
        let urls: Vec<_> = shown(&mesh, here, &task).await?;
        let urls: Vec<_> = urls.iter().map(|config| config["url"].clone()).collect();
        for hook in [&inline, &created] {
            ensure!(
                urls.contains(&json!(format!("{}/hook", hook.url()))),
                "{urls:?}"
            );
        }

        let more = follow_up("4 people", &task);
        let done = mesh.routers[there]
            .caller("steward", binding)
            .send(more)
            .await??;
        ensure!(done.id == task.id, "{} and not {}", done.id, task.id);
        for hook in [&inline, &created] {
            let (told, _) = heard(hook, "TASK_STATE_COMPLETED").await?;
            is_of(&told, &task)?;
        }
    }
    Ok(())
}
