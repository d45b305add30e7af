//! A relay as a process of its own: it pushes what workers on the same place put on their bus.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use mesh_fabric::{
    bus::{self, Transit},
    state::Place,
};
use mesh_runtime::{
    admin,
    drain::{self, Outcome, Trigger},
};
use prometheus_client::registry::Registry;

use super::{Error, bind};
use crate::{
    push::{self, Relay},
    record::{self, Records},
};

/// How a relay runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the bus and the store are.
    pub state: Place,
    /// `HOST:PORT` for `/healthz`, `/readyz` and `/metrics`; none without it.
    pub admin: Option<String>,
    /// How webhooks are called.
    pub push: push::Settings,
}

/// A relay that runs.
#[derive(Debug)]
pub struct Relaying {
    admin_addr: Option<SocketAddr>,
    pushes: Trigger,
    admin: Trigger,
}

/// How long records are kept that a relay writes beside its dead letters: it writes none.
const RETENTION: Duration = Duration::from_hours(24);

/// How long pushes that are under way may take at the end; what is cut stays on the bus.
const GRACE: Duration = Duration::from_secs(12);

impl Relaying {
    /// Starts it, with the instruments of what else is in the process.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn start(settings: Settings, mut registry: Registry) -> Result<Self, Error> {
        let records = Records::new(record::open(&settings.state).await?, RETENTION);
        let bus = Transit::open(&settings.state).await?;
        let (pushes, drain) = drain::channel();
        let bus = bus.counted(bus::Metrics::register(&mut registry));
        let bus = bus.watched(&drain);
        Relay::start(bus, records, settings.push, &mut registry, &drain).await?;
        let (admin, admin_drain) = drain::channel();
        let mut admin_addr = None;
        if let Some(address) = &settings.admin {
            let listener = bind(address).await?;
            admin_addr = Some(listener.local_addr());
            let ready = move || !drain.is_signaled();
            let serving = admin::serve(listener, Arc::new(registry), ready, admin_drain.clone());
            admin_drain.spawn("admin", serving);
        }
        Ok(Self {
            admin_addr,
            pushes,
            admin,
        })
    }

    /// Where its admin side listens.
    #[must_use]
    pub const fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin_addr
    }

    /// Takes nothing more, and ends.
    pub async fn drain(self) -> Outcome {
        let outcome = self.pushes.drain(GRACE).await;
        self.admin.drain(admin::GRACE).await;
        outcome
    }
}
