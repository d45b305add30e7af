//! The small words of 0.3: states, roles, and times that are mere strings.
//!
//! # Invariants
//! - A state or a role that 0.3 does not know is refused, as the SDKs' readers refuse it.
//! - A time that is none is as good as absent: 0.3 asks for any string there.

use std::{borrow::Cow, fmt};

use prost_types::Timestamp;
use serde::{Deserializer, Serializer, de::Error, de::Visitor};

use crate::{
    a2a::{Role as Speaker, TaskState},
    protojson::{Codec, Time, time},
};

/// `TaskState`: a word in small letters.
#[derive(Debug)]
pub(in super::super) struct State;

/// What 0.3 calls a state. What is no state of 1.0 is `unknown`, as is "not said".
const fn state_word(state: i32) -> &'static str {
    match state {
        1 => "submitted",
        2 => "working",
        3 => "completed",
        4 => "failed",
        5 => "canceled",
        6 => "input-required",
        7 => "rejected",
        8 => "auth-required",
        _ => "unknown",
    }
}

impl Codec for State {
    type Value = i32;

    fn serialize<S: Serializer>(state: &i32, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(state_word(*state))
    }

    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i32, D::Error> {
        let word = word(deserializer, "a task's state")?;
        match &*word {
            "unknown" => Ok(0),
            "cancelled" => Ok(TaskState::Canceled as i32),
            _ => (1..=8)
                .find(|state| state_word(*state) == word)
                .ok_or_else(|| D::Error::custom(format_args!("`{word}` is no state of a task"))),
        }
    }
}

/// `Role`: `user` or `agent`. What is neither is written as `agent`, since 0.3 has no third.
#[derive(Debug)]
pub(in super::super) struct Role;

impl Codec for Role {
    type Value = i32;

    fn serialize<S: Serializer>(role: &i32, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if *role == Speaker::User as i32 {
            "user"
        } else {
            "agent"
        })
    }

    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i32, D::Error> {
        let word = word(deserializer, "a role")?;
        match &*word {
            "user" => Ok(Speaker::User as i32),
            "agent" => Ok(Speaker::Agent as i32),
            _ => Err(D::Error::custom(format_args!("`{word}` is no role"))),
        }
    }
}

/// `timestamp`: ISO 8601 by custom, any string by the schema.
#[derive(Debug)]
pub(in super::super) struct Stamp;

impl Codec for Stamp {
    type Value = Option<Timestamp>;

    fn serialize<S: Serializer>(
        value: &Option<Timestamp>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => Time::serialize(value, serializer),
            None => serializer.serialize_none(),
        }
    }

    fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Timestamp>, D::Error> {
        let text = word(deserializer, "a time")?;
        // Without an offset it is taken as UTC: that is what those who leave it out mean most often.
        Ok(time::parse(&text).or_else(|| time::parse(&format!("{text}Z"))))
    }
}

fn word<'de, D: Deserializer<'de>>(
    deserializer: D,
    expected: &'static str,
) -> Result<Cow<'de, str>, D::Error> {
    deserializer.deserialize_str(Word(expected))
}

struct Word(&'static str);

impl<'de> Visitor<'de> for Word {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}
