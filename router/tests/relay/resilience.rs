//! What a call meets when its worker dies, refuses, has lost it to another, or takes too long.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use daca_router::{Router, config::Flags};
use http::StatusCode;
use mesh_proto::AgentName;
use mesh_runtime::directory::{AgentEntry, MemberEntry, Plan, Roster};
use serde_json::json;
use tokio::sync::watch;

use crate::{
    agent::{Agent, Answer, Seen},
    client::{self, Client, send_message},
    router,
};

const DONE: &str = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
const BUSY: &str = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"full"}}"#;

/// Two workers of ours behind a router that knows both, and has told each of the other.
async fn pair(
    first: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
    second: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
) -> (Router, Client, [Agent; 2]) {
    let workers = [
        Agent::ours("boot-1", first).await,
        Agent::ours("boot-2", second).await,
    ];
    let urls = workers.each_ref().map(Agent::url).join(",");
    let (router, client) = router(&[format!("a={urls}")]).await;
    client::eventually("each worker to be told of both", async || {
        workers.iter().all(knows_both)
    })
    .await;
    (router, client, workers)
}

fn knows_both(worker: &Agent) -> bool {
    let views = worker.views();
    let last = views.last().and_then(|view| view.agents.first());
    last.is_some_and(|pool| {
        let boots = pool.members.iter().map(|member| member.boot.as_str());
        boots.eq(["boot-1", "boot-2"]) || boots_reversed(pool)
    })
}

fn boots_reversed(pool: &mesh_proto::mesh::PoolNotice) -> bool {
    let boots = pool.members.iter().map(|member| member.boot.as_str());
    boots.eq(["boot-2", "boot-1"])
}

#[tokio::test]
async fn a_message_whose_worker_dies_goes_to_another_that_is_asked_to_adopt_and_all_are_told() {
    let arrived = Arc::new(AtomicUsize::new(0));
    let answer = {
        let arrived = Arc::clone(&arrived);
        move |_: &Seen| match arrived.fetch_add(1, Ordering::Relaxed) {
            0 => Answer::Hang,
            _ => Answer::json(DONE),
        }
    };
    let (_router, client, workers) = pair(answer.clone(), answer).await;
    let call = tokio::task::spawn({
        let client = client.clone();
        async move {
            let body = send_message("m-1", None);
            client.post("/a", body.as_bytes(), &[]).await
        }
    });
    client::eventually("the call to arrive", async || {
        arrived.load(Ordering::Relaxed) == 1
    })
    .await;
    let (dead, other) = match workers[0].posts().len() {
        1 => (0, 1),
        _ => (1, 0),
    };
    workers[dead].stop().await;
    let answer = call.await.unwrap();
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (StatusCode::OK, DONE)
    );
    let seen = workers[other].posts().pop().unwrap();
    assert_eq!(seen.header("a2a-orphan"), Some("1"));
    let boot = ["boot-1", "boot-2"][dead];
    client::eventually("the other to be told who is gone", async || {
        let views = workers[other].views();
        views.iter().any(|view| view.gone == [boot])
    })
    .await;
}

#[tokio::test]
async fn a_message_without_an_id_is_not_sent_again_after_a_break() {
    let (_router, client, workers) = pair(|_| Answer::Hang, |_| Answer::Hang).await;
    let call = tokio::task::spawn({
        let client = client.clone();
        async move {
            let body = json!({"jsonrpc":"2.0","id":1,"method":"SendMessage",
                "params":{"message":{"role":"ROLE_USER","parts":[{"text":"x"}]}}});
            client.post("/a", body.to_string().as_bytes(), &[]).await
        }
    });
    let count = || -> usize { workers.iter().map(|worker| worker.posts().len()).sum() };
    client::eventually("the call to arrive", async || count() == 1).await;
    for worker in &workers {
        worker.stop().await;
    }
    assert_eq!(call.await.unwrap().status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(count(), 1);
}

#[tokio::test]
async fn a_full_worker_passes_new_work_on_and_nobody_adopts() {
    let busy = |_: &Seen| Answer::Refusal(StatusCode::SERVICE_UNAVAILABLE, ("x-by", "full"), BUSY);
    let (_router, client, workers) = pair(busy, |_| Answer::json(DONE)).await;
    for number in 0..16 {
        let body = send_message(&format!("m-{number}"), None);
        let answer = client.post("/a", body.as_bytes(), &[]).await;
        assert_eq!(answer.text(), DONE, "{number}");
    }
    assert!(
        !workers[0].posts().is_empty(),
        "none was placed there first"
    );
    let taken = workers[1].posts();
    assert_eq!(taken.len(), 16);
    assert!(taken.iter().all(|seen| seen.header("a2a-orphan").is_none()));
}

#[tokio::test]
async fn where_all_are_full_the_caller_gets_a_workers_own_words() {
    let busy = |_: &Seen| Answer::Refusal(StatusCode::SERVICE_UNAVAILABLE, ("x-by", "full"), BUSY);
    let (_router, client, _workers) = pair(busy, busy).await;
    let body = send_message("m-1", None);
    let answer = client.post("/a", body.as_bytes(), &[]).await;
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, BUSY)
    );
}

#[tokio::test]
async fn a_task_that_another_worker_has_is_asked_for_there_once() {
    let elsewhere = |owner: &'static str| {
        move |_: &Seen| {
            Answer::Refusal(StatusCode::MISDIRECTED_REQUEST, ("daca-owner", owner), BUSY)
        }
    };
    let (_router, client, workers) = pair(elsewhere("boot-2"), |_| Answer::json(DONE)).await;
    for number in 0..8 {
        let body = send_message("m-1", Some(&format!("c-{number}")));
        let answer = client.post("/a", body.as_bytes(), &[]).await;
        assert_eq!(answer.text(), DONE);
    }
    assert!(
        !workers[0].posts().is_empty(),
        "none was placed there first"
    );
    assert_eq!(workers[1].posts().len(), 8);
    // Two that name each other are asked ever more slowly, as long as the caller waits.
    let (_router, client, workers) = pair(elsewhere("boot-2"), elsewhere("boot-1")).await;
    let body = send_message("m-1", None);
    let answer = client
        .post("/a", body.as_bytes(), &[("daca-timeout", "2000")])
        .await;
    assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT);
    assert!(answer.header("daca-owner").is_none());
    let asked = workers[0].posts().len() + workers[1].posts().len();
    assert!((2..=5).contains(&asked), "{asked}");
}

#[tokio::test]
async fn a_task_whose_worker_this_router_learns_of_later_than_another_is_waited_for() {
    let elsewhere = |_: &Seen| {
        let owner = ("daca-owner", "boot-2");
        Answer::Refusal(StatusCode::MISDIRECTED_REQUEST, owner, BUSY)
    };
    let (known, new) = (
        Agent::ours("boot-1", elsewhere).await,
        Agent::ours("boot-2", |_| Answer::json(DONE)).await,
    );
    let (roster, told) = watch::channel(roster(&[&known]));
    let flags = Flags {
        listen: Some("127.0.0.1:0".to_owned()),
        agents: vec![format!("a={}", known.url())],
        ..Flags::default()
    };
    let mut settings = flags.settle().unwrap();
    settings.plan = Plan::Told(told);
    let router = Router::start(settings).await.unwrap();
    let client = Client::to(router.addresses().main);
    client::eventually("the worker to be known", async || !known.views().is_empty()).await;
    let call = tokio::task::spawn({
        let client = client.clone();
        async move {
            let body = send_message("m-1", Some("c"));
            client.post("/a", body.as_bytes(), &[]).await
        }
    });
    client::eventually("the call to arrive", async || !known.posts().is_empty()).await;
    roster.send_replace(self::roster(&[&known, &new]));
    let answer = call.await.unwrap();
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (StatusCode::OK, DONE)
    );
    assert_eq!(new.posts().len(), 1);
}

fn roster(members: &[&Agent]) -> Arc<Roster> {
    let members = members.iter().map(|each| MemberEntry::from_url(each.url()));
    Arc::new(Roster {
        agents: vec![AgentEntry {
            name: AgentName::parse("a").unwrap(),
            members: members.map(Result::unwrap).collect(),
        }],
    })
}

#[tokio::test]
async fn a_call_ends_at_its_callers_deadline_and_what_is_left_goes_on() {
    let agent = Agent::answering(|_| Answer::Hang).await;
    let (_router, client) = router(&[format!("a={}", agent.url())]).await;
    let body = send_message("m-1", None);
    let answer = client
        .post("/a", body.as_bytes(), &[("daca-timeout", "2000")])
        .await;
    assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT);
    let seen = agent.posts().pop().unwrap();
    let left: u64 = seen.header("daca-timeout").unwrap().parse().unwrap();
    assert!(left <= 2000, "{left}");
    let answer = client
        .post("/a", body.as_bytes(), &[("daca-timeout", "soon")])
        .await;
    assert!(answer.text().contains("daca-timeout"), "{}", answer.text());
    assert_eq!(agent.posts().len(), 1);
}

#[tokio::test]
async fn new_work_goes_to_who_has_room_and_where_nobody_has_it_is_refused_without_asking() {
    let (_router, client, workers) = pair(|_| Answer::json(DONE), |_| Answer::json(DONE)).await;
    workers[0].loaded("64/64");
    let sent = AtomicUsize::new(0);
    let next = || {
        let number = sent.fetch_add(1, Ordering::Relaxed);
        send_message(&format!("m-{number}"), None)
    };
    client::eventually("new work to pass the full one by", async || {
        let before = workers[0].posts().len();
        for _ in 0..8 {
            client.post("/a", next().as_bytes(), &[]).await;
        }
        workers[0].posts().len() == before
    })
    .await;
    workers[1].loaded("64/64");
    client::eventually("new work to be refused", async || {
        let before = workers[0].posts().len() + workers[1].posts().len();
        let answer = client.post("/a", next().as_bytes(), &[]).await;
        let asked = workers[0].posts().len() + workers[1].posts().len() - before;
        answer.status == StatusCode::TOO_MANY_REQUESTS
            && answer.header("retry-after").is_some()
            && asked == 0
    })
    .await;
    // A conversation stays where it is: its worker says itself that it is full.
    let body = send_message("m", Some("c"));
    assert_eq!(client.post("/a", body.as_bytes(), &[]).await.text(), DONE);
}

#[tokio::test]
async fn a_draining_worker_is_given_nothing_new() {
    let (_router, client, workers) = pair(|_| Answer::json(DONE), |_| Answer::json(DONE)).await;
    workers[0].loaded("1/64;draining");
    client::eventually("new work to pass the draining one by", async || {
        let before = workers[0].posts().len();
        for number in 0..8 {
            let body = send_message("m", Some(&format!("c-{number}")));
            client.post("/a", body.as_bytes(), &[]).await;
        }
        workers[0].posts().len() == before
    })
    .await;
}

#[tokio::test]
async fn who_keeps_asking_for_a_task_that_nobody_knows_costs_no_more_questions() {
    let unknown = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32001,"message":"no"}}"#;
    let replicas = [
        Agent::answering(move |_| Answer::json(unknown)).await,
        Agent::answering(move |_| Answer::json(unknown)).await,
    ];
    let urls = replicas.each_ref().map(Agent::url).join(",");
    let (_router, client) = router(&[format!("a={urls}")]).await;
    let get = r#"{"jsonrpc":"2.0","id":1,"method":"GetTask","params":{"id":"t"}}"#;
    for _ in 0..20 {
        let answer = client.post("/a", get.as_bytes(), &[]).await.json();
        assert_eq!(answer["error"]["code"], -32001);
    }
    let asked: usize = replicas.iter().map(|each| each.posts().len()).sum();
    assert!(asked < 20, "{asked}");
}

#[tokio::test]
async fn an_endpoint_that_fails_in_a_row_is_left_alone_for_a_while() {
    let failing = Agent::answering(|_| Answer::Failure(StatusCode::BAD_GATEWAY)).await;
    let well = Agent::answering(|_| Answer::json(DONE)).await;
    let (_router, client) = router(&[format!("a={},{}", failing.url(), well.url())]).await;
    let mut failures = 0;
    for number in 0..64 {
        let body = send_message(&format!("m-{number}"), None);
        let answer = client.post("/a", body.as_bytes(), &[]).await;
        failures += usize::from(answer.status == StatusCode::BAD_GATEWAY);
    }
    assert!((1..20).contains(&failures), "{failures}");
}
