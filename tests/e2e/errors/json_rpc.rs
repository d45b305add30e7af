//! Wrong input over JSON-RPC.

use anyhow::Result;
use mesh_proto::{Binding, Fault};
use mesh_tests::wire::Ask;
use serde_json::{Value, json};

use super::{Case, Ids, scene, try_all};

#[tokio::test]
async fn wrong_json_rpc_gets_the_tables_error_and_harms_nobody() -> Result<()> {
    let (mesh, ids) = scene().await?;
    let mut cases = envelopes();
    cases.extend(params(&ids));
    cases.extend(tasks(&ids));
    cases.extend(http());
    try_all(mesh, Binding::JsonRpc, cases).await
}

fn post(body: impl Into<bytes::Bytes>) -> Ask {
    Ask::post("/assistant", "application/json", body).header("a2a-version", "1.0")
}

fn call(method: &str, params: &Value) -> Ask {
    post(json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string())
}

fn message(changes: &Value) -> Value {
    let mut message =
        json!({"messageId": "m-wrong", "role": "ROLE_USER", "parts": [{"text": "1+1"}]});
    for (key, value) in changes.as_object().into_iter().flatten() {
        message[key] = value.clone();
    }
    message
}

fn send(changes: &Value) -> Ask {
    call("SendMessage", &json!({"message": message(changes)}))
}

fn envelopes() -> Vec<Case> {
    let case = |name: &str, body: &str, fault| Case::new(name, post(body.to_owned()), fault);
    let deep = "[".repeat(100_000);
    vec![
        case(
            "half a JSON object",
            r#"{"jsonrpc": "2.0", "id": 1, "me"#,
            Fault::Parse,
        ),
        case("no body", "", Fault::Parse),
        case("words", "what is 1+1", Fault::Parse),
        Case::new(
            "bytes that are no text",
            post(vec![0xff, 0xfe, 0x00, b'{']),
            Fault::Parse,
        ),
        case(
            "a trailing comma",
            r#"{"jsonrpc":"2.0","id":1,"method":"GetTask",}"#,
            Fault::Parse,
        ),
        Case::new("a hundred thousand brackets", post(deep), Fault::Parse)
            .or(Fault::InvalidRequest),
        case("a number", "42", Fault::InvalidRequest),
        case("an empty batch", "[]", Fault::InvalidRequest),
        case(
            "a batch",
            r#"[{"jsonrpc":"2.0","id":1,"method":"GetTask","params":{"id":"x"}}]"#,
            Fault::InvalidRequest,
        ),
        case(
            "no method",
            r#"{"jsonrpc":"2.0","id":1,"params":{}}"#,
            Fault::InvalidRequest,
        ),
        case(
            "a method that is a number",
            r#"{"jsonrpc":"2.0","id":1,"method":7}"#,
            Fault::InvalidRequest,
        ),
        case(
            "no version of JSON-RPC",
            r#"{"id":1,"method":"GetTask","params":{"id":"x"}}"#,
            Fault::InvalidRequest,
        ),
        case(
            "JSON-RPC 1.0",
            r#"{"jsonrpc":"1.0","id":1,"method":"GetTask","params":{"id":"x"}}"#,
            Fault::InvalidRequest,
        ),
        Case::new(
            "an unknown method",
            call("GuessTask", &json!({})),
            Fault::MethodNotFound,
        ),
        Case::new(
            "a method in small letters",
            call("gettask", &json!({})),
            Fault::MethodNotFound,
        ),
        Case::new(
            "params that are an array",
            call("GetTask", &json!(["x"])),
            Fault::InvalidParams,
        ),
        Case::new(
            "params that are text",
            call("GetTask", &json!("x")),
            Fault::InvalidParams,
        ),
    ]
}

fn params(ids: &Ids) -> Vec<Case> {
    let invalid = |name: &str, ask: Ask| Case::new(name, ask, Fault::InvalidParams);
    vec![
        invalid("no message", call("SendMessage", &json!({}))),
        invalid(
            "a message that is text",
            call("SendMessage", &json!({"message": "hi"})),
        ),
        invalid(
            "a messageId that is a number",
            send(&json!({"messageId": 7})),
        ),
        invalid("no messageId", send(&json!({"messageId": ""}))),
        invalid(
            "a contextId that is an array",
            send(&json!({"contextId": ["c"]})),
        ),
        invalid(
            "a taskId that is an object",
            send(&json!({"taskId": {"id": "t"}})),
        ),
        invalid("parts that are text", send(&json!({"parts": "1+1"}))),
        invalid("no parts", send(&json!({"parts": []}))),
        invalid("a part with nothing in it", send(&json!({"parts": [{}]}))),
        invalid("an unknown role", send(&json!({"role": "ROLE_ALIEN"}))),
        invalid("no id of the task", call("GetTask", &json!({}))),
        invalid("an id that is a number", call("GetTask", &json!({"id": 7}))),
        invalid(
            "a page of a thousand",
            call("ListTasks", &json!({"pageSize": 1_000})),
        ),
        invalid(
            "a page token of nobody's",
            call("ListTasks", &json!({"pageToken": "nonsense"})),
        ),
        invalid(
            "an unknown state",
            call("ListTasks", &json!({"status": "TASK_STATE_ASLEEP"})),
        ),
        invalid(
            "a task of another context",
            send(&json!({"taskId": ids.open, "contextId": ids.context})),
        ),
    ]
}

fn tasks(ids: &Ids) -> Vec<Case> {
    let case = Case::new;
    let task = |method: &str, id: &str| call(method, &json!({"id": id}));
    let config = json!({"taskId": ids.done, "url": "https://10.1.2.3/push"});
    vec![
        case(
            "a task of nobody's",
            task("GetTask", "no-such-task"),
            Fault::TaskNotFound,
        ),
        case(
            "to cancel nobody's task",
            task("CancelTask", "no-such-task"),
            Fault::TaskNotFound,
        ),
        case(
            "to follow nobody's task",
            task("SubscribeToTask", "nothing"),
            Fault::TaskNotFound,
        ),
        case(
            "a message to nobody's task",
            send(&json!({"taskId": "none"})),
            Fault::TaskNotFound,
        ),
        case(
            "to cancel what is done",
            task("CancelTask", &ids.done),
            Fault::TaskNotCancelable,
        ),
        case(
            "to follow what is done",
            task("SubscribeToTask", &ids.done),
            Fault::UnsupportedOperation,
        ),
        case(
            "a message to what is done",
            send(&json!({"taskId": ids.done})),
            Fault::UnsupportedOperation,
        ),
        case(
            "a push configuration for a private address",
            call("CreateTaskPushNotificationConfig", &config),
            Fault::InvalidParams,
        ),
        case(
            "an extended card",
            call("GetExtendedAgentCard", &json!({})),
            Fault::ExtendedAgentCardNotConfigured,
        )
        .or(Fault::UnsupportedOperation),
    ]
}

fn http() -> Vec<Case> {
    let good = json!({"jsonrpc": "2.0", "id": 1, "method": "GetTask", "params": {"id": "x"}});
    let good = || post(good.to_string());
    let to = |path: &str| {
        let mut ask = good();
        path.clone_into(&mut ask.path);
        ask
    };
    let huge = json!({"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {
        "message": message(&json!({"parts": [{"text": "x".repeat(17 << 20)}]})),
    }});
    vec![
        Case::new("an agent of nobody's", to("/nobody"), Fault::MethodNotFound),
        Case::new("a reserved name", to("/agents-not"), Fault::MethodNotFound),
        Case::new("a body of 17 MiB", post(huge.to_string()), Fault::TooLarge),
        Case::new(
            "a body that is no JSON by its type",
            good()
                .without("content-type")
                .header("content-type", "text/plain"),
            Fault::ContentTypeNotSupported,
        ),
        Case::new(
            "XML",
            good()
                .without("content-type")
                .header("content-type", "application/xml"),
            Fault::ContentTypeNotSupported,
        ),
        Case::new(
            "a version of the future",
            good().without("a2a-version").header("a2a-version", "9.9"),
            Fault::VersionNotSupported,
        ),
        Case::new(
            "a version that is none",
            good()
                .without("a2a-version")
                .header("a2a-version", "newest"),
            Fault::VersionNotSupported,
        ),
        Case::new(
            "a loop of routers",
            good().header("daca-hops", "16"),
            Fault::InvalidRequest,
        ),
    ]
}
