//! Two routers over workers that share a store, and how each of them is replaced.

use std::{io::Write as _, path::PathBuf};

use anyhow::{Result, ensure};
use mesh_tests::{
    load,
    mesh::{Mesh, Plan},
    process::Signal,
};
use tempfile::{NamedTempFile, TempDir};

pub(crate) const WORKERS: usize = 3;
pub(crate) const ROUTERS: usize = 2;

const AGENT: &str = "work";
/// Turns of 40 ms in two pieces, so that streams have something to tell on their way.
const AGENTS: &str =
    "agents:\n  - {name: work, description: Works., model: 'work:wait_ms=20,pieces=2'}\n";

pub(crate) fn program() -> PathBuf {
    load::program(env!("CARGO_BIN_EXE_daca-under-test"))
}

/// See the module.
pub(crate) struct Stage {
    plan: Plan,
    mesh: Mesh,
    started: usize,
    _agents: NamedTempFile,
    _store: TempDir,
}

impl Stage {
    pub(crate) async fn start() -> Result<Self> {
        let mut agents = tempfile::Builder::new().suffix(".yaml").tempfile()?;
        agents.write_all(AGENTS.as_bytes())?;
        let store = tempfile::tempdir()?;
        let plan = Plan::of(&program(), WORKERS)
            .routers(ROUTERS)
            .agents(agents.path(), &[AGENT])
            .worker("--state")
            .worker(format!("sqlite:{}", store.path().display()))
            .passing_ports_on();
        Ok(Self {
            mesh: plan.start().await?,
            plan,
            started: WORKERS,
            _agents: agents,
            _store: store,
        })
    }

    /// The agent at each router.
    pub(crate) fn urls(&self) -> Vec<String> {
        let routers = self.mesh.routers.iter();
        routers.map(|router| router.url(AGENT)).collect()
    }

    /// Puts a new worker beside the oldest, lets the routers know, and ends the old one; for each.
    pub(crate) async fn replace_workers(&mut self) -> Result<()> {
        for _ in 0..WORKERS {
            let fresh = self.plan.start_worker(self.started).await?;
            self.started += 1;
            self.mesh.workers.push(fresh);
            self.tell(WORKERS + 1).await?;
            let mut old = self.mesh.workers.remove(0);
            let status = old.end_by(Signal::Term).await?;
            ensure!(status.success(), "a worker ended with {status}");
            self.tell(WORKERS).await?;
        }
        Ok(())
    }

    async fn tell(&self, members: usize) -> Result<()> {
        self.mesh.tell_members(&[AGENT.to_owned()])?;
        for router in &self.mesh.routers {
            router.has(AGENT, members).await?;
        }
        Ok(())
    }

    /// Starts each router's successor on its sockets, and waits for the old one to end.
    pub(crate) async fn replace_routers(&mut self) -> Result<()> {
        for number in 0..ROUTERS {
            self.mesh.replace_router(&self.plan, number).await?;
        }
        Ok(())
    }
}
