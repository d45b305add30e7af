//! Agents of somebody else's, each on an official SDK, with one script that all of them promise.
//!
//! # Invariants
//! - Nothing of ours is in them; `tests/interop/python/agent.py` says at its top what they do.

use std::{net::SocketAddr, path::Path};

use anyhow::{Context as _, Result};
use mesh_proto::{Binding, Version};
use tokio::process::Command;

use super::Part;
use crate::{parts::repository, process::Process};

/// Whose SDK an agent is built on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Maker {
    /// The Python SDK 1.3.0.
    Python,
    /// The Go SDK.
    Go,
    /// The Rust SDK.
    Rust,
    /// The Python SDK 0.3.26, A2A 0.3.
    Python03,
}

impl Maker {
    /// All of them, for tables.
    pub const ALL: [Self; 4] = [Self::Python, Self::Go, Self::Rust, Self::Python03];

    /// The part that must be here for it.
    #[must_use]
    pub const fn part(self) -> Part {
        match self {
            Self::Python => Part::Python,
            Self::Go => Part::GoAgent,
            Self::Rust => Part::RustAgent,
            Self::Python03 => Part::Python03,
        }
    }

    /// The version that its agents speak.
    #[must_use]
    pub const fn version(self) -> Version {
        match self {
            Self::Python | Self::Go | Self::Rust => Version::V1_0,
            Self::Python03 => Version::V0_3,
        }
    }

    fn command(self, program: &Path) -> Command {
        let interop = repository().join("tests/interop");
        let mut command = Command::new(program);
        match self {
            Self::Python => {
                command.arg(interop.join("python/agent.py"));
            }
            Self::Python03 => {
                command.arg(interop.join("python03/agent.py"));
            }
            Self::Go | Self::Rust => {}
        }
        command
    }

    /// Starts one replica, offered in one binding. `None` where the SDK is not here.
    ///
    /// # Errors
    /// When it does not get ready, or is required but missing.
    pub async fn start(self, binding: Binding) -> Result<Option<ForeignAgent>> {
        let Some(program) = self.part().find()? else {
            return Ok(None);
        };
        let mut command = self.command(&program);
        command.args(["--name", "steward", "--binding", binding.label()]);
        let name = format!("{self:?} {}", binding.label());
        ForeignAgent::of(&name, command).await.map(Some)
    }
}

/// A running agent.
#[derive(Debug)]
pub struct ForeignAgent {
    /// Its process.
    pub process: Process,
    /// Where its card, JSON-RPC and REST are.
    pub http: SocketAddr,
    /// Where its gRPC is.
    pub grpc: SocketAddr,
}

impl ForeignAgent {
    /// Starts the agent on the Python SDK in its three bindings, with the interpreter of
    /// [`Part::Python`].
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn start(python: &Path, name: &str) -> Result<Self> {
        Self::start_with(python, name, &[]).await
    }

    /// The same with more flags; see the top of `tests/interop/python/agent.py`.
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn start_with(python: &Path, name: &str, flags: &[&str]) -> Result<Self> {
        let mut command = Maker::Python.command(python);
        command.args(["--name", name]).args(flags);
        Self::of(name, command).await
    }

    async fn of(name: &str, command: Command) -> Result<Self> {
        let mut process = Process::start(name, command)?;
        let ready = process.line(ports).await;
        let (http, grpc) = ready.with_context(|| process.log().join("\n"))?;
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
