//! `daca push`: the relay of push notifications as a process of its own, and its dead letters.

#[cfg(feature = "router")]
mod door;
mod verify;

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use daca_worker::{
    app::{RelaySettings, Relaying},
    push::{Letter, Settings},
    record::{self, Records},
};
use ipnet::IpNet;
use mesh_card::Signer;
use mesh_fabric::{bus::Transit, state::Place};
use mesh_runtime::{
    clock,
    settings::parse_duration,
    telemetry::{self, LogFormat},
};
use prometheus_client::registry::Registry;
use serde::Serialize;
use url::Url;

use crate::{
    card::source,
    exit::{Exit, Failure},
    output::{Format, Output, Tone},
    role,
};

/// What to do with pushes.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    relay: RelayArgs,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Look at the pushes that were given up, and send them anew
    #[command(subcommand)]
    Dead(Dead),
    /// Check the signature of a notification that came in
    Verify(verify::Args),
}

#[derive(Debug, clap::Subcommand)]
enum Dead {
    /// Print them, the oldest first
    List {
        #[command(flatten)]
        place: PlaceArgs,
        /// How many at most
        #[arg(long, value_name = "N", default_value = "100")]
        limit: usize,
        /// Go on after this one
        #[arg(long, value_name = "NAME")]
        after: Option<String>,
    },
    /// Send some of them anew, or all
    Replay {
        #[command(flatten)]
        place: PlaceArgs,
        /// Their names, as `list` prints them
        #[arg(required_unless_present = "all")]
        names: Vec<String>,
        /// All of them
        #[arg(long, conflicts_with = "names")]
        all: bool,
    },
}

/// Where the bus and the store are.
#[derive(Debug, clap::Args)]
struct PlaceArgs {
    /// Where the workers keep their tasks: `sqlite:DIR`, or `dapr` for the sidecar beside this process
    #[arg(long, value_name = "PLACE")]
    state: Place,
}

/// How webhooks are called.
#[derive(Debug, clap::Args)]
pub(crate) struct HookArgs {
    /// A network that webhooks may be in although it is private, over http too; may be given again
    #[arg(long = "push-allow", value_name = "NET")]
    allow: Vec<IpNet>,
    /// A router of this mesh as it is reached from here: it takes pushes for clients of another version of
    /// A2A [default: the --router of a worker]
    #[arg(id = "push_router", long = "push-router", value_name = "URL")]
    router: Option<Url>,
    /// How long a webhook may take to answer
    #[arg(long = "push-within", value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    within: Duration,
    /// Sign what is posted with this private key: PKCS #8 in PEM, on P-256 or Ed25519, or RSA
    #[arg(
        id = "push_sign",
        long = "push-sign",
        value_name = "PEM",
        requires = "push_sign_id"
    )]
    sign: Option<String>,
    /// The name by which receivers know that key
    #[arg(
        id = "push_sign_id",
        long = "push-sign-id",
        value_name = "ID",
        requires = "push_sign"
    )]
    sign_id: Option<String>,
}

impl HookArgs {
    /// With the router that is known anyway, if there is one.
    pub(crate) fn settings(self, router: Option<&str>) -> Result<Settings, Failure> {
        let signer = match (&self.sign, &self.sign_id) {
            (Some(file), Some(id)) => {
                let signer = Signer::from_pem(&source::read(file)?, id, None);
                let signer = signer.with_context(|| file.clone());
                Some(Arc::new(signer.map_err(Failure::usage)?))
            }
            _ => None,
        };
        let router = self.router.or_else(|| router?.parse().ok());
        let own = router.and_then(|router| router.join("/-/push/").ok());
        Ok(Settings {
            allow: self.allow,
            own: own.into_iter().collect(),
            within: self.within,
            signer,
            ..Settings::default()
        })
    }
}

#[derive(Debug, clap::Args)]
struct RelayArgs {
    /// Where the workers keep their tasks: `sqlite:DIR`
    // Asked for below: a subcommand has one of its own, and clap would ask for both.
    #[arg(long, value_name = "PLACE")]
    state: Option<Place>,
    #[command(flatten)]
    hooks: HookArgs,
    #[cfg(feature = "router")]
    #[command(flatten)]
    door: door::DoorArgs,
    /// Where /healthz, /readyz and /metrics are served [default: nowhere]
    #[arg(long, value_name = "HOST:PORT")]
    admin: Option<String>,
    /// Log JSON, one object per line
    #[arg(long)]
    log_json: bool,
}

pub(crate) fn run(args: Args, output: &Output) -> Result<Exit, Failure> {
    match args.verb {
        Some(Verb::Dead(dead)) => role::here(dead_letters(dead, output)),
        Some(Verb::Verify(args)) => verify::run(&args, output),
        None => role::on_threads(None, relay(args.relay, output)),
    }
}

/// A place that somebody else can have put something into.
fn shared(place: Place) -> Result<Place, Failure> {
    match place {
        Place::Memory => Err(Failure::usage(anyhow::anyhow!(
            "--state memory is of one process; say where the workers keep their tasks: sqlite:DIR or dapr"
        ))),
        place @ (Place::Sqlite(_) | Place::Dapr { .. }) => Ok(place),
    }
}

async fn relay(args: RelayArgs, output: &Output) -> Result<Exit, Failure> {
    let format = if args.log_json {
        LogFormat::Json
    } else {
        LogFormat::Text
    };
    role::follow_parent();
    telemetry::init(format).map_err(Failure::usage)?;
    let mut stop = role::Stop::listen().map_err(Failure::role)?;
    let state = args.state.ok_or_else(|| {
        let missing = "say where the workers keep their tasks: --state sqlite:DIR";
        Failure::usage(anyhow::anyhow!(missing))
    })?;
    let settings = RelaySettings {
        state: shared(state)?,
        admin: args.admin,
        push: args.hooks.settings(None)?,
    };
    #[cfg_attr(
        not(feature = "router"),
        expect(unused_mut, reason = "the door has instruments")
    )]
    let mut registry = Registry::default();
    #[cfg(feature = "router")]
    let door = door::open(args.door, &settings.state, &mut registry).await?;
    let relaying = Relaying::start(settings, registry);
    let relaying = relaying.await.map_err(Failure::role)?;
    #[cfg(feature = "router")]
    if let Some(door) = &door {
        output.line(&format!("relay ready on http://{}", door.address()));
    }
    if let Some(admin) = relaying.admin_addr() {
        output.line(&format!("admin ready on http://{admin}"));
    }
    output.line("push ready");
    stop.asked().await;
    #[cfg(feature = "router")]
    if let Some(door) = door {
        door.drain().await;
    }
    relaying.drain().await;
    Ok(Exit::Ok)
}

/// A letter as it is printed: without what the webhook is convinced by.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    name: &'a str,
    time: String,
    agent: &'a str,
    task: &'a str,
    id: &'a str,
    url: &'a str,
    reason: &'a str,
}

async fn dead_letters(dead: Dead, output: &Output) -> Result<Exit, Failure> {
    match dead {
        Dead::List {
            place,
            limit,
            after,
        } => {
            let (records, _) = open(place).await?;
            let letters = Letter::list(&records, after.as_deref(), limit).await;
            for (name, letter) in letters.map_err(Failure::role)? {
                show(&name, &letter, output)?;
            }
        }
        Dead::Replay { place, names, all } => {
            let (records, bus) = open(place).await?;
            let sent = replay(&records, &bus, &names, all).await?;
            output.remark(&format!("{sent} sent anew"));
        }
    }
    Ok(Exit::Ok)
}

/// Sends letters anew; how many.
async fn replay(
    records: &Records,
    bus: &Transit,
    names: &[String],
    all: bool,
) -> Result<usize, Failure> {
    const PAGE: usize = 256;
    // What dies again meanwhile has a later name: the walk comes to an end.
    let began = format!("{:013}", clock::unix_millis());
    let (mut after, mut found) = (None, Vec::new());
    let mut sent = 0;
    loop {
        let page = Letter::list(records, after.as_deref(), PAGE).await;
        let page = page.map_err(Failure::role)?;
        let is_last = page.len() < PAGE;
        after = page.last().map(|(name, _)| name.clone());
        for (name, letter) in page {
            if (all && name < began) || names.contains(&name) {
                let replayed = letter.replay(&name, records, bus).await;
                replayed.map_err(Failure::role)?;
                found.push(name);
                sent += 1;
            }
        }
        if is_last {
            break;
        }
    }
    match names.iter().find(|name| !found.contains(name)) {
        Some(missing) => Err(Failure::role(anyhow::anyhow!(
            "there is no dead letter {missing} ({sent} were sent anew)"
        ))),
        None => Ok(sent),
    }
}

fn show(name: &str, letter: &Letter, output: &Output) -> Result<(), Failure> {
    let push = &letter.push;
    let time = letter.time();
    let shown = Shown {
        name,
        agent: &push.agent,
        task: &push.task,
        id: &push.id,
        url: &push.url,
        reason: &letter.reason,
        time,
    };
    match output.format {
        Format::Json => output.json(&shown)?,
        Format::Text => {
            let name = output.paint(Tone::Strong, name);
            let time = output.paint(Tone::Faint, &shown.time);
            let reason = output.paint(Tone::Bad, shown.reason);
            output.line(&format!(
                "{name} {time} {} {}: {reason}",
                shown.task, shown.url
            ));
        }
    }
    Ok(())
}

async fn open(place: PlaceArgs) -> Result<(Records, Transit), Failure> {
    let place = shared(place.state)?;
    if let Place::Sqlite(dir) = &place
        && !dir.is_dir()
    {
        let dir: &PathBuf = dir;
        return Err(Failure::usage(anyhow::anyhow!(
            "{} is no folder",
            dir.display()
        )));
    }
    let store = record::open(&place).await.map_err(Failure::role)?;
    let bus = Transit::open(&place).await.map_err(Failure::role)?;
    Ok((Records::new(store, Duration::from_hours(24)), bus))
}
