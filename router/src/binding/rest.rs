//! HTTP+JSON: the operation and most ids stand in method, path and query.
//!
//! # Invariants
//! - Path and query go on as they came, escapes and all.
//! - An error is a `google.rpc.Status` in JSON with the row's HTTP status (spec 11.6).

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header};
use hyper::body::Incoming;
use mesh_core::error::CallError;
use mesh_proto::{
    Binding, Dialect, Fault, Operation, Problem,
    jsonrpc::RawId,
    rest::{self, Route},
    scan, sse,
};

use super::{Caller, Front, To, intake, json, pass};
use crate::call::{Ask, Body, Farewell, Keys, LastWords};

/// What an unavailable mesh asks its callers to wait, in seconds: one ejection's order of magnitude.
const RETRY_SECONDS: &str = "1";

impl Front {
    pub(super) async fn answer_rest(
        &self,
        to: To,
        below: &str,
        caller: Caller,
        body: Incoming,
    ) -> Response<Body> {
        let route = match rest::route(&caller.method, below, caller.uri.query()) {
            Ok(route) => route,
            Err(problem) => return failure(&problem),
        };
        let body = match intake::read(body, &self.settings.body).await {
            Ok(body) => body,
            Err(error) => return failure(&error.answer()),
        };
        let (keys, plain) = match self.keys(&route, &caller, &body) {
            Ok(found) => found,
            Err(error) => return failure(&error.answer()),
        };
        let version = super::stated_version(&caller).unwrap_or(route.version);
        let path = match caller.uri.query() {
            Some(query) => format!("{below}?{query}"),
            None => below.to_owned(),
        };
        let mut headers = caller.onward();
        let agent = match self.settle(to, route.operation, &keys, &mut headers) {
            Ok(agent) => agent,
            Err(error) => return failure(&error.answer()),
        };
        let ask = Ask {
            agent,
            dialect: Dialect::new(Binding::Rest, version),
            operation: route.operation,
            keys,
            method: caller.method.clone(),
            path: path.into(),
            headers,
            body,
            plain,
            hops: caller.hops(),
            trace: caller.trace(),
            farewell: Farewell {
                id: None,
                write: last_event,
            },
        };
        match self.carried(ask, &caller).await {
            Ok(reply) => pass(reply),
            Err(error) => failure(&error.answer()),
        }
    }

    /// The path's ids, and for sends those of the body; and the body inflated, where it had to be.
    fn keys(
        &self,
        route: &Route,
        caller: &Caller,
        body: &[u8],
    ) -> Result<(Keys, Option<Bytes>), CallError> {
        let (mut keys, mut plain) = (Keys::default(), None);
        if route.operation.sends() {
            super::check_json(&caller.headers).map_err(CallError::BadRequest)?;
            let readable = intake::readable(&caller.headers, body, &self.settings.body)?;
            let ids = scan::rest_body(route.operation, &readable).map_err(CallError::BadRequest)?;
            keys = Keys::from(&ids);
            plain = intake::inflated(readable);
        } else if !body.is_empty() {
            // Nothing in it decides a place: what can't be read is the agent's affair.
            let readable = intake::readable(&caller.headers, body, &self.settings.body).ok();
            plain = readable.and_then(intake::inflated);
        }
        if let Some(tenant) = &route.tenant {
            keys.tenant = Some(tenant.as_str().into());
        }
        if let Some(task) = &route.task_id {
            keys.task = Some(task.as_str().into());
        }
        if route.operation == Operation::ListTasks {
            keys.context = route.context_id.as_deref().map(Box::from);
        }
        Ok((keys, plain))
    }
}

/// An error as a `google.rpc.Status` in JSON.
pub(super) fn failure(problem: &Problem) -> Response<Body> {
    let (status, body) = rest::error(problem);
    let mut response = json(status, "application/json", body);
    retry_after(problem, response.headers_mut());
    response
}

/// Says when to come back, where coming back can help.
pub(super) fn retry_after(problem: &Problem, headers: &mut HeaderMap) {
    if matches!(problem.fault, Fault::Unavailable | Fault::Exhausted) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_SECONDS));
    }
}

fn last_event(_id: Option<&RawId>, problem: &Problem) -> LastWords {
    let (_, data) = rest::error(problem);
    LastWords::Event(sse::write(&sse::Event::of_data(&data)))
}
