//! What ships is what the API server takes, to the last field.

use anyhow::Result;
use mesh_tests::parts::repository;

use crate::cluster;

#[tokio::test]
async fn the_api_server_takes_every_manifest_as_it_stands() -> Result<()> {
    let test = "manifests::the_api_server_takes_every_manifest_as_it_stands";
    let Some(cluster) = cluster::inside(test).await? else {
        return Ok(());
    };
    let base = repository().join("deploy/k8s/base").display().to_string();
    let said = cluster
        .plane
        .kubectl(&[
            "apply",
            "-k",
            &base,
            "--server-side",
            "--dry-run=server",
            "--validate=strict",
        ])
        .await?;
    for what in [
        "deployment.apps/router",
        "deployment.apps/workers",
        "role.rbac.authorization.k8s.io/router",
    ] {
        anyhow::ensure!(said.contains(what), "{what}: {said}");
    }
    Ok(())
}
