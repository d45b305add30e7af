//! Where ids stand: the messages that can hold one, by the names and the numbers of their fields.
//!
//! It owns the paths for both encodings, so that an operation reads alike in JSON and in protobuf; it
//! never looks at bytes.
//!
//! # Invariants
//! - A field that is not listed is [`Step::Skip`]: what is inside metadata, parts, artifacts or a field
//!   of a later version is content, whatever its name.
//! - The paths have an end: no message here holds itself, so that a walk nests eight deep at most.

use crate::{dialect::Version, operation::Operation, rewrite::Direction};

/// What to do with a field's value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Step {
    /// Content.
    Skip,
    /// A task's id.
    Task,
    /// A conversation's id.
    Context,
    /// A list of tasks' ids.
    Tasks,
    /// The address of a webhook.
    Webhook,
    /// A resource name of `a2a.v1`: `tasks/{id}` and perhaps more.
    Name,
    /// A message with ids in it.
    Into(Node),
    /// A list of such messages.
    Each(Node),
}

/// A message that can hold ids.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Node {
    SendRequest,
    /// The same in `a2a.v1`, where the message has two names, and another number.
    NamedSend,
    SendConfiguration,
    /// The same in `a2a.v1`.
    NamedConfiguration,
    /// Get, Cancel and Subscribe; in 0.3 also those of push configurations.
    TaskRequest,
    ListRequest,
    /// Get and Delete of push configurations.
    ConfigRequest,
    ConfigListRequest,
    Config,
    /// What 0.3 keeps apart from the task's id: where notifications go.
    Push,
    /// In `a2a.v1`: a request that names a task or a push configuration.
    NamedRequest,
    /// In `a2a.v1`: a push configuration to be made, in all the forms in which SDKs ask for it.
    NamedNew,
    /// In `a2a.v1`: a push configuration.
    NamedConfig,
    NamedConfigList,
    ConfigListReply,
    /// A oneof: the answer to a send, and each event of a stream.
    Payload,
    /// The same in JSON-RPC of 0.3, where the object is not wrapped. Of the four kinds no two use a name
    /// differently, so that `kind`, which may come last, need not be known.
    Bare,
    /// The same in `a2a.v1`, where it is wrapped; the Go SDK does not wrap it over HTTP+JSON, and no name
    /// of the one is a name of the other.
    NamedPayload,
    Task,
    Message,
    Status,
    StatusUpdate,
    ArtifactUpdate,
    ListReply,
}

/// How JSON-RPC differs from HTTP+JSON and gRPC where 0.3 is spoken: these two have the messages of
/// `a2a.v1`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Style {
    Rpc(Version),
    Rest(Version),
}

/// Where a body of JSON begins: the params or result of JSON-RPC, the body of HTTP+JSON.
pub(super) const fn root(style: Style, operation: Operation, direction: Direction) -> Step {
    let named = matches!(style, Style::Rest(Version::V0_3));
    let bare = matches!(style, Style::Rpc(Version::V0_3));
    let node = match (operation, direction) {
        (Operation::SendMessage | Operation::SendStreamingMessage, Direction::Request) => {
            if named {
                Node::NamedSend
            } else {
                Node::SendRequest
            }
        }
        (
            Operation::SendMessage | Operation::SendStreamingMessage | Operation::SubscribeToTask,
            Direction::Reply | Direction::Event,
        ) => {
            if bare {
                Node::Bare
            } else if named {
                Node::NamedPayload
            } else {
                Node::Payload
            }
        }
        (
            Operation::GetTask
            | Operation::CancelTask
            | Operation::SubscribeToTask
            | Operation::GetTaskPushNotificationConfig
            | Operation::DeleteTaskPushNotificationConfig
            | Operation::ListTaskPushNotificationConfigs,
            Direction::Request,
        ) if named => Node::NamedRequest,
        (
            Operation::GetTask | Operation::CancelTask | Operation::SubscribeToTask,
            Direction::Request,
        ) => Node::TaskRequest,
        (Operation::GetTask | Operation::CancelTask, _) => Node::Task,
        (Operation::ListTasks, Direction::Request) => Node::ListRequest,
        (Operation::ListTasks, _) => Node::ListReply,
        (Operation::CreateTaskPushNotificationConfig, Direction::Request) if named => {
            Node::NamedNew
        }
        (Operation::CreateTaskPushNotificationConfig, _)
        | (Operation::GetTaskPushNotificationConfig, Direction::Reply | Direction::Event) => {
            if named {
                Node::NamedConfig
            } else {
                Node::Config
            }
        }
        (
            Operation::GetTaskPushNotificationConfig
            | Operation::DeleteTaskPushNotificationConfig
            | Operation::ListTaskPushNotificationConfigs,
            Direction::Request,
        ) if bare => Node::TaskRequest,
        (
            Operation::GetTaskPushNotificationConfig | Operation::DeleteTaskPushNotificationConfig,
            Direction::Request,
        ) => Node::ConfigRequest,
        (Operation::ListTaskPushNotificationConfigs, Direction::Request) => Node::ConfigListRequest,
        (Operation::ListTaskPushNotificationConfigs, _) => {
            if bare {
                return Step::Each(Node::Config);
            }
            if named {
                Node::NamedConfigList
            } else {
                Node::ConfigListReply
            }
        }
        (Operation::DeleteTaskPushNotificationConfig | Operation::GetExtendedAgentCard, _) => {
            return Step::Skip;
        }
    };
    Step::Into(node)
}

impl Node {
    /// What stands under a name, in the spelling of JSON or of the proto file.
    pub(super) fn by_name(self, name: &str) -> Step {
        match (self, name) {
            (Self::Task | Self::TaskRequest | Self::Bare | Self::NamedPayload, "id")
            | (
                Self::Message
                | Self::StatusUpdate
                | Self::ArtifactUpdate
                | Self::Bare
                | Self::NamedPayload
                | Self::Config
                | Self::NamedNew
                | Self::NamedConfig
                | Self::ConfigRequest
                | Self::ConfigListRequest,
                "taskId" | "task_id",
            ) => Step::Task,
            (
                Self::Task
                | Self::Message
                | Self::StatusUpdate
                | Self::ArtifactUpdate
                | Self::Bare
                | Self::NamedPayload
                | Self::ListRequest,
                "contextId" | "context_id",
            ) => Step::Context,
            (
                Self::Message | Self::Bare | Self::NamedPayload,
                "referenceTaskIds" | "reference_task_ids",
            ) => Step::Tasks,
            (Self::Config | Self::Push | Self::NamedNew, "url") => Step::Webhook,
            (
                Self::Config
                | Self::NamedNew
                | Self::NamedConfig
                | Self::SendConfiguration
                | Self::NamedConfiguration,
                "pushNotificationConfig" | "push_notification_config",
            )
            | (Self::NamedConfiguration, "pushNotification" | "push_notification") => {
                Step::Into(Self::Push)
            }
            (Self::NamedRequest | Self::NamedNew, "name" | "parent")
            | (Self::NamedConfig, "name") => Step::Name,
            (Self::NamedNew, "config") => Step::Into(Self::NamedConfig),
            (Self::NamedConfigList, "configs") => Step::Each(Self::NamedConfig),
            (Self::SendRequest | Self::Payload | Self::Status, "message")
            | (Self::NamedSend, "message" | "request")
            | (Self::NamedPayload, "message" | "msg") => Step::Into(Self::Message),
            (Self::SendRequest, "configuration") => Step::Into(Self::SendConfiguration),
            (Self::NamedSend, "configuration") => Step::Into(Self::NamedConfiguration),
            (
                Self::SendConfiguration,
                "taskPushNotificationConfig" | "task_push_notification_config",
            ) => Step::Into(Self::Config),
            (Self::Payload | Self::NamedPayload, "task") => Step::Into(Self::Task),
            (Self::Payload | Self::NamedPayload, "statusUpdate" | "status_update") => {
                Step::Into(Self::StatusUpdate)
            }
            (Self::Payload | Self::NamedPayload, "artifactUpdate" | "artifact_update") => {
                Step::Into(Self::ArtifactUpdate)
            }
            (Self::Task | Self::StatusUpdate | Self::Bare | Self::NamedPayload, "status") => {
                Step::Into(Self::Status)
            }
            (Self::Task | Self::Bare | Self::NamedPayload, "history") => Step::Each(Self::Message),
            (Self::ListReply, "tasks") => Step::Each(Self::Task),
            (Self::ConfigListReply, "configs") => Step::Each(Self::Config),
            _ => Step::Skip,
        }
    }

    /// What stands under a number in the proto files. A list is its field, repeated. The messages that the
    /// versions number alike are one node; of the others, 0.3 has its own.
    pub(super) const fn by_number(self, number: u32) -> Step {
        match (self, number) {
            (Self::Task | Self::StatusUpdate | Self::ArtifactUpdate, 1)
            | (Self::TaskRequest | Self::ConfigRequest, 2)
            | (Self::Message | Self::Config, 3)
            | (Self::ConfigListRequest, 1) => Step::Task,
            (
                Self::Task
                | Self::Message
                | Self::StatusUpdate
                | Self::ArtifactUpdate
                | Self::ListRequest,
                2,
            ) => Step::Context,
            (Self::Message, 8) => Step::Tasks,
            (Self::Config, 4) | (Self::Push, 2) => Step::Webhook,
            (Self::NamedRequest | Self::NamedNew | Self::NamedConfig, 1) => Step::Name,
            (Self::NamedNew, 3) => Step::Into(Self::NamedConfig),
            (Self::NamedConfig | Self::NamedConfiguration, 2) => Step::Into(Self::Push),
            (Self::NamedConfigList, 1) => Step::Each(Self::NamedConfig),
            (Self::NamedSend, 2) => Step::Into(Self::NamedConfiguration),
            (Self::SendRequest | Self::Payload | Self::NamedPayload | Self::Status, 2)
            | (Self::NamedSend, 1) => Step::Into(Self::Message),
            (Self::SendRequest, 3) => Step::Into(Self::SendConfiguration),
            (Self::SendConfiguration, 2) => Step::Into(Self::Config),
            (Self::Payload | Self::NamedPayload, 1) => Step::Into(Self::Task),
            (Self::Payload | Self::NamedPayload, 3) => Step::Into(Self::StatusUpdate),
            (Self::Payload | Self::NamedPayload, 4) => Step::Into(Self::ArtifactUpdate),
            (Self::Task | Self::StatusUpdate, 3) => Step::Into(Self::Status),
            (Self::Task, 5) => Step::Each(Self::Message),
            (Self::ListReply, 1) => Step::Each(Self::Task),
            (Self::ConfigListReply, 1) => Step::Each(Self::Config),
            _ => Step::Skip,
        }
    }
}
