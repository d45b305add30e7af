//! Which binding and which version of A2A somebody speaks.

use std::fmt;

/// The three wire bindings of the specification (chapters 9, 10 and 11).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Binding {
    /// JSON-RPC 2.0 over HTTP POST; streams as server-sent events.
    JsonRpc,
    /// gRPC: protobuf over HTTP/2.
    Grpc,
    /// HTTP+JSON, the "REST" binding; streams as server-sent events.
    Rest,
}

impl Binding {
    /// All of them, for tables.
    pub const ALL: [Self; 3] = [Self::JsonRpc, Self::Grpc, Self::Rest];

    /// The value of `protocolBinding` in a card.
    #[must_use]
    pub const fn card_name(self) -> &'static str {
        match self {
            Self::JsonRpc => "JSONRPC",
            Self::Grpc => "GRPC",
            Self::Rest => "HTTP+JSON",
        }
    }

    /// Reads `protocolBinding` (1.0) or `transport` (0.3) of a card; custom bindings are `None`.
    #[must_use]
    pub fn from_card_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|binding| binding.card_name().eq_ignore_ascii_case(name))
    }

    /// A short word for labels and logs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::JsonRpc => "jsonrpc",
            Self::Grpc => "grpc",
            Self::Rest => "rest",
        }
    }
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.card_name())
    }
}

/// A protocol version that the mesh knows. Patch numbers do not matter (spec 3.6).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Version {
    /// 0.3: what a caller without any version signal speaks.
    V0_3,
    /// 1.0.
    V1_0,
}

impl Version {
    /// All of them, for tables.
    pub const ALL: [Self; 2] = [Self::V0_3, Self::V1_0];

    /// `Major.Minor`, as the `A2A-Version` header carries it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V0_3 => "0.3",
            Self::V1_0 => "1.0",
        }
    }

    /// Reads `1.0`, `1.0.1`, `0.3` and so on; surrounding space and the patch number are ignored.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().split('.');
        let (major, minor) = (parts.next()?, parts.next()?);
        let patch_is_fine = parts
            .next()
            .is_none_or(|p| p.bytes().all(|b| b.is_ascii_digit()));
        match (major, minor) {
            ("0", "3") if patch_is_fine => Some(Self::V0_3),
            ("1", "0") if patch_is_fine => Some(Self::V1_0),
            _ => None,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Binding and version together: what decides whether bytes can pass untouched.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Dialect {
    /// The wire binding.
    pub binding: Binding,
    /// The protocol version.
    pub version: Version,
}

impl Dialect {
    /// Names a dialect.
    #[must_use]
    pub const fn new(binding: Binding, version: Version) -> Self {
        Self { binding, version }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.binding, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_its_major_and_minor_number() {
        assert_eq!(Version::parse("1.0"), Some(Version::V1_0));
        assert_eq!(Version::parse(" 1.0.1 "), Some(Version::V1_0));
        assert_eq!(Version::parse("0.3.0"), Some(Version::V0_3));
        for unknown in ["", "1", "1.1", "2.0", "1.0.x", "one.zero"] {
            assert_eq!(Version::parse(unknown), None, "{unknown}");
        }
    }
}
