//! What is read beyond what is written: the other SDKs' forms, and what is left out.

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use mesh_proto::{
    Dialect, Fault, Operation, a2a, json,
    pivot::{Event, Request, Response},
    v03,
};
use prost::Message as _;
use serde_json::Value;

use super::{GRPC, REST, RPC};

fn sent(dialect: Dialect, body: &str) -> Result<a2a::SendMessageRequest, Fault> {
    let path = "/v1/message:send";
    let body = body.as_bytes();
    match v03::decode_request(dialect, Operation::SendMessage, &Method::POST, path, body) {
        Ok(Request::SendMessage(request)) => Ok(request),
        Ok(other) => panic!("{other:?}"),
        Err(problem) => Err(problem.fault),
    }
}

#[test]
fn a_send_waits_unless_it_says_that_it_does_not() {
    let waits = |dialect, body: &str| {
        let configuration = sent(dialect, body).unwrap().configuration;
        !configuration.unwrap_or_default().return_immediately
    };
    assert!(waits(RPC, r#"{"params":{"message":{}}}"#));
    assert!(waits(RPC, r#"{"params":{"configuration":{}}}"#));
    assert!(waits(
        RPC,
        r#"{"params":{"configuration":{"blocking":null}}}"#
    ));
    assert!(!waits(
        RPC,
        r#"{"params":{"configuration":{"blocking":false}}}"#
    ));
    // Protobuf can't tell "not said" from "no": what is there without `blocking` does not wait.
    assert!(waits(REST, r#"{"message":{}}"#));
    assert!(waits(
        REST,
        r#"{"message":{},"configuration":{"blocking":true}}"#
    ));
    assert!(!waits(
        REST,
        r#"{"message":{},"configuration":{"historyLength":3}}"#
    ));
}

#[test]
fn kinds_are_known_by_their_fields_where_they_are_not_named() {
    let read = |result: &str| {
        let data = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#);
        let event = v03::decode_event(RPC, Operation::SubscribeToTask, data.as_bytes());
        let payload = event.unwrap().payload.unwrap();
        json::to_bytes(&Event {
            payload: Some(payload),
        })
    };
    for (result, member) in [
        (r#"{"id":"t","status":{"state":"working"}}"#, "task"),
        (
            r#"{"messageId":"m","role":"agent","parts":[{"text":"x"}]}"#,
            "message",
        ),
        (
            r#"{"taskId":"t","final":false,"status":{"state":"working"}}"#,
            "statusUpdate",
        ),
        (
            r#"{"taskId":"t","artifact":{"artifactId":"a","parts":[]}}"#,
            "artifactUpdate",
        ),
    ] {
        let written: Value = serde_json::from_slice(&read(result)).unwrap();
        assert!(written.get(member).is_some(), "{written}");
    }
}

#[test]
fn what_the_go_sdk_writes_over_http_json_is_read() {
    let body = r#"{"message":{"kind":"message","message_id":"m","context_id":"c","role":"user",
        "parts":[{"kind":"file","file":{"bytes":"aGk=","mime_type":"text/plain"}}]},
        "configuration":{"blocking":false}}"#;
    let request = sent(REST, body).unwrap();
    let message = request.message.unwrap();
    assert_eq!((&*message.message_id, &*message.context_id), ("m", "c"));
    let raw = a2a::part::Content::Raw(Bytes::from_static(b"hi"));
    assert_eq!(message.parts[0].content, Some(raw));
    assert!(request.configuration.unwrap().return_immediately);

    let read = |operation, body: &str| {
        let (status, headers) = (StatusCode::OK, HeaderMap::new());
        v03::decode_response(REST, operation, status, &headers, None, body.as_bytes())
    };
    let task = r#"{"kind":"task","id":"t","context_id":"c","status":{"state":"input-required"}}"#;
    let Ok(Response::Task(read_task)) = read(Operation::GetTask, task) else {
        panic!("no task");
    };
    assert_eq!(
        (read_task.status.unwrap().state, &*read_task.context_id),
        (6, "c")
    );
    assert!(matches!(
        read(Operation::SendMessage, task),
        Ok(Response::Sent(_))
    ));
    let configs = r#"[{"task_id":"t","push_notification_config":{"id":"p","url":"u"}}]"#;
    for (body, count) in [(configs, 1), ("[]", 0), ("null", 0), ("{}", 0)] {
        let list = read(Operation::ListTaskPushNotificationConfigs, body);
        let Ok(Response::Configs(list)) = list else {
            panic!("{list:?}");
        };
        assert_eq!(list.configs.len(), count, "{body}");
    }
}

#[test]
fn a_push_configuration_is_read_in_every_form_in_which_it_is_made() {
    let (method, path) = (Method::POST, "/v1/tasks/t/pushNotificationConfigs");
    let operation = Operation::CreateTaskPushNotificationConfig;
    for body in [
        r#"{"parent":"tasks/t","configId":"p","config":{"name":"tasks/t/pushNotificationConfigs/p","pushNotificationConfig":{"id":"p","url":"u"}}}"#,
        r#"{"parent":"tasks/t","config_id":"p","config":{"push_notification_config":{"url":"u"}}}"#,
        r#"{"name":"tasks/t/pushNotificationConfigs/p","pushNotificationConfig":{"url":"u"}}"#,
        r#"{"task_id":"t","push_notification_config":{"id":"p","url":"u"}}"#,
        r#"{"id":"p","url":"u"}"#,
    ] {
        let read = v03::decode_request(REST, operation, &method, path, body.as_bytes());
        let config = a2a::TaskPushNotificationConfig {
            id: "p".to_owned(),
            task_id: "t".to_owned(),
            url: "u".to_owned(),
            ..Default::default()
        };
        let expected = Request::CreateTaskPushNotificationConfig(config);
        assert_eq!(read, Ok(expected), "{body}");
    }
    let read = v03::decode_request(REST, operation, &method, path, b"{}");
    assert_eq!(read.unwrap_err().fault, Fault::InvalidParams);
}

#[test]
fn a_deletion_may_be_answered_in_every_way_in_which_nothing_is_said() {
    let operation = Operation::DeleteTaskPushNotificationConfig;
    let read = |dialect, status, body: &str| {
        let headers = HeaderMap::new();
        v03::decode_response(dialect, operation, status, &headers, None, body.as_bytes())
    };
    let (ok, empty) = (StatusCode::OK, StatusCode::NO_CONTENT);
    for (dialect, status, body) in [
        (RPC, ok, r#"{"jsonrpc":"2.0","id":1,"result":null}"#),
        (RPC, ok, r#"{"jsonrpc":"2.0","id":1}"#),
        (REST, ok, "{}"),
        (REST, ok, ""),
        (REST, empty, ""),
    ] {
        assert_eq!(
            read(dialect, status, body),
            Ok(Response::Deleted),
            "{dialect} {body}"
        );
    }
    let failed = read(
        RPC,
        ok,
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32001,"message":"x"}}"#,
    );
    assert_eq!(failed.unwrap_err().fault, Fault::TaskNotFound);
    assert_eq!(
        read(RPC, ok, "<html>").unwrap_err().fault,
        Fault::InvalidAgentResponse
    );
    let gone = read(RPC, StatusCode::SERVICE_UNAVAILABLE, "<html>");
    assert_eq!(gone.unwrap_err().fault, Fault::Unavailable);
}

#[test]
fn a_file_over_grpc_is_read_as_base64_only_where_it_is_base64() {
    use mesh_proto::a2a_v03 as old;
    let read = |bytes: &'static [u8]| {
        let file = old::FilePart {
            file: Some(old::file_part::File::FileWithBytes(Bytes::from_static(
                bytes,
            ))),
            ..Default::default()
        };
        let part = old::Part {
            part: Some(old::part::Part::File(file)),
            metadata: None,
        };
        let message = old::Message {
            content: vec![part],
            ..Default::default()
        };
        let event = old::StreamResponse {
            payload: Some(old::stream_response::Payload::Msg(message)),
        };
        let event = v03::decode_event(GRPC, Operation::SubscribeToTask, &event.encode_to_vec());
        let payload = event.unwrap().payload;
        let Some(a2a::stream_response::Payload::Message(message)) = payload else {
            panic!("{payload:?}");
        };
        let Some(a2a::part::Content::Raw(raw)) = message.parts[0].content.clone() else {
            panic!("no bytes");
        };
        raw
    };
    assert_eq!(read(b"aGVsbG8="), &b"hello"[..]);
    assert_eq!(read(b"\x89PNG\r\n"), &b"\x89PNG\r\n"[..]);
    assert_eq!(read(b"plain text"), &b"plain text"[..]);
}
