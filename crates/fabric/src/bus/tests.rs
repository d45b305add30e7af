//! The contract, held against the embedded forms, and what only they can be shown to do.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, pending};

use super::{
    contract::{CLAUSES, Ground},
    *,
};
use crate::state::Place;

fn topic(text: &str) -> Topic {
    text.parse().unwrap()
}

fn ground(a: Transit, b: Transit, number: usize) -> Ground {
    Ground {
        a,
        b,
        topic: topic(&format!("a2a.c{number}.v1")),
        other: topic(&format!("a2a.other{number}.v1")),
        group: "job".to_owned(),
        is_serial: false,
    }
}

#[tokio::test]
async fn in_memory_every_clause_holds() {
    for (number, clause) in CLAUSES.iter().enumerate() {
        let bus = Transit::memory(Bounds::default());
        let held = (clause.check)(ground(bus.clone(), bus, number)).await;
        assert_eq!(held, Ok(()), "{clause:?}");
    }
}

#[tokio::test]
async fn in_sqlite_every_clause_holds_between_two_processes_handles() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::Sqlite(dir.path().to_owned());
    let (a, b) = (
        Transit::open(&place).await.unwrap(),
        Transit::open(&place).await.unwrap(),
    );
    for (number, clause) in CLAUSES.iter().enumerate() {
        let held = (clause.check)(ground(a.clone(), b.clone(), number)).await;
        assert_eq!(held, Ok(()), "{clause:?}");
    }
}

fn job() -> Subscription {
    Subscription::new(topic("a2a.t.v1"), Reach::Group("job".to_owned()))
}

/// Tells a process that it is to hold a message of the bus in this directory until it is killed.
const HOLDS: &str = "DACA_TEST_BUS_HOLDS";

#[tokio::test]
async fn what_a_killed_process_held_comes_to_another_in_its_order() {
    if let Some(dir) = std::env::var_os(HOLDS) {
        let bus = Transit::open(&Place::Sqlite(dir.into())).await.unwrap();
        let mut member = bus.subscribe(job()).await.unwrap();
        let held = member.next().await.unwrap();
        std::fs::write(std::env::var_os(HOLDING).unwrap(), &held.message().id).unwrap();
        return pending().await;
    }
    let dir = tempfile::tempdir().unwrap();
    let bus = Transit::open(&Place::Sqlite(dir.path().to_owned()))
        .await
        .unwrap();
    let batch = vec![message("1", 1), message("2", 1)];
    assert!(bus.publish(batch).await.iter().all(Result::is_ok));
    let name = "bus::tests::what_a_killed_process_held_comes_to_another_in_its_order";
    let holding = dir.path().join("holding");
    let mut other = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name])
        .env(HOLDS, dir.path())
        .env(HOLDING, &holding)
        .spawn()
        .unwrap();
    let held = tokio::time::timeout(Duration::from_secs(30), async {
        while !std::fs::read(&holding).is_ok_and(|held| held == b"1") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    held.await.unwrap();
    let mut member = bus.subscribe(job()).await.unwrap();
    other.kill().unwrap();
    other.wait().unwrap();
    for (id, attempt) in [("1", 2), ("2", 1)] {
        let delivery = member.next().await.unwrap();
        assert_eq!(
            (delivery.message().id.as_str(), delivery.attempt()),
            (id, attempt)
        );
        delivery.done().await;
    }
}

/// Where that process says so.
const HOLDING: &str = "DACA_TEST_BUS_HOLDING";

fn message(id: &str, body: usize) -> Message {
    Message::new(
        topic("a2a.t.v1"),
        id.to_owned(),
        "k".to_owned(),
        Bytes::from(vec![0; body]),
    )
}

#[tokio::test]
async fn a_full_bus_refuses_and_takes_again_once_something_is_done() {
    let bus = Transit::memory(Bounds {
        messages: 2,
        bytes: 1 << 20,
    });
    let ask = Subscription::new(topic("a2a.t.v1"), Reach::Group("job".to_owned()));
    let mut member = bus.subscribe(ask).await.unwrap();
    let answers = bus
        .publish(vec![message("1", 1), message("2", 1), message("3", 1)])
        .await;
    assert!(answers[0].is_ok() && answers[1].is_ok());
    assert!(matches!(answers[2], Err(Error::Full)));
    let depth = bus.depth(&topic("a2a.t.v1"), "job").await.unwrap().unwrap();
    assert_eq!(depth.messages, 2);
    member.next().await.unwrap().done().await;
    bus.publish_one(message("3", 1)).await.unwrap();
    for id in ["2", "3"] {
        let delivery = member.next().await.unwrap();
        assert_eq!(delivery.message().id, id);
        delivery.done().await;
    }
}

#[tokio::test]
async fn bytes_are_bounded_over_all_topics() {
    let bus = Transit::memory(Bounds {
        messages: 100,
        bytes: 10_000,
    });
    let ask = Subscription::new(topic("a2a.t.v1"), Reach::Broadcast);
    let member = bus.subscribe(ask).await.unwrap();
    assert!(bus.publish_one(message("1", 8_000)).await.is_ok());
    assert!(matches!(
        bus.publish_one(message("2", 8_000)).await,
        Err(Error::Full)
    ));
    drop(member);
    assert!(bus.publish_one(message("3", 8_000)).await.is_ok());
}

#[tokio::test]
async fn a_topics_first_group_gets_what_came_before_it() {
    let bus = Transit::memory(Bounds::default());
    bus.publish_one(message("1", 1)).await.unwrap();
    let ask = Subscription::new(topic("a2a.t.v1"), Reach::Group("job".to_owned()));
    let mut member = bus.subscribe(ask).await.unwrap();
    assert_eq!(member.next().await.unwrap().message().id, "1");
}

/// A form that takes everything and never says so.
#[derive(Debug)]
struct Silent;

impl Bus for Silent {
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
        Box::pin(pending())
    }

    fn depth(&self, _: Topic, _: String) -> BoxFuture<'_, Result<Option<Depth>, Error>> {
        Box::pin(pending())
    }
}

#[tokio::test(start_paused = true)]
async fn a_publish_that_nobody_answers_is_given_up_as_unavailable() {
    let bus = Transit::of(Silent).patient(Duration::from_secs(3));
    let answers = bus.publish(vec![message("1", 1), message("2", 1)]).await;
    assert!(
        answers
            .iter()
            .all(|answer| matches!(answer, Err(Error::Unavailable(_))))
    );
}

#[test]
fn topics_are_few_letters_and_dead_letters_stay_where_they_are() {
    for wrong in ["", "A", "a b", "a/b", "\u{e4}", &"x".repeat(101)] {
        assert!(wrong.parse::<Topic>().is_err(), "{wrong}");
    }
    assert_eq!(topic("a2a.push.v1").dead().as_str(), "a2a.dlq.push.v1");
    assert_eq!(topic("other").dead().as_str(), "dlq.other");
    let dead = topic("a2a.push.v1").dead();
    assert_eq!(dead.dead(), dead);
}
