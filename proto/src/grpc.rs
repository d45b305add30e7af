//! The gRPC binding on the wire: paths, frames, and statuses with their details (spec 10).
//!
//! It owns what stands outside of the messages; tonic does the same for our own services, and this is
//! what the router needs to pass foreign ones through. It never decodes a message.
//!
//! # Invariants
//! - A status carries `google.rpc.ErrorInfo` in `grpc-status-details-bin`, as A2A demands.
//! - A frame is never longer than the reader's bound, which is checked before its bytes arrive.

mod frame;
mod status;

use crate::operation::Operation;

pub use frame::{Frame, Reader, frame};
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

/// The operation of a path; `None` for another service or method.
#[must_use]
pub fn operation(path: &str) -> Option<Operation> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    (service == SERVICE)
        .then(|| Operation::from_rpc(method))
        .flatten()
}

#[cfg(test)]
mod tests;
