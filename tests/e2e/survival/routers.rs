//! A router dies (SIGKILL) with clients on it.

use anyhow::{Result, ensure};
use mesh_proto::a2a::TaskState;
use mesh_tests::{
    caller::{
        BINDINGS, Event,
        words::{question, state},
    },
    process::Signal,
};

use super::{Scene, Stage};

#[tokio::test]
async fn what_a_dead_routers_clients_began_they_find_again_at_any_other() -> Result<()> {
    for binding in BINDINGS {
        let mut stage = Stage::of(Scene {
            routers: 2,
            ..Scene::default()
        })
        .await?;
        let key = format!("router-{binding}");
        let mut followed = stage.holding(binding, &key).await?;
        let blocking = question(&format!("hold {key} too"));
        let first = {
            let caller = stage.mesh.routers[0].caller("assistant", binding);
            let blocking = blocking.clone();
            async move { caller.send(blocking).await }
        };
        let death = async {
            stage.is_asked(&format!("{key} too"), 1).await?;
            stage.mesh.routers[0].process.signal(Signal::Kill)
        };
        let (broken, killed) = tokio::join!(first, death);
        killed?;
        ensure!(
            broken.is_err(),
            "{binding}: answered by the dead: {broken:?}"
        );
        while let Ok(Some(_)) = followed.events.next().await {}

        let caller = stage.mesh.routers[1].caller("assistant", binding);
        let mut events = caller.subscribe(&followed.task.id).await??;
        let snapshot = events.event().await?;
        ensure!(
            matches!(&snapshot, Some(Event::Task(task)) if task.id == followed.task.id),
            "{binding}: {snapshot:?}"
        );
        let (again, released) = tokio::join!(caller.send(blocking), async {
            let joined = mesh_tests::eventually::eventually("the same message to join", || async {
                let joined = stage
                    .counted("mesh_worker_messages_joined_total", None)
                    .await?;
                Ok((joined > 0.5).then_some(()))
            });
            joined.await?;
            stage.model.release(&key);
            anyhow::Ok(())
        });
        released?;
        let task = again??;
        ensure!(state(&task) == TaskState::Completed, "{binding}: {task:?}");
        let words = events.words().await?;
        ensure!(
            words.last().is_some_and(|last| last == "completed"),
            "{binding}: {words:?}"
        );
        // One question for each task: nothing was begun twice.
        ensure!(stage.model.asked().len() == 2, "{binding}");
        stage.mesh.routers.remove(0);
    }
    Ok(())
}
