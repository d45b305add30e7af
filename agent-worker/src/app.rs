//! A worker as a process: the one place that puts its pieces together.
//!
//! # Invariants
//! - The admin listener goes last: it answers, with "not ready", while turns are finished.
//! - The store is open and every agent is there before the first connection is accepted.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use mesh_fabric::state::{self, Place, Store};
use mesh_proto::AgentName;
use mesh_runtime::{
    admin,
    drain::{self, Outcome, Trigger},
    net::{self, Listener},
};
use prometheus_client::registry::Registry;
use tracing::{info, warn};

use crate::{
    agent::Agent,
    desk::Desk,
    record::Records,
    serve::{self, Server},
    task::{Ledger, Limits, Metrics},
};

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
    /// How long they are kept after their last change. Default 7 days.
    pub retention: Duration,
    /// How much the worker takes on.
    pub limits: Limits,
    /// How long running turns may take to finish when the worker is told to end. Default 30 s.
    pub grace: Duration,
    /// What the listener allows its clients.
    pub net: net::Settings,
    /// What the server allows and says of itself.
    pub serve: serve::Settings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:0".to_owned(),
            admin: None,
            default_agent: None,
            state: Place::Memory,
            retention: Duration::from_secs(7 * 24 * 3600),
            limits: Limits::default(),
            grace: Duration::from_secs(30),
            net: net::Settings::default(),
            serve: serve::Settings::default(),
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
    /// There is nothing to serve.
    #[error("there is no agent")]
    NoAgent,
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
    grace: Duration,
    calls: Trigger,
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
        mut registry: Registry,
    ) -> Result<Self, Error> {
        check(&agents, settings.default_agent.as_ref())?;
        let store = Store::open(&settings.state).await?;
        let counted = net::Metrics::register(&mut registry);
        let listener = bind(&settings.listen).await?.counted(counted);
        let (calls, drain) = drain::channel();
        let (admin, admin_drain) = drain::channel();
        let metrics = Metrics::register(&mut registry);
        let records = Records::new(store, settings.retention);
        let named = records.store_name().await?;
        let ledger = Ledger::new(records, settings.limits, metrics, drain.clone());
        let desk = Desk::new(agents, settings.default_agent, ledger.clone());
        let desk = Arc::new(desk.in_store(named));
        let boot = uuid::Uuid::new_v4();
        let server = Server::new(desk, settings.serve, boot).await;

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
        let service = move |request, _peer| {
            let server = server.clone();
            async move { server.call(request).await }
        };
        let serving = net::serve(listener, settings.net, drain.clone(), service);
        drain.spawn("listener", serving);
        Ok(Self {
            addr,
            admin_addr,
            boot,
            ledger,
            grace: settings.grace,
            calls,
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

    /// Takes nothing new, finishes the running turns within the grace, and ends.
    pub async fn drain(self) -> Outcome {
        self.ledger.drain();
        let outcome = self.calls.drain(self.grace).await;
        match &outcome {
            Outcome::Finished => info!("all turns are finished"),
            Outcome::Cut(left) => warn!(?left, "the grace is over and work was cut"),
        }
        self.admin.drain(ADMIN_GRACE).await;
        outcome
    }
}

/// A scrape that has begun may finish.
const ADMIN_GRACE: Duration = Duration::from_secs(1);

fn check(agents: &[Agent], default: Option<&AgentName>) -> Result<(), Error> {
    if agents.is_empty() {
        return Err(Error::NoAgent);
    }
    let mut names = std::collections::BTreeSet::new();
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
