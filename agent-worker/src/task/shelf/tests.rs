//! What is held, and for how long.

use std::sync::Arc;

use mesh_fabric::state::{Bounds, Store};
use mesh_proto::{AgentName, a2a::StreamResponse};

use super::*;
use crate::{
    record::{Move, Record, Records, Scope},
    task::EventId,
};

fn key(id: usize) -> TaskKey {
    TaskKey {
        scope: Scope {
            agent: AgentName::parse("a").unwrap(),
            tenant: String::new(),
            principal: String::new(),
        },
        id: id.to_string(),
    }
}

/// Two etags that differ.
async fn etags() -> (Etag, Etag) {
    let records = Records::new(Store::memory(Bounds::default()), Duration::from_secs(60));
    let (key, record) = (key(0), Record::default());
    let first = records.write(Move::of(&key, &record, None)).await.unwrap();
    let second = records.write(Move::of(&key, &record, Some(first))).await;
    (first, second.unwrap())
}

fn ring() -> Ring {
    let mut ring = Ring::new(1, 0);
    ring.push(&Arc::new(StreamResponse::default()));
    ring
}

#[tokio::test(start_paused = true)]
async fn a_ring_is_held_for_its_time_and_for_its_record_only() {
    let (etag, other) = etags().await;
    let mut shelf = Shelf::default();
    let now = Instant::now();
    shelf.put(key(1), ring(), etag, now);
    let nearly = now + KEPT_FOR - Duration::from_millis(1);
    let first = EventId::parse("1-0").unwrap();
    let held = shelf.get(&key(1), etag, nearly).unwrap();
    assert_eq!(held.since(first).unwrap().len(), 1);
    assert!(
        shelf.get(&key(1), other, nearly).is_none(),
        "moved on since"
    );
    assert!(shelf.get(&key(1), etag, now + KEPT_FOR).is_none(), "late");
    assert!(shelf.take(&key(1), etag, nearly).is_some());
    assert!(shelf.take(&key(1), etag, nearly).is_none(), "taken");
}

#[tokio::test(start_paused = true)]
async fn the_oldest_go_when_there_are_too_many() {
    let (etag, _) = etags().await;
    let mut shelf = Shelf::default();
    let now = Instant::now();
    for id in 0..=TASKS {
        shelf.put(key(id), ring(), etag, now);
    }
    assert!(shelf.get(&key(0), etag, now).is_none());
    assert!(shelf.get(&key(1), etag, now).is_some());
    shelf.put(key(9999), ring(), etag, now + KEPT_FOR);
    assert_eq!((shelf.entries.len(), shelf.order.len()), (1, 1));
}
