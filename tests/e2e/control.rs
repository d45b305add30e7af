//! Control events: what a worker tells every router at once.

use anyhow::{Context as _, Result, ensure};
use mesh_proto::Binding;
use mesh_tests::{
    caller::words::question,
    eventually::eventually,
    mesh::{Mesh, Node, Plan},
    model::Model,
    parts::{
        broker::Broker,
        daprd::{Component, Daprd},
    },
    process::{self, Signal},
};
use serde_json::Value;

use crate::{ground::Ground, stage};

/// Routers and workers that talk by this ground's bus, beside what else they keep there.
fn told(ground: &Ground, plan: Plan) -> Plan {
    let place = ground.place();
    let plan = ground.under(plan).worker("--control-at").worker(place);
    plan.router("--control-at").router(place)
}

/// How many events of a kind this router heard and found to be about workers of its own.
async fn heard(router: &Node, kind: &str) -> Result<f64> {
    let metrics = router.metrics().await?;
    let kind = format!("kind=\"{kind}\"");
    let count = |outcome| metrics.sum("mesh_control_events_total", &[&kind, outcome]);
    Ok(count("outcome=\"taken\"")? + count("outcome=\"known\"")?)
}

async fn each_hears(mesh: &Mesh, kind: &str) -> Result<()> {
    for (number, router) in mesh.routers.iter().enumerate() {
        eventually(&format!("router {number} to hear {kind}"), || async {
            Ok((heard(router, kind).await? > 0.5).then_some(()))
        })
        .await?;
    }
    Ok(())
}

/// Whom a router would give a new conversation to, as `daca route explain` says it.
async fn explained(router: &Node) -> Result<Vec<String>> {
    let url = format!("http://{}", router.address);
    let mut command = process::daca(stage::program());
    command.args(["route", "explain", "--router", &url, "--output", "json"]);
    command.args(["--agent", "assistant", "--context", "any"]);
    let output = process::run(command).await?;
    let said: Value = serde_json::from_slice(&output.stdout)?;
    let candidates = said["candidates"].as_array().context("candidates")?;
    let ids = candidates.iter().map(|each| each["id"].as_str());
    let ids = ids.map(|id| Ok(id.context("an id")?.to_owned()));
    ids.collect()
}

#[tokio::test]
async fn a_worker_that_drains_tells_both_routers_and_neither_gives_it_anything_new() -> Result<()> {
    let ground = Ground::sqlite()?;
    let model = Model::start().await?;
    let plan = stage::mesh(2).routers(2);
    let plan = plan.environment("OPENAI_BASE_URL", model.base_url());
    let mut mesh = told(&ground, plan).start().await?;
    let caller = mesh.router().caller("assistant", Binding::JsonRpc);
    let mut events = caller.stream(question("hold told")).await??;
    ensure!(events.event().await?.is_some(), "the stream begins");
    model.is_asked("hold told").await?;
    let metrics = mesh.workers[0].metrics().await?;
    let is_first = metrics.sum("mesh_worker_tasks_in_flight", &[])? > 0.5;
    let (owner, other) = if is_first { (0, 1) } else { (1, 0) };
    for router in &mesh.routers {
        ensure!(explained(router).await?.len() == 2);
        ensure!(heard(router, "draining").await? < 0.5);
    }

    mesh.workers[owner].process.signal(Signal::Term)?;
    each_hears(&mesh, "draining").await?;
    let left = [mesh.workers[other].url("assistant")];
    for router in &mesh.routers {
        eventually("the other worker alone to be tried", || async {
            Ok((explained(router).await? == left).then_some(()))
        })
        .await?;
    }
    model.release("told");
    let words = events.words().await?;
    ensure!(
        words.last().is_some_and(|last| last == "completed"),
        "{words:?}"
    );
    drop(events);
    let status = mesh.workers[owner].process.end().await?;
    ensure!(status.success(), "{status}");
    Ok(())
}

#[tokio::test]
async fn a_worker_that_comes_back_with_another_card_has_it_shown_before_the_old_ones_time_is_over()
-> Result<()> {
    let ground = Ground::sqlite()?;
    let file = ground.folder.path().join("agents.yaml");
    let describe = |description: &str| {
        let agent = format!("agents: [{{name: echo, description: {description}, model: rules}}]\n");
        std::fs::write(&file, agent)
    };
    describe("before")?;
    let plan = stage::mesh(1).routers(2).agents(&file, &["echo"]);
    let plan = told(&ground, plan);
    let mut mesh = plan.start().await?;
    // The worker adds which model is behind it.
    let shows = async |router: &Node, description: &str| -> Result<bool> {
        let card = router.caller("echo", Binding::Rest).card().await?;
        let shown = card["description"].as_str().context("a description")?;
        Ok(shown.starts_with(description))
    };
    for router in &mesh.routers {
        ensure!(shows(router, "before").await?);
    }
    let address = mesh.workers[0].address;
    mesh.workers[0].end_by(Signal::Term).await?;
    describe("after")?;
    mesh.workers[0] = plan.start_worker_at(0, address).await?;
    each_hears(&mesh, "card_changed").await?;
    for router in &mesh.routers {
        eventually("the new card", || async {
            Ok(shows(router, "after").await?.then_some(()))
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn on_dapr_a_router_hears_by_its_own_sidecar_what_a_worker_tells_by_another() -> Result<()> {
    let Some(broker) = Broker::redis().await? else {
        return Ok(());
    };
    let address = broker.address();
    let host = ("redisHost", address.as_str());
    let components = [
        Component::new("pubsub", "pubsub.redis", &[host]),
        Component::new(
            "pubsub-broadcast",
            "pubsub.redis",
            &[host, ("consumerID", "{uuid}")],
        ),
    ];
    let (Some(beside_worker), Some(beside_router)) = (
        Daprd::start(&components).await?,
        Daprd::start(&components).await?,
    ) else {
        return Ok(());
    };
    let plan = stage::mesh(1)
        .environment("DAPR_GRPC_ENDPOINT", beside_router.endpoint())
        .sidecars(vec![beside_worker.endpoint()]);
    let plan = plan.worker("--state").worker("memory");
    let plan = plan.worker("--control-at").worker("dapr");
    let mut mesh = plan.router("--control-at").router("dapr").start().await?;
    mesh.workers[0].end_by(Signal::Term).await?;
    each_hears(&mesh, "draining").await
}

#[tokio::test]
async fn a_bus_that_nobody_else_has_is_refused_at_the_start() -> Result<()> {
    let agent = "a=http://127.0.0.1:1";
    for role in [&["router", "--agent", agent][..], &["worker"]] {
        let mut command = process::daca(stage::program());
        command.args(role);
        command.args(["--listen", "127.0.0.1:0", "--control-at", "memory"]);
        let output = process::run(command).await?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(!output.status.success(), "it started");
        ensure!(said.contains("--control-at"), "{said}");
    }
    Ok(())
}
