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
    /// A resource name of 0.3 over HTTP+JSON: `tasks/{id}` and perhaps more.
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
    SendConfiguration,
    /// Get, Cancel and Subscribe; in 0.3 also those of push configurations.
    TaskRequest,
    ListRequest,
    /// Get and Delete of push configurations.
    ConfigRequest,
    ConfigListRequest,
    Config,
    /// What 0.3 keeps apart from the task's id: where notifications go.
    Push,
    /// A push configuration or a request for one, by resource name.
    NamedConfig,
    NamedConfigList,
    ConfigListReply,
    /// A oneof: the answer to a send, and each event of a stream.
    Payload,
    /// The same in JSON-RPC of 0.3, where the object is not wrapped. Of the four kinds no two use a name
    /// differently, so that `kind`, which may come last, need not be known.
    Bare,
    Task,
    Message,
    Status,
    StatusUpdate,
    ArtifactUpdate,
    ListReply,
}

/// How JSON-RPC and HTTP+JSON differ where 0.3 is spoken.
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
            Node::SendRequest
        }
        (
            Operation::SendMessage | Operation::SendStreamingMessage | Operation::SubscribeToTask,
            Direction::Reply | Direction::Event,
        ) => {
            if bare {
                Node::Bare
            } else {
                Node::Payload
            }
        }
        (
            Operation::GetTask | Operation::CancelTask | Operation::SubscribeToTask,
            Direction::Request,
        ) => Node::TaskRequest,
        (Operation::GetTask | Operation::CancelTask, _) => Node::Task,
        (Operation::ListTasks, Direction::Request) => Node::ListRequest,
        (Operation::ListTasks, _) => Node::ListReply,
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
            (Self::Task | Self::TaskRequest | Self::Bare, "id")
            | (
                Self::Message
                | Self::StatusUpdate
                | Self::ArtifactUpdate
                | Self::Bare
                | Self::Config
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
                | Self::ListRequest,
                "contextId" | "context_id",
            ) => Step::Context,
            (Self::Message | Self::Bare, "referenceTaskIds" | "reference_task_ids") => Step::Tasks,
            (Self::Config | Self::Push, "url") => Step::Webhook,
            (
                Self::Config | Self::NamedConfig | Self::SendConfiguration,
                "pushNotificationConfig" | "push_notification_config",
            )
            | (Self::SendConfiguration, "pushNotification" | "push_notification") => {
                Step::Into(Self::Push)
            }
            (Self::NamedConfig, "name" | "parent") => Step::Name,
            (Self::NamedConfig, "config") => Step::Into(Self::NamedConfig),
            (Self::NamedConfigList, "configs") => Step::Each(Self::NamedConfig),
            (Self::SendRequest | Self::Payload | Self::Status, "message") => {
                Step::Into(Self::Message)
            }
            (Self::SendRequest, "configuration") => Step::Into(Self::SendConfiguration),
            (
                Self::SendConfiguration,
                "taskPushNotificationConfig" | "task_push_notification_config",
            ) => Step::Into(Self::Config),
            (Self::Payload, "task") => Step::Into(Self::Task),
            (Self::Payload, "statusUpdate" | "status_update") => Step::Into(Self::StatusUpdate),
            (Self::Payload, "artifactUpdate" | "artifact_update") => {
                Step::Into(Self::ArtifactUpdate)
            }
            (Self::Task | Self::StatusUpdate | Self::Bare, "status") => Step::Into(Self::Status),
            (Self::Task | Self::Bare, "history") => Step::Each(Self::Message),
            (Self::ListReply, "tasks") => Step::Each(Self::Task),
            (Self::ConfigListReply, "configs") => Step::Each(Self::Config),
            _ => Step::Skip,
        }
    }

    /// What stands under a number in the proto file of 1.0. A list is its field, repeated.
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
            (Self::Config, 4) => Step::Webhook,
            (Self::SendRequest | Self::Payload | Self::Status, 2) => Step::Into(Self::Message),
            (Self::SendRequest, 3) => Step::Into(Self::SendConfiguration),
            (Self::SendConfiguration, 2) => Step::Into(Self::Config),
            (Self::Payload, 1) => Step::Into(Self::Task),
            (Self::Payload, 3) => Step::Into(Self::StatusUpdate),
            (Self::Payload, 4) => Step::Into(Self::ArtifactUpdate),
            (Self::Task | Self::StatusUpdate, 3) => Step::Into(Self::Status),
            (Self::Task, 5) => Step::Each(Self::Message),
            (Self::ListReply, 1) => Step::Each(Self::Task),
            (Self::ConfigListReply, 1) => Step::Each(Self::Config),
            _ => Step::Skip,
        }
    }
}
