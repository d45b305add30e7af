//! A worker as a process: the one place that puts its pieces together.
//!
//! # Invariants
//! - The admin listener goes last: it answers, with "not ready", while turns are finished.
//! - The store is open, the lease is held and every agent is there before the first connection is
//!   accepted.
//! - What the last turns have to tell goes to the bus after they have ended.
//! - The lease is given back last of all: until then nobody takes a task that may still be finished here.

mod relaying;

use std::{collections::BTreeSet, io, net::SocketAddr, sync::Arc, time::Duration};

use mesh_fabric::{
    bus::{self, Topic, Transit},
    state::{self, Place, Store},
};
use mesh_proto::AgentName;
use mesh_runtime::{
    admin,
    drain::{self, Outcome, Trigger},
    net::{self, Listener},
};
use prometheus_client::registry::Registry;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::{
    agent::Agent,
    desk::Desk,
    group::{self, Fanout},
    herald::{self, Herald},
    notify::{self, Notifier},
    push::{self, Relay},
    record::{self, Records},
    serve::{self, Server},
    task::{Counts, Ledger, Limits, Membership, Metrics, Survival},
    view::Views,
};

pub use relaying::{Relaying, Settings as RelaySettings};

/// How a worker runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `HOST:PORT` for A2A, all three bindings. Port 0 takes a free one.
    pub listen: String,
    /// `HOST:PORT` for `/healthz`, `/readyz` and `/metrics`; none without it.
    pub admin: Option<String>,
    /// The agent that the root of the port serves. Default: the only one, if there is one.
    pub default_agent: Option<AgentName>,
    /// Where tasks and conversations are kept. Default in memory.
    pub state: Place,
    /// The topics of the bus that the sidecar brings in batches to this port; it must be told so by its
    /// `--app-port`. Default none: all comes by streams.
    pub batches: BTreeSet<Topic>,
    /// How long they are kept after their last change. Default 7 days.
    pub retention: Duration,
    /// How much the worker takes on.
    pub limits: Limits,
    /// How long running turns may take to finish when the worker is told to end. Default 30 s.
    pub grace: Duration,
    /// How the worker holds on to its tasks.
    pub survival: Survival,
    /// What the listener allows its clients.
    pub net: net::Settings,
    /// What the server allows and says of itself.
    pub serve: serve::Settings,
    /// How events are pushed to webhooks.
    pub push: push::Settings,
    /// What is told of tasks.
    pub notify: notify::Settings,
    /// How the members of groups are asked.
    pub group: group::Settings,
    /// Where routers are told of the worker.
    pub control: herald::Settings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:0".to_owned(),
            admin: None,
            default_agent: None,
            state: Place::Memory,
            batches: BTreeSet::new(),
            retention: Duration::from_secs(7 * 24 * 3600),
            limits: Limits::default(),
            grace: Duration::from_secs(30),
            survival: Survival::default(),
            net: net::Settings::default(),
            serve: serve::Settings::default(),
            push: push::Settings::default(),
            notify: notify::Settings::default(),
            group: group::Settings::default(),
            control: herald::Settings::default(),
        }
    }
}

/// Why a worker did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address is taken or does not resolve.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address as configured.
        address: String,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// The store does not open.
    #[error("cannot open the store")]
    State(#[from] state::Error),
    /// The bus does not open.
    #[error("cannot open the bus")]
    Bus(#[from] bus::Error),
    /// The bus that routers listen to does not open.
    #[error("routers can't be told as said (--control-at)")]
    Control(#[source] bus::Error),
    /// There is nothing to serve.
    #[error("there is no agent")]
    NoAgent,
    /// The store does not take the worker's lease.
    #[error("cannot take a lease in the store")]
    Lease(#[from] record::Error),
    /// The default agent is none of the agents.
    #[error("there is no agent {0} to be the default")]
    NoSuchAgent(AgentName),
    /// Two agents of one name.
    #[error("agent {0} is there twice")]
    AgentTwice(AgentName),
}

/// A worker that runs.
#[derive(Debug)]
pub struct Worker {
    addr: SocketAddr,
    admin_addr: Option<SocketAddr>,
    boot: uuid::Uuid,
    ledger: Ledger,
    server: Server,
    herald: Herald,
    grace: Duration,
    hand_over_after: Duration,
    calls: Trigger,
    push: Trigger,
    lease: Trigger,
    admin: Trigger,
}

impl Worker {
    /// Starts a worker. `registry` is what `/metrics` shows: hand in the one that the agents' tools
    /// count in.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn start(
        settings: Settings,
        agents: Vec<Agent>,
        registry: Registry,
    ) -> Result<Self, Error> {
        let store = record::open(&settings.state).await?;
        let bus = Transit::open_in_batches(&settings.state, settings.batches.clone()).await?;
        let is_shared = settings.state != Place::Memory;
        let told = match &settings.control.at {
            Some(place) if is_shared && *place == settings.state => Some(bus.clone()),
            Some(_) | None => settings.control.open().await.map_err(Error::Control)?,
        };
        let ground = Ground { store, bus, told };
        // Everything that there is stands in it: too large for the stack of whoever waits for it.
        Box::pin(Self::begin(ground, settings, agents, registry)).await
    }

    /// Starts a worker on a store and a bus that are open: workers of one process can share them, and
    /// [`Settings::state`] is not looked at.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn start_on(
        store: Store,
        bus: Transit,
        settings: Settings,
        agents: Vec<Agent>,
        registry: Registry,
    ) -> Result<Self, Error> {
        let told = settings.control.open().await.map_err(Error::Control)?;
        let ground = Ground { store, bus, told };
        // Everything that there is stands in it: too large for the stack of whoever waits for it.
        Box::pin(Self::begin(ground, settings, agents, registry)).await
    }

    async fn begin(
        ground: Ground,
        settings: Settings,
        agents: Vec<Agent>,
        mut registry: Registry,
    ) -> Result<Self, Error> {
        let Ground { store, bus, told } = ground;
        check(&agents, settings.default_agent.as_ref())?;
        let counted = net::Metrics::register(&mut registry);
        let listener = bind(&settings.listen).await?.counted(counted);
        let (calls, drain) = drain::channel();
        let (admin, admin_drain) = drain::channel();
        let metrics = Metrics::register(&mut registry);
        let records = Records::new(store, settings.retention);
        let counts = bus::Metrics::register(&mut registry);
        let told = told.map(|bus| bus.counted(counts.clone()));
        let bus = bus.counted(counts).watched(&drain);
        let named = patiently(async || records.store_name().await, is_passing).await?;
        let fanout = Fanout::new(bus.clone(), records.clone(), settings.group, &mut registry);
        let agents: Vec<_> = agents.into_iter().map(|a| a.asking_by(&fanout)).collect();
        let names = agents.iter().map(|agent| agent.name().to_string());
        let names: Vec<_> = names.collect();
        let (boot, views) = (mesh_runtime::dice::uuid(), Views::default());
        let counts = Counts::register(&mut registry);
        let membership = Membership::new(boot.to_string(), agents.clone(), views.clone(), counts)
            .when_down(settings.survival.when_down);
        let ledger = Ledger::among(membership, records, settings.limits, metrics, drain.clone());
        let (lease, lease_drain) = drain::channel();
        let lease_ttl = settings.survival.lease;
        let hold = async || ledger.hold_lease(lease_ttl, &lease_drain).await;
        patiently(hold, |error| match error {
            record::Error::Store(error) => is_passing(error),
            record::Error::Taken | record::Error::Unreadable => false,
        })
        .await?;
        fanout.serve(&drain).await?;
        let records = ledger.records().clone();
        let (push, push_drain) = drain::channel();
        let notifier = Notifier::start(
            bus.clone(),
            records.clone(),
            settings.notify,
            &mut registry,
            &push_drain,
        );
        ledger.notify_by(notifier);
        let (guard, inlet) = (settings.push.guard(), bus.inlet());
        Relay::start(bus, records, settings.push, &mut registry, &push_drain).await?;
        let desk = Desk::new(agents, settings.default_agent, ledger.clone()).pushing(guard);
        let desk = Arc::new(desk.in_store(named));
        let server = Server::new(desk, settings.serve, boot, views, inlet).await;

        let mut admin_addr = None;
        if let Some(address) = &settings.admin {
            let listener = bind(address).await?;
            admin_addr = Some(listener.local_addr());
            let asked = ledger.clone();
            let ready = move || !asked.is_draining();
            let serving = admin::serve(listener, Arc::new(registry), ready, admin_drain.clone());
            admin_drain.spawn("admin", serving);
        }
        let addr = listener.local_addr();
        let herald = Herald::new(told, names, boot.to_string(), addr);
        let answering = server.clone();
        let service = move |request, peer| {
            let server = answering.clone();
            async move { server.call(request, peer).await }
        };
        let serving = net::serve(listener, settings.net, drain.clone(), service);
        drain.spawn("listener", serving);
        herald.arrive(&drain);
        Ok(Self {
            addr,
            admin_addr,
            boot,
            ledger,
            server,
            herald,
            grace: settings.grace,
            hand_over_after: settings.survival.hand_over_after,
            calls,
            push,
            lease,
            admin,
        })
    }

    /// Where it listens.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where its admin side listens.
    #[must_use]
    pub const fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin_addr
    }

    /// The name of this life of the worker.
    #[must_use]
    pub fn boot(&self) -> String {
        self.boot.to_string()
    }

    /// Takes nothing new, finishes the running turns within the grace or hands them over, and ends.
    /// The listener stays until then, where there is somebody to hand them to.
    pub async fn drain(self) -> Outcome {
        let begun = Instant::now();
        self.ledger.drain();
        let winding_down = async {
            self.server.drain().await;
            let ledger = &self.ledger;
            ledger.wind_down(self.hand_over_after, self.grace).await;
        };
        tokio::join!(self.herald.leave(), winding_down);
        let left = self.grace.saturating_sub(begun.elapsed());
        let outcome = self.calls.drain(left.max(LAST_CALLS)).await;
        match &outcome {
            Outcome::Finished => info!("all turns are finished"),
            Outcome::Cut(left) => warn!(?left, "the grace is over and work was cut"),
        }
        if let Outcome::Cut(left) = self.push.drain(PUSH_GRACE).await {
            info!(?left, "what was being pushed goes on elsewhere");
        }
        self.lease.drain(LEASE_GRACE).await;
        self.admin.drain(admin::GRACE).await;
        outcome
    }
}

/// What a worker stands on.
struct Ground {
    store: Store,
    bus: Transit,
    /// The bus that routers listen to, where they do.
    told: Option<Transit>,
}

/// The last answers may still be written when the turns have used the grace up.
const LAST_CALLS: Duration = Duration::from_secs(1);

/// How long what is being pushed may take: what is cut stays on the bus.
const PUSH_GRACE: Duration = Duration::from_secs(2);

/// How long the store may take to take the lease back.
const LEASE_GRACE: Duration = Duration::from_secs(2);

/// How long a worker that starts waits for a store that does not answer: another process may have been
/// frozen while it held the lock.
const STORE_PATIENCE: Duration = Duration::from_secs(60);

/// Asks the store until it answers, or for so long.
async fn patiently<T, E: std::fmt::Display>(
    ask: impl AsyncFn() -> Result<T, E>,
    is_passing: impl Fn(&E) -> bool,
) -> Result<T, E> {
    let give_up = Instant::now() + STORE_PATIENCE;
    loop {
        match ask().await {
            Err(error) if is_passing(&error) && Instant::now() < give_up => {
                warn!(%error, "the worker waits for its store");
                tokio::time::sleep(STORE_PAUSE).await;
            }
            asked => return asked,
        }
    }
}

const STORE_PAUSE: Duration = Duration::from_millis(250);

const fn is_passing(error: &state::Error) -> bool {
    matches!(error, state::Error::Unavailable(_))
}

fn check(agents: &[Agent], default: Option<&AgentName>) -> Result<(), Error> {
    if agents.is_empty() {
        return Err(Error::NoAgent);
    }
    let mut names = BTreeSet::new();
    for agent in agents {
        if !names.insert(agent.name()) {
            return Err(Error::AgentTwice(agent.name().clone()));
        }
    }
    match default {
        Some(name) if !names.contains(name) => Err(Error::NoSuchAgent(name.clone())),
        _ => Ok(()),
    }
}

async fn bind(address: &str) -> Result<Listener, Error> {
    Listener::bind(address)
        .await
        .map_err(|source| Error::Listen {
            address: address.to_owned(),
            source,
        })
}

#[cfg(test)]
mod tests;
