//! Headers between two dialects: what says how a body is written is set anew, all else passes.
//!
//! # Invariants
//! - Credentials, trace and every header that is not of one binding's wire pass as they came.
//! - No length, encoding or status of one side's body is left to describe the other side's.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use mesh_proto::{Binding, Version, mesh};

use super::Transcoding;
use crate::promise::extensions;

/// What describes a body, and goes with it.
const OF_BODIES: [HeaderName; 6] = [
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::TRAILER,
];

/// The headers of a request in the agent's dialect.
pub(super) fn onward(
    headers: &mut HeaderMap,
    transcoding: &Transcoding,
    content_type: Option<&'static str>,
) {
    let agent = transcoding.agent;
    without_wire(headers);
    if let Some(kind) = content_type {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    if agent.binding != Binding::Grpc {
        let accepted = if transcoding.operation.streams() {
            "text/event-stream"
        } else if (agent.binding, agent.version) == (Binding::Rest, Version::V1_0) {
            "application/a2a+json, application/json"
        } else {
            "application/json"
        };
        headers.insert(header::ACCEPT, HeaderValue::from_static(accepted));
        let plain = HeaderValue::from_static("identity");
        headers.insert(header::ACCEPT_ENCODING, plain);
    }
    let version = HeaderValue::from_static(agent.version.as_str());
    headers.insert(HeaderName::from_static(mesh::A2A_VERSION), version);
    extensions::rename(headers, agent.version);
}

/// The agent's headers and, over gRPC, trailers without what describes its body.
pub(super) fn back(headers: &mut HeaderMap, transcoding: &Transcoding) {
    without_wire(headers);
    headers.remove(mesh::A2A_VERSION);
    extensions::rename(headers, transcoding.client.version);
}

/// Describes a body in one piece.
pub(super) fn of_body(
    headers: &mut HeaderMap,
    transcoding: &Transcoding,
    kind: &str,
    length: usize,
) {
    if let Ok(kind) = HeaderValue::from_str(kind) {
        headers.insert(header::CONTENT_TYPE, kind);
    }
    if transcoding.client.binding != Binding::Grpc {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
}

/// Describes a stream. What stands between must neither keep its events nor hold them back.
pub(super) fn of_stream(headers: &mut HeaderMap, transcoding: &Transcoding) {
    let kind = match transcoding.client.binding {
        Binding::Grpc => "application/grpc",
        Binding::JsonRpc | Binding::Rest => {
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            let buffering = HeaderName::from_static("x-accel-buffering");
            headers.insert(buffering, HeaderValue::from_static("no"));
            "text/event-stream"
        }
    };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
}

/// The status of a gRPC answer that is all head, taken out of it.
pub(super) fn take_status(head: &mut HeaderMap) -> HeaderMap {
    let names = ["grpc-status", "grpc-message", "grpc-status-details-bin"];
    let taken = names.into_iter().filter_map(|name| {
        let value = head.remove(name)?;
        Some((HeaderName::from_static(name), value))
    });
    taken.collect()
}

/// The trailers of a gRPC stream that ended well.
pub(super) fn success() -> HeaderMap {
    let status = HeaderName::from_static("grpc-status");
    HeaderMap::from_iter([(status, HeaderValue::from_static("0"))])
}

fn without_wire(headers: &mut HeaderMap) {
    for name in OF_BODIES {
        headers.remove(name);
    }
    let of_grpc: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with("grpc-"))
        .cloned()
        .collect();
    for name in of_grpc {
        headers.remove(name);
    }
}
