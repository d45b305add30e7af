//! An agent of somebody else's: `tests/interop/python/agent.py` on the official Python SDK.

use std::{net::SocketAddr, path::Path};

use anyhow::Result;
use tokio::process::Command;

use crate::{parts::repository, process::Process};

/// The running agent.
#[derive(Debug)]
pub struct PythonAgent {
    /// Its process.
    pub process: Process,
    /// Where its card, JSON-RPC and REST are.
    pub http: SocketAddr,
    /// Where its gRPC is.
    pub grpc: SocketAddr,
}

impl PythonAgent {
    /// Starts it with the interpreter of [`super::Part::Python`].
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn start(python: &Path, name: &str) -> Result<Self> {
        let mut command = Command::new(python);
        command
            .arg(repository().join("tests/interop/python/agent.py"))
            .args(["--name", name]);
        let mut process = Process::start(name, command)?;
        let (http, grpc) = process.line(ports).await?;
        Ok(Self {
            process,
            http: loopback(http),
            grpc: loopback(grpc),
        })
    }

    /// The base URL that a router is given for it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.http)
    }
}

fn ports(line: &str) -> Option<(u16, u16)> {
    let rest = line.strip_prefix("ready http=")?;
    let (http, grpc) = rest.split_once(" grpc=")?;
    Some((http.parse().ok()?, grpc.trim().parse().ok()?))
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}
