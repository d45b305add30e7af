//! The workers' store does not answer: another process holds it.

use anyhow::{Context as _, Result, ensure};
use mesh_proto::{Binding, Fault, a2a::TaskState};
use mesh_tests::{
    caller::words::{at_once, question, state},
    eventually::eventually,
};
use rusqlite::Connection;

use super::{Scene, Stage};

/// Holds the store for writing, until it is dropped.
struct Hold(Connection);

impl Hold {
    fn of(stage: &Stage) -> Result<Self> {
        let file = stage.ground.folder.path().join("state").join("state.db");
        ensure!(file.is_file(), "{} is no database", file.display());
        let connection = Connection::open(file)?;
        connection.busy_timeout(mesh_tests::eventually::PATIENCE)?;
        connection.execute_batch("BEGIN IMMEDIATE")?;
        Ok(Self(connection))
    }

    fn release(self) -> Result<()> {
        Ok(self.0.execute_batch("ROLLBACK")?)
    }
}

#[tokio::test]
async fn running_tasks_go_on_without_a_store_new_ones_are_refused_and_none_is_lost() -> Result<()> {
    let stage = Stage::of(Scene {
        workers: 2,
        ..Scene::default()
    })
    .await?;
    let followed = stage.holding(Binding::JsonRpc, "held").await?;
    let id = followed.task.id.clone();
    let hold = Hold::of(&stage)?;
    let caller = stage.mesh.router().caller("assistant", Binding::JsonRpc);
    let refusal = caller.send(at_once(question("2+2"))).await?.err();
    refusal
        .context("nobody can keep it")?
        .expect(Fault::Unavailable)?;
    stage.model.release("held");
    followed.completes().await?;
    let task = caller.get(&id).await??;
    ensure!(state(&task) == TaskState::Completed, "{task:?}");
    hold.release()?;
    let task = eventually("new tasks again", || async {
        Ok(caller.send(question("2+2")).await?.ok())
    })
    .await?;
    ensure!(state(&task) == TaskState::Completed, "{task:?}");
    // What ended meanwhile is written, so that both workers know it.
    for worker in &stage.mesh.workers {
        let caller = worker.caller("assistant", Binding::JsonRpc);
        eventually("the task in the store", || async {
            let task = caller.get(&id).await?.ok();
            Ok(task.filter(|task| state(task) == TaskState::Completed))
        })
        .await?;
    }
    Ok(())
}
