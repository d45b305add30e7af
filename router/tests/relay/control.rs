//! Control events: what is told to every router on the bus, and how much of it a router believes.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use daca_router::{Router, config::Flags};
use http::{Response, StatusCode};
use mesh_fabric::{
    bus::{Message, Transit},
    state::Place,
};
use mesh_proto::mesh::{CONTROL_TOPIC, ControlKind, ControlNews};
use mesh_runtime::clock;

use crate::{
    agent::{Agent, Answer},
    card_is_read,
    client::{Client, eventually, send_message},
    router_with,
};

const DONE: &str = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;

/// A router that listens, and whoever tells it things.
struct Stage {
    client: Client,
    _router: Router,
    bus: Transit,
    _folder: tempfile::TempDir,
}

impl Stage {
    async fn over(agents: &[String]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::Sqlite(folder.path().to_owned());
        let flags = Flags {
            control_at: Some(place.clone()),
            admin: Some("127.0.0.1:0".to_owned()),
            ..Flags::default()
        };
        let (router, client) = router_with(flags, agents).await;
        Self {
            client,
            _router: router,
            bus: Transit::open_to_tell(&place).await.unwrap(),
            _folder: folder,
        }
    }

    /// Puts something on the bus, under a name of its own.
    async fn say(&self, id: &str, body: impl Into<Bytes>) {
        let topic = CONTROL_TOPIC.parse().unwrap();
        let message = Message::new(topic, id.to_owned(), "k".to_owned(), body.into());
        self.bus.publish_one(message).await.unwrap();
    }

    async fn tell(&self, id: &str, news: &ControlNews) {
        self.say(id, serde_json::to_vec(news).unwrap()).await;
    }

    /// What the router counts of a kind and an outcome.
    async fn counted(&self, kind: &str, outcome: &str) -> u64 {
        let admin = Client::to(self._router.addresses().admin.unwrap());
        let text = admin.get("/metrics").await.text();
        let name = format!("mesh_control_events_total{{kind=\"{kind}\",outcome=\"{outcome}\"}} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&name));
        line.map_or(0, |count| count.parse().unwrap())
    }

    async fn counts(&self, kind: &str, outcome: &str, count: u64) {
        let what = format!("{count} events {kind} to be {outcome}");
        eventually(&what, async || self.counted(kind, outcome).await == count).await;
    }

    /// Whom a new conversation could go to, and how each stands.
    async fn standings(&self) -> Vec<(String, String)> {
        let answer = self.client.get("/-/route?agent=a&context=any").await.json();
        let all = answer["candidates"].as_array().cloned().unwrap_or_default();
        let mut all: Vec<_> = all
            .iter()
            .map(|each| ["id", "standing"].map(|name| each[name].as_str().unwrap().to_owned()))
            .map(|[id, standing]| (id, standing))
            .collect();
        all.sort();
        all
    }
}

/// News of now, about agent `a`.
fn news(kind: ControlKind, boot: &str, url: &str) -> ControlNews {
    ControlNews {
        kind,
        agents: vec!["other".to_owned(), "a".to_owned()],
        boot: boot.to_owned(),
        url: url.to_owned(),
        at: clock::unix_millis(),
    }
}

fn draining(boot: &str) -> ControlNews {
    news(ControlKind::Draining, boot, "")
}

/// Two workers of ours that a router knows, and that tell it nothing of themselves any more.
async fn silent_pair() -> (Stage, [Agent; 2]) {
    let workers = [
        Agent::ours("boot-1", |_| Answer::json(DONE)).await,
        Agent::ours("boot-2", |_| Answer::json(DONE)).await,
    ];
    let urls = workers.each_ref().map(Agent::url).join(",");
    let stage = Stage::over(&[format!("a={urls}")]).await;
    eventually("each worker to be told of both", async || {
        workers.iter().all(|worker| {
            let views = worker.views();
            let pool = views.last().and_then(|view| view.agents.first());
            pool.is_some_and(|pool| pool.members.iter().all(|each| !each.boot.is_empty()))
        })
    })
    .await;
    for worker in &workers {
        worker.fall_silent();
    }
    let usable = workers.each_ref().map(|worker| worker.url().to_owned());
    let mut usable = usable.map(|id| (id, "usable".to_owned()));
    usable.sort();
    eventually("both to be usable without a watch", async || {
        let asked = workers.iter().all(Agent::was_asked_in_vain);
        asked && stage.standings().await == usable
    })
    .await;
    (stage, workers)
}

#[tokio::test]
async fn a_worker_that_tells_that_it_drains_is_given_nothing_new_though_it_answers_no_probe() {
    let (stage, workers) = silent_pair().await;
    stage.tell("1", &draining("boot-1")).await;
    stage.counts("draining", "taken", 1).await;
    let other = [(workers[1].url().to_owned(), "usable".to_owned())];
    eventually("the other alone to be tried", async || {
        stage.standings().await == other
    })
    .await;
    for number in 0..32 {
        let body = send_message("m", Some(&format!("c-{number}")));
        let answer = stage.client.post("/a", body.as_bytes(), &[]).await;
        assert_eq!(answer.text(), DONE);
    }
    assert_eq!(workers[0].posts().len(), 0);
    assert_eq!(workers[1].posts().len(), 32);
    // Said once more it is no news.
    stage.tell("2", &draining("boot-1")).await;
    stage.counts("draining", "known", 1).await;
}

#[tokio::test]
async fn what_is_old_or_forged_or_of_another_kind_or_unreadable_is_counted_and_changes_nothing() {
    let (stage, workers) = silent_pair().await;
    let before = stage.standings().await;
    let mut old = draining("boot-1");
    old.at -= 61_000;
    stage.tell("old", &old).await;
    let mut ahead = draining("boot-1");
    ahead.at += 120_000;
    stage.tell("ahead", &ahead).await;
    stage.counts("draining", "old", 2).await;

    stage.tell("no such life", &draining("boot-3")).await;
    stage.tell("no life", &draining("")).await;
    let elsewhere = ControlNews {
        agents: vec!["b".to_owned()],
        ..draining("boot-1")
    };
    stage.tell("another agent", &elsewhere).await;
    stage.counts("draining", "unknown", 3).await;
    let card = news(ControlKind::CardChanged, "boot-3", "http://127.0.0.1:9");
    stage.tell("no such place", &card).await;
    stage.counts("card_changed", "unknown", 1).await;

    let later = format!(
        r#"{{"kind":"promoted","agents":["a"],"boot":"boot-1","at":{}}}"#,
        clock::unix_millis()
    );
    stage.say("another kind", later).await;
    stage.counts("other", "unknown", 1).await;
    stage.say("no json", "{").await;
    stage.counts("other", "unreadable", 1).await;

    assert_eq!(stage.standings().await, before);
    // It still listens.
    stage.tell("true", &draining("boot-2")).await;
    stage.counts("draining", "taken", 1).await;
    drop(workers);
}

#[tokio::test]
async fn a_card_that_is_said_to_have_changed_is_read_anew_long_before_its_time_is_over() {
    let version = Arc::new(AtomicUsize::new(1));
    let told = Arc::clone(&version);
    let agent = Agent::with_pages(move |seen| {
        let page = Response::builder();
        if !seen.path.ends_with("agent-card.json") {
            let missing = page.status(StatusCode::NOT_FOUND).body(Bytes::new());
            return missing.unwrap();
        }
        let name = told.load(Ordering::Relaxed);
        let card = format!(
            r#"{{"name":"v{name}","supportedInterfaces":[
            {{"url":"http://127.0.0.1:1/","protocolBinding":"JSONRPC","protocolVersion":"1.0"}}]}}"#
        );
        let page = page.header("cache-control", "max-age=300");
        page.body(Bytes::from(card)).unwrap()
    })
    .await;
    let stage = Stage::over(&[format!("a={}", agent.url())]).await;
    card_is_read(&stage.client, "a").await;
    let reads = |name: &'static str| {
        let client = &stage.client;
        eventually("the new card to be shown", async move || {
            let card = client.get("/a/.well-known/agent-card.json").await;
            card.json()["name"] == name
        })
    };
    reads("v1").await;
    // By where the agent is, as a worker says it that has just come.
    version.store(2, Ordering::Relaxed);
    let there = news(ControlKind::CardChanged, "boot-of-now", agent.url());
    stage.tell("1", &there).await;
    reads("v2").await;
    // By the agent's name alone; however often, it is asked once a second.
    version.store(3, Ordering::Relaxed);
    for number in 0..50 {
        let anywhere = news(ControlKind::CardChanged, "", "");
        stage.tell(&format!("again-{number}"), &anywhere).await;
    }
    stage.counts("card_changed", "taken", 51).await;
    reads("v3").await;
    let asked = agent.seen();
    let asked = asked
        .iter()
        .filter(|seen| seen.path.ends_with("agent-card.json"));
    assert!(asked.count() < 20, "each of them was a question");
}

#[tokio::test]
async fn a_place_that_no_other_process_has_is_refused_at_the_start() {
    let flags = Flags {
        control_at: Some(Place::Memory),
        listen: Some("127.0.0.1:0".to_owned()),
        agents: vec!["a=http://127.0.0.1:1".to_owned()],
        ..Flags::default()
    };
    let error = Router::start(flags.settle().unwrap()).await.unwrap_err();
    assert!(error.to_string().contains("--control-at"), "{error}");
}
