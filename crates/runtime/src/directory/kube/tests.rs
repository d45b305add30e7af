//! What a real API server can't be told to do: a server of the test's own, which answers each request as
//! the test says.

use std::{convert::Infallible, io, sync::Arc};

use axum::{Router, body::Body, extract::Request, response::Response};
use bytes::Bytes;
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};

use super::super::{Directory, Metrics, Plan, Planned, Roster, Settings};
use crate::drain;

const SOURCE: &str = "kube:daca/workers:http";

/// A directory with two agents at the same workers, and the API server behind it.
struct Cluster {
    visits: mpsc::Receiver<Visit>,
    metrics: Metrics,
    directory: Directory,
    rosters: watch::Receiver<Arc<Roster>>,
    _config: tempfile::NamedTempFile,
    _trigger: drain::Trigger,
}

/// A request that waits for its answer.
struct Visit {
    query: String,
    answer: oneshot::Sender<Response>,
}

/// A watch that is open. Dropped, it ends in good order.
struct Watch(mpsc::Sender<io::Result<Bytes>>);

async fn cluster() -> Cluster {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (visit, visits) = mpsc::channel(8);
    let answer = move |request: Request| {
        let visit = visit.clone();
        async move {
            let path = "/apis/discovery.k8s.io/v1/namespaces/daca/endpointslices";
            assert_eq!(request.uri().path(), path);
            let query = request.uri().query().unwrap_or_default().to_owned();
            assert!(query.contains("labelSelector=kubernetes.io%2Fservice-name%3Dworkers"));
            let (answer, answered) = oneshot::channel();
            visit.send(Visit { query, answer }).await.unwrap();
            // A visit that the test leaves alone is one that hangs.
            let answer = answered.await;
            Ok::<_, Infallible>(answer.unwrap_or_else(|_| status(500, "unanswered")))
        }
    };
    let (trigger, drain) = drain::channel();
    let router = Router::new().fallback(answer);
    let until = drain.clone();
    drain.spawn("API server", async move {
        tokio::select! {
            () = until.signaled() => {}
            served = axum::serve(listener, router) => served.unwrap(),
        }
    });

    let config = tempfile::NamedTempFile::new().unwrap();
    let text = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "x",
        "clusters": [{ "name": "c", "cluster": { "server": format!("http://{address}") } }],
        "users": [{ "name": "u", "user": {} }],
        "contexts": [{ "name": "x", "context": { "cluster": "c", "user": "u" } }],
    });
    std::fs::write(config.path(), text.to_string()).unwrap();
    let mut settings = Settings {
        debounce: std::time::Duration::ZERO,
        second_sight: std::time::Duration::ZERO,
        ..Settings::default()
    };
    settings.kube.kubeconfig = Some(config.path().to_owned());
    settings.kube.watch = std::time::Duration::from_secs(1);
    let agents = ["a", "b"].map(|name| {
        let mut planned = Planned::new(name.parse().unwrap());
        planned.add(&format!("{SOURCE}/{name}")).unwrap();
        planned
    });
    let metrics = Metrics::default();
    let plan = Plan::Agents(agents.into());
    let directory = Directory::open(plan, &settings, &metrics, &drain).await;
    let directory = directory.unwrap();
    Cluster {
        visits,
        metrics,
        rosters: directory.rosters(),
        directory,
        _config: config,
        _trigger: trigger,
    }
}

impl Cluster {
    async fn visit(&mut self) -> Visit {
        let wait = std::time::Duration::from_secs(30);
        let visit = tokio::time::timeout(wait, self.visits.recv()).await;
        visit.expect("a request within a generous while").unwrap()
    }

    /// The watch that begins by listing these slices.
    async fn listed(&mut self, slices: &[Value]) -> Watch {
        let visit = self.visit().await;
        assert!(
            visit.query.contains("sendInitialEvents=true"),
            "{}",
            visit.query
        );
        let watch = visit.watch();
        for slice in slices {
            watch.event("ADDED", slice).await;
        }
        watch.listed("10").await;
        watch
    }

    /// Waits until both agents have these members.
    async fn members(&mut self, wanted: &[&str]) {
        let has = |roster: &Arc<Roster>| {
            let mut agents = roster.agents.iter();
            agents.all(|agent| {
                let mut ids: Vec<_> = agent.members.iter().map(|each| each.id.as_str()).collect();
                ids.sort_unstable();
                ids == wanted
            })
        };
        let wait = std::time::Duration::from_secs(30);
        let seen = tokio::time::timeout(wait, self.rosters.wait_for(has));
        let is_seen = seen.await.is_ok();
        assert!(is_seen, "{:?}", self.rosters.borrow());
    }

    async fn stale(&self, wanted: bool) {
        while self.metrics.is_stale(SOURCE) != wanted {
            tokio::task::yield_now().await;
        }
    }
}

impl Visit {
    fn say(self, response: Response) {
        self.answer.send(response).unwrap();
    }

    fn watch(self) -> Watch {
        let (sender, receiver) = mpsc::channel(8);
        let events = stream::unfold(receiver, async |mut receiver| {
            receiver.recv().await.map(|event| (event, receiver))
        });
        self.say(Response::new(Body::from_stream(events)));
        Watch(sender)
    }
}

impl Watch {
    async fn event(&self, kind: &str, object: &Value) {
        let line = format!("{}\n", json!({ "type": kind, "object": object }));
        self.0.send(Ok(line.into())).await.unwrap();
    }

    /// The end of the streamed list.
    async fn listed(&self, version: &str) {
        let bookmark = json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "resourceVersion": version,
                "annotations": { "k8s.io/initial-events-end": "true" },
            },
        });
        self.event("BOOKMARK", &bookmark).await;
    }

    /// Half a line, and then nothing more.
    async fn break_off(self) {
        self.0.send(Ok("{\"type\":\"ADD".into())).await.unwrap();
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        self.0.send(Err(reset)).await.unwrap();
    }
}

fn slice(name: &str, version: u32, pods: &[&str]) -> Value {
    let endpoint = |pod: &&str| {
        let last = pod.trim_start_matches("w-");
        json!({
            "addresses": [format!("10.0.0.{last}")],
            "conditions": { "ready": true },
            "targetRef": { "kind": "Pod", "name": pod, "uid": format!("uid of {pod}") },
        })
    };
    let endpoints: Vec<_> = pods.iter().map(endpoint).collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": { "name": name, "namespace": "daca", "resourceVersion": version.to_string() },
        "addressType": "IPv4",
        "ports": [{ "name": "http", "port": 9000 }],
        "endpoints": endpoints,
    })
}

fn fault(code: u16, reason: &str) -> Value {
    json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": reason,
        "reason": reason,
        "code": code,
    })
}

fn status(code: u16, reason: &str) -> Response {
    let response = Response::builder().status(code);
    response
        .body(Body::from(fault(code, reason).to_string()))
        .unwrap()
}

fn page(slices: &[Value], more: &str) -> Response {
    let list = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSliceList",
        "metadata": { "resourceVersion": "10", "continue": more },
        "items": slices,
    });
    Response::new(Body::from(list.to_string()))
}

#[tokio::test]
async fn a_streamed_list_and_what_follows_it_are_members_of_every_agent_of_the_service() {
    let mut cluster = cluster().await;
    assert!(!cluster.directory.is_complete());
    let slices = [slice("s-1", 8, &["w-1", "w-2"]), slice("s-2", 9, &["w-3"])];
    let watch = cluster.listed(&slices).await;
    cluster.members(&["w-1", "w-2", "w-3"]).await;
    assert!(cluster.directory.is_complete());
    let urls: Vec<_> = {
        let roster = cluster.rosters.borrow();
        let firsts = roster
            .agents
            .iter()
            .map(|agent| agent.members[0].url.to_string());
        firsts.collect()
    };
    assert_eq!(urls, ["http://10.0.0.1:9000/a", "http://10.0.0.1:9000/b"]);
    // Twice the same event changes once.
    let updates = cluster.metrics.updates.get();
    let grown = slice("s-2", 11, &["w-3", "w-4"]);
    watch.event("MODIFIED", &grown).await;
    watch.event("MODIFIED", &grown).await;
    cluster.members(&["w-1", "w-2", "w-3", "w-4"]).await;
    watch
        .event("DELETED", &slice("s-1", 12, &["w-1", "w-2"]))
        .await;
    cluster.members(&["w-3", "w-4"]).await;
    assert_eq!(cluster.metrics.updates.get(), updates + 2);
}

#[tokio::test]
async fn a_server_without_streamed_lists_is_asked_for_pages_and_no_page_counts_alone() {
    let mut cluster = cluster().await;
    cluster.visit().await.say(status(422, "Invalid"));
    let first = cluster.visit().await;
    assert!(!first.query.contains("watch"), "{}", first.query);
    first.say(page(&[slice("s-1", 8, &["w-1"])], "more"));
    let second = cluster.visit().await;
    assert!(second.query.contains("continue=more"), "{}", second.query);
    assert!(!cluster.directory.is_complete());
    second.say(page(&[slice("s-2", 9, &["w-2"])], ""));
    cluster.members(&["w-1", "w-2"]).await;
    let watch = cluster.visit().await;
    assert!(
        watch.query.contains("resourceVersion=10"),
        "{}",
        watch.query
    );
    let watch = watch.watch();
    watch.event("ADDED", &slice("s-3", 11, &["w-3"])).await;
    cluster.members(&["w-1", "w-2", "w-3"]).await;
}

#[tokio::test]
async fn an_expired_version_leads_to_a_new_list_and_nobody_leaves_meanwhile() {
    let mut cluster = cluster().await;
    let slices = [slice("s-1", 8, &["w-1", "w-2"])];
    let watch = cluster.listed(&slices).await;
    cluster.members(&["w-1", "w-2"]).await;
    // As an event.
    watch.event("ERROR", &fault(410, "Expired")).await;
    let next = cluster.visit().await;
    assert!(
        next.query.contains("sendInitialEvents=true"),
        "{}",
        next.query
    );
    let next = next.watch();
    next.event("ADDED", &slice("s-9", 20, &["w-2", "w-3"]))
        .await;
    cluster.members(&["w-1", "w-2"]).await;
    next.listed("20").await;
    cluster.members(&["w-2", "w-3"]).await;
    // As a status, when the watch is to go on.
    drop(next);
    let resumed = cluster.visit().await;
    assert!(
        resumed.query.contains("resourceVersion=20"),
        "{}",
        resumed.query
    );
    resumed.say(status(410, "Expired"));
    let _watch = cluster
        .listed(&[slice("s-9", 30, &["w-2", "w-3", "w-4"])])
        .await;
    cluster.members(&["w-2", "w-3", "w-4"]).await;
    assert_eq!(
        cluster.metrics.empty.get(),
        0,
        "no list counts before its end"
    );
}

#[tokio::test]
async fn a_watch_that_breaks_in_a_line_goes_on_where_it_was_and_is_stale_until_then() {
    let mut cluster = cluster().await;
    let watch = cluster.listed(&[slice("s-1", 8, &["w-1", "w-2"])]).await;
    cluster.members(&["w-1", "w-2"]).await;
    cluster.stale(false).await;
    watch.event("ADDED", &slice("s-2", 15, &["w-3"])).await;
    cluster.members(&["w-1", "w-2", "w-3"]).await;
    watch.break_off().await;
    cluster.stale(true).await;
    let again = cluster.visit().await;
    assert!(
        again.query.contains("resourceVersion=15"),
        "{}",
        again.query
    );
    again.say(status(500, "InternalError"));
    let again = cluster.visit().await;
    assert!(cluster.metrics.is_stale(SOURCE));
    cluster.members(&["w-1", "w-2", "w-3"]).await;
    let watch = again.watch();
    cluster.stale(false).await;
    watch.event("DELETED", &slice("s-2", 16, &["w-3"])).await;
    cluster.members(&["w-1", "w-2"]).await;
}

#[tokio::test]
async fn a_watch_that_says_nothing_any_more_is_noticed() {
    let mut cluster = cluster().await;
    let _silent = cluster.listed(&[slice("s-1", 8, &["w-1"])]).await;
    cluster.members(&["w-1"]).await;
    cluster.stale(false).await;
    cluster.stale(true).await;
    let again = cluster.visit().await;
    assert!(
        again.query.contains("resourceVersion=10"),
        "{}",
        again.query
    );
    let watch = again.watch();
    watch.event("ADDED", &slice("s-2", 11, &["w-2"])).await;
    cluster.members(&["w-1", "w-2"]).await;
    cluster.stale(false).await;
}

#[tokio::test]
async fn most_members_go_only_when_a_new_list_says_so_too() {
    let mut cluster = cluster().await;
    let full = slice("s-1", 8, &["w-1", "w-2", "w-3"]);
    let watch = cluster.listed(std::slice::from_ref(&full)).await;
    cluster.members(&["w-1", "w-2", "w-3"]).await;
    watch.event("MODIFIED", &slice("s-1", 11, &["w-1"])).await;
    // The list that is asked for knows better.
    let watch = cluster.listed(&[full]).await;
    watch
        .event("MODIFIED", &slice("s-1", 12, &["w-1", "w-2", "w-3", "w-4"]))
        .await;
    cluster.members(&["w-1", "w-2", "w-3", "w-4"]).await;
    assert_eq!(cluster.metrics.held.get(), 2, "once for each agent");
    // This one says the same.
    let small = slice("s-1", 13, &["w-4"]);
    watch.event("MODIFIED", &small).await;
    let watch = cluster.listed(&[small]).await;
    cluster.members(&["w-4"]).await;
    // And no list empties an agent.
    watch.event("DELETED", &slice("s-1", 14, &["w-4"])).await;
    while cluster.metrics.empty.get() == 0 {
        tokio::task::yield_now().await;
    }
    cluster.members(&["w-4"]).await;
}

#[tokio::test]
async fn a_kubeconfig_that_is_none_is_refused_at_the_start() {
    let (_trigger, drain) = drain::channel();
    let mut planned = Planned::new("a".parse().unwrap());
    planned.add(SOURCE).unwrap();
    let mut settings = Settings::default();
    settings.kube.kubeconfig = Some("/nowhere/at/all".into());
    let plan = Plan::Agents(vec![planned]);
    let opened = Directory::open(plan, &settings, &Metrics::default(), &drain).await;
    let error = opened.unwrap_err().to_string();
    assert!(error.contains("/nowhere/at/all"), "{error}");
}
