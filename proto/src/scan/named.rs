//! The ids of protobuf requests of 0.3, which stand in resource names: `tasks/{id}`, and
//! `tasks/{id}/pushNotificationConfigs/{id}`.
//!
//! # Invariants
//! - A name that names no task is passed on: judging it is the agent's affair.

use std::borrow::Cow;

use super::{Ids, message_ids, no_protobuf, protobuf, string};
use crate::{error::Problem, operation::Operation};

const TASKS: &str = "tasks/";
const CONFIGS: &str = "/pushNotificationConfigs";

/// Where the task's id stands in a name, and what follows it; `None` where there is none. An id may hold
/// a slash.
pub(crate) fn split(name: &str) -> Option<(&str, &str)> {
    let rest = name.strip_prefix(TASKS)?;
    let end = rest.find(CONFIGS).unwrap_or(rest.len());
    let (task, tail) = rest.split_at_checked(end)?;
    (!task.is_empty()).then_some((task, tail))
}

/// The name of a task, with what follows it.
pub(crate) fn join(task: &str, tail: &str) -> String {
    format!("{TASKS}{task}{tail}")
}

/// Reads the ids of a request. The field that holds them is the first in every request.
pub(super) fn ids(operation: Operation, body: &[u8]) -> Result<Ids<'_>, Problem> {
    let mut ids = Ids::default();
    for field in protobuf::Fields::new(body) {
        let field = field.map_err(|_| no_protobuf())?;
        if field.number != 1 {
            continue;
        }
        match operation {
            Operation::SendMessage | Operation::SendStreamingMessage => {
                message_ids(&field, &mut ids)?;
            }
            Operation::GetExtendedAgentCard | Operation::ListTasks => {}
            _ => ids.task_id = string(&field)?.and_then(task),
        }
    }
    Ok(ids)
}

fn task(name: Cow<'_, str>) -> Option<Cow<'_, str>> {
    match name {
        Cow::Borrowed(name) => split(name).map(|(task, _)| Cow::Borrowed(task)),
        Cow::Owned(name) => split(&name).map(|(task, _)| Cow::Owned(task.to_owned())),
    }
}
