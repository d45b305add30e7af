//! `daca worker`: agents as a process.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
    time::Duration,
};

use daca_worker::{
    app::{Settings, Worker},
    config::{Config, Roster, Surroundings},
    group, herald, notify, serve,
    task::{Limits, Survival, WhenDown},
    tools,
};
use mesh_fabric::{bus::Topic, state::Place};
use mesh_runtime::{
    drain,
    settings::parse_duration,
    telemetry::{self, LogFormat},
};
use prometheus_client::registry::Registry;

use crate::{
    exit::{Exit, Failure},
    output::Output,
    push::HookArgs,
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
    /// Where tasks and sessions are kept: `memory`, `sqlite:DIR` for all workers of the folder, or `dapr`
    /// (`dapr:STORE/BUS` by the names of its components) behind a Dapr sidecar [default: dapr where
    /// DAPR_GRPC_PORT or DAPR_GRPC_ENDPOINT is set, else memory]
    #[arg(long, value_name = "PLACE")]
    state: Option<Place>,
    /// The router that delegation goes through [default: none, so agents can't delegate]
    #[arg(long, value_name = "URL")]
    router: Option<String>,
    /// Where /healthz, /readyz and /metrics are served [default: nowhere]
    #[arg(long, value_name = "HOST:PORT")]
    admin: Option<String>,
    /// Turns at once, of all agents together; a message over it is refused, and the router told, so that
    /// it asks another worker
    #[arg(long, value_name = "N", default_value = "1024")]
    capacity: NonZeroU32,
    /// How long the lease lives by which other workers know that this one does; shorter finds a frozen
    /// worker's tasks sooner, and costs writes
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = parse_duration)]
    lease: Duration,
    /// How long running turns may take when the worker is told to end
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    grace: Duration,
    /// After how much of that they are handed over to other workers at their next step
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_duration)]
    hand_over_after: Duration,
    /// What becomes of new tasks while the store does not answer: `refuse`, or `ephemeral` to run them
    /// at the risk of losing them
    #[arg(long, value_name = "WHAT", default_value = "refuse")]
    when_store_down: WhenDown,
    /// A topic that the sidecar brings in batches instead of one by one, for a bus on Kafka: a2a.push.v1;
    /// repeatable. The sidecar's --app-port must be the port of --listen, its --app-protocol http
    #[arg(long, value_name = "TOPIC")]
    in_batches: Vec<Topic>,
    /// Put what becomes of each task on the bus of --state, for `daca tap --topic a2a.task-events.v1`
    #[arg(long)]
    task_events: bool,
    /// Tell routers at once that this worker drains, and at its start that its cards may be new, on the bus
    /// that they listen to with the same flag: sqlite:DIR or dapr [default: nowhere]
    #[arg(long, value_name = "PLACE")]
    control_at: Option<Place>,
    #[command(flatten)]
    hooks: HookArgs,
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
    let push = args.hooks.settings(args.router.as_deref())?;
    let group = group::Settings {
        router: args.router.clone(),
        ..group::Settings::default()
    };
    let mut around = Surroundings::of_process(args.router).map_err(Failure::role)?;
    let state = args.state.unwrap_or_else(Place::of_surroundings);
    if let Place::Sqlite(folder) = &state {
        // Workers that share tasks and conversations share the notes made in them.
        around.notes = Some(folder.join("notes.json"));
    }
    let settings = Settings {
        listen: args.listen,
        admin: args.admin,
        state,
        batches: args.in_batches.into_iter().collect(),
        limits: Limits {
            capacity: args.capacity.get(),
        },
        grace: args.grace,
        survival: Survival {
            lease: args.lease,
            hand_over_after: args.hand_over_after,
            when_down: args.when_store_down,
        },
        push,
        notify: notify::Settings {
            transitions: args.task_events,
        },
        group,
        control: herald::Settings {
            at: args.control_at,
        },
        serve: serve::Settings {
            app_token: app_token(),
            ..serve::Settings::default()
        },
        ..Settings::default()
    };
    role::on_threads(args.threads, async move {
        // In the runtime: connections are of it.
        let config = config.with_secrets(&around).await.map_err(Failure::usage)?;
        let roster = config.roster(&around, &metrics).map_err(Failure::usage)?;
        run_on(settings, roster, registry, output).await
    })
}

/// What the sidecar was told to show.
fn app_token() -> Option<serve::AppToken> {
    let token = std::env::var("APP_API_TOKEN").ok();
    let token = token.filter(|token| !token.is_empty());
    token.map(|token| serve::AppToken::new(&token))
}

async fn run_on(
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
    roster.is_served().await.map_err(Failure::role)?;
    roster.warm().await;
    let (following, drain) = drain::channel();
    roster.follow(&drain);
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
    following.drain(Duration::ZERO).await;
    roster.close().await;
    Ok(Exit::Ok)
}
