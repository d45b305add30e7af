//! What operators and tools ask of every process: health, reflection, readiness, metrics.

use anyhow::{Context as _, Result, ensure};
use mesh_tests::{
    parts::Part,
    process::run,
    wire::{self, Ask},
};
use tokio::process::Command;

use crate::stage::mesh;

#[tokio::test]
async fn grpc_health_is_answered_by_router_and_worker() -> Result<()> {
    let mesh = mesh(1).start().await?;
    for node in [&mesh.routers[0], &mesh.workers[0]] {
        let ask = Ask::post(
            "/grpc.health.v1.Health/Check",
            "application/grpc",
            vec![0; 5],
        )
        .header("te", "trailers")
        .http2();
        let reply = node.exchange(&ask).await?;
        let status = reply
            .trailers
            .get("grpc-status")
            .context("no grpc-status")?;
        ensure!(status == "0", "{reply:?}");
        // HealthCheckResponse { status: SERVING }
        ensure!(reply.body.ends_with(&[0x08, 0x01]), "{reply:?}");
    }
    Ok(())
}

#[tokio::test]
async fn grpcurl_finds_the_service_by_reflection() -> Result<()> {
    let Some(grpcurl) = Part::Grpcurl.find()? else {
        return Ok(());
    };
    let mesh = mesh(1).start().await?;
    for node in [&mesh.routers[0], &mesh.workers[0]] {
        let mut command = Command::new(&grpcurl);
        command.args([
            "-plaintext",
            &node.address.to_string(),
            "describe",
            "lf.a2a.v1.A2AService",
        ]);
        let output = run(command).await?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(
            output.status.success() && said.contains("SubscribeToTask"),
            "{output:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn admin_pages_answer_and_metrics_are_there_from_the_start() -> Result<()> {
    let mesh = mesh(1).start().await?;
    for node in [&mesh.routers[0], &mesh.workers[0]] {
        for path in ["/healthz", "/readyz"] {
            let reply = wire::exchange(node.admin, &Ask::get(path)).await?;
            ensure!(reply.status == 200, "{path}: {}", reply.status);
        }
        let metrics = node.metrics().await?;
        ensure!(metrics.0.contains("# TYPE mesh_"), "{}", metrics.0);
    }
    let metrics = mesh.router().metrics().await?;
    for agent in mesh_tests::mesh::EXAMPLES {
        let label = format!("agent=\"{agent}\"");
        let calls = metrics.sum("mesh_router_calls_total", &[&label])?;
        ensure!(calls == 0.0, "{agent}: {calls}");
    }
    Ok(())
}
