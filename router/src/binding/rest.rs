//! HTTP+JSON: the operation and most ids stand in method, path and query.
//!
//! # Invariants
//! - Path and query go on as they came, escapes and all.
//! - An error has the shape of the caller's version: a `google.rpc.Status` in JSON in 1.0 (spec 11.6).

use bytes::Bytes;
use http::Response;
use hyper::body::Incoming;
use mesh_core::error::CallError;
use mesh_proto::{
    Binding, Dialect, Operation, Problem, Version,
    rest::{self, Route},
    scan,
};

use super::{Caller, Front, To, intake, pass, refuse, version};
use crate::{
    call::{Ask, Body, Keys},
    refusal::farewell,
};

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
            Err(problem) => {
                let style = style(below).unwrap_or_else(|| version::guess(&caller));
                return refuse(Dialect::new(Binding::Rest, style), None, &problem);
            }
        };
        let dialect = Dialect::new(Binding::Rest, route.version);
        let failure = |problem: &Problem| refuse(dialect, None, problem);
        if let Err(problem) = version::settle(&caller, route.version) {
            return failure(&problem);
        }
        let body = match intake::read(body, &self.settings.body).await {
            Ok(body) => body,
            Err(error) => return failure(&error.answer()),
        };
        let (mut keys, plain) = match self.keys(&route, &caller, &body) {
            Ok(found) => found,
            Err(error) => return failure(&error.answer()),
        };
        let path = match caller.uri.query() {
            Some(query) => format!("{below}?{query}"),
            None => below.to_owned(),
        };
        let agent = match self.settle(to, route.operation, &mut keys) {
            Ok(agent) => agent,
            Err(error) => return failure(&error.answer()),
        };
        let ask = Ask {
            agent,
            dialect,
            operation: route.operation,
            keys,
            method: caller.method.clone(),
            path: path.into(),
            headers: caller.onward(),
            body,
            plain,
            hops: caller.hops(),
            trace: caller.trace(),
            farewell: farewell(dialect, None),
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
            let ids = scan::rest_body_in(route.version, route.operation, &readable)
                .map_err(CallError::BadRequest)?;
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

/// An error to somebody who asked for a page, and so speaks no version.
pub(super) fn failure(problem: &Problem) -> Response<Body> {
    refuse(Dialect::new(Binding::Rest, Version::V1_0), None, problem)
}

/// The version of a path that may be no operation's: what begins with `/v1` is of 0.3. Unset where
/// nothing can be told.
pub(super) fn style(path: &str) -> Option<Version> {
    let first = path.trim_start_matches('/').split('/').next();
    (first == Some("v1")).then_some(Version::V0_3)
}
