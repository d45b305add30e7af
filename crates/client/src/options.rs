//! How a client is set up, and what one call may add to that.

use std::{path::PathBuf, time::Duration};

use http::HeaderMap;
use mesh_proto::{Binding, Version};

/// How a client is set up. `Options::default()` suits a person at a terminal.
#[derive(Clone, Debug)]
pub struct Options {
    /// Only this binding; `None` takes the card's first interface that is spoken here.
    pub binding: Option<Binding>,
    /// Only this version of the protocol; `None` prefers 1.0 and takes 0.3 where an agent offers no
    /// other.
    pub version: Option<Version>,
    /// Put into each request instead of the tenant of the card's interface.
    pub tenant: Option<String>,
    /// Sent with every request, the card's included: credentials, as a rule.
    pub headers: HeaderMap,
    /// How long a connection may take to come up, TLS included. Default 10 s.
    pub connect_timeout: Duration,
    /// How long an answer that is no stream may take from the request's first byte to the answer's
    /// last, and a stream to its first byte of answer. Default 10 minutes: a blocking send lasts as
    /// long as the task does. `None` waits for ever.
    pub answer_timeout: Option<Duration>,
    /// How long a stream may be silent, keep-alive comments counting as sound. Default `None`: the
    /// specification asks agents for no keep-alive. A stream has no total timeout.
    pub idle_timeout: Option<Duration>,
    /// What is read at most.
    pub limits: Limits,
    /// A PEM file with certificates to trust beside the platform's. Default none.
    pub ca_file: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            binding: None,
            version: None,
            tenant: None,
            headers: HeaderMap::new(),
            connect_timeout: Duration::from_secs(10),
            answer_timeout: Some(Duration::from_secs(600)),
            idle_timeout: None,
            limits: Limits::default(),
            ca_file: None,
        }
    }
}

/// The most that is read of what an agent sends; over it the call ends with
/// [`Broken::TooLarge`](crate::Broken::TooLarge) and the rest is not read.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of an answer that is no stream. Default 64 MiB: an artifact may carry a file.
    pub answer: usize,
    /// Bytes of one event of a stream. Default 10 MiB, as the Go and Rust SDKs have it.
    pub event: usize,
    /// Bytes of a card. Default 4 MiB.
    pub card: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            answer: 64 << 20,
            event: 10 << 20,
            card: 4 << 20,
        }
    }
}

/// What one call adds. `Call::default()` adds nothing.
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// Sent with this request: trace context, hops, credentials. They replace headers of the same
    /// name in [`Options::headers`].
    pub headers: HeaderMap,
    /// Instead of [`Options::answer_timeout`].
    pub answer_timeout: Option<Duration>,
}

impl Call {
    /// A call with these headers.
    #[must_use]
    pub fn with_headers(headers: HeaderMap) -> Self {
        Self {
            headers,
            answer_timeout: None,
        }
    }
}
