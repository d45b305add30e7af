//! Wrong input over HTTP+JSON.

use anyhow::Result;
use http::Method;
use mesh_proto::{Binding, Fault};
use mesh_tests::wire::Ask;
use serde_json::{Value, json};

use super::{Case, Ids, scene, try_all};

#[tokio::test]
async fn wrong_rest_gets_the_tables_error_and_harms_nobody() -> Result<()> {
    let (mesh, ids) = scene().await?;
    let mut cases = bodies(&ids);
    cases.extend(paths(&ids));
    try_all(mesh, Binding::Rest, cases).await
}

fn post(path: &str, body: impl Into<bytes::Bytes>) -> Ask {
    Ask::post(&format!("/assistant{path}"), "application/json", body).header("a2a-version", "1.0")
}

fn get(path: &str) -> Ask {
    Ask::get(&format!("/assistant{path}")).header("a2a-version", "1.0")
}

fn send(changes: &Value) -> Ask {
    let mut message =
        json!({"messageId": "m-wrong", "role": "ROLE_USER", "parts": [{"text": "1+1"}]});
    for (key, value) in changes.as_object().into_iter().flatten() {
        message[key] = value.clone();
    }
    post("/message:send", json!({"message": message}).to_string())
}

fn bodies(ids: &Ids) -> Vec<Case> {
    let invalid = |name: &str, ask: Ask| Case::new(name, ask, Fault::InvalidParams);
    let body = |name: &str, body: &str| {
        Case::new(name, post("/message:send", body.to_owned()), Fault::Parse)
    };
    vec![
        body("half a JSON object", r#"{"message": {"#),
        body("no body", "").or(Fault::InvalidParams),
        body("words", "what is 1+1"),
        Case::new(
            "bytes that are no text",
            post("/message:send", vec![0xff, 0x00]),
            Fault::Parse,
        ),
        invalid("an array", post("/message:send", "[]")).or(Fault::InvalidRequest),
        invalid("no message", post("/message:send", "{}")),
        invalid(
            "a messageId that is a number",
            send(&json!({"messageId": 7})),
        ),
        invalid(
            "a contextId that is a number",
            send(&json!({"contextId": 7})),
        ),
        invalid("parts that are text", send(&json!({"parts": "1+1"}))),
        invalid("an unknown role", send(&json!({"role": "ROLE_ALIEN"}))),
        invalid("a stream without a message", post("/message:stream", "{}")),
        Case::new(
            "a message to nobody's task",
            send(&json!({"taskId": "none"})),
            Fault::TaskNotFound,
        ),
        Case::new(
            "a message to what is done",
            send(&json!({"taskId": ids.done})),
            Fault::UnsupportedOperation,
        ),
        Case::new(
            "a body of 17 MiB",
            send(&json!({"parts": [{"text": "x".repeat(17 << 20)}]})),
            Fault::TooLarge,
        ),
        Case::new(
            "a body that is no JSON by its type",
            send(&json!({}))
                .without("content-type")
                .header("content-type", "text/plain"),
            Fault::ContentTypeNotSupported,
        ),
        Case::new(
            "a version of the future",
            send(&json!({}))
                .without("a2a-version")
                .header("a2a-version", "9.9"),
            Fault::VersionNotSupported,
        ),
    ]
}

fn paths(ids: &Ids) -> Vec<Case> {
    let Ids { done, .. } = ids;
    let missing = |name: &str, ask: Ask| Case::new(name, ask, Fault::TaskNotFound);
    let nowhere = |name: &str, ask: Ask| Case::new(name, ask, Fault::MethodNotFound);
    let config = json!({"url": "https://10.1.2.3/push"}).to_string();
    vec![
        missing("a task of nobody's", get("/tasks/no-such-task")),
        missing("an id with a colon in it", get("/tasks/no:such:task")),
        missing(
            "an id that is percent-encoded",
            get("/tasks/no%2Fsuch%2Ftask"),
        ),
        missing(
            "to cancel nobody's task",
            post("/tasks/no-such-task:cancel", "{}"),
        ),
        missing(
            "to follow nobody's task",
            get("/tasks/no-such-task:subscribe"),
        ),
        missing(
            "to follow nobody's task by POST",
            post("/tasks/no-such-task:subscribe", ""),
        ),
        Case::new(
            "to cancel what is done",
            post(&format!("/tasks/{done}:cancel"), "{}"),
            Fault::TaskNotCancelable,
        ),
        Case::new(
            "to follow what is done",
            get(&format!("/tasks/{done}:subscribe")),
            Fault::UnsupportedOperation,
        ),
        Case::new(
            "a page of a thousand",
            get("/tasks?pageSize=1000"),
            Fault::InvalidParams,
        ),
        Case::new(
            "a page of some",
            get("/tasks?pageSize=some"),
            Fault::InvalidParams,
        ),
        Case::new(
            "a token of nobody's",
            get("/tasks?pageToken=nonsense"),
            Fault::InvalidParams,
        ),
        Case::new(
            "a push configuration for a private address",
            post(&format!("/tasks/{done}/pushNotificationConfigs"), config),
            Fault::InvalidParams,
        ),
        Case::new(
            "an extended card",
            get("/extendedAgentCard"),
            Fault::ExtendedAgentCardNotConfigured,
        )
        .or(Fault::UnsupportedOperation),
        nowhere("a path of nobody's", get("/nowhere/at/all")),
        nowhere(
            "a verb of nobody's",
            post(&format!("/tasks/{done}:explode"), "{}"),
        )
        .or(Fault::TaskNotFound),
        nowhere("an agent of nobody's", Ask::get("/nobody/tasks/1")),
        nowhere("to put a message", send(&json!({})).method(Method::PUT)),
        nowhere(
            "to delete a task",
            get(&format!("/tasks/{done}")).method(Method::DELETE),
        ),
        nowhere("to get a send", get("/message:send")),
    ]
}
