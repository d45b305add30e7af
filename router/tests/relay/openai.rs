//! Chat completions over A2A: what arrives at an agent, and what comes back to a chat client.

use bytes::Bytes;
use http::StatusCode;
use mesh_proto::sse;
use serde_json::{Value, json};

use crate::{
    agent::{Agent, Answer},
    card_is_read,
    client::{Answered, Client},
    router,
};

const CARD: &str = r#"{"name":"n","description":"Tells time.","provider":{"organization":"O"},
    "capabilities":{"streaming":true},"supportedInterfaces":[
    {"url":"http://127.0.0.1:PORT/r","protocolBinding":"HTTP+JSON","protocolVersion":"1.0","tenant":"t/1"}]}"#;

const SILENT_CARD: &str = r#"{"name":"n","supportedInterfaces":[
    {"url":"http://127.0.0.1:PORT","protocolBinding":"HTTP+JSON","protocolVersion":"1.0"}]}"#;

const DONE: &str = r#"{"task":{"id":"task-1","contextId":"context-1",
    "status":{"state":"TASK_STATE_COMPLETED"},
    "artifacts":[{"artifactId":"a","parts":[{"text":"Hel"},{"text":"lo"}]}]}}"#;

const CHAT: &str = "/v1/chat/completions";

/// A router before one agent named `a`, whose card is read.
async fn before(agent: &Agent) -> (daca_router::Router, Client) {
    let (router, client) = router(&[format!("a={}", agent.url())]).await;
    card_is_read(&client, "a").await;
    (router, client)
}

fn asked(more: &Value) -> Vec<u8> {
    let mut body = json!({"model": "a", "messages": [{"role": "user", "content": "what time?"}]});
    for (key, value) in more.as_object().unwrap() {
        body[key] = value.clone();
    }
    body.to_string().into_bytes()
}

fn streamed() -> Vec<u8> {
    asked(&json!({"stream": true, "stream_options": {"include_usage": true}}))
}

/// The events of a stream, `[DONE]` included.
fn events(text: &[u8]) -> Vec<String> {
    let mut reader = sse::Reader::new(1 << 20);
    reader.feed(text).unwrap();
    let data = std::iter::from_fn(|| reader.next_event()).map(|event| event.data);
    data.map(|data| String::from_utf8(data.to_vec()).unwrap())
        .collect()
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The text of all chunks together.
fn content(events: &[String]) -> String {
    let chunks = events.iter().filter(|event| *event != "[DONE]");
    chunks
        .filter_map(|chunk| {
            let delta = json_of(chunk)["choices"][0]["delta"]["content"].clone();
            delta.as_str().map(str::to_owned)
        })
        .collect()
}

fn event(event: &Value) -> Bytes {
    sse::write(&sse::Event::of_data(event.to_string().as_bytes()))
}

fn piece(text: &str, append: bool) -> Bytes {
    event(
        &json!({"artifactUpdate": {"taskId": "task-1", "contextId": "context-1", "append": append,
        "artifact": {"artifactId": "a", "parts": [{"text": text}]}}}),
    )
}

fn status(state: &str) -> Bytes {
    let status = json!({"state": state});
    event(
        &json!({"statusUpdate": {"taskId": "task-1", "contextId": "context-1", "status": status}}),
    )
}

fn error(answer: &Answered) -> (u16, String) {
    let code = answer.json()["error"]["code"].as_str().unwrap().to_owned();
    (answer.status.as_u16(), code)
}

#[tokio::test]
async fn a_chat_request_arrives_as_an_a2a_message_and_its_task_comes_back_as_a_completion() {
    let agent = Agent::with_card(CARD, |_| Answer::json(DONE)).await;
    let (_router, client) = before(&agent).await;
    let headers = [
        ("authorization", "Bearer secret"),
        ("accept-encoding", "gzip"),
        ("a2a-context-id", "mine"),
        ("idempotency-key", "key-1"),
        ("a2a-affinity", "forged"),
    ];
    let answer = client.post(CHAT, &asked(&json!({})), &headers).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let completion = answer.json();
    assert_eq!(completion["object"], "chat.completion");
    assert_eq!(completion["model"], "a");
    let choice = &completion["choices"][0];
    assert_eq!(choice["message"]["content"], "Hello");
    assert_eq!(choice["finish_reason"], "stop");
    let place =
        json!({"task_id": "task-1", "context_id": "context-1", "state": "TASK_STATE_COMPLETED"});
    assert_eq!(
        (&completion["a2a"], &choice["message"]["a2a"]),
        (&place, &place)
    );
    assert_eq!(answer.header("a2a-task-id"), Some("task-1"));
    assert_eq!(answer.header("a2a-context-id"), Some("context-1"));

    let seen = agent.posts().pop().unwrap();
    assert_eq!(seen.path, "/r/t%2F1/message:send");
    assert_eq!(seen.header("authorization"), Some("Bearer secret"));
    assert_eq!(seen.header("a2a-version"), Some("1.0"));
    assert_eq!(seen.header("content-type"), Some("application/json"));
    for gone in [
        "accept-encoding",
        "a2a-context-id",
        "idempotency-key",
        "a2a-affinity",
    ] {
        assert_eq!(seen.header(gone), None, "{gone}");
    }
    let message = &json_of(std::str::from_utf8(&seen.body).unwrap())["message"];
    let expected = json!({"messageId": "key-1", "contextId": "mine", "role": "ROLE_USER",
        "parts": [{"text": "what time?"}]});
    assert_eq!(message, &expected);
}

#[tokio::test]
async fn a_stream_goes_down_piece_by_piece_and_ends_with_done_when_the_task_does() {
    let agent = Agent::with_card(CARD, |_| Answer::Stream("text/event-stream")).await;
    let (_router, client) = before(&agent).await;
    let call = tokio::task::spawn({
        let client = client.clone();
        async move { client.stream(CHAT, &streamed(), &[]).await }
    });
    agent.write(status("TASK_STATE_WORKING")).await;
    let mut stream = call.await.unwrap();
    let mut held = Vec::new();
    // Each piece is down before the next is written.
    for (text, so_far) in [("Hel", "Hel"), ("lo", "Hello")] {
        agent.write(Bytes::from_static(b": ping\r\n\r\n")).await;
        agent.write(piece(text, so_far != text)).await;
        while content(&events(&held)) != so_far {
            held.extend(stream.read(1).await);
        }
    }
    agent.write(status("TASK_STATE_COMPLETED")).await;
    agent.end_stream();
    held.extend(stream.rest().await.unwrap());
    let events = events(&held);
    assert_eq!(content(&events), "Hello");
    let [.., end, usage, done] = events.as_slice() else {
        panic!("{events:?}")
    };
    assert_eq!(done, "[DONE]");
    assert_eq!(json_of(usage)["choices"], json!([]));
    assert_eq!(json_of(usage)["usage"]["total_tokens"], 0);
    assert_eq!(json_of(end)["choices"][0]["finish_reason"], "stop");
    assert_eq!(json_of(end)["a2a"]["task_id"], "task-1");
    let first = json_of(&events[0]);
    assert_eq!(first["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(first["object"], "chat.completion.chunk");
    assert_eq!(agent.posts().pop().unwrap().path, "/r/t%2F1/message:stream");
}

#[tokio::test]
async fn a_stream_that_breaks_or_ends_too_early_is_an_error_and_never_done() {
    for is_cut in [true, false] {
        let agent = Agent::with_card(CARD, |_| Answer::Stream("text/event-stream")).await;
        let (_router, client) = before(&agent).await;
        let call = tokio::task::spawn({
            let client = client.clone();
            async move { client.stream(CHAT, &streamed(), &[]).await }
        });
        agent.write(piece("half", false)).await;
        let mut stream = call.await.unwrap();
        let mut held = Vec::new();
        while content(&events(&held)) != "half" {
            held.extend(stream.read(1).await);
        }
        if is_cut {
            agent
                .write(Bytes::from_static(b"data: {\"half an ev"))
                .await;
            agent.stop().await;
        } else {
            agent.end_stream();
        }
        held.extend(stream.rest().await.unwrap());
        let events = events(&held);
        assert!(!events.contains(&"[DONE]".to_owned()), "{events:?}");
        let last = json_of(events.last().unwrap());
        let code = if is_cut {
            "unavailable"
        } else {
            "stream_ended_early"
        };
        assert_eq!(last["error"]["code"], code, "{last}");
    }
}

#[tokio::test]
async fn an_error_in_the_agents_stream_keeps_its_words() {
    let agent = Agent::with_card(CARD, |_| {
        let error = r#"{"error":{"code":400,"status":"FAILED_PRECONDITION","message":"not now",
            "details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo",
            "reason":"UNSUPPORTED_OPERATION","domain":"a2a-protocol.org"}]}}"#;
        let text = format!("data: {}\n\n", error.replace('\n', ""));
        Answer::Whole("text/event-stream", text)
    })
    .await;
    let (_router, client) = before(&agent).await;
    let answer = client.post(CHAT, &streamed(), &[]).await;
    assert_eq!(error(&answer), (400, "unsupported_operation".to_owned()));
    assert_eq!(answer.json()["error"]["message"], "not now");
}

#[tokio::test]
async fn a_task_that_ends_without_an_answer_is_an_error_that_no_client_repeats_by_itself() {
    for (state, expected) in [
        ("FAILED", (500, "task_failed")),
        ("REJECTED", (422, "task_rejected")),
        ("CANCELED", (409, "task_canceled")),
    ] {
        let agent = Agent::with_card(CARD, move |seen| {
            let task = json!({"task": {"id": "task-1", "contextId": "c", "status": {
                "state": format!("TASK_STATE_{state}"),
                "message": {"messageId": "m", "role": "ROLE_AGENT", "parts": [{"text": "no paper"}]}}}});
            match seen.path.ends_with("message:stream") {
                true => Answer::Whole("text/event-stream", format!("data: {task}\n\n")),
                false => Answer::Whole("application/json", task.to_string()),
            }
        })
        .await;
        let (_router, client) = before(&agent).await;
        for body in [asked(&json!({})), streamed()] {
            let answer = client.post(CHAT, &body, &[]).await;
            assert_eq!(error(&answer), (expected.0, expected.1.to_owned()));
            assert_eq!(answer.json()["error"]["message"], "no paper");
            assert_eq!(answer.header("x-should-retry"), Some("false"));
            assert_eq!(answer.header("a2a-task-id"), Some("task-1"));
        }
    }
}

#[tokio::test]
async fn the_agents_refusals_keep_their_status_and_what_clients_need_to_come_back() {
    let agent = Agent::with_card(SILENT_CARD, |seen| {
        let text = String::from_utf8(seen.body.to_vec()).unwrap();
        if text.contains("who") {
            let challenge = ("www-authenticate", "Bearer realm=\"x\"");
            Answer::Refusal(StatusCode::UNAUTHORIZED, challenge, "{}")
        } else {
            let later = ("retry-after", "7");
            Answer::Refusal(StatusCode::TOO_MANY_REQUESTS, later, "{}")
        }
    })
    .await;
    let (_router, client) = before(&agent).await;
    let ask = |text: &str| asked(&json!({"messages": [{"role": "user", "content": text}]}));
    let unknown = client.post(CHAT, &ask("who"), &[]).await;
    assert_eq!(error(&unknown), (401, "unauthenticated".to_owned()));
    assert_eq!(unknown.json()["error"]["type"], "authentication_error");
    assert_eq!(
        unknown.header("www-authenticate"),
        Some("Bearer realm=\"x\"")
    );
    let busy = client.post(CHAT, &ask("much"), &[]).await;
    assert_eq!(error(&busy), (429, "resource_exhausted".to_owned()));
    assert_eq!(busy.header("retry-after"), Some("7"));
    assert_eq!(busy.header("x-should-retry"), None);
}

#[tokio::test]
async fn an_agent_that_does_not_stream_is_asked_in_one_piece_and_streamed_to_its_client() {
    let agent = Agent::with_card(SILENT_CARD, |_| Answer::json(DONE)).await;
    let (_router, client) = before(&agent).await;
    let answer = client.post(CHAT, &streamed(), &[]).await;
    assert_eq!(answer.header("a2a-task-id"), Some("task-1"));
    let kind = answer.header("content-type").unwrap().to_owned();
    assert!(kind.starts_with("text/event-stream"), "{kind}");
    let events = events(answer.bytes());
    assert_eq!(content(&events), "Hello");
    assert_eq!(events.last().unwrap(), "[DONE]");
    assert_eq!(agent.posts().pop().unwrap().path, "/message:send");
}

#[tokio::test]
async fn every_agent_is_a_model_and_nobody_else_is() {
    let agent = Agent::with_card(CARD, |_| Answer::json(DONE)).await;
    let (_router, client) =
        router(&[format!("a={}", agent.url()), format!("b={}", agent.url())]).await;
    card_is_read(&client, "a").await;
    let list = client.get("/v1/models").await.json();
    let names: Vec<&Value> = list["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|each| &each["id"])
        .collect();
    assert_eq!(names, ["a", "b"]);
    let model = client.get("/v1/models/a").await.json();
    assert_eq!(
        (&model["owned_by"], &model["description"]),
        (&"O".into(), &"Tells time.".into())
    );
    let nobody = client.get("/v1/models/gpt-4").await;
    assert_eq!(error(&nobody), (404, "model_not_found".to_owned()));
    let nobody = client
        .post(CHAT, &asked(&json!({"model": "gpt-4"})), &[])
        .await;
    assert_eq!(error(&nobody), (404, "model_not_found".to_owned()));
    assert!(agent.posts().is_empty());
}

#[tokio::test]
async fn what_can_not_be_asked_for_is_refused_in_the_clients_own_words() {
    let agent = Agent::with_card(CARD, |_| Answer::json(DONE)).await;
    let (_router, client) = before(&agent).await;
    let tools = asked(&json!({"tools": [{"type": "function", "function": {"name": "f"}}]}));
    let refused = client.post(CHAT, &tools, &[]).await;
    assert_eq!(error(&refused), (400, "unsupported_parameter".to_owned()));
    assert_eq!(refused.json()["error"]["param"], "tools");
    let broken = client.post(CHAT, b"{\"model\":", &[]).await;
    assert_eq!(error(&broken), (400, "parse_error".to_owned()));
    let nothing = client.post(CHAT, b"{}", &[]).await;
    assert_eq!(error(&nothing), (400, "invalid_params".to_owned()));
    let large = vec![b' '; (16 << 20) + 1];
    let large = client.post(CHAT, &large, &[]).await;
    assert_eq!(error(&large), (413, "request_too_large".to_owned()));
    assert_eq!(
        client.get(CHAT).await.status,
        StatusCode::METHOD_NOT_ALLOWED
    );
    let elsewhere = client.post("/v1/responses", b"{}", &[]).await;
    assert_eq!(error(&elsewhere), (404, "unknown_url".to_owned()));
    assert!(agent.posts().is_empty());
}

#[tokio::test]
async fn nobody_reached_is_a_503_that_may_be_repeated_and_a_lost_answer_is_one_that_may_not() {
    let agent = Agent::with_card(CARD, |_| Answer::Hang).await;
    let (_router, client) = before(&agent).await;
    let call = tokio::task::spawn({
        let client = client.clone();
        async move { client.post(CHAT, &asked(&json!({})), &[]).await }
    });
    crate::client::eventually("the call to arrive", async || agent.posts().len() == 1).await;
    agent.stop().await;
    let lost = call.await.unwrap();
    assert_eq!(error(&lost), (503, "unavailable".to_owned()));
    assert_eq!(lost.header("x-should-retry"), Some("false"));
    let unreached = client.post(CHAT, &asked(&json!({})), &[]).await;
    assert_eq!(error(&unreached), (503, "unavailable".to_owned()));
    assert_eq!(unreached.header("x-should-retry"), None);
    assert_eq!(unreached.header("retry-after"), Some("1"));
}

#[tokio::test]
async fn an_agent_that_speaks_only_json_rpc_is_a_model_too() {
    const RPC_CARD: &str = r#"{"name":"n","supportedInterfaces":[
        {"url":"http://127.0.0.1:PORT/rpc","protocolBinding":"JSONRPC","protocolVersion":"1.0"}]}"#;
    let agent = Agent::with_card(RPC_CARD, |seen| {
        let asked: Value = serde_json::from_slice(&seen.body).unwrap();
        let task: Value = serde_json::from_str(DONE).unwrap();
        let answer = json!({"jsonrpc": "2.0", "id": asked["id"], "result": task});
        Answer::Whole("application/json", answer.to_string())
    })
    .await;
    let (_router, client) = before(&agent).await;
    let answer = client.post(CHAT, &asked(&json!({})), &[]).await;
    let completion = answer.json();
    assert_eq!(
        completion["choices"][0]["message"]["content"], "Hello",
        "{completion}"
    );
    assert_eq!(agent.posts().pop().unwrap().path, "/rpc");
}
