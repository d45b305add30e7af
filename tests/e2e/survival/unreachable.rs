//! A worker that lives can't be reached: the way to its address is gone for a while.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Result, ensure};
use mesh_proto::{Binding, a2a::TaskState};
use mesh_tests::{
    caller::words::{question, state},
    eventually::eventually,
    network,
    process::run,
};
use tokio::process::Command;

use super::{Scene, Stage};

#[tokio::test]
async fn what_a_worker_behind_a_partition_had_goes_on_elsewhere_and_it_lets_go_when_it_is_back()
-> Result<()> {
    let test = "survival::unreachable::what_a_worker_behind_a_partition_had_goes_on_elsewhere_and_it_lets_go_when_it_is_back";
    if !network::is_inside() {
        network::again(test, &[]).await?;
        return Ok(());
    }
    let mut stage = Stage::of(Scene {
        workers: 0,
        routers: 0,
        ..Scene::default()
    })
    .await?;
    for number in 0..3 {
        let address = SocketAddr::from(([127, 0, 0, 11 + number], 0));
        let worker = stage.plan.start_worker_at(number.into(), address).await?;
        stage.mesh.workers.push(worker);
    }
    let router = stage.plan.start_router(0, &stage.mesh.workers).await?;
    stage.mesh.routers.push(router);
    let followed = stage.holding(Binding::JsonRpc, "apart").await?;
    let id = followed.task.id.clone();
    let owner = stage.owner().await?;
    let caller = stage.mesh.router().caller("assistant", Binding::Rest);

    let address = stage.mesh.workers[owner].address.ip();
    way(address, "add").await?;
    eventually("the router to notice", || async {
        Ok((ejected(&stage).await? > 0.5).then_some(()))
    })
    .await?;
    for _ in 0..8 {
        let task = caller.send(question("1+1")).await??;
        ensure!(state(&task) == TaskState::Completed, "{task:?}");
    }
    // Its lease stands, but its router can't reach it, and has its task adopted for whoever follows it.
    stage.is_asked("apart", 2).await?;
    way(address, "del").await?;
    stage.model.release("apart");
    followed.completes().await?;
    eventually("the one that was apart to let go", || async {
        let metrics = stage.mesh.workers[owner].metrics().await?;
        let lost = metrics.sum("mesh_worker_tasks_lost_total", &[])?;
        Ok((lost > 0.5).then_some(()))
    })
    .await?;
    eventually("the router to take it for a member again", || async {
        Ok((ejected(&stage).await? < 0.5).then_some(()))
    })
    .await?;
    let task = eventually("the task", || async { Ok(caller.get(&id).await?.ok()) }).await?;
    ensure!(state(&task) == TaskState::Completed, "{task:?}");
    ensure!(task.artifacts.len() == 1, "{task:?}");
    Ok(())
}

/// How many members the router gives nothing new.
async fn ejected(stage: &Stage) -> Result<f64> {
    let labels = ["agent=\"assistant\"", "standing=\"ejected\""];
    let metrics = stage.mesh.router().metrics().await?;
    metrics.sum("mesh_endpoints", &labels)
}

/// Takes the way to an address, or gives it back. What is sent there meets nobody, and nobody says so.
async fn way(to: IpAddr, change: &str) -> Result<()> {
    let mut command = Command::new("ip");
    let to = format!("{to}/32");
    command.args(["route", change, "table", "local", "blackhole", &to]);
    let output = run(command).await?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}");
    Ok(())
}
