//! The gRPC binding on the wire: paths, frames, and statuses with their details (spec 10).
//!
//! It owns what stands outside of the messages; tonic does the same for our own services, and this is
//! what the router needs to pass foreign ones through. It never decodes a message.
//!
//! # Invariants
//! - A status of 1.0 carries `google.rpc.ErrorInfo` in `grpc-status-details-bin`, as A2A demands.
//! - A frame is never longer than the reader's bound, which is checked before its bytes arrive.

mod frame;
mod status;

use http::HeaderMap;

use crate::{dialect::Version, error::Problem, operation::Operation};

pub use frame::{Frame, Reader, frame};
pub(crate) use status::plain_trailers;
pub use status::{has_status, problem, problem_of, success, trailers};

/// The service, as reflection and health name it.
pub const SERVICE: &str = "lf.a2a.v1.A2AService";

/// The path of an operation.
#[must_use]
pub const fn path(operation: Operation) -> &'static str {
    match operation {
        Operation::SendMessage => "/lf.a2a.v1.A2AService/SendMessage",
        Operation::SendStreamingMessage => "/lf.a2a.v1.A2AService/SendStreamingMessage",
        Operation::GetTask => "/lf.a2a.v1.A2AService/GetTask",
        Operation::ListTasks => "/lf.a2a.v1.A2AService/ListTasks",
        Operation::CancelTask => "/lf.a2a.v1.A2AService/CancelTask",
        Operation::SubscribeToTask => "/lf.a2a.v1.A2AService/SubscribeToTask",
        Operation::CreateTaskPushNotificationConfig => {
            "/lf.a2a.v1.A2AService/CreateTaskPushNotificationConfig"
        }
        Operation::GetTaskPushNotificationConfig => {
            "/lf.a2a.v1.A2AService/GetTaskPushNotificationConfig"
        }
        Operation::ListTaskPushNotificationConfigs => {
            "/lf.a2a.v1.A2AService/ListTaskPushNotificationConfigs"
        }
        Operation::DeleteTaskPushNotificationConfig => {
            "/lf.a2a.v1.A2AService/DeleteTaskPushNotificationConfig"
        }
        Operation::GetExtendedAgentCard => "/lf.a2a.v1.A2AService/GetExtendedAgentCard",
    }
}

/// The operation of a path of 1.0; `None` for another service or method.
#[must_use]
pub fn operation(path: &str) -> Option<Operation> {
    let (operation, version) = route(path)?;
    (version == Version::V1_0).then_some(operation)
}

/// The service of 0.3.
pub const SERVICE_V03: &str = "a2a.v1.A2AService";

/// The path of an operation in a version; `None` where the version has no such operation.
#[must_use]
pub const fn path_of(operation: Operation, version: Version) -> Option<&'static str> {
    match version {
        Version::V1_0 => Some(path(operation)),
        Version::V0_3 => match operation {
            Operation::SendMessage => Some("/a2a.v1.A2AService/SendMessage"),
            Operation::SendStreamingMessage => Some("/a2a.v1.A2AService/SendStreamingMessage"),
            Operation::GetTask => Some("/a2a.v1.A2AService/GetTask"),
            Operation::ListTasks => None,
            Operation::CancelTask => Some("/a2a.v1.A2AService/CancelTask"),
            Operation::SubscribeToTask => Some("/a2a.v1.A2AService/TaskSubscription"),
            Operation::CreateTaskPushNotificationConfig => {
                Some("/a2a.v1.A2AService/CreateTaskPushNotificationConfig")
            }
            Operation::GetTaskPushNotificationConfig => {
                Some("/a2a.v1.A2AService/GetTaskPushNotificationConfig")
            }
            Operation::ListTaskPushNotificationConfigs => {
                Some("/a2a.v1.A2AService/ListTaskPushNotificationConfig")
            }
            Operation::DeleteTaskPushNotificationConfig => {
                Some("/a2a.v1.A2AService/DeleteTaskPushNotificationConfig")
            }
            Operation::GetExtendedAgentCard => Some("/a2a.v1.A2AService/GetAgentCard"),
        },
    }
}

/// The operation and the version of a path; `None` for another service or method.
#[must_use]
pub fn route(path: &str) -> Option<(Operation, Version)> {
    Version::ALL.into_iter().find_map(|version| {
        Operation::ALL
            .into_iter()
            .find(|operation| path_of(*operation, version) == Some(path))
            .map(|operation| (operation, version))
    })
}

/// The trailers that tell of a problem to a caller of a version.
#[must_use]
pub fn trailers_in(version: Version, problem: &Problem) -> HeaderMap {
    match version {
        Version::V1_0 => trailers(problem),
        Version::V0_3 => crate::v03::trailers(problem),
    }
}

/// The problem that the trailers of an agent of a version tell of; `None` for success, and where there is
/// no status at all.
#[must_use]
pub fn problem_in(version: Version, trailers: &HeaderMap) -> Option<Problem> {
    match version {
        Version::V1_0 => problem(trailers),
        Version::V0_3 => crate::v03::problem(trailers),
    }
}

#[cfg(test)]
mod tests;
