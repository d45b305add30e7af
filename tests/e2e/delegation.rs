//! An agent that asks another agent, through the router.

use std::io::Write as _;

use anyhow::{Context as _, Result, ensure};
use mesh_proto::{Binding, a2a::TaskState, mesh::HOP_LIMIT};
use mesh_tests::{
    caller::{
        BINDINGS,
        words::{asked, question, said, state},
    },
    mesh::{EXAMPLES, Metrics, Node},
};

use crate::stage::mesh;

#[tokio::test]
async fn a_delegation_is_two_calls_of_one_trace() -> Result<()> {
    let mesh = mesh(3).knowing_their_router().start().await?;
    let router = mesh.router();
    let before = router.metrics().await?;
    for (turn, binding) in BINDINGS.into_iter().enumerate() {
        let trace = format!("{:032x}", 0xabcd_0000 + turn);
        let planner = router
            .caller("planner", binding)
            .with("traceparent", &format!("00-{trace}-00000000000000a1-01"));
        let task = planner.send(question("what is 17*23+4")).await??;
        ensure!(state(&task) == TaskState::Completed, "{binding}: {task:?}");
        ensure!(said(&task).contains("395"), "{binding}: {}", said(&task));
        let agents = turns_in_trace(&mesh.workers, &trace);
        ensure!(
            agents == ["assistant", "planner"],
            "{binding}: the workers' logs have {agents:?} in trace {trace}"
        );
    }
    let after = router.metrics().await?;
    ensure!(
        calls(&after, "planner")? - calls(&before, "planner")? == 3.0,
        "{}",
        after.0
    );
    ensure!(
        calls(&after, "assistant")? - calls(&before, "assistant")? == 3.0,
        "{}",
        after.0
    );
    Ok(())
}

#[tokio::test]
async fn a_loop_of_delegations_ends_at_the_hop_limit() -> Result<()> {
    let mut file = tempfile::Builder::new().suffix(".yaml").tempfile()?;
    file.write_all(LOOP.as_bytes())?;
    let mesh = mesh(2)
        .agents(file.path(), &["ping", "pong"])
        .knowing_their_router()
        .start()
        .await?;
    let router = mesh.router();
    let ping = router.caller("ping", Binding::JsonRpc);
    let task = ping.send(question("ask pong: who are you?")).await??;
    let told = format!("{} {}", asked(&task), said(&task));
    ensure!(
        told.contains("hop") || told.contains(&HOP_LIMIT.to_string()),
        "the error says what happened: {:?}: {told}",
        state(&task)
    );
    let metrics = router.metrics().await?;
    let calls = calls(&metrics, "ping")? + calls(&metrics, "pong")?;
    ensure!(
        calls <= f64::from(HOP_LIMIT) + 1.0,
        "{calls} calls:\n{}",
        metrics.0
    );
    ensure!(
        calls >= f64::from(HOP_LIMIT),
        "{calls} calls:\n{}",
        metrics.0
    );
    Ok(())
}

/// Two agents that know nothing but each other.
const LOOP: &str = "
agents:
  - name: ping
    description: Asks pong.
    delegates:
      - {agent: pong, description: Ask pong anything.}
  - name: pong
    description: Asks ping.
    delegates:
      - {agent: ping, description: Ask ping anything.}
";

fn calls(metrics: &Metrics, agent: &str) -> Result<f64> {
    let label = format!("agent=\"{agent}\"");
    metrics
        .sum("mesh_router_calls_total", &[&label])
        .context("calls of an agent")
}

/// Whose turns the workers' logs have in a trace.
fn turns_in_trace(workers: &[Node], trace: &str) -> Vec<&'static str> {
    let mut agents: Vec<&str> = workers
        .iter()
        .flat_map(|worker| worker.process.log())
        .filter(|line| line.contains(": turn ") && line.contains(trace))
        .flat_map(|line| {
            EXAMPLES
                .into_iter()
                .filter(move |name| line.contains(&format!("agent={name} ")))
        })
        .collect();
    agents.sort_unstable();
    agents
}
