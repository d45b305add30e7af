//! Which web pages may call, by the rules of the Fetch standard.
//!
//! # Invariants
//! - Credentials (cookies) are never allowed: A2A carries them in headers that a page sets itself.
//! - What is not asked for is not answered: without an `Origin` nothing is added.

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use serde::Deserialize;

use crate::call::{Body, empty};

/// Who may call from a browser.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Origins (`https://app.example.com`) whose pages may call; `*` is any, which is the default:
    /// the router holds no cookie that a foreign page could borrow. An empty list allows none.
    pub origins: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            origins: vec!["*".to_owned()],
        }
    }
}

/// What a page may read of an answer besides the headers that every page may.
const EXPOSED: &str = "a2a-version, a2a-extensions, a2a-context-id, a2a-task-id, etag, \
                       retry-after, traceparent, www-authenticate, x-should-retry";

impl Settings {
    /// Answers a preflight; `None` for any other request.
    #[must_use]
    pub fn preflight<B>(&self, request: &Request<B>) -> Option<Response<Body>> {
        let asked = request.headers();
        let is_preflight = request.method() == Method::OPTIONS
            && asked.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        let origin = asked.get(header::ORIGIN).filter(|_| is_preflight)?;
        let mut response = Response::new(empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        self.allow(Some(origin), headers);
        if headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
            let methods = HeaderValue::from_static("GET, POST, DELETE, OPTIONS");
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
            if let Some(wanted) = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
                headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
            }
            headers.insert(
                header::ACCESS_CONTROL_MAX_AGE,
                HeaderValue::from_static("600"),
            );
        }
        Some(response)
    }

    /// Adds what lets the page of `origin` read an answer, where that origin may.
    pub fn allow(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        let Some(origin) = origin else { return };
        let any = self.origins.iter().any(|each| each == "*");
        let named = self
            .origins
            .iter()
            .any(|each| each.as_bytes() == origin.as_bytes());
        if !any && !named {
            return;
        }
        let allowed = if any {
            HeaderValue::from_static("*")
        } else {
            origin.clone()
        };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        headers.append(header::VARY, HeaderValue::from_static("origin"));
        headers.insert(
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static(EXPOSED),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preflight(origin: &str) -> Request<()> {
        Request::options("/assistant")
            .header(header::ORIGIN, origin)
            .header(header::ACCESS_CONTROL_REQUEST_METHOD, "POST")
            .header(
                header::ACCESS_CONTROL_REQUEST_HEADERS,
                "a2a-version, content-type",
            )
            .body(())
            .unwrap()
    }

    #[test]
    fn a_page_of_an_allowed_origin_may_call_and_any_other_may_not() {
        let settings = Settings {
            origins: vec!["https://app.example".to_owned()],
        };
        let allowed = settings
            .preflight(&preflight("https://app.example"))
            .unwrap();
        assert_eq!(
            allowed.headers()["access-control-allow-origin"],
            "https://app.example"
        );
        assert_eq!(
            allowed.headers()["access-control-allow-headers"],
            "a2a-version, content-type"
        );
        let refused = settings
            .preflight(&preflight("https://other.example"))
            .unwrap();
        assert!(
            !refused
                .headers()
                .contains_key("access-control-allow-origin")
        );
    }

    #[test]
    fn a_request_without_origin_gets_nothing() {
        let mut headers = HeaderMap::new();
        Settings::default().allow(None, &mut headers);
        assert!(headers.is_empty());
        assert!(
            Settings::default()
                .preflight(&Request::options("/").body(()).unwrap())
                .is_none()
        );
    }
}
