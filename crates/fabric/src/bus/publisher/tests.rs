//! What is offered and what is put, on a bus that does as it is told, in paused time.

use std::{collections::VecDeque, future::ready};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use mesh_runtime::drain::{self, Outcome};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::*;
use crate::bus::{Arrivals, Bus, Depth, Promises, Reach, Topic};

/// A bus that notes what it is given, refuses what it is told to, and can be held.
#[derive(Clone, Debug, Default)]
struct Told(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    batches: Mutex<Vec<(Duration, Vec<String>)>>,
    refuse: Mutex<VecDeque<(&'static str, Error)>>,
    held: Mutex<Option<Arc<Notify>>>,
    began: Mutex<Option<Instant>>,
}

impl Told {
    fn ids(&self) -> Vec<Vec<String>> {
        let batches = self.0.batches.lock();
        batches.iter().map(|(_, ids)| ids.clone()).collect()
    }

    fn times(&self) -> Vec<Duration> {
        self.0.batches.lock().iter().map(|(at, _)| *at).collect()
    }

    /// Refuses the message of this id, the next time that it comes.
    fn refuse(&self, id: &'static str, error: Error) {
        self.0.refuse.lock().push_back((id, error));
    }

    fn hold(&self) -> Arc<Notify> {
        let gate = Arc::new(Notify::new());
        *self.0.held.lock() = Some(Arc::clone(&gate));
        gate
    }
}

impl Bus for Told {
    fn promises(&self) -> Promises {
        Promises::default()
    }

    fn publish(&self, batch: Vec<Message>) -> BoxFuture<'_, Vec<Result<(), Error>>> {
        Box::pin(async move {
            let gate = self.0.held.lock().take();
            if let Some(gate) = gate {
                gate.notified().await;
            }
            let began = *self.0.began.lock().get_or_insert_with(Instant::now);
            let ids = batch.iter().map(|message| message.id.clone()).collect();
            self.0.batches.lock().push((began.elapsed(), ids));
            let mut refuse = self.0.refuse.lock();
            let answers = batch.iter().map(|message| {
                let at = refuse.iter().position(|(id, _)| *id == message.id);
                let refused = at.and_then(|at| refuse.remove(at));
                refused.map_or(Ok(()), |(_, error)| Err(error))
            });
            answers.collect()
        })
    }

    fn subscribe(
        &self,
        _topic: Topic,
        _reach: Reach,
        _in_flight: usize,
    ) -> BoxFuture<'_, Result<Box<dyn Arrivals>, Error>> {
        Box::pin(ready(Err(Error::Closed)))
    }

    fn depth(&self, _topic: Topic, _group: String) -> BoxFuture<'_, Result<Option<Depth>, Error>> {
        Box::pin(ready(Ok(None)))
    }
}

struct Stage {
    told: Told,
    publisher: Publisher,
    trigger: drain::Trigger,
}

impl Stage {
    fn set(settings: Settings) -> Self {
        let told = Told::default();
        *told.0.began.lock() = Some(Instant::now());
        let (trigger, drain) = drain::channel();
        let bus = Transit::of(told.clone());
        let metrics = Metrics::register(&mut Registry::default());
        let publisher = Publisher::start("test", bus, settings, &metrics, &drain);
        Self {
            told,
            publisher,
            trigger,
        }
    }

    /// Ends it, and what became of all: dropped, published, lost.
    async fn end(self, grace: Duration) -> (Outcome, [u64; 3]) {
        let outcome = self.trigger.drain(grace).await;
        let counts = &self.publisher.counts;
        assert_eq!(counts.waiting.get(), 0, "nothing is left uncounted");
        let ends = [&counts.dropped, &counts.published, &counts.lost];
        (outcome, ends.map(Counter::get))
    }
}

const GRACE: Duration = Duration::from_secs(60);

fn message(id: &str, key: &str) -> Message {
    let topic = "a2a.t.v1".parse().unwrap();
    let body = Bytes::from_static(b"body");
    Message::new(topic, id.to_owned(), key.to_owned(), body)
}

fn large(id: &str, bytes: usize) -> Message {
    let body = vec![b'x'; bytes].into();
    Message {
        body,
        ..message(id, "k")
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_within_the_linger_goes_in_one_batch() {
    let stage = Stage::set(Settings::default());
    assert!(stage.publisher.offer(message("1", "k")));
    sleep(Duration::from_millis(3)).await;
    assert!(stage.publisher.offer(message("2", "k")));
    sleep(Duration::from_millis(10)).await;
    assert!(stage.publisher.offer(message("3", "k")));
    sleep(Duration::from_millis(10)).await;
    assert_eq!(stage.told.ids(), [vec!["1", "2"], vec!["3"]]);
    let millis: Vec<_> = stage.told.times().iter().map(Duration::as_millis).collect();
    assert_eq!(millis, [5, 18], "each linger begins with a batch's first");
    let (outcome, ends) = stage.end(GRACE).await;
    assert_eq!((outcome, ends), (Outcome::Finished, [0, 3, 0]));
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_full_by_count_or_bytes_does_not_linger() {
    let stage = Stage::set(Settings {
        batch: 2,
        batch_bytes: 1000,
        linger: Duration::from_secs(3600),
        ..Settings::default()
    });
    for id in ["1", "2"] {
        assert!(stage.publisher.offer(message(id, "k")));
    }
    assert!(stage.publisher.offer(large("3", 600)));
    assert!(stage.publisher.offer(large("4", 600)));
    assert!(stage.publisher.offer(message("5", "k")));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(
        stage.told.ids(),
        [vec!["1", "2"], vec!["3"], vec!["4", "5"]]
    );
    let (_, ends) = stage.end(GRACE).await;
    assert_eq!(ends, [0, 5, 0]);
}

#[tokio::test(start_paused = true)]
async fn what_is_offered_to_a_full_queue_is_dropped_and_what_is_put_waits() {
    let stage = Stage::set(Settings {
        queue: 2,
        batch: 1,
        ..Settings::default()
    });
    let gate = stage.told.hold();
    assert!(stage.publisher.offer(message("1", "k")));
    sleep(Duration::from_millis(1)).await;
    for id in ["2", "3"] {
        assert!(stage.publisher.offer(message(id, "k")), "{id}");
    }
    assert!(!stage.publisher.offer(message("4", "k")));
    let publisher = stage.publisher.clone();
    let mut waits = Box::pin(publisher.put(message("5", "k")));
    let second = Duration::from_secs(1);
    assert!(tokio::time::timeout(second, &mut waits).await.is_err());
    gate.notify_one();
    waits.await.unwrap();
    let told = stage.told.clone();
    let (_, ends) = stage.end(GRACE).await;
    assert_eq!(told.ids().concat(), ["1", "2", "3", "5"]);
    assert_eq!(ends, [1, 4, 0]);
}

#[tokio::test(start_paused = true)]
async fn the_queue_is_full_by_bytes_too_and_takes_one_message_of_any_size() {
    let stage = Stage::set(Settings {
        queue_bytes: 1000,
        ..Settings::default()
    });
    assert!(stage.publisher.offer(large("1", 5000)));
    assert!(!stage.publisher.offer(message("2", "k")));
    sleep(Duration::from_secs(1)).await;
    assert!(stage.publisher.offer(message("3", "k")));
    let (_, ends) = stage.end(GRACE).await;
    assert_eq!(ends, [1, 2, 0]);
}

#[tokio::test(start_paused = true)]
async fn what_was_put_is_tried_until_the_bus_has_it_and_what_was_offered_is_not() {
    let stage = Stage::set(Settings::default());
    for _ in 0..3 {
        stage.told.refuse("put", Error::Full);
    }
    stage.told.refuse("offered", Error::Full);
    stage.publisher.put(message("put", "k")).await.unwrap();
    assert!(stage.publisher.offer(message("offered", "k")));
    sleep(Duration::from_secs(5)).await;
    let told = stage.told.ids();
    assert_eq!(
        told,
        [
            vec!["put", "offered"],
            vec!["put"],
            vec!["put"],
            vec!["put"]
        ]
    );
    let (_, ends) = stage.end(GRACE).await;
    assert_eq!(ends, [0, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn what_was_put_under_a_key_stays_in_order_when_the_bus_refuses_some_of_it() {
    let stage = Stage::set(Settings::default());
    stage.told.refuse("a1", Error::Full);
    stage.told.refuse("a1", Error::Full);
    for (id, key) in [("a1", "a"), ("b1", "b"), ("a2", "a"), ("b2", "b")] {
        stage.publisher.put(message(id, key)).await.unwrap();
    }
    sleep(Duration::from_secs(5)).await;
    let told = stage.told.ids();
    assert_eq!(
        told,
        [vec!["a1", "b1"], vec!["a1"], vec!["a1"], vec!["a2", "b2"]]
    );
    let (_, ends) = stage.end(GRACE).await;
    assert_eq!(ends, [0, 4, 0]);
}

#[tokio::test(start_paused = true)]
async fn what_no_bus_will_ever_take_holds_nothing_up() {
    let stage = Stage::set(Settings::default());
    stage.publisher.put(message("", "k")).await.unwrap();
    stage.publisher.put(message("1", "k")).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(stage.told.ids().concat(), ["1"]);
    let (_, ends) = stage.end(GRACE).await;
    assert_eq!(ends, [0, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn at_the_end_what_waits_still_goes_without_lingering_and_nothing_more_is_taken() {
    let stage = Stage::set(Settings {
        linger: Duration::from_secs(3600),
        ..Settings::default()
    });
    assert!(stage.publisher.offer(message("1", "k")));
    stage.publisher.put(message("2", "k")).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    let (told, publisher) = (stage.told.clone(), stage.publisher.clone());
    let (outcome, _) = stage.end(GRACE).await;
    assert_eq!(outcome, Outcome::Finished);
    assert_eq!(told.ids(), [vec!["1", "2"]]);
    assert_eq!(told.times(), [Duration::from_secs(1)]);
    assert!(!publisher.offer(message("3", "k")));
    let late = publisher.put(message("4", "k")).await;
    assert!(matches!(late, Err(Error::Closed)), "{late:?}");
    assert_eq!(publisher.counts.dropped.get(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_left_when_the_grace_is_over_is_counted_as_lost() {
    let stage = Stage::set(Settings {
        batch: 1,
        ..Settings::default()
    });
    let _never = stage.told.hold();
    for id in ["1", "2", "3"] {
        stage.publisher.put(message(id, id)).await.unwrap();
    }
    let (outcome, ends) = stage.end(Duration::from_secs(1)).await;
    assert!(matches!(outcome, Outcome::Cut(_)), "{outcome:?}");
    assert_eq!(ends, [0, 0, 3]);
}
