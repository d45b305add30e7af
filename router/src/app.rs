//! Wires a router: the one place that names every piece.
//!
//! # Invariants
//! - When [`Router::start`] returns, every port is bound; their addresses are the real ones.
//! - On the signal: not ready, then no new connections, then what runs may finish within the grace.

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use mesh_proto::AgentName;
use mesh_runtime::{
    admin,
    directory::{self, Roster},
    drain::{self, Drain, Outcome, Trigger},
    egress::Egress,
    net::{self, Listener},
};
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tracing::{info, warn};
use url::Url;

use crate::{
    admission::Admission,
    binding::{Door, Front},
    catalogue::Catalogue,
    config::{Settings, Source},
    dispatch::Dispatch,
    listen,
    push::Push,
    relay::Relay,
    webhook::Webhooks,
};

/// How often a watched members file is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// A router that runs.
#[derive(Debug)]
pub struct Router {
    addresses: Addresses,
    catalogue: Arc<Catalogue>,
    calls: Trigger,
    /// The admin port's own drain: probes are answered while calls finish.
    admin: Trigger,
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
    /// The members file is wrong.
    #[error("{path} names no usable agents")]
    Members {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: directory::Error,
    },
}

impl Router {
    /// Binds every port and serves.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn start(settings: Settings) -> Result<Self, Error> {
        let mut registry = Registry::default();
        let (calls, drain) = drain::channel();
        let (admin_trigger, admin_drain) = drain::channel();
        let network = net::Metrics::register(&mut registry);
        let directory = directory::Metrics::register(&mut registry);

        let (mut addresses, ports) = ports(&settings, &network).await?;
        if settings.keys.is_development() {
            warn!("the built-in development key serves: fit for this machine only (--keys FILE)");
        }
        let catalogue = Catalogue::new(
            Arc::clone(&settings.keys),
            settings.default_agent.clone(),
            settings.cards,
            Egress::new(settings.egress.clone()),
            &mut registry,
            drain.clone(),
        );
        catalogue.follow(rosters(settings.source, directory, &drain).await?);
        let admission = Arc::new(Admission::new(settings.admission));
        let at_once = settings.push.at_once;
        let base = settings.front.public_url.clone();
        let base = base.or_else(|| reached_at(addresses.main));
        let (push, keys) = (settings.push, settings.keys);
        let webhooks = Arc::new(Webhooks::new(push, base.as_ref(), keys, settings.egress));
        let push = Push::new(Arc::clone(&webhooks), at_once, &mut registry);
        let dispatch = Dispatch::new(
            settings.dispatch,
            settings.envelope,
            settings.transcode,
            settings.extensions,
            webhooks,
            Arc::clone(&catalogue),
        );
        let relay = Arc::new(Relay::new(
            admission,
            Arc::clone(&catalogue),
            dispatch,
            settings.gather,
        ));
        let front = Arc::new(Front::new(
            settings.front,
            relay,
            Arc::clone(&catalogue),
            push,
        ));

        if let Some(address) = &settings.admin {
            let listener = bind(address).await?;
            addresses.admin = Some(listener.local_addr());
            let (seen, calls) = (Arc::clone(&catalogue), drain.clone());
            let ready = move || !calls.is_signaled() && seen.is_ready();
            let registry = Arc::new(registry);
            let serving = admin::serve(listener, registry, ready, admin_drain.clone());
            admin_drain.spawn("admin", serving);
        }
        for (listener, door) in ports {
            let serving = listen::serve(
                listener,
                settings.net.clone(),
                drain.clone(),
                Arc::clone(&front),
                door,
            );
            drain.spawn("listener", serving);
        }
        Ok(Self {
            addresses,
            catalogue,
            calls,
            admin: admin_trigger,
            grace: settings.grace,
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

    /// Lets what runs finish, within the grace, and ends.
    pub async fn drain(self) -> Outcome {
        info!(grace = ?self.grace, "draining");
        let outcome = self.calls.drain(self.grace).await;
        self.admin.drain(Duration::ZERO).await;
        match &outcome {
            Outcome::Finished => info!("drained: every call ended by itself"),
            Outcome::Cut(left) => warn!(?left, "drained: the grace was over first"),
        }
        outcome
    }
}

/// Binds every port that serves agents.
async fn ports(
    settings: &Settings,
    network: &net::Metrics,
) -> Result<(Addresses, Vec<(Listener, Door)>), Error> {
    let main = bind(&settings.listen).await?.counted(network.clone());
    let mut addresses = Addresses {
        main: main.local_addr(),
        admin: None,
        agents: Vec::new(),
    };
    let mut ports = vec![(main, Door::Main)];
    for own in &settings.listen_agents {
        let listener = bind(&own.listen).await?.counted(network.clone());
        addresses
            .agents
            .push((own.name.clone(), listener.local_addr()));
        ports.push((listener, Door::Agent(own.name.clone())));
    }
    Ok((addresses, ports))
}

/// Where others reach a port, as far as that can be told from here: not where it is bound to every
/// address of this machine.
fn reached_at(port: SocketAddr) -> Option<Url> {
    let is_one = !port.ip().is_unspecified();
    is_one.then(|| Url::parse(&format!("http://{port}")).ok())?
}

async fn bind(address: &str) -> Result<Listener, Error> {
    Listener::bind(address).await.map_err(|source| Error::Bind {
        address: address.to_owned(),
        source,
    })
}

/// The rosters of a source. A members file that is not there yet is waited for, with no agents and
/// not ready until then: in a cluster the file may be mounted after the process has started.
async fn rosters(
    source: Source,
    metrics: directory::Metrics,
    drain: &Drain,
) -> Result<watch::Receiver<Arc<Roster>>, Error> {
    let path = match source {
        Source::Fixed(roster) => return Ok(directory::fixed(roster, drain)),
        Source::Watched(path) => path,
    };
    if path.exists() {
        let read = directory::file(path.clone(), LOOK_EVERY, metrics, drain).await;
        return read.map_err(|source| Error::Members { path, source });
    }
    info!(path = %path.display(), "the members file is not there yet; waiting for it");
    let (sender, receiver) = watch::channel(Arc::default());
    let until = drain.clone();
    drain.spawn("directory", async move {
        let mut tick = tokio::time::interval(LOOK_EVERY);
        let mut read = loop {
            tokio::select! {
                () = until.signaled() => return,
                _ = tick.tick() => {}
            }
            match directory::file(path.clone(), LOOK_EVERY, metrics.clone(), &until).await {
                Ok(read) => break read,
                Err(directory::Error::Read { .. }) => {}
                Err(error) => warn!(path = %path.display(), %error, "roster refused"),
            }
        };
        loop {
            sender.send_replace(read.borrow_and_update().clone());
            tokio::select! {
                () = until.signaled() => return,
                changed = read.changed() => if changed.is_err() { return },
            }
        }
    });
    Ok(receiver)
}
