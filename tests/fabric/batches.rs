//! What a sidecar brings in batches to a program's own port, instead of one by one by a stream.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use mesh_fabric::{
    bus::{Deliveries, Error, Message, Reach, Subscription, Topic, Transit},
    dapr::Settings,
};
use mesh_tests::{
    eventually::{eventually, within},
    parts::daprd::{Component, Daprd},
    process::say,
};

use crate::ground::{self, GROUP};

const TOPIC: &str = "a2a.batches.v1";

/// How many messages each part of the test publishes, and on how many keys.
const PART: usize = 150;
const KEYS: usize = 7;

fn ask() -> Result<Subscription> {
    let reach = Reach::Group(GROUP.to_owned());
    Ok(Subscription {
        in_flight: 200,
        ..Subscription::new(TOPIC.parse()?, reach)
    })
}

async fn publish(bus: &Transit, numbers: std::ops::Range<usize>) -> Result<()> {
    let topic: Topic = TOPIC.parse()?;
    let message = |number: usize| {
        let (id, key) = (number.to_string(), format!("k{}", number % KEYS));
        let body = Bytes::from(vec![u8::try_from(number % 256).unwrap_or_default(); 40]);
        Message::new(topic.clone(), id, key, body)
    };
    let all: Vec<_> = numbers.map(message).collect();
    for chunk in all.chunks(mesh_fabric::bus::BATCH) {
        eventually("messages are published", async || {
            let answers = bus.publish(chunk.to_vec()).await;
            Ok(answers.iter().all(Result::is_ok).then_some(()))
        })
        .await?;
    }
    Ok(())
}

/// What has come, and how.
#[derive(Default)]
struct Came {
    all: BTreeSet<usize>,
    /// By key, as each came for the first time.
    order: BTreeMap<String, Vec<usize>>,
    deliveries: usize,
}

impl Came {
    /// Takes deliveries until there are as many different ones.
    async fn until(&mut self, many: usize, deliveries: &mut Deliveries) -> Result<()> {
        let what = format!("{many} messages come");
        within(&what, async {
            while self.all.len() < many {
                let delivery = deliveries.next().await.context("it is open")?;
                let message = delivery.message();
                let number: usize = message.id.parse()?;
                let byte = u8::try_from(number % 256)?;
                ensure!(message.body == vec![byte; 40], "{message:?}");
                self.deliveries += 1;
                if self.all.insert(number) {
                    let of_key = self.order.entry(message.key.clone()).or_default();
                    of_key.push(number);
                }
                delivery.done().await;
            }
            Ok(())
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_come_whole_and_in_order_also_when_the_subscriber_or_the_sidecar_goes_and_comes_back()
-> Result<()> {
    let bench = ground::kafka_in_batches(&[TOPIC.parse()?]).await?;
    let Some((mut bench, door)) = bench else {
        return Ok(());
    };
    let mut came = Came::default();
    publish(&bench.a, 0..PART).await?;
    let mut deliveries = bench.b.subscribe(ask()?).await?;
    door.open().await?;
    came.until(PART, &mut deliveries).await?;

    // Some are handed out and never done, the others not even that.
    publish(&bench.a, PART..2 * PART).await?;
    let undone = deliveries.next().await.context("it is open")?;
    drop((deliveries, undone));
    let mut deliveries = bench.b.subscribe(ask()?).await?;
    came.until(2 * PART, &mut deliveries).await?;

    let sidecar = bench.sidecars.get_mut(1).context("there are two")?;
    sidecar.kill().await?;
    publish(&bench.a, 2 * PART..3 * PART).await?;
    sidecar.start_again().await?;
    came.until(3 * PART, &mut deliveries).await?;

    for (key, numbers) in &came.order {
        ensure!(numbers.is_sorted(), "{key}: {numbers:?}");
    }
    let (brought, all) = (door.brought(), came.deliveries);
    say(&format!("{all} deliveries in {brought} batches"));
    ensure!(brought * 2 < all, "{all} deliveries in {brought} batches");
    Ok(())
}

#[tokio::test]
async fn a_component_that_makes_batches_up_of_single_messages_is_refused() -> Result<()> {
    let component = Component::new("pubsub", "pubsub.in-memory", &[]);
    let Some(sidecar) = Daprd::start(&[component]).await? else {
        return Ok(());
    };
    let bus = Transit::dapr(Settings {
        endpoint: sidecar.endpoint(),
        needs: BTreeSet::new(),
        batches: BTreeSet::from([TOPIC.to_owned()]),
        ..Settings::default()
    })
    .await?;
    let refused = bus.subscribe(ask()?).await.err();
    let text = "component \"pubsub\" is no pubsub.kafka";
    ensure!(
        matches!(&refused, Some(Error::Unable(why)) if why.contains(text)),
        "{refused:?}"
    );
    // What was not asked for in batches comes as ever.
    let reach = Reach::Group(GROUP.to_owned());
    let other = Subscription::new("a2a.other.v1".parse()?, reach);
    bus.subscribe(other).await?;
    Ok(())
}
