//! What can go wrong between the caller and an agent, sorted by side.
//!
//! # Invariants
//! - [`Error::is_unsent`] is true only when no byte of the request can have reached the agent.
//! - An agent's own error is a [`Problem`] of the one error table, whatever binding carried it.

use std::time::Duration;

use mesh_proto::{Binding, Problem, Version};

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The agent answered with an error, or with a message that does not decode
    /// ([`Fault::InvalidAgentResponse`](mesh_proto::Fault::InvalidAgentResponse)).
    #[error("{0}")]
    Problem(Problem),
    /// The connection failed us.
    #[error("the connection failed")]
    Transport(#[source] Cut),
    /// Something answered, but not as A2A says.
    #[error("the answer is not A2A")]
    Broken(#[source] Broken),
    /// The URL can't be talked to.
    #[error("{url} is not a URL of an agent: {reason}")]
    Url {
        /// As it was given, or as the card has it.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A header that HTTP does not allow.
    #[error("the request can't be written as HTTP")]
    Request(#[source] http::Error),
    /// The request has no form in what the agent speaks: listing tasks in 0.3, for instance.
    #[error("this can't be said to the agent: {0}")]
    Unspoken(Problem),
    /// The card offers nothing that is spoken here, or not what was asked for.
    #[error("the card offers no interface of {wanted}; it offers {offered}")]
    NoInterface {
        /// The version and the binding that were asked for.
        wanted: String,
        /// What the card has, for a person.
        offered: String,
    },
}

/// How a connection failed.
#[derive(Debug, thiserror::Error)]
pub enum Cut {
    /// No connection, or one that closed before it took the request: **provably unsent**.
    #[error("could not connect to {authority}: {reason}")]
    Connect {
        /// Host and port.
        authority: String,
        /// The system's or TLS's words for it.
        reason: String,
    },
    /// The request was on its way when the connection broke; it may have been processed.
    #[error("the connection to {authority} broke before the answer: {reason}")]
    Broke {
        /// Host and port.
        authority: String,
        /// The words of HTTP or of the system.
        reason: String,
    },
    /// The answer began and then broke off.
    #[error("the answer broke off: {reason}")]
    MidAnswer {
        /// The words of HTTP or of the system.
        reason: String,
    },
    /// The answer did not come in time.
    #[error("no answer within {} s", .0.as_secs_f32())]
    Late(Duration),
    /// A stream was silent for too long.
    #[error("no event and no keep-alive for {} s", .0.as_secs_f32())]
    Idle(Duration),
}

/// How an answer breaks the protocol.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The answer or one event of it is over the bound.
    #[error("more than {limit} bytes in one {what}")]
    TooLarge {
        /// "answer", "event" or "card".
        what: &'static str,
        /// The bound, in bytes.
        limit: usize,
    },
    /// The wrong kind of body.
    #[error("HTTP status {status} with content type {content_type:?}")]
    ContentType {
        /// The HTTP status.
        status: u16,
        /// As it was sent; empty if none.
        content_type: String,
    },
    /// A compressed message, though no compression was offered.
    #[error("the message is compressed, though no compression was offered")]
    Compressed,
    /// A gRPC answer without a message or without a status.
    #[error("the gRPC answer ended without {0}")]
    Short(&'static str),
    /// No card where one should be.
    #[error("no agent card at {url}: HTTP status {status}")]
    NoCard {
        /// Where it was asked for.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// Something else than a card where one should be.
    #[error("no agent card at {url}: {problem}")]
    BadCard {
        /// Where it was asked for.
        url: String,
        /// What is wrong with it.
        problem: Problem,
    },
}

impl Error {
    /// Whether the request provably never reached the agent, so that it may be sent again whatever
    /// it asks for.
    #[must_use]
    pub const fn is_unsent(&self) -> bool {
        match self {
            Self::Transport(cut) => matches!(cut, Cut::Connect { .. }),
            Self::Url { .. } | Self::Request(_) | Self::Unspoken(_) | Self::NoInterface { .. } => {
                true
            }
            Self::Problem(_) | Self::Broken(_) => false,
        }
    }

    /// Whether no connection came about that could have taken the request; another try may find one.
    #[must_use]
    pub(crate) const fn is_unsent_on_the_way(&self) -> bool {
        matches!(self, Self::Transport(Cut::Connect { .. }))
    }

    /// When the agent wants to be asked again, where it said so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        let millis = self.problem()?.metadata.get(RETRY_AFTER)?.parse().ok()?;
        Some(Duration::from_millis(millis).min(RETRY_AFTER_MOST))
    }

    /// The agent's own error, if this is one.
    #[must_use]
    pub const fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Problem(problem) => Some(problem),
            _ => None,
        }
    }

    pub(crate) fn no_interface(
        binding: Option<Binding>,
        version: Option<Version>,
        offered: String,
    ) -> Self {
        let version = version.map_or("1.0 or 0.3", Version::as_str);
        let binding = binding.map_or("any binding", Binding::card_name);
        Self::NoInterface {
            wanted: format!("A2A {version} over {binding}"),
            offered: if offered.is_empty() {
                "none".to_owned()
            } else {
                offered
            },
        }
    }
}

impl From<Cut> for Error {
    fn from(cut: Cut) -> Self {
        Self::Transport(cut)
    }
}

impl From<Broken> for Error {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

/// Where an agent's wish to be asked again later stands in the metadata of its [`Problem`], in
/// milliseconds: HTTP and gRPC say it in their heads.
pub(crate) const RETRY_AFTER: &str = "retryAfterMillis";

/// The longest pause that an agent can ask for.
const RETRY_AFTER_MOST: Duration = Duration::from_secs(60);

/// The deepest cause's words: hyper and h2 wrap the one that tells something.
pub(crate) fn root(error: &(dyn std::error::Error + 'static)) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}
