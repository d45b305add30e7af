//! How a stream is kept while nobody speaks, and when it is given up.

use bytes::Bytes;
use daca_router::{Router, config::Flags};

use crate::{
    agent::{Agent, Answer},
    client::{self, Client, send_message},
};

/// A router whose streams are kept as told, and its admin port.
async fn keeping(
    agent: &Agent,
    set: impl FnOnce(&mut daca_router::stream::Settings),
) -> (Router, Client, Client) {
    let flags = Flags {
        listen: Some("127.0.0.1:0".to_owned()),
        admin: Some("127.0.0.1:0".to_owned()),
        agents: vec![format!("a={}", agent.url())],
        ..Flags::default()
    };
    let mut settings = flags.settle().unwrap();
    set(&mut settings.stream);
    let router = Router::start(settings).await.unwrap();
    let addresses = router.addresses();
    let (client, admin) = (Client::to(addresses.main), addresses.admin.unwrap());
    (router, client, Client::to(admin))
}

async fn count(admin: &Client, series: &str) -> u64 {
    let page = admin.get("/metrics").await.text();
    let value = page.lines().find_map(|line| line.strip_prefix(series));
    let value = value.unwrap_or_else(|| panic!("{series} in {page}"));
    value.trim().parse().unwrap()
}

async fn stream(client: &Client, agent: &Agent, event: &'static str) -> client::Stream {
    let body = send_message("m-1", None).replace("SendMessage", "SendStreamingMessage");
    let mut stream = client.stream("/a", body.as_bytes(), &[]).await;
    agent.write(Bytes::from_static(event.as_bytes())).await;
    assert_eq!(stream.read(event.len()).await, event.as_bytes());
    stream
}

#[tokio::test]
async fn silence_between_events_gets_a_comment() {
    let agent = Agent::answering(|_| Answer::Stream("text/event-stream")).await;
    let (_router, client, admin) = keeping(&agent, |stream| stream.keep_alive_seconds = 1).await;
    let mut stream = stream(&client, &agent, "data: 1\n\n").await;
    assert_eq!(stream.read(3).await, b":\n\n");
    assert!(count(&admin, "mesh_stream_comments_total").await > 0);
    agent.write(Bytes::from_static(b"data: 2\n\n")).await;
    agent.end_stream();
    let rest = String::from_utf8(stream.rest().await.unwrap()).unwrap();
    assert_eq!(rest.replace(":\n\n", ""), "data: 2\n\n");
}

#[tokio::test]
async fn silence_within_an_event_gets_none_and_an_end_without_words() {
    let agent = Agent::answering(|_| Answer::Stream("text/event-stream")).await;
    let (_router, client, admin) = keeping(&agent, |stream| {
        stream.keep_alive_seconds = 1;
        stream.idle_seconds = 2;
    })
    .await;
    let stream = stream(&client, &agent, "data: half").await;
    assert!(stream.rest().await.is_err());
    assert_eq!(count(&admin, "mesh_stream_comments_total").await, 0);
}

#[tokio::test]
async fn an_agent_that_says_nothing_for_too_long_is_let_go_and_the_client_is_told() {
    let agent = Agent::answering(|_| Answer::Stream("text/event-stream")).await;
    let (_router, client, admin) = keeping(&agent, |stream| stream.idle_seconds = 1).await;
    let stream = stream(&client, &agent, "data: 1\n\n").await;
    let last = String::from_utf8(stream.rest().await.unwrap()).unwrap();
    let last = last.strip_prefix("data: ").unwrap();
    let error: serde_json::Value = serde_json::from_str(last.trim_end()).unwrap();
    let words = error["error"]["message"].as_str().unwrap();
    assert!(words.contains("subscribe to the task again"), "{words}");
    client::eventually("the agent's stream to be let go", async || {
        agent.write(Bytes::from_static(b": ping\n\n")).await;
        agent.is_stream_gone()
    })
    .await;
    let idle = count(&admin, "mesh_streams_closed_total{reason=\"idle\"}").await;
    assert_eq!(idle, 1);
}

#[tokio::test]
async fn a_client_that_does_not_read_loses_its_stream_and_the_agent_is_free() {
    let agent = Agent::answering(|_| Answer::Stream("text/event-stream")).await;
    let (_router, client, admin) = keeping(&agent, |stream| stream.slow_seconds = 1).await;
    let stream = stream(&client, &agent, "data: 1\n\n").await;
    let event = Bytes::from(format!("data: {}\n\n", "x".repeat(1 << 20)));
    client::eventually("the agent to be let go", async || {
        // Where flow control holds it back, the agent waits with the rest.
        let write = agent.write(event.clone());
        drop(tokio::time::timeout(std::time::Duration::from_millis(50), write).await);
        agent.is_stream_gone()
    })
    .await;
    let slow = count(&admin, "mesh_streams_closed_total{reason=\"slow\"}").await;
    assert_eq!(slow, 1);
    // What it reads now is what was under way, and never a whole stream.
    let rest = stream.rest().await;
    let words =
        rest.map(|rest| String::from_utf8_lossy(&rest).contains("was not read for too long"));
    assert!(words.unwrap_or(true));
}
