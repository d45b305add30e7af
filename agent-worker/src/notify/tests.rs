//! What is told by whom, and what stays in the store until it is.

use mesh_fabric::{
    bus::{Bounds, Reach, Subscription},
    state::{self, Condition, Store},
};
use mesh_runtime::drain;

use super::*;

fn config(url: &str) -> Config {
    Config {
        id: "c".to_owned(),
        url: url.to_owned(),
        ..Config::default()
    }
}

fn key() -> TaskKey {
    TaskKey {
        scope: crate::record::Scope {
            agent: mesh_proto::AgentName::parse("a").unwrap(),
            tenant: "t/1".to_owned(),
            principal: String::new(),
        },
        id: "task".to_owned(),
    }
}

#[tokio::test]
async fn a_transition_that_a_worker_that_died_had_still_to_tell_is_told_by_another() {
    let store = Store::memory(state::Bounds::default());
    let records = Records::new(store.clone(), Duration::from_secs(3600));
    let key = key();
    let mut update = mesh_proto::a2a::TaskStatusUpdateEvent::default();
    update.status.get_or_insert_default().state = TaskState::Submitted as i32;
    let payload = Payload::StatusUpdate(update);
    let name = "1.0.TASK_STATE_SUBMITTED";
    let note = kept(&key, name, &payload, Some(Slot(0x1230))).unwrap();
    let mut left: serde_json::Value = serde_json::from_slice(&note).unwrap();
    left["millis"] = 1.into();
    let unsent = Records::unsent_key(&key, name);
    let put = store.put(
        &unsent,
        Bytes::from(left.to_string()),
        Condition::Absent,
        None,
    );
    put.await.unwrap();
    let bus = Transit::memory(Bounds::default());
    let group = Reach::Group("test".to_owned());
    let ask = Subscription::new(transition::TOPIC.parse().unwrap(), group);
    let mut told = bus.subscribe(ask).await.unwrap();
    let (trigger, drain) = drain::channel();
    let mut registry = Registry::default();
    let settings = Settings { transitions: true };
    let _notifier = Notifier::start(bus, records.clone(), settings, &mut registry, &drain);
    let delivery = told.next().await.unwrap();
    assert_eq!(delivery.message().key, "123");
    let transition: Transition = serde_json::from_slice(&delivery.message().body).unwrap();
    assert_eq!(transition.state, "TASK_STATE_SUBMITTED");
    delivery.done().await;
    trigger.drain(Duration::from_secs(5)).await;
    assert!(records.unsent(None, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_a_worker_that_died_had_still_to_tell_is_told_by_another() {
    let store = Store::memory(state::Bounds::default());
    let records = Records::new(store.clone(), Duration::from_secs(3600));
    let key = key();
    let given = records.change_hooks(&key, |all| {
        all.push(config("https://example.com/hook"));
        Ok(())
    });
    given.await.unwrap().unwrap();
    let payload = Payload::StatusUpdate(mesh_proto::a2a::TaskStatusUpdateEvent::default());
    let note = kept(&key, "1.1.X", &payload, None).unwrap();
    let mut left: serde_json::Value = serde_json::from_slice(&note).unwrap();
    left["millis"] = 1.into();
    let name = Records::unsent_key(&key, "1.1.X");
    let value = Bytes::from(left.to_string());
    store
        .put(&name, value, Condition::Absent, None)
        .await
        .unwrap();
    let fresh = Records::unsent_key(&key, "1.2.Y");
    store
        .put(&fresh, note, Condition::Absent, None)
        .await
        .unwrap();

    let bus = Transit::memory(Bounds::default());
    let group = Reach::Group("test".to_owned());
    let ask = Subscription::new(TOPIC.parse().unwrap(), group);
    let mut told = bus.subscribe(ask).await.unwrap();
    let (trigger, drain) = drain::channel();
    let mut registry = Registry::default();
    let _notifier = Notifier::start(
        bus,
        records.clone(),
        Settings::default(),
        &mut registry,
        &drain,
    );
    let delivery = told.next().await.unwrap();
    let push: Push = serde_json::from_slice(&delivery.message().body).unwrap();
    assert_eq!(
        (push.id.as_str(), push.task.as_str()),
        ("task/1.1.X/c", "task")
    );
    assert_eq!(push.url, "https://example.com/hook");
    trigger.drain(Duration::from_secs(5)).await;
    let unsent = records.unsent(None, 10).await.unwrap();
    let keys: Vec<_> = unsent.into_iter().map(|unsent| unsent.key).collect();
    assert_eq!(
        keys,
        [fresh],
        "what its own worker is about to tell is left to it"
    );
}
