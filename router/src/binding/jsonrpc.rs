//! JSON-RPC 2.0 over POST: one object in, one object or a stream of events out.
//!
//! # Invariants
//! - An error is a JSON-RPC object with the caller's own id, whatever the HTTP status says.
//! - Batches are refused (spec 9.1 knows none); so is anything that is not one JSON object.

use http::{Method, Response, StatusCode, header};
use hyper::body::Incoming;
use mesh_proto::{Binding, Dialect, Fault, Problem, Version, jsonrpc::RawId, scan};

use super::{Caller, Front, To, intake, pass, version};
use crate::{
    call::{Ask, Body, Keys},
    refusal::farewell,
};

impl Front {
    pub(super) async fn answer_json_rpc(
        &self,
        to: To,
        caller: Caller,
        body: Incoming,
    ) -> Response<Body> {
        let (unknown, guess) = (RawId::null(), version::guess(&caller));
        if caller.method != Method::POST {
            let mut refused = failure(guess, &unknown, &wrong_method(&caller.method));
            *refused.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            refused
                .headers_mut()
                .insert(header::ALLOW, http::HeaderValue::from_static("POST"));
            return refused;
        }
        if let Err(problem) = super::check_json(&caller.headers) {
            return failure(guess, &unknown, &problem);
        }
        let read = intake::read(body, &self.settings.body).await;
        let body = match read {
            Ok(body) => body,
            Err(error) => return failure(guess, &unknown, &error.answer()),
        };
        let readable = match intake::readable(&caller.headers, &body, &self.settings.body) {
            Ok(readable) => readable,
            Err(error) => return failure(guess, &unknown, &error.answer()),
        };
        let envelope = match scan::json_rpc(&readable) {
            Ok(envelope) => envelope,
            Err(rejected) => return failure(guess, &rejected.id, &rejected.problem),
        };
        let id = envelope.id.clone();
        let (operation, style) = (envelope.operation, envelope.version);
        let version = match version::settle(&caller, style) {
            Ok(version) => version,
            Err(problem) => return failure(style, &id, &problem),
        };
        let dialect = Dialect::new(Binding::JsonRpc, version);
        let mut keys = Keys::from(&envelope.ids);
        let agent = match self.settle(to, operation, &mut keys) {
            Ok(agent) => agent,
            Err(error) => return failure(version, &id, &error.answer()),
        };
        let ask = Ask {
            agent,
            dialect,
            operation,
            keys,
            method: Method::POST,
            path: caller
                .uri
                .query()
                .map(|query| format!("?{query}"))
                .unwrap_or_default()
                .into(),
            headers: caller.onward(),
            body: body.clone(),
            plain: intake::inflated(readable),
            hops: caller.hops(),
            trace: caller.trace(),
            farewell: farewell(dialect, Some(id.clone())),
        };
        match self.carried(ask, &caller).await {
            Ok(reply) => pass(reply),
            Err(error) => failure(version, &id, &error.answer()),
        }
    }

    /// The id of a request that will be refused anyway, so that its client can match the answer.
    pub(super) async fn id_of(&self, caller: &Caller, body: Incoming) -> RawId {
        let Ok(body) = intake::read(body, &self.settings.body).await else {
            return RawId::null();
        };
        match intake::readable(&caller.headers, &body, &self.settings.body) {
            Ok(readable) => match scan::json_rpc(&readable) {
                Ok(envelope) => envelope.id,
                Err(rejected) => rejected.id,
            },
            Err(_) => RawId::null(),
        }
    }
}

/// An error as a JSON-RPC object.
fn failure(version: Version, id: &RawId, problem: &Problem) -> Response<Body> {
    super::refuse(Dialect::new(Binding::JsonRpc, version), Some(id), problem)
}

fn wrong_method(method: &Method) -> Problem {
    Problem::new(
        Fault::InvalidRequest,
        format!("JSON-RPC is spoken by POST, not {method}"),
    )
}
