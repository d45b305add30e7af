//! `daca router`: a router as a process.

use std::{num::NonZeroUsize, path::PathBuf};

use daca_router::{
    Router, Settings,
    config::{Flags, Source},
};
use mesh_runtime::telemetry::{self, LogFormat};

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
    /// An agent and the base URLs of its replicas; repeatable
    #[arg(long = "agent", value_name = "NAME=URL[,URL...]")]
    agents: Vec<String>,
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
    /// Threads that carry calls [default: one per core]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// Where /healthz, /readyz and /metrics are served [default: nowhere]
    #[arg(long, value_name = "HOST:PORT")]
    admin: Option<String>,
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
            agents: self.agents,
            members: self.members,
            default_agent: self.default_agent,
            listen_agents: self.listen_agents,
            keys: self.keys,
            public_url: self.public_url,
            relay_url: self.relay_url,
            push_allow: self.push_allow,
            threads: self.threads.map(NonZeroUsize::get),
        }
    }
}

async fn serve(settings: Settings, output: &Output) -> Result<Exit, Failure> {
    let agents = agents(&settings.source);
    // Before the ready line: who reads that may send the signal at once.
    let mut stop = role::Stop::listen().map_err(Failure::role)?;
    let router = Router::start(settings).await.map_err(Failure::role)?;
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
    stop.asked().await;
    router.drain().await;
    Ok(Exit::Ok)
}

fn agents(source: &Source) -> String {
    match source {
        Source::Fixed(roster) => {
            let names: Vec<String> = roster
                .agents
                .iter()
                .map(|each| each.name.to_string())
                .collect();
            format!("agents: {}", names.join(", "))
        }
        Source::Watched(path) => format!("agents from {}", path.display()),
    }
}
