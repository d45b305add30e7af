//! The language model against a mock of the chat-completions interface.

use std::collections::VecDeque;

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::IntoResponse,
    routing::post,
};
use daca_worker::model::openai::{OpenAi, Settings};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::*;

/// A server that plays one body per request and keeps what it was sent.
#[derive(Default)]
struct Mock {
    bodies: Mutex<VecDeque<(u16, String)>>,
    requests: Mutex<Vec<(HeaderMap, Value)>>,
}

async fn complete(
    State(mock): State<Arc<Mock>>,
    headers: HeaderMap,
    Json(request): Json<Value>,
) -> impl IntoResponse {
    mock.requests.lock().push((headers, request));
    let (status, body) = mock
        .bodies
        .lock()
        .pop_front()
        .unwrap_or_else(|| (500, "{}".to_owned()));
    let kind = if status == 200 {
        "text/event-stream"
    } else {
        "application/json"
    };
    (
        StatusCode::from_u16(status).unwrap(),
        [("content-type", kind)],
        body,
    )
}

fn stream(chunks: &[Value]) -> (u16, String) {
    let mut body: String = chunks
        .iter()
        .map(|chunk| format!("data: {chunk}\n\n"))
        .collect();
    body.push_str("data: [DONE]\n\n");
    (200, body)
}

/// The barest chunk that compatible servers send: no id, no time, no model.
fn delta(delta: &Value) -> Value {
    json!({"choices": [{"index": 0, "delta": delta}]})
}

#[expect(clippy::disallowed_methods, reason = "a test has no drain")]
fn spawn(serving: impl Future<Output = ()> + Send + 'static) {
    tokio::task::spawn(serving);
}

async fn mock(bodies: Vec<(u16, String)>) -> (Arc<Mock>, Settings) {
    let mock = Arc::new(Mock {
        bodies: Mutex::new(bodies.into()),
        ..Mock::default()
    });
    let app = Router::new()
        .route("/v1/chat/completions", post(complete))
        .with_state(Arc::clone(&mock));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = Some(format!("http://{}/v1", listener.local_addr().unwrap()));
    spawn(async move { axum::serve(listener, app).await.unwrap() });
    let settings = Settings {
        base_url,
        key: Some("sk-test".to_owned()),
        model: None,
    };
    (mock, settings)
}

fn assistant(settings: Settings) -> Agent {
    let around = Surroundings {
        openai: Some(settings),
        ..around(None)
    };
    named(roster(&Config::built_in().unwrap(), &around), "assistant")
}

#[tokio::test]
async fn a_tool_call_goes_round_and_the_answer_streams() {
    let (mock, settings) = mock(vec![
        stream(&[
            delta(&json!({"role": "assistant", "tool_calls": [{"index": 0, "id": "call_7",
                "type": "function", "function": {"name": "calculate", "arguments": ""}}]})),
            delta(&json!({"tool_calls": [{"index": 0, "function": {"arguments": "{\"expression\":"}}]})),
            delta(&json!({"tool_calls": [{"index": 0, "function": {"arguments": "\"17*23+4\"}"}}]})),
        ]),
        stream(&[
            delta(&json!({"content": "It "})),
            delta(&json!({"content": "is "})),
            delta(&json!({"content": "395."})),
        ]),
    ])
    .await;
    let agent = assistant(settings);
    assert_eq!(agent.card_facts().model, "gpt-4.1-mini (chat completions)");
    let turned = Talk::default().say(&agent, "what is 17*23+4?").await;
    assert_eq!(
        (turned.outcome, turned.artifact.as_str()),
        (COMPLETED, "It is 395.")
    );
    assert_eq!(
        (turned.pieces, turned.statuses),
        (3, vec!["calling calculate".to_owned()])
    );

    let requests = mock.requests.lock();
    let (headers, first) = &requests[0];
    assert_eq!(headers["authorization"], "Bearer sk-test");
    assert_eq!(first["stream"], true);
    assert_eq!(first["messages"][0]["role"], "system");
    let names: Vec<_> = first["tools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| t["function"]["name"].clone())
        .collect();
    assert!(names.contains(&json!("calculate")) && names.contains(&json!("request_input")));
    let (_, second) = &requests[1];
    let [.., call, result] = second["messages"].as_array().unwrap().as_slice() else {
        panic!()
    };
    assert_eq!(call["tool_calls"][0]["id"], "call_7");
    assert_eq!(result["tool_call_id"], "call_7");
    assert!(
        result["content"].as_str().unwrap().contains("395"),
        "the tool really ran"
    );
}

#[tokio::test]
async fn a_model_that_asks_makes_the_task_wait_and_goes_on_with_the_answer() {
    let ask = json!({"tool_calls": [{"index": 0, "id": "q", "function": {
        "name": "request_input", "arguments": "{\"question\":\"Which city?\"}"}}]});
    let (mock, settings) = mock(vec![
        stream(&[delta(&ask)]),
        stream(&[delta(&json!({"content": "Noon."}))]),
    ])
    .await;
    let agent = assistant(settings);
    let mut talk = Talk::default();
    let turned = talk.say(&agent, "what time is it?").await;
    assert_eq!(
        turned.outcome,
        Outcome::InputRequired {
            ask: "Which city?".to_owned()
        }
    );
    assert_eq!(talk.say(&agent, "Tokyo").await.artifact, "Noon.");
    let requests = mock.requests.lock();
    let said: Vec<_> = requests[1].1["messages"].as_array().unwrap()[1..]
        .iter()
        .map(|message| message["content"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(said, ["what time is it?", "Which city?", "Tokyo"]);
}

#[tokio::test]
async fn a_server_s_refusal_fails_the_task_once_and_hides_the_key() {
    let refusal = r#"{"error":{"message":"quota is used up","type":"insufficient_quota"}}"#;
    let (mock, settings) = mock(vec![(429, refusal.to_owned())]).await;
    let turned = Talk::default().say(&assistant(settings), "hi").await;
    let Outcome::Failed { reason } = turned.outcome else {
        panic!("{turned:?}")
    };
    assert!(
        reason.contains("quota is used up") && !reason.contains("sk-test"),
        "{reason}"
    );
    assert_eq!(
        mock.requests.lock().len(),
        1,
        "nothing is retried behind the turn's back"
    );
}

#[tokio::test]
async fn a_reply_that_is_no_reply_fails_the_task_with_a_reason() {
    let bad = json!({"tool_calls": [{"index": 0, "id": "c", "function": {
        "name": "calculate", "arguments": "{oops"}}]});
    for (body, complaint) in [
        (stream(&[]), "it is empty"),
        (
            stream(&[delta(&bad)]),
            "the arguments of calculate are no JSON object",
        ),
        ((200, "data: {not json\n\n".to_owned()), "gave no answer"),
        ((502, "<html>".to_owned()), "gave no answer"),
        (
            stream(&[json!({"choices": [{"delta": {}, "finish_reason": "content_filter"}]})]),
            "refused",
        ),
    ] {
        let (_mock, settings) = mock(vec![body]).await;
        let turned = Talk::default().say(&assistant(settings), "hi").await;
        let Outcome::Failed { reason } = turned.outcome else {
            panic!("{turned:?}")
        };
        assert!(reason.contains(complaint), "{reason}");
    }
}

#[test]
fn settings_that_can_t_be_right_are_refused_before_anything_is_sent() {
    let with = |base: &str, key: &str| {
        let settings = Settings {
            base_url: Some(base.to_owned()),
            key: Some(key.to_owned()),
            model: None,
        };
        assert!(!format!("{settings:?}").contains(key), "a key is not shown");
        OpenAi::new(&settings, None).map(|model| model.label().to_owned())
    };
    assert!(with("localhost:1/v1", "secret").is_err());
    assert!(with("http://localhost:1/v1", "two\nlines").is_err());
    assert!(with("http://localhost:1/v1/", "secret").is_ok());
}
