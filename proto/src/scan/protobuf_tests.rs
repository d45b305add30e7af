//! What the protobuf scanner finds, and that decoding finds the same.

use proptest::prelude::*;
use prost::Message as _;

use super::{
    tests::{ids, send},
    *,
};
use crate::a2a;

#[test]
fn protobuf_requests_keep_their_ids_where_the_specification_says() {
    let t = "t".to_owned();
    let x = "x".to_owned();
    let body = a2a::ListTaskPushNotificationConfigsRequest {
        tenant: x.clone(),
        task_id: t.clone(),
        page_size: 3,
        ..Default::default()
    };
    let found = protobuf(
        Operation::ListTaskPushNotificationConfigs,
        &body.encode_to_vec(),
    )
    .map(|ids| format!("{ids:?}"));
    assert_eq!(found, Ok(format!("{:?}", ids("x", "t", "", ""))));
    let body = a2a::TaskPushNotificationConfig {
        tenant: x.clone(),
        id: "no".to_owned(),
        task_id: t.clone(),
        ..Default::default()
    }
    .encode_to_vec();
    assert_eq!(
        protobuf(Operation::CreateTaskPushNotificationConfig, &body),
        Ok(ids("x", "t", "", ""))
    );
    let body = a2a::GetTaskPushNotificationConfigRequest {
        tenant: x.clone(),
        task_id: t.clone(),
        id: "no".to_owned(),
    }
    .encode_to_vec();
    assert_eq!(
        protobuf(Operation::GetTaskPushNotificationConfig, &body),
        Ok(ids("x", "t", "", ""))
    );
    assert_eq!(
        protobuf(Operation::DeleteTaskPushNotificationConfig, &body),
        Ok(ids("x", "t", "", ""))
    );
    let body = a2a::GetTaskRequest {
        tenant: x.clone(),
        id: t,
        history_length: Some(2),
    }
    .encode_to_vec();
    for operation in [
        Operation::GetTask,
        Operation::CancelTask,
        Operation::SubscribeToTask,
    ] {
        assert_eq!(protobuf(operation, &body), Ok(ids("x", "t", "", "")));
    }
    assert_eq!(
        protobuf(Operation::GetExtendedAgentCard, &body),
        Ok(ids("x", "", "", ""))
    );
    let body = a2a::ListTasksRequest {
        tenant: x,
        context_id: "c".to_owned(),
        ..Default::default()
    }
    .encode_to_vec();
    assert_eq!(
        protobuf(Operation::ListTasks, &body),
        Ok(ids("x", "", "c", ""))
    );
    assert_eq!(protobuf(Operation::ListTasks, b""), Ok(Ids::default()));
}

#[test]
fn a_repeated_protobuf_message_is_merged_as_readers_merge_it() {
    let mut body = send("a", "m", "c", "").encode_to_vec();
    body.extend(send("b", "", "", "t").encode_to_vec());
    let merged = a2a::SendMessageRequest::decode(body.as_slice()).unwrap();
    let message = merged.message.unwrap();
    let expected = ids(
        "b",
        &message.task_id,
        &message.context_id,
        &message.message_id,
    );
    assert_eq!(protobuf(Operation::SendMessage, &body), Ok(expected));
}

#[test]
fn what_is_no_protobuf_is_refused_and_groups_are_stepped_over() {
    for broken in [
        &b"\xff"[..],
        b"\x12\x05ab",
        b"\x0a\x02\xff\xff",
        b"\x07",
        b"\x00\x01",
        b"\x08\x01",
        b"\x0b\x0a",
        b"\x0c",
        b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02",
    ] {
        let problem = protobuf(Operation::GetTask, broken).unwrap_err();
        assert_eq!(problem.fault, Fault::Parse, "{broken:?}");
    }
    let cut = b"\x12\x05ab";
    assert_eq!(
        protobuf_tenant(Operation::GetTask, cut, Some("x")),
        &cut[..]
    );
    let mut body = vec![
        0x7b, 0x08, 0x01, 0x7b, 0x7c, 0x7c, 0x85, 0x01, 1, 2, 3, 4, 0x81, 0x01, 1, 2, 3, 4, 5, 6,
        7, 8,
    ];
    body.extend(
        a2a::GetTaskRequest {
            id: "t".to_owned(),
            ..Default::default()
        }
        .encode_to_vec(),
    );
    assert_eq!(
        protobuf(Operation::GetTask, &body),
        Ok(ids("", "t", "", ""))
    );
    assert_eq!(
        protobuf(Operation::GetTask, &[0x7b; 5000])
            .unwrap_err()
            .fault,
        Fault::Parse
    );
}

proptest! {
    #[test]
    fn a_protobuf_request_is_scanned_as_it_is_decoded(tenant: String, message: String, context: String, task: String) {
        let body = send(&tenant, &message, &context, &task).encode_to_vec();
        let found = protobuf(Operation::SendStreamingMessage, &body).unwrap();
        prop_assert_eq!(found, ids(&tenant, &task, &context, &message));
    }

    #[test]
    fn a_new_tenant_changes_nothing_but_the_tenant(old: String, new: Option<String>, tail: Vec<u8>) {
        let mut request = send(&old, "m", "c", "t");
        request.metadata = Some(prost_types::Struct::default());
        let mut body = request.encode_to_vec();
        // An unknown field of a later version, and a second tenant.
        prost::encoding::encode_varint(99 << 3 | 2, &mut body);
        prost::encoding::encode_varint(tail.len() as u64, &mut body);
        body.extend_from_slice(&tail);
        body.extend_from_slice(b"\x0a\x01z");
        let changed = protobuf_tenant(Operation::SendMessage, &body, new.as_deref());
        request.tenant = new.unwrap_or_default();
        prop_assert_eq!(&a2a::SendMessageRequest::decode(changed.clone()).unwrap(), &request);
        let without = protobuf_tenant(Operation::SendMessage, &changed, None);
        prop_assert_eq!(protobuf_tenant(Operation::SendMessage, &body, None), without);
    }
}
