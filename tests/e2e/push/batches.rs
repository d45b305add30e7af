//! Pushes that the sidecar brings to the worker in batches, with the components that are shipped for it.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use mesh_proto::{Binding, a2a};
use mesh_tests::{
    caller::words::question,
    eventually::eventually,
    mesh::Plan,
    parts::{
        broker::{Broker, free_port},
        daprd::{Component, Daprd},
    },
    recorder::{Answer, Recorder},
};

use crate::stage::program;

const TOPIC: &str = "a2a.push.v1";

/// How many tasks are told of.
const TASKS: usize = 20;

fn components(kafka: &str, redis: &str) -> [Component; 3] {
    let shared = [
        ("brokers", kafka),
        ("authType", "none"),
        ("version", "3.0.0"),
        ("initialOffset", "oldest"),
    ];
    let bus = |name: &str, group: &str| {
        let own = [("consumerGroup", group)];
        Component::new(name, "pubsub.kafka", &[&shared[..], &own].concat())
    };
    [
        Component::new("statestore", "state.redis", &[("redisHost", redis)]),
        bus("pubsub", "mesh"),
        bus("pubsub-a2a-push-v1", "mesh-push"),
    ]
}

#[tokio::test]
async fn a_worker_pushes_what_its_sidecar_brings_in_batches() -> Result<()> {
    let (Some(kafka), Some(redis)) = (Broker::kafka().await?, Broker::redis().await?) else {
        return Ok(());
    };
    let later = [10_000, 60_000, 600_000].map(|pause| format!("a2a.push-later-{pause}.v1"));
    let topics = [&later[..], &[TOPIC.to_owned()]].concat();
    kafka.topics(&topics).await?;
    let port = free_port()?;
    let components = components(&kafka.address(), &redis.address());
    let token = "a token of no worth";
    let Some(sidecar) = Daprd::start_for(&components, port, token).await? else {
        return Ok(());
    };
    let hook = Recorder::start().await?;
    hook.answer(Answer::whole("/hook", "application/json", "{}"));
    let folder = tempfile::tempdir()?;
    let agents = folder.path().join("agents.yaml");
    std::fs::write(
        &agents,
        "agents: [{name: echo, description: Says it again., model: echo}]",
    )?;
    let plan = Plan::of(program(), 1)
        .agents(&agents, &["echo"])
        .sidecars(vec![sidecar.endpoint()])
        .environment("APP_API_TOKEN", token);
    let plan = ["--state", "dapr", "--in-batches", TOPIC]
        .into_iter()
        .chain(["--push-allow", "127.0.0.0/8"])
        .fold(plan, Plan::worker);
    let at = SocketAddr::from(([127, 0, 0, 1], port));
    let worker = plan.start_worker_at(0, at).await?;
    let caller = worker.caller("echo", Binding::JsonRpc);
    let mut tasks = Vec::new();
    for _ in 0..TASKS {
        let mut request = question("hello");
        let configuration = request.configuration.get_or_insert_default();
        configuration.task_push_notification_config = Some(a2a::TaskPushNotificationConfig {
            url: format!("{}/hook", hook.url()),
            ..Default::default()
        });
        tasks.push(caller.send(request).await??.id);
    }
    eventually("the webhook hears of the end of each", async || {
        let heard = hook.all("/hook");
        let texts: Vec<_> = heard
            .iter()
            .map(|seen| String::from_utf8_lossy(&seen.body))
            .collect();
        let is_told = |task: &String| {
            let mut texts = texts.iter();
            texts.any(|text| text.contains(task.as_str()) && text.contains("COMPLETED"))
        };
        Ok(tasks.iter().all(is_told).then_some(()))
    })
    .await?;
    let told = "[[a2a.push.v1]] through pubsub=pubsub-a2a-push-v1";
    let log = sidecar.log();
    ensure!(
        log.iter().any(|line| line.contains(told)),
        "it was told to bring something else: {log:?}"
    );
    Ok(())
}
