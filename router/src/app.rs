//! Wires a router: the one place that names every piece.
//!
//! # Invariants
//! - When [`Router::start`] returns, every port is bound; their addresses are the real ones.
//! - A router that takes over from another begins to accept when it is ready, and the other ends then.
//! - On the signal: not ready; after [`Settings::announce`] no new connections; then what runs may
//!   finish within the grace.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use mesh_fabric::bus;
use mesh_proto::AgentName;
use mesh_runtime::{
    admin,
    directory::{self, Directory},
    drain::{self, Drain, Outcome, Trigger},
    egress::Egress,
    net::{self, Listener, takeover::Generation},
};
use prometheus_client::registry::Registry;
use tracing::{info, warn};
use url::Url;

use crate::{
    admission::Admission,
    binding::{Door, Front},
    catalogue::{self, Catalogue, control::Control},
    config::Settings,
    dispatch::Dispatch,
    journal::Journal,
    listen,
    push::Push,
    relay::Relay,
    stream::Keeping,
    webhook::Webhooks,
};

mod receiving;

pub use receiving::Receiving;

/// A router that runs.
#[derive(Debug)]
pub struct Router {
    addresses: Addresses,
    catalogue: Arc<Catalogue>,
    front: Arc<Front>,
    keeping: Keeping,
    /// Whether it has been told to end.
    leaving: Arc<AtomicBool>,
    generation: Generation,
    calls: Trigger,
    /// That of the records of calls, which outlast these.
    journal: Trigger,
    /// The admin port's own drain: probes are answered while calls finish.
    admin: Trigger,
    announce: Duration,
    grace: Duration,
}

/// Where a router listens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Addresses {
    /// All agents.
    pub main: SocketAddr,
    /// Probes and metrics.
    pub admin: Option<SocketAddr>,
    /// Single agents.
    pub agents: Vec<(AgentName, SocketAddr)>,
}

/// Why a router did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A port can't be had.
    #[error("can't listen on {address}")]
    Bind {
        /// Which.
        address: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The ports can't be taken over, or not be passed on.
    #[error("can't take the ports over, or offer them to the next router (--takeover)")]
    Takeover(#[source] io::Error),
    /// The bus that records of calls go to can't be opened.
    #[error("calls can't be recorded as told (--calls-to)")]
    Journal(#[source] bus::Error),
    /// The bus that control events come by can't be listened to.
    #[error("control events can't be heard as told (--control-at)")]
    Control(#[source] bus::Error),
    /// A source of members can't be followed.
    #[error("the agents' members can't be had as told")]
    Members(#[from] directory::Error),
}

impl Router {
    /// Binds every port and serves.
    ///
    /// # Errors
    /// [`Error`].
    pub fn start(settings: Settings) -> BoxFuture<'static, Result<Self, Error>> {
        // Everything that there is stands in it: too large for the stack of whoever waits for it.
        Box::pin(Self::begin(settings))
    }

    async fn begin(settings: Settings) -> Result<Self, Error> {
        let mut registry = Registry::default();
        let (calls, drain) = drain::channel();
        let (admin, admin_drain) = drain::channel();
        let network = net::Metrics::register(&mut registry);
        let mut ports = Ports::bind(&settings, &network).await?;
        if settings.keys.is_development() {
            warn!("the built-in development key serves: fit for this machine only (--keys FILE)");
        }
        let (announce, grace) = (settings.announce, settings.grace);
        let bounds = settings.net.clone();
        let (journal, journal_drain) = drain::channel();
        let buses = Buses::open(&settings, &mut registry, &journal_drain).await?;
        let main = ports.addresses.main;
        let wired = wire(settings, main, buses, &mut registry, &drain);
        let wired = wired.await?;
        let Wired {
            catalogue,
            sources,
            front,
            keeping,
        } = wired;

        let leaving = Arc::new(AtomicBool::new(false));
        let (seen, left) = (Arc::clone(&catalogue), Arc::clone(&leaving));
        let is_ready = move || sources.is_complete() && seen.is_ready();
        if ports.generation.is_next() {
            info!("another router serves until this one is ready");
            while !is_ready() {
                tokio::time::sleep(LOOK).await;
            }
        }
        if let Some(listener) = ports.admin {
            let ready = move || !left.load(Ordering::Relaxed) && is_ready();
            let registry = Arc::new(registry);
            let serving = admin::serve(listener, registry, ready, admin_drain.clone());
            admin_drain.spawn("admin", serving);
        }
        for (listener, door) in ports.calls {
            let (bounds, front) = (bounds.clone(), Arc::clone(&front));
            let serving = listen::serve(listener, bounds, drain.clone(), front, door);
            drain.spawn("listener", serving);
        }
        ports.generation.serves().await.map_err(Error::Takeover)?;
        Ok(Self {
            addresses: ports.addresses,
            catalogue,
            front,
            keeping,
            leaving,
            generation: ports.generation,
            calls,
            journal,
            admin,
            announce,
            grace,
        })
    }

    /// Where it listens.
    #[must_use]
    pub const fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The agents that it serves.
    #[must_use]
    pub const fn catalogue(&self) -> &Arc<Catalogue> {
        &self.catalogue
    }

    /// Waits until another router has taken the ports over and serves; this one is then to drain.
    ///
    /// # Cancel safety
    /// As [`Generation::ends`].
    pub async fn superseded(&mut self) {
        self.generation.ends().await;
    }

    /// Says that it leaves, lets what runs finish, within the grace, and ends.
    pub async fn drain(self) -> Outcome {
        info!(announce = ?self.announce, grace = ?self.grace, "draining");
        self.leaving.store(true, Ordering::Relaxed);
        self.front.leave().await;
        if self.generation.has_ended() {
            // Who asks this port how the router is means the next one.
            self.admin.signal();
        } else {
            tokio::time::sleep(self.announce).await;
        }
        // Its sockets would keep the ports open, with nobody who accepts.
        drop(self.generation);
        let (keeping, left) = (self.keeping, self.grace.saturating_sub(LAST_WORDS));
        let outcome = tokio::select! {
            outcome = self.calls.drain(self.grace) => outcome,
            never = async {
                tokio::time::sleep(left).await;
                keeping.end_all();
                std::future::pending().await
            } => never,
        };
        self.journal.drain(RECORDS).await;
        self.admin.drain(admin::GRACE).await;
        match &outcome {
            Outcome::Finished => info!("drained: every call ended by itself"),
            Outcome::Cut(left) => warn!(?left, "drained: the grace was over first"),
        }
        outcome
    }
}

/// How long before the end of its grace a router ends the streams that are left, each at a boundary and
/// with words: its client can go on elsewhere.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How long the records of the last calls have to reach the bus.
const RECORDS: Duration = Duration::from_secs(2);

/// How often a router that is to take over looks whether it is ready.
const LOOK: Duration = Duration::from_millis(20);

/// The ports of a router, bound and not yet served.
struct Ports {
    addresses: Addresses,
    calls: Vec<(Listener, Door)>,
    admin: Option<Listener>,
    generation: Generation,
}

impl Ports {
    async fn bind(settings: &Settings, network: &net::Metrics) -> Result<Self, Error> {
        let takeover = settings.takeover.as_deref();
        let mut generation = Generation::begin(takeover).await.map_err(Error::Takeover)?;
        let main = bind(&mut generation, "main", &settings.listen).await?;
        let mut addresses = Addresses {
            main: main.local_addr(),
            admin: None,
            agents: Vec::new(),
        };
        let mut calls = vec![(main.counted(network.clone()), Door::Main)];
        for own in &settings.listen_agents {
            let role = format!("agent:{}", own.name);
            let listener = bind(&mut generation, &role, &own.listen).await?;
            addresses
                .agents
                .push((own.name.clone(), listener.local_addr()));
            let listener = listener.counted(network.clone());
            calls.push((listener, Door::Agent(own.name.clone())));
        }
        let mut admin = None;
        if let Some(address) = &settings.admin {
            let listener = bind(&mut generation, "admin", address).await?;
            addresses.admin = Some(listener.local_addr());
            admin = Some(listener);
        }
        Ok(Self {
            addresses,
            calls,
            admin,
            generation,
        })
    }
}

async fn bind(generation: &mut Generation, role: &str, address: &str) -> Result<Listener, Error> {
    let bound = generation.bind(role, address).await;
    bound.map_err(|source| Error::Bind {
        address: address.to_owned(),
        source,
    })
}

/// What goes to the bus, and what is heard there.
struct Buses {
    records: Journal,
    control: Option<Control>,
}

impl Buses {
    async fn open(
        settings: &Settings,
        registry: &mut Registry,
        drain: &Drain,
    ) -> Result<Self, Error> {
        let is_any = settings.calls.to.is_some() || settings.control.at.is_some();
        let counts = match is_any {
            true => bus::Metrics::register(registry),
            false => bus::Metrics::default(),
        };
        let records = Journal::open(&settings.calls, counts.clone(), registry, drain);
        let records = records.await.map_err(Error::Journal)?;
        let control = Control::open(&settings.control, counts, registry);
        let control = control.await.map_err(Error::Control)?;
        Ok(Self { records, control })
    }
}

/// What answers calls, and what it knows.
struct Wired {
    catalogue: Arc<Catalogue>,
    sources: Directory,
    front: Arc<Front>,
    keeping: Keeping,
}

async fn wire(
    settings: Settings,
    main: SocketAddr,
    buses: Buses,
    registry: &mut Registry,
    drain: &Drain,
) -> Result<Wired, Error> {
    let directory = directory::Metrics::register(registry);
    let catalogue = Catalogue::new(
        Arc::clone(&settings.keys),
        catalogue::Settings {
            default: settings.default_agent.clone(),
            slow_start: Duration::from_secs(settings.dispatch.slow_start_seconds),
            zone: settings.zone.clone(),
        },
        settings.cards,
        Egress::new(settings.egress.clone()),
        registry,
        drain.clone(),
    );
    let sources = Directory::open(settings.plan, &settings.directory, &directory, drain).await?;
    catalogue.follow(sources.rosters());
    if let Some(control) = buses.control {
        control.follow(&catalogue);
    }
    let admission = Arc::new(Admission::new(settings.admission, registry));
    let bounds = settings.push.bounds();
    let base = settings.front.public_url.clone();
    let base = base.or_else(|| reached_at(main));
    let (push, keys) = (settings.push, settings.keys);
    let webhooks = Arc::new(Webhooks::new(push, base.as_ref(), keys, settings.egress));
    let push = Push::new(Arc::clone(&webhooks), bounds, registry);
    let dispatch = Dispatch::new(
        settings.dispatch,
        settings.envelope,
        settings.transcode,
        settings.extensions,
        webhooks,
        Arc::clone(&catalogue),
    );
    let keeping = Keeping::start(settings.stream, registry, drain);
    let relay = Arc::new(Relay::new(
        admission,
        Arc::clone(&catalogue),
        dispatch,
        settings.gather,
        keeping.clone(),
        buses.records,
    ));
    let front = Front::new(settings.front, relay, Arc::clone(&catalogue), push);
    Ok(Wired {
        catalogue,
        sources,
        front: Arc::new(front),
        keeping,
    })
}

/// Where others reach a port, as far as that can be told from here: not where it is bound to every
/// address of this machine.
fn reached_at(port: SocketAddr) -> Option<Url> {
    let is_one = !port.ip().is_unspecified();
    is_one.then(|| Url::parse(&format!("http://{port}")).ok())?
}
