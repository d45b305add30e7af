//! A process that is asked to end finishes what it has begun and takes nothing new.

use anyhow::{Result, bail, ensure};
use mesh_tests::{
    caller::{BINDINGS, Caller, Event, words::question},
    eventually::eventually,
    model::Model,
    process::Signal,
    wire::{self, Ask},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
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
async fn a_router_that_drains_answers_idle_connections_once_more() -> Result<()> {
    let mut mesh = mesh(0)
        .other("nobody", "http://127.0.0.1:9")
        .start()
        .await?;
    let router = &mut mesh.routers[0];
    let mut idle = TcpStream::connect(router.address).await?;
    let before = head_of_a_page(&mut idle).await?;
    ensure!(!before.contains("connection: close"), "{before}");
    router.process.signal(Signal::Term)?;
    let address = router.address;
    eventually("no listener any more", || async {
        Ok(TcpStream::connect(address).await.is_err().then_some(()))
    })
    .await?;
    let after = head_of_a_page(&mut idle).await?;
    ensure!(after.contains("connection: close"), "{after}");
    let status = router.process.end().await?;
    ensure!(status.success(), "{status}");
    Ok(())
}

/// Asks for a page on a connection that is kept.
async fn head_of_a_page(connection: &mut TcpStream) -> Result<String> {
    connection
        .write_all(b"HEAD /agents HTTP/1.1\r\nhost: x\r\n\r\n")
        .await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        ensure!(
            connection.read_buf(&mut head).await? > 0,
            "the connection was closed"
        );
    }
    Ok(String::from_utf8(head)?)
}

#[tokio::test]
async fn a_router_says_that_it_leaves_before_it_does() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("router.toml");
    std::fs::write(&file, "announce_seconds = 5\n")?;
    let mut mesh = mesh(0)
        .other("nobody", "http://127.0.0.1:9")
        .router("--config")
        .router(file)
        .start()
        .await?;
    let router = &mut mesh.routers[0];
    router.process.signal(Signal::Term)?;
    let admin = router.admin;
    eventually("not ready any more", || async {
        let reply = wire::exchange(admin, &Ask::get("/readyz")).await?;
        Ok((reply.status == 503).then_some(()))
    })
    .await?;
    let path = "/grpc.health.v1.Health/Check";
    let ask = Ask::post(path, "application/grpc", vec![0; 5]).header("te", "trailers");
    let reply = router.exchange(&ask.http2()).await?;
    // HealthCheckResponse { status: NOT_SERVING }
    ensure!(reply.body.ends_with(&[0x08, 0x02]), "{reply:?}");
    let status = router.process.end().await?;
    ensure!(status.success(), "{status}");
    Ok(())
}

#[tokio::test]
async fn a_stream_that_outlasts_the_grace_ends_with_words_and_its_task_goes_on() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("router.toml");
    std::fs::write(&file, "drain_seconds = 2\n")?;
    let model = Model::start().await?;
    let plan = mesh(1)
        .environment("OPENAI_BASE_URL", model.base_url())
        .router("--config")
        .router(file)
        .routers(3);
    let mut mesh = plan.start().await?;
    let address = mesh.workers[0].address;
    for (router, binding) in mesh.routers.iter_mut().zip(BINDINGS) {
        let hold = format!("outlast-{binding}");
        let caller = router.caller("assistant", binding);
        let mut events = caller.stream(question(&format!("hold {hold}"))).await??;
        let Some(Event::Task(task)) = events.event().await? else {
            bail!("{binding}: the stream begins with its task");
        };
        model.is_asked(&format!("hold {hold}")).await?;
        router.process.signal(Signal::Term)?;
        let refusal = loop {
            match events.next().await? {
                Some(Ok(_)) => {}
                Some(Err(refusal)) => break refusal,
                None => bail!("{binding}: it ended as if it were whole"),
            }
        };
        let said = format!("{refusal:?}");
        ensure!(said.contains("subscribe"), "{binding}: {said}");
        drop(events);
        let status = router.process.end().await?;
        ensure!(status.success(), "{binding}: {status}");
        let worker = Caller::new(address, "assistant", binding);
        let mut again = worker.subscribe(&task.id).await??;
        model.release(&hold);
        let words = again.words().await?;
        let last = words.last().map(String::as_str);
        ensure!(last == Some("completed"), "{binding}: {words:?}");
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
