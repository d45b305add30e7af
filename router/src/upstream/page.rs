//! Pages of an endpoint: its card, and what a worker of ours says of itself.
//!
//! # Invariants
//! - No page is longer than [`PAGE_BYTES`], and none is waited for longer than [`PATIENCE`].
//! - What we read for ourselves is asked for without anybody's credentials, so it may be told to
//!   everybody; what is forwarded for a caller carries that caller's.
//! - Redirects are not followed: a page comes from the configured host.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use mesh_proto::mesh::WorkerReport;

use super::{Endpoint, Error, origin::Wire};

/// The most that is read of a page.
pub(super) const PAGE_BYTES: usize = 1 << 20;
/// How long a page may take. Whoever asks has time, but must notice when an answer never comes.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where a page lies.
#[derive(Clone, Copy, Debug)]
pub enum Page<'a> {
    /// Below the configured URL.
    Below(&'a str),
    /// At the root of its host.
    AtRoot(&'a str),
}

/// A card as its agent wrote it, and what it said of keeping it.
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// The very bytes.
    pub bytes: Bytes,
    /// The tag that signatures do not change.
    pub tag: Option<HeaderValue>,
    /// When it changed last, in seconds since 1970: the agent's word, else when it was first seen.
    pub modified: u64,
    /// For how long others may keep it; `None` where the agent forbids it.
    pub keep: Option<Duration>,
}

impl Endpoint {
    /// Reads a page of this endpoint: `below` starts at the configured URL, `at_root` at its host.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn page(&self, page: Page<'_>) -> Result<Bytes, Error> {
        let answer = self.ask(page, std::iter::empty()).await?;
        match answer.status() {
            StatusCode::OK => Ok(answer.into_body()),
            status => Err(Error::Status(status.as_u16())),
        }
    }

    /// Asks for a page under conditions (RFC 9110, 13), and gives whatever is answered.
    ///
    /// # Errors
    /// [`Error`], where no whole answer came.
    pub async fn ask(
        &self,
        page: Page<'_>,
        conditions: impl Iterator<Item = (HeaderName, HeaderValue)>,
    ) -> Result<Response<Bytes>, Error> {
        let mut headers: HeaderMap = conditions.collect();
        let json = HeaderValue::from_static("application/json");
        headers.insert(header::ACCEPT, json);
        self.forward(page, Method::GET, headers, Bytes::new()).await
    }

    /// Has a page answer a whole request, and gives whatever it answers.
    ///
    /// # Errors
    /// [`Error`], where no whole answer came.
    pub async fn forward(
        &self,
        page: Page<'_>,
        method: Method,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Bytes>, Error> {
        let path = match page {
            Page::Below(path) => format!("{}{path}", self.base.path().trim_end_matches('/')),
            Page::AtRoot(path) => path.to_owned(),
        };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .body(Full::new(body))?;
        *request.headers_mut() = headers;
        let authority = HeaderValue::from_str(&self.home.target().authority());
        let authority = authority.map_err(http::Error::from)?;
        request.headers_mut().insert(header::HOST, authority);
        let whole = async {
            let response = self.home.call(Wire::H1, request).await?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, PAGE_BYTES).collect().await;
            let body = body.map_err(|_| Error::Page)?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        match tokio::time::timeout(PATIENCE, whole).await {
            Ok(answered) => answered,
            Err(_) => Err(Error::Page),
        }
    }
}

/// Reads what our worker says of itself; anything else is `None`.
#[must_use]
pub fn report(page: &[u8]) -> Option<WorkerReport> {
    serde_json::from_slice(page).ok()
}
