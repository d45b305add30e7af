//! Records of calls: what a router says of each, and who gets to read it.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use mesh_proto::Binding;
use mesh_tests::{
    caller::words::question,
    process::{self, Signal},
};
use serde_json::Value;

use crate::stage;

/// What a group reads of a bus, up to so many.
async fn tapped(bus: &str, group: &str, count: usize) -> Result<Vec<Value>> {
    let mut command = process::daca(stage::program());
    command.args(["tap", bus, "--group", group]);
    command.args(["--count", &count.to_string()]);
    let output = process::run(command).await?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {said}", output.status);
    let lines = output.stdout.split(|byte| *byte == b'\n');
    let lines = lines.filter(|line| !line.is_empty());
    let read = lines.map(|line| Ok(serde_json::from_slice(line)?));
    read.collect()
}

#[tokio::test]
async fn every_call_is_recorded_once_for_each_group_that_reads_also_the_last_before_a_router_ends()
-> Result<()> {
    let folder = tempfile::tempdir()?;
    let bus = format!("sqlite:{}", folder.path().display());
    let plan = stage::mesh(1).router("--calls-to").router(&*bus);
    let mut mesh = plan.start().await?;
    let router = mesh.router();
    let caller = |binding| router.caller("assistant", binding);
    for binding in [Binding::JsonRpc, Binding::Rest, Binding::Grpc] {
        caller(binding).send(question("17*23")).await??;
    }
    let unknown = caller(Binding::Rest).get("none-such").await?;
    ensure!(unknown.is_err(), "there is no such task");
    let mut events = caller(Binding::JsonRpc).stream(question("2+2")).await??;
    events.rest().await?;
    mesh.routers[0].end_by(Signal::Term).await?;

    let records = tapped(&bus, "audit", 5).await?;
    let mut by_operation = BTreeMap::<String, u32>::new();
    for record in &records {
        let body = &record["body"];
        let operation = body["operation"].as_str().context("an operation")?;
        *by_operation.entry(operation.to_owned()).or_default() += 1;
        ensure!(record["key"] == "assistant", "{record}");
        ensure!(body["outcome"] == "answered", "{record}");
        ensure!(
            body["seconds"].as_f64() >= body["headSeconds"].as_f64(),
            "{record}"
        );
        ensure!(
            body["trace"].as_str().is_some_and(|t| t.len() == 32),
            "{record}"
        );
        let text = record.to_string();
        ensure!(
            !text.contains("17*23") && !text.contains("none-such"),
            "{text}"
        );
    }
    let expected = [
        ("GetTask", 1),
        ("SendMessage", 3),
        ("SendStreamingMessage", 1),
    ];
    let expected = expected.map(|(name, count)| (name.to_owned(), count));
    ensure!(by_operation == expected.into(), "{by_operation:?}");
    let missed = records
        .iter()
        .find(|record| record["body"]["operation"] == "GetTask");
    ensure!(
        missed.is_some_and(|record| record["body"]["status"] == 404),
        "{missed:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_bus_that_cant_be_opened_is_told_at_the_start() -> Result<()> {
    let mut command = process::daca(stage::program());
    command.args([
        "router",
        "--listen",
        "127.0.0.1:0",
        "--agent",
        "a=http://127.0.0.1:1",
    ]);
    command.args(["--calls-to", "sqlite:/proc/none"]);
    let output = process::run(command).await?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success(), "it started");
    ensure!(said.contains("--calls-to"), "{said}");
    Ok(())
}
