//! An agent of 0.3 alone, written by hand in 0.3's own words, and the client against it.

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use mesh_client::{
    Binding, Call, Client, Dialect, Error, Fault, Options, Version,
    a2a::{ListTasksRequest, Task, TaskState, TaskStatus, part::Content, send_message_response},
};
use mesh_proto::{
    Problem,
    a2a::SendMessageResponse,
    pivot::{self, Response as Answer},
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{script::ask, word};

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Each request's path and `A2A-Version`.
type Seen = Arc<Mutex<Vec<(String, String)>>>;

async fn start() -> (SocketAddr, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Seen::default();
    let noted = Arc::clone(&seen);
    let serve = async move {
        while let Ok((socket, _)) = listener.accept().await {
            let noted = Arc::clone(&noted);
            let service = hyper::service::service_fn(move |request| {
                let noted = Arc::clone(&noted);
                async move { Ok::<_, Infallible>(answer(request, address, &noted).await) }
            });
            let connection = async move {
                let builder = auto::Builder::new(TokioExecutor::new());
                drop(
                    builder
                        .serve_connection(TokioIo::new(socket), service)
                        .await,
                );
            };
            #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
            drop(tokio::spawn(connection));
        }
    };
    #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
    drop(tokio::spawn(serve));
    (address, seen)
}

async fn answer(request: Request<Incoming>, address: SocketAddr, seen: &Seen) -> Response<Body> {
    let path = request.uri().path().to_owned();
    if path == "/.well-known/agent-card.json" {
        return full("application/json", &card(address));
    }
    let version = request.headers().get("a2a-version").cloned();
    let version = version.map_or_else(String::new, |v| v.to_str().unwrap().to_owned());
    seen.lock().push((path.clone(), version));
    let body = request.into_body().collect().await.unwrap().to_bytes();
    match path.as_str() {
        "/rpc" => json_rpc(&serde_json::from_slice(&body).unwrap()),
        "/rest/v1/message:send" => rest(&serde_json::from_slice(&body).unwrap()),
        "/rest/v1/message:stream" => events(|event| json!(event), &rest_events()),
        "/a2a.v1.A2AService/SendMessage" => grpc(&body),
        _ => {
            let mut page = full("text/plain", &json!("nothing here"));
            *page.status_mut() = StatusCode::NOT_FOUND;
            page
        }
    }
}

fn json_rpc(call: &Value) -> Response<Body> {
    let message = &call["params"]["message"];
    assert_eq!(
        (&message["kind"], &message["role"]),
        (&json!("message"), &json!("user"))
    );
    assert_eq!(message["parts"][0]["kind"], "text");
    let text = message["parts"][0]["text"].as_str().unwrap();
    match (call["method"].as_str().unwrap(), text) {
        ("message/send", "missing") => full(
            "application/json",
            &json!({"jsonrpc": "2.0", "id": call["id"], "error": {"code": -32001, "message": "no such task"}}),
        ),
        ("message/send", text) => full(
            "application/json",
            &json!({"jsonrpc": "2.0", "id": call["id"], "result": {
                "kind": "task", "id": "t-1", "contextId": "c-1", "status": {"state": "completed"},
                "artifacts": [{"artifactId": "a", "parts": [{"kind": "text", "text": format!("you said {text}")}]}],
            }}),
        ),
        ("message/stream", _) => events(
            |event| json!({"jsonrpc": "2.0", "id": call["id"], "result": event}),
            &[
                json!({"kind": "task", "id": "t-1", "contextId": "c-1", "status": {"state": "submitted"}}),
                json!({"kind": "artifact-update", "taskId": "t-1", "contextId": "c-1",
                    "artifact": {"artifactId": "a", "parts": [{"kind": "text", "text": "a piece"}]}}),
                json!({"kind": "status-update", "taskId": "t-1", "contextId": "c-1", "final": true,
                    "status": {"state": "completed"}}),
            ],
        ),
        (other, _) => panic!("{other} is not a method of this agent"),
    }
}

fn rest(call: &Value) -> Response<Body> {
    // HTTP+JSON of 0.3 is the JSON of its protobuf.
    assert_eq!(call["message"]["role"], "ROLE_USER", "{call}");
    let text = call["message"]["content"][0]["text"].as_str().unwrap();
    if text == "missing" {
        let mut refusal = full("application/json", &json!({"message": "no such task"}));
        *refusal.status_mut() = StatusCode::NOT_FOUND;
        return refusal;
    }
    full(
        "application/json",
        &json!({"task": {"id": "t-1", "contextId": "c-1", "status": {"state": "TASK_STATE_COMPLETED"},
            "artifacts": [{"artifactId": "a", "parts": [{"text": format!("you said {text}")}]}]}}),
    )
}

fn rest_events() -> [Value; 3] {
    [
        json!({"task": {"id": "t-1", "contextId": "c-1", "status": {"state": "TASK_STATE_SUBMITTED"}}}),
        json!({"artifactUpdate": {"taskId": "t-1", "contextId": "c-1",
            "artifact": {"artifactId": "a", "parts": [{"text": "a piece"}]}}}),
        json!({"statusUpdate": {"taskId": "t-1", "contextId": "c-1", "final": true,
            "status": {"state": "TASK_STATE_COMPLETED"}}}),
    ]
}

/// Protobuf is not written by hand: the codec of the other side of the pivot does it.
fn grpc(body: &[u8]) -> Response<Body> {
    let dialect = Dialect::new(Binding::Grpc, Version::V0_3);
    let text = String::from_utf8_lossy(body).into_owned();
    let outcome = if text.contains("missing") {
        Err(Problem::new(Fault::TaskNotFound, "no such task"))
    } else {
        let mut task = Task {
            id: "t-1".to_owned(),
            context_id: "c-1".to_owned(),
            ..Task::default()
        };
        let mut status = TaskStatus::default();
        status.set_state(TaskState::Completed);
        task.status = Some(status);
        let payload = Some(send_message_response::Payload::Task(task));
        Ok(Answer::Sent(SendMessageResponse { payload }))
    };
    let wire = pivot::encode_response(dialect, None, outcome.as_ref());
    let mut frames = Vec::new();
    if !wire.body.is_empty() {
        frames.push(Ok(Frame::data(wire.body)));
    }
    frames.push(Ok(Frame::trailers(wire.trailers.unwrap())));
    Response::builder()
        .header("content-type", wire.content_type)
        .body(StreamBody::new(stream::iter(frames)).boxed_unsync())
        .unwrap()
}

fn events(wrap: impl Fn(&Value) -> Value, events: &[Value]) -> Response<Body> {
    let text: String = events
        .iter()
        .map(|event| format!("data: {}\r\n\r\n", wrap(event)))
        .collect();
    Response::builder()
        .header("content-type", "text/event-stream")
        .body(Full::new(Bytes::from(text)).boxed_unsync())
        .unwrap()
}

fn full(content_type: &str, body: &Value) -> Response<Body> {
    Response::builder()
        .header("content-type", content_type)
        .body(Full::new(Bytes::from(body.to_string())).boxed_unsync())
        .unwrap()
}

fn card(address: SocketAddr) -> Value {
    json!({
        "name": "old", "description": "an agent of 0.3", "version": "1", "protocolVersion": "0.3.0",
        "url": format!("http://{address}/rpc"), "preferredTransport": "JSONRPC",
        "additionalInterfaces": [
            {"url": format!("http://{address}/rest"), "transport": "HTTP+JSON"},
            {"url": address.to_string(), "transport": "GRPC"}],
        "capabilities": {"streaming": true}, "skills": [],
        "defaultInputModes": ["text/plain"], "defaultOutputModes": ["text/plain"],
    })
}

fn over(binding: Binding) -> Options {
    Options {
        binding: Some(binding),
        ..Options::default()
    }
}

#[tokio::test]
async fn an_agent_of_0_3_alone_is_spoken_to_in_0_3_over_every_binding() {
    let (address, seen) = start().await;
    for binding in Binding::ALL {
        let client = Client::from_url(&format!("http://{address}"), over(binding)).await;
        let client = client.unwrap();
        assert_eq!(
            client.endpoint().dialect(),
            Dialect::new(binding, Version::V0_3)
        );
        let answer = client.send(ask("hello"), &Call::default()).await.unwrap();
        let Some(send_message_response::Payload::Task(task)) = answer.payload else {
            panic!("{binding}: a task was expected");
        };
        assert_eq!(
            task.status.unwrap().state(),
            TaskState::Completed,
            "{binding}"
        );
        if binding != Binding::Grpc {
            let said = &task.artifacts[0].parts[0].content;
            assert_eq!(
                said,
                &Some(Content::Text("you said hello".to_owned())),
                "{binding}"
            );
        }
        let error = client
            .send(ask("missing"), &Call::default())
            .await
            .unwrap_err();
        let problem = error
            .problem()
            .unwrap_or_else(|| panic!("{binding}: {error:?}"));
        assert_eq!(problem.fault, Fault::TaskNotFound, "{binding}");
        assert_eq!(problem.message, "no such task", "{binding}");
        let (path, version) = seen.lock().last().cloned().unwrap();
        assert_eq!(version, "0.3", "{path}");
    }
}

#[tokio::test]
async fn a_stream_of_0_3_brings_the_same_events_as_one_of_1_0() {
    let (address, _) = start().await;
    for binding in [Binding::JsonRpc, Binding::Rest] {
        let client = Client::from_url(&format!("http://{address}"), over(binding)).await;
        let client = client.unwrap();
        let events = client.stream(ask("hello"), &Call::default()).await.unwrap();
        let words: Vec<_> = events.map(|event| word(&event.unwrap())).collect().await;
        assert_eq!(
            words,
            ["task t-1", "a piece", "TASK_STATE_COMPLETED"],
            "{binding}"
        );
    }
}

#[tokio::test]
async fn what_0_3_has_no_words_for_is_told_before_anything_is_sent() {
    let (address, seen) = start().await;
    for binding in [Binding::JsonRpc, Binding::Rest] {
        let client = Client::from_url(&format!("http://{address}"), over(binding)).await;
        let listed = client
            .unwrap()
            .list_tasks(ListTasksRequest::default(), &Call::default())
            .await;
        let error = listed.unwrap_err();
        assert!(matches!(error, Error::Unspoken(_)), "{binding}: {error:?}");
        assert!(error.is_unsent());
    }
    assert!(seen.lock().is_empty(), "{:?}", seen.lock());
}

#[tokio::test]
async fn the_version_that_is_asked_for_is_the_one_that_is_spoken_or_none() {
    let (address, seen) = start().await;
    let url = format!("http://{address}");
    let wanting = |version| Options {
        version: Some(version),
        ..Options::default()
    };
    let error = Client::from_url(&url, wanting(Version::V1_0))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "the card offers no interface of A2A 1.0 over any binding; it offers JSONRPC 0.3 at \
             {url}/rpc, HTTP+JSON 0.3 at {url}/rest, GRPC 0.3 at {address}"
        )
    );
    // Without a card the version is the caller's word alone.
    let direct = Client::direct(
        Binding::JsonRpc,
        &format!("{url}/rpc"),
        wanting(Version::V0_3),
    );
    direct
        .unwrap()
        .send(ask("hello"), &Call::default())
        .await
        .unwrap();
    assert_eq!(
        seen.lock().last(),
        Some(&("/rpc".to_owned(), "0.3".to_owned()))
    );
}
