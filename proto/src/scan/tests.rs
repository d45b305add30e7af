//! What the scanners find, and that the typed readers find the same.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::a2a;

pub(super) fn ids<'a>(
    tenant: &'a str,
    task: &'a str,
    context: &'a str,
    message: &'a str,
) -> Ids<'a> {
    let set = |text: &'a str| (!text.is_empty()).then_some(Cow::Borrowed(text));
    Ids {
        tenant: set(tenant),
        task_id: set(task),
        context_id: set(context),
        message_id: set(message),
    }
}

fn call(method: &str, params: &Value) -> String {
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string()
}

#[track_caller]
fn finds(body: &str, expected: &Ids<'_>) {
    let envelope = json_rpc(body.as_bytes()).unwrap_or_else(|r| panic!("{body}: {}", r.problem));
    assert_eq!(envelope.ids, *expected, "{body}");
}

#[track_caller]
fn rejects(body: &str, fault: Fault, id: &str) {
    let rejected = json_rpc(body.as_bytes()).expect_err(body);
    assert_eq!(
        (rejected.problem.fault, rejected.id.as_str()),
        (fault, id),
        "{body}"
    );
}

#[test]
fn each_operation_keeps_its_ids_where_the_specification_says() {
    let message =
        json!({"message": {"messageId": "m", "contextId": "c", "taskId": "t"}, "tenant": "x"});
    let task = json!({"id": "t", "taskId": "no", "tenant": "x"});
    let config = json!({"id": "no", "taskId": "t", "tenant": "x"});
    for operation in Operation::ALL {
        let (params, expected) = match operation {
            Operation::SendMessage | Operation::SendStreamingMessage => {
                (&message, ids("x", "t", "c", "m"))
            }
            Operation::GetTask | Operation::CancelTask | Operation::SubscribeToTask => {
                (&task, ids("x", "t", "", ""))
            }
            Operation::CreateTaskPushNotificationConfig
            | Operation::GetTaskPushNotificationConfig
            | Operation::ListTaskPushNotificationConfigs
            | Operation::DeleteTaskPushNotificationConfig => (&config, ids("x", "t", "", "")),
            Operation::ListTasks => (
                &json!({"contextId": "c", "tenant": "x"}),
                ids("x", "", "c", ""),
            ),
            Operation::GetExtendedAgentCard => (&task, ids("x", "", "", "")),
        };
        let body = call(operation.name(), params);
        let envelope = json_rpc(body.as_bytes()).unwrap();
        assert_eq!(
            (envelope.operation, envelope.version),
            (operation, Version::V1_0)
        );
        assert_eq!(envelope.id, RawId::number(1));
        assert_eq!(envelope.ids, expected, "{body}");
        let body = params.to_string();
        assert_eq!(
            rest_body(operation, body.as_bytes()),
            Ok(expected),
            "{body}"
        );
    }
}

#[test]
fn the_names_of_0_3_are_understood() {
    for operation in Operation::ALL {
        let Some(method) = operation.method(Version::V0_3) else {
            continue;
        };
        let body = call(
            method,
            &json!({"id": "t", "taskId": "c", "message": {"messageId": "m"}}),
        );
        let envelope = json_rpc(body.as_bytes()).unwrap();
        assert_eq!(
            (envelope.operation, envelope.version),
            (operation, Version::V0_3)
        );
        let expected = match operation {
            Operation::SendMessage | Operation::SendStreamingMessage => ids("", "", "", "m"),
            Operation::CreateTaskPushNotificationConfig => ids("", "c", "", ""),
            Operation::GetExtendedAgentCard => ids("", "", "", ""),
            _ => ids("", "t", "", ""),
        };
        assert_eq!(envelope.ids, expected, "{body}");
    }
}

#[test]
fn names_may_be_escaped_snake_cased_repeated_or_late() {
    finds(
        r#"{"params":{"message":{"context\u0049d":"c\u00e9","task_id":"a","taskId":"t","message_id":"m"}},
            "method":"Send\u004dessage","jsonrpc":"2.0","id":"x","id":7}"#,
        &ids("", "t", "cé", "m"),
    );
    finds(
        r#"{"jsonrpc":"2.0","method":"SendMessage","params":{"message":{"contextId":"old","taskId":"old"}},
            "params":{"message":{"contextId":"a"},"message":{"contextId":"b"}}}"#,
        &ids("", "", "b", ""),
    );
    let late = format!(
        r#"{{"params":{{"message":{{"parts":[{{"raw":"{}"}}],"contextId":"c"}}}},"method":"SendMessage","jsonrpc":"2.0"}}"#,
        "A".repeat(3 << 20)
    );
    finds(&late, &ids("", "", "c", ""));
}

#[test]
fn null_and_the_empty_string_are_not_set() {
    finds(
        &call(
            "SendMessage",
            &json!({"tenant": "", "message": {"contextId": null, "taskId": ""}}),
        ),
        &Ids::default(),
    );
    finds(
        &call("SendMessage", &json!({"message": null})),
        &Ids::default(),
    );
    finds(&call("GetExtendedAgentCard", &Value::Null), &Ids::default());
    finds(r#"{"jsonrpc":"2.0","method":"ListTasks"}"#, &Ids::default());
    finds(
        r#"{"jsonrpc":"2.0","method":"GetTask","params":{"id":"t","id":null}}"#,
        &Ids::default(),
    );
}

#[test]
fn ids_that_only_look_like_ids_are_left_alone() {
    finds(
        &call(
            "SendMessage",
            &json!({
                "taskId": "no", "id": 7, "metadata": {"contextId": "no", "message": {"taskId": "no"}},
                "configuration": {"taskPushNotificationConfig": {"taskId": "no", "tenant": "no"}},
                "message": {"parts": [{"data": {"contextId": "no"}}], "metadata": {"taskId": "no"}},
            }),
        ),
        &Ids::default(),
    );
}

#[test]
fn an_id_comes_back_as_it_was_written() {
    for id in ["1", "1.0", "-7", "\"1\"", "\"a\\u0062\"", "null", "1e3"] {
        let body = format!(r#"{{"id": {id} ,"jsonrpc":"2.0","method":"GetTask"}}"#);
        assert_eq!(json_rpc(body.as_bytes()).unwrap().id.as_str(), id);
    }
    let long = format!("\"{}\"", "x".repeat(500));
    let body = format!(r#"{{"id":{long},"jsonrpc":"2.0","method":"GetTask"}}"#);
    assert_eq!(json_rpc(body.as_bytes()).unwrap().id.as_str(), long);
}

#[test]
fn every_kind_of_wrong_request_has_its_own_fault() {
    for broken in [
        "",
        "{",
        "nope",
        "{\"jsonrpc\":\"2.0\",}",
        "[{}",
        "{}x",
        "{\"a\":\"\u{1}\"}",
    ] {
        rejects(broken, Fault::Parse, "null");
    }
    rejects(
        &format!("{}{}", "[".repeat(9999), "]".repeat(9999)),
        Fault::Parse,
        "null",
    );
    for batch in [
        "[]",
        "[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"GetTask\"}]",
        "7",
        "\"x\"",
        "null",
    ] {
        rejects(batch, Fault::InvalidRequest, "null");
    }
    rejects("{}", Fault::InvalidRequest, "null");
    rejects(r#"{"id":1,"method":"GetTask"}"#, Fault::InvalidRequest, "1");
    rejects(
        r#"{"jsonrpc":"1.0","id":1,"method":"GetTask"}"#,
        Fault::InvalidRequest,
        "1",
    );
    rejects(
        r#"{"jsonrpc":2.0,"id":1,"method":"GetTask"}"#,
        Fault::InvalidRequest,
        "1",
    );
    rejects(r#"{"jsonrpc":"2.0","id":1}"#, Fault::InvalidRequest, "1");
    rejects(
        r#"{"jsonrpc":"2.0","id":1,"method":7}"#,
        Fault::InvalidRequest,
        "1",
    );
    for id in ["{}", "[1]", "true"] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"GetTask"}}"#);
        rejects(&body, Fault::InvalidRequest, "null");
    }
    for unknown in ["getTask", "message/nope", "tasks/list", "GetTask ", ""] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":"q","method":"{unknown}"}}"#);
        let fault = if unknown.is_empty() {
            Fault::InvalidRequest
        } else {
            Fault::MethodNotFound
        };
        rejects(&body, fault, "\"q\"");
    }
    for params in ["[]", "[1]", "\"x\"", "7", "true"] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"GetTask","params":{params}}}"#);
        rejects(&body, Fault::InvalidParams, "1");
    }
    for params in [
        json!({"message": []}),
        json!({"message": "x"}),
        json!({"tenant": 1}),
        json!({"message": {"taskId": 7}}),
        json!({"message": {"contextId": {}}}),
        json!({"message": {"messageId": ["m"]}}),
    ] {
        rejects(&call("SendMessage", &params), Fault::InvalidParams, "1");
    }
    rejects(
        &call("GetTask", &json!({"id": 7})),
        Fault::InvalidParams,
        "1",
    );
    rejects(
        &call("ListTasks", &json!({"contextId": false})),
        Fault::InvalidParams,
        "1",
    );
}

#[test]
fn a_rest_body_may_be_empty_but_not_broken() {
    assert_eq!(
        rest_body(Operation::SubscribeToTask, b""),
        Ok(Ids::default())
    );
    assert_eq!(
        rest_body(Operation::CancelTask, b" \r\n"),
        Ok(Ids::default())
    );
    for (body, fault) in [
        (&b"{"[..], Fault::Parse),
        (b"{} {}", Fault::Parse),
        (b"[]", Fault::InvalidParams),
        (b"7", Fault::InvalidParams),
        (b"{\"message\":7}", Fault::InvalidParams),
    ] {
        assert_eq!(
            rest_body(Operation::SendMessage, body).unwrap_err().fault,
            fault
        );
    }
}

pub(super) fn send(
    tenant: &str,
    message_id: &str,
    context_id: &str,
    task_id: &str,
) -> a2a::SendMessageRequest {
    a2a::SendMessageRequest {
        tenant: tenant.to_owned(),
        message: Some(a2a::Message {
            message_id: message_id.to_owned(),
            context_id: context_id.to_owned(),
            task_id: task_id.to_owned(),
            parts: vec![a2a::Part {
                content: Some(a2a::part::Content::Text("x".to_owned())),
                ..Default::default()
            }],
            ..Default::default()
        }),
        ..Default::default()
    }
}

proptest! {
    #[test]
    fn a_json_request_is_scanned_as_it_is_decoded(tenant: String, message: String, context: String, task: String, text: String) {
        let mut request = send(&tenant, &message, &context, &task);
        request.message.as_mut().unwrap().extensions.push(text);
        let body = crate::jsonrpc::request(&RawId::string("q"), Operation::SendMessage, &request).unwrap();
        let envelope = json_rpc(&body).unwrap();
        prop_assert_eq!(&envelope.id, &RawId::string("q"));
        prop_assert_eq!(envelope.ids, ids(&tenant, &task, &context, &message));
        prop_assert_eq!(crate::jsonrpc::params::<a2a::SendMessageRequest>(&body).unwrap(), request);
    }

    #[test]
    fn no_bytes_make_a_scanner_panic(body: Vec<u8>) {
        for operation in Operation::ALL {
            drop(protobuf(operation, &body));
            drop(protobuf_in(Version::V0_3, operation, &body));
            drop(rest_body_in(Version::V0_3, operation, &body));
            drop(rest_body(operation, &body));
            drop(protobuf_tenant(operation, &body, Some("t")));
        }
        drop(json_rpc(&body));
    }
}
