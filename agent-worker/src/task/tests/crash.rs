//! A worker dies in the middle of a turn, at every place where it can.

use super::*;

/// The model's gate and the tools' are opened so far, and then the owner dies: before the first word of
/// the model, with each call begun and each answered.
#[tokio::test(start_paused = true)]
async fn whatever_step_a_worker_dies_at_another_finishes_the_task_once() {
    const ROUNDS: usize = 2;
    for steps in 0..=ROUNDS {
        for answered in [
            2 * steps.saturating_sub(1),
            (2 * steps).saturating_sub(1),
            2 * steps,
        ] {
            let world = World::new(ROUNDS);
            let (one, two) = (world.worker("one").await, world.worker("two").await);
            world.model.open(steps);
            world.answers.send_replace(answered);
            let id = one.begin("m").await;
            world.settle().await;
            one.kill().await;
            two.tell(&[&two], &["one"]).await;
            world.settle().await;
            world.model.open(usize::MAX);
            world.answers.send_replace(usize::MAX);
            world.settle().await;
            let place = format!("{steps} steps, {answered} answers");
            assert!(two.ledger.moving().is_empty(), "{place}");
            world.check_done(&id, ROUNDS).await;
            assert!(world.keys().values().all(|times| *times <= 2), "{place}");
            assert_eq!(world.stored(&id).await.custody.fence, 2, "{place}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_noted_is_not_done_again() {
    let world = World::new(2);
    let (one, two) = (world.worker("one").await, world.worker("two").await);
    world.model.open(2);
    world.answers.send_replace(2);
    let id = one.begin("m").await;
    world.settle().await;
    assert_eq!(
        world.calls.lock().len(),
        3,
        "the second round waits at its first call"
    );
    one.kill().await;
    two.tell(&[&two], &["one"]).await;
    world.answers.send_replace(usize::MAX);
    world.model.open(usize::MAX);
    world.settle().await;
    world.check_done(&id, 2).await;
    let keys = world.keys();
    assert_eq!(keys[&format!("{id}:0:0")], 1, "{keys:?}");
    assert_eq!(keys[&format!("{id}:1:0")], 2, "{keys:?}");
}

#[tokio::test(start_paused = true)]
async fn a_task_survives_one_worker_after_the_other() {
    let world = World::new(3);
    let mut life = world.worker("0").await;
    let id = life.begin("m").await;
    for n in 1..=4 {
        world.settle().await;
        let next = world.worker(&n.to_string()).await;
        let gone = (n - 1).to_string();
        life.kill().await;
        next.tell(&[&next], &[&gone]).await;
        world.settle().await;
        world.model.open(n);
        life = next;
    }
    world.settle().await;
    world.check_done(&id, 3).await;
    assert_eq!(world.stored(&id).await.custody.fence, 5);
}

#[tokio::test(start_paused = true)]
async fn of_two_that_adopt_at_once_one_does() {
    let world = World::new(1);
    let one = world.worker("one").await;
    let ids: Vec<_> = [one.begin("m1").await, one.begin("m2").await].into();
    world.settle().await;
    one.kill().await;
    let (two, three) = (world.worker("two").await, world.worker("three").await);
    // Each is told that it is alone: views that differ.
    let (of_two, of_three) = ([&two], [&three]);
    tokio::join!(two.tell(&of_two, &["one"]), three.tell(&of_three, &["one"]));
    world.settle().await;
    assert_eq!(two.ledger.moving().len() + three.ledger.moving().len(), 2);
    world.model.open(usize::MAX);
    world.settle().await;
    for id in ids {
        assert_eq!(state(&world.stored(&id).await.task), TaskState::Completed);
        assert_eq!(world.stored(&id).await.custody.fence, 2);
    }
    assert!(world.keys().values().all(|times| *times == 1));
}

#[tokio::test(start_paused = true)]
async fn a_thousand_tasks_are_adopted_and_only_by_who_has_their_slot() {
    let world = World::new(0);
    let one = world.worker("one").await;
    for n in 0..1000 {
        one.begin(&format!("m{n}")).await;
    }
    let (two, three) = (world.worker("two").await, world.worker("three").await);
    one.kill().await;
    let begun = Instant::now();
    let there = [&two, &three];
    tokio::join!(two.tell(&there, &["one"]), three.tell(&there, &["one"]));
    let (at_two, at_three) = loop {
        world.settle().await;
        let counts = (two.ledger.moving().len(), three.ledger.moving().len());
        if counts.0 + counts.1 == 1000 {
            break counts;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(begun.elapsed() < Duration::from_secs(60), "{counts:?}");
    };
    // All were of one slot.
    assert!(at_two == 1000 || at_three == 1000, "{at_two} {at_three}");
    world.model.open(usize::MAX);
    let left = loop {
        world.settle().await;
        let left = two.ledger.moving().len() + three.ledger.moving().len();
        if left == 0 || begun.elapsed() > Duration::from_secs(60) {
            break left;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    assert_eq!(left, 0);
    let (owned, _) = world.records().owned("one", None).await.unwrap();
    assert!(owned.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_comes_back_under_its_name_finds_its_tasks() {
    let world = World::new(1);
    let one = world.worker("one").await;
    let id = one.begin("m").await;
    one.kill().await;
    let again = world.worker("one again").await;
    // No router tells anything: it is the lease that runs out.
    tokio::time::sleep(LEASE + LEASE / 3 + Duration::from_secs(1)).await;
    world.model.open(usize::MAX);
    world.settle().await;
    world.check_done(&id, 1).await;
    drop(again);
}

#[tokio::test(start_paused = true)]
async fn a_call_about_a_task_sends_its_caller_to_the_owner_or_adopts_it() {
    let world = World::new(1);
    let (one, two) = (world.worker("one").await, world.worker("two").await);
    let id = one.begin("m").await;
    world.settle().await;
    let refused = two.ledger.read(&key(&id), false).await.unwrap_err();
    assert_eq!(owner(&refused), Some("one"));
    let refused = two.ledger.follow(&key(&id), None, false).await.unwrap_err();
    assert_eq!(owner(&refused), Some("one"));
    let refused = two.ledger.cancel(&key(&id), false).await.unwrap_err();
    assert_eq!(owner(&refused), Some("one"));
    assert_eq!(two.ledger.moving().len(), 0);
    one.kill().await;
    // Its lease still stands, and no notice has come; but the router vouches.
    assert!(two.ledger.read(&key(&id), false).await.is_err());
    let task = two.ledger.read(&key(&id), true).await.unwrap();
    assert_eq!(state(&task), TaskState::Working);
    let canceled = two.ledger.cancel(&key(&id), true).await.unwrap();
    assert_eq!(state(&canceled), TaskState::Canceled);
    assert_eq!(world.stored(&id).await.custody.owner, "");
}
