//! Every way in which a call can end without the agent's answer, and what follows from each.
//!
//! # Invariants
//! - The enum is closed and the three functions of it are total: a new variant does not compile until
//!   somebody says whose side it is on, whether it may be tried again and what the caller is told.
//! - No answer names a worker or its address: the caller sees agents only.

use std::sync::Arc;

use mesh_proto::{
    AgentName, Binding, Fault, Problem,
    mesh::{HOP_LIMIT, HOP_LIMIT_KEY},
};

/// The longest text of a caller that an answer repeats.
const QUOTED: usize = 63;

/// Why a call got no answer from its agent.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CallError {
    /// The caller named an agent that the mesh does not have.
    #[error("no agent named {name:?}")]
    NoSuchAgent {
        /// What the caller wrote, cut to a bound.
        name: Arc<str>,
    },
    /// The agent is known, but no member of it.
    #[error("agent {agent} has no member")]
    NoMember {
        /// The agent.
        agent: AgentName,
    },
    /// The agent has members and all of them are ejected.
    #[error("all members of agent {agent} are ejected")]
    AllEjected {
        /// The agent.
        agent: AgentName,
    },
    /// The task's id carries no route of ours, and the agent has too many members to ask them all.
    #[error("a foreign task id, and agent {agent} has too many members to ask each")]
    ForeignTask {
        /// The agent.
        agent: AgentName,
    },
    /// No connection to the member; nothing was sent.
    #[error("cannot connect to the member")]
    Connect,
    /// The member's side ended the exchange before its answer began.
    #[error("the member reset the call")]
    UpstreamReset,
    /// The member answered what is no answer.
    #[error("the member's answer breaks the protocol")]
    BadAnswer,
    /// The request is over the size bound.
    #[error("the request is over {limit} bytes")]
    TooLarge {
        /// The bound, in bytes.
        limit: u64,
    },
    /// The request is wrong in itself.
    #[error("bad request: {0}")]
    BadRequest(Problem),
    /// The agent does not speak the caller's binding, and nothing translates.
    #[error("the agent does not offer {binding}")]
    BindingNotOffered {
        /// The caller's binding.
        binding: Binding,
    },
    /// A member that has a part of a list did not give it.
    #[error("a member of agent {agent} did not give its part of a list")]
    ShortList {
        /// The agent.
        agent: AgentName,
    },
    /// The router runs as many calls as it takes on.
    #[error("the router runs as many calls as it takes on")]
    Exhausted,
    /// Every member of the agent runs as many tasks as it is willing to.
    #[error("every member of agent {agent} is full")]
    Overloaded {
        /// The agent.
        agent: AgentName,
    },
    /// The router has room for more urgent calls only, or the caller has more than its share.
    #[error("shed: {class} calls have no room")]
    Shed {
        /// The class of the call.
        class: &'static str,
    },
    /// The call passed as many routers as a call may.
    #[error("the call passed {HOP_LIMIT} routers")]
    HopLimit,
    /// The caller's deadline passed before the answer began.
    #[error("the deadline passed")]
    Deadline,
    /// This router is shutting down.
    #[error("the router is draining")]
    Draining,
}

/// Whose doing an error is: what to look at first, and a label of metrics.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Side {
    /// The caller.
    Downstream,
    /// This process, or what it was told of the mesh.
    Router,
    /// The agent.
    Upstream,
}

impl Side {
    /// A short word for labels and logs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Downstream => "downstream",
            Self::Router => "router",
            Self::Upstream => "upstream",
        }
    }
}

/// Whether the router may try another member.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Retry {
    /// It would fail the same way, or the time is up.
    Never,
    /// Only where the member provably did not process the request (a refused stream, a GOAWAY below
    /// it), or where doing it twice is the same as once.
    IfUnsent,
    /// Nothing was sent.
    Always,
}

impl CallError {
    /// An unknown agent, by the name that the caller wrote.
    #[must_use]
    pub fn no_such_agent(name: &str) -> Self {
        let end = name.floor_char_boundary(QUOTED);
        let name = name.get(..end).unwrap_or_default();
        Self::NoSuchAgent { name: name.into() }
    }

    /// Whose doing it is.
    #[must_use]
    pub const fn side(&self) -> Side {
        match self {
            Self::NoSuchAgent { .. }
            | Self::ForeignTask { .. }
            | Self::TooLarge { .. }
            | Self::BadRequest(_)
            | Self::BindingNotOffered { .. }
            | Self::HopLimit => Side::Downstream,
            Self::NoMember { .. } | Self::Exhausted | Self::Shed { .. } | Self::Draining => {
                Side::Router
            }
            Self::AllEjected { .. }
            | Self::Overloaded { .. }
            | Self::Connect
            | Self::UpstreamReset
            | Self::BadAnswer
            | Self::ShortList { .. }
            | Self::Deadline => Side::Upstream,
        }
    }

    /// Whether another member may be tried.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        match self {
            Self::Connect => Retry::Always,
            Self::UpstreamReset => Retry::IfUnsent,
            Self::NoSuchAgent { .. }
            | Self::NoMember { .. }
            | Self::AllEjected { .. }
            | Self::ForeignTask { .. }
            | Self::BadAnswer
            | Self::ShortList { .. }
            | Self::TooLarge { .. }
            | Self::BadRequest(_)
            | Self::BindingNotOffered { .. }
            | Self::Exhausted
            | Self::Overloaded { .. }
            | Self::Shed { .. }
            | Self::HopLimit
            | Self::Deadline
            | Self::Draining => Retry::Never,
        }
    }

    /// A short word for labels and logs.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::NoSuchAgent { .. } => "no_such_agent",
            Self::NoMember { .. } => "no_member",
            Self::AllEjected { .. } => "all_ejected",
            Self::ForeignTask { .. } => "foreign_task",
            Self::Connect => "connect",
            Self::UpstreamReset => "upstream_reset",
            Self::BadAnswer => "bad_answer",
            Self::TooLarge { .. } => "too_large",
            Self::BadRequest(_) => "bad_request",
            Self::BindingNotOffered { .. } => "binding_not_offered",
            Self::ShortList { .. } => "short_list",
            Self::Exhausted => "exhausted",
            Self::Overloaded { .. } => "overloaded",
            Self::Shed { .. } => "shed",
            Self::HopLimit => "hop_limit",
            Self::Deadline => "deadline",
            Self::Draining => "draining",
        }
    }

    /// What the caller is told.
    #[must_use]
    pub fn answer(&self) -> Problem {
        match self {
            Self::NoSuchAgent { name } => Problem::new(
                Fault::MethodNotFound,
                format!("there is no agent named {name:?} here; /agents lists those that are"),
            ),
            Self::NoMember { agent } => Problem::new(
                Fault::Unavailable,
                format!("agent {agent} has no worker at present; try again later"),
            ),
            Self::AllEjected { agent } => Problem::new(
                Fault::Unavailable,
                format!("no worker of agent {agent} can be reached; try again shortly"),
            ),
            Self::ForeignTask { agent } => Problem::new(
                Fault::TaskNotFound,
                format!("agent {agent} minted no task with this id through this mesh"),
            ),
            Self::Connect => Problem::new(
                Fault::Unavailable,
                "the agent could not be reached; nothing was sent to it",
            ),
            Self::UpstreamReset => Problem::new(
                Fault::Unavailable,
                "the agent went away before it answered; repeat the call with the same messageId",
            ),
            Self::BadAnswer => Problem::new(
                Fault::InvalidAgentResponse,
                "the agent's answer could not be understood",
            ),
            Self::TooLarge { limit } => Problem::new(
                Fault::TooLarge,
                format!("the request is over the limit of {limit} bytes"),
            )
            .with("limitBytes", limit.to_string()),
            Self::BadRequest(problem) => problem.clone(),
            Self::BindingNotOffered { binding } => Problem::new(
                Fault::UnsupportedOperation,
                format!(
                    "the agent does not speak {binding}; its card lists the bindings that it does"
                ),
            ),
            Self::ShortList { agent } => Problem::new(
                Fault::Unavailable,
                format!(
                    "not every worker of agent {agent} gave its tasks, and a list without them would \
                     be short; try again shortly"
                ),
            ),
            Self::Exhausted => Problem::new(
                Fault::Exhausted,
                "the router runs as many calls as it takes on; try again shortly",
            ),
            Self::Overloaded { agent } => Problem::new(
                Fault::Exhausted,
                format!(
                    "every worker of agent {agent} has as much to do as it can; try again shortly"
                ),
            ),
            Self::Shed { class } => Problem::new(
                Fault::Exhausted,
                format!("the router has no room for {class} calls now; try again shortly"),
            ),
            Self::HopLimit => Problem::new(
                Fault::InvalidRequest,
                format!(
                    "the call passed {HOP_LIMIT} routers: agents delegate to each other in a loop"
                ),
            )
            .with(HOP_LIMIT_KEY, HOP_LIMIT.to_string()),
            Self::Deadline => Problem::new(
                Fault::DeadlineExceeded,
                "the deadline passed before the agent answered",
            ),
            Self::Draining => Problem::new(
                Fault::Unavailable,
                "this router is shutting down; connect again to reach another",
            ),
        }
    }
}

impl From<Problem> for CallError {
    fn from(problem: Problem) -> Self {
        Self::BadRequest(problem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_a_caller_made_up_is_repeated_only_in_part() {
        let error = CallError::no_such_agent(&"é".repeat(1000));
        let message = error.answer().message;
        assert!(message.len() < 200, "{message}");
        assert!(message.contains("éé"));
    }

    #[test]
    fn only_what_was_never_sent_is_tried_again_without_a_question() {
        assert_eq!(CallError::Connect.retry(), Retry::Always);
        assert_eq!(CallError::UpstreamReset.retry(), Retry::IfUnsent);
        assert_eq!(CallError::Deadline.retry(), Retry::Never);
    }

    #[test]
    fn a_problem_that_a_codec_found_reaches_the_caller_as_it_is() {
        let problem = Problem::new(Fault::Parse, "not JSON").with("offset", "3");
        let error = CallError::from(problem.clone());
        assert_eq!(error.answer(), problem);
        assert_eq!(error.side(), Side::Downstream);
    }
}
