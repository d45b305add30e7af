//! The messages of the eleven operations, as far as the client must reach into them.

use bytes::Bytes;
use mesh_proto::{
    a2a::{
        AgentCard, CancelTaskRequest, DeleteTaskPushNotificationConfigRequest,
        GetExtendedAgentCardRequest, GetTaskPushNotificationConfigRequest, GetTaskRequest,
        ListTaskPushNotificationConfigsRequest, ListTaskPushNotificationConfigsResponse,
        ListTasksRequest, ListTasksResponse, SendMessageRequest, SendMessageResponse,
        StreamResponse, SubscribeToTaskRequest, Task, TaskPushNotificationConfig,
    },
    rest,
};
use serde::de::DeserializeOwned;

/// A request.
pub(crate) trait Ask: prost::Message + rest::Request {
    /// Its tenant; empty is "not set".
    fn tenant(&mut self) -> &mut String;
}

macro_rules! asks {
    ($($message:ty),+ $(,)?) => {
        $(impl Ask for $message {
            fn tenant(&mut self) -> &mut String {
                &mut self.tenant
            }
        })+
    };
}

asks!(
    CancelTaskRequest,
    DeleteTaskPushNotificationConfigRequest,
    GetExtendedAgentCardRequest,
    GetTaskPushNotificationConfigRequest,
    GetTaskRequest,
    ListTaskPushNotificationConfigsRequest,
    ListTasksRequest,
    SendMessageRequest,
    SubscribeToTaskRequest,
    TaskPushNotificationConfig,
);

/// An answer.
pub(crate) trait Answer: DeserializeOwned {
    /// Reads it from protobuf.
    fn decode(bytes: Bytes) -> Result<Self, prost::DecodeError>;
}

macro_rules! answers {
    ($($message:ty),+ $(,)?) => {
        $(impl Answer for $message {
            fn decode(bytes: Bytes) -> Result<Self, prost::DecodeError> {
                prost::Message::decode(bytes)
            }
        })+
    };
}

answers!(
    AgentCard,
    ListTaskPushNotificationConfigsResponse,
    ListTasksResponse,
    SendMessageResponse,
    StreamResponse,
    Task,
    TaskPushNotificationConfig,
);

/// The answer to a deletion. JSON has three forms of it in the wild: `null`, `{}` and no body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nothing;

impl<'de> serde::Deserialize<'de> for Nothing {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(from).map(|_| Self)
    }
}

impl Answer for Nothing {
    fn decode(bytes: Bytes) -> Result<Self, prost::DecodeError> {
        <() as prost::Message>::decode(bytes).map(|()| Self)
    }
}
