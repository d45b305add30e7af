//! What only this form can get wrong: calls that are dropped half-way, and what has expired in it.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;

use super::*;
use crate::{bus::Subscription, bus::Transit, state::Place};

/// What never comes is told from what comes late.
const PATIENCE: Duration = Duration::from_secs(20);

fn topic() -> Topic {
    "a2a.t.v1".parse().unwrap()
}

fn message(id: &str) -> Message {
    let (id, key) = (id.to_owned(), "k".to_owned());
    Message::new(topic(), id, key, Bytes::new())
}

#[tokio::test]
async fn a_call_dropped_while_it_takes_loses_nothing_to_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let bus = Sqlite::open(dir.path().to_owned()).await.unwrap();
    let job = Reach::Group("job".to_owned());
    let mut member = bus.subscribe(topic(), job, 1).await.unwrap();
    let put = bus.publish(vec![message("1")]).await;
    assert!(put.iter().all(Result::is_ok));
    // Another process writes, so the one that takes waits in the middle.
    let other = Connection::open(dir.path().join("bus.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert!(member.next().now_or_never().is_none());
    let mut second = member.next();
    assert!((&mut second).now_or_never().is_none());
    other.execute_batch("ROLLBACK").unwrap();
    let arrival = tokio::time::timeout(PATIENCE, second).await;
    assert_eq!(arrival.unwrap().unwrap().message.id, "1");
}

#[tokio::test]
async fn what_has_expired_keeps_its_key_waiting_for_no_beats() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::Sqlite(dir.path().to_owned());
    let bus = Transit::open(&place).await.unwrap();
    let expired = (0..60).map(|number| Message {
        ttl: Some(Duration::ZERO),
        ..message(&format!("old{number}"))
    });
    let batch = expired.chain([message("new")]).collect();
    assert!(bus.publish(batch).await.iter().all(Result::is_ok));
    let ask = Subscription::new(topic(), Reach::Group("job".to_owned()));
    let mut member = bus.subscribe(ask).await.unwrap();
    let delivery = tokio::time::timeout(PATIENCE, member.next()).await;
    assert_eq!(delivery.unwrap().unwrap().message().id, "new");
}

#[tokio::test]
async fn what_cannot_be_read_is_set_aside_and_keeps_nothing_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let bus = Sqlite::open(dir.path().to_owned()).await.unwrap();
    let batch = ["0", "1", "2", "3", "next"].map(message).to_vec();
    assert!(bus.publish(batch).await.iter().all(Result::is_ok));
    let other = Connection::open(dir.path().join("bus.db")).unwrap();
    for damage in [
        "UPDATE message SET attributes = 'none' WHERE id = '0'",
        "UPDATE message SET body = 'a text' WHERE id = '1'",
        "UPDATE message SET topic = 'NO TOPIC' WHERE id = '2'",
        "UPDATE message SET id = x'ff' WHERE id = '3'",
    ] {
        assert_eq!(other.execute(damage, []).unwrap(), 1);
    }
    let job = || Reach::Group("job".to_owned());
    let mut member = bus.subscribe(topic(), job(), 1).await.unwrap();
    let next = tokio::time::timeout(PATIENCE, member.next()).await;
    assert_eq!(next.unwrap().unwrap().message.id, "next");
    assert_eq!(bus.losses().unreadable, 4);
    let mut dead = bus.subscribe(topic().dead(), job(), 4).await.unwrap();
    for _ in 0..4 {
        let letter = tokio::time::timeout(PATIENCE, dead.next()).await;
        let letter = letter.unwrap().unwrap().message;
        assert_eq!(letter.attributes["origin"], topic().as_str());
        assert!(letter.id.starts_with("unreadable-"), "{}", letter.id);
    }
}

#[tokio::test]
async fn who_finds_nothing_keeps_nobody_from_writing() {
    let dir = tempfile::tempdir().unwrap();
    let bus = Sqlite::open(dir.path().to_owned()).await.unwrap();
    let job = Reach::Group("job".to_owned());
    let sit = move |change: &Connection| rows::sit(change, &topic(), &job, 1);
    let member = Listening {
        shared: Arc::clone(&bus.0),
        queue: bus.0.change(sit).await.unwrap(),
        taken: Arc::default(),
        taking: None,
        room: Arc::new(Semaphore::new(1)),
    };
    // Whoever had to write would be told that somebody else does.
    let other = Connection::open(dir.path().join("bus.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let room = Arc::clone(&member.room).acquire_owned().await.unwrap();
    assert_eq!(member.take(room).await.unwrap(), Taken::None);
    other.execute_batch("ROLLBACK").unwrap();
}

#[tokio::test]
async fn dead_letters_that_nobody_reads_make_room_before_anything_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let bus = Sqlite::open(dir.path().to_owned()).await.unwrap();
    let most = 4 << 20;
    let large = |topic: Topic, number: usize| Message {
        topic,
        body: Bytes::from(vec![0; 16 << 10]),
        ..message(&number.to_string())
    };
    let mut evicted = 0;
    // The one that is no dead letter is the oldest, and is there at the end.
    for number in 0..1000 {
        let topic = if number == 0 { topic() } else { topic().dead() };
        let batch = vec![large(topic, number)];
        let put = bus.0.change(move |change| rows::put(change, &batch, most));
        evicted += put.await.unwrap();
    }
    assert!(evicted > 500, "{evicted}");
    let job = Reach::Group("job".to_owned());
    let mut member = bus.subscribe(topic(), job.clone(), 1).await.unwrap();
    let kept = tokio::time::timeout(PATIENCE, member.next()).await;
    assert_eq!(kept.unwrap().unwrap().message.id, "0");
    // What a group has claimed is not thrown away for anybody: then it is full.
    drop(bus.subscribe(topic().dead(), job, 1).await.unwrap());
    let mut is_full = false;
    for number in 0..1000 {
        let batch = vec![large(topic().dead(), number)];
        let put = bus.0.change(move |change| rows::put(change, &batch, most));
        is_full |= matches!(put.await, Err(Error::Full));
    }
    assert!(is_full);
}
