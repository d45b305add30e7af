//! Later rounds: a topic for each pause. What is put into one is due in the order in which it came, so
//! whoever reads it waits for the first and never for one behind it.

use std::{sync::Arc, time::Duration};

use mesh_fabric::bus::{self, Delivery, Message, Reach, Subscription, Topic, Transit};
use mesh_runtime::clock;
use tracing::warn;

use super::{GROUP, Relay};
use crate::notify::{self, Push};

/// The attribute that says when a push is due, in Unix milliseconds.
const DUE: &str = "due";

/// How many of a topic are waited for at once.
const WAITING: usize = 64;

fn topic(pause: Duration) -> Result<Topic, bus::Error> {
    let name = format!("a2a.push-later-{}.v1", pause.as_millis());
    name.parse()
        .map_err(|error: bus::UnknownTopic| bus::Error::Unable(error.to_string()))
}

/// Puts a push off.
pub(super) async fn put(bus: &Transit, push: &Push, pause: Duration) -> Result<(), bus::Error> {
    let push = Push {
        failed: push.failed.saturating_add(1),
        ..push.clone()
    };
    let topic = topic(pause)?;
    let mut message = notify::message(&topic, &push).ok_or(bus::Error::Size)?;
    // Nothing in it waits for anything else in it.
    message.key.clone_from(&message.id);
    let millis = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
    let due = clock::unix_millis().saturating_add(millis);
    message.attributes.insert(DUE.to_owned(), due.to_string());
    bus.publish_one(message).await
}

/// Begins to bring back what is due.
pub(super) async fn start(relay: &Arc<Relay>) -> Result<(), bus::Error> {
    for (pause, _) in &relay.settings.rounds {
        let mut deliveries = relay
            .bus
            .subscribe(Subscription {
                in_flight: WAITING,
                deadline: *pause + Duration::from_secs(60),
                attempts: 1000,
                ..Subscription::new(topic(*pause)?, Reach::Group(GROUP.to_owned()))
            })
            .await?;
        let (relay, signal) = (Arc::clone(relay), relay.drain.clone());
        relay.drain.clone().spawn("later pushes", async move {
            loop {
                let delivery = tokio::select! {
                    delivery = deliveries.next() => delivery,
                    () = signal.signaled() => return,
                };
                let Some(delivery) = delivery else { return };
                let relay = Arc::clone(&relay);
                let drain = relay.drain.clone();
                drain.spawn(
                    "later push",
                    async move { relay.bring_back(delivery).await },
                );
            }
        });
    }
    Ok(())
}

impl Relay {
    async fn bring_back(&self, delivery: Delivery) {
        let due = delivery.message().attributes.get(DUE);
        let due = due
            .and_then(|due| due.parse::<u64>().ok())
            .unwrap_or_default();
        let wait = due.saturating_sub(clock::unix_millis());
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(wait)) => {}
            // Another relay waits for the rest of it.
            () = self.drain.signaled() => return,
        }
        let Ok(push) = serde_json::from_slice::<Push>(&delivery.message().body) else {
            return delivery.dead("it is no push");
        };
        let back: Option<Message> = notify::message(&self.topic, &push);
        let Some(back) = back else {
            return delivery.dead("it can't be written");
        };
        match self.bus.publish_one(back).await {
            Ok(()) => delivery.done().await,
            Err(error) => {
                warn!(%error, "a push that is due could not be brought back yet");
                delivery.again("the bus did not take it");
            }
        }
    }
}
