//! What routers are told of a worker on the bus.

use mesh_fabric::bus::{Deliveries, Reach, Subscription};
use mesh_proto::mesh::{CONTROL_TOPIC, ControlKind, ControlNews};

use super::*;

async fn next(deliveries: &mut Deliveries) -> ControlNews {
    let delivery = deliveries.next().await.unwrap();
    let news = serde_json::from_slice(&delivery.message().body).unwrap();
    delivery.done().await;
    news
}

#[tokio::test]
async fn a_worker_tells_each_listener_that_its_cards_may_be_new_and_at_the_end_that_it_drains() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::Sqlite(folder.path().to_owned());
    let bus = Transit::open_to_hear(&place).await.unwrap();
    let ask = || Subscription::new(CONTROL_TOPIC.parse().unwrap(), Reach::Broadcast);
    let mut listeners = [
        bus.subscribe(ask()).await.unwrap(),
        bus.subscribe(ask()).await.unwrap(),
    ];
    let settings = Settings {
        control: herald::Settings { at: Some(place) },
        ..Settings::default()
    };
    let worker = worker(settings, &["a", "b"]).await;
    let (boot, url) = (worker.boot(), format!("http://{}", worker.local_addr()));
    for listener in &mut listeners {
        let news = next(listener).await;
        assert_eq!(news.kind, ControlKind::CardChanged);
        assert_eq!(news.agents, ["a", "b"]);
        assert_eq!((&news.boot, &news.url), (&boot, &url));
    }
    worker.drain().await;
    for listener in &mut listeners {
        let news = next(listener).await;
        assert_eq!(news.kind, ControlKind::Draining);
        assert_eq!((&news.boot, &news.url), (&boot, &url));
    }
}

#[tokio::test]
async fn a_place_where_no_router_could_hear_it_is_refused() {
    let settings = Settings {
        control: herald::Settings {
            at: Some(Place::Memory),
        },
        ..Settings::default()
    };
    let started = Worker::start(settings, vec![agent("a")], Registry::default());
    let error = started.await.unwrap_err().to_string();
    assert!(error.contains("--control-at"), "{error}");
}
