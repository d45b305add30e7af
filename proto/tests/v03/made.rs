//! Random messages of 1.0, of all that every binding of 0.3 can carry.

use bytes::Bytes;
use mesh_proto::{
    a2a::{self, part::Content, send_message_response as sent, stream_response as event},
    pivot::{Event, Request, Response},
};
use proptest::{collection::vec, option, prelude::*};
use prost_types::{ListValue, Struct, Timestamp, Value, value::Kind};

fn id() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9_.:-]{1,12}x"
}

fn word() -> impl Strategy<Value = String> {
    "\\PC{0,8}"
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Kind::NullValue(0)),
        any::<bool>().prop_map(Kind::BoolValue),
        (-1e15..1e15).prop_map(Kind::NumberValue),
        any::<i32>().prop_map(|number| Kind::NumberValue(f64::from(number))),
        word().prop_map(Kind::StringValue),
    ];
    let leaf = leaf.prop_map(|kind| Value { kind: Some(kind) });
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(|values| Kind::ListValue(ListValue { values })),
            vec((word(), inner), 0..3).prop_map(|fields| Kind::StructValue(Struct {
                fields: fields.into_iter().collect(),
            })),
        ]
        .prop_map(|kind| Value { kind: Some(kind) })
    })
}

pub(super) fn metadata() -> impl Strategy<Value = Option<Struct>> {
    let fields = vec(("m\\PC{0,6}", value()), 1..3);
    option::of(fields.prop_map(|fields| Struct {
        fields: fields.into_iter().collect(),
    }))
}

fn part() -> impl Strategy<Value = a2a::Part> {
    let file = prop_oneof![
        vec(any::<u8>(), 0..12).prop_map(|bytes| Content::Raw(Bytes::from(bytes))),
        word().prop_map(Content::Url),
    ];
    let file = (file, word(), word()).prop_map(|(content, filename, media_type)| a2a::Part {
        content: Some(content),
        filename,
        media_type,
        metadata: None,
    });
    let plain = prop_oneof![
        word().prop_map(Content::Text),
        value().prop_map(Content::Data),
    ];
    let plain = plain.prop_map(|content| a2a::Part {
        content: Some(content),
        ..Default::default()
    });
    (prop_oneof![file, plain], metadata())
        .prop_map(|(part, metadata)| a2a::Part { metadata, ..part })
}

pub(super) fn message() -> impl Strategy<Value = a2a::Message> {
    let ids = (id(), option::of(id()), option::of(id()), 1..3);
    let rest = (vec(part(), 0..3), metadata(), vec(word(), 0..2));
    (ids, rest).prop_map(
        |((message_id, context_id, task_id, role), (parts, metadata, extensions))| a2a::Message {
            message_id,
            context_id: context_id.unwrap_or_default(),
            task_id: task_id.unwrap_or_default(),
            role,
            parts,
            metadata,
            extensions,
            reference_task_ids: Vec::new(),
        },
    )
}

fn status() -> impl Strategy<Value = a2a::TaskStatus> {
    let time = (0i64..4_000_000_000, 0..1_000_000_000);
    let time = time.prop_map(|(seconds, nanos)| Timestamp { seconds, nanos });
    (0..9, option::of(message()), option::of(time)).prop_map(|(state, message, timestamp)| {
        a2a::TaskStatus {
            state,
            message,
            timestamp,
        }
    })
}

fn artifact() -> impl Strategy<Value = a2a::Artifact> {
    (
        id(),
        word(),
        word(),
        vec(part(), 0..3),
        metadata(),
        vec(word(), 0..2),
    )
        .prop_map(
            |(artifact_id, name, description, parts, metadata, extensions)| a2a::Artifact {
                artifact_id,
                name,
                description,
                parts,
                metadata,
                extensions,
            },
        )
}

fn task() -> impl Strategy<Value = a2a::Task> {
    let inside = (
        status(),
        vec(artifact(), 0..2),
        vec(message(), 0..2),
        metadata(),
    );
    (id(), word(), inside).prop_map(|(id, context_id, (status, artifacts, history, metadata))| {
        a2a::Task {
            id,
            context_id,
            status: Some(status),
            artifacts,
            history,
            metadata,
        }
    })
}

fn config() -> impl Strategy<Value = a2a::TaskPushNotificationConfig> {
    let authentication = (id(), word()).prop_map(|(scheme, credentials)| a2a::AuthenticationInfo {
        scheme,
        credentials,
    });
    (id(), id(), word(), option::of(authentication)).prop_map(|(id, url, token, authentication)| {
        a2a::TaskPushNotificationConfig {
            id,
            url,
            token,
            authentication,
            ..Default::default()
        }
    })
}

fn task_config() -> impl Strategy<Value = a2a::TaskPushNotificationConfig> {
    (id(), config())
        .prop_map(|(task_id, config)| a2a::TaskPushNotificationConfig { task_id, ..config })
}

fn send() -> impl Strategy<Value = a2a::SendMessageRequest> {
    let configuration = (
        vec(word(), 0..3),
        option::of(config()),
        option::of(1..100),
        any::<bool>(),
    );
    let configuration = configuration.prop_map(
        |(accepted_output_modes, task_push_notification_config, history_length, flag)| {
            a2a::SendMessageConfiguration {
                accepted_output_modes,
                task_push_notification_config,
                history_length,
                return_immediately: flag,
            }
        },
    );
    (message(), configuration, metadata()).prop_map(|(message, configuration, metadata)| {
        a2a::SendMessageRequest {
            tenant: String::new(),
            message: Some(message),
            configuration: Some(configuration),
            metadata,
        }
    })
}

pub(super) fn request() -> impl Strategy<Value = Request> {
    let of_config = || (id(), id());
    prop_oneof![
        send().prop_map(Request::SendMessage),
        send().prop_map(Request::SendStreamingMessage),
        (id(), option::of(1..100)).prop_map(|(id, history_length)| {
            Request::GetTask(a2a::GetTaskRequest {
                tenant: String::new(),
                id,
                history_length,
            })
        }),
        id().prop_map(|id| Request::CancelTask(a2a::CancelTaskRequest {
            id,
            ..Default::default()
        })),
        id().prop_map(|id| Request::SubscribeToTask(a2a::SubscribeToTaskRequest {
            id,
            ..Default::default()
        })),
        task_config().prop_map(Request::CreateTaskPushNotificationConfig),
        of_config().prop_map(|(task_id, id)| Request::GetTaskPushNotificationConfig(
            a2a::GetTaskPushNotificationConfigRequest {
                tenant: String::new(),
                task_id,
                id,
            }
        )),
        id().prop_map(|task_id| Request::ListTaskPushNotificationConfigs(
            a2a::ListTaskPushNotificationConfigsRequest {
                task_id,
                ..Default::default()
            }
        )),
        of_config().prop_map(|(task_id, id)| Request::DeleteTaskPushNotificationConfig(
            a2a::DeleteTaskPushNotificationConfigRequest {
                tenant: String::new(),
                task_id,
                id,
            }
        )),
        Just(Request::GetExtendedAgentCard(
            a2a::GetExtendedAgentCardRequest::default()
        )),
    ]
}

/// What a call answers, with the operation.
pub(super) fn response() -> impl Strategy<Value = (mesh_proto::Operation, Response)> {
    use mesh_proto::Operation as O;
    let payload = prop_oneof![
        task().prop_map(sent::Payload::Task),
        message().prop_map(sent::Payload::Message),
    ];
    let sent = payload.prop_map(|payload| {
        Response::Sent(a2a::SendMessageResponse {
            payload: Some(payload),
        })
    });
    let configs = vec(task_config(), 0..3).prop_map(|configs| {
        Response::Configs(a2a::ListTaskPushNotificationConfigsResponse {
            configs,
            ..Default::default()
        })
    });
    prop_oneof![
        sent.prop_map(|sent| (O::SendMessage, sent)),
        task().prop_map(|task| (O::GetTask, Response::Task(task))),
        task_config()
            .prop_map(|config| { (O::GetTaskPushNotificationConfig, Response::Config(config)) }),
        configs.prop_map(|configs| (O::ListTaskPushNotificationConfigs, configs)),
        Just((O::DeleteTaskPushNotificationConfig, Response::Deleted)),
    ]
}

pub(super) fn event() -> impl Strategy<Value = Event> {
    let update = (id(), id(), status(), metadata());
    let update = update.prop_map(|(task_id, context_id, status, metadata)| {
        event::Payload::StatusUpdate(a2a::TaskStatusUpdateEvent {
            task_id,
            context_id,
            status: Some(status),
            metadata,
        })
    });
    let piece = (id(), id(), artifact(), any::<(bool, bool)>(), metadata());
    let piece = piece.prop_map(
        |(task_id, context_id, artifact, (append, last_chunk), metadata)| {
            event::Payload::ArtifactUpdate(a2a::TaskArtifactUpdateEvent {
                task_id,
                context_id,
                artifact: Some(artifact),
                append,
                last_chunk,
                metadata,
            })
        },
    );
    let payload = prop_oneof![
        task().prop_map(event::Payload::Task),
        message().prop_map(event::Payload::Message),
        update,
        piece,
    ];
    payload.prop_map(|payload| Event {
        payload: Some(payload),
    })
}
