//! The store does not answer, and comes back.

use mesh_proto::Fault;

use super::*;

#[tokio::test(start_paused = true)]
async fn running_tasks_go_on_without_a_store_and_are_written_when_it_is_back() {
    let world = World::new(1);
    let one = world.worker("one").await;
    let begun = one.send(message("m", "go"), false).await.unwrap();
    let id = begun.now().id;
    world.settle().await;
    one.faults.down(true);
    tokio::time::sleep(LEASE / 3 + Duration::from_secs(1)).await;
    let refused = one.send(message("m2", "go"), false).await.unwrap_err();
    assert_eq!(refused.fault, Fault::Unavailable);
    world.model.open(usize::MAX);
    let task = begun.rested().await.unwrap();
    assert_eq!(state(&task), TaskState::Completed, "who waits is answered");
    assert_eq!(state(&world.stored(&id).await.task), TaskState::Submitted);
    let read = one.ledger.read(&key(&id), false).await.unwrap();
    assert_eq!(read, task);
    one.faults.down(false);
    tokio::time::sleep(LEASE / 3 + Duration::from_secs(1)).await;
    world.settle().await;
    world.check_done(&id, 1).await;
}

#[tokio::test(start_paused = true)]
async fn an_ephemeral_task_runs_without_a_store_once_and_is_written_when_it_is_back() {
    let world = World::new(1);
    let one = world.worker_with("one", WhenDown::Ephemeral).await;
    one.faults.down(true);
    let begun = one.send(message("m", "go"), false).await.unwrap();
    let again = one.send(message("m", "go"), false).await.unwrap();
    assert_eq!(begun.now().id, again.now().id);
    world.model.open(usize::MAX);
    let task = begun.rested().await.unwrap();
    assert_eq!(state(&task), TaskState::Completed);
    one.faults.down(false);
    tokio::time::sleep(LEASE + Duration::from_secs(1)).await;
    world.settle().await;
    world.check_done(&task.id, 1).await;
    assert_eq!(one.counts.ephemeral.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_adopted_while_the_store_does_not_answer() {
    let world = World::new(0);
    let (one, two) = (world.worker("one").await, world.worker("two").await);
    let id = one.begin("m").await;
    two.faults.down(true);
    one.kill().await;
    two.tell(&[&two], &["one"]).await;
    world.settle().await;
    assert!(two.ledger.moving().is_empty());
    two.faults.down(false);
    tokio::time::sleep(LEASE / 3 + Duration::from_secs(1)).await;
    world.model.open(usize::MAX);
    world.settle().await;
    world.check_done(&id, 0).await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_a_rest_that_is_not_stored_yet_is_told_to_come_again() {
    let world = World::new(0);
    let one = world.worker("one").await;
    let asked = one.send(message("m", "ask"), false).await.unwrap();
    let id = asked.now().id;
    world.settle().await;
    one.faults.down(true);
    tokio::time::sleep(LEASE / 3 + Duration::from_secs(1)).await;
    world.model.open(usize::MAX);
    let rested = asked.rested().await.unwrap();
    assert_eq!(state(&rested), TaskState::InputRequired);
    let refused = one.send(answer("n", &id), false).await.unwrap_err();
    assert_eq!(refused.fault, Fault::Unavailable);
    one.faults.down(false);
    tokio::time::sleep(LEASE / 3 + Duration::from_secs(1)).await;
    world.settle().await;
    let answered = one.send(answer("n", &id), false).await.unwrap();
    let done = answered.rested().await.unwrap();
    assert_eq!(
        (done.id.as_str(), state(&done)),
        (&*id, TaskState::Completed)
    );
}

#[tokio::test(start_paused = true)]
async fn a_task_that_was_taken_waits_for_a_store_that_is_away_when_its_turn_begins() {
    let world = World::new(0);
    let one = world.worker("one").await;
    let begun = one.send(message("m", "go"), false).await.unwrap();
    // Taken, and not begun: nobody has polled the turn yet.
    one.faults.down(true);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(state(&begun.now()), TaskState::Submitted);
    one.faults.down(false);
    world.model.open(usize::MAX);
    let task = begun.rested().await.unwrap();
    assert_eq!(state(&task), TaskState::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_rest_is_written_to_a_store_that_is_back_before_anybody_has_noticed() {
    let world = World::new(1);
    let one = world.worker("one").await;
    let begun = one.send(message("m", "go"), false).await.unwrap();
    let id = begun.now().id;
    world.settle().await;
    one.faults.down(true);
    // The step's note fails, and the store is held to be away from then on.
    world.model.open(1);
    world.settle().await;
    one.faults.down(false);
    world.model.open(usize::MAX);
    let task = begun.rested().await.unwrap();
    assert_eq!(state(&task), TaskState::Completed);
    world.check_done(&id, 1).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_said_while_the_store_was_away_is_known_to_the_turns_that_follow() {
    let world = World::new(0);
    let one = world.worker("one").await;
    let begun = one.send(message("m", "go"), false).await.unwrap();
    world.settle().await;
    one.faults.down(true);
    world.model.open(usize::MAX);
    let task = begun.rested().await.unwrap();
    assert_eq!(state(&task), TaskState::Completed);
    one.faults.down(false);
    let (scope, context) = (scope(), task.context_id);
    let unsaved = one.ledger.conversation(&scope, &context).await.unwrap();
    assert_eq!(unsaved.len(), 2, "the message and the answer: {unsaved:?}");
    tokio::time::sleep(LEASE / 3 + Duration::from_secs(1)).await;
    world.settle().await;
    world.check_done(&task.id, 0).await;
    let saved = one.ledger.conversation(&scope, &context).await.unwrap();
    assert_eq!(saved, unsaved, "once, whoever has it");
}
