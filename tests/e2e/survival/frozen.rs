//! A worker of ours freezes (SIGSTOP): its connections stand, and nothing comes.

use anyhow::{Result, ensure};
use mesh_proto::{Binding, a2a::TaskState};
use mesh_tests::{caller::words::state, eventually::eventually, process::Signal};

use super::{Scene, Stage};

#[tokio::test]
async fn a_frozen_workers_task_is_adopted_and_the_worker_that_wakes_up_changes_nothing()
-> Result<()> {
    let stage = Stage::of(Scene {
        worker_arguments: &["--lease", "2s"],
        ..Scene::default()
    })
    .await?;
    let followed = stage.holding(Binding::JsonRpc, "frozen").await?;
    let owner = stage.owner().await?;
    let process = &stage.mesh.workers[owner].process;
    process.stop().await?;
    stage.is_asked("frozen", 2).await?;
    stage.model.release("frozen");
    let id = followed.task.id.clone();
    followed.completes().await?;
    process.signal(Signal::Cont)?;
    // It goes on where it stood, and finds that the task is another's.
    eventually("the one that woke up to let go", || async {
        let metrics = stage.mesh.workers[owner].metrics().await?;
        let lost = metrics.sum("mesh_worker_tasks_lost_total", &[])?;
        Ok((lost > 0.5).then_some(()))
    })
    .await?;
    let task = stage.mesh.router().caller("assistant", Binding::Grpc);
    let task = task.get(&id).await??;
    ensure!(state(&task) == TaskState::Completed, "{task:?}");
    ensure!(task.artifacts.len() == 1, "{task:?}");
    Ok(())
}
