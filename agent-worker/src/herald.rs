//! What a worker tells every router of itself, on the bus: that its cards may be new, when it starts, and
//! that it drains, when it ends.
//!
//! # Invariants
//! - Each is told once in a life and may be lost: routers find both out by themselves, only later.
//! - Nothing waits for it but the end of a drain, and that for [`WITHIN`] at most.

use std::{net::SocketAddr, time::Duration};

use mesh_fabric::{
    bus::{self, Message, Transit},
    state::Place,
};
use mesh_proto::{
    json,
    mesh::{CONTROL_TOPIC, ControlKind, ControlNews},
};
use mesh_runtime::{clock, drain::Drain};
use tracing::debug;

/// How long the bus may take to take the last word.
const WITHIN: Duration = Duration::from_secs(1);

/// How long what was told is of use to anybody.
const KEPT: Duration = Duration::from_secs(60);

/// Whether routers are told, and where.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The bus that they listen to. Unset: nothing is told.
    pub at: Option<Place>,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Herald {
    bus: Option<Transit>,
    agents: Vec<String>,
    boot: String,
    url: String,
}

impl Settings {
    /// Opens the bus, where routers are to be told.
    ///
    /// # Errors
    /// [`bus::Error`], where it can't be opened, or no other process has it.
    pub async fn open(&self) -> Result<Option<Transit>, bus::Error> {
        match &self.at {
            Some(place) => Transit::open_to_tell(place).await.map(Some),
            None => Ok(None),
        }
    }
}

impl Herald {
    /// The herald of a worker with these agents, in this life, at this port; without a bus it is silent.
    #[must_use]
    pub fn new(bus: Option<Transit>, agents: Vec<String>, boot: String, port: SocketAddr) -> Self {
        // Bound to every address of its machine it does not know by which it is known.
        let url = match port.ip().is_unspecified() {
            true => String::new(),
            false => format!("http://{port}"),
        };
        Self {
            bus,
            agents,
            boot,
            url,
        }
    }

    /// Tells, beside what else goes on, that the agents' cards may be new.
    pub fn arrive(&self, drain: &Drain) {
        if self.bus.is_none() {
            return;
        }
        let (herald, signal) = (self.clone(), drain.clone());
        drain.spawn("herald", async move {
            tokio::select! {
                () = signal.signaled() => {}
                () = herald.tell(ControlKind::CardChanged) => {}
            }
        });
    }

    /// Tells that the worker takes nothing new, and waits for the bus to take it, within [`WITHIN`].
    pub async fn leave(&self) {
        let told = tokio::time::timeout(WITHIN, self.tell(ControlKind::Draining));
        if told.await.is_err() {
            debug!("the bus did not take in time that the worker drains; routers see it later");
        }
    }

    async fn tell(&self, kind: ControlKind) {
        let (Some(bus), Ok(topic)) = (&self.bus, CONTROL_TOPIC.parse()) else {
            return;
        };
        let news = ControlNews {
            kind,
            agents: self.agents.clone(),
            boot: self.boot.clone(),
            url: self.url.clone(),
            at: clock::unix_millis(),
        };
        let id = match kind {
            ControlKind::Draining => format!("{}.draining", self.boot),
            ControlKind::CardChanged => format!("{}.card-changed", self.boot),
            ControlKind::Unknown => return,
        };
        let message = Message {
            ttl: Some(KEPT),
            ..Message::new(topic, id, self.boot.clone(), json::to_bytes(&news))
        };
        if let Err(error) = bus.publish_one(message).await {
            debug!(%error, ?kind, "routers were not told; they find it out later");
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::{BoxFuture, pending, ready};
    use mesh_fabric::bus::{Arrivals, Bus, Depth, Error, Promises, Reach, Topic};
    use tokio::time::Instant;

    use super::*;

    /// A bus that takes nothing and never says so.
    #[derive(Debug)]
    struct Stuck;

    impl Bus for Stuck {
        fn promises(&self) -> Promises {
            Promises::default()
        }

        fn publish(&self, _: Vec<Message>) -> BoxFuture<'_, Vec<Result<(), Error>>> {
            Box::pin(pending())
        }

        fn subscribe(
            &self,
            _: Topic,
            _: Reach,
            _: usize,
        ) -> BoxFuture<'_, Result<Box<dyn Arrivals>, Error>> {
            Box::pin(ready(Err(Error::Closed)))
        }

        fn depth(&self, _: Topic, _: String) -> BoxFuture<'_, Result<Option<Depth>, Error>> {
            Box::pin(ready(Ok(None)))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_bus_that_does_not_answer_holds_a_drain_up_for_a_second_and_no_longer() {
        let herald = Herald {
            bus: Some(Transit::of(Stuck)),
            ..Herald::default()
        };
        let begun = Instant::now();
        herald.leave().await;
        assert_eq!(begun.elapsed(), WITHIN);
    }

    #[test]
    fn a_worker_that_is_bound_to_every_address_names_none() {
        let of = |port: &str| {
            let port = port.parse().unwrap();
            Herald::new(None, Vec::new(), String::new(), port).url
        };
        assert_eq!(of("0.0.0.0:80"), "");
        assert_eq!(of("[::]:80"), "");
        assert_eq!(of("[::1]:80"), "http://[::1]:80");
    }
}
