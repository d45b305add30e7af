//! Byte-exactness over sockets: random bodies through a whole router, with ids at their places and
//! decoys everywhere else.
//!
//! What need not change arrives as it was sent, both ways. Behind several replicas of somebody else's
//! agent, what arrives is identical but for the ids. The bodies are those by which the rewriter itself
//! is tested; a thousand of each kind, and ten thousand with `DACA_LONG=1`.
//!
//! # Invariants
//! - A case is one number, so that what failed once can be looked at again.

#[path = "../../../proto/src/rewrite/tests/made.rs"]
mod made;
#[path = "../../../proto/src/rewrite/tests/places.rs"]
mod places;
#[path = "../../../proto/src/rewrite/tests/wire.rs"]
mod wire;

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use http::StatusCode;
use mesh_proto::{
    Binding, Dialect, Operation, Version, grpc,
    rewrite::{self, Direction, IdMap},
    scan,
};
use parking_lot::Mutex;
use serde_json::{Value, json};

use self::{
    made::{Frame, Json, Wire},
    places::Kind,
};
use crate::{
    agent::{Agent, Answer},
    card_is_read,
    chance::Rng,
    client::{Client, send_message},
    router,
};

const CARD: &str = r#"{"name":"n",
    "capabilities":{"streaming":true,"pushNotifications":true,"extendedAgentCard":true},
    "supportedInterfaces":[
    {"url":"http://127.0.0.1:PORT/rpc","protocolBinding":"JSONRPC","protocolVersion":"1.0"},
    {"url":"http://127.0.0.1:PORT/rest","protocolBinding":"HTTP+JSON","protocolVersion":"1.0"},
    {"url":"127.0.0.1:PORT","protocolBinding":"GRPC","protocolVersion":"1.0"}]}"#;

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";
const VERSION: (&str, &str) = ("a2a-version", "1.0");

/// Operations that place a call by an id, and carry that id and others in a body.
const BY_ID: [Operation; 5] = [
    Operation::SendMessage,
    Operation::SendStreamingMessage,
    Operation::GetTask,
    Operation::CancelTask,
    Operation::SubscribeToTask,
];

fn cases() -> u64 {
    let is_long = std::env::var_os("DACA_LONG").is_some_and(|value| value == "1");
    if is_long { 10_000 } else { 1_000 }
}

/// What a stub answers next.
type Next = Arc<Mutex<(&'static str, Vec<Bytes>)>>;

/// Replicas of one agent that answer alike, and a router before them.
struct Stage {
    _router: daca_router::Router,
    client: Client,
    replicas: Vec<Agent>,
    next: Next,
}

impl Stage {
    async fn of(replicas: usize) -> Self {
        let next: Next = Arc::new(Mutex::new((JSON, vec![Bytes::from_static(b"{}")])));
        let mut agents = Vec::new();
        for _ in 0..replicas {
            let next = Arc::clone(&next);
            let agent = Agent::with_card(CARD, move |_| {
                let (kind, pieces) = next.lock().clone();
                if kind == "application/grpc" {
                    return Answer::Grpc(pieces.concat().into());
                }
                Answer::Pieces(kind, pieces)
            });
            agents.push(agent.await);
        }
        let urls: Vec<&str> = agents.iter().map(Agent::url).collect();
        let (router, client) = router(&[format!("a={}", urls.join(","))]).await;
        card_is_read(&client, "a").await;
        crate::client::eventually("every replica to be looked at", async || {
            let asked = |agent: &Agent| agent.seen().iter().any(|seen| seen.path.contains("card"));
            agents.iter().all(asked)
        })
        .await;
        for agent in &agents {
            assert!(agent.take_post().is_none());
        }
        Self {
            _router: router,
            client,
            replicas: agents,
            next,
        }
    }

    fn answers(&self, kind: &'static str, pieces: Vec<Bytes>) {
        *self.next.lock() = (kind, pieces);
    }

    /// The one body that one replica has got.
    fn arrived(&self) -> Bytes {
        let mut bodies: Vec<Bytes> = self
            .replicas
            .iter()
            .filter_map(Agent::take_post)
            .map(|seen| seen.body)
            .collect();
        assert_eq!(bodies.len(), 1, "one replica gets the call, once");
        bodies.remove(0)
    }

    /// Sends a body where a client of that binding would.
    async fn send(&self, binding: Binding, operation: Operation, body: &[u8]) -> Bytes {
        let path = match (binding, operation) {
            (Binding::Rest, Operation::SendStreamingMessage) => "/a/message:stream",
            (Binding::Rest, _) => "/a/message:send",
            (Binding::JsonRpc | Binding::Grpc, _) => "/a",
        };
        let answer = self.client.post(path, body, &[VERSION]).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        answer.bytes().clone()
    }
}

const fn v1(binding: Binding) -> Dialect {
    Dialect::new(binding, Version::V1_0)
}

fn as_it_is(_: Kind, id: &str) -> String {
    id.to_owned()
}

/// A binding over JSON, and an operation that has a body in it.
fn json_call(rng: &mut Rng) -> (Binding, Operation) {
    if rng.below(2) == 0 {
        (Binding::JsonRpc, BY_ID[rng.below(BY_ID.len())])
    } else {
        (Binding::Rest, BY_ID[rng.below(2)])
    }
}

/// Cuts a text at random places.
fn pieces(rng: &mut Rng, text: &[u8]) -> Vec<Bytes> {
    let mut rest = Bytes::copy_from_slice(text);
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let most = rest.len().min(1 + rng.below(200));
        pieces.push(rest.split_to(1 + rng.below(most)));
    }
    pieces
}

#[tokio::test]
async fn a_body_that_need_not_change_arrives_and_comes_back_as_it_was_written() {
    let stage = Stage::of(1).await;
    for seed in 0..cases() {
        let mut rng = Rng::new(seed);
        let (binding, operation) = json_call(&mut rng);
        let sent =
            Json::body(&mut rng, v1(binding), operation, Direction::Request).render(&as_it_is);
        let reply =
            Json::body(&mut rng, v1(binding), operation, Direction::Reply).render(&as_it_is);
        stage.answers(JSON, pieces(&mut rng, &reply));
        let back = stage.send(binding, operation, &sent).await;
        assert_eq!(stage.arrived(), sent, "case {seed}");
        assert_eq!(back, reply, "case {seed}");
    }
}

#[tokio::test]
async fn a_protobuf_message_that_need_not_change_arrives_and_comes_back_as_it_was_written() {
    let stage = Stage::of(1).await;
    for seed in 0..cases() / 2 {
        let mut rng = Rng::new(seed);
        let operation = BY_ID[rng.below(BY_ID.len())];
        let framed = |message: Vec<u8>| {
            let mut frame = vec![0];
            frame.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
            frame.extend_from_slice(&message);
            Bytes::from(frame)
        };
        let sent = framed(
            Wire::body(&mut rng, Version::V1_0, operation, Direction::Request).render(&as_it_is),
        );
        let reply = framed(
            Wire::body(&mut rng, Version::V1_0, operation, Direction::Reply).render(&as_it_is),
        );
        stage.answers("application/grpc", vec![reply.clone()]);
        let named = [("a2a-agent", "a"), VERSION];
        let answer = stage
            .client
            .grpc(grpc::path(operation), sent.clone(), &named)
            .await;
        assert_eq!(answer.header("grpc-status"), Some("0"), "case {seed}");
        assert_eq!(stage.arrived(), sent, "case {seed}");
        assert_eq!(*answer.bytes(), reply, "case {seed}");
    }
}

#[tokio::test]
async fn megabytes_of_a_part_before_the_ids_arrive_as_they_were_sent() {
    let stage = Stage::of(2).await;
    let sealed = Sealed::learn(&stage, None, &["t"]).await;
    let part = "QUJD".repeat(5 << 18);
    for (task, arrives) in [("", ""), (sealed.of(Kind::Task, "t").as_str(), "t")] {
        let body = |task: &str| {
            format!(
                "{{\"jsonrpc\":\"2.0\",\"params\":{{\"message\":{{ \"parts\" : [{{\"raw\":\"{part}\"}}],\
                 \"x\":1e0,\"task\\u0049d\":\"{task}\",\"messageId\":\"m\"}} }},\"method\":\"SendMessage\",\"id\":7}}"
            )
        };
        stage.answers(
            JSON,
            vec![Bytes::from_static(
                b"{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{}}",
            )],
        );
        stage
            .send(
                Binding::JsonRpc,
                Operation::SendMessage,
                body(task).as_bytes(),
            )
            .await;
        assert_eq!(stage.arrived(), body(arrives), "with the task {task:?}");
    }
}

#[tokio::test]
async fn an_event_stream_that_need_not_change_comes_back_as_it_was_written() {
    let stage = Stage::of(1).await;
    for seed in 0..cases() {
        let mut rng = Rng::new(seed);
        let binding = [Binding::JsonRpc, Binding::Rest][rng.below(2)];
        let operation = Operation::SendStreamingMessage;
        let (stream, _) = stream(&mut rng, binding, &as_it_is);
        stage.answers(EVENTS, pieces(&mut rng, &stream));
        let sent =
            Json::body(&mut rng, v1(binding), operation, Direction::Request).render(&as_it_is);
        let back = stage.send(binding, operation, &sent).await;
        assert_eq!(stage.arrived(), sent, "case {seed}");
        assert_eq!(back, stream, "case {seed}");
    }
}

/// Some events in one binding, and the line ends that they have.
fn stream(
    rng: &mut Rng,
    binding: Binding,
    id: &dyn Fn(Kind, &str) -> String,
) -> (Vec<u8>, &'static str) {
    let end = ["\n", "\r\n", "\r"][rng.below(3)];
    let mut stream = Vec::new();
    for _ in 0..=rng.below(4) {
        let operation = Operation::SendStreamingMessage;
        let made = Json::body(rng, v1(binding), operation, Direction::Event);
        Frame::around(rng, end).render(&made.render(id), &mut stream);
    }
    (stream, end)
}

#[tokio::test]
async fn behind_replicas_of_somebody_else_a_body_arrives_identical_but_for_its_ids() {
    let stage = Stage::of(2).await;
    let natives = [
        "0190163d-8694-739b",
        "t",
        "ä/ö",
        "x y",
        "z1k.no.token",
        "a:b",
    ];
    let mut sealed = BTreeMap::new();
    for tenant in [None, Some("ten")] {
        sealed.insert(tenant, Sealed::learn(&stage, tenant, &natives).await);
    }
    for seed in 0..cases() {
        let mut rng = Rng::new(seed);
        let (binding, operation) = json_call(&mut rng);
        let made = Json::body(&mut rng, v1(binding), operation, Direction::Request);
        let native = made.render(&as_it_is);
        let tenant = match binding {
            Binding::Rest => scan::rest_body(operation, &native).unwrap().tenant,
            Binding::JsonRpc | Binding::Grpc => scan::json_rpc(&native).unwrap().ids.tenant,
        };
        let sealed = &sealed[&tenant.as_deref()];
        let sent = made.render(&|kind, id| sealed.of(kind, id));
        let kind = if operation.streams() { EVENTS } else { JSON };
        stage.answers(kind, vec![Bytes::from_static(b"\n\n")]);
        stage.send(binding, operation, &sent).await;
        let arrived = stage.arrived();
        assert_eq!(
            String::from_utf8_lossy(&arrived),
            String::from_utf8_lossy(&native),
            "case {seed}"
        );
    }
}

#[tokio::test]
async fn behind_replicas_of_somebody_else_an_answer_comes_back_identical_but_for_its_ids() {
    let stage = Stage::of(2).await;
    for seed in 0..cases() {
        let mut rng = Rng::new(seed);
        let binding = [Binding::JsonRpc, Binding::Rest][rng.below(2)];
        let dialect = v1(binding);
        let ask = match binding {
            Binding::JsonRpc | Binding::Grpc => send_message("m", None),
            Binding::Rest => json!({"message": {"messageId": "m"}}).to_string(),
        };
        let operation = BY_ID[rng.below(2)];
        let ask = ask.replace("SendMessage", operation.name());
        let mut bare = Vec::new();
        let written = if operation.streams() {
            let (written, _) = stream(&mut rng, binding, &as_it_is);
            stage.answers(EVENTS, pieces(&mut rng, &written));
            let back = stage.send(binding, operation, ask.as_bytes()).await;
            let mut events = rewrite::Events::new(1 << 20);
            events.feed(&back);
            while let Some(piece) = events.next_piece().unwrap() {
                let event = rewrite::event(dialect, operation, piece, &mut Strip).unwrap();
                bare.extend_from_slice(&event.into_bytes());
            }
            bare.extend_from_slice(&events.rest());
            written
        } else {
            let made = Json::body(&mut rng, v1(binding), operation, Direction::Reply);
            let written = made.render(&as_it_is);
            stage.answers(JSON, pieces(&mut rng, &written));
            let back = stage.send(binding, operation, ask.as_bytes()).await;
            let body = rewrite::rewrite(dialect, operation, Direction::Reply, back, &mut Strip);
            bare.extend_from_slice(&body.unwrap().into_bytes());
            written
        };
        assert_eq!(
            String::from_utf8_lossy(&bare),
            String::from_utf8_lossy(&written),
            "case {seed}"
        );
        stage.arrived();
    }
}

/// Takes the route off an id, and insists that there is one.
struct Strip;

impl Strip {
    fn bare(id: &str) -> &str {
        let mut parts = id.splitn(3, '.');
        let (head, native) = (parts.next(), parts.nth(1));
        assert!(
            head.is_some_and(|head| head.starts_with('z')),
            "no route before {id}"
        );
        native.unwrap_or_else(|| panic!("no native id in {id}"))
    }
}

impl IdMap for Strip {
    fn task<'a>(&mut self, id: &'a str) -> Option<Cow<'a, str>> {
        Some(Cow::Borrowed(Self::bare(id)))
    }

    fn context<'a>(&mut self, id: &'a str) -> Option<Cow<'a, str>> {
        Some(Cow::Borrowed(Self::bare(id)))
    }
}

/// The ids of one replica as the router shows them.
struct Sealed(BTreeMap<(bool, String), String>);

impl Sealed {
    /// Lets one replica mint each id, as a task and as a conversation, and notes what the client gets.
    /// One message id throughout, so that all of them are of one replica.
    async fn learn(stage: &Stage, tenant: Option<&str>, natives: &[&str]) -> Self {
        let mut all = BTreeMap::new();
        for native in natives {
            let task = json!({"jsonrpc": "2.0", "id": 1, "result": {"task": {
                "id": native, "contextId": native, "status": {"state": "TASK_STATE_WORKING"}}}});
            stage.answers(JSON, vec![task.to_string().into()]);
            let mut ask: Value = serde_json::from_str(&send_message("pinned", None)).unwrap();
            if let Some(tenant) = tenant {
                ask["params"]["tenant"] = tenant.into();
            }
            let body = ask.to_string();
            let back = stage
                .send(Binding::JsonRpc, Operation::SendMessage, body.as_bytes())
                .await;
            stage.arrived();
            let back: Value = serde_json::from_slice(&back).unwrap();
            let seen = &back["result"]["task"];
            for (is_task, id) in [(true, &seen["id"]), (false, &seen["contextId"])] {
                let id = id.as_str().unwrap();
                assert_ne!(
                    id, *native,
                    "the router seals ids of somebody else's replicas"
                );
                all.insert((is_task, (*native).to_owned()), id.to_owned());
            }
        }
        Self(all)
    }

    fn of(&self, kind: Kind, native: &str) -> String {
        self.0[&(matches!(kind, Kind::Task), native.to_owned())].clone()
    }
}

#[test]
fn a_case_is_its_number() {
    let of = |seed| {
        let mut rng = Rng::new(seed);
        let (binding, operation) = json_call(&mut rng);
        Json::body(&mut rng, v1(binding), operation, Direction::Request).render(&as_it_is)
    };
    assert_eq!(of(7), of(7));
    assert_ne!(of(7), of(8));
}
