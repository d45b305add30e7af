//! `daca up`: a whole mesh on this machine, each part a process of its own.
//!
//! # Invariants
//! - Whatever way it ends, no process that it started is left behind.
//! - A worker that dies is shown as dead and stays so: hiding it would hide what the mesh does then.

use std::{
    env,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use mesh_client::{Call, Client, Options, discovery};
use mesh_proto::mesh::{WORKER_PATH, WorkerReport};
use tokio::process::Command;

use crate::{
    exit::{Exit, Failure},
    output::Output,
    role::Stop,
    send,
};

mod board;
mod members;
mod paste;
mod process;
mod sidecar;

use board::{Board, Row, Standing};
use process::Process;
use sidecar::Sidecar;

/// How big a mesh, and where.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the router listens; port 0 takes any free port
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    listen: String,
    /// How many worker processes
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=64))]
    workers: u8,
    /// Keep the workers' store and everybody's logs in this folder [default: a temporary one, which
    /// goes with the mesh]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// The agents that the workers serve [default: the examples assistant, planner and desk]
    #[arg(long, value_name = "FILE")]
    agents: Option<PathBuf>,
    /// Keep tasks and messages behind Dapr: a sidecar (`daprd` on the PATH, or DAPRD_BIN) beside each
    /// worker, with components for a Redis at 127.0.0.1:6379, as `dapr init` starts one
    #[arg(long)]
    dapr: bool,
    /// The sidecars' components, `statestore` and `pubsub` among them, instead of those for Redis
    #[arg(long, value_name = "DIR", requires = "dapr")]
    dapr_components: Option<PathBuf>,
}

/// The processes of one mesh, as far as they are started.
#[derive(Default)]
struct Mesh {
    router: Option<Process>,
    router_url: String,
    sidecars: Vec<Sidecar>,
    workers: Vec<Worker>,
    agents: Vec<String>,
}

struct Worker {
    process: Process,
    url: String,
}

pub(crate) async fn run(args: Args, output: &Output) -> Result<Exit, Failure> {
    let mut stop = Stop::listen().map_err(Failure::role)?;
    let place = Place::new(args.state_dir.as_deref()).map_err(Failure::role)?;
    let mut mesh = Mesh::default();
    let started = tokio::select! {
        started = start(&mut mesh, &args, &place, output) => started.map(|()| true),
        () = stop.asked() => Ok(false),
    };
    let ended = match started {
        Ok(true) => {
            for line in paste::lines(&mesh.router_url, &mesh.agents) {
                output.line(&line);
            }
            watch(&mut mesh, &mut stop, output).await
        }
        Ok(false) => Ok(()),
        Err(error) => Err(error),
    };
    output.remark("stopping ...");
    mesh.stop().await;
    match ended {
        Ok(()) => {
            place.clear();
            Ok(Exit::Ok)
        }
        // After a failure the logs are what is looked at next: they stay.
        Err(error) => {
            let logs = place.dir.display();
            Err(Failure::role(anyhow::anyhow!(
                "{error:#}\nThe logs are in {logs}"
            )))
        }
    }
}

/// Brings everything up, in an order in which nobody waits for somebody who is not there: the
/// router, the workers, their membership, and then a call through all of it.
async fn start(mesh: &mut Mesh, args: &Args, place: &Place, output: &Output) -> anyhow::Result<()> {
    let members = place.dir.join("members.toml");
    // The router waits for a file that is not there. A kept folder has the last mesh's, whose
    // workers are gone.
    if members.exists() {
        std::fs::remove_file(&members).context("can't remove the old members file")?;
    }
    let store = place.dir.join("store");
    std::fs::create_dir_all(&store).with_context(|| format!("can't make {}", store.display()))?;
    let mut arguments = vec![
        "router".to_owned(),
        "--listen".to_owned(),
        args.listen.clone(),
        "--members".to_owned(),
        text(&members)?,
        "--admin".to_owned(),
        "127.0.0.1:0".to_owned(),
    ];
    let state = if args.dapr {
        // The router has no sidecar that control events could come by.
        "dapr".to_owned()
    } else {
        let state = format!("sqlite:{}", text(&store)?);
        arguments.extend(["--control-at".to_owned(), state.clone()]);
        state
    };
    let router = mesh.router.insert(place.role("router", &arguments)?);
    mesh.router_url = reachable(&router.ready("router", START).await?);
    let admin = router.ready("admin", START).await?;
    output.line(&format!(
        "router   pid {:<7} {}",
        router.pid, mesh.router_url
    ));

    if args.dapr {
        start_sidecars(mesh, args, place, output).await?;
    }
    start_workers(mesh, args, place, &state).await?;
    let first = mesh.workers.first().context("there is no worker")?;
    mesh.agents = report(&first.url)
        .await
        .context("the first worker tells nothing")?
        .agents;
    let urls: Vec<&str> = mesh
        .workers
        .iter()
        .map(|worker| worker.url.as_str())
        .collect();
    members::write(&members, &members::roster(&mesh.agents, &urls))?;
    mesh.becomes_ready(&format!("{admin}/readyz")).await?;
    mesh.answers().await
}

/// A sidecar for each worker.
async fn start_sidecars(
    mesh: &mut Mesh,
    args: &Args,
    place: &Place,
    output: &Output,
) -> anyhow::Result<()> {
    let program = sidecar::program()?;
    let components = sidecar::components(args.dapr_components.as_deref(), &place.dir)?;
    for number in 1..=args.workers {
        let sidecar = Sidecar::spawn(number, &program, &components, &place.dir)?;
        mesh.sidecars.push(sidecar);
    }
    for sidecar in &mut mesh.sidecars {
        sidecar.is_ready().await?;
        let Process { name, pid, .. } = &sidecar.process;
        output.line(&format!("{name}  pid {pid:<7} {}", sidecar.endpoint()));
    }
    Ok(())
}

async fn start_workers(
    mesh: &mut Mesh,
    args: &Args,
    place: &Place,
    state: &str,
) -> anyhow::Result<()> {
    for number in 1..=args.workers {
        let sidecar = mesh.sidecars.get(usize::from(number) - 1);
        let mut arguments = vec![
            "worker".to_owned(),
            "--listen".to_owned(),
            sidecar.map_or_else(|| "127.0.0.1:0".to_owned(), Sidecar::listen),
            "--router".to_owned(),
            mesh.router_url.clone(),
            "--state".to_owned(),
            state.to_owned(),
        ];
        if !args.dapr {
            arguments.extend(["--control-at".to_owned(), state.to_owned()]);
        }
        if let Some(agents) = &args.agents {
            arguments.extend(["--agents".to_owned(), text(agents)?]);
        }
        let mut command = Process::role(&arguments)?;
        if let Some(sidecar) = sidecar {
            command.env("DAPR_GRPC_ENDPOINT", sidecar.endpoint());
        }
        let process = place.run(&format!("worker-{number}"), command)?;
        mesh.workers.push(Worker {
            process,
            url: String::new(),
        });
    }
    for worker in &mut mesh.workers {
        worker.url = worker.process.ready("worker", START).await?;
    }
    Ok(())
}

impl Mesh {
    /// Waits until the router says that it can serve.
    async fn becomes_ready(&mut self, url: &str) -> anyhow::Result<()> {
        let deadline = tokio::time::Instant::now() + START;
        loop {
            if let Ok((status, _)) = discovery::fetch(url, &probe()).await
                && status.is_success()
            {
                return Ok(());
            }
            for process in self.processes() {
                process.check()?;
            }
            anyhow::ensure!(
                tokio::time::Instant::now() < deadline,
                "the router is not ready after {} s",
                START.as_secs()
            );
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Sends a first message through everything, so that "ready" means "answers".
    async fn answers(&self) -> anyhow::Result<()> {
        let agent = self.agents.first().context("the workers serve no agent")?;
        let url = format!("{}/{agent}", self.router_url);
        let options = Options {
            answer_timeout: Some(START),
            ..Options::default()
        };
        let client = Client::from_url(&url, options)
            .await
            .context("no card through the router")?;
        let question = send::say("What is 17*23+4?".to_owned());
        client
            .send(question, &Call::default())
            .await
            .with_context(|| format!("{agent} does not answer through the router"))?;
        Ok(())
    }

    fn processes(&mut self) -> impl Iterator<Item = &mut Process> {
        let workers = self.workers.iter_mut().map(|worker| &mut worker.process);
        let sidecars = self.sidecars.iter_mut().map(|sidecar| &mut sidecar.process);
        self.router.iter_mut().chain(sidecars).chain(workers)
    }

    /// Ends every process: workers first, so that the router can carry their last answers, and what they
    /// have to say can still be kept.
    async fn stop(&mut self) {
        let workers = self.workers.iter_mut().map(|worker| &mut worker.process);
        process::stop(workers.collect(), GRACE).await;
        process::stop(self.router.iter_mut().collect(), GRACE).await;
        let sidecars = self.sidecars.iter_mut().map(|sidecar| &mut sidecar.process);
        process::stop(sidecars.collect(), GRACE).await;
    }
}

/// Shows the workers until somebody asks to stop or the router is gone.
async fn watch(mesh: &mut Mesh, stop: &mut Stop, output: &Output) -> anyhow::Result<()> {
    let mut board = Board::new(output);
    loop {
        let mut rows = Vec::with_capacity(mesh.workers.len());
        for worker in &mut mesh.workers {
            let standing = match worker.process.ended() {
                Some(how) => Standing::Dead(how),
                None => report(&worker.url)
                    .await
                    .map_or(Standing::Silent, Standing::Reports),
            };
            rows.push(Row {
                name: worker.process.name.clone(),
                pid: worker.process.pid,
                url: worker.url.clone(),
                standing,
            });
        }
        board.show(rows);
        if let Some(router) = &mut mesh.router {
            router.check()?;
        }
        tokio::select! {
            () = stop.asked() => return Ok(()),
            () = tokio::time::sleep(REFRESH) => {}
        }
    }
}

/// Asks one of our workers how it is.
async fn report(url: &str) -> Option<WorkerReport> {
    let (status, body) = discovery::fetch(&format!("{url}{WORKER_PATH}"), &probe())
        .await
        .ok()?;
    status
        .is_success()
        .then(|| serde_json::from_slice(&body).ok())?
}

fn probe() -> Options {
    Options {
        connect_timeout: PROBE,
        answer_timeout: Some(PROBE),
        ..Options::default()
    }
}

/// The folder of one mesh.
struct Place {
    dir: PathBuf,
    temporary: bool,
}

impl Place {
    fn new(wanted: Option<&Path>) -> anyhow::Result<Self> {
        let dir = wanted.map_or_else(
            || env::temp_dir().join(format!("daca-up-{}", uuid::Uuid::new_v4().simple())),
            Path::to_path_buf,
        );
        std::fs::create_dir_all(&dir).with_context(|| format!("can't make {}", dir.display()))?;
        let temporary = wanted.is_none();
        let dir = dir
            .canonicalize()
            .with_context(|| format!("can't read {}", dir.display()))?;
        Ok(Self { dir, temporary })
    }

    fn role(&self, name: &str, arguments: &[String]) -> anyhow::Result<Process> {
        self.run(name, Process::role(arguments)?)
    }

    fn run(&self, name: &str, command: Command) -> anyhow::Result<Process> {
        Process::run(name, command, &self.dir.join(format!("{name}.log")))
    }

    fn clear(&self) {
        if self.temporary {
            // Nothing depends on it: at worst a temporary folder stays where such folders are.
            drop(std::fs::remove_dir_all(&self.dir));
        }
    }
}

/// A URL at which workers of this machine reach a listener: a wildcard address is none.
fn reachable(url: &str) -> String {
    url.replace("://0.0.0.0:", "://127.0.0.1:")
        .replace("://[::]:", "://[::1]:")
}

fn text(path: &Path) -> anyhow::Result<String> {
    let text = path
        .to_str()
        .with_context(|| format!("{} is not UTF-8", path.display()))?;
    Ok(text.to_owned())
}

/// How long each part may take to come up. A loaded machine with a cold disk needs seconds.
const START: Duration = Duration::from_secs(60);
/// How long a process may take to finish its calls before it is killed.
const GRACE: Duration = Duration::from_secs(10);
/// How often the board is renewed.
const REFRESH: Duration = Duration::from_millis(500);
/// How often something that is about to happen is looked for.
const LOOK: Duration = Duration::from_millis(25);
/// How long a look may take.
const PROBE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_get_an_address_that_they_can_connect_to() {
        assert_eq!(reachable("http://0.0.0.0:8080"), "http://127.0.0.1:8080");
        assert_eq!(reachable("http://[::]:8080"), "http://[::1]:8080");
        assert_eq!(reachable("http://10.0.0.1:8080"), "http://10.0.0.1:8080");
    }
}
