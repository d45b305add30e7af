//! Lists over all workers: whole whether they share a store or not.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use mesh_proto::Binding;
use mesh_tests::{caller::words::question, mesh::Mesh, wire::Ask};

use crate::stage::mesh;

/// Runs so many tasks in as many conversations; their ids.
async fn run(mesh: &Mesh, count: usize) -> Result<BTreeSet<String>> {
    let assistant = mesh.router().caller("assistant", Binding::JsonRpc);
    let mut ids = BTreeSet::new();
    for number in 0..count {
        let task = assistant
            .send(question(&format!("what is {number}+1?")))
            .await??;
        ids.insert(task.id);
    }
    Ok(ids)
}

async fn attempts(mesh: &Mesh) -> Result<f64> {
    let metrics = mesh.router().metrics().await?;
    metrics.sum("mesh_router_attempts_total", &["agent=\"assistant\""])
}

#[tokio::test]
async fn workers_that_share_nothing_make_one_list() -> Result<()> {
    let mesh = mesh(3).routers(2).start().await?;
    let ids = run(&mesh, 12).await?;
    for binding in [Binding::JsonRpc, Binding::Rest, Binding::Grpc] {
        let before = attempts(&mesh).await?;
        let listed = mesh
            .router()
            .caller("assistant", binding)
            .list_all()
            .await?;
        let seen: BTreeSet<_> = listed.iter().map(|task| task.id.clone()).collect();
        ensure!(seen == ids && listed.len() == 12, "{binding}: {seen:?}");
        let times = listed.iter().map(|task| {
            let time = task.status.as_ref().and_then(|status| status.timestamp);
            time.map(|time| (time.seconds, time.nanos))
                .unwrap_or_default()
        });
        ensure!(times.rev().is_sorted(), "{binding}: the latest comes first");
        ensure!(
            attempts(&mesh).await? - before >= 3.0,
            "{binding}: each is asked"
        );
    }
    // Page by page, at two routers in turn.
    let (mut token, mut seen) = (String::new(), BTreeSet::new());
    for turn in 0..100 {
        let path = format!("/assistant/tasks?pageSize=5&pageToken={token}");
        let ask = Ask::get(&path).header("a2a-version", "1.0");
        let page = mesh.routers[turn % 2].exchange(&ask).await?.json()?;
        ensure!(page["totalSize"] == 12, "{page}");
        for task in page["tasks"].as_array().into_iter().flatten() {
            let id = task["id"].as_str().unwrap_or_default();
            ensure!(seen.insert(id.to_owned()), "{id} came twice");
        }
        token = page["nextPageToken"].as_str().unwrap_or("?").to_owned();
        if token.is_empty() {
            break;
        }
    }
    ensure!(seen == ids, "{seen:?}");
    Ok(())
}

#[tokio::test]
async fn workers_that_share_a_store_are_asked_as_one() -> Result<()> {
    let store = tempfile::tempdir()?;
    let state = format!("sqlite:{}", store.path().display());
    let mesh = mesh(3).worker("--state").worker(state).start().await?;
    let ids = run(&mesh, 8).await?;
    for binding in [Binding::JsonRpc, Binding::Rest, Binding::Grpc] {
        let before = attempts(&mesh).await?;
        let listed = mesh
            .router()
            .caller("assistant", binding)
            .list_all()
            .await?;
        let seen: BTreeSet<_> = listed.iter().map(|task| task.id.clone()).collect();
        ensure!(seen == ids && listed.len() == 8, "{binding}: {seen:?}");
        let asked = attempts(&mesh).await? - before;
        ensure!((asked - 1.0).abs() < 0.5, "{binding}: {asked} were asked");
    }
    Ok(())
}
