//! The scanner and the rewriter of protobuf against prost.
//!
//! # Invariants
//! - Whatever prost decodes, ours reads alike. Ours may read more: it looks at ids only.

use bytes::Bytes;
use mesh_proto::{
    Binding, Dialect, Operation, Version, a2a,
    rewrite::{self, Direction},
    scan::{self, Ids},
};
use prost::Message;

use crate::{
    ids::{Keep, Mark, Unmark},
    input::Input,
};

const GRPC: Dialect = Dialect::new(Binding::Grpc, Version::V1_0);

/// The ids that prost finds; `None` where it finds no message.
fn decoded(operation: Operation, body: &[u8]) -> Option<Ids<'static>> {
    let own = |id: String| (!id.is_empty()).then(|| id.into());
    let by_id = |tenant: String, task: String| Ids {
        tenant: own(tenant),
        task_id: own(task),
        ..Ids::default()
    };
    Some(match operation {
        Operation::SendMessage | Operation::SendStreamingMessage => {
            let request = a2a::SendMessageRequest::decode(body).ok()?;
            let message = request.message.unwrap_or_default();
            Ids {
                tenant: own(request.tenant),
                task_id: own(message.task_id),
                context_id: own(message.context_id),
                message_id: own(message.message_id),
            }
        }
        Operation::GetTask => {
            let request = a2a::GetTaskRequest::decode(body).ok()?;
            by_id(request.tenant, request.id)
        }
        Operation::CancelTask => {
            let request = a2a::CancelTaskRequest::decode(body).ok()?;
            by_id(request.tenant, request.id)
        }
        Operation::SubscribeToTask => {
            let request = a2a::SubscribeToTaskRequest::decode(body).ok()?;
            by_id(request.tenant, request.id)
        }
        Operation::ListTasks => {
            let request = a2a::ListTasksRequest::decode(body).ok()?;
            Ids {
                context_id: own(request.context_id),
                ..by_id(request.tenant, String::new())
            }
        }
        Operation::CreateTaskPushNotificationConfig => {
            let request = a2a::TaskPushNotificationConfig::decode(body).ok()?;
            by_id(request.tenant, request.task_id)
        }
        Operation::GetTaskPushNotificationConfig => {
            let request = a2a::GetTaskPushNotificationConfigRequest::decode(body).ok()?;
            by_id(request.tenant, request.task_id)
        }
        Operation::ListTaskPushNotificationConfigs => {
            let request = a2a::ListTaskPushNotificationConfigsRequest::decode(body).ok()?;
            by_id(request.tenant, request.task_id)
        }
        Operation::DeleteTaskPushNotificationConfig => {
            let request = a2a::DeleteTaskPushNotificationConfigRequest::decode(body).ok()?;
            by_id(request.tenant, request.task_id)
        }
        Operation::GetExtendedAgentCard => {
            let request = a2a::GetExtendedAgentCardRequest::decode(body).ok()?;
            by_id(request.tenant, String::new())
        }
    })
}

/// The scanner finds what prost finds, and replaces a tenant so that prost finds the new one.
pub(crate) fn scan(data: &[u8]) {
    let mut input = Input::new(data);
    let operation = input.operation();
    let body = input.rest();
    let found = scan::protobuf(operation, body);
    let Some(expected) = decoded(operation, body) else {
        return;
    };
    assert_eq!(found, Ok(expected.clone()));
    for tenant in [None, Some("another")] {
        let moved = scan::protobuf_tenant(operation, body, tenant);
        let ids = Ids {
            tenant: tenant.map(Into::into),
            ..expected.clone()
        };
        assert_eq!(decoded(operation, &moved), Some(ids));
    }
}

/// What need not change does not, and what was changed can be changed back: to the same bytes, once
/// lengths are written in the one way in which we write them.
pub(crate) fn rewrite(data: &[u8]) {
    let mut input = Input::new(data);
    let (operation, direction) = (input.operation(), input.direction());
    let body = Bytes::copy_from_slice(input.rest());
    let Ok(kept) = rewrite::rewrite(GRPC, operation, direction, body.clone(), &mut Keep) else {
        let reads = direction == Direction::Request && decoded(operation, &body).is_some();
        assert!(!reads, "prost takes this for a request");
        return;
    };
    assert!(kept.is_unchanged());
    assert_eq!(kept.into_bytes(), body);
    let changed = |body: Bytes| {
        let there = rewrite::rewrite(GRPC, operation, direction, body, &mut Mark);
        let there = there
            .expect("what was taken once is taken again")
            .into_bytes();
        let back = rewrite::rewrite(GRPC, operation, direction, there, &mut Unmark);
        back.expect("what was written is taken").into_bytes()
    };
    let back = changed(body.clone());
    if direction == Direction::Request && decoded(operation, &body).is_some() {
        assert_eq!(decoded(operation, &back), decoded(operation, &body));
    }
    assert_eq!(changed(back.clone()), back);
}
