//! Agents that ask agents, four hops deep, with ten times what they can do: what is tried at the last hop
//! for each task at the first, and at each hop for each call of it.

use anyhow::{Result, ensure};
use mesh_tests::{load, mesh::Metrics, process::say};

use super::{TURN_MS, WORKERS, agents, capacity, mesh, program};

/// The chain; each asks the next, and the last one works.
const CHAIN: [&str; 5] = ["first", "second", "third", "fourth", "last"];
/// The most attempts at the last hop for one task at the first, and at any hop for one call.
const AMPLIFICATION: f64 = 1.2;

pub(super) async fn holds() -> Result<()> {
    let file = agents(&description())?;
    let mesh = mesh(&file, &CHAIN).knowing_their_router().start().await?;
    let router = mesh.router();
    // Each chain holds a turn at every hop.
    let possible = f64::from(capacity()) * 4.0 / 5.0 * 1e3 / f64::from(TURN_MS);
    assert_eq!((WORKERS, CHAIN.len()), (4, 5), "both are in that figure");
    let before = router.metrics().await?;
    let arguments = [
        router.url("first").as_str(),
        "--text",
        "ask: how are you?",
        "--rate",
        &format!("{:.0}", possible * 10.0),
        "--for",
        if load::is_long() { "20s" } else { "5s" },
        "--warm-up",
        "0s",
        "--deadline",
        "2s",
        "--connections",
        "512",
    ]
    .map(str::to_owned);
    let report = load::load(&program(), &arguments).await?;
    let after = router.metrics().await?;
    say(&format!(
        "a chain of {} agents at ten times its capacity\n{}",
        CHAIN.len(),
        report.text()
    ));
    let mut attempts = Vec::new();
    for agent in CHAIN {
        let tried = tried(&after, agent)? - tried(&before, agent)?;
        let called = called(&after, agent)? - called(&before, agent)?;
        say(&format!("{agent}: {called:.0} calls, {tried:.0} attempts"));
        attempts.push((called, tried));
    }
    // No warm-up, so these are all calls that there were; what was refused or given up may have begun
    // nothing.
    let counts = report.counts();
    let tasks = float(counts.done + counts.failed);
    let last = attempts.last().map_or(0.0, |(_, tried)| *tried);
    let amplification = last / tasks;
    say(&format!(
        "{tasks:.0} tasks at the first hop, {last:.0} attempts at the last: amplification {amplification:.2}"
    ));
    ensure!(tasks > 0.0 && last > 0.0, "the chain is not reached at all");
    ensure!(
        amplification <= AMPLIFICATION,
        "{amplification:.2} attempts for each task"
    );
    Ok(())
}

fn description() -> String {
    let mut text = String::from("agents:\n");
    for pair in CHAIN.windows(2) {
        let (asks, asked) = (pair[0], pair[1]);
        text.push_str(&format!(
            "  - name: {asks}\n    description: Asks {asked}.\n    model: rules\n    delegates:\n      - \
             {{agent: {asked}, description: Ask {asked} anything.}}\n"
        ));
    }
    let last = CHAIN[CHAIN.len() - 1];
    text.push_str(&format!(
        "  - {{name: {last}, description: Works., model: 'work:wait_ms={TURN_MS}'}}\n"
    ));
    text
}

fn tried(metrics: &Metrics, agent: &str) -> Result<f64> {
    metrics.sum(
        "mesh_router_attempts_total",
        &[&format!("agent=\"{agent}\"")],
    )
}

fn called(metrics: &Metrics, agent: &str) -> Result<f64> {
    metrics.sum("mesh_router_calls_total", &[&format!("agent=\"{agent}\"")])
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
const fn float(number: u64) -> f64 {
    number as f64
}
