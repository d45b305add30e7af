//! Wrong requests get the error of the table in their binding, and nothing falls over.

use super::*;

async fn rpc_body(worker: &Worker, body: &str) -> Value {
    let answer = exchange(worker, request("POST", "/a"), body.to_owned()).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

#[tokio::test]
async fn json_rpc_tells_what_is_wrong_with_a_request() {
    let worker = one().await;
    let message = |change: fn(&mut Value)| {
        let mut params = serde_json::to_value(send("say x")).unwrap();
        change(&mut params);
        json!({"jsonrpc": "2.0", "id": "i", "method": "SendMessage", "params": params}).to_string()
    };
    let call = |method: &str, params: Value| {
        json!({"jsonrpc": "2.0", "id": "i", "method": method, "params": params}).to_string()
    };
    let cases = [
        ("{".to_owned(), -32700),
        ("[]".to_owned(), -32600),
        ("17".to_owned(), -32600),
        (
            json!({"jsonrpc": "1.0", "id": 1, "method": "GetTask"}).to_string(),
            -32600,
        ),
        (call("NoSuchMethod", json!({})), -32601),
        (call("GetTask", json!({"id": 5})), -32602),
        (call("GetTask", json!([])), -32602),
        (call("GetTask", json!({})), -32602),
        (call("GetTask", json!({"id": "nobody's"})), -32001),
        (call("CancelTask", json!({"id": "nobody's"})), -32001),
        (call("SubscribeToTask", json!({"id": "nobody's"})), -32001),
        (call("ListTasks", json!({"pageSize": 0})), -32602),
        (call("ListTasks", json!({"pageSize": 101})), -32602),
        (call("ListTasks", json!({"pageToken": "?"})), -32602),
        (
            call("ListTasks", json!({"status": "TASK_STATE_ODD"})),
            -32602,
        ),
        (call("ListTasks", json!({"historyLength": -1})), -32602),
        (call("GetExtendedAgentCard", json!({})), -32007),
        (call("message/send", json!({})), -32009),
        (message(|p| p["message"] = Value::Null), -32602),
        (message(|p| p["message"]["messageId"] = json!("")), -32602),
        (message(|p| p["message"]["parts"] = json!([])), -32602),
        (message(|p| p["message"]["parts"] = json!([{}])), -32602),
        (message(|p| p["message"]["parts"] = json!("text")), -32602),
        (
            message(|p| p["message"]["role"] = json!("ROLE_AGENT")),
            -32602,
        ),
        (
            message(|p| p["message"]["taskId"] = json!("nobody's")),
            -32001,
        ),
        (
            message(|p| p["configuration"] = json!({"historyLength": -1})),
            -32602,
        ),
        (
            message(|p| p["message"]["parts"] = json!([{"raw": "AAAA", "mediaType": "image/png"}])),
            -32005,
        ),
    ];
    for (body, code) in cases {
        let answer = rpc_body(&worker, &body).await;
        assert_eq!(answer["error"]["code"], code, "{body}\n{answer}");
        assert_eq!(answer["error"]["data"][0]["domain"], "a2a-protocol.org");
    }
    let fine = rpc(&worker, "SendMessage", &send("say still here")).await;
    assert_eq!(state(&fine["result"]["task"]), "TASK_STATE_COMPLETED");
}

#[tokio::test]
async fn http_json_tells_what_is_wrong_with_a_request() {
    let worker = one().await;
    let body = serde_json::to_string(&send("say x")).unwrap();
    let cases = [
        ("POST", "/a/message:send", "{", 400, "PARSE_ERROR"),
        ("POST", "/a/message:send", "[]", 400, "INVALID_PARAMS"),
        ("POST", "/a/message:send", "{}", 400, "INVALID_PARAMS"),
        (
            "POST",
            "/a/no/such/path/at/all",
            "{}",
            404,
            "METHOD_NOT_FOUND",
        ),
        ("GET", "/a/tasks/nobody", "", 404, "TASK_NOT_FOUND"),
        ("POST", "/a/tasks/nobody:cancel", "", 404, "TASK_NOT_FOUND"),
        (
            "POST",
            "/a/tasks/nobody:subscribe",
            "",
            404,
            "TASK_NOT_FOUND",
        ),
        (
            "GET",
            "/a/tasks/nobody:subscribe",
            "",
            404,
            "TASK_NOT_FOUND",
        ),
        ("GET", "/a/tasks?pageSize=1000", "", 400, "INVALID_PARAMS"),
        ("GET", "/a/tasks?pageSize=x", "", 400, "INVALID_PARAMS"),
        (
            "GET",
            "/a/extendedAgentCard",
            "",
            400,
            "EXTENDED_AGENT_CARD_NOT_CONFIGURED",
        ),
        (
            "GET",
            "/a/tasks/t/pushNotificationConfigs",
            "",
            404,
            "TASK_NOT_FOUND",
        ),
        (
            "POST",
            "/a/v1/message:send",
            &body,
            400,
            "VERSION_NOT_SUPPORTED",
        ),
    ];
    for (method, path, body, status, reason) in cases {
        let answer = exchange(&worker, request(method, path), body.to_owned()).await;
        assert_eq!(answer.status, status, "{method} {path}\n{}", answer.body);
        let error = &answer.json()["error"];
        assert_eq!(error["details"][0]["reason"], reason, "{method} {path}");
    }
    assert_eq!(get(&worker, "/a").await.status, 405);
}

#[tokio::test]
async fn a_version_a_type_or_a_size_that_is_not_taken_is_told_in_each_binding() {
    let settings = Settings {
        serve: serve::Settings {
            max_body: 1000,
            ..serve::Settings::default()
        },
        ..Settings::default()
    };
    let worker = worker(settings, &["a", "b"]).await;
    let plain = |path: &str| http::Request::post(path).header("host", "x");
    let json = |path: &str| plain(path).header("content-type", "application/json");
    let body = serde_json::to_string(&send("say x")).unwrap();
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": send("say x")});

    let unversioned = exchange(&worker, json("/a"), call.to_string()).await.json();
    assert_eq!(unversioned["error"]["code"], -32009);
    let unversioned = exchange(&worker, json("/a/message:send"), body.clone()).await;
    assert_eq!(unversioned.status, 400);
    let by_query = json("/a/message:send?A2A-Version=1.0");
    assert_eq!(exchange(&worker, by_query, body.clone()).await.status, 200);

    let form = |path| {
        plain(path)
            .header("content-type", "text/xml")
            .header("a2a-version", "1.0")
    };
    let typed = exchange(&worker, form("/a"), call.to_string()).await.json();
    assert_eq!(typed["error"]["code"], -32005);
    let typed = exchange(&worker, form("/a/message:send"), body)
        .await
        .json();
    assert_eq!(
        typed["error"]["details"][0]["reason"],
        "CONTENT_TYPE_NOT_SUPPORTED"
    );

    let large = serde_json::to_string(&send(&"x".repeat(2000))).unwrap();
    let large = exchange(&worker, request("POST", "/a/message:send"), large).await;
    assert_eq!(large.status, 413);
    let large = rpc(&worker, "SendMessage", &send(&"x".repeat(2000))).await;
    assert_eq!(large["error"]["data"][0]["reason"], "REQUEST_TOO_LARGE");

    let unknown = exchange(&worker, request("POST", "/c/message:send"), "{}").await;
    assert_eq!(unknown.status, 404);
    assert!(unknown.body.contains("/a, /b"), "{}", unknown.body);
}
