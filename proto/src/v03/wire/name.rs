//! Resource names: how `a2a.v1` names tasks and push configurations.
//!
//! # Invariants
//! - A name is read as the scanner and the rewriter of ids read it.

use crate::{
    error::{Fault, Problem},
    scan::named,
};

const CONFIGS: &str = "/pushNotificationConfigs/";

/// The name of a task.
pub(in super::super) fn of_task(task: &str) -> String {
    named::join(task, "")
}

/// The name of a push configuration.
pub(in super::super) fn of_config(task: &str, config: &str) -> String {
    named::join(task, &format!("{CONFIGS}{config}"))
}

/// The ids in a name: of the task, and of the push configuration, which may be empty.
pub(in super::super) fn parse(name: &str) -> Option<(&str, &str)> {
    let (task, tail) = named::split(name)?;
    Some((task, tail.strip_prefix(CONFIGS).unwrap_or_default()))
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
