//! Slots move while workers live, and routers do not agree on where.

use std::fmt::Write as _;

use anyhow::{Result, ensure};
use mesh_proto::{Binding, a2a::TaskState};
use mesh_tests::{
    caller::words::{in_context, state},
    eventually::eventually,
    mesh::Node,
    process::Signal,
};

use super::{Scene, Stage};

#[tokio::test]
async fn a_task_stays_with_its_worker_while_its_slot_moves_to_another() -> Result<()> {
    let mut stage = Stage::of(Scene {
        workers: 2,
        ..Scene::default()
    })
    .await?;
    let followed = stage.holding(Binding::JsonRpc, "moved").await?;
    let owner = stage.owner().await?;
    // A router that knows four more workers: most slots are theirs.
    for number in 2..6 {
        let worker = stage.plan.start_worker(number).await?;
        stage.mesh.workers.push(worker);
    }
    let wider = stage.plan.start_router(1, &stage.mesh.workers).await?;
    let caller = wider.caller("assistant", Binding::JsonRpc);
    let task = caller.get(&followed.task.id).await??;
    ensure!(state(&task) == TaskState::Working, "{task:?}");
    ensure!(stage.owner().await? == owner, "it moved");
    let mut second = caller.subscribe(&followed.task.id).await??;
    stage.model.release("moved");
    followed.completes().await?;
    let words = second.words().await?;
    ensure!(
        words.last().is_some_and(|last| last == "completed"),
        "{words:?}"
    );
    ensure!(
        stage
            .counted("mesh_worker_tasks_adopted_total", None)
            .await?
            < 0.5
    );
    Ok(())
}

#[tokio::test]
async fn routers_that_place_an_orphan_differently_find_one_owner_for_it() -> Result<()> {
    let mut stage = Stage::of(Scene::default()).await?;
    let followed = stage.holding(Binding::JsonRpc, "skewed").await?;
    let owner = stage.owner().await?;
    let (id, context) = (followed.task.id.clone(), followed.task.context_id.clone());
    // Each of two more routers gives almost all slots to another heir.
    let mut skewed = Vec::new();
    for heir in (0..3).filter(|number| *number != owner) {
        let router = skewed_router(&stage, heir).await?;
        skewed.push(router);
    }
    stage.mesh.workers[owner].process.signal(Signal::Kill)?;
    let callers = [&skewed[0], &skewed[1]].map(|router| router.caller("assistant", Binding::Rest));
    let (id, context) = (id.as_str(), context.as_str());
    let asked = callers.iter().map(|caller| {
        eventually("the task at its new owner", move || async move {
            let task = caller.get(id).await?;
            Ok(task.ok().filter(|task| state(task) == TaskState::Working))
        })
    });
    for task in futures_util::future::join_all(asked).await {
        ensure!(task?.context_id == context);
    }
    stage.is_asked("skewed", 2).await?;
    stage.mesh.workers.remove(owner);
    stage.owner().await?;
    stage.model.release("skewed");
    followed.completes().await?;
    for caller in &callers {
        let task = caller.get(id).await??;
        ensure!(state(&task) == TaskState::Completed, "{task:?}");
        let more = caller.send(in_context("1+1", context)).await??;
        ensure!(state(&more) == TaskState::Completed, "{more:?}");
    }
    Ok(())
}

/// A router over the same workers, by which one of them has eight shares.
async fn skewed_router(stage: &Stage, favourite: usize) -> Result<Node> {
    let mut members = String::new();
    for (number, worker) in stage.mesh.workers.iter().enumerate() {
        let weight = if number == favourite { 8 } else { 1 };
        let url = worker.url("assistant");
        writeln!(members, "{{ url = {url:?}, weight = {weight} }},")?;
    }
    let file = stage
        .ground
        .folder
        .path()
        .join(format!("router-{favourite}.toml"));
    let agent = format!("[[agent]]\nname = \"assistant\"\nmembers = [{members}]\n");
    std::fs::write(&file, agent)?;
    let plan = stage.plan.clone().router("--config").router(file);
    plan.start_router(favourite + 1, &[]).await
}
