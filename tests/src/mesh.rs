//! A mesh of real processes on loopback: workers, routers before them, each with a handle.
//!
//! # Invariants
//! - Every process is the program under test, started as a user starts it: by its command line.
//! - Ports are read from the ready lines.

use std::{
    ffi::OsString,
    fmt::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use crate::process::{self, Process};

pub mod node;

pub use node::{Metrics, Node};

/// The agents that a worker has when no file describes others.
pub const EXAMPLES: [&str; 3] = ["assistant", "planner", "desk"];

/// What mesh to start.
#[derive(Clone, Debug)]
pub struct Plan {
    program: PathBuf,
    workers: usize,
    routers: usize,
    agents: Vec<String>,
    others: Vec<String>,
    environment: Vec<(OsString, OsString)>,
    sidecars: Vec<String>,
    worker_arguments: Vec<OsString>,
    router_arguments: Vec<OsString>,
    delegating: bool,
    passing: bool,
}

/// A running mesh. Dropped, it ends all its processes.
#[derive(Debug)]
pub struct Mesh {
    /// The members file of a mesh whose workers know their router.
    members: Option<TempDir>,
    /// What else the members file names, `NAME=URL` each.
    others: Vec<String>,
    /// The routers, each over all workers.
    pub routers: Vec<Node>,
    /// The workers.
    pub workers: Vec<Node>,
}

impl Plan {
    /// One router over so many workers, all with the example agents.
    #[must_use]
    pub fn of(program: &Path, workers: usize) -> Self {
        Self {
            program: program.to_owned(),
            workers,
            routers: 1,
            agents: EXAMPLES.map(str::to_owned).to_vec(),
            others: Vec::new(),
            environment: Vec::new(),
            sidecars: Vec::new(),
            worker_arguments: Vec::new(),
            router_arguments: Vec::new(),
            delegating: false,
            passing: false,
        }
    }

    /// With workers that can call other agents, through the first router. Router and workers then
    /// have to know each other: the router learns of the workers from a file that it watches.
    #[must_use]
    pub const fn knowing_their_router(mut self) -> Self {
        self.delegating = true;
        self
    }

    /// With routers that pass their ports on to the next of their place; and that learn of the workers
    /// from a file.
    #[must_use]
    pub const fn passing_ports_on(mut self) -> Self {
        self.delegating = true;
        self.passing = true;
        self
    }

    /// With so many routers over the same workers.
    #[must_use]
    pub const fn routers(mut self, routers: usize) -> Self {
        self.routers = routers;
        self
    }

    /// With the agents of a file, by name.
    #[must_use]
    pub fn agents(mut self, file: &Path, names: &[&str]) -> Self {
        self.agents = names.iter().copied().map(str::to_owned).collect();
        self.worker("--agents").worker(file)
    }

    /// With somebody else's agent behind the routers, too.
    #[must_use]
    pub fn other(mut self, name: &str, url: &str) -> Self {
        self.others.push(format!("{name}={url}"));
        self
    }

    /// With a variable in the environment of the workers.
    #[must_use]
    pub fn environment(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// With a Dapr sidecar beside each worker, by its endpoint.
    #[must_use]
    pub fn sidecars(mut self, endpoints: Vec<String>) -> Self {
        self.sidecars = endpoints;
        self
    }

    /// With one more argument for each worker.
    #[must_use]
    pub fn worker(mut self, argument: impl Into<OsString>) -> Self {
        self.worker_arguments.push(argument.into());
        self
    }

    /// With one more argument for each router.
    #[must_use]
    pub fn router(mut self, argument: impl Into<OsString>) -> Self {
        self.router_arguments.push(argument.into());
        self
    }

    /// Starts it and waits until every router is ready.
    ///
    /// # Errors
    /// When a process does not get ready.
    pub async fn start(&self) -> Result<Mesh> {
        if self.delegating {
            return self.start_by_file().await;
        }
        let mut workers = Vec::new();
        for number in 0..self.workers {
            workers.push(self.start_worker(number).await?);
        }
        let mut routers = Vec::new();
        for number in 0..self.routers {
            routers.push(self.start_router(number, &workers).await?);
        }
        Ok(Mesh {
            members: None,
            others: self.others.clone(),
            routers,
            workers,
        })
    }

    async fn start_by_file(&self) -> Result<Mesh> {
        let folder = tempfile::tempdir()?;
        let mut routers = Vec::new();
        for number in 0..self.routers {
            routers.push(self.start_by_members(number, folder.path()).await?);
        }
        let router = routers.first().context("a mesh has a router")?;
        let knowing = self
            .clone()
            .worker("--router")
            .worker(format!("http://{}", router.address));
        let mut workers = Vec::new();
        for number in 0..self.workers {
            workers.push(knowing.start_worker(number).await?);
        }
        let mesh = Mesh {
            members: Some(folder),
            others: self.others.clone(),
            routers,
            workers,
        };
        mesh.tell_members(&self.agents)?;
        for router in &mesh.routers {
            router.is_ready().await?;
            for agent in &self.agents {
                router.has(agent, mesh.workers.len()).await?;
            }
        }
        Ok(mesh)
    }

    async fn start_by_members(&self, number: usize, folder: &Path) -> Result<Node> {
        let mut arguments: Vec<OsString> =
            vec!["--members".into(), folder.join("members.toml").into()];
        if self.passing {
            let path = folder.join(format!("router-{number}"));
            arguments.extend(["--takeover".into(), path.into()]);
        }
        arguments.extend(self.router_arguments.iter().cloned());
        self.node("router", number, arguments).await
    }

    /// Starts one more worker, which no router knows.
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn start_worker(&self, number: usize) -> Result<Node> {
        self.node("worker", number, self.worker_arguments.clone())
            .await
    }

    /// Starts a worker where another was.
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn start_worker_at(&self, number: usize, address: SocketAddr) -> Result<Node> {
        let arguments = self.worker_arguments.clone();
        self.node_at("worker", number, arguments, address).await
    }

    /// Starts one more router over `workers`.
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn start_router(&self, number: usize, workers: &[Node]) -> Result<Node> {
        let urls: Vec<String> = workers
            .iter()
            .map(|worker| format!("http://{}", worker.address))
            .collect();
        let mut arguments: Vec<OsString> = Vec::new();
        for agent in &self.agents {
            // Our worker serves each agent at its name, as the router does.
            let urls: Vec<String> = urls.iter().map(|url| format!("{url}/{agent}")).collect();
            if !urls.is_empty() {
                arguments.push("--agent".into());
                arguments.push(format!("{agent}={}", urls.join(",")).into());
            }
        }
        for other in &self.others {
            arguments.push("--agent".into());
            arguments.push(other.into());
        }
        arguments.extend(self.router_arguments.iter().cloned());
        let node = self.node("router", number, arguments).await?;
        node.is_ready().await?;
        Ok(node)
    }

    async fn node(&self, role: &str, number: usize, arguments: Vec<OsString>) -> Result<Node> {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        self.node_at(role, number, arguments, any).await
    }

    async fn node_at(
        &self,
        role: &str,
        number: usize,
        arguments: Vec<OsString>,
        listen: SocketAddr,
    ) -> Result<Node> {
        let mut command = process::daca(&self.program);
        command.arg(role).args(arguments);
        command.args(["--listen", &listen.to_string(), "--admin", "127.0.0.1:0"]);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(endpoint) = self.sidecars.get(number).filter(|_| role == "worker") {
            command.env("DAPR_GRPC_ENDPOINT", endpoint);
        }
        let mut process = Process::start(&format!("{role} {number}"), command)?;
        let address = process.line(|line| ready(role, line)).await?;
        let admin = process.line(|line| ready("admin", line)).await?;
        Ok(Node {
            process,
            address,
            admin,
        })
    }
}

impl Mesh {
    /// The first router.
    #[must_use]
    pub fn router(&self) -> &Node {
        &self.routers[0]
    }

    /// Puts a new router in the place of one that passes its ports on, and waits until that has ended.
    ///
    /// # Errors
    /// When the new one does not get ready, or the old one does not end well.
    pub async fn replace_router(&mut self, plan: &Plan, number: usize) -> Result<()> {
        let folder = self.members.as_ref();
        let folder = folder.context("this mesh has no members file")?.path();
        let place = self.routers.get_mut(number).context("no such router")?;
        let fresh = plan.start_by_members(number, folder).await?;
        fresh.is_ready().await?;
        ensure!(
            fresh.address == place.address,
            "the port is not the one that was to be passed on"
        );
        let mut old = std::mem::replace(place, fresh);
        let status = old.process.end().await?;
        ensure!(status.success(), "router {number} ended with {status}");
        Ok(())
    }

    /// Writes the members file anew: every agent at every worker that is left.
    ///
    /// # Errors
    /// When this mesh has none.
    pub fn tell_members(&self, agents: &[String]) -> Result<()> {
        let folder = self
            .members
            .as_ref()
            .context("this mesh has no members file")?;
        let mut text = String::new();
        for agent in agents {
            let urls: Vec<String> = self
                .workers
                .iter()
                .map(|worker| format!("{:?}", worker.url(agent)))
                .collect();
            writeln!(
                text,
                "[[agent]]\nname = {agent:?}\nurls = [{}]",
                urls.join(", ")
            )?;
        }
        for (name, url) in self.others.iter().filter_map(|other| other.split_once('=')) {
            writeln!(text, "[[agent]]\nname = {name:?}\nurls = [{url:?}]")?;
        }
        // Replaced whole, since the router may read at any moment.
        let fresh = folder.path().join("members.new");
        std::fs::write(&fresh, text)?;
        std::fs::rename(fresh, folder.path().join("members.toml"))?;
        Ok(())
    }
}

/// The loopback address in a line, if there is one.
#[must_use]
pub fn address(line: &str) -> Option<SocketAddr> {
    let at = line.find("127.0.0.")?;
    let rest = line.get(at..)?;
    let end = rest
        .find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':')
        .unwrap_or(rest.len());
    rest.get(..end)?.trim_end_matches(['.', ':']).parse().ok()
}

/// The address of a line `<what> ready on http://HOST:PORT ...`, by which every listener says
/// where it is.
#[must_use]
pub fn ready(what: &str, line: &str) -> Option<SocketAddr> {
    line.strip_prefix(what)?
        .strip_prefix(" ready on ")
        .and_then(address)
}
