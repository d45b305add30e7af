//! A port for the notifications of agents, and for nothing else: what comes there is a queue's to deliver.
//!
//! It holds the keys of the mesh's routers, whose addresses agents were given with this port as their
//! base (`--relay-url` of the routers).

use std::{net::SocketAddr, sync::Arc, time::Duration};

use mesh_core::token::Keys;
use mesh_runtime::{
    drain::{self, Outcome, Trigger},
    egress,
    net::{self, Listener},
};
use prometheus_client::registry::Registry;

use super::Error;
use crate::{
    binding::{self, intake},
    push::{Push, Queue},
    webhook::{self, Webhooks},
};

/// How long what has come may take at the end.
const GRACE: Duration = Duration::from_secs(12);

/// A port that is open.
#[derive(Debug)]
pub struct Receiving {
    address: SocketAddr,
    trigger: Trigger,
}

impl Receiving {
    /// Opens it.
    ///
    /// # Errors
    /// [`Error::Bind`].
    pub async fn start(
        listen: &str,
        keys: Arc<Keys>,
        queue: Arc<dyn Queue>,
        registry: &mut Registry,
    ) -> Result<Self, Error> {
        let settings = webhook::Settings::default();
        let bounds = settings.bounds();
        let webhooks = Webhooks::new(settings, None, keys, egress::Settings::default());
        let push = Push::new(Arc::new(webhooks), bounds, registry).queued(queue);
        let bound = Listener::bind(listen).await;
        let listener = bound.map_err(|source| Error::Bind {
            address: listen.to_owned(),
            source,
        })?;
        let address = listener.local_addr();
        let (trigger, drain) = drain::channel();
        let (bounds, body) = (net::Settings::default(), intake::Settings::default());
        let serving = net::serve(listener, bounds, drain.clone(), move |request, _| {
            let push = push.clone();
            async move { binding::notify::take(&push, &body, request).await }
        });
        drain.spawn("notifications", serving);
        Ok(Self { address, trigger })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes nothing more, finishes what has come, and ends.
    pub async fn drain(self) -> Outcome {
        self.trigger.drain(GRACE).await
    }
}
