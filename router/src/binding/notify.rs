//! Notifications of agents, as they come in at an address that we gave them.
//!
//! # Invariants
//! - An address that is none of ours costs no body.
//! - Plain HTTP whatever the binding of the call was that gave the address (spec 4.3.3).

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use mesh_core::error::CallError;

use super::{Caller, Front, intake, json};
use crate::{
    call::Body,
    push::{Outcome, Push},
    webhook,
};

/// The sealed part of the path of a notification.
pub(super) fn sealed(path: &str) -> Option<&str> {
    path.strip_prefix(webhook::PATH)
}

impl Front {
    pub(super) async fn notification(
        &self,
        sealed: &str,
        caller: &Caller,
        body: Incoming,
    ) -> Response<Body> {
        let (method, headers) = (&caller.method, &caller.headers);
        receive(
            &self.push,
            &self.settings.body,
            sealed,
            method,
            headers,
            body,
        )
        .await
    }
}

/// Takes a notification in: what stands behind [`webhook::PATH`] in its path, and the rest of it.
async fn receive(
    push: &Push,
    settings: &intake::Settings,
    sealed: &str,
    method: &Method,
    headers: &HeaderMap,
    body: Incoming,
) -> Response<Body> {
    if method != Method::POST {
        let mut refused = answer(Outcome::Unreadable);
        *refused.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        let allowed = HeaderValue::from_static("POST");
        refused.headers_mut().insert(header::ALLOW, allowed);
        return refused;
    }
    let Some(webhook) = push.open(sealed) else {
        push.count(Outcome::Unknown);
        return answer(Outcome::Unknown);
    };
    let body = match intake::read(body, settings).await {
        Ok(body) => body,
        Err(error) => return unreadable(&error),
    };
    let readable = match intake::readable(headers, &body, settings) {
        Ok(readable) => Bytes::from(readable.into_owned()),
        Err(error) => return unreadable(&error),
    };
    let outcome = push.deliver(webhook, headers, readable).await;
    push.count(outcome);
    answer(outcome)
}

/// Takes in what comes at a port that is for notifications alone.
pub async fn take(
    push: &Push,
    settings: &intake::Settings,
    request: Request<Incoming>,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    match sealed(head.uri.path()) {
        Some(sealed) => receive(push, settings, sealed, &head.method, &head.headers, body).await,
        None => answer(Outcome::Unknown),
    }
}

/// The answer to what can't be read, with the status of the reason.
fn unreadable(error: &CallError) -> Response<Body> {
    let mut refused = answer(Outcome::Unreadable);
    if let Ok(status) = StatusCode::from_u16(error.answer().fault.row().http) {
        *refused.status_mut() = status;
    }
    refused
}

fn answer(outcome: Outcome) -> Response<Body> {
    let said = format!("{{\"outcome\":\"{}\"}}", outcome.label());
    let mut response = json(outcome.status(), "application/json", Bytes::from(said));
    if outcome == Outcome::Busy {
        let soon = HeaderValue::from_static("1");
        response.headers_mut().insert(header::RETRY_AFTER, soon);
    }
    response
}
