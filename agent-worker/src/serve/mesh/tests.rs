//! What followers of the report are told, and when.

use futures_util::FutureExt as _;
use http_body_util::{BodyExt as _, Full};
use mesh_fabric::state::{Bounds, Store};
use mesh_runtime::drain;

use super::*;
use crate::{
    record::Records,
    task::{Ledger, Limits, Metrics},
};

struct Worker {
    ledger: Ledger,
    mesh: Mesh,
    _trigger: drain::Trigger,
}

fn worker() -> Worker {
    let records = Records::new(Store::memory(Bounds::default()), Duration::from_secs(60));
    let (trigger, drain) = drain::channel();
    let ledger = Ledger::new(records, Limits::default(), Metrics::default(), drain);
    let desk = Arc::new(Desk::new(Vec::new(), None, ledger.clone()));
    Worker {
        ledger,
        mesh: Mesh::new(desk, Views::default(), "b".to_owned()),
        _trigger: trigger,
    }
}

fn ask(path: &str) -> Request<()> {
    Request::get(path).body(()).unwrap()
}

struct Lines(Body);

impl Lines {
    fn of(worker: &Worker, path: &str) -> Self {
        let response = worker.mesh.worker(&ask(path));
        assert_eq!(response.status(), StatusCode::OK);
        Self(response.into_body())
    }

    async fn next(&mut self) -> Option<WorkerReport> {
        let frame = self.0.frame().await?.unwrap().into_data().unwrap();
        assert!(frame.ends_with(b"\n"));
        Some(serde_json::from_slice(&frame).unwrap())
    }

    fn is_silent(&mut self) -> bool {
        self.next().now_or_never().is_none()
    }
}

#[tokio::test(start_paused = true)]
async fn a_report_comes_at_once_and_then_every_second_as_a_sign_of_life() {
    let worker = worker();
    let begun = Instant::now();
    let mut lines = Lines::of(&worker, "/-/worker?watch=100");
    for second in 0..3 {
        assert_eq!(lines.next().await.unwrap().boot, "b");
        assert_eq!(begun.elapsed(), Duration::from_secs(second));
    }
}

#[tokio::test(start_paused = true)]
async fn load_is_told_as_often_as_is_asked_for() {
    let worker = worker();
    let mut lines = Lines::of(&worker, "/-/worker?watch=250");
    assert_eq!(lines.next().await.unwrap().in_flight, 0);
    let begun = Instant::now();
    let seat = worker.ledger.take_a_seat();
    assert!(lines.is_silent(), "it is not told at once");
    assert_eq!(lines.next().await.unwrap().in_flight, 1);
    assert_eq!(begun.elapsed(), Duration::from_millis(250));
    drop(seat);
    assert_eq!(lines.next().await.unwrap().in_flight, 0);
    assert_eq!(begun.elapsed(), Duration::from_millis(500));
}

#[tokio::test(start_paused = true)]
async fn a_drain_is_told_at_once_and_the_end_comes_with_the_last_turn() {
    let worker = worker();
    let mut lines = Lines::of(&worker, "/-/worker?watch=60000");
    let seat = worker.ledger.take_a_seat();
    assert_eq!(lines.next().await.unwrap().state, WorkerState::Active);
    assert!(lines.is_silent());
    let begun = Instant::now();
    worker.ledger.drain();
    let told = lines.next().await.unwrap();
    assert_eq!((told.state, told.in_flight), (WorkerState::Draining, 1));
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert!(lines.is_silent());
    drop(seat);
    let last = lines.next().await.unwrap();
    assert_eq!((last.state, last.in_flight), (WorkerState::Draining, 0));
    assert!(begun.elapsed() <= LAST_LOOKS);
    assert_eq!(lines.next().await, None);
}

#[tokio::test]
async fn one_follower_too_many_is_refused_until_another_leaves() {
    let worker = worker();
    let mut followers: Vec<_> = (0..WATCHERS)
        .map(|_| Lines::of(&worker, "/-/worker?watch=100"))
        .collect();
    let refused = worker.mesh.worker(&ask("/-/worker?watch=100"));
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains_key(header::RETRY_AFTER));
    followers.pop();
    Lines::of(&worker, "/-/worker?watch=100");
}

#[tokio::test]
async fn what_is_asked_is_checked() {
    let worker = worker();
    for wrong in ["99", "60001", "-1", "1s", "1e3"] {
        let refused = worker
            .mesh
            .worker(&ask(&format!("/-/worker?watch={wrong}")));
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{wrong}");
    }
    let whole = worker.mesh.worker(&ask("/-/worker?other=1"));
    let whole = whole.into_body().collect().await.unwrap().to_bytes();
    assert!(serde_json::from_slice::<WorkerReport>(&whole).is_ok());
}

#[tokio::test]
async fn a_view_is_taken_and_told_back() {
    let worker = worker();
    let post = async |text: String| {
        let body = Full::new(Bytes::from(text));
        let answered = worker
            .mesh
            .view(&Method::POST, &HeaderMap::new(), body)
            .await;
        answered.status().as_u16()
    };
    let notice = ViewNotice {
        view: "00000000000000ff".to_owned(),
        ..ViewNotice::default()
    };
    assert_eq!(post(serde_json::to_string(&notice).unwrap()).await, 204);
    assert_eq!(worker.mesh.report().view, "00000000000000ff");
    assert_eq!(post("{".to_owned()).await, 400);
    assert_eq!(post("x".repeat(NOTICE_BYTES + 1)).await, 413);
    let all = ViewNotice {
        gone: vec![String::new(); mesh::GONE_MAX + 1],
        ..ViewNotice::default()
    };
    assert_eq!(post(serde_json::to_string(&all).unwrap()).await, 400);
}
