//! What a unary call answers, as one type.
//!
//! # Invariants
//! - An answer to a send that holds neither a task nor a message is none.

use super::{Sink, Source};
use crate::{
    a2a,
    error::{Fault, Problem},
    operation::Operation,
};

/// What a unary call answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    /// A send: a task or a message.
    Sent(a2a::SendMessageResponse),
    /// A task that was read or cancelled.
    Task(a2a::Task),
    /// A page of tasks.
    Tasks(a2a::ListTasksResponse),
    /// A push configuration that was made or read.
    Config(a2a::TaskPushNotificationConfig),
    /// A page of push configurations.
    Configs(a2a::ListTaskPushNotificationConfigsResponse),
    /// A push configuration is gone.
    Deleted,
    /// The card for those who are known.
    Card(Box<a2a::AgentCard>),
}

impl Response {
    /// Reads the answer of an operation. One answer where a stream was asked for has the form of an
    /// answer to a send, since a stream's events begin like one.
    pub(super) fn read(operation: Operation, from: &impl Source) -> Result<Self, Problem> {
        Ok(match operation {
            Operation::SendMessage
            | Operation::SendStreamingMessage
            | Operation::SubscribeToTask => {
                let sent: a2a::SendMessageResponse = from.message()?;
                if sent.payload.is_none() {
                    return Err(Problem::new(
                        Fault::InvalidAgentResponse,
                        "the agent's answer holds neither a task nor a message",
                    ));
                }
                Self::Sent(sent)
            }
            Operation::GetTask | Operation::CancelTask => Self::Task(from.message()?),
            Operation::ListTasks => Self::Tasks(from.message()?),
            Operation::CreateTaskPushNotificationConfig
            | Operation::GetTaskPushNotificationConfig => Self::Config(from.message()?),
            Operation::ListTaskPushNotificationConfigs => Self::Configs(from.message()?),
            Operation::DeleteTaskPushNotificationConfig => {
                from.nothing()?;
                Self::Deleted
            }
            Operation::GetExtendedAgentCard => Self::Card(Box::new(from.message()?)),
        })
    }

    pub(super) fn write<S: Sink>(&self, to: S) -> S::Out {
        match self {
            Self::Sent(answer) => to.message(answer),
            Self::Task(answer) => to.message(answer),
            Self::Tasks(answer) => to.message(answer),
            Self::Config(answer) => to.message(answer),
            Self::Configs(answer) => to.message(answer),
            Self::Deleted => to.nothing(),
            Self::Card(answer) => to.message(answer.as_ref()),
        }
    }
}
