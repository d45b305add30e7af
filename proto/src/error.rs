//! The one error table: A2A error <-> JSON-RPC code <-> gRPC status <-> HTTP status (spec 1.0.1, 5.4).
//!
//! To add an error: a variant of [`Fault`], a row in [`Fault::row`]. Codecs read the table; none has
//! an error number of its own, but for 0.3, whose servers answer other statuses: `v03/error.rs` says which.

use std::{collections::BTreeMap, fmt};

/// The domain of `google.rpc.ErrorInfo` in every A2A error (spec 9.5, 10.6, 11.6).
pub const DOMAIN: &str = "a2a-protocol.org";

/// What went wrong, in the protocol's own terms.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Fault {
    /// No such task, or none that the caller may see.
    TaskNotFound,
    /// The task is past cancelling.
    TaskNotCancelable,
    /// The agent pushes nothing.
    PushNotificationNotSupported,
    /// The agent does not do this, or not in the task's state.
    UnsupportedOperation,
    /// A media type that the agent does not take.
    ContentTypeNotSupported,
    /// The agent's answer breaks the protocol.
    InvalidAgentResponse,
    /// The agent has no extended card.
    ExtendedAgentCardNotConfigured,
    /// The agent requires an extension that the caller did not declare.
    ExtensionSupportRequired,
    /// A protocol version that is not spoken here.
    VersionNotSupported,
    /// The body is not JSON, or not a protobuf message.
    Parse,
    /// The body is JSON, but not a request.
    InvalidRequest,
    /// No such method or path.
    MethodNotFound,
    /// The request's fields are wrong.
    InvalidParams,
    /// A fault on our side.
    Internal,
    /// No or wrong credentials.
    Unauthenticated,
    /// Credentials that do not suffice.
    PermissionDenied,
    /// Nobody can answer now; trying later may help.
    Unavailable,
    /// The request is over a size bound.
    TooLarge,
    /// The caller or the mesh is over its limit.
    Exhausted,
    /// The deadline passed first.
    DeadlineExceeded,
}

/// The numbers of gRPC's status codes that the table uses.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[repr(i32)]
#[expect(missing_docs, reason = "the names are gRPC's own, documented there")]
pub enum GrpcCode {
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    Unauthenticated = 16,
}

impl GrpcCode {
    /// The number in `grpc-status`.
    #[must_use]
    pub const fn number(self) -> i32 {
        self as i32
    }

    /// The name in `error.status` of the HTTP+JSON binding.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::NotFound => "NOT_FOUND",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::ResourceExhausted => "RESOURCE_EXHAUSTED",
            Self::FailedPrecondition => "FAILED_PRECONDITION",
            Self::Unimplemented => "UNIMPLEMENTED",
            Self::Internal => "INTERNAL",
            Self::Unavailable => "UNAVAILABLE",
            Self::Unauthenticated => "UNAUTHENTICATED",
        }
    }
}

/// One row of the table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Row {
    /// The JSON-RPC error code.
    pub code: i32,
    /// The gRPC status.
    pub grpc: GrpcCode,
    /// The HTTP status of the HTTP+JSON binding.
    pub http: u16,
    /// `ErrorInfo.reason`.
    pub reason: &'static str,
}

impl Fault {
    /// All of them, for tables.
    pub const ALL: [Self; 20] = [
        Self::TaskNotFound,
        Self::TaskNotCancelable,
        Self::PushNotificationNotSupported,
        Self::UnsupportedOperation,
        Self::ContentTypeNotSupported,
        Self::InvalidAgentResponse,
        Self::ExtendedAgentCardNotConfigured,
        Self::ExtensionSupportRequired,
        Self::VersionNotSupported,
        Self::Parse,
        Self::InvalidRequest,
        Self::MethodNotFound,
        Self::InvalidParams,
        Self::Internal,
        Self::Unauthenticated,
        Self::PermissionDenied,
        Self::Unavailable,
        Self::TooLarge,
        Self::Exhausted,
        Self::DeadlineExceeded,
    ];

    /// The table. JSON-RPC has no code of its own for the last six: spec 9.5 leaves -32603, and a
    /// request that is wrong in itself stays -32600.
    #[must_use]
    pub const fn row(self) -> Row {
        use GrpcCode as G;
        let (code, grpc, http, reason) = match self {
            Self::TaskNotFound => (-32001, G::NotFound, 404, "TASK_NOT_FOUND"),
            Self::TaskNotCancelable => (-32002, G::FailedPrecondition, 400, "TASK_NOT_CANCELABLE"),
            Self::PushNotificationNotSupported => (
                -32003,
                G::FailedPrecondition,
                400,
                "PUSH_NOTIFICATION_NOT_SUPPORTED",
            ),
            Self::UnsupportedOperation => {
                (-32004, G::FailedPrecondition, 400, "UNSUPPORTED_OPERATION")
            }
            Self::ContentTypeNotSupported => (
                -32005,
                G::InvalidArgument,
                400,
                "CONTENT_TYPE_NOT_SUPPORTED",
            ),
            Self::InvalidAgentResponse => (-32006, G::Internal, 500, "INVALID_AGENT_RESPONSE"),
            Self::ExtendedAgentCardNotConfigured => (
                -32007,
                G::FailedPrecondition,
                400,
                "EXTENDED_AGENT_CARD_NOT_CONFIGURED",
            ),
            Self::ExtensionSupportRequired => (
                -32008,
                G::FailedPrecondition,
                400,
                "EXTENSION_SUPPORT_REQUIRED",
            ),
            Self::VersionNotSupported => {
                (-32009, G::FailedPrecondition, 400, "VERSION_NOT_SUPPORTED")
            }
            Self::Parse => (-32700, G::InvalidArgument, 400, "PARSE_ERROR"),
            Self::InvalidRequest => (-32600, G::InvalidArgument, 400, "INVALID_REQUEST"),
            Self::MethodNotFound => (-32601, G::Unimplemented, 404, "METHOD_NOT_FOUND"),
            Self::InvalidParams => (-32602, G::InvalidArgument, 400, "INVALID_PARAMS"),
            Self::Internal => (-32603, G::Internal, 500, "INTERNAL_ERROR"),
            Self::Unauthenticated => (-32603, G::Unauthenticated, 401, "UNAUTHENTICATED"),
            Self::PermissionDenied => (-32603, G::PermissionDenied, 403, "PERMISSION_DENIED"),
            Self::Unavailable => (-32603, G::Unavailable, 503, "UNAVAILABLE"),
            Self::TooLarge => (-32600, G::ResourceExhausted, 413, "REQUEST_TOO_LARGE"),
            Self::Exhausted => (-32603, G::ResourceExhausted, 429, "RESOURCE_EXHAUSTED"),
            Self::DeadlineExceeded => (-32603, G::DeadlineExceeded, 504, "DEADLINE_EXCEEDED"),
        };
        Row {
            code,
            grpc,
            http,
            reason,
        }
    }

    /// Finds the fault of an `ErrorInfo.reason`.
    #[must_use]
    pub fn from_reason(reason: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|fault| fault.row().reason == reason)
    }

    /// The best guess for a JSON-RPC code when no reason came with it.
    #[must_use]
    pub fn from_code(code: i32) -> Self {
        Self::ALL
            .into_iter()
            .find(|fault| fault.row().code == code)
            .unwrap_or(Self::Internal)
    }

    /// The best guess for a gRPC status when no details came with it.
    #[must_use]
    pub const fn from_grpc(status: i32) -> Self {
        match status {
            3 => Self::InvalidParams,
            4 => Self::DeadlineExceeded,
            5 => Self::TaskNotFound,
            7 => Self::PermissionDenied,
            8 => Self::Exhausted,
            9 => Self::UnsupportedOperation,
            12 => Self::MethodNotFound,
            14 => Self::Unavailable,
            16 => Self::Unauthenticated,
            _ => Self::Internal,
        }
    }

    /// The best guess for an HTTP status when the body told nothing.
    #[must_use]
    pub const fn from_http(status: u16) -> Self {
        match status {
            400 | 422 => Self::InvalidParams,
            401 => Self::Unauthenticated,
            403 => Self::PermissionDenied,
            404 => Self::TaskNotFound,
            405 => Self::MethodNotFound,
            413 => Self::TooLarge,
            415 => Self::ContentTypeNotSupported,
            429 => Self::Exhausted,
            502..=503 => Self::Unavailable,
            504 => Self::DeadlineExceeded,
            _ => Self::Internal,
        }
    }
}

/// A fault with the words for the one who meets it. What every codec encodes and decodes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// The row of the table.
    pub fault: Fault,
    /// For a person: what is wrong and, where known, what would be right.
    pub message: String,
    /// `ErrorInfo.metadata`: for a program. Never secrets, never addresses of workers.
    pub metadata: BTreeMap<String, String>,
    /// What an agent calls an error of its own that is not in the table; the fault is then the nearest.
    pub origin: Option<Box<Origin>>,
}

/// The name of an error that is not in the table.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Origin {
    /// `ErrorInfo.reason`.
    pub reason: String,
    /// `ErrorInfo.domain`: where the reason means something.
    pub domain: String,
}

/// `google.rpc.ErrorInfo` as it was read.
#[derive(Debug)]
pub(crate) struct Info {
    pub(crate) reason: String,
    pub(crate) domain: String,
    pub(crate) metadata: BTreeMap<String, String>,
}

impl Problem {
    /// The problem that somebody else reports; `guess` where its reason is none that the table knows.
    pub(crate) fn reported(
        message: String,
        info: Option<Info>,
        guess: impl FnOnce() -> Fault,
    ) -> Self {
        let Some(info) = info else {
            return Self::new(guess(), message);
        };
        let known = Fault::from_reason(&info.reason);
        let is_named = known.is_none() && !info.reason.is_empty();
        let origin = is_named.then(|| {
            Box::new(Origin {
                reason: info.reason,
                domain: info.domain,
            })
        });
        Self {
            fault: known.unwrap_or_else(guess),
            message,
            metadata: info.metadata,
            origin,
        }
    }

    /// `ErrorInfo.reason` and `ErrorInfo.domain`.
    #[must_use]
    pub fn name(&self) -> (&str, &str) {
        match &self.origin {
            Some(origin) => (&origin.reason, &origin.domain),
            None => (self.fault.row().reason, DOMAIN),
        }
    }

    /// A fault with its message.
    #[must_use]
    pub fn new(fault: Fault, message: impl Into<String>) -> Self {
        Self {
            fault,
            message: message.into(),
            metadata: BTreeMap::new(),
            origin: None,
        }
    }

    /// Adds a fact for programs.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.metadata.insert(key.to_owned(), value.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name().0, self.message)
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_leads_back_to_its_fault() {
        for fault in Fault::ALL {
            assert_eq!(Fault::from_reason(fault.row().reason), Some(fault));
        }
    }

    #[test]
    fn the_nine_a2a_codes_lead_back_to_their_faults() {
        for fault in Fault::ALL.into_iter().take(9) {
            assert_eq!(Fault::from_code(fault.row().code), fault);
        }
    }
}
