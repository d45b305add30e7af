//! What is left when a sidecar or a broker is killed under a small load, and comes back, and when a broker
//! stands still for longer than a publisher waits.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use mesh_fabric::bus::{Error, Message, Reach, Subscription, Topic, Transit};
use mesh_tests::{eventually::eventually, process::say};

use crate::ground::{self, Bench, GROUP};

const TOPIC: &str = "a2a.lives.v1";

/// How many messages are published.
const ALL: u32 = 200;

fn message(number: u32) -> Result<Message> {
    let (topic, key) = (TOPIC.parse::<Topic>()?, format!("k{}", number % 7));
    Ok(Message::new(topic, number.to_string(), key, Bytes::new()))
}

/// Publishes each until that is acknowledged, and says which are; what failed may have happened.
async fn publish(bus: &Transit, numbers: std::ops::Range<u32>) -> Result<()> {
    for number in numbers {
        let message = message(number)?;
        eventually("a message is published", async || {
            Ok(bus.publish_one(message.clone()).await.ok())
        })
        .await?;
    }
    Ok(())
}

/// Kills each of the three in turn, and brings it back while messages are published; then lets the broker
/// stand still.
async fn disturb(bench: &mut Bench) -> Result<()> {
    let bus = bench.a.clone();
    publish(&bus, 0..40).await?;
    for (turn, sidecar) in [1, 0].into_iter().enumerate() {
        let sidecar = bench.sidecars.get_mut(sidecar).context("there are two")?;
        sidecar.kill().await?;
        let begin = 40 + 40 * u32::try_from(turn)?;
        let (back, published) =
            tokio::join!(sidecar.start_again(), publish(&bus, begin..begin + 40));
        back.and(published)?;
    }
    let broker = bench.broker.as_mut().context("there is a broker")?;
    broker.kill().await?;
    let (back, published) = tokio::join!(broker.start_again(), publish(&bus, 120..160));
    back.and(published)?;
    broker.stop().await?;
    let late = bus.publish_one(message(160)?).await;
    broker.go_on()?;
    ensure!(
        matches!(late, Err(Error::Unavailable(_))),
        "a broker that stands still took a message: {late:?}"
    );
    publish(&bus, 160..ALL).await
}

/// Whether all that was acknowledged arrives; how often something came twice.
async fn survives(bench: Result<Option<Bench>>) -> Result<Option<String>> {
    let Some(mut bench) = bench? else {
        return Ok(None);
    };
    let ask = Subscription::new(TOPIC.parse()?, Reach::Group(GROUP.to_owned()));
    let mut member = bench.b.subscribe(ask).await?;
    let (name, all): (_, BTreeSet<_>) =
        (bench.name, (0..ALL).map(|n: u32| n.to_string()).collect());
    let (mut came, mut twice) = (BTreeSet::new(), 0);
    let mut disturbing = std::pin::pin!(disturb(&mut bench));
    let mut is_over = false;
    while !is_over || came.len() < all.len() {
        tokio::select! {
            disturbed = &mut disturbing, if !is_over => {
                disturbed.with_context(|| name)?;
                is_over = true;
            }
            delivery = tokio::time::timeout(mesh_tests::eventually::PATIENCE, member.next()) => {
                let delivery = delivery.with_context(|| {
                    let lost: Vec<_> = all.difference(&came).collect();
                    format!("{name}: these were acknowledged and did not come: {lost:?}")
                })?;
                let delivery = delivery.context("the subscription ended")?;
                twice += u32::from(!came.insert(delivery.message().id.clone()));
                delivery.done().await;
            }
        }
    }
    ensure!(came == all, "{name}: {came:?}");
    Ok(Some(format!(
        "{name}: {} acknowledged, all came, {twice} twice",
        all.len()
    )))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_sidecars_and_brokers_are_killed_and_come_back()
-> Result<()> {
    let topics = [TOPIC.parse()?];
    let survived = tokio::join!(
        async { survives(ground::redis().await).await },
        async { survives(ground::jetstream(&topics).await).await },
        async { survives(ground::kafka(&topics).await).await },
    );
    for survived in [survived.0, survived.1, survived.2] {
        if let Some(survived) = survived? {
            say(&survived);
        }
    }
    Ok(())
}
