//! `grpc-status`, `grpc-message` and `grpc-status-details-bin`, from and to a [`Problem`].

use std::collections::BTreeMap;

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode, utf8_percent_encode};
use prost::Message;
use tonic::Code;

use crate::{
    error::{DOMAIN, Fault, GrpcCode, Info, Problem},
    jsonrpc::ERROR_INFO,
};

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

/// gRPC escapes what is not printable ASCII, and the escape itself.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');

/// Binary headers are sent without padding and read with or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, prost::Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

/// `google.rpc.ErrorInfo`.
#[derive(Clone, PartialEq, prost::Message)]
struct ErrorInfo {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(string, tag = "2")]
    domain: String,
    #[prost(btree_map = "string, string", tag = "3")]
    metadata: BTreeMap<String, String>,
}

/// How many bytes of a message and of details a status carries. Peers refuse trailers beyond 8 KiB or
/// 16 KiB in all, and lose the whole answer with them; a message may treble when it is escaped, and the
/// details grow by a third and hold the message once more.
const MESSAGE_MAX: usize = 1024;
const DETAILS_MAX: usize = 3072;

/// The trailers that tell of a problem. A message beyond 1 KiB is cut, and metadata, then a foreign
/// name, is left out where the details would be beyond 3 KiB.
#[must_use]
pub fn trailers(problem: &Problem) -> HeaderMap {
    let mut map = plain_trailers(problem.fault.row().grpc, &problem.message);
    if let Ok(details) = HeaderValue::try_from(BASE64.encode(details(problem))) {
        map.insert(DETAILS, details);
    }
    map
}

/// The trailers that tell of a status and a message, without details. A message beyond 1 KiB is cut.
pub(crate) fn plain_trailers(code: GrpcCode, message: &str) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(3);
    map.insert(STATUS, HeaderValue::from(code.number()));
    let message = utf8_percent_encode(cut(message), ESCAPED).to_string();
    if let Ok(message) = HeaderValue::try_from(message) {
        map.insert(MESSAGE, message);
    }
    map
}

/// The trailers that tell of success.
#[must_use]
pub fn success() -> HeaderMap {
    let mut map = HeaderMap::with_capacity(1);
    map.insert(STATUS, HeaderValue::from(0));
    map
}

/// Whether these headers or trailers hold the status of a call.
#[must_use]
pub fn has_status(map: &HeaderMap) -> bool {
    map.contains_key(STATUS)
}

/// The problem that trailers tell of; `None` for success, and where there is no status at all.
#[must_use]
pub fn problem(trailers: &HeaderMap) -> Option<Problem> {
    let status = trailers.get(STATUS)?;
    // A status that is no number is as good as "unknown".
    let code = status
        .to_str()
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(2);
    if code == 0 {
        return None;
    }
    let message = trailers.get(MESSAGE).map_or_else(String::new, |message| {
        percent_decode(message.as_bytes())
            .decode_utf8_lossy()
            .into_owned()
    });
    let details = trailers
        .get(DETAILS)
        .and_then(|details| BASE64.decode(details).ok())
        .unwrap_or_default();
    Some(assemble(code, message, &details))
}

/// The problem that a status of tonic tells of.
#[must_use]
pub fn problem_of(status: &tonic::Status) -> Problem {
    assemble(
        i32::from(status.code()),
        status.message().to_owned(),
        status.details(),
    )
}

impl From<Problem> for tonic::Status {
    fn from(problem: Problem) -> Self {
        let code = Code::from_i32(problem.fault.row().grpc.number());
        let details = details(&problem);
        Self::with_details(code, cut(&problem.message), details)
    }
}

fn cut(message: &str) -> &str {
    message
        .get(..message.floor_char_boundary(MESSAGE_MAX))
        .unwrap_or_default()
}

fn details(problem: &Problem) -> Bytes {
    let whole = |(reason, domain): (&str, &str), metadata| {
        let info = ErrorInfo {
            reason: reason.to_owned(),
            domain: domain.to_owned(),
            metadata,
        };
        let status = Status {
            code: problem.fault.row().grpc.number(),
            message: cut(&problem.message).to_owned(),
            details: vec![prost_types::Any {
                type_url: ERROR_INFO.to_owned(),
                value: info.encode_to_vec(),
            }],
        };
        status.encode_to_vec()
    };
    let full = whole(problem.name(), problem.metadata.clone());
    if full.len() <= DETAILS_MAX {
        return full.into();
    }
    let bare = whole(problem.name(), BTreeMap::new());
    if bare.len() <= DETAILS_MAX {
        return bare.into();
    }
    whole((problem.fault.row().reason, DOMAIN), BTreeMap::new()).into()
}

fn assemble(code: i32, message: String, details: &[u8]) -> Problem {
    let info = Status::decode(details).ok().and_then(|status| {
        let is_info = |any: &prost_types::Any| any.type_url == ERROR_INFO;
        let any = status.details.into_iter().find(is_info)?;
        let info = ErrorInfo::decode(any.value.as_slice()).ok()?;
        Some(Info {
            reason: info.reason,
            domain: info.domain,
            metadata: info.metadata,
        })
    });
    Problem::reported(message, info, || Fault::from_grpc(code))
}
