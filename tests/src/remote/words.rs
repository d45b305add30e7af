//! What the two processes say to each other.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use mesh_fabric::bus::{Error, Message};
use serde::{Deserialize, Serialize};

#[derive(Debug, Deserialize, Serialize)]
pub(super) enum Ask {
    Publish {
        number: u64,
        batch: Vec<Text>,
    },
    Subscribe {
        number: u64,
        listener: u64,
        topic: String,
        group: Option<String>,
        in_flight: usize,
    },
    Done {
        number: u64,
        arrival: u64,
    },
    Drop {
        arrival: u64,
    },
    Leave {
        listener: u64,
    },
    Depth {
        number: u64,
        topic: String,
        group: String,
    },
}

#[derive(Debug, Deserialize, Serialize)]
pub(super) enum Said {
    Published {
        number: u64,
        answers: Vec<Option<Fault>>,
    },
    Done {
        number: u64,
        fault: Option<Fault>,
    },
    Depth {
        number: u64,
        fault: Option<Fault>,
        messages: Option<u64>,
        oldest: Duration,
    },
    Arrived {
        listener: u64,
        arrival: u64,
        attempt: u32,
        message: Text,
    },
    Ended {
        listener: u64,
    },
}

impl Said {
    /// What it answers; nothing was ever asked as 0.
    pub(super) const fn number(&self) -> u64 {
        match self {
            Self::Published { number, .. }
            | Self::Done { number, .. }
            | Self::Depth { number, .. } => *number,
            Self::Arrived { .. } | Self::Ended { .. } => 0,
        }
    }
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Text {
    topic: String,
    id: String,
    key: String,
    attributes: BTreeMap<String, String>,
    body: Vec<u8>,
    ttl: Option<Duration>,
}

impl Text {
    pub(super) fn of(message: &Message) -> Self {
        Self {
            topic: message.topic.to_string(),
            id: message.id.clone(),
            key: message.key.clone(),
            attributes: message.attributes.clone(),
            body: message.body.to_vec(),
            ttl: message.ttl,
        }
    }

    /// `None` where it is of no topic.
    pub(super) fn message(self) -> Option<Message> {
        Some(Message {
            topic: self.topic.parse().ok()?,
            id: self.id,
            key: self.key,
            attributes: self.attributes,
            body: Bytes::from(self.body),
            ttl: self.ttl,
        })
    }
}

#[derive(Debug, Deserialize, Serialize)]
pub(super) enum Fault {
    Size,
    Full,
    Unable(String),
    Unavailable(String),
    Closed,
}

#[derive(Debug)]
struct There(String);

impl std::fmt::Display for There {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for There {}

impl Fault {
    pub(super) fn of<T>(result: &Result<T, Error>) -> Option<Self> {
        Some(match result.as_ref().err()? {
            Error::Size => Self::Size,
            Error::Full => Self::Full,
            Error::Unable(why) => Self::Unable(why.clone()),
            Error::Unavailable(source) => Self::Unavailable(source.to_string()),
            Error::Closed => Self::Closed,
        })
    }

    pub(super) fn result(fault: Option<Self>) -> Result<(), Error> {
        Err(match fault {
            None => return Ok(()),
            Some(Self::Size) => Error::Size,
            Some(Self::Full) => Error::Full,
            Some(Self::Unable(why)) => Error::Unable(why),
            Some(Self::Unavailable(why)) => Error::Unavailable(Arc::new(There(why))),
            Some(Self::Closed) => Error::Closed,
        })
    }
}
