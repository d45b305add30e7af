//! A worker of ours is told to end (SIGTERM) while a turn runs that outlasts its patience.

use anyhow::{Result, ensure};
use mesh_proto::Binding;
use mesh_tests::process::Signal;

use super::{Scene, Stage};

#[tokio::test]
async fn a_drained_worker_hands_its_task_over_and_the_stream_goes_on() -> Result<()> {
    let mut stage = Stage::of(Scene {
        worker_arguments: &["--grace", "3s", "--hand-over-after", "200ms"],
        ..Scene::default()
    })
    .await?;
    let followed = stage.holding(Binding::Grpc, "drained").await?;
    let owner = stage.owner().await?;
    let status = stage.mesh.workers[owner].end_by(Signal::Term).await?;
    ensure!(status.success(), "{status}");
    stage.is_asked("drained", 2).await?;
    stage.model.release("drained");
    followed.completes().await?;
    let lapsed = stage
        .counted("mesh_worker_tasks_adopted_total", Some(owner))
        .await?;
    ensure!((lapsed - 1.0).abs() < 0.5, "{lapsed} adoptions");
    Ok(())
}
