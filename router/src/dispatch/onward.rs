//! What an endpoint gets: the caller's headers and body, as far as they go on, and what is ours to add.
//!
//! # Invariants
//! - The caller's bytes pass as they came, unless the line speaks another dialect or ids are opened.
//! - What only the mesh may say is said to our own workers alone.

use std::borrow::Cow;

use http::{HeaderMap, HeaderValue};
use mesh_core::{
    error::CallError,
    token::{Keys, Kind, Route},
};
use mesh_proto::{Binding, grpc, mesh};
use tokio::time::Instant;

use super::Dispatch;
use crate::{
    admission::deadline,
    call::Ask,
    passage::{Candidate, Passage},
    upstream::{
        Line,
        envelope::Envelope,
        transcode::{Outgoing, Transcoding},
    },
};

impl Dispatch {
    /// What the upstream gets: the caller's headers, our hop and span, and for our own workers the
    /// route to put in front of new ids.
    pub(super) fn headers(
        &self,
        ask: &Ask,
        passage: &Passage,
        candidate: &Candidate,
        line: &Line,
    ) -> HeaderMap {
        let mut headers = ask.headers.clone();
        self.extensions.filter(&mut headers);
        headers.insert(mesh::HOPS, HeaderValue::from(ask.hops));
        if let Ok(trace) = HeaderValue::from_str(&ask.trace.to_string()) {
            headers.insert(mesh::TRACEPARENT, trace);
        }
        if let Some(deadline) = passage.deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            deadline::write(&mut headers, left, line.binding);
        }
        let incarnation = candidate.endpoint.incarnation();
        if incarnation == mesh::Incarnation::default() {
            return headers;
        }
        if candidate.orphan {
            headers.insert(mesh::ORPHAN, HeaderValue::from_static("1"));
        }
        if let Ok(view) = HeaderValue::from_str(&passage.view.to_string()) {
            headers.insert(mesh::VIEW, view);
        }
        let Some(slot) = passage.slot else {
            return headers;
        };
        headers.insert(mesh::SLOT, HeaderValue::from(slot.0));
        if ask.operation.sends() {
            let route = Route {
                cell: mesh::Cell::default(),
                slot,
                incarnation,
                kind: Kind::Native,
                minted_hour: mesh_runtime::clock::hour(),
            };
            let keys: &Keys = self.catalogue.keys();
            let sealed = keys.seal(route, ask.agent.as_str(), ask.keys.tenant.as_deref());
            if let Ok(affinity) = HeaderValue::from_str(&sealed) {
                headers.insert(mesh::AFFINITY, affinity);
            }
        }
        headers
    }
}

/// What goes down a line: the call as it came, with its ids opened, or in the line's own dialect.
pub(super) fn outgoing(
    ask: &Ask,
    line: &Line,
    transcoding: Option<&Transcoding>,
    envelope: Option<&Envelope>,
    mut headers: HeaderMap,
) -> Result<Outgoing, CallError> {
    if let Some(transcoding) = transcoding {
        return transcoding.request(ask, envelope, line.tenant.as_deref(), headers);
    }
    let (mut below, mut body) = (&*ask.path, ask.body.clone());
    if let Some(envelope) = envelope {
        envelope.adapt(&mut headers);
        below = envelope.path.as_deref().unwrap_or(below);
        body = envelope.body.clone().unwrap_or(body);
    }
    let path = match ask.dialect.binding {
        Binding::Grpc => {
            let path = grpc::path_of(ask.operation, ask.dialect.version);
            Cow::Borrowed(path.unwrap_or_default())
        }
        Binding::JsonRpc | Binding::Rest => Cow::Owned(below.to_owned()),
    };
    Ok(Outgoing {
        method: ask.method.clone(),
        path,
        headers,
        body,
    })
}
