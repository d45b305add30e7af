//! What the sidecar is told and answered, without one.

use std::collections::BTreeSet;

use mesh_runtime::drain;

use super::{
    super::{super::Reach, BTreeMap, Streams, kinds::Kind},
    *,
};
use crate::{
    bus::{Bus as _, dapr::Dapr},
    dapr::{Settings, Sidecar},
};

const TOPIC: &str = "a2a.t.v1";

fn bus() -> Dapr {
    let settings = Settings {
        batches: BTreeSet::from([TOPIC.to_owned()]),
        ..Settings::default()
    };
    Dapr(Arc::new(Shared {
        sidecar: Sidecar::new(&settings).unwrap(),
        settings,
        kinds: BTreeMap::from([("pubsub".to_owned(), Kind::Kafka)]),
        drain: drain::channel().1,
        streams: Streams::default(),
        callbacks: Callbacks::default(),
    }))
}

async fn subscribed(bus: &Dapr) -> Box<dyn Arrivals> {
    let reach = Reach::Group("g".to_owned());
    let arrivals = bus.subscribe(TOPIC.parse().unwrap(), reach, 8).await;
    arrivals.unwrap()
}

async fn asked(bus: &Dapr, method: Method, path: &str, body: &str) -> (StatusCode, Value) {
    let body = Full::new(Bytes::from(body.to_owned()));
    let request = Request::builder().method(method).uri(path).body(body);
    let response = bus.inlet().answer(request.unwrap()).await;
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (head.status, serde_json::from_slice(&body).unwrap())
}

fn batch() -> String {
    let event = |id: &str, data: Value| serde_json::json!({"entryId": id, "event": data});
    let entries = [
        event("0", serde_json::json!({"id": "a", "data_base64": "AP8="})),
        event("1", serde_json::json!({"id": "b", "data": {"n": 1}})),
        event(
            "2",
            serde_json::json!({"id": "c", "messagemark": "another's"}),
        ),
        event("3", serde_json::json!({"id": "d", "data_base64": "?"})),
    ];
    serde_json::json!({ "entries": entries }).to_string()
}

fn path() -> String {
    format!("{BATCHES}pubsub/{TOPIC}")
}

#[tokio::test]
async fn the_sidecar_is_told_what_was_subscribed_to_before_it_asked() {
    let bus = bus();
    let arrivals = subscribed(&bus).await;
    let (status, told) = asked(&bus, Method::GET, LIST, "").await;
    assert_eq!(status, StatusCode::OK);
    let route = "/-/bus/pubsub/a2a.t.v1";
    assert_eq!(
        (&told[0]["pubsubname"], &told[0]["topic"], &told[0]["route"]),
        (&"pubsub".into(), &TOPIC.into(), &route.into())
    );
    assert_eq!(told[0]["bulkSubscribe"]["enabled"], true);
    drop(arrivals);
    // It comes back, and is still told to a sidecar that starts anew.
    let (_, again) = asked(&bus, Method::GET, LIST, "").await;
    assert_eq!(told, again);
}

#[tokio::test]
async fn each_event_of_a_batch_is_answered_by_what_became_of_it() {
    let bus = bus();
    let mut arrivals = subscribed(&bus).await;
    let settling = async {
        let first = arrivals.next().await.unwrap();
        assert_eq!(
            (&*first.message.id, &*first.message.body),
            ("a", &b"\0\xff"[..])
        );
        first.receipt.done().await.unwrap();
        let second = arrivals.next().await.unwrap();
        assert_eq!(
            (&*second.message.id, &*second.message.body),
            ("b", &b"{\"n\":1}"[..])
        );
        drop((second, arrivals));
    };
    let (path, batch) = (path(), batch());
    let ((status, told), ()) = tokio::join!(asked(&bus, Method::POST, &path, &batch), settling);
    assert_eq!(status, StatusCode::OK);
    let of = |number: usize| told["statuses"][number]["status"].clone();
    // Done; left undone; a listener's mark; what nobody can read.
    assert_eq!(
        [of(0), of(1), of(2), of(3)],
        [DONE, AGAIN, DONE, DONE].map(Value::from)
    );
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_nobody_subscribes_to_is_to_be_brought_again() {
    let bus = bus();
    drop(subscribed(&bus).await);
    let (status, _) = asked(&bus, Method::POST, &path(), &batch()).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn what_is_no_batch_is_refused_and_never_as_not_found_which_a_sidecar_takes_for_done() {
    let bus = bus();
    let _arrivals = subscribed(&bus).await;
    let path = path();
    for (method, path, body) in [
        (Method::POST, &*path, "{"),
        (Method::POST, &*path, r#"{"entries":[{"event":{}}]}"#),
        (Method::POST, "/-/bus/pubsub", "{}"),
        (Method::POST, "/-/bus/pubsub/NO%20TOPIC", "{}"),
        (Method::GET, &*path, ""),
        (Method::DELETE, LIST, ""),
    ] {
        let (status, _) = asked(&bus, method, path, body).await;
        assert!(
            status.is_client_error() && status != StatusCode::NOT_FOUND,
            "{path} {status}"
        );
    }
}
