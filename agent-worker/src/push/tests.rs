//! The relay against webhooks that do as a test tells them.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
};

use axum::{Router, extract::State, routing::post};
use mesh_fabric::{bus::Bounds, state::Store};
use mesh_runtime::drain::{self, Trigger};
use parking_lot::Mutex;
use serde_json::value::RawValue;

use super::*;

/// A webhook that answers with these statuses, one after the other, and then with 200.
struct Hook {
    address: SocketAddr,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    answers: Vec<u16>,
    count: AtomicUsize,
    calls: Mutex<Vec<(HeaderMap, String)>>,
}

impl Hook {
    async fn answering(answers: &[u16]) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen {
            answers: answers.to_vec(),
            ..Seen::default()
        });
        let app = Router::new()
            .route("/hook", post(hear))
            .with_state(Arc::clone(&seen));
        #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
        tokio::spawn(async { axum::serve(listener, app).await });
        Self { address, seen }
    }

    fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    fn calls(&self) -> Vec<(HeaderMap, String)> {
        self.seen.calls.lock().clone()
    }
}

async fn hear(State(seen): State<Arc<Seen>>, headers: HeaderMap, body: String) -> StatusCode {
    seen.calls.lock().push((headers, body));
    let number = seen.count.fetch_add(1, Ordering::Relaxed);
    let answer = seen.answers.get(number).copied().unwrap_or(200);
    StatusCode::from_u16(answer).unwrap()
}

struct Stage {
    bus: Transit,
    records: Records,
    registry: Registry,
    trigger: Trigger,
}

/// A relay that may call this machine, and gives a webhook two short later rounds.
async fn relay(allow: &[&str]) -> Stage {
    let bus = Transit::memory(Bounds::default());
    let store = Store::memory(mesh_fabric::state::Bounds::default());
    let records = Records::new(store, Duration::from_secs(3600));
    let settings = Settings {
        allow: allow.iter().map(|net| net.parse().unwrap()).collect(),
        rounds: vec![(Duration::from_millis(50), 2)],
        ..Settings::default()
    };
    let (trigger, drain) = drain::channel();
    let mut registry = Registry::default();
    let started = Relay::start(
        bus.clone(),
        records.clone(),
        settings,
        &mut registry,
        &drain,
    );
    started.await.unwrap();
    Stage {
        bus,
        records,
        registry,
        trigger,
    }
}

fn push(task: &str, url: &str) -> Push {
    Push {
        agent: "a".to_owned(),
        task: task.to_owned(),
        id: format!("{task}/1.1.TASK_STATE_COMPLETED/c"),
        url: url.to_owned(),
        token: "known by this".to_owned(),
        scheme: "Bearer".to_owned(),
        credentials: "secret".to_owned(),
        headers: [("a2a-version".to_owned(), "0.3".to_owned())].into(),
        failed: 0,
        event: RawValue::from_string(r#"{"statusUpdate": {"n":1.0e3}}"#.to_owned()).unwrap(),
    }
}

impl Stage {
    async fn push(&self, push: &Push) {
        let topic = notify::TOPIC.parse().unwrap();
        let message = notify::message(&topic, push).unwrap();
        self.bus.publish_one(message).await.unwrap();
    }

    async fn letters(&self) -> Vec<(String, Letter)> {
        Letter::list(&self.records, None, 100).await.unwrap()
    }

    async fn letter(&self) -> (String, Letter) {
        eventually("a dead letter", async || self.letters().await.pop()).await
    }

    fn metrics(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        text
    }
}

async fn eventually<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let waited = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited
        .await
        .unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

#[tokio::test]
async fn a_webhook_gets_the_event_its_credentials_and_an_id_by_which_it_knows_a_repetition() {
    let stage = relay(&["127.0.0.0/8"]).await;
    let hook = Hook::answering(&[500, 503]).await;
    stage.push(&push("t", &hook.url())).await;
    eventually("three calls", async || {
        (hook.calls().len() == 3).then_some(())
    })
    .await;
    for (headers, body) in hook.calls() {
        let header = |name: &str| {
            headers
                .get(name)
                .map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(header("content-type").unwrap(), "application/a2a+json");
        assert_eq!(header("authorization").unwrap(), "Bearer secret");
        assert_eq!(header("a2a-version").unwrap(), "0.3", "as it is told to");
        assert_eq!(header("x-a2a-notification-token").unwrap(), "known by this");
        assert_eq!(
            header("idempotency-key").unwrap(),
            "t/1.1.TASK_STATE_COMPLETED/c"
        );
        assert_eq!(
            body, r#"{"statusUpdate": {"n":1.0e3}}"#,
            "not a byte is changed"
        );
    }
    let metrics = stage.metrics();
    assert!(
        metrics.contains("mesh_pushes_total{outcome=\"failed\"} 2"),
        "{metrics}"
    );
    stage.trigger.drain(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_webhook_that_is_away_for_a_round_gets_it_in_a_later_one() {
    let stage = relay(&["127.0.0.0/8"]).await;
    let hook = Hook::answering(&[500, 500, 500, 502]).await;
    stage.push(&push("t", &hook.url())).await;
    eventually("the call that it takes", async || {
        stage
            .metrics()
            .contains("mesh_pushes_total{outcome=\"delivered\"} 1")
            .then_some(())
    })
    .await;
    assert!(hook.calls().len() >= 4, "{}", hook.calls().len());
    assert!(stage.letters().await.is_empty());
}

#[tokio::test]
async fn what_no_webhook_takes_is_a_dead_letter_that_can_be_sent_anew() {
    let stage = relay(&["127.0.0.0/8"]).await;
    let hook = Hook::answering(&[410]).await;
    stage.push(&push("t", &hook.url())).await;
    let (name, letter) = stage.letter().await;
    assert_eq!(letter.push.task, "t");
    assert_eq!(letter.reason, "it answered 410 Gone");
    letter
        .replay(&name, &stage.records, &stage.bus)
        .await
        .unwrap();
    eventually("the webhook to take it", async || {
        (hook.calls().len() == 2).then_some(())
    })
    .await;
    assert!(stage.letters().await.is_empty());
}

#[tokio::test]
async fn a_private_address_is_never_called() {
    let stage = relay(&[]).await;
    let hook = Hook::answering(&[]).await;
    let private = [
        hook.url(),
        hook.url().replace("127.0.0.1", "[::ffff:127.0.0.1]"),
    ];
    for (number, url) in private.iter().enumerate() {
        stage.push(&push(&format!("t{number}"), url)).await;
        let (name, letter) = stage.letter().await;
        assert!(letter.reason.starts_with("refused: "), "{}", letter.reason);
        stage.records.take_up(&name).await.unwrap();
    }
    assert!(hook.calls().is_empty());
}

#[tokio::test]
async fn a_webhook_that_is_away_holds_up_no_other_and_is_left_alone() {
    let stage = relay(&["127.0.0.0/8"]).await;
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let away = format!("http://{}/hook", closed.local_addr().unwrap());
    drop(closed);
    let hook = Hook::answering(&[]).await;
    for number in 0..30 {
        stage.push(&push(&format!("away {number}"), &away)).await;
        stage
            .push(&push(&format!("there {number}"), &hook.url()))
            .await;
    }
    eventually("all of the one that is there", async || {
        (hook.calls().len() == 30).then_some(())
    })
    .await;
    eventually("the letters of the other", async || {
        (stage.letters().await.len() == 30).then_some(())
    })
    .await;
    let metrics = stage.metrics();
    assert!(
        !metrics.contains("mesh_pushes_total{outcome=\"spared\"} 0"),
        "{metrics}"
    );
}

#[test]
fn rounds_are_counted_over_all_pauses() {
    let settings = Settings::default();
    let seconds = |failed| settings.pause(failed).map(|pause| pause.as_secs());
    assert_eq!(
        [0, 2, 3, 7, 8, 25, 26].map(seconds),
        [
            Some(10),
            Some(10),
            Some(60),
            Some(60),
            Some(600),
            Some(600),
            None
        ]
    );
}
