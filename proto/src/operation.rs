//! The eleven operations of A2A and their names in every binding and version.
//!
//! A new operation is a new variant here; the compiler then names every table that must know it.

use crate::dialect::Version;

/// What a caller asks for (spec 3.1). One enum for all bindings.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Operation {
    /// Send a message and get a task or a message back.
    SendMessage,
    /// Send a message and get a stream of events.
    SendStreamingMessage,
    /// Read one task.
    GetTask,
    /// Read a page of tasks.
    ListTasks,
    /// Ask for a task to be stopped.
    CancelTask,
    /// Follow a task that runs.
    SubscribeToTask,
    /// Have a task's events pushed to a URL.
    CreateTaskPushNotificationConfig,
    /// Read one push configuration.
    GetTaskPushNotificationConfig,
    /// Read a task's push configurations.
    ListTaskPushNotificationConfigs,
    /// Remove a push configuration.
    DeleteTaskPushNotificationConfig,
    /// Read the card that authenticated callers get.
    GetExtendedAgentCard,
}

impl Operation {
    /// All eleven, in the order of the service definition.
    pub const ALL: [Self; 11] = [
        Self::SendMessage,
        Self::SendStreamingMessage,
        Self::GetTask,
        Self::ListTasks,
        Self::CancelTask,
        Self::SubscribeToTask,
        Self::CreateTaskPushNotificationConfig,
        Self::GetTaskPushNotificationConfig,
        Self::ListTaskPushNotificationConfigs,
        Self::DeleteTaskPushNotificationConfig,
        Self::GetExtendedAgentCard,
    ];

    /// The RPC's name: the JSON-RPC method of 1.0 and the last segment of the gRPC path.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SendMessage => "SendMessage",
            Self::SendStreamingMessage => "SendStreamingMessage",
            Self::GetTask => "GetTask",
            Self::ListTasks => "ListTasks",
            Self::CancelTask => "CancelTask",
            Self::SubscribeToTask => "SubscribeToTask",
            Self::CreateTaskPushNotificationConfig => "CreateTaskPushNotificationConfig",
            Self::GetTaskPushNotificationConfig => "GetTaskPushNotificationConfig",
            Self::ListTaskPushNotificationConfigs => "ListTaskPushNotificationConfigs",
            Self::DeleteTaskPushNotificationConfig => "DeleteTaskPushNotificationConfig",
            Self::GetExtendedAgentCard => "GetExtendedAgentCard",
        }
    }

    /// The JSON-RPC method of a version; `None` where that version has no such operation.
    #[must_use]
    pub const fn method(self, version: Version) -> Option<&'static str> {
        match version {
            Version::V1_0 => Some(self.name()),
            Version::V0_3 => match self {
                Self::SendMessage => Some("message/send"),
                Self::SendStreamingMessage => Some("message/stream"),
                Self::GetTask => Some("tasks/get"),
                Self::ListTasks => None,
                Self::CancelTask => Some("tasks/cancel"),
                Self::SubscribeToTask => Some("tasks/resubscribe"),
                Self::CreateTaskPushNotificationConfig => Some("tasks/pushNotificationConfig/set"),
                Self::GetTaskPushNotificationConfig => Some("tasks/pushNotificationConfig/get"),
                Self::ListTaskPushNotificationConfigs => Some("tasks/pushNotificationConfig/list"),
                Self::DeleteTaskPushNotificationConfig => {
                    Some("tasks/pushNotificationConfig/delete")
                }
                Self::GetExtendedAgentCard => Some("agent/getAuthenticatedExtendedCard"),
            },
        }
    }

    /// Finds a JSON-RPC method among all versions. The names of the versions never collide.
    #[must_use]
    pub fn from_method(method: &str) -> Option<(Self, Version)> {
        Self::ALL.into_iter().find_map(|operation| {
            Version::ALL
                .into_iter()
                .find(|version| operation.method(*version) == Some(method))
                .map(|version| (operation, version))
        })
    }

    /// Finds the last segment of a gRPC path of 1.0.
    #[must_use]
    pub fn from_rpc(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|operation| operation.name() == name)
    }

    /// Whether the answer is a stream of events.
    #[must_use]
    pub const fn streams(self) -> bool {
        matches!(self, Self::SendStreamingMessage | Self::SubscribeToTask)
    }

    /// Whether the call may create a task, and so needs a place rather than an owner.
    #[must_use]
    pub const fn sends(self) -> bool {
        matches!(self, Self::SendMessage | Self::SendStreamingMessage)
    }

    /// Whether doing it twice is the same as doing it once (spec 3.1; Send is not).
    #[must_use]
    pub const fn is_idempotent(self) -> bool {
        !matches!(
            self,
            Self::SendMessage | Self::SendStreamingMessage | Self::CreateTaskPushNotificationConfig
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_name_leads_back_to_its_operation_and_version() {
        for operation in Operation::ALL {
            for version in Version::ALL {
                if let Some(method) = operation.method(version) {
                    assert_eq!(Operation::from_method(method), Some((operation, version)));
                }
            }
            assert_eq!(Operation::from_rpc(operation.name()), Some(operation));
        }
        assert_eq!(Operation::from_method("tasks/list"), None);
        assert_eq!(Operation::from_method("sendmessage"), None);
    }
}
