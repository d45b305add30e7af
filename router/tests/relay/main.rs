//! The router between a client and agents that do just what a test tells them.
//!
//! What real workers, real SDKs and real processes show is in `tests/`; here stands what they can't be
//! told to do: break off, lie, listen on a dead port.

#![expect(clippy::unwrap_used, reason = "a test says by panicking what it met")]
#![expect(
    clippy::disallowed_methods,
    reason = "a test's own tasks end with its runtime"
)]

mod agent;
#[path = "../../../proto/src/chance.rs"]
mod chance;
mod cards;
mod client;
mod control;
mod dialects;
mod envelope;
mod exact;
mod gather;
mod openai;
mod push;
mod resilience;
mod streams;

use std::time::Duration;

use agent::{Agent, Answer};
use bytes::Bytes;
use client::Client;
use daca_router::{Router, config::Flags};
use http::StatusCode;
use mesh_proto::{a2a, grpc};

/// A body as no encoder of ours would write it.
const ODD: &str = "{ \"params\" : {\"unknown\":[1.0e3, {}], \"message\":{\"parts\":[{\"text\":\"h\\u00e4\"}],\
    \"\\u006dessageId\":\"m-1\" , \"role\":\"ROLE_USER\"}},\n\"id\":\"x 7\",\"method\":\"SendMessage\",\"jsonrpc\":\"2.0\"}";

async fn router(agents: &[String]) -> (Router, Client) {
    router_with(Flags::default(), agents).await
}

async fn router_with(flags: Flags, agents: &[String]) -> (Router, Client) {
    let flags = Flags {
        listen: Some("127.0.0.1:0".to_owned()),
        agents: agents.to_vec(),
        ..flags
    };
    let router = Router::start(flags.settle().unwrap()).await.unwrap();
    let client = Client::to(router.addresses().main);
    (router, client)
}

async fn card_is_read(client: &Client, name: &str) {
    client::eventually("the card to be read", async || {
        client
            .get(&format!("/{name}/.well-known/agent-card.json"))
            .await
            .status
            == StatusCode::OK
    })
    .await;
}

#[tokio::test]
async fn a_call_passes_byte_for_byte_and_only_the_mesh_sets_the_meshs_headers() {
    let agent =
        Agent::answering(|_| Answer::json(r#"{"jsonrpc":"2.0","id":"x 7","result":{} }"#)).await;
    let (_router, client) = router(&[format!("a={}/base/", agent.url())]).await;
    let headers = [
        ("a2a-affinity", "forged"),
        ("daca-boot", "forged"),
        ("daca-hops", "3"),
        (
            "traceparent",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ),
        ("authorization", "Bearer secret"),
        ("a2a-version", "1.0"),
    ];
    let answer = client.post("/a", ODD.as_bytes(), &headers).await;
    assert_eq!(
        answer.text(),
        r#"{"jsonrpc":"2.0","id":"x 7","result":{} }"#
    );
    let seen = agent.posts().pop().unwrap();
    assert_eq!(seen.body, ODD.as_bytes());
    assert_eq!(seen.path, "/base");
    assert_eq!(seen.header("authorization"), Some("Bearer secret"));
    assert_eq!(seen.header("daca-hops"), Some("4"));
    assert_eq!(seen.header("a2a-affinity"), None);
    assert_eq!(seen.header("daca-boot"), None);
    let trace = seen.header("traceparent").unwrap();
    assert!(
        trace.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"),
        "{trace}"
    );
    assert!(!trace.contains("00f067aa0ba902b7"), "{trace}");
}

#[tokio::test]
async fn a_member_that_refuses_connections_costs_no_call() {
    let agent = Agent::answering(|_| Answer::json("{}")).await;
    let dead = agent::dead_url().await;
    let (_router, client) = router(&[format!("a={},{dead}", agent.url())]).await;
    for number in 0..40 {
        let body = client::send_message(&format!("m-{number}"), None);
        let answer = client.post("/a", body.as_bytes(), &[]).await;
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (StatusCode::OK, "{}")
        );
    }
    assert_eq!(agent.posts().len(), 40);
}

#[tokio::test]
async fn a_request_that_may_have_been_seen_is_not_sent_again() {
    let (one, two) = (
        Agent::answering(|_| Answer::Hang).await,
        Agent::answering(|_| Answer::Hang).await,
    );
    let (_router, client) = router(&[format!("a={},{}", one.url(), two.url())]).await;
    let call = tokio::task::spawn({
        let client = client.clone();
        async move { client.post("/a", ODD.as_bytes(), &[]).await }
    });
    client::eventually("the call to arrive", async || {
        one.posts().len() + two.posts().len() == 1
    })
    .await;
    one.stop().await;
    two.stop().await;
    let answer = call.await.unwrap();
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    let json = answer.json();
    assert_eq!(json["id"], "x 7");
    assert_eq!(json["error"]["code"], -32603);
    assert_eq!(json["error"]["data"][0]["reason"], "UNAVAILABLE");
    assert_eq!(one.posts().len() + two.posts().len(), 1);
}

#[tokio::test]
async fn a_stream_comes_event_by_event_and_its_break_is_told_in_the_callers_words() {
    let agent = Agent::answering(|_| Answer::Stream("text/event-stream")).await;
    let (_router, client) = router(&[format!("a={}", agent.url())]).await;
    let body = ODD.replace("SendMessage", "SendStreamingMessage");
    let mut stream = client.stream("/a", body.as_bytes(), &[]).await;
    for number in 0..3 {
        let event = format!(": ping\r\n\r\ndata: {number}\r\n\r\n");
        agent.write(Bytes::from(event.clone())).await;
        assert_eq!(stream.read(event.len()).await, event.as_bytes());
    }
    agent.stop().await;
    let last = String::from_utf8(stream.rest().await.unwrap()).unwrap();
    let json: serde_json::Value =
        serde_json::from_str(last.strip_prefix("data: ").unwrap().trim_end()).unwrap();
    assert_eq!(
        (&json["id"], &json["error"]["code"]),
        (&"x 7".into(), &(-32603).into())
    );
}

#[tokio::test]
async fn a_stream_that_breaks_inside_an_event_is_cut_and_never_looks_whole() {
    let agent = Agent::answering(|_| Answer::Stream("text/event-stream")).await;
    let (_router, client) = router(&[format!("a={}", agent.url())]).await;
    let body = ODD.replace("SendMessage", "SendStreamingMessage");
    let mut stream = client.stream("/a", body.as_bytes(), &[]).await;
    agent.write(Bytes::from_static(b"data: half an ev")).await;
    assert_eq!(stream.read(16).await, b"data: half an ev");
    agent.stop().await;
    assert!(stream.rest().await.is_err());
}

#[tokio::test]
async fn the_clients_going_away_frees_the_upstreams_stream() {
    let agent = Agent::answering(|_| Answer::Stream("text/event-stream")).await;
    let (_router, client) = router(&[format!("a={}", agent.url())]).await;
    let stream = client.stream("/a", ODD.as_bytes(), &[]).await;
    drop(stream);
    client::eventually("the agent's stream to be dropped", async || {
        agent.write(Bytes::from_static(b": ping\n\n")).await;
        agent.is_stream_gone()
    })
    .await;
}

#[tokio::test]
async fn a_task_id_of_nobodys_making_is_looked_up_among_few_members() {
    let unknown = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32001,"message":"no"}}"#;
    let known = r#"{"jsonrpc":"2.0","id":1,"result":{"id":"t"}}"#;
    let (without, with) = (
        Agent::answering(move |_| Answer::json(unknown)).await,
        Agent::answering(move |_| Answer::json(known)).await,
    );
    let (_router, client) = router(&[format!("a={},{}", without.url(), with.url())]).await;
    let get = r#"{"jsonrpc":"2.0","id":1,"method":"GetTask","params":{"id":"t"}}"#;
    for _ in 0..4 {
        assert_eq!(client.post("/a", get.as_bytes(), &[]).await.text(), known);
    }
    let (_router, client) = router(&[format!("a={}", without.url())]).await;
    assert_eq!(client.post("/a", get.as_bytes(), &[]).await.text(), unknown);
}

#[tokio::test]
async fn a_card_shows_the_router_and_nothing_of_the_agent() {
    let agent = Agent::with_card(
        r#"{"name":"n","x-kept":true,"signatures":[{}],"supportedInterfaces":[
            {"url":"http://127.0.0.1:PORT/rpc","protocolBinding":"JSONRPC","protocolVersion":"1.0"},
            {"url":"127.0.0.1:PORT","protocolBinding":"GRPC","protocolVersion":"1.0","tenant":"own"}]}"#,
        |_| Answer::json("{}"),
    )
    .await;
    let (_router, client) = router(&[format!("a={}", agent.url())]).await;
    card_is_read(&client, "a").await;
    let answer = client.get("/a/.well-known/agent-card.json").await;
    assert!(!answer.text().contains(agent.url()), "{}", answer.text());
    let card = answer.json();
    let at = client.address();
    assert_eq!(
        card["supportedInterfaces"][0]["url"],
        format!("http://{at}/a")
    );
    assert_eq!(card["supportedInterfaces"][1]["url"], at);
    assert_eq!(card["supportedInterfaces"][1]["tenant"], "a/own");
    assert_eq!(
        (&card["x-kept"], &card["signatures"]),
        (&true.into(), &serde_json::Value::Null)
    );
    let tag = answer.header("etag").unwrap().to_owned();
    let again = client
        .get_with("/a/.well-known/agent-card.json", &[("if-none-match", &tag)])
        .await;
    assert_eq!(again.status, StatusCode::NOT_MODIFIED);
    // The only agent has the root, too.
    let root = client.get("/.well-known/agent-card.json").await;
    assert_eq!(root.json()["name"], "n");
    assert_eq!(
        client.get("/agents").await.json()["agents"][0]["bindings"][0],
        "GRPC"
    );
}

#[tokio::test]
async fn over_grpc_only_the_meshs_segment_of_the_tenant_is_cut() {
    let agent = Agent::with_card(
        r#"{"name":"n","supportedInterfaces":[
            {"url":"127.0.0.1:PORT","protocolBinding":"GRPC","protocolVersion":"1.0","tenant":"own"}]}"#,
        |_| Answer::Grpc(grpc::frame(&a2a::Task { id: "t".to_owned(), ..a2a::Task::default() })),
    )
    .await;
    let (_router, client) =
        router(&[format!("a={}", agent.url()), format!("b={}", agent.url())]).await;
    card_is_read(&client, "a").await;
    for (sent, arrives) in [("a/own", "own"), ("a/x/y", "x/y"), ("a", "own")] {
        let request = a2a::GetTaskRequest {
            tenant: sent.to_owned(),
            id: "t".to_owned(),
            history_length: Some(3),
        };
        let answer = client
            .grpc("/lf.a2a.v1.A2AService/GetTask", grpc::frame(&request), &[])
            .await;
        assert_eq!(answer.header("grpc-status"), Some("0"), "{sent}");
        let expected = a2a::GetTaskRequest {
            tenant: arrives.to_owned(),
            ..request
        };
        assert_eq!(
            agent.posts().pop().unwrap().body,
            grpc::frame(&expected),
            "{sent}"
        );
    }
    // By metadata the agent is named once, and the tenant is none of ours.
    let request = a2a::GetTaskRequest {
        tenant: "a".to_owned(),
        id: "t".to_owned(),
        history_length: None,
    };
    let frame = grpc::frame(&request);
    client
        .grpc(
            "/lf.a2a.v1.A2AService/GetTask",
            frame.clone(),
            &[("a2a-agent", "b")],
        )
        .await;
    let seen = agent.posts().pop().unwrap();
    assert_eq!(seen.body, frame);
    // Its own name for itself: it may share its port.
    assert_eq!(seen.header("a2a-agent"), Some("own"));
}

#[tokio::test]
async fn grpc_errors_of_the_agent_keep_their_details_and_ours_have_some() {
    let agent = Agent::with_card(
        r#"{"name":"n","supportedInterfaces":[
            {"url":"127.0.0.1:PORT","protocolBinding":"GRPC","protocolVersion":"1.0"}]}"#,
        |_| {
            Answer::GrpcError(mesh_proto::Problem::new(
                mesh_proto::Fault::TaskNotFound,
                "gone",
            ))
        },
    )
    .await;
    let (_router, client) = router(&[format!("a={}", agent.url())]).await;
    card_is_read(&client, "a").await;
    let request = grpc::frame(&a2a::GetTaskRequest {
        id: "t".to_owned(),
        ..a2a::GetTaskRequest::default()
    });
    let answer = client
        .grpc("/lf.a2a.v1.A2AService/GetTask", request, &[])
        .await;
    let problem = grpc::problem(&answer.headers).unwrap();
    assert_eq!(
        (problem.fault, problem.message.as_str()),
        (mesh_proto::Fault::TaskNotFound, "gone")
    );
    for (path, frame) in [
        ("/lf.a2a.v1.A2AService/Nothing", grpc::frame(&())),
        ("/lf.a2a.v1.A2AService/GetTask", Bytes::new()),
        (
            "/lf.a2a.v1.A2AService/GetTask",
            Bytes::from_static(b"\0\0\0\0\x09short"),
        ),
        (
            "/lf.a2a.v1.A2AService/GetTask",
            Bytes::from_static(b"\0\0\0\0\x03\xff\xff\xff"),
        ),
        (
            "/lf.a2a.v1.A2AService/GetTask",
            Bytes::from_static(b"\x07\0\0\0\0"),
        ),
    ] {
        let answer = client.grpc(path, frame, &[]).await;
        let problem = grpc::problem(&answer.headers);
        assert!(problem.is_some(), "{path}: {:?}", answer.headers);
    }
}

#[tokio::test]
async fn what_is_too_large_or_has_come_too_far_is_refused_with_words() {
    let agent = Agent::answering(|_| Answer::json("{}")).await;
    let (_router, client) = router(&[format!("a={}", agent.url())]).await;
    let answer = client
        .post("/a", ODD.as_bytes(), &[("daca-hops", "16")])
        .await;
    assert!(answer.text().contains("loop"), "{}", answer.text());
    assert_eq!(answer.json()["id"], "x 7");
    let large = vec![b' '; (16 << 20) + 1];
    let answer = client.post("/a", &large, &[]).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(
        answer.json()["error"]["data"][0]["reason"],
        "REQUEST_TOO_LARGE"
    );
    assert!(agent.posts().is_empty());
}

#[tokio::test]
async fn an_agent_without_a_card_is_called_over_json_rpc_whatever_its_callers_speak() {
    let agent = Agent::answering(|seen| match seen.text().contains("GetTask") {
        true => Answer::json(r#"{"jsonrpc":"2.0","id":1,"result":{"id":"t","contextId":"c"}}"#),
        false => Answer::json("{}"),
    })
    .await;
    let (_router, client) = router(&[format!("a={}", agent.url())]).await;
    assert_eq!(client.post("/a", ODD.as_bytes(), &[]).await.text(), "{}");
    assert_eq!(
        client.get("/agents").await.json()["agents"][0]["card"],
        "unread"
    );
    let rest = client.get("/a/tasks/t").await;
    assert_eq!(rest.status, StatusCode::OK);
    assert_eq!(rest.json()["contextId"], "c");
}

#[tokio::test]
async fn a_drain_lets_a_running_stream_end() {
    let agent = Agent::answering(|_| Answer::Stream("text/event-stream")).await;
    let (router, client) = router(&[format!("a={}", agent.url())]).await;
    let mut stream = client.stream("/a", ODD.as_bytes(), &[]).await;
    agent.write(Bytes::from_static(b"data: 1\n\n")).await;
    assert_eq!(stream.read(9).await, b"data: 1\n\n");
    let drained = tokio::task::spawn(router.drain());
    agent.write(Bytes::from_static(b"data: 2\n\n")).await;
    assert_eq!(stream.read(9).await, b"data: 2\n\n");
    agent.end_stream();
    assert_eq!(stream.rest().await.unwrap(), b"");
    let outcome = tokio::time::timeout(Duration::from_secs(20), drained)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(outcome, mesh_runtime::drain::Outcome::Finished);
}

#[tokio::test]
async fn an_error_of_a_replica_over_grpc_stays_a_head_alone() {
    const CARD: &str = r#"{"name":"n","supportedInterfaces":[
        {"url":"127.0.0.1:PORT","protocolBinding":"GRPC","protocolVersion":"1.0"}]}"#;
    let gone = || mesh_proto::Problem::new(mesh_proto::Fault::TaskNotFound, "gone");
    let one = Agent::with_card(CARD, move |_| Answer::GrpcError(gone())).await;
    let two = Agent::with_card(CARD, move |_| Answer::GrpcError(gone())).await;
    let (_router, client) = router(&[format!("a={},{}", one.url(), two.url())]).await;
    card_is_read(&client, "a").await;
    let request = grpc::frame(&a2a::GetTaskRequest {
        id: "t".to_owned(),
        ..a2a::GetTaskRequest::default()
    });
    let answer = client
        .grpc("/lf.a2a.v1.A2AService/GetTask", request, &[])
        .await;
    // Clients take a status in the head for the end only where nothing follows the head.
    assert!(answer.is_head_alone);
    assert_eq!(
        grpc::problem(&answer.headers).unwrap().fault,
        mesh_proto::Fault::TaskNotFound
    );
}
