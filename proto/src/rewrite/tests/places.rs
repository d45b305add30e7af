//! Where ids stand: the schema once more, written independently of the one under test.

use super::{Binding, Dialect, Direction, Operation, Version};

/// Of what an id is.
#[derive(Clone, Copy, Debug)]
pub(in super::super) enum Kind {
    /// A task.
    Task,
    /// A conversation.
    Context,
}

/// The messages with ids in them.
#[derive(Clone, Copy, Debug)]
pub(in super::super) enum Object {
    Send,
    /// Of `a2a.v1`.
    OldSend,
    Configuration,
    ById,
    List,
    ByConfig,
    ByConfigList,
    Config,
    Configs,
    Payload,
    /// Of 0.3 over JSON-RPC: a task, a message or an event.
    Bare,
    /// Of `a2a.v1`: wrapped or, by the Go SDK, bare.
    OldPayload,
    /// Of `a2a.v1`: whatever has a resource name.
    Named,
    /// Of `a2a.v1`: a push configuration to be made.
    NamedNew,
    NamedList,
    Task,
    Said,
    /// Of `a2a.v1`: without references.
    OldSaid,
    Status,
    StatusUpdate,
    ArtifactUpdate,
    Tasks,
    Nothing,
}

/// A field: its names, its number (0 where JSON alone has it), and what stands there.
pub(in super::super) type Field = (&'static str, &'static str, u32, Value);

#[derive(Clone, Copy, Debug)]
pub(in super::super) enum Value {
    Id(Kind),
    Ids,
    /// A resource name.
    Name,
    One(Object),
    Many(Object),
}

const TASK: Value = Value::Id(Kind::Task);
const CONTEXT: Value = Value::Id(Kind::Context);

impl Value {
    /// What the body is, or the params or the result within it.
    pub(in super::super) fn of(
        dialect: Dialect,
        operation: Operation,
        direction: Direction,
    ) -> Self {
        let lists = operation == Operation::ListTaskPushNotificationConfigs;
        match (dialect.version, dialect.binding) {
            (Version::V1_0, _) => Self::One(Object::of(operation, direction)),
            (Version::V0_3, Binding::JsonRpc) if lists && direction != Direction::Request => {
                Self::Many(Object::Config)
            }
            (Version::V0_3, Binding::JsonRpc) => Self::One(Object::of_rpc(operation, direction)),
            (Version::V0_3, Binding::Rest | Binding::Grpc) => {
                Self::One(Object::of_old(operation, direction))
            }
        }
    }
}

impl Object {
    fn of(operation: Operation, direction: Direction) -> Self {
        let is_request = direction == Direction::Request;
        match operation {
            Operation::SendMessage | Operation::SendStreamingMessage if is_request => Self::Send,
            Operation::SendMessage | Operation::SendStreamingMessage => Self::Payload,
            Operation::SubscribeToTask if !is_request => Self::Payload,
            Operation::GetTask | Operation::CancelTask | Operation::SubscribeToTask => {
                if is_request { Self::ById } else { Self::Task }
            }
            Operation::ListTasks if is_request => Self::List,
            Operation::ListTasks => Self::Tasks,
            Operation::CreateTaskPushNotificationConfig => Self::Config,
            Operation::GetTaskPushNotificationConfig if is_request => Self::ByConfig,
            Operation::GetTaskPushNotificationConfig => Self::Config,
            Operation::ListTaskPushNotificationConfigs if is_request => Self::ByConfigList,
            Operation::ListTaskPushNotificationConfigs => Self::Configs,
            Operation::DeleteTaskPushNotificationConfig if is_request => Self::ByConfig,
            Operation::DeleteTaskPushNotificationConfig | Operation::GetExtendedAgentCard => {
                Self::Nothing
            }
        }
    }

    /// The same for JSON-RPC of 0.3.
    fn of_rpc(operation: Operation, direction: Direction) -> Self {
        let is_request = direction == Direction::Request;
        match operation {
            Operation::GetTaskPushNotificationConfig
            | Operation::ListTaskPushNotificationConfigs
            | Operation::DeleteTaskPushNotificationConfig
                if is_request =>
            {
                Self::ById
            }
            _ => match Self::of(operation, direction) {
                Self::Payload => Self::Bare,
                same => same,
            },
        }
    }

    /// The same for the messages of `a2a.v1`.
    fn of_old(operation: Operation, direction: Direction) -> Self {
        let is_request = direction == Direction::Request;
        match (operation, Self::of(operation, direction)) {
            (Operation::ListTasks, same) => same,
            (_, Self::Send) => Self::OldSend,
            (_, Self::Payload) => Self::OldPayload,
            (Operation::CreateTaskPushNotificationConfig, _) if is_request => Self::NamedNew,
            (_, Self::ById | Self::ByConfig | Self::ByConfigList | Self::Config) => Self::Named,
            (_, Self::Configs) => Self::NamedList,
            (_, same) => same,
        }
    }

    pub(in super::super) fn fields(self) -> Vec<Field> {
        let message = ("message", "message", 2, Value::One(Self::Said));
        let status = ("status", "status", 3, Value::One(Self::Status));
        let ids = [
            ("taskId", "task_id", 1, TASK),
            ("contextId", "context_id", 2, CONTEXT),
        ];
        let task = ("task", "task", 1, Value::One(Self::Task));
        let updates = [
            ("statusUpdate", "status_update", 3, Self::StatusUpdate),
            ("artifactUpdate", "artifact_update", 4, Self::ArtifactUpdate),
        ];
        let updates = updates.map(|(camel, snake, at, what)| (camel, snake, at, Value::One(what)));
        let references = ("referenceTaskIds", "reference_task_ids", 8, Value::Ids);
        let history = ("history", "history", 5, Value::Many(Self::Said));
        match self {
            Self::Send => {
                let configuration = Value::One(Self::Configuration);
                vec![
                    message,
                    ("configuration", "configuration", 3, configuration),
                ]
            }
            Self::OldSend => vec![("message", "request", 1, Value::One(Self::OldSaid))],
            Self::Configuration => {
                let (camel, snake) = (
                    "taskPushNotificationConfig",
                    "task_push_notification_config",
                );
                vec![(camel, snake, 2, Value::One(Self::Config))]
            }
            Self::ById => vec![("id", "id", 2, TASK)],
            Self::List => vec![("contextId", "context_id", 2, CONTEXT)],
            Self::ByConfig => vec![("taskId", "task_id", 2, TASK)],
            Self::ByConfigList => vec![("taskId", "task_id", 1, TASK)],
            Self::Config => vec![("taskId", "task_id", 3, TASK)],
            Self::Configs => vec![("configs", "configs", 1, Value::Many(Self::Config))],
            Self::Payload => [&[task, message][..], &updates].concat(),
            Self::Bare => vec![
                ("id", "id", 0, TASK),
                ("taskId", "task_id", 0, TASK),
                ("contextId", "context_id", 0, CONTEXT),
                status,
                history,
                references,
            ],
            Self::OldPayload => {
                let message = ("message", "msg", 2, Value::One(Self::OldSaid));
                let mut bare = Self::Bare.fields();
                bare.iter_mut().for_each(|field| field.2 = 0);
                [&[task, message][..], &updates, &bare].concat()
            }
            Self::Named => vec![("name", "name", 1, Value::Name)],
            Self::NamedNew => vec![
                ("parent", "parent", 1, Value::Name),
                ("config", "config", 3, Value::One(Self::Named)),
            ],
            Self::NamedList => vec![("configs", "configs", 1, Value::Many(Self::Named))],
            Self::Task => vec![
                ("id", "id", 1, TASK),
                ("contextId", "context_id", 2, CONTEXT),
                status,
                history,
            ],
            Self::Said => [&Self::OldSaid.fields()[..], &[references]].concat(),
            Self::OldSaid => vec![
                ("contextId", "context_id", 2, CONTEXT),
                ("taskId", "task_id", 3, TASK),
            ],
            Self::Status => vec![message],
            Self::StatusUpdate => [&ids[..], &[status]].concat(),
            Self::ArtifactUpdate => ids.to_vec(),
            Self::Tasks => vec![("tasks", "tasks", 1, Value::Many(Self::Task))],
            Self::Nothing => Vec::new(),
        }
    }
}
