//! What the forms of the bus carry, side by side, in one run of `daca load-bus`.
//!
//! The program should be optimised: `DACA_PROGRAM=target/release/daca`; the whole run is `DACA_LONG=1`.

use anyhow::{Context as _, Result, ensure};
use mesh_bench::bus::{Report, Way};
use mesh_tests::{
    load,
    parts::{
        broker::{Broker, free_port},
        daprd::Daprd,
    },
    process::{self, say},
};
use tokio::process::Command;

use crate::ground;

/// Runs it beside a sidecar and its broker, and says what it says.
async fn run(mut command: Command, sidecar: &Daprd, broker: &Broker) -> Result<Report> {
    command.env("DAPR_GRPC_ENDPOINT", sidecar.endpoint());
    for (name, id) in [("daprd", sidecar.id()), ("broker", broker.id())] {
        let id = id.context("it runs")?;
        command.args(["--watch", &format!("{name}={id}")]);
    }
    let (rates, measured) = if load::is_long() {
        ("200,1000,5000,20000", "10s")
    } else {
        ("200,1000", "1s")
    };
    command.args(["--rate", rates, "--for", measured]);
    let output = process::run(command).await?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {said}", output.status);
    let report: Report = serde_json::from_slice(&output.stdout)?;
    say(&report.text());
    Ok(report)
}

/// Whether each place carried something in each way, and lost nothing.
fn carried(report: &Report, places: &[&str]) -> Result<()> {
    for place in places {
        for way in [Way::Single, Way::Bulk] {
            let mut steps = report.steps.iter();
            let step = steps.find(|step| step.place == *place && step.way == way);
            let step = step.with_context(|| format!("{place} {way} was run"))?;
            ensure!(step.delivered > 0, "{place} {way}: nothing came");
        }
    }
    let lost: Vec<_> = report.steps.iter().filter(|step| step.lost > 0).collect();
    ensure!(lost.is_empty(), "{lost:?}");
    Ok(())
}

fn load_bus(buses: &[&str]) -> Command {
    let mut command = process::daca(&load::program(env!("CARGO_BIN_EXE_daca-under-test")));
    command.args(["--output", "json", "load-bus"]).args(buses);
    command
}

#[tokio::test]
async fn every_form_hands_out_what_it_took_and_says_what_that_costs() -> Result<()> {
    let Some(redis) = ground::redis().await? else {
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let sqlite = format!("sqlite:{}", folder.path().display());
    let sidecar = redis.sidecars.first().context("there is a sidecar")?;
    let broker = redis.broker.as_ref().context("there is a broker")?;
    let command = load_bus(&["memory", &sqlite, "dapr"]);
    let report = run(command, sidecar, broker).await?;
    carried(&report, &["memory", "sqlite", "dapr"])
}

#[tokio::test]
async fn a_sidecar_on_kafka_carries_what_it_brings_one_by_one_and_in_batches() -> Result<()> {
    let topics = ["a2a.load.v1", "a2a.load-batches.v1"];
    let topics = topics
        .map(str::parse)
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?;
    let Some((broker, components)) = ground::kafka_alone(&topics).await? else {
        return Ok(());
    };
    let port = free_port()?;
    let Some(sidecar) = Daprd::start_for(&components, port, "").await? else {
        return Ok(());
    };
    let mut command = load_bus(&["memory", "dapr", "--batches-at"]);
    command.arg(format!("127.0.0.1:{port}"));
    let report = run(command, &sidecar, &broker).await?;
    carried(&report, &["memory", "dapr", "dapr, in batches"])
}
