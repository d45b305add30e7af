//! An agent behind the Dapr sidecar of this router: what is put on a request so that the sidecar takes it
//! to the app, and which answers are the sidecar's own and not the agent's.
//!
//! Over HTTP an app is a path of the sidecar, and not a header: what a caller writes below it then stays
//! below it, and no call to an agent is one to the sidecar's own API.
//!
//! # Invariants
//! - No header for a sidecar comes from a caller: one would name another app.
//! - A path that the sidecar would read otherwise than it is written is not sent.
//! - A request is sent so that the sidecar does not send it a second time: chunked over HTTP, as a stream
//!   over gRPC. Of such requests it keeps nothing to repeat.
//! - The sidecar's own refusals, which name addresses, are told to nobody.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body::Body as _;
use http_body_util::Full;
use mesh_proto::error::GrpcCode;
use mesh_runtime::{
    egress::Target,
    sidecar::{App, Sidecar},
};

use super::{
    Error,
    origin::{Carried, Origin, Wire},
};

const APP: HeaderName = HeaderName::from_static("dapr-app-id");
const STREAM: HeaderName = HeaderName::from_static("dapr-stream");
const TOKEN: HeaderName = HeaderName::from_static("dapr-api-token");
/// What every header begins with that a sidecar acts upon.
const OF_DAPR: &str = "dapr-";
/// How the sidecar's own refusal of a call over HTTP begins.
const REFUSAL: &[u8] = br#"{"errorCode":"ERR_DIRECT_INVOKE""#;
/// `UNKNOWN` of gRPC, which no answer in A2A has.
const UNKNOWN: i32 = 2;

/// An app, and how the sidecar is asked for it.
pub struct Invoked {
    /// The app.
    pub app: App,
    id: HeaderValue,
    token: Option<HeaderValue>,
}

impl Invoked {
    /// The app, and where the sidecar is asked for it. `None` where its id or the token is no header.
    pub(super) fn through(sidecar: &Sidecar, app: App) -> Option<(Target, Arc<Self>)> {
        let id = HeaderValue::from_str(&app.id).ok()?;
        let token = match sidecar.token.as_deref().map(HeaderValue::from_str) {
            Some(token) => {
                let mut token = token.ok()?;
                token.set_sensitive(true);
                Some(token)
            }
            None => None,
        };
        let target = if app.speaks_grpc {
            sidecar.grpc.clone()
        } else {
            sidecar.http.clone()
        };
        Some((target, Arc::new(Self { app, id, token })))
    }

    /// Makes a request to the agent one to the sidecar.
    ///
    /// # Errors
    /// [`Error::Unspeakable`], for a path that would not arrive as it is.
    pub(super) fn address(
        &self,
        wire: Wire,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Request<Full<Bytes>>, Error> {
        let has_body = request.body().size_hint().exact() != Some(0);
        if wire == Wire::H1 {
            let below = request.uri().path_and_query();
            let below = below.map_or("/", |below| below.as_str());
            if !is_plain(request.uri().path()) {
                return Err(Error::Unspeakable);
            }
            let path = format!("/v1.0/invoke/{}/method{below}", self.app.id);
            *request.uri_mut() = Uri::builder().path_and_query(path).build()?;
        }
        let headers = request.headers_mut();
        forget(headers);
        if wire == Wire::H2 {
            headers.insert(APP, self.id.clone());
            headers.insert(STREAM, HeaderValue::from_static("true"));
        } else if has_body {
            headers.remove(header::CONTENT_LENGTH);
            let chunked = HeaderValue::from_static("chunked");
            headers.insert(header::TRANSFER_ENCODING, chunked);
        }
        if let Some(token) = &self.token {
            headers.insert(TOKEN, token.clone());
        }
        Ok(request)
    }

    /// The agent's answer.
    ///
    /// # Errors
    /// [`Error::NotReached`], where it is the sidecar's own.
    pub(super) async fn judge(
        &self,
        wire: Wire,
        mut answer: Response<Carried>,
    ) -> Result<Response<Carried>, Error> {
        let is_own = match wire {
            Wire::H1 => {
                let may_be = !answer.status().is_success() && is_json(answer.headers());
                may_be
                    && answer
                        .body_mut()
                        .beginning()
                        .await
                        .is_some_and(|text| text.starts_with(REFUSAL))
            }
            Wire::H2 => answer.status() != StatusCode::OK || is_bare_failure(answer.headers()),
        };
        if is_own {
            return Err(Error::NotReached);
        }
        forget(answer.headers_mut());
        Ok(answer)
    }
}

impl Origin {
    /// Sends one request and waits for the answer's head, through the sidecar where one stands between.
    ///
    /// # Errors
    /// [`Error`], which says whether the request can have been seen.
    pub async fn call(
        self: &Arc<Self>,
        wire: Wire,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Carried>, Error> {
        let Some(invoked) = self.invoked() else {
            return Ok(self.send(wire, request).await?);
        };
        let request = invoked.address(wire, request)?;
        invoked.judge(wire, self.send(wire, request).await?).await
    }
}

impl fmt::Debug for Invoked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Invoked").field(&self.app).finish()
    }
}

/// Drops what is between an app and its sidecar.
fn forget(headers: &mut HeaderMap) {
    let theirs: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with(OF_DAPR))
        .cloned()
        .collect();
    for name in theirs {
        headers.remove(name);
    }
}

/// Whether a path is the same to those who decode it, and to those who drop its dots and empty steps, as
/// a sidecar does.
fn is_plain(path: &str) -> bool {
    let steps = path.strip_prefix('/').unwrap_or(path);
    let is_step = |step: &str| !matches!(step, "" | "." | "..");
    // A slash at the end is an empty step, too; a path of nothing else is the root.
    steps.is_empty() || (!steps.contains('%') && steps.split('/').all(is_step))
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| kind.starts_with("application/json"))
}

/// Whether a gRPC answer is a failure that says nothing of A2A, as a sidecar's are: an agent's has details.
fn is_bare_failure(headers: &HeaderMap) -> bool {
    let status = headers
        .get("grpc-status")
        .and_then(|text| text.to_str().ok());
    let status = status.and_then(|text| text.parse::<i32>().ok());
    let own = [
        UNKNOWN,
        GrpcCode::Internal.number(),
        GrpcCode::Unavailable.number(),
    ];
    status.is_some_and(|status| own.contains(&status))
        && !headers.contains_key("grpc-status-details-bin")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invoked(url: &str) -> (Target, Arc<Invoked>) {
        let sidecar = Sidecar {
            http: Target::try_from(&url::Url::parse("http://127.0.0.1:3500").unwrap()).unwrap(),
            grpc: Target::try_from(&url::Url::parse("http://127.0.0.1:50001").unwrap()).unwrap(),
            token: Some(Arc::from("secret")),
        };
        let app = App::of(&url::Url::parse(url).unwrap()).unwrap();
        Invoked::through(&sidecar, app).unwrap()
    }

    fn request(path: &str, body: &'static str) -> Request<Full<Bytes>> {
        Request::post(path)
            .header("dapr-callee-app-id", "another")
            .header("dapr-app-id", "another")
            .header("dapr-api-token", "guess")
            .header("content-length", body.len())
            .body(Full::new(Bytes::from(body)))
            .unwrap()
    }

    #[test]
    fn a_call_over_http_is_one_below_the_app_and_no_header_of_the_caller_leads_elsewhere() {
        let (target, desk) = invoked("dapr://desk");
        assert_eq!(target.port, 3500);
        let sent = desk.address(Wire::H1, request("/a/message:send?x=%2F", "{}"));
        let sent = sent.unwrap();
        let path = sent.uri().to_string();
        assert_eq!(path, "/v1.0/invoke/desk/method/a/message:send?x=%2F");
        let headers = sent.headers();
        assert!(!headers.contains_key("dapr-callee-app-id"));
        assert!(!headers.contains_key("dapr-app-id"));
        assert_eq!(headers["dapr-api-token"], "secret");
        assert!(headers["dapr-api-token"].is_sensitive());
        assert_eq!(headers["transfer-encoding"], "chunked");
        assert!(!headers.contains_key("content-length"));
        let sent = desk.address(Wire::H1, request("/", "")).unwrap();
        assert_eq!(sent.uri().path(), "/v1.0/invoke/desk/method/");
        assert!(!sent.headers().contains_key("transfer-encoding"));
    }

    #[test]
    fn a_call_over_grpc_names_the_app_and_is_a_stream_to_the_sidecar() {
        let (target, desk) = invoked("dapr+grpc://desk");
        assert_eq!(target.port, 50001);
        let path = "http://127.0.0.1:50001/lf.a2a.v1.A2AService/SendMessage";
        let sent = desk.address(Wire::H2, request(path, "x")).unwrap();
        assert_eq!(sent.uri().to_string(), path);
        assert_eq!(sent.headers()["dapr-app-id"], "desk");
        assert_eq!(sent.headers()["dapr-stream"], "true");
        assert!(!sent.headers().contains_key("dapr-callee-app-id"));
    }

    #[test]
    fn a_path_that_the_sidecar_would_read_otherwise_is_not_sent() {
        let (_, desk) = invoked("dapr://desk");
        for path in [
            "/tasks/..%2F..%2Fsecrets",
            "/tasks/../../../state",
            "/tasks/%2e%2e/x",
            "/tasks/./x",
            "/tasks//x",
            "/tasks/",
            "/tasks/a%252Fb",
        ] {
            let refused = desk.address(Wire::H1, request(path, ""));
            assert!(matches!(refused, Err(Error::Unspeakable)), "{path}");
        }
    }

    #[test]
    fn a_failure_without_details_is_the_sidecars_own() {
        let said = |status: &'static str, has_details: bool| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-status", HeaderValue::from_static(status));
            if has_details {
                let details = HeaderValue::from_static("CAU");
                headers.insert("grpc-status-details-bin", details);
            }
            is_bare_failure(&headers)
        };
        assert!(said("13", false) && said("14", false));
        assert!(!said("13", true) && !said("5", false) && !said("0", false));
    }
}
