//! JSON-RPC 2.0 over POST: one object in, one object or a stream of events out.
//!
//! # Invariants
//! - An error is a JSON-RPC object with the caller's own id, whatever the HTTP status says.
//! - Batches are refused (spec 9.1 knows none); so is anything that is not one JSON object.

use http::{Method, Response, StatusCode, header};
use hyper::body::Incoming;
use mesh_proto::{
    Binding, Dialect, Fault, Problem, Version,
    jsonrpc::{self, RawId},
    scan, sse,
};

use super::{Caller, Front, To, intake, json, pass};
use crate::call::{Ask, Body, Farewell, Keys, LastWords};

impl Front {
    pub(super) async fn answer_json_rpc(
        &self,
        to: To,
        caller: Caller,
        body: Incoming,
    ) -> Response<Body> {
        let unknown = RawId::null();
        if caller.method != Method::POST {
            let mut refused = failure(&unknown, &wrong_method(&caller.method));
            *refused.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            refused
                .headers_mut()
                .insert(header::ALLOW, http::HeaderValue::from_static("POST"));
            return refused;
        }
        if let Err(problem) = super::check_json(&caller.headers) {
            return failure(&unknown, &problem);
        }
        let read = intake::read(body, &self.settings.body).await;
        let body = match read {
            Ok(body) => body,
            Err(error) => return failure(&unknown, &error.answer()),
        };
        let readable = match intake::readable(&caller.headers, &body, &self.settings.body) {
            Ok(readable) => readable,
            Err(error) => return failure(&unknown, &error.answer()),
        };
        let envelope = match scan::json_rpc(&readable) {
            Ok(envelope) => envelope,
            Err(rejected) => return failure(&rejected.id, &rejected.problem),
        };
        let id = envelope.id.clone();
        let (operation, stated) = (envelope.operation, envelope.version);
        let keys = Keys::from(&envelope.ids);
        let mut headers = caller.onward();
        let agent = match self.settle(to, operation, &keys, &mut headers) {
            Ok(agent) => agent,
            Err(error) => return failure(&id, &error.answer()),
        };
        let ask = Ask {
            agent,
            dialect: Dialect::new(Binding::JsonRpc, version(&caller, stated)),
            operation,
            keys,
            method: Method::POST,
            path: caller
                .uri
                .query()
                .map(|query| format!("?{query}"))
                .unwrap_or_default()
                .into(),
            headers,
            body: body.clone(),
            plain: intake::inflated(readable),
            hops: caller.hops(),
            trace: caller.trace(),
            farewell: Farewell {
                id: Some(id.clone()),
                write: last_event,
            },
        };
        match self.carried(ask, &caller).await {
            Ok(reply) => pass(reply),
            Err(error) => failure(&id, &error.answer()),
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

/// An error as a JSON-RPC object. The HTTP status is 200, as the SDKs have it, but for what the
/// infrastructure between must see: who you are, how much, and come back later.
pub(super) fn failure(id: &RawId, problem: &Problem) -> Response<Body> {
    let status = match problem.fault {
        Fault::Unauthenticated
        | Fault::PermissionDenied
        | Fault::TooLarge
        | Fault::Exhausted
        | Fault::Unavailable
        | Fault::DeadlineExceeded => StatusCode::from_u16(problem.fault.row().http),
        _ => Ok(StatusCode::OK),
    };
    let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json(status, "application/json", jsonrpc::error(id, problem));
    super::rest::retry_after(problem, response.headers_mut());
    response
}

fn last_event(id: Option<&RawId>, problem: &Problem) -> LastWords {
    let null = RawId::null();
    let data = jsonrpc::error(id.unwrap_or(&null), problem);
    LastWords::Event(sse::write(&sse::Event::of_data(&data)))
}

fn wrong_method(method: &Method) -> Problem {
    Problem::new(
        Fault::InvalidRequest,
        format!("JSON-RPC is spoken by POST, not {method}"),
    )
}

/// Header, then query parameter, then what the method's name tells (spec 3.6).
fn version(caller: &Caller, by_name: Version) -> Version {
    super::stated_version(caller).unwrap_or(by_name)
}
