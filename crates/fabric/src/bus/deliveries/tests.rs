//! What becomes of an attempt that failed, whatever the form.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use tokio::time::Instant;

use super::super::{
    Arrivals, Bounds, Bus, Depth, Error, Message, Metrics, Promises, Reach, Subscription, Topic,
    Transit, memory::Memory,
};

fn topic() -> Topic {
    "a2a.t.v1".parse().unwrap()
}

fn message(id: &str) -> Message {
    let (id, key) = (id.to_owned(), "k".to_owned());
    Message::new(topic(), id, key, Bytes::new())
}

fn job() -> Subscription {
    Subscription {
        attempts: 1,
        ..Subscription::new(topic(), Reach::Group("job".to_owned()))
    }
}

/// A bus that has no room for the first few dead letters.
#[derive(Debug)]
struct NoRoom {
    form: Memory,
    refused: Arc<Mutex<Vec<Instant>>>,
}

/// How many it refuses.
const REFUSALS: usize = 3;

impl Bus for NoRoom {
    fn promises(&self) -> Promises {
        self.form.promises()
    }

    fn publish(&self, batch: Vec<Message>) -> BoxFuture<'_, Vec<Result<(), Error>>> {
        let mut refused = self.refused.lock();
        let is_letter = batch.iter().any(|message| message.topic == topic().dead());
        if is_letter && refused.len() < REFUSALS {
            refused.push(Instant::now());
            let answers = vec![Err(Error::Full); batch.len()];
            return Box::pin(std::future::ready(answers));
        }
        self.form.publish(batch)
    }

    fn subscribe(
        &self,
        topic: Topic,
        reach: Reach,
        in_flight: usize,
    ) -> BoxFuture<'_, Result<Box<dyn Arrivals>, Error>> {
        self.form.subscribe(topic, reach, in_flight)
    }

    fn depth(&self, topic: Topic, group: String) -> BoxFuture<'_, Result<Option<Depth>, Error>> {
        self.form.depth(topic, group)
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_that_finds_no_room_is_tried_again_after_a_pause() {
    let refused = Arc::default();
    let bus = Transit::of(NoRoom {
        form: Memory::new(Bounds::default()),
        refused: Arc::clone(&refused),
    });
    let mut member = bus.subscribe(job()).await.unwrap();
    bus.publish_one(message("1")).await.unwrap();
    bus.publish_one(message("2")).await.unwrap();
    member.next().await.unwrap().dead("no such target");
    // The next of its key comes when the letter has found its place.
    let next = member.next().await.unwrap();
    assert_eq!(next.message().id, "2");
    next.done().await;
    let refused = refused.lock().clone();
    assert_eq!(refused.len(), REFUSALS);
    let pauses = refused.windows(2).map(|two| two[1] - two[0]);
    for pause in pauses {
        assert!(pause >= Duration::from_millis(500), "{pause:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn attempts_that_failed_are_counted_whether_said_so_or_late() {
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let bus = Transit::memory(Bounds::default()).counted(metrics);
    let ask = Subscription {
        attempts: 6,
        ..job()
    };
    let mut member = bus.subscribe(ask).await.unwrap();
    bus.publish_one(message("1")).await.unwrap();
    member.next().await.unwrap().again("not yet");
    drop(member.next().await.unwrap());
    let late = member.next().await.unwrap();
    member.next().await.unwrap().done().await;
    late.again("after its deadline, and so counted already");
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    let line = "mesh_bus_again_total{topic=\"a2a.t.v1\"} 3";
    assert!(text.lines().any(|each| each == line), "{text}");
}

#[tokio::test(start_paused = true)]
async fn how_much_waits_and_is_held_is_told_for_each_group() {
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let (_end, drain) = mesh_runtime::drain::channel();
    let bus = Transit::memory(Bounds::default()).counted(metrics);
    let bus = bus.watched(&drain);
    let mut member = bus.subscribe(job()).await.unwrap();
    for id in ["1", "2"] {
        bus.publish_one(message(id)).await.unwrap();
    }
    let first = member.next().await.unwrap();
    tokio::time::sleep(Duration::from_secs(7)).await;
    let told = |line: &str| {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(text.lines().any(|each| each == line), "{line}: {text}");
    };
    told("mesh_bus_waiting{topic=\"a2a.t.v1\",group=\"job\"} 2");
    told("mesh_bus_oldest_seconds{topic=\"a2a.t.v1\",group=\"job\"} 5.0");
    told("mesh_bus_held{topic=\"a2a.t.v1\"} 1");
    first.done().await;
    told("mesh_bus_held{topic=\"a2a.t.v1\"} 0");
}

#[tokio::test]
async fn dead_letters_in_memory_that_nobody_reads_make_room() {
    let bus = Transit::memory(Bounds {
        bytes: 100_000,
        ..Bounds::default()
    });
    let mut member = bus.subscribe(job()).await.unwrap();
    for number in 0..1000 {
        let mut letter = message(&number.to_string());
        letter.topic = letter.topic.dead();
        letter.body = vec![0; 1000].into();
        bus.publish_one(letter).await.unwrap();
    }
    bus.publish_one(message("1")).await.unwrap();
    assert_eq!(member.next().await.unwrap().message().id, "1");
    assert!(bus.form().losses().evicted > 900);
}
