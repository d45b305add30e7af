//! ProtoJSON: what we take and what we write.

use bytes::Bytes;
use mesh_proto::{
    Fault, a2a,
    a2a::{part::Content, send_message_response},
    json,
};
use serde_json::{Value, json};

fn read<T: serde::de::DeserializeOwned>(value: &Value) -> Result<T, Fault> {
    json::from_slice(value.to_string().as_bytes()).map_err(|problem| problem.fault)
}

fn write<T: serde::Serialize>(value: &T) -> Value {
    serde_json::from_slice(&json::to_bytes(value)).expect("what we write is JSON")
}

#[test]
fn a_message_is_read_under_both_names_and_unknown_fields_are_skipped() {
    let camel: a2a::Message = read(&json!({
        "messageId": "m", "contextId": "c", "taskId": "t", "role": "ROLE_USER",
        "parts": [{"text": "hi", "mediaType": "text/plain", "kind": "text"}],
        "referenceTaskIds": ["r"], "futureField": {"deep": [1, 2, {"x": null}]},
    }))
    .unwrap();
    let snake: a2a::Message = read(&json!({
        "message_id": "m", "context_id": "c", "task_id": "t", "role": 1,
        "parts": [{"text": "hi", "media_type": "text/plain"}], "reference_task_ids": ["r"],
    }))
    .unwrap();
    assert_eq!(camel, snake);
    assert_eq!(camel.task_id, "t");
    assert_eq!(camel.parts[0].content, Some(Content::Text("hi".into())));
}

#[test]
fn null_is_not_set_for_every_kind_of_field() {
    let message: a2a::Message = read(&json!({
        "messageId": null, "role": null, "parts": null, "metadata": null, "extensions": null,
    }))
    .unwrap();
    assert_eq!(message, a2a::Message::default());
    let card: a2a::AgentCard = read(&json!({
        "securitySchemes": null, "documentationUrl": null, "capabilities": null, "skills": null,
    }))
    .unwrap();
    assert_eq!(card, a2a::AgentCard::default());
    let answer: a2a::SendMessageResponse = read(&json!({"task": null, "message": {}})).unwrap();
    assert_eq!(
        answer.payload,
        Some(send_message_response::Payload::Message(
            a2a::Message::default()
        ))
    );
    let part: a2a::Part = read(&json!({"text": null, "raw": null, "url": null})).unwrap();
    assert_eq!(part.content, None);
}

#[test]
fn null_is_data_only_where_nothing_else_is() {
    let alone: a2a::Part = read(&json!({"data": null})).unwrap();
    assert!(matches!(alone.content, Some(Content::Data(_))), "{alone:?}");
    assert_eq!(write(&alone), json!({"data": null}));
    for beside in [r#"{"data":null,"text":"x"}"#, r#"{"text":"x","data":null}"#] {
        let part: a2a::Part = json::from_slice(beside.as_bytes()).unwrap();
        assert_eq!(part.content, Some(Content::Text("x".into())), "{beside}");
    }
}

#[test]
fn two_members_of_a_oneof_contradict_each_other() {
    for wrong in [
        r#"{"text":"a","url":"b"}"#,
        r#"{"text":"a","text":"b"}"#,
        r#"{"data":1,"raw":"AA=="}"#,
    ] {
        let problem = json::from_slice::<a2a::Part>(wrong.as_bytes()).unwrap_err();
        assert_eq!(problem.fault, Fault::InvalidParams, "{wrong}");
        assert!(problem.message.contains("content"), "{problem}");
    }
}

#[test]
fn of_a_field_given_twice_the_last_counts() {
    let message: a2a::Message =
        json::from_slice(br#"{"taskId":"a","task_id":"b","contextId":"c","contextId":null}"#)
            .unwrap();
    assert_eq!(
        (message.task_id.as_str(), message.context_id.as_str()),
        ("b", "")
    );
}

#[test]
fn an_enum_is_a_name_or_a_number_and_an_unknown_number_is_kept() {
    let status: a2a::TaskStatus = read(&json!({"state": "TASK_STATE_WORKING"})).unwrap();
    assert_eq!(status.state(), a2a::TaskState::Working);
    let status: a2a::TaskStatus = read(&json!({"state": 99})).unwrap();
    assert_eq!(status.state, 99);
    assert_eq!(write(&status), json!({"state": 99}));
    assert_eq!(
        read::<a2a::TaskStatus>(&json!({"state": "working"})),
        Err(Fault::InvalidParams)
    );
    assert_eq!(
        read::<a2a::TaskStatus>(&json!({"state": 1.5})),
        Err(Fault::InvalidParams)
    );
}

#[test]
fn bytes_are_standard_base64_out_and_any_base64_in() {
    let bytes = Bytes::from_static(&[0xfb, 0xff, 0xbf, 0x01]);
    for text in ["+/+/AQ==", "+/+/AQ", "-_-_AQ==", "-_-_AQ"] {
        let part: a2a::Part = read(&json!({"raw": text})).unwrap();
        assert_eq!(part.content, Some(Content::Raw(bytes.clone())), "{text}");
        assert_eq!(write(&part), json!({"raw": "+/+/AQ=="}));
    }
    assert_eq!(
        read::<a2a::Part>(&json!({"raw": "***"})),
        Err(Fault::InvalidParams)
    );
}

#[test]
fn required_fields_are_written_even_when_empty() {
    assert_eq!(
        write(&a2a::ListTasksResponse::default()),
        json!({"tasks": [], "nextPageToken": "", "pageSize": 0, "totalSize": 0})
    );
    assert_eq!(
        write(&a2a::Message::default()),
        json!({"messageId": "", "role": "ROLE_UNSPECIFIED", "parts": []})
    );
    assert_eq!(write(&a2a::Task::default()), json!({"id": ""}));
    assert_eq!(write(&a2a::AgentCapabilities::default()), json!({}));
    assert_eq!(
        write(&a2a::AgentCapabilities {
            streaming: Some(false),
            ..Default::default()
        }),
        json!({"streaming": false})
    );
}

#[test]
fn a_missing_required_field_is_named_by_its_path() {
    let request: a2a::SendMessageRequest = read(&json!({
        "message": {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "x"}]},
    }))
    .unwrap();
    assert_eq!(json::check_required(&request), Ok(()));
    for (body, path) in [
        (json!({}), "message"),
        (
            json!({"message": {"role": 1, "parts": [{}]}}),
            "message.messageId",
        ),
        (
            json!({"message": {"messageId": "m", "parts": [{}]}}),
            "message.role",
        ),
        (
            json!({"message": {"messageId": "m", "role": 1}}),
            "message.parts",
        ),
        (
            json!({"message": {"messageId": "m", "role": 1, "parts": [{}]},
                "configuration": {"taskPushNotificationConfig": {}}}),
            "configuration.taskPushNotificationConfig.url",
        ),
    ] {
        let request: a2a::SendMessageRequest = read(&body).unwrap();
        let problem = json::check_required(&request).unwrap_err();
        assert_eq!(problem.message, format!("{path} is required"), "{body}");
    }
}

#[test]
fn metadata_is_natural_json_and_whole_numbers_stay_whole() {
    let metadata =
        json!({"a": [1, 2.5, true, null, {"b": "c"}], "big": 9007199254740991i64, "n": -3});
    let message: a2a::Message = read(&json!({"metadata": metadata})).unwrap();
    assert_eq!(write(&message)["metadata"], metadata);
    assert!(json::to_bytes(&message).starts_with(br#"{"messageId":"","#));
    assert_eq!(
        json::object(&metadata).map(|object| json::of_object(&object)),
        Some(metadata)
    );
    assert_eq!(
        json::value(&json!(null)).map(|value| json::of_value(&value)),
        Some(json!(null))
    );
}

#[test]
fn broken_json_and_wrong_types_are_different_faults() {
    for broken in ["", "{", "{\"a\":}", "{} x", "{\"taskId\":\"\u{1}\"}", "nul"] {
        let fault = json::from_slice::<a2a::Message>(broken.as_bytes())
            .unwrap_err()
            .fault;
        assert_eq!(fault, Fault::Parse, "{broken}");
    }
    let deep = format!(
        "{{\"metadata\":{{\"a\":{}{}}}}}",
        "[".repeat(500),
        "]".repeat(500)
    );
    assert_eq!(
        json::from_slice::<a2a::Message>(deep.as_bytes())
            .unwrap_err()
            .fault,
        Fault::Parse
    );
    for wrong in [
        json!([]),
        json!("x"),
        json!({"taskId": 7}),
        json!({"parts": {}}),
        json!({"parts": [null]}),
        json!({"metadata": []}),
        json!({"extensions": [1]}),
    ] {
        assert_eq!(
            read::<a2a::Message>(&wrong),
            Err(Fault::InvalidParams),
            "{wrong}"
        );
    }
}

#[test]
fn a_value_that_json_cannot_hold_is_a_fault_of_the_agent() {
    let status = a2a::TaskStatus {
        timestamp: Some(prost_types::Timestamp {
            seconds: i64::MAX,
            nanos: 0,
        }),
        ..Default::default()
    };
    let problem = json::try_to_bytes(&status).unwrap_err();
    assert_eq!(problem.fault, Fault::InvalidAgentResponse);
}
