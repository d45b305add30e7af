//! The volumes of a Pod: Secrets, ConfigMaps, empty folders, and the papers of its service account.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::{
    authentication::v1::TokenRequest,
    core::v1::{ConfigMap, Pod, Secret, ServiceAccount, Volume},
};
use kube::{Api, ResourceExt as _, api::PostParams};
use tempfile::TempDir;

use super::{kubelet::Host, pod::container};

/// Where service accounts find their papers.
const PAPERS: &str = "/run/secrets/kubernetes.io/serviceaccount";

/// The files of the Pod's volumes, below what will be its `/run`.
pub(super) async fn volumes(host: &Host, pod: &Pod) -> Result<TempDir> {
    let root = tempfile::tempdir()?;
    let spec = pod.spec.as_ref().context("a Pod has a spec")?;
    let mounts = container(pod)?.volume_mounts.iter().flatten();
    for mount in mounts {
        let at = mount.mount_path.trim_end_matches('/');
        let at = at.strip_prefix("/var").unwrap_or(at);
        let below = at.strip_prefix("/run/");
        let below = below.with_context(|| format!("{at} is not below /run"))?;
        let folder = root.path().join(below);
        std::fs::create_dir_all(&folder)?;
        let mut volumes = spec.volumes.iter().flatten();
        let volume = volumes.find(|volume| volume.name == mount.name);
        let volume = volume.with_context(|| format!("no volume {}", mount.name))?;
        if format!("/run/{below}") == PAPERS {
            papers(host, pod, &folder).await?;
        } else {
            fill(host, pod, volume, &folder).await?;
        }
    }
    Ok(root)
}

async fn fill(host: &Host, pod: &Pod, volume: &Volume, folder: &Path) -> Result<()> {
    let namespace = pod.namespace().unwrap_or_default();
    if let Some(secret) = &volume.secret {
        let secrets: Api<Secret> = Api::namespaced(host.client.clone(), &namespace);
        let secret = secrets
            .get(secret.secret_name.as_deref().unwrap_or_default())
            .await?;
        for (name, value) in secret.data.iter().flatten() {
            std::fs::write(folder.join(name), &value.0)?;
        }
    } else if let Some(map) = &volume.config_map {
        let maps: Api<ConfigMap> = Api::namespaced(host.client.clone(), &namespace);
        for (name, value) in maps.get(&map.name).await?.data.iter().flatten() {
            std::fs::write(folder.join(name), value)?;
        }
    } else {
        ensure!(
            volume.empty_dir.is_some(),
            "volume {} is not understood",
            volume.name
        );
    }
    Ok(())
}

/// The papers of the Pod's own service account: what its Role allows is all that they open.
async fn papers(host: &Host, pod: &Pod, folder: &Path) -> Result<()> {
    let namespace = pod.namespace().unwrap_or_default();
    let account = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.service_account_name.as_deref());
    let accounts: Api<ServiceAccount> = Api::namespaced(host.client.clone(), &namespace);
    let (post, request) = (PostParams::default(), TokenRequest::default());
    let asked = accounts.create_token_request(account.unwrap_or("default"), &post, &request);
    let given = asked.await?.status.context("a token was asked for")?;
    std::fs::write(
        folder.join("token"),
        given.token.context("a token was asked for")?,
    )?;
    std::fs::write(folder.join("ca.crt"), &host.ca)?;
    std::fs::write(folder.join("namespace"), namespace)?;
    Ok(())
}
