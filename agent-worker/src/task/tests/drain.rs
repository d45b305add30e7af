//! A worker is told to end while turns run.

use super::*;

#[tokio::test(start_paused = true)]
async fn turns_that_end_in_time_end_where_they_are() {
    let world = World::new(0);
    let one = world.worker("one").await;
    let begun = one.send(message("m", "go"), false).await.unwrap();
    one.ledger.drain();
    assert!(one.send(message("m2", "go"), false).await.is_err());
    world.model.open(usize::MAX);
    one.ledger
        .wind_down(Duration::from_secs(5), Duration::from_secs(30))
        .await;
    assert_eq!(state(&begun.rested().await.unwrap()), TaskState::Completed);
    one.lease.drain(Duration::from_secs(1)).await;
    assert!(world.records().workers().await.unwrap().is_empty());
}

/// Nobody listens at the heir's address here; the store alone must do. That the heir is told is shown
/// with real processes.
#[tokio::test(start_paused = true)]
async fn a_turn_that_takes_long_leaves_at_its_next_step_and_another_worker_goes_on() {
    let world = World::new(2);
    let (one, two) = (world.worker("one").await, world.worker("two").await);
    one.tell(&[&one, &two], &[]).await;
    let begun = one.send(message("m", "go"), false).await.unwrap();
    let id = begun.now().id;
    world.settle().await;
    one.ledger.drain();
    let (ledger, model) = (one.ledger.clone(), Arc::clone(&world.model));
    let wind_down = ledger.wind_down(Duration::from_secs(5), Duration::from_secs(30));
    let work = async {
        tokio::time::sleep(Duration::from_secs(8)).await;
        model.open(1);
    };
    tokio::join!(wind_down, work);
    let record = world.stored(&id).await;
    assert!(record.custody.released, "{record:?}");
    assert_eq!(record.custody.fence, 2);
    let waiting = begun.rested().await.unwrap_err();
    assert!(owner(&waiting).is_some());
    one.lease.drain(Duration::from_secs(1)).await;
    one.calls.drain(Duration::ZERO).await;
    world.model.open(usize::MAX);
    tokio::time::sleep(LEASE / 3 + Duration::from_secs(1)).await;
    world.settle().await;
    world.check_done(&id, 2).await;
    assert!(
        world.keys().values().all(|times| *times == 1),
        "it left at a step"
    );
    drop(two);
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_reaches_no_step_is_left_where_it_stands() {
    let world = World::new(1);
    let (one, two) = (world.worker("one").await, world.worker("two").await);
    one.tell(&[&one, &two], &[]).await;
    let begun = one.send(message("m", "go"), false).await.unwrap();
    let id = begun.now().id;
    world.settle().await;
    one.ledger.drain();
    one.ledger
        .wind_down(Duration::from_secs(5), Duration::from_secs(30))
        .await;
    assert!(one.ledger.moving().is_empty());
    assert!(world.stored(&id).await.custody.released);
    one.lease.drain(Duration::from_secs(1)).await;
    world.model.open(usize::MAX);
    tokio::time::sleep(LEASE / 3 + Duration::from_secs(1)).await;
    world.settle().await;
    world.check_done(&id, 1).await;
    drop(two);
}
