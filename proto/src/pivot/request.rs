//! What is asked for, as one type.
//!
//! # Invariants
//! - There is a variant for each operation, so that a request knows its own.

use super::{Sink, Source};
use crate::{a2a, error::Problem, operation::Operation};

/// A call's request, whatever dialect it came in.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "each is the operation of its name")]
pub enum Request {
    SendMessage(a2a::SendMessageRequest),
    SendStreamingMessage(a2a::SendMessageRequest),
    GetTask(a2a::GetTaskRequest),
    ListTasks(a2a::ListTasksRequest),
    CancelTask(a2a::CancelTaskRequest),
    SubscribeToTask(a2a::SubscribeToTaskRequest),
    CreateTaskPushNotificationConfig(a2a::TaskPushNotificationConfig),
    GetTaskPushNotificationConfig(a2a::GetTaskPushNotificationConfigRequest),
    ListTaskPushNotificationConfigs(a2a::ListTaskPushNotificationConfigsRequest),
    DeleteTaskPushNotificationConfig(a2a::DeleteTaskPushNotificationConfigRequest),
    GetExtendedAgentCard(a2a::GetExtendedAgentCardRequest),
}

impl Request {
    /// What is asked for.
    #[must_use]
    pub const fn operation(&self) -> Operation {
        match self {
            Self::SendMessage(_) => Operation::SendMessage,
            Self::SendStreamingMessage(_) => Operation::SendStreamingMessage,
            Self::GetTask(_) => Operation::GetTask,
            Self::ListTasks(_) => Operation::ListTasks,
            Self::CancelTask(_) => Operation::CancelTask,
            Self::SubscribeToTask(_) => Operation::SubscribeToTask,
            Self::CreateTaskPushNotificationConfig(_) => {
                Operation::CreateTaskPushNotificationConfig
            }
            Self::GetTaskPushNotificationConfig(_) => Operation::GetTaskPushNotificationConfig,
            Self::ListTaskPushNotificationConfigs(_) => Operation::ListTaskPushNotificationConfigs,
            Self::DeleteTaskPushNotificationConfig(_) => {
                Operation::DeleteTaskPushNotificationConfig
            }
            Self::GetExtendedAgentCard(_) => Operation::GetExtendedAgentCard,
        }
    }

    /// The tenant; empty for none.
    #[must_use]
    pub fn tenant(&self) -> &str {
        match self {
            Self::SendMessage(request) | Self::SendStreamingMessage(request) => &request.tenant,
            Self::GetTask(request) => &request.tenant,
            Self::ListTasks(request) => &request.tenant,
            Self::CancelTask(request) => &request.tenant,
            Self::SubscribeToTask(request) => &request.tenant,
            Self::CreateTaskPushNotificationConfig(request) => &request.tenant,
            Self::GetTaskPushNotificationConfig(request) => &request.tenant,
            Self::ListTaskPushNotificationConfigs(request) => &request.tenant,
            Self::DeleteTaskPushNotificationConfig(request) => &request.tenant,
            Self::GetExtendedAgentCard(request) => &request.tenant,
        }
    }

    /// Puts another tenant in place of the caller's: the one that the agent's interface is known by.
    pub fn set_tenant(&mut self, tenant: impl Into<String>) {
        let place = match self {
            Self::SendMessage(request) | Self::SendStreamingMessage(request) => &mut request.tenant,
            Self::GetTask(request) => &mut request.tenant,
            Self::ListTasks(request) => &mut request.tenant,
            Self::CancelTask(request) => &mut request.tenant,
            Self::SubscribeToTask(request) => &mut request.tenant,
            Self::CreateTaskPushNotificationConfig(request) => &mut request.tenant,
            Self::GetTaskPushNotificationConfig(request) => &mut request.tenant,
            Self::ListTaskPushNotificationConfigs(request) => &mut request.tenant,
            Self::DeleteTaskPushNotificationConfig(request) => &mut request.tenant,
            Self::GetExtendedAgentCard(request) => &mut request.tenant,
        };
        *place = tenant.into();
    }

    pub(super) fn read(operation: Operation, from: &impl Source) -> Result<Self, Problem> {
        Ok(match operation {
            Operation::SendMessage => Self::SendMessage(from.message()?),
            Operation::SendStreamingMessage => Self::SendStreamingMessage(from.message()?),
            Operation::GetTask => Self::GetTask(from.message()?),
            Operation::ListTasks => Self::ListTasks(from.message()?),
            Operation::CancelTask => Self::CancelTask(from.message()?),
            Operation::SubscribeToTask => Self::SubscribeToTask(from.message()?),
            Operation::CreateTaskPushNotificationConfig => {
                Self::CreateTaskPushNotificationConfig(from.message()?)
            }
            Operation::GetTaskPushNotificationConfig => {
                Self::GetTaskPushNotificationConfig(from.message()?)
            }
            Operation::ListTaskPushNotificationConfigs => {
                Self::ListTaskPushNotificationConfigs(from.message()?)
            }
            Operation::DeleteTaskPushNotificationConfig => {
                Self::DeleteTaskPushNotificationConfig(from.message()?)
            }
            Operation::GetExtendedAgentCard => Self::GetExtendedAgentCard(from.message()?),
        })
    }

    pub(super) fn write<S: Sink>(&self, to: S) -> S::Out {
        match self {
            Self::SendMessage(request) | Self::SendStreamingMessage(request) => to.message(request),
            Self::GetTask(request) => to.message(request),
            Self::ListTasks(request) => to.message(request),
            Self::CancelTask(request) => to.message(request),
            Self::SubscribeToTask(request) => to.message(request),
            Self::CreateTaskPushNotificationConfig(request) => to.message(request),
            Self::GetTaskPushNotificationConfig(request) => to.message(request),
            Self::ListTaskPushNotificationConfigs(request) => to.message(request),
            Self::DeleteTaskPushNotificationConfig(request) => to.message(request),
            Self::GetExtendedAgentCard(request) => to.message(request),
        }
    }
}
