//! The Dapr sidecars of a mesh on this machine: one beside each worker, as in a cluster.
//!
//! # Invariants
//! - All of a sidecar's ports are on loopback, and those that were free a moment ago.
//! - A sidecar is ready when its workers may use it: when its components are.

use std::{
    env,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use mesh_client::discovery;
use tokio::{process::Command, time::Instant};

use super::{LOOK, Process, START, probe, text};

/// The program that `DAPRD_BIN` names, or the first `daprd` on the `PATH`.
pub(super) fn program() -> anyhow::Result<PathBuf> {
    if let Some(told) = env::var_os("DAPRD_BIN").filter(|told| !told.is_empty()) {
        let told = PathBuf::from(told);
        anyhow::ensure!(
            told.is_file(),
            "DAPRD_BIN names {}, which is no file",
            told.display()
        );
        return Ok(told);
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let mut found = env::split_paths(&path).map(|folder| folder.join("daprd"));
    found
        .find(|program| program.is_file())
        .context("--dapr wants a daprd: put it on the PATH, or name it by DAPRD_BIN")
}

/// Where its components are: the folder that was told, or one for the Redis that `dapr init` starts.
pub(super) fn components(told: Option<&Path>, folder: &Path) -> anyhow::Result<PathBuf> {
    if let Some(told) = told {
        return told
            .canonicalize()
            .with_context(|| format!("can't read the components in {}", told.display()));
    }
    let folder = folder.join("components");
    std::fs::create_dir_all(&folder).with_context(|| format!("can't make {}", folder.display()))?;
    for (name, document) in [("statestore", STATE), ("pubsub", BUS)] {
        let file = folder.join(format!("{name}.yaml"));
        std::fs::write(&file, document)
            .with_context(|| format!("can't write {}", file.display()))?;
    }
    Ok(folder)
}

/// A sidecar.
pub(super) struct Sidecar {
    pub(super) process: Process,
    http: u16,
    grpc: u16,
    app: u16,
}

impl Sidecar {
    /// Starts one.
    pub(super) fn spawn(
        number: u8,
        program: &Path,
        components: &Path,
        logs: &Path,
    ) -> anyhow::Result<Self> {
        // Held together, so that no two are the same.
        let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port is free");
        let (http, grpc, internal, app) = (free()?, free()?, free()?, free()?);
        let port = |listener: &TcpListener| Ok::<_, anyhow::Error>(listener.local_addr()?.port());
        let (http, grpc) = (port(&http)?, port(&grpc)?);
        let (internal, app) = (port(&internal)?, port(&app)?);
        let mut command = Command::new(program);
        command
            // Without it a machine with no network but loopback is refused.
            .env("DAPR_HOST_IP", "127.0.0.1")
            .args(["--app-id", "daca-worker", "--enable-metrics=false"])
            .args(["--dapr-listen-addresses", "127.0.0.1"])
            .args(["--dapr-internal-grpc-listen-address", "127.0.0.1"])
            .args(["--dapr-http-port", &http.to_string()])
            .args(["--dapr-grpc-port", &grpc.to_string()])
            .args(["--dapr-internal-grpc-port", &internal.to_string()])
            // It brings events of input bindings, once its worker listens there.
            .args(["--app-port", &app.to_string(), "--app-protocol", "http"])
            .args(["--resources-path", &text(components)?]);
        let name = format!("daprd-{number}");
        let log = logs.join(format!("{name}.log"));
        Ok(Self {
            process: Process::run(&name, command, &log)?,
            http,
            grpc,
            app,
        })
    }

    /// Where its API is, for who runs beside it.
    pub(super) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.grpc)
    }

    /// Where its worker is to listen.
    pub(super) fn listen(&self) -> String {
        format!("127.0.0.1:{}", self.app)
    }

    /// Waits until it can be used.
    pub(super) async fn is_ready(&mut self) -> anyhow::Result<()> {
        let url = format!("http://127.0.0.1:{}/v1.0/healthz/outbound", self.http);
        let deadline = Instant::now() + START;
        loop {
            if let Ok((status, _)) = discovery::fetch(&url, &probe()).await
                && status.is_success()
            {
                return Ok(());
            }
            self.process.check()?;
            if Instant::now() >= deadline {
                bail!(
                    "{} is not ready after {} s; does what its components name run? By default that is \
                     a Redis at {REDIS}\n{}",
                    self.process.name,
                    START.as_secs(),
                    self.process.tail()
                );
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

const REDIS: &str = "127.0.0.1:6379";

const STATE: &str = "\
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: statestore}
spec:
  type: state.redis
  version: v1
  metadata:
  - {name: redisHost, value: '127.0.0.1:6379'}
  - {name: redisPassword, value: ''}
";

const BUS: &str = "\
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: pubsub}
spec:
  type: pubsub.redis
  version: v1
  metadata:
  - {name: redisHost, value: '127.0.0.1:6379'}
  - {name: redisPassword, value: ''}
  # What a worker that died had goes to another after this time, looked for this often.
  - {name: processingTimeout, value: 15s}
  - {name: redeliverInterval, value: 5s}
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_folder_the_components_are_those_of_a_redis_on_this_machine() {
        let folder = tempfile::tempdir().unwrap();
        let made = components(None, folder.path()).unwrap();
        for name in ["statestore", "pubsub"] {
            let written = std::fs::read_to_string(made.join(format!("{name}.yaml"))).unwrap();
            assert!(written.contains(&format!("name: {name}")) && written.contains(REDIS));
        }
        let told = components(Some(folder.path()), folder.path()).unwrap();
        assert_eq!(told, folder.path().canonicalize().unwrap());
        let none = folder.path().join("none");
        assert!(components(Some(&none), folder.path()).is_err());
    }
}
