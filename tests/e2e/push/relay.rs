//! Somebody else's agent behind routers whose relay has a queue: what it says once reaches a webhook that
//! is away, and a relay that dies.

use anyhow::{Context as _, Result, ensure};
use mesh_proto::Binding;
use mesh_tests::{
    caller::words::question,
    eventually::eventually,
    mesh,
    parts::Part,
    process::{self, Process, Signal},
    recorder::{Answer, Recorder},
    wire::{Ask, exchange},
};
use serde_json::Value;

use super::steward::{config, is_of, replica};
use crate::stage;

/// A relay on a folder; its process and where it takes notifications.
async fn relay(folder: &std::path::Path, listen: &str) -> Result<(Process, std::net::SocketAddr)> {
    let mut command = process::daca(stage::program());
    command
        .args(["push", "--push-allow", "127.0.0.0/8", "--listen", listen])
        .arg("--state")
        .arg(format!("sqlite:{}", folder.display()));
    let mut relay = Process::start("relay", command)?;
    let address = relay.line(|line| mesh::ready("relay", line)).await?;
    Ok((relay, address))
}

#[tokio::test]
async fn what_an_agent_says_once_reaches_a_webhook_that_is_away_though_the_relay_dies() -> Result<()>
{
    let Some(python) = Part::Python.find()? else {
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let (mut first, address) = relay(folder.path(), "127.0.0.1:0").await?;
    let (_one, url) = replica(&python, "steward-1").await?;
    let (_two, other) = replica(&python, "steward-2").await?;
    let mesh = stage::mesh(0)
        .other("steward", &format!("{url},{other}"))
        .router("--push-allow")
        .router("127.0.0.0/8")
        .router("--relay-url")
        .router(format!("http://{address}"))
        .start()
        .await?;
    let hook = Recorder::start().await?;
    hook.answer(Answer {
        status: 503,
        ..Answer::whole("/hook", "application/json", "{}")
    });
    let mut request = question("2 + 2");
    let configuration = request.configuration.get_or_insert_default();
    configuration.task_push_notification_config = Some(config(&hook, &Default::default()));
    let caller = mesh.router().caller("steward", Binding::JsonRpc);
    let task = caller.send(request).await??;
    // The agent has said it, to a webhook that does not take it, and the relay is killed.
    eventually("a push is refused", async || Ok(hook.all("/hook").pop())).await?;
    first.signal(Signal::Kill)?;
    first.end().await?;
    let refused = hook.all("/hook").len();
    hook.answer(Answer::whole("/hook", "application/json", "{}"));
    let (_second, again) = relay(folder.path(), &address.to_string()).await?;
    ensure!(again == address);
    let told = eventually("the webhook hears of the end", async || {
        let heard = hook.all("/hook");
        let mut taken = heard.into_iter().skip(refused);
        Ok(taken.find(|seen| String::from_utf8_lossy(&seen.body).contains("COMPLETED")))
    })
    .await?;
    let body: Value = serde_json::from_slice(&told.body)?;
    is_of(&body, &task)?;
    for (name, value) in [
        ("x-a2a-notification-token", "t-1"),
        ("authorization", "Bearer c-1"),
    ] {
        let said = told.headers.get(name).context(name)?;
        ensure!(said == value, "{name}: {said:?}");
    }
    ensure!(told.headers.contains_key("idempotency-key"));
    Ok(())
}

#[tokio::test]
async fn an_address_that_no_router_gave_is_not_taken() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (_relay, address) = relay(folder.path(), "127.0.0.1:0").await?;
    for (path, status) in [("/-/push/1development.x", 404), ("/elsewhere", 404)] {
        let reply = exchange(
            address,
            &Ask::post(path, "application/json", b"{}".to_vec()),
        )
        .await?;
        ensure!(reply.status.as_u16() == status, "{path}: {}", reply.status);
    }
    Ok(())
}
