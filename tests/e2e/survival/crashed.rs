//! A worker of ours dies (SIGKILL) in the middle of a turn.

use anyhow::{Context as _, Result, ensure};
use mesh_proto::{Binding, Fault, a2a::TaskState};
use mesh_tests::{
    caller::{
        BINDINGS,
        words::{question, said, state},
    },
    process::Signal,
};

use super::{Scene, Stage};

#[tokio::test]
async fn a_stream_whose_worker_is_killed_goes_on_at_another_in_every_binding() -> Result<()> {
    for binding in BINDINGS {
        let mut stage = Stage::of(Scene::default()).await?;
        let key = format!("crash-{binding}");
        let followed = stage.holding(binding, &key).await?;
        let owner = stage.owner().await?;
        stage.mesh.workers[owner].end_by(Signal::Kill).await?;
        // Somebody else has taken the task on, before anybody asked for it.
        stage.is_asked(&key, 2).await?;
        stage.model.release(&key);
        followed
            .completes()
            .await
            .with_context(|| binding.to_string())?;
        let adopted = stage
            .counted("mesh_worker_tasks_adopted_total", Some(owner))
            .await?;
        ensure!(
            (adopted - 1.0).abs() < 0.5,
            "{binding}: {adopted} adoptions"
        );
        let metrics = stage.mesh.router().metrics().await?;
        ensure!(
            metrics.sum("mesh_streams_spliced_total", &[])? > 0.5,
            "{binding}"
        );
        stage.mesh.routers[0].is_well().await?;
    }
    Ok(())
}

#[tokio::test]
async fn by_the_policy_of_closing_the_stream_ends_with_an_error_and_its_task_goes_on() -> Result<()>
{
    let mut stage = Stage::of(Scene {
        router_config: "[stream]\nafter_crash = \"close\"\n",
        ..Scene::default()
    })
    .await?;
    let mut followed = stage.holding(Binding::JsonRpc, "closing").await?;
    let owner = stage.owner().await?;
    stage.mesh.workers[owner].end_by(Signal::Kill).await?;
    let refusal = loop {
        match followed.events.next().await?.context("an error, no end")? {
            Ok(_) => {}
            Err(refusal) => break refusal,
        }
    };
    refusal.expect(Fault::Unavailable)?;
    stage.is_asked("closing", 2).await?;
    stage.model.release("closing");
    let caller = stage.mesh.router().caller("assistant", Binding::JsonRpc);
    let task = mesh_tests::eventually::eventually("the task's end", || async {
        let task = caller.get(&followed.task.id).await??;
        Ok((state(&task) == TaskState::Completed).then_some(task))
    })
    .await?;
    ensure!(!said(&task).is_empty());
    Ok(())
}

#[tokio::test]
async fn a_blocking_send_whose_worker_is_killed_is_answered_by_the_same_task() -> Result<()> {
    for binding in BINDINGS {
        let mut stage = Stage::of(Scene::default()).await?;
        let key = format!("send-{binding}");
        let caller = stage.mesh.router().caller("assistant", binding);
        let asked = question(&format!("hold {key}"));
        let call = {
            let (caller, asked) = (caller.clone(), asked.clone());
            async move { caller.send(asked).await }
        };
        let crash = async {
            stage.is_asked(&key, 1).await?;
            let owner = stage.owner().await?;
            stage.mesh.workers[owner].process.signal(Signal::Kill)?;
            stage.is_asked(&key, 2).await?;
            stage.model.release(&key);
            anyhow::Ok(owner)
        };
        let (answer, owner) = tokio::join!(call, crash);
        let owner = owner?;
        let task = answer?.map_err(|refusal| anyhow::anyhow!("{binding}: {refusal:?}"))?;
        ensure!(state(&task) == TaskState::Completed, "{binding}: {task:?}");
        // The same message again is the same task, whoever is asked.
        let again = caller.send(asked).await??;
        ensure!(again.id == task.id, "{binding}: a second task");
        stage.mesh.workers.remove(owner);
    }
    Ok(())
}

#[tokio::test]
async fn a_worker_that_comes_back_under_its_name_finds_its_task() -> Result<()> {
    let mut stage = Stage::of(Scene {
        workers: 1,
        worker_arguments: &["--lease", "2s"],
        ..Scene::default()
    })
    .await?;
    let followed = stage.holding(Binding::Rest, "again").await?;
    let address = stage.mesh.workers[0].address;
    stage.mesh.workers[0].end_by(Signal::Kill).await?;
    stage.mesh.workers[0] = stage.plan.start_worker_at(0, address).await?;
    stage.is_asked("again", 2).await?;
    stage.model.release("again");
    followed.completes().await
}
