//! Events of input bindings, as a sidecar brings them.

use mesh_fabric::state::{Bounds, Faults, Store};

use super::*;
use crate::{serve::AppToken, task::WhenDown};

fn listening() -> Agent {
    let config: Config = serde_json::from_value(json!({
        "name": "a",
        "description": "does as it is told",
        "inputs": [{"binding": "tick", "text": "say tick"}, {"binding": "mail"}],
    }))
    .unwrap();
    Agent::new(config, Arc::new(Obedient), Toolbox::default())
}

async fn start(settings: Settings) -> Worker {
    Worker::start(settings, vec![listening()], Registry::default())
        .await
        .unwrap()
}

async fn bring(worker: &Worker, binding: &str, body: &str) -> Answer {
    let path = format!("/-/binding/{binding}");
    exchange(worker, request("POST", &path), body.to_owned()).await
}

async fn tasks(worker: &Worker) -> Value {
    let page = rpc(worker, "ListTasks", &json!({"includeArtifacts": true})).await;
    page["result"]["tasks"].clone()
}

#[tokio::test]
async fn an_event_is_a_message_to_the_agent_that_takes_its_binding() {
    let worker = start(Settings::default()).await;
    let probe = |binding: &str| {
        let path = format!("/-/binding/{binding}");
        exchange(&worker, request("OPTIONS", &path), "")
    };
    assert_eq!(probe("tick").await.status, 200);
    assert_eq!(probe("other").await.status, 404);
    assert_eq!(bring(&worker, "other", "{}").await.status, 404);
    assert_eq!(bring(&worker, "tick", "").await.status, 200);
    let task = tasks(&worker).await[0].clone();
    let id = task["id"].as_str().unwrap().to_owned();
    let task = until(&worker, &id, TaskState::Completed).await;
    assert_eq!(task["artifacts"][0]["parts"][0]["text"], "tick");
    let wrong = exchange(&worker, request("GET", "/-/binding/tick"), "").await;
    assert_eq!(
        (wrong.status, &wrong.headers["allow"]),
        (405, &"OPTIONS, POST".parse().unwrap())
    );
}

#[tokio::test]
async fn an_event_that_comes_twice_by_whichever_worker_is_one_task() {
    let dir = tempfile::tempdir().unwrap();
    let sharing = || Settings {
        state: Place::Sqlite(dir.path().to_owned()),
        ..Settings::default()
    };
    let (one, two) = (start(sharing()).await, start(sharing()).await);
    let event = |id: &str| {
        let event = json!({
            "specversion": "1.0", "type": "t", "source": "s", "id": id, "data": "wait",
        });
        event.to_string()
    };
    for worker in [&one, &one, &two] {
        assert_eq!(bring(worker, "mail", &event("1")).await.status, 200);
    }
    assert_eq!(tasks(&one).await.as_array().unwrap().len(), 1);
    assert_eq!(bring(&two, "mail", &event("2")).await.status, 200);
    assert_eq!(tasks(&one).await.as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn only_who_shows_the_sidecars_token_brings_events() {
    let worker = start(Settings {
        serve: serve::Settings {
            app_token: Some(AppToken::new("hush")),
            ..serve::Settings::default()
        },
        ..Settings::default()
    })
    .await;
    let shown = |token: &str| {
        let request = request("POST", "/-/binding/tick").header("dapr-api-token", token);
        exchange(&worker, request, "")
    };
    assert_eq!(bring(&worker, "tick", "").await.status, 403);
    assert_eq!(shown("wrong").await.status, 403);
    assert_eq!(tasks(&worker).await, json!([]));
    assert_eq!(shown("hush").await.status, 200);
}

#[tokio::test]
async fn an_event_is_not_taken_while_no_store_keeps_its_task() {
    for when_down in [WhenDown::Refuse, WhenDown::Ephemeral] {
        let faults = Faults::default();
        let store = faults.over(Store::memory(Bounds::default()));
        let bus = Transit::open(&Place::Memory).await.unwrap();
        let settings = Settings {
            survival: Survival {
                when_down,
                lease: Duration::from_secs(1),
                ..Survival::default()
            },
            ..Settings::default()
        };
        let agents = vec![listening()];
        let worker = Worker::start_on(store, bus, settings, agents, Registry::default());
        let worker = worker.await.unwrap();
        faults.down(true);
        assert_eq!(bring(&worker, "tick", "").await.status, 503);
        faults.down(false);
        // It is brought again until it is taken: the worker sees by its lease that the store is back.
        while bring(&worker, "tick", "").await.status == 503 {
            tokio::task::yield_now().await;
        }
        assert_ne!(tasks(&worker).await, json!([]), "{when_down:?}");
    }
}

#[tokio::test]
async fn an_event_over_the_bound_of_bodies_is_refused() {
    let worker = start(Settings {
        serve: serve::Settings {
            max_body: 100,
            ..serve::Settings::default()
        },
        ..Settings::default()
    })
    .await;
    assert_eq!(bring(&worker, "tick", &"x".repeat(101)).await.status, 413);
}
