//! How the process ends, for scripts.
//!
//! # Invariants
//! - The numbers are a contract: a new meaning gets a new number.

use std::process::ExitCode;

/// The exit codes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Exit {
    /// Done. A task that waits for input counts as done: the agent answered.
    Ok = 0,
    /// The task failed, or was rejected or canceled; a card does not verify or has errors; or a role
    /// could not start or go on.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The agent answered with an A2A error, or with something that is not A2A.
    A2a = 3,
    /// No connection, or one that broke.
    Transport = 4,
}

/// What `daca --help` says about them.
pub(crate) const HELP: &str = "Exit codes:
  0  done (a task that asks for input counts as done)
  1  the task failed, was rejected or canceled; a card does not verify or has errors; or a role
     could not start or go on
  2  the command line is wrong
  3  the agent answered with an A2A error, or not as A2A says
  4  no connection, or one that broke

Colour is used on a terminal only, and not when NO_COLOR is set.";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a verb came to nothing.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The code that the process ends with.
    pub(crate) exit: Exit,
    /// What to print.
    pub(crate) error: anyhow::Error,
    /// What a person could try instead.
    pub(crate) hint: Option<&'static str>,
}

impl Failure {
    /// A command line that parsed, but makes no sense.
    pub(crate) fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self {
            exit: Exit::Usage,
            error: error.into(),
            hint: None,
        }
    }

    /// A role that could not start or go on.
    pub(crate) fn role(error: impl Into<anyhow::Error>) -> Self {
        Self {
            exit: Exit::Failed,
            error: error.into(),
            hint: None,
        }
    }

    /// A connection that ended too early.
    pub(crate) fn cut(error: impl Into<anyhow::Error>) -> Self {
        Self {
            exit: Exit::Transport,
            error: error.into(),
            hint: None,
        }
    }

    /// Something answered, but not as it should.
    pub(crate) fn answer(error: impl Into<anyhow::Error>) -> Self {
        Self {
            exit: Exit::A2a,
            error: error.into(),
            hint: None,
        }
    }
}

impl From<mesh_client::Error> for Failure {
    fn from(error: mesh_client::Error) -> Self {
        use mesh_client::Error;
        let exit = match &error {
            Error::Problem(_)
            | Error::Broken(_)
            | Error::Unspoken(_)
            | Error::NoInterface { .. } => Exit::A2a,
            Error::Transport(_) => Exit::Transport,
            Error::Url { .. } | Error::Request(_) => Exit::Usage,
        };
        Self {
            exit,
            error: error.into(),
            hint: None,
        }
    }
}
