//! Dead letters: taken from the bus into the store, where they can be listed and sent anew.
//!
//! # Invariants
//! - A letter is in the store before it leaves the bus, and on the bus again before it leaves the store.
//! - They are kept for [`KEPT`]; the oldest come first.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use mesh_fabric::bus::{self, Delivery, Reach, Subscription, Topic, Transit};
use mesh_runtime::clock;
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::{GROUP, Relay};
use crate::{
    notify::{self, Push},
    record::{self, Records},
};

/// How long a dead letter is kept.
const KEPT: Duration = Duration::from_hours(30 * 24);

/// A push that was given up.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Letter {
    /// When, in Unix milliseconds.
    pub millis: u64,
    /// Why.
    pub reason: String,
    /// What was to be pushed.
    pub push: Push,
}

/// Begins to lay dead letters down.
pub(super) async fn start(relay: &Arc<Relay>) -> Result<(), bus::Error> {
    let group = Reach::Group(GROUP.to_owned());
    let mut deliveries = relay
        .bus
        .subscribe(Subscription {
            attempts: 1000,
            ..Subscription::new(relay.topic.dead(), group)
        })
        .await?;
    let (relay, signal) = (Arc::clone(relay), relay.drain.clone());
    relay.drain.clone().spawn("dead pushes", async move {
        loop {
            let delivery = tokio::select! {
                delivery = deliveries.next() => delivery,
                () = signal.signaled() => return,
            };
            match delivery {
                Some(delivery) => relay.lay_down(delivery).await,
                None => return,
            }
        }
    });
    Ok(())
}

impl Relay {
    async fn lay_down(&self, delivery: Delivery) {
        let message = delivery.message();
        let reason = message
            .attributes
            .get("reason")
            .cloned()
            .unwrap_or_default();
        let Ok(push) = serde_json::from_slice::<Push>(&message.body) else {
            warn!(id = message.id, "a dead letter is no push");
            return delivery.done().await;
        };
        let letter = Letter {
            millis: clock::unix_millis(),
            reason,
            push,
        };
        let name = format!(
            "{:013}-{}",
            letter.millis,
            record::digest(message.id.as_bytes())
        );
        let Ok(value) = serde_json::to_vec(&letter) else {
            return delivery.done().await;
        };
        warn!(
            task = letter.push.task,
            reason = letter.reason,
            "a push is given up"
        );
        match self.records.lay_down(&name, Bytes::from(value), KEPT).await {
            Ok(()) => {
                self.metrics.dead.inc();
                delivery.done().await;
            }
            Err(error) => {
                warn!(%error, "a dead letter could not be laid down yet");
                delivery.again("the store did not take it");
            }
        }
    }
}

impl Letter {
    /// When it was given up, as RFC 3339 has it.
    #[must_use]
    pub fn time(&self) -> String {
        mesh_proto::json::timestamp(self.millis).to_string()
    }

    /// The next letters after a name, oldest first, each with its name.
    ///
    /// # Errors
    /// [`record::Error`].
    pub async fn list(
        records: &Records,
        after: Option<&str>,
        most: usize,
    ) -> Result<Vec<(String, Self)>, record::Error> {
        let laid = records.laid_down(after, most).await?;
        let letters = laid.into_iter().filter_map(|(name, value)| {
            let letter = serde_json::from_slice(&value).ok()?;
            Some((name, letter))
        });
        Ok(letters.collect())
    }

    /// Sends a letter anew, in a first round.
    ///
    /// # Errors
    /// [`bus::Error`], where the bus does not take it: then it stays where it is.
    pub async fn replay(
        self,
        name: &str,
        records: &Records,
        bus: &Transit,
    ) -> Result<(), bus::Error> {
        let unable = |error: bus::UnknownTopic| bus::Error::Unable(error.to_string());
        let topic: Topic = notify::TOPIC.parse().map_err(unable)?;
        let push = Push {
            failed: 0,
            ..self.push
        };
        let message = notify::message(&topic, &push).ok_or(bus::Error::Size)?;
        bus.publish_one(message).await?;
        if let Err(error) = records.take_up(name).await {
            warn!(%error, name, "a letter that was sent anew stays among the dead");
        }
        Ok(())
    }
}
