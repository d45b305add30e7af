//! The parts of other people that the tests run against, where this machine has them.
//!
//! `.ci/parts` installs them into `.parts/` at the repository's root; `DACA_PARTS` names another
//! folder. A missing part is said once, as `NOT RUN: <part>: <reason>`, and its tests return early;
//! under `DACA_REQUIRE_PARTS=1`, as in CI, a missing part fails them.
//!
//! # Invariants
//! - A test that did not run says so on the terminal, whatever the test harness captures.
//! - Looked for, never installed: a test does not reach for the network.

use std::{collections::BTreeSet, path::PathBuf};

use anyhow::{Result, bail};
use parking_lot::Mutex;
use tokio::process::Command;

use crate::process::say;

pub mod agent;
pub mod aimock;
pub mod broker;
pub mod daprd;
pub mod sdk;

/// A part of somebody else's.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Part {
    /// Python with the official SDK.
    Python,
    /// Node.js with the official SDK.
    Js,
    /// Python with the SDK as it was for A2A 0.3.
    Python03,
    /// Our client on the official Go SDK.
    Go,
    /// Our agent on the official Go SDK.
    GoAgent,
    /// Our client on the official Rust SDK.
    RustClient,
    /// Our agent on the official Rust SDK.
    RustAgent,
    /// The gRPC command line.
    Grpcurl,
    /// The mock of OpenAI's API.
    Aimock,
    /// The HTTP command line.
    Curl,
    /// A Kubernetes control plane.
    Kubernetes,
    /// The Dapr sidecar.
    Daprd,
    /// Redis.
    Redis,
    /// NATS.
    Nats,
    /// Kafka, on Java.
    Kafka,
}

impl Part {
    /// The name in `NOT RUN` lines.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Python => "python a2a-sdk",
            Self::Js => "@a2a-js/sdk",
            Self::Python03 => "python a2a-sdk 0.3",
            Self::Go => "a2a-go",
            Self::GoAgent => "a2a-go agent",
            Self::RustClient => "a2a-client-lf",
            Self::RustAgent => "a2a-server-lf",
            Self::Grpcurl => "grpcurl",
            Self::Aimock => "aimock",
            Self::Curl => "curl",
            Self::Kubernetes => "kubernetes",
            Self::Daprd => "daprd",
            Self::Redis => "redis-server",
            Self::Nats => "nats-server",
            Self::Kafka => "kafka",
        }
    }

    /// What must be there for the part to run.
    fn file(self) -> PathBuf {
        let parts = folder();
        match self {
            Self::Python => parts.join("python/bin/python"),
            Self::Js => parts.join("js/node_modules/@a2a-js/sdk/package.json"),
            Self::Python03 => parts.join("python03/bin/python"),
            Self::Go => parts.join("bin/a2a-go-client"),
            Self::GoAgent => parts.join("bin/a2a-go-agent"),
            Self::RustClient => parts.join("bin/a2a-lf-client"),
            Self::RustAgent => parts.join("bin/a2a-lf-agent"),
            Self::Grpcurl => parts.join("bin/grpcurl"),
            Self::Aimock => parts.join("js/node_modules/@copilotkit/aimock/package.json"),
            Self::Curl => program("curl"),
            Self::Kubernetes => parts.join("kube/kubectl"),
            Self::Daprd => {
                std::env::var_os("DAPRD_BIN").map_or_else(|| parts.join("bin/daprd"), PathBuf::from)
            }
            Self::Redis => program("redis-server"),
            Self::Nats => program("nats-server"),
            Self::Kafka => parts.join("kafka/kafka_2.13-4.1.0.jar"),
        }
    }

    /// Whether the part can be run here. `None` after a `NOT RUN` line: the test should return.
    ///
    /// # Errors
    /// When it is missing although `DACA_REQUIRE_PARTS` asks for it.
    pub fn find(self) -> Result<Option<PathBuf>> {
        let file = self.file();
        if file.exists() {
            return Ok(Some(file));
        }
        let reason = format!("{} is not there; .ci/parts installs it", file.display());
        if std::env::var_os("DACA_REQUIRE_PARTS").is_some_and(|value| value == "1") {
            bail!("{}: {reason}", self.name());
        }
        static SAID: Mutex<BTreeSet<Part>> = Mutex::new(BTreeSet::new());
        if SAID.lock().insert(self) {
            say(&format!("NOT RUN: {}: {reason}", self.name()));
        }
        Ok(None)
    }
}

/// Where the parts are.
#[must_use]
pub fn folder() -> PathBuf {
    std::env::var_os("DACA_PARTS").map_or_else(|| repository().join(".parts"), PathBuf::from)
}

/// The root of this repository.
#[must_use]
pub fn repository() -> PathBuf {
    let mut root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.pop();
    root
}

/// A Node.js command for a script, with the packages beside it.
#[must_use]
pub fn node(script: &std::path::Path) -> Command {
    let mut command = Command::new(program("node"));
    // The script is a link into the sources; its packages are beside the link.
    command.arg("--preserve-symlinks-main").arg(script);
    command
}

/// A program on the path, by its full name; the bare name if it is not there.
fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .unwrap_or_else(|| PathBuf::from(name))
}
