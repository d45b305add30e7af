//! A process that is asked to end finishes what it has begun and takes nothing new.

use anyhow::{Result, ensure};
use mesh_tests::{
    caller::{BINDINGS, words::question},
    eventually::eventually,
    model::Model,
    process::Signal,
    wire::{self, Ask},
};

use crate::stage::mesh;

#[tokio::test]
async fn a_router_that_drains_lets_a_stream_run_to_its_end() -> Result<()> {
    for binding in BINDINGS {
        let model = Model::start().await?;
        let mut mesh = mesh(1)
            .environment("OPENAI_BASE_URL", model.base_url())
            .start()
            .await?;
        let caller = mesh.router().caller("assistant", binding);
        let mut events = caller.stream(question("hold drain")).await??;
        ensure!(
            events.event().await?.is_some(),
            "{binding}: the stream begins"
        );
        model.is_asked("hold drain").await?;
        let router = &mut mesh.routers[0];
        router.process.signal(Signal::Term)?;
        let admin = router.admin;
        eventually("not ready any more", || async {
            let reply = wire::exchange(admin, &Ask::get("/readyz")).await?;
            Ok((reply.status == 503).then_some(()))
        })
        .await?;
        model.release("drain");
        let words = events.words().await?;
        ensure!(
            words.last().is_some_and(|last| last == "completed"),
            "{binding}: {words:?}"
        );
        drop(events);
        let status = router.process.end().await?;
        ensure!(status.success(), "{binding}: {status}");
    }
    Ok(())
}

#[tokio::test]
async fn a_worker_that_drains_finishes_its_tasks() -> Result<()> {
    let model = Model::start().await?;
    let mut mesh = mesh(1)
        .environment("OPENAI_BASE_URL", model.base_url())
        .start()
        .await?;
    let caller = mesh.router().caller("assistant", BINDINGS[0]);
    let mut events = caller.stream(question("hold work")).await??;
    ensure!(events.event().await?.is_some(), "the stream begins");
    model.is_asked("hold work").await?;
    mesh.workers[0].process.signal(Signal::Term)?;
    model.release("work");
    let words = events.words().await?;
    ensure!(
        words.last().is_some_and(|last| last == "completed"),
        "{words:?}"
    );
    drop(events);
    let status = mesh.workers[0].process.end().await?;
    ensure!(status.success(), "{status}");
    Ok(())
}

#[tokio::test]
async fn an_idle_router_ends_at_once() -> Result<()> {
    let mut mesh = mesh(0)
        .other("nobody", "http://127.0.0.1:9")
        .start()
        .await?;
    let status = mesh.routers[0].end_by(Signal::Term).await?;
    ensure!(status.success(), "{status}");
    Ok(())
}
