//! What the forms of the bus carry, side by side, in one run of `daca load-bus`.
//!
//! The program should be optimised: `DACA_PROGRAM=target/release/daca`; the whole run is `DACA_LONG=1`.

use anyhow::{Context as _, Result, ensure};
use mesh_bench::bus::{Report, Way};
use mesh_tests::{
    load,
    process::{self, say},
};

use crate::ground;

#[tokio::test]
async fn every_form_hands_out_what_it_took_and_says_what_that_costs() -> Result<()> {
    let redis = ground::redis().await?;
    let folder = tempfile::tempdir()?;
    let mut command = process::daca(&load::program(env!("CARGO_BIN_EXE_daca-under-test")));
    command.args(["--output", "json", "load-bus", "memory"]);
    command.arg(format!("sqlite:{}", folder.path().display()));
    let mut expected = vec!["memory", "sqlite"];
    if let Some(redis) = &redis {
        let sidecar = redis.sidecars.first().context("there is a sidecar")?;
        let broker = redis.broker.as_ref().context("there is a broker")?;
        command
            .arg("dapr")
            .env("DAPR_GRPC_ENDPOINT", sidecar.endpoint());
        for (name, id) in [("daprd", sidecar.id()), ("redis", broker.id())] {
            let id = id.context("it runs")?;
            command.args(["--watch", &format!("{name}={id}")]);
        }
        expected.push("dapr");
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
    for place in expected {
        for way in [Way::Single, Way::Bulk] {
            let mut steps = report.steps.iter();
            let step = steps.find(|step| step.place == place && step.way == way);
            let step = step.with_context(|| format!("{place} {way} was run"))?;
            ensure!(step.delivered > 0, "{place} {way}: nothing came");
        }
    }
    let lost: Vec<_> = report.steps.iter().filter(|step| step.lost > 0).collect();
    ensure!(lost.is_empty(), "{lost:?}");
    Ok(())
}
