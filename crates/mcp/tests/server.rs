//! The server as a client meets it: over a pipe in memory, as a child process, over HTTP.
#![expect(clippy::unwrap_used, reason = "a test says what it needs by failing")]

use std::{fs, process::Stdio};

use expect_test::{Expect, expect};
use mesh_mcp::{Hosts, Server, Settings, serve_http};
use rmcp::{
    RoleClient, ServiceExt,
    model::{CallToolRequestParams, CallToolResult},
    service::RunningService,
    transport::TokioChildProcess,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    process::Command,
};

type Client = RunningService<RoleClient, ()>;

async fn in_memory(settings: Settings) -> Client {
    let (near, far) = tokio::io::duplex(1 << 16);
    let server = Server::new(&settings).unwrap();
    spawn(async move {
        server.serve(far).await.unwrap().waiting().await.unwrap();
    });
    ().serve(near).await.unwrap()
}

#[expect(clippy::disallowed_methods, reason = "a test has no drain")]
fn spawn(future: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(future);
}

async fn call(client: &Client, tool: &'static str, arguments: Value) -> CallToolResult {
    let Value::Object(arguments) = arguments else {
        panic!("arguments are an object")
    };
    let ask = CallToolRequestParams::new(tool).with_arguments(arguments);
    client.call_tool(ask).await.unwrap()
}

fn shown(result: &CallToolResult) -> String {
    let text = || result.content[0].as_text().unwrap().text.clone();
    match &result.structured_content {
        Some(value) => value.to_string(),
        None => format!("error={:?} {}", result.is_error.unwrap_or(false), text()),
    }
}

async fn check(client: &Client, tool: &'static str, arguments: Value, expected: Expect) {
    expected.assert_eq(&shown(&call(client, tool, arguments).await));
}

#[tokio::test]
async fn every_tool_and_every_argument_is_described() {
    let root = tempfile::tempdir().unwrap();
    let settings = Settings {
        root: Some(root.path().to_owned()),
        notes: None,
    };
    let client = in_memory(settings).await;
    let mut shown = String::new();
    for tool in client.list_all_tools().await.unwrap() {
        assert!(
            tool.description.is_some_and(|text| text.len() > 20),
            "{}",
            tool.name
        );
        assert!(tool.output_schema.is_some(), "{}", tool.name);
        let none = serde_json::Map::new();
        let properties = tool
            .input_schema
            .get("properties")
            .and_then(Value::as_object);
        shown.push_str(&tool.name);
        for (name, schema) in properties.unwrap_or(&none) {
            let text = schema["description"].as_str().unwrap_or_default();
            assert!(text.len() > 10, "{} {name}", tool.name);
            shown.push(' ');
            shown.push_str(name);
        }
        shown.push('\n');
    }
    expect![[r#"
        calculate expression
        clock zone
        list_files path
        note_get key
        note_list
        note_put key text
        read_file offset path
        text_stats text
    "#]]
    .assert_eq(&shown);
}

#[tokio::test]
async fn without_a_root_there_are_no_file_tools() {
    let client = in_memory(Settings::default()).await;
    let tools = client.list_all_tools().await.unwrap();
    assert!(tools.iter().all(|tool| !tool.name.contains("file")));
    let ask = CallToolRequestParams::new("read_file");
    assert!(client.call_tool(ask).await.is_err());
}

#[tokio::test]
async fn the_tools_answer_in_structured_content_and_err_in_words() {
    let client = in_memory(Settings::default()).await;
    let client = &client;
    check(
        client,
        "calculate",
        json!({"expression": "17*23+4"}),
        expect![r#"{"exact":true,"expression":"17*23+4","result":"395"}"#],
    )
    .await;
    check(
        client,
        "calculate",
        json!({"expression": "1/0"}),
        expect!["error=true division by zero"],
    )
    .await;
    check(
        client,
        "text_stats",
        json!({"text": "One two. Three"}),
        expect![r#"{"characters":14,"lines":1,"sentences":2,"words":3}"#],
    )
    .await;
    check(client, "clock", json!({"zone": "Atlantis"}), expect![[
        r#"error=true no time zone or city "Atlantis" is known; give an IANA name such as Asia/Tokyo or a well-known city"#
    ]])
    .await;
    check(
        client,
        "note_put",
        json!({"key": "a", "text": "b"}),
        expect![r#"{"key":"a","replaced":false}"#],
    )
    .await;
    check(
        client,
        "note_get",
        json!({"key": "a"}),
        expect![r#"{"key":"a","text":"b"}"#],
    )
    .await;
    check(
        client,
        "note_get",
        json!({"key": "z"}),
        expect![[r#"error=true there is no note "z""#]],
    )
    .await;
    check(client, "note_list", json!({}), expect![r#"{"keys":["a"]}"#]).await;

    let tokyo = call(client, "clock", json!({"zone": "tokyo"})).await;
    let reading: mesh_mcp::clock::Reading = tokyo.into_typed().unwrap();
    assert_eq!(
        (reading.zone.as_str(), reading.offset.as_str()),
        ("Asia/Tokyo", "+09:00")
    );
}

#[tokio::test]
async fn wrong_arguments_are_refused_with_their_name() {
    let client = in_memory(Settings::default()).await;
    let ask = |arguments: Value| {
        CallToolRequestParams::new("clock").with_arguments(arguments.as_object().unwrap().clone())
    };
    let missing = client.call_tool(ask(json!({}))).await;
    assert!(format!("{missing:?}").contains("zone"), "{missing:?}");
    let unknown = client
        .call_tool(ask(json!({"zone": "UTC", "color": 1})))
        .await;
    assert!(format!("{unknown:?}").contains("color"), "{unknown:?}");
}

#[tokio::test]
async fn the_program_serves_a_parent_and_ends_with_it() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("a.txt"), "from a file").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_mesh-mcp"));
    command
        .arg("--root")
        .arg(root.path())
        .arg("--notes")
        .arg(root.path().join("notes.json"));
    let client = ().serve(TokioChildProcess::new(command).unwrap()).await.unwrap();
    check(
        &client,
        "read_file",
        json!({"path": "a.txt"}),
        expect![r#"{"bytes":11,"path":"a.txt","text":"from a file"}"#],
    )
    .await;
    call(&client, "note_put", json!({"key": "k", "text": "kept"})).await;
    client.cancel().await.unwrap();
    assert!(
        fs::read_to_string(root.path().join("notes.json"))
            .unwrap()
            .contains("kept")
    );

    // A parent that dies closes the pipe; the child must not outlive it.
    let mut orphan = Command::new(env!("CARGO_BIN_EXE_mesh-mcp"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    drop(orphan.stdin.take());
    assert!(orphan.wait().await.unwrap().success());
}

#[tokio::test]
async fn over_http_only_known_host_names_are_answered() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let hosts = Hosts {
        also: vec!["tools.example".to_owned()],
    };
    let (done, ended) = tokio::sync::oneshot::channel();
    spawn(async move {
        let stopped = async move { drop(stopped.await) };
        let result = serve_http(listener, Settings::default(), hosts, stopped).await;
        done.send(result).unwrap();
    });
    let post = async |host: &str, extra: &str| -> String {
        let body = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "POST /mcp HTTP/1.1\r\nhost: {host}\r\naccept: application/json, text/event-stream\r\ncontent-type: application/json\r\nconnection: close\r\n{extra}content-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    };
    assert_eq!(post("127.0.0.1", "").await, "HTTP/1.1 200");
    assert_eq!(post("tools.example", "").await, "HTTP/1.1 200");
    assert_eq!(post("rebound.example", "").await, "HTTP/1.1 403");
    assert_eq!(
        post("127.0.0.1", "origin: http://evil.example\r\n").await,
        "HTTP/1.1 403"
    );
    stop.send(()).unwrap();
    assert!(ended.await.unwrap().is_ok());
}
