//! Workers whose store and bus are behind real Dapr sidecars, with a real Redis behind those.

use anyhow::{Context as _, Result, ensure};
use mesh_proto::{Binding, a2a::TaskState};
use mesh_tests::{
    caller::{
        Caller,
        words::{at_once, question, state},
    },
    eventually::eventually,
    process::Signal,
};

use super::{Scene, Stage};
use crate::ground::Ground;

const WORKERS: usize = 3;

async fn stage() -> Result<Option<Stage>> {
    let Some(ground) = Ground::dapr(WORKERS).await? else {
        return Ok(None);
    };
    let scene = Scene {
        workers: WORKERS,
        ..Scene::default()
    };
    Stage::on(ground, scene).await.map(Some)
}

#[tokio::test]
async fn a_stream_whose_worker_is_killed_goes_on_at_another_with_state_behind_sidecars()
-> Result<()> {
    let Some(mut stage) = stage().await? else {
        return Ok(());
    };
    let followed = stage.holding(Binding::JsonRpc, "crash").await?;
    let owner = stage.owner().await?;
    stage.mesh.workers[owner].end_by(Signal::Kill).await?;
    stage.is_asked("crash", 2).await?;
    stage.model.release("crash");
    followed.completes().await
}

/// Sends so many questions, each until it is taken, and says which tasks were acknowledged.
async fn ask(caller: &Caller, count: usize) -> Result<Vec<String>> {
    let mut taken = Vec::new();
    for number in 0..count {
        let question = at_once(question(&format!("{number}+1")));
        let task = eventually("a task is taken", async || {
            Ok(caller.send(question.clone()).await?.ok())
        })
        .await?;
        taken.push(task.id);
    }
    Ok(taken)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_task_that_was_taken_is_lost_when_sidecars_and_their_store_are_killed_and_come_back()
-> Result<()> {
    let Some(mut stage) = stage().await? else {
        return Ok(());
    };
    let held = stage.holding(Binding::JsonRpc, "through").await?;
    let caller = stage.mesh.router().caller("assistant", Binding::JsonRpc);
    let mut taken = ask(&caller, 20).await?;
    for sidecar in &mut stage.ground.sidecars {
        sidecar.kill().await?;
        let (back, asked) = tokio::join!(sidecar.start_again(), ask(&caller, 20));
        back?;
        taken.extend(asked?);
    }
    let broker = stage.ground.broker.as_mut().context("there is a broker")?;
    broker.kill().await?;
    let (back, asked) = tokio::join!(broker.start_again(), ask(&caller, 20));
    back?;
    taken.extend(asked?);
    stage.model.release("through");
    held.completes().await?;
    ensure!(taken.len() == 20 * (WORKERS + 2));
    for (number, id) in taken.iter().enumerate() {
        let is_done = eventually("each task completes", async || {
            let task = caller.get(id).await?.ok();
            Ok(task.filter(|task| state(task) == TaskState::Completed))
        });
        if let Err(error) = is_done.await {
            let last = caller.get(id).await?;
            return Err(error.context(format!("{number}: {last:?}")));
        }
    }
    for worker in &mut stage.mesh.workers {
        worker.is_well().await?;
    }
    Ok(())
}
