//! The binary against a small agent in this process: what lands on stdout, and the exit codes.

#![expect(
    clippy::unwrap_used,
    reason = "a test's own fault should fail the test at once"
)]

use std::{
    net::SocketAddr,
    process::{Output, Stdio},
};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, process::Command};

/// An agent that speaks JSON-RPC alone and does what the text asks for.
async fn agent() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new()
        .route("/.well-known/agent-card.json", get(card))
        .route("/", post(answer))
        .with_state(address);
    #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
    tokio::spawn(async { axum::serve(listener, app).await });
    address
}

async fn card(State(address): State<SocketAddr>) -> Json<Value> {
    Json(json!({
        "name": "test", "description": "An agent for tests.", "version": "7",
        "supportedInterfaces": [
            {"url": format!("http://{address}/"), "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}
        ],
        "capabilities": {"streaming": true},
        "defaultInputModes": [], "defaultOutputModes": [],
        "skills": [{"id": "s", "name": "Test", "description": "Tests.", "tags": []}],
    }))
}

async fn answer(headers: HeaderMap, Json(ask): Json<Value>) -> Response {
    let text = ask["params"]["message"]["parts"][0]["text"]
        .as_str()
        .unwrap_or_default();
    match (ask["method"].as_str().unwrap_or_default(), text) {
        ("SendMessage", "headers") => result(&json!({"message": {
            "messageId": "m", "role": "ROLE_AGENT",
            "parts": [{"text": headers["x-one"].to_str().unwrap()}],
        }})),
        ("SendMessage", "context") => result(&json!({"message": {
            "messageId": "m", "role": "ROLE_AGENT",
            "parts": [{"text": ask["params"]["message"]["contextId"]}, {"text": ask["params"]["tenant"]}],
        }})),
        ("SendMessage", "busy") => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        ("SendMessage", _) => result(&json!({"task": task(text)})),
        ("SendStreamingMessage", _) => stream(text),
        // It shows the task, and goes away again.
        ("SubscribeToTask", _) => events(&[submitted()]),
        ("ListTasks", _) => result(&json!({
            "tasks": [task("TASK_STATE_FAILED")], "nextPageToken": "next", "pageSize": 1, "totalSize": 2,
        })),
        ("CancelTask", _) => Json(json!({"jsonrpc": "2.0", "id": 1, "error": {
            "code": -32002, "message": "it is done already",
        }}))
        .into_response(),
        _ => result(&task("TASK_STATE_FAILED")),
    }
}

fn task(state: &str) -> Value {
    json!({
        "id": "t 1", "contextId": "c-1",
        "status": {"state": state, "message": {
            "messageId": "m", "role": "ROLE_AGENT", "parts": [{"text": "which city?"}],
        }},
        "artifacts": [{"artifactId": "a", "parts": [{"text": "it is noon"}]}],
    })
}

fn result(result: &Value) -> Response {
    Json(json!({"jsonrpc": "2.0", "id": 1, "result": result})).into_response()
}

fn stream(text: &str) -> Response {
    let status = |state: &str| json!({"statusUpdate": {"taskId": "t 1", "contextId": "c-1", "status": {"state": state}}});
    let artifact = |text: &str, append: bool| {
        json!({"artifactUpdate": {"taskId": "t 1", "contextId": "c-1", "append": append,
            "artifact": {"artifactId": "a", "parts": [{"text": text}]}}})
    };
    let mut said = vec![
        submitted(),
        status("TASK_STATE_WORKING"),
        artifact("it is ", false),
        artifact("noon", true),
    ];
    if text != "unfinished" {
        said.push(status(text));
    }
    events(&said)
}

fn submitted() -> Value {
    json!({"task": {"id": "t 1", "contextId": "c-1", "status": {"state": "TASK_STATE_SUBMITTED"}}})
}

fn events(events: &[Value]) -> Response {
    let body: String = events
        .iter()
        .map(|event| json!({"jsonrpc": "2.0", "id": 1, "result": event}))
        .map(|event| format!("data: {event}\n\n"))
        .collect();
    ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response()
}

async fn daca(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_daca"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[tokio::test]
async fn an_answer_is_the_artifact_alone_on_stdout() {
    let url = format!("http://{}", agent().await);
    let output = daca(&["send", &url, "TASK_STATE_COMPLETED"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stdout(&output), "it is noon\n");
    assert!(
        stderr(&output).contains("task t 1 completed"),
        "{}",
        stderr(&output)
    );
}

#[tokio::test]
async fn a_question_comes_with_the_line_that_answers_it() {
    let url = format!("http://{}", agent().await);
    let output = daca(&[
        "send",
        &url,
        "TASK_STATE_INPUT_REQUIRED",
        "--binding",
        "jsonrpc",
    ])
    .await;
    assert_eq!(output.status.code(), Some(0));
    let text = stdout(&output);
    assert!(text.starts_with("it is noon\nwhich city?\n"), "{text}");
    let line = format!(" send {url} --binding jsonrpc --task 't 1' 'YOUR ANSWER'\n");
    assert!(text.ends_with(&line), "{text}");
}

#[tokio::test]
async fn each_way_to_fail_has_its_exit_code() {
    let url = format!("http://{}", agent().await);
    let closed = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let closed = format!("http://{closed}");
    for (arguments, code) in [
        (&["send", &url, "TASK_STATE_FAILED"][..], 1),
        (&["send", &url, "TASK_STATE_REJECTED"], 1),
        (&["stream", &url, "TASK_STATE_FAILED"], 1),
        (&["send", &url], 2),
        (&["send", "ftp://nowhere", "hello"], 2),
        (&["tasks", "cancel", &url, "t"], 3),
        (&["send", &url, "busy"], 3),
        (&["send", &url, "hello", "--binding", "grpc"], 3),
        (&["card", &format!("{url}/nowhere")], 3),
        (&["send", &closed, "hello"], 4),
        (&["stream", &url, "unfinished", "--resume", "1"], 4),
    ] {
        let output = daca(arguments).await;
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {}",
            stderr(&output)
        );
        assert!(!stderr(&output).is_empty() || code == 1, "{arguments:?}");
        assert!(!stderr(&output).contains("panicked"), "{}", stderr(&output));
    }
}

#[tokio::test]
async fn a_stream_shows_states_and_joins_the_pieces_of_an_artifact() {
    let url = format!("http://{}", agent().await);
    let output = daca(&["stream", &url, "TASK_STATE_COMPLETED"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(
        stdout(&output),
        "task t 1 context c-1\n[submitted]\n[working]\nit is noon\n[completed]\n"
    );
}

#[tokio::test]
async fn json_is_one_document_per_line_and_errors_are_json_too() {
    let url = format!("http://{}", agent().await);
    let output = daca(&["stream", &url, "TASK_STATE_COMPLETED", "--output", "json"]).await;
    let events: Vec<Value> = stdout(&output)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(events.len(), 5);
    assert_eq!(
        events[4]["statusUpdate"]["status"]["state"],
        "TASK_STATE_COMPLETED"
    );
    let output = daca(&["--output", "json", "tasks", "cancel", &url, "t"]).await;
    assert!(stdout(&output).is_empty());
    let error: Value = serde_json::from_str(&stderr(&output)).unwrap();
    assert_eq!(error["error"]["reason"], "TASK_NOT_CANCELABLE");
    assert_eq!(error["error"]["code"], -32002);
    assert_eq!(error["error"]["exit"], 3);
}

#[tokio::test]
async fn headers_context_and_tenant_reach_the_agent() {
    let url = format!("http://{}", agent().await);
    let output = daca(&["send", &url, "headers", "--header", "x-one=a=b"]).await;
    assert_eq!(stdout(&output), "a=b\n", "{}", stderr(&output));
    let output = daca(&[
        "send",
        &url,
        "context",
        "--context",
        "c 9",
        "--tenant",
        "t/9",
    ])
    .await;
    assert_eq!(stdout(&output), "c 9\nt/9\n", "{}", stderr(&output));
}

#[tokio::test]
async fn tasks_and_cards_are_printed_for_people() {
    let url = format!("http://{}", agent().await);
    let output = daca(&["tasks", "list", &url]).await;
    assert!(
        stdout(&output).starts_with("t 1  failed"),
        "{}",
        stdout(&output)
    );
    assert!(
        stderr(&output).contains("--page-token next"),
        "{}",
        stderr(&output)
    );
    let output = daca(&["tasks", "get", &url, "t 1"]).await;
    assert_eq!(
        output.status.code(),
        Some(0),
        "looking at a failed task is no failure"
    );
    assert!(
        stdout(&output).contains("it is noon"),
        "{}",
        stdout(&output)
    );
    let output = daca(&["card", &url]).await;
    let text = stdout(&output);
    for expected in [
        "test 7",
        "JSONRPC    1.0   http://",
        "can: streaming",
        "skill Test: Tests.",
    ] {
        assert!(text.contains(expected), "{expected} is missing in\n{text}");
    }
}

#[tokio::test]
async fn a_version_that_is_asked_for_is_spoken_or_nothing_is() {
    let url = format!("http://{}", agent().await);
    let output = daca(&["send", &url, "TASK_STATE_COMPLETED", "--a2a-version", "0.3"]).await;
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("no interface of A2A 0.3 over any binding; it offers JSONRPC 1.0"),
        "{}",
        stderr(&output)
    );
    let output = daca(&[
        "send",
        &url,
        "TASK_STATE_INPUT_REQUIRED",
        "--a2a-version",
        "1.0",
    ])
    .await;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(
        stdout(&output).contains("--a2a-version 1.0 --task"),
        "{}",
        stdout(&output)
    );
    // 0.3 has no word for a list; nothing is sent to find that out.
    let direct = ["--no-card", "--binding", "jsonrpc", "--a2a-version", "0.3"];
    let output = daca(&[&["tasks", "list", &url][..], &direct].concat()).await;
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("0.3 has no ListTasks"),
        "{}",
        stderr(&output)
    );
}
