//! Goodput over offered load, from half of what was declared to ten times of it.

use anyhow::{Context as _, Result, ensure};
use mesh_bench::report::{Report, Step};
use mesh_tests::{
    load::{self, keep_picture},
    mesh::Mesh,
    process::say,
};

use super::{TURN_MS, WORKERS, agents, capacity, mesh, program};

/// Offered load, as multiples of the declared capacity.
const TIMES: [f64; 7] = [0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0];
/// The deadline of every call: ten turns.
const DEADLINE_MS: f64 = 1_000.0;
/// What is left of the best goodput, whatever is offered beyond it.
const KEPT: f64 = 0.9;
/// The same of the short run, whose few seconds cannot tell a tenth from a neighbour on the machine: less
/// than this is a collapse, which no neighbour explains.
const NOT_COLLAPSED: f64 = 0.5;
/// The part of what was declared that must be reached at all: otherwise something else is the limit, and
/// the rest says nothing.
const REACHED: f64 = 0.75;

pub(super) async fn holds() -> Result<()> {
    let file = agents(&format!(
        "agents:\n  - {{name: work, description: Works., model: 'work:wait_ms={TURN_MS}'}}\n"
    ))?;
    let mesh = mesh(&file, &["work"]).start().await?;
    let declared = f64::from(capacity()) * 4.0 * 1e3 / f64::from(TURN_MS);
    assert_eq!(WORKERS, 4, "four workers are in that figure");
    let report = load::load(&program(), &arguments(&mesh, declared)?).await?;
    say(&format!(
        "overload of {WORKERS} workers with {} turns of {TURN_MS} ms each: {declared:.0} a second declared\n{}",
        capacity(),
        report.text()
    ));
    keep_picture("overload.svg", &report, env!("CARGO_TARGET_TMPDIR"))?;
    judge(&report, declared)
}

fn arguments(mesh: &Mesh, declared: f64) -> Result<Vec<String>> {
    let rates: Vec<String> = TIMES
        .iter()
        .map(|times| format!("{:.0}", times * declared))
        .collect();
    // Twenty thousand calls a second are more than a small machine has to spare for one connection each.
    let (measured, warm_up, bindings, connections) = if load::is_long() {
        ("10s", "3s", "grpc", "64")
    } else {
        ("5s", "1s", "jsonrpc,rest,grpc", "128")
    };
    let deadline = format!("{DEADLINE_MS:.0}ms");
    let mut arguments: Vec<String> = [
        mesh.router().url("work").as_str(),
        "--rate",
        &rates.join(","),
        "--for",
        measured,
        "--warm-up",
        warm_up,
        "--deadline",
        &deadline,
        "--binding",
        bindings,
        "--connections",
        connections,
    ]
    .map(str::to_owned)
    .to_vec();
    for (name, nodes) in [("router", &mesh.routers), ("workers", &mesh.workers)] {
        for node in nodes {
            let pid = node.process.id().context("it runs")?;
            arguments.extend(["--watch".to_owned(), format!("{name}={pid}")]);
        }
    }
    Ok(arguments)
}

/// What was done in a second. The short run takes its median second, so that one in which the machine stood
/// still is not the mesh's.
fn kept_up(step: &Step) -> f64 {
    if load::is_long() {
        return step.goodput;
    }
    let mut done: Vec<u64> = step
        .series
        .iter()
        .map(|second| second.counts.done)
        .collect();
    done.sort_unstable();
    done.get(done.len() / 2)
        .and_then(|&done| u32::try_from(done).ok())
        .map_or(0.0, f64::from)
}

fn judge(report: &Report, declared: f64) -> Result<()> {
    let (kept, reached) = if load::is_long() {
        (KEPT, REACHED)
    } else {
        (NOT_COLLAPSED, NOT_COLLAPSED)
    };
    let peak = report.steps.iter().map(kept_up).fold(0.0, f64::max);
    ensure!(
        peak >= reached * declared,
        "the best goodput is {peak:.0} of {declared:.0} declared: the machine is the limit here"
    );
    let beyond = |step: &&Step| step.rate >= declared * 1.01;
    for step in report.steps.iter().filter(beyond) {
        let (rate, goodput) = (step.rate, kept_up(step));
        ensure!(
            goodput >= kept * peak,
            "at {rate:.0} a second {goodput:.0} are done, of {peak:.0} at best"
        );
    }
    for step in &report.steps {
        let (percentile, took) = if load::is_long() {
            (99, step.done.p99_ms)
        } else {
            (50, step.done.p50_ms)
        };
        ensure!(
            took < DEADLINE_MS,
            "at {:.0} a second the percentile {percentile} of calls done is {took:.0} ms",
            step.rate,
        );
        ensure!(
            step.counts.failed == 0,
            "at {:.0} a second {} calls failed: {:?}",
            step.rate,
            step.counts.failed,
            step.reasons
        );
    }
    Ok(())
}
