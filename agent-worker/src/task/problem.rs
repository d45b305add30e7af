//! What a caller is told when a task cannot do what is asked.

use mesh_proto::{Fault, Problem, mesh};
use tracing::error;

use super::state::Phase;
use crate::record::{self, TaskKey};

pub(super) fn not_found(key: &TaskKey) -> Problem {
    Problem::new(Fault::TaskNotFound, "no such task").with("taskId", &key.id)
}

pub(super) fn not_cancelable() -> Problem {
    Problem::new(Fault::TaskNotCancelable, "the task is at its end already")
}

pub(super) fn busy() -> Problem {
    Problem::new(
        Fault::UnsupportedOperation,
        "the task is being worked on and takes no message until it rests",
    )
}

pub(super) fn elsewhere() -> Problem {
    Problem::new(
        Fault::Unavailable,
        "the task was begun by a worker that is not this one",
    )
}

/// Nothing was done, and which boot would do it; empty where that is not known.
pub(super) fn moved(owner: &str) -> Problem {
    let text = "another worker has the task";
    Problem::new(Fault::Unavailable, text).with(mesh::OWNER, owner)
}

pub(super) fn final_state(phase: &Phase, wish: &str) -> Problem {
    let state = phase.state().as_str_name();
    Problem::new(
        Fault::UnsupportedOperation,
        format!("a task in {state} cannot {wish}"),
    )
}

pub(super) fn unavailable(error: &record::Error) -> Problem {
    match error {
        record::Error::Taken => busy(),
        record::Error::Store(mesh_fabric::state::Error::Size) => {
            Problem::new(Fault::TooLarge, "the task is too large to be kept")
        }
        record::Error::Store(_) | record::Error::Unreadable => {
            let cause = std::error::Error::source(error).map(ToString::to_string);
            error!(%error, cause, "the store failed");
            Problem::new(
                Fault::Unavailable,
                "the tasks cannot be read or written now",
            )
        }
    }
}
