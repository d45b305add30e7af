//! A worker stands still, or is cut off from the store, and comes back.

use futures_util::StreamExt as _;

use super::{
    super::{document::Task, state::Event},
    *,
};
use crate::record::Move;

#[tokio::test(start_paused = true)]
async fn a_frozen_owner_that_comes_back_says_nothing_more_of_its_task() {
    let world = World::new(1);
    let (one, two) = (world.worker("one").await, world.worker("two").await);
    let begun = one.send(message("m", "go"), false).await.unwrap();
    let id = begun.now().id;
    let mut events = one.ledger.follow(&key(&id), None, false).await.unwrap();
    world.settle().await;
    one.faults.down(true);
    tokio::time::sleep(LEASE + LEASE / 3 + Duration::from_secs(1)).await;
    world.settle().await;
    assert_eq!(two.ledger.moving().len(), 1, "its lease has run out");
    assert_eq!(one.ledger.moving().len(), 1, "and it does not know");
    one.faults.down(false);
    tokio::time::sleep(LEASE / 3 + Duration::from_secs(1)).await;
    world.settle().await;
    assert!(one.ledger.moving().is_empty(), "it has looked");
    assert_eq!(one.counts.lapses.get(), 1);
    let waiting = begun.rested().await.unwrap_err();
    assert_eq!(owner(&waiting), Some("two"));
    let mut last = None;
    while let Some(event) = events.next().await {
        last = Some(event.map(|_| ()));
    }
    let broken = last.unwrap().unwrap_err();
    assert_eq!(owner(&broken), Some("two"), "the stream breaks");
    world.model.open(usize::MAX);
    world.settle().await;
    world.check_done(&id, 1).await;
    // And it takes work again.
    let again = one.send(message("m2", "go"), false).await.unwrap();
    assert_eq!(state(&again.rested().await.unwrap()), TaskState::Completed);
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_finishes_what_another_has_adopted_loses_its_outcome() {
    for rounds in [0, 1] {
        let world = World::new(rounds);
        let (one, two) = (world.worker("one").await, world.worker("two").await);
        let begun = one.send(message("m", "go"), false).await.unwrap();
        let id = begun.now().id;
        world.settle().await;
        // A router is mistaken: one is alive, and works.
        two.tell(&[&two], &["one"]).await;
        world.settle().await;
        assert_eq!(two.ledger.moving().len(), 1);
        world.model.open(usize::MAX);
        let met = begun.rested().await;
        world.settle().await;
        world.check_done(&id, rounds).await;
        assert_eq!(one.counts.lost.get(), 1);
        match met {
            Ok(task) => assert_eq!(state(&task), TaskState::Completed),
            Err(problem) => assert_eq!(owner(&problem), Some("two")),
        }
        let stored = world.stored(&id).await;
        assert_eq!(stored.custody.fence, 2);
    }
}

#[tokio::test(start_paused = true)]
async fn what_another_life_brought_to_rest_stays_so_though_the_turn_here_goes_on() {
    let world = World::new(0);
    let one = world.worker("one").await;
    let id = one.begin("m").await;
    world.settle().await;
    let (records, key) = (world.records(), key(&id));
    let (mut record, etag) = records.task(&key).await.unwrap().unwrap();
    let mut task = Task::restored(record.task).unwrap();
    task.step(Event::Begin, 0).unwrap();
    task.step(Event::Ask("what?".to_owned()), 0).unwrap();
    record.task = task.body().clone();
    record.custody.owner.clear();
    record.custody.fence += 1;
    let write = Move::of(&key, &record, Some(etag));
    records.write(write).await.unwrap();
    one.ledger.recheck().await;
    world.model.open(usize::MAX);
    world.settle().await;
    assert!(one.ledger.moving().is_empty());
    assert_eq!(
        world.stored(&id).await,
        record,
        "nobody has asked to cancel it"
    );
    let answered = one.send(answer("n", &id), false).await.unwrap();
    let done = answered.rested().await.unwrap();
    assert_eq!(state(&done), TaskState::Completed);
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_no_store_knows_is_told_no_more_once_the_store_knows_another_owner() {
    let world = World::new(0);
    let (one, two) = (world.worker("one").await, world.worker("two").await);
    let begun = one.send(message("m", "go"), false).await.unwrap();
    let id = begun.now().id;
    world.settle().await;
    one.faults.down(true);
    tokio::time::sleep(LEASE / 3 + Duration::from_secs(1)).await;
    world.model.open(1);
    let told = begun.rested().await.unwrap();
    assert_eq!(state(&told), TaskState::Completed);
    let read = one.ledger.read(&key(&id), false).await.unwrap();
    assert_eq!(read, told, "without a store it is all that is known");
    world.model.open(0);
    tokio::time::sleep(LEASE + LEASE / 3).await;
    world.settle().await;
    assert_eq!(two.ledger.moving().len(), 1, "its lease has run out");
    one.faults.down(false);
    let moved = one.ledger.read(&key(&id), false).await.unwrap_err();
    assert_eq!(owner(&moved), Some("two"));
    world.model.open(usize::MAX);
    world.settle().await;
    world.check_done(&id, 0).await;
}
