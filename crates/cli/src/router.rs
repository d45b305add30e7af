//! `daca router`: a router as a process.

use std::{num::NonZeroUsize, path::PathBuf};

use daca_router::{Router, Settings, config::Flags};
use mesh_fabric::state::Place;
use mesh_runtime::{
    directory::Plan,
    telemetry::{self, LogFormat},
};

use crate::{
    exit::{Exit, Failure},
    output::Output,
    role,
};

/// What a router serves, and where. A flag wins over the file.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where all agents are served, in all bindings; port 0 takes a free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// An agent, and the base URLs of its replicas or where they come from: dns:HOST:PORT,
    /// srv:_SERVICE._PROTO.NAME, kube:NAMESPACE/SERVICE:PORT, each with the path of the agent behind it,
    /// and with +https after the kind for TLS; repeatable
    #[arg(long = "agent", value_name = "NAME=URL|SOURCE[,...]")]
    agents: Vec<String>,
    /// Agents that all come from one source, each below the path of its name; repeatable
    #[arg(long = "agents-from", value_name = "SOURCE=NAME[,NAME...]")]
    agents_from: Vec<String>,
    /// A TOML file that says all that flags can say, and more
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A TOML file with agents and replicas, watched
    #[arg(long, value_name = "FILE")]
    members: Option<PathBuf>,
    /// The agent at the root of the port [default: the only one, if there is one only]
    #[arg(long, value_name = "NAME")]
    default_agent: Option<String>,
    /// A port of its own for an agent; repeatable
    #[arg(long = "listen-agent", value_name = "NAME=HOST:PORT")]
    listen_agents: Vec<String>,
    /// The keys of the routes in ids, the same on every router [default: a development key, which
    /// is refused off loopback]
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// The base URL that cards carry [default: the host that a request came to]
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// The base at which agents reach the routers, for notifications that go through them
    /// [default: the public URL, else the main port where it has one address]
    #[arg(long, value_name = "URL")]
    relay_url: Option<String>,
    /// A network that webhooks may be in although it is private, over http too; repeatable [default: none]
    #[arg(long = "push-allow", value_name = "CIDR")]
    push_allow: Vec<String>,
    /// Record each call on a bus, for `daca tap` and others: sqlite:DIR [default: nowhere]
    #[arg(long, value_name = "PLACE")]
    calls_to: Option<Place>,
    /// Hear at once, on a bus that workers share, which of them drain and whose cards are new: sqlite:DIR,
    /// or dapr behind the sidecar beside this router [default: nowhere]
    #[arg(long, value_name = "PLACE")]
    control_at: Option<Place>,
    /// The zone that this router runs in [default: unknown]
    #[arg(long, value_name = "NAME", env = "DACA_ZONE")]
    zone: Option<String>,
    /// How the Kubernetes API server is reached [default: the pod's service account, else $KUBECONFIG
    /// or ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Threads that carry calls [default: one per core]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// Where /healthz, /readyz and /metrics are served [default: nowhere]
    #[arg(long, value_name = "HOST:PORT")]
    admin: Option<String>,
    /// Where this router passes its ports to the next one that is started with the same path, without
    /// a refused connection: a Unix socket [default: nowhere]
    #[arg(long, value_name = "PATH")]
    takeover: Option<PathBuf>,
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
    let settings = args.flags().settle().map_err(Failure::usage)?;
    let threads = settings.threads.and_then(NonZeroUsize::new);
    role::on_threads(threads, serve(settings, output))
}

impl Args {
    fn flags(self) -> Flags {
        Flags {
            config: self.config,
            listen: self.listen,
            admin: self.admin,
            takeover: self.takeover,
            agents: self.agents,
            agents_from: self.agents_from,
            members: self.members,
            default_agent: self.default_agent,
            listen_agents: self.listen_agents,
            keys: self.keys,
            public_url: self.public_url,
            relay_url: self.relay_url,
            push_allow: self.push_allow,
            calls_to: self.calls_to,
            control_at: self.control_at,
            threads: self.threads.map(NonZeroUsize::get),
            zone: self.zone,
            kubeconfig: self.kubeconfig,
        }
    }
}

async fn serve(settings: Settings, output: &Output) -> Result<Exit, Failure> {
    let agents = agents(&settings.plan);
    // Before the ready line: who reads that may send the signal at once.
    let mut stop = role::Stop::listen().map_err(Failure::role)?;
    let mut router = tokio::select! {
        started = Router::start(settings) => started.map_err(Failure::role)?,
        // Before it is ready there is nothing to finish; another router may serve meanwhile.
        () = stop.asked() => return Ok(Exit::Ok),
    };
    let addresses = router.addresses();
    if let Some(admin) = addresses.admin {
        output.line(&format!("admin ready on http://{admin}"));
    }
    for (name, address) in &addresses.agents {
        output.line(&format!("agent {name} ready on http://{address}"));
    }
    output.line(&format!(
        "router ready on http://{} ({agents})",
        addresses.main
    ));
    tokio::select! {
        () = stop.asked() => {}
        () = router.superseded() => {}
    }
    router.drain().await;
    Ok(Exit::Ok)
}

fn agents(plan: &Plan) -> String {
    match plan {
        Plan::Agents(planned) => {
            let names: Vec<String> = planned.iter().map(|each| each.name.to_string()).collect();
            format!("agents: {}", names.join(", "))
        }
        Plan::Watched(path) => format!("agents from {}", path.display()),
        Plan::Told(roster) => format!("{} agents", roster.borrow().agents.len()),
    }
}
