//! A page that may be kept: its tag, its date and for how long; and the short answer to who has it.
//!
//! # Invariants
//! - A tag is weak and knows nothing of signatures (`mesh_card::entity`): replicas that sign each
//!   answer anew have one tag.
//! - `If-None-Match` outweighs `If-Modified-Since` (RFC 9110, 13.2.2).
//! - A HEAD is told everything that a GET is, without the body.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use mesh_card::entity;

use super::Caller;
use crate::call::{Body, empty, whole};

/// The longest that a page may be used unasked: an agent that changes is seen within a minute.
const KEEP: Duration = Duration::from_secs(60);

/// A page with what caches want to know of it.
pub(super) struct Document {
    pub(super) kind: &'static str,
    pub(super) bytes: Bytes,
    pub(super) tag: Option<HeaderValue>,
    /// When it changed last, in seconds since 1970.
    pub(super) modified: Option<u64>,
    /// For how long it may be kept, up to [`KEEP`]; `None` for not at all.
    pub(super) keep: Option<Duration>,
    /// The request headers that it was made of.
    pub(super) varies_by: Option<&'static str>,
}

impl Document {
    /// A page of this type whose tag is that of its own bytes.
    pub(super) fn of(kind: &'static str, bytes: Bytes, varies_by: Option<&'static str>) -> Self {
        Self {
            kind,
            tag: entity::tag(&bytes),
            bytes,
            modified: None,
            keep: Some(KEEP),
            varies_by,
        }
    }

    /// The answer to a GET or HEAD.
    pub(super) fn answer(self, caller: &Caller) -> Response<Body> {
        let mut response = Response::new(empty());
        let is_known = self.is_known_to(&caller.headers);
        if is_known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        } else {
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.kind));
            let length = HeaderValue::from(self.bytes.len());
            headers.insert(header::CONTENT_LENGTH, length);
        }
        let headers = response.headers_mut();
        let keep = match self.keep.map(|keep| keep.min(KEEP).as_secs()) {
            Some(seconds) => HeaderValue::try_from(format!("public, max-age={seconds}")).ok(),
            None => Some(HeaderValue::from_static("no-store")),
        };
        headers.extend(keep.map(|keep| (header::CACHE_CONTROL, keep)));
        if let Some(names) = self.varies_by {
            headers.append(header::VARY, HeaderValue::from_static(names));
        }
        if let Some(date) = self.modified.and_then(date) {
            headers.insert(header::LAST_MODIFIED, date);
        }
        if let Some(tag) = self.tag {
            headers.insert(header::ETAG, tag);
        }
        if !is_known && caller.method != Method::HEAD {
            *response.body_mut() = whole(self.bytes);
        }
        response
    }

    fn is_known_to(&self, headers: &HeaderMap) -> bool {
        let mut known = headers.get_all(header::IF_NONE_MATCH).iter().peekable();
        if known.peek().is_some() {
            let tag = self.tag.as_ref();
            return tag.is_some_and(|tag| known.any(|list| entity::none_match_hits(list, tag)));
        }
        let since = headers.get(header::IF_MODIFIED_SINCE);
        let since = since.and_then(seconds);
        matches!((self.modified, since), (Some(modified), Some(since)) if modified <= since)
    }
}

/// A time in the form that HTTP wants (RFC 9110, 5.6.7).
fn date(seconds: u64) -> Option<HeaderValue> {
    // Past 9999 the form has no words, and the crate that writes it panics.
    const LAST: u64 = 253_402_300_799;
    let time = UNIX_EPOCH.checked_add(Duration::from_secs(seconds.min(LAST)))?;
    HeaderValue::try_from(httpdate::fmt_http_date(time)).ok()
}

/// The seconds since 1970 of a date.
pub(super) fn seconds(value: &HeaderValue) -> Option<u64> {
    let time = httpdate::parse_http_date(value.to_str().ok()?).ok()?;
    Some(time.duration_since(UNIX_EPOCH).ok()?.as_secs())
}
