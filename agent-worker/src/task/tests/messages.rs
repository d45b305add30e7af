//! The same message, said again: here, elsewhere, at once, too late, with other words.

use mesh_proto::Fault;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_message_that_is_repeated_joins_its_task() {
    let world = World::new(1);
    let one = world.worker("one").await;
    let first = one.send(message("m", "go"), false).await.unwrap();
    let again = one.send(message("m", "go"), false).await.unwrap();
    assert_eq!(first.now().id, again.now().id);
    world.model.open(usize::MAX);
    let (first, again) = (first.rested().await.unwrap(), again.rested().await.unwrap());
    assert_eq!(first, again);
    let late = one.send(message("m", "go"), false).await.unwrap();
    assert_eq!(late.rested().await.unwrap(), first);
    world.check_done(&first.id, 1).await;
    assert_eq!(one.counts.joined.get(), 2);
}

#[tokio::test(start_paused = true)]
async fn of_the_same_message_at_two_workers_at_once_comes_one_task() {
    for _ in 0..8 {
        let world = World::new(0);
        let (one, two) = (world.worker("one").await, world.worker("two").await);
        let sends = || (message("m", "go"), message("m", "go"));
        let (a, b) = sends();
        let (a, b) = tokio::join!(one.send(a, false), two.send(b, false));
        let (won, lost) = if a.is_ok() { (a, b) } else { (b, a) };
        let refused = lost.unwrap_err();
        assert!(matches!(owner(&refused), Some("one" | "two")));
        world.model.open(usize::MAX);
        let task = won.unwrap().rested().await.unwrap();
        world.settle().await;
        let (tasks, _) = world.records().tasks(&scope(), None).await.unwrap();
        assert_eq!(tasks.len(), 1);
        let later = two.send(message("m", "go"), false).await.unwrap();
        assert_eq!(
            later.rested().await.unwrap(),
            task,
            "at rest it is anybody's to tell"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_id_with_other_words_is_an_error_that_names_it() {
    let world = World::new(0);
    let (one, two) = (world.worker("one").await, world.worker("two").await);
    one.begin("m").await;
    for life in [&one, &two] {
        let refused = life.send(message("m", "stop"), false).await.unwrap_err();
        assert_eq!(refused.fault, Fault::InvalidParams);
        assert_eq!(refused.metadata["messageId"], "m");
    }
    let mut marked = message("m", "go");
    marked.metadata = mesh_proto::json::object(&json!({"attempt": 2}));
    one.send(marked, false)
        .await
        .expect("metadata says nothing else");
}

#[tokio::test(start_paused = true)]
async fn a_repeated_message_of_a_lost_worker_goes_on_with_its_task() {
    let world = World::new(1);
    let (one, two) = (world.worker("one").await, world.worker("two").await);
    let id = one.begin("m").await;
    world.settle().await;
    one.kill().await;
    let refused = two.send(message("m", "go"), false).await.unwrap_err();
    assert_eq!(owner(&refused), Some("one"), "nobody said that it is gone");
    let joined = two.send(message("m", "go"), true).await.unwrap();
    assert_eq!(joined.now().id, id);
    world.model.open(usize::MAX);
    joined.rested().await.unwrap();
    world.check_done(&id, 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_day_later_it_is_another_message() {
    let world = World::new(0);
    world.model.open(usize::MAX);
    let one = world.worker("one").await;
    let first = one.begin("m").await;
    tokio::time::sleep(Duration::from_secs(24 * 3600 - 60)).await;
    assert_eq!(one.begin("m").await, first);
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_ne!(one.begin("m").await, first);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_faster_than_the_news_of_the_rest_is_taken() {
    let world = World::new(0);
    let one = world.worker("one").await;
    let asked = one.send(message("m", "ask"), false).await.unwrap();
    let id = asked.now().id;
    world.settle().await;
    one.faults.late(Duration::from_secs(1));
    world.model.open(usize::MAX);
    world.settle().await;
    let stored = world.stored(&id).await;
    assert_eq!(state(&stored.task), TaskState::InputRequired);
    assert_eq!(one.ledger.moving().len(), 1, "its owner has not heard");
    let answered = one.send(answer("n", &id), false).await.unwrap();
    assert_eq!(answered.now().id, id);
    let done = answered.rested().await.unwrap();
    assert_eq!(state(&done), TaskState::Completed);
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_a_task_that_works_is_refused() {
    let world = World::new(0);
    let one = world.worker("one").await;
    let id = one.begin("m").await;
    world.settle().await;
    let refused = one.send(answer("n", &id), false).await.unwrap_err();
    assert_eq!(refused.fault, Fault::UnsupportedOperation);
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_comes_to_rest_while_it_is_canceled_is_canceled_at_rest() {
    let world = World::new(0);
    let one = world.worker("one").await;
    let asked = one.send(message("m", "ask"), false).await.unwrap();
    let id = asked.now().id;
    world.settle().await;
    one.faults.late(Duration::from_secs(1));
    world.model.open(usize::MAX);
    world.settle().await;
    let canceled = one.ledger.cancel(&key(&id), false).await.unwrap();
    assert_eq!(state(&canceled), TaskState::Canceled);
    assert_eq!(state(&world.stored(&id).await.task), TaskState::Canceled);
}
