//! Resource names: how `a2a.v1` names tasks and push configurations.
//!
//! # Invariants
//! - A task's id is what stands between `tasks/` and `/pushNotificationConfigs`, as the rewriter of ids
//!   has it, so that an id may hold a slash.

use crate::error::{Fault, Problem};

const TASKS: &str = "tasks/";
const CONFIGS: &str = "/pushNotificationConfigs";

/// The name of a task.
pub(in super::super) fn of_task(task: &str) -> String {
    format!("{TASKS}{task}")
}

/// The name of a push configuration.
pub(in super::super) fn of_config(task: &str, config: &str) -> String {
    format!("{TASKS}{task}{CONFIGS}/{config}")
}

/// The ids in a name: of the task, and of the push configuration, which may be empty.
pub(in super::super) fn parse(name: &str) -> Option<(&str, &str)> {
    let rest = name.strip_prefix(TASKS)?;
    let (task, tail) = rest.split_once(CONFIGS).unwrap_or((rest, ""));
    let config = tail.strip_prefix('/').unwrap_or_default();
    (!task.is_empty()).then_some((task, config))
}

/// The task that a request names.
pub(in super::super) fn task(name: &str) -> Result<String, Problem> {
    let (task, _) = parse(name).ok_or_else(|| no_name(name))?;
    Ok(task.to_owned())
}

/// The task and the push configuration that a request names.
pub(in super::super) fn config(name: &str) -> Result<(String, String), Problem> {
    let (task, config) = parse(name).ok_or_else(|| no_name(name))?;
    Ok((task.to_owned(), config.to_owned()))
}

fn no_name(name: &str) -> Problem {
    let shown: String = name.chars().take(64).collect();
    Problem::new(
        Fault::InvalidParams,
        format!("`{shown}` names no task, as `tasks/ID` would"),
    )
}
