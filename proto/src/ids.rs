//! The identifiers of A2A as types: validated once, cheap to clone, never mixed up.
//!
//! # Invariants
//! - An id is never empty: in ProtoJSON and protobuf the empty string means "not set", so unset is
//!   `Option::None`, never an empty id.
//! - An id has a bound ([`ID_BYTES`]), so that no caller can make us keep or hash megabytes.
//! - `Debug` prints what `Display` prints.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// The longest id that is accepted, in bytes. The specification sets no limit; SDKs mint UUIDs
/// (36 bytes), ours with a route are about 63.
pub const ID_BYTES: usize = 1024;

/// Why a string is not an id.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Invalid {
    /// The string is empty, which on the wire means "not set".
    #[error("is empty")]
    Empty,
    /// The string is longer than the bound.
    #[error("is longer than {ID_BYTES} bytes")]
    TooLong,
    /// The string has a control character, or one that the kind of id does not allow.
    #[error("has a character that is not allowed")]
    Character,
    /// The name is one that paths of the mesh itself begin with.
    #[error("is reserved for paths of the mesh")]
    Reserved,
}

macro_rules! opaque_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks a foreign string.
            ///
            /// # Errors
            /// [`Invalid`], when the string is empty, too long or holds control characters.
            pub fn parse(text: &str) -> Result<Self, Invalid> {
                check_opaque(text).map(|()| Self(Arc::from(text)))
            }

            /// The id as it stands on the wire.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.as_ref().to_owned()
            }
        }

        impl TryFrom<String> for $name {
            type Error = Invalid;

            fn try_from(text: String) -> Result<Self, Invalid> {
                Self::parse(&text)
            }
        }

        impl std::str::FromStr for $name {
            type Err = Invalid;

            fn from_str(text: &str) -> Result<Self, Invalid> {
                Self::parse(text)
            }
        }
    };
}

opaque_id! {
    /// A task, always minted by the agent (spec 3.3, "Task ID").
    TaskId
}
opaque_id! {
    /// A conversation; minted by the agent, or by a client whose agent accepts it.
    ContextId
}
opaque_id! {
    /// One message, minted by its sender; the key by which a repeated send is recognised.
    MessageId
}
opaque_id! {
    /// The opaque routing string of the specification's multi-tenancy chapter.
    TenantId
}

/// The name under which the mesh knows an agent: the first path segment of its URLs.
///
/// Letters, digits, `_`, `.` and `-`, at most 63 of them, beginning with a letter or digit, and none
/// of [`RESERVED`]: so a name never needs escaping and never hides a path of the protocol.
#[derive(Clone, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct AgentName(Arc<str>);

/// First path segments that belong to the protocol or to the mesh, and so name no agent.
pub const RESERVED: [&str; 7] = [
    "agents",
    "skills",
    "v1",
    "tasks",
    "-",
    ".well-known",
    "extendedAgentCard",
];

impl AgentName {
    /// Checks a foreign string.
    ///
    /// # Errors
    /// [`Invalid`], saying which rule of the type the string breaks.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if RESERVED.contains(&text) {
            return Err(Invalid::Reserved);
        }
        let mut bytes = text.bytes();
        match bytes.next() {
            None => return Err(Invalid::Empty),
            Some(first) if !first.is_ascii_alphanumeric() => return Err(Invalid::Character),
            Some(_) => {}
        }
        if text.len() > 63 {
            return Err(Invalid::TooLong);
        }
        if bytes.any(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))) {
            return Err(Invalid::Character);
        }
        Ok(Self(Arc::from(text)))
    }

    /// The name as it stands in paths.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for AgentName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for AgentName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for AgentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for AgentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<AgentName> for String {
    fn from(name: AgentName) -> Self {
        name.0.as_ref().to_owned()
    }
}

impl TryFrom<String> for AgentName {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        Self::parse(&text)
    }
}

impl std::str::FromStr for AgentName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::parse(text)
    }
}

fn check_opaque(text: &str) -> Result<(), Invalid> {
    if text.is_empty() {
        Err(Invalid::Empty)
    } else if text.len() > ID_BYTES {
        Err(Invalid::TooLong)
    } else if text.chars().any(char::is_control) {
        Err(Invalid::Character)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_name_never_hides_a_path_of_the_protocol() {
        for reserved in RESERVED {
            assert!(AgentName::parse(reserved).is_err(), "{reserved}");
        }
        assert_eq!(AgentName::parse("message:send"), Err(Invalid::Character));
        assert_eq!(AgentName::parse(""), Err(Invalid::Empty));
        assert_eq!(AgentName::parse("a/b"), Err(Invalid::Character));
        assert_eq!(AgentName::parse(&"a".repeat(64)), Err(Invalid::TooLong));
        assert_eq!(
            AgentName::parse("desk-2.eu").map(String::from),
            Ok("desk-2.eu".to_owned())
        );
    }

    #[test]
    fn an_id_is_never_empty_unbounded_or_a_control_sequence() {
        assert_eq!(TaskId::parse(""), Err(Invalid::Empty));
        assert_eq!(
            TaskId::parse(&"x".repeat(ID_BYTES + 1)),
            Err(Invalid::TooLong)
        );
        assert_eq!(TaskId::parse("a\nb"), Err(Invalid::Character));
        assert_eq!(
            TaskId::parse("projects/7:x").unwrap().to_string(),
            "projects/7:x"
        );
    }
}
