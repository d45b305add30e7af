//! `daca worker`: agents as a process.

use std::{num::NonZeroUsize, path::PathBuf};

use daca_worker::{
    app::{Settings, Worker},
    config::{Config, Roster, Surroundings},
    tools,
};
use mesh_fabric::state::Place;
use mesh_runtime::telemetry::{self, LogFormat};
use prometheus_client::registry::Registry;

use crate::{
    exit::{Exit, Failure},
    output::Output,
    role,
};

/// What a worker runs, and where.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the agents are served, in all bindings; port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    listen: String,
    /// The agents, in YAML or TOML [default: the examples assistant, planner and desk]
    #[arg(long, value_name = "FILE")]
    agents: Option<PathBuf>,
    /// Where tasks and sessions are kept: `memory`, or `sqlite:DIR` for all workers of the folder
    #[arg(long, value_name = "PLACE", default_value = "memory")]
    state: Place,
    /// The router that delegation goes through [default: none, so agents can't delegate]
    #[arg(long, value_name = "URL")]
    router: Option<String>,
    /// Where /healthz, /readyz and /metrics are served [default: nowhere]
    #[arg(long, value_name = "HOST:PORT")]
    admin: Option<String>,
    /// Threads that carry calls and turns [default: one per core]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// Log JSON, one object per line
    #[arg(long)]
    log_json: bool,
}

pub(crate) fn run(args: Args, output: &Output) -> Result<Exit, Failure> {
    let format = if args.log_json {
        LogFormat::Json
    } else {
        LogFormat::Text
    };
    role::follow_parent();
    telemetry::init(format).map_err(Failure::usage)?;
    let mut registry = Registry::default();
    let metrics = tools::Metrics::register(&mut registry);
    let config = Config::load(args.agents.as_deref()).map_err(Failure::usage)?;
    let mut around = Surroundings::of_process(args.router).map_err(Failure::role)?;
    if let Place::Sqlite(folder) = &args.state {
        // Workers that share tasks and conversations share the notes made in them.
        around.notes = Some(folder.join("notes.json"));
    }
    let roster = config.roster(&around, &metrics).map_err(Failure::usage)?;
    let settings = Settings {
        listen: args.listen,
        admin: args.admin,
        state: args.state,
        ..Settings::default()
    };
    role::on_threads(args.threads, serve(settings, roster, registry, output))
}

async fn serve(
    settings: Settings,
    roster: Roster,
    registry: Registry,
    output: &Output,
) -> Result<Exit, Failure> {
    let names: Vec<String> = roster
        .agents
        .iter()
        .map(|agent| agent.name().to_string())
        .collect();
    // Before the ready line: who reads that may send the signal at once.
    let mut stop = role::Stop::listen().map_err(Failure::role)?;
    roster.warm().await;
    let agents = roster.agents.clone();
    let worker = Worker::start(settings, agents, registry)
        .await
        .map_err(Failure::role)?;
    if let Some(admin) = worker.admin_addr() {
        output.line(&format!("admin ready on http://{admin}"));
    }
    let agents = names.join(", ");
    output.line(&format!(
        "worker ready on http://{} (agents: {agents})",
        worker.local_addr()
    ));
    stop.asked().await;
    worker.drain().await;
    roster.close().await;
    Ok(Exit::Ok)
}
