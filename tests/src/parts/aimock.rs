//! The mock of OpenAI's API, npm `@copilotkit/aimock`.

use std::{net::SocketAddr, path::Path};

use anyhow::Result;

use crate::{
    parts::{self, folder},
    process::Process,
};

/// The running mock.
#[derive(Debug)]
pub struct Aimock {
    /// Its process.
    pub process: Process,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Aimock {
    /// Starts it with a file of fixtures.
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn start(fixtures: &Path) -> Result<Self> {
        let script = folder().join("js/node_modules/@copilotkit/aimock/dist/cli.js");
        let mut command = parts::node(&script);
        command
            .args(["--host", "127.0.0.1", "--port", "0", "--fixtures"])
            .arg(fixtures);
        let mut process = Process::start("aimock", command)?;
        let address = process.line(crate::mesh::address).await?;
        Ok(Self { process, address })
    }

    /// What to set `OPENAI_BASE_URL` to.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }
}
