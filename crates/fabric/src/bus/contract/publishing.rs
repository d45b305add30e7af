//! Clauses of whoever publishes: what becomes of messages for which there is no room, or no time.

use std::{collections::BTreeSet, time::Duration};

use mesh_runtime::drain;

use super::{
    super::publisher::{Metrics, Publisher, Settings},
    Ground, Held, message, next,
};

/// How long a publisher waits in vain, at first; then twice as long, and so on: sooner or later one of them
/// is given up in the middle.
const HASTE: Duration = Duration::from_micros(20);

/// How long a batch waits for more, and what a message weighs in the queue: a queue of so many bytes is full
/// until then, whatever the bus does.
const LINGER: Duration = Duration::from_secs(1);
const WEIGHT: u32 = 137;

pub(super) async fn full(ground: Ground) -> Held {
    const ROOM: u32 = 8;
    let mut member = ground.member().await?;
    let (trigger, drain) = drain::channel();
    let settings = Settings {
        queue_bytes: ROOM * WEIGHT,
        linger: LINGER,
        ..Settings::default()
    };
    let bus = ground.a.clone();
    let publisher = Publisher::start("contract", bus, settings, &Metrics::default(), &drain);
    let ids: Vec<_> = (0..ROOM * 4).map(|n| format!("m{n:02}")).collect();
    let taken: BTreeSet<_> = ids
        .iter()
        .filter(|id| publisher.offer(message(&ground.topic, id, id)))
        .collect();
    must!(!taken.is_empty(), "none was taken");
    must!(taken.len() < ids.len(), "all {} were taken", taken.len());
    // Whoever waits gets room.
    let last = message(&ground.topic, "last", "last");
    let put = publisher.put(last).await;
    put.map_err(|error| format!("put: {error:?}"))?;
    let mut came = BTreeSet::new();
    while came.len() <= taken.len() {
        let delivery = next(&mut member).await?;
        came.insert(delivery.message().id.clone());
        delivery.done().await;
    }
    let expected = taken.into_iter().cloned().chain(["last".to_owned()]);
    let expected: BTreeSet<_> = expected.collect();
    must!(came == expected, "{came:?} came and not {expected:?}");
    trigger.drain(Duration::ZERO).await;
    Ok(())
}

pub(super) async fn given_up(ground: Ground) -> Held {
    let mut member = ground.member().await?;
    let ids: Vec<_> = (0..10).map(|n| format!("m{n}")).collect();
    for (n, id) in (0..).zip(&ids) {
        let batch = vec![message(&ground.topic, id, "k")];
        let publish = ground.a.publish(batch.clone());
        // Whatever came of it: it is published again, as it must be.
        drop(tokio::time::timeout(HASTE.saturating_mul(1 << n), publish).await);
        ground.publish(batch).await?;
    }
    // Once or twice each, until all have come.
    let mut missing: BTreeSet<_> = ids.into_iter().collect();
    while !missing.is_empty() {
        let delivery = next(&mut member).await?;
        missing.remove(&delivery.message().id);
        delivery.done().await;
    }
    Ok(())
}
