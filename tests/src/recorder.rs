//! An upstream that keeps every byte that reaches it and answers with bytes that the test wrote.
//!
//! # Invariants
//! - What it answers is exactly what it was given, piece by piece; it knows nothing of A2A.

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinHandle,
};

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// What is answered on a path.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Up to the query, exactly.
    pub path: String,
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: Vec<(&'static str, String)>,
    /// The body. Each piece but the first is held until [`Recorder::let_go`].
    pub pieces: Vec<Bytes>,
    /// The trailers; empty for none.
    pub trailers: Vec<(&'static str, &'static str)>,
}

impl Answer {
    /// An answer with status 200 and a body in one piece.
    #[must_use]
    pub fn whole(path: &str, content_type: &str, body: impl Into<Bytes>) -> Self {
        Self {
            path: path.to_owned(),
            status: 200,
            headers: vec![("content-type", content_type.to_owned())],
            pieces: vec![body.into()],
            trailers: Vec::new(),
        }
    }
}

/// The upstream, until it is dropped.
#[derive(Debug)]
pub struct Recorder {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct State {
    answers: Mutex<Vec<Answer>>,
    seen: Mutex<Vec<Seen>>,
    going: Semaphore,
}

impl Recorder {
    /// Starts on a free port, over HTTP/1.1 and HTTP/2. Unknown paths get 404.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            answers: Mutex::default(),
            seen: Mutex::default(),
            going: Semaphore::new(0),
        });
        let accepting = spawn(accept(listener, Arc::clone(&state)));
        Ok(Self {
            address,
            state,
            accepting,
        })
    }

    /// Its base URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers a path from now on.
    pub fn answer(&self, answer: Answer) {
        self.state.answers.lock().insert(0, answer);
    }

    /// Lets one more piece of an answer go.
    pub fn let_go(&self) {
        self.state.going.add_permits(1);
    }

    /// All requests on a path (up to the query), in their order.
    #[must_use]
    pub fn all(&self, path: &str) -> Vec<Seen> {
        let seen = self.state.seen.lock();
        let on_path = seen.iter().filter(|seen| bare(&seen.path) == path);
        on_path.cloned().collect()
    }

    /// The last request on a path (up to the query).
    ///
    /// # Errors
    /// When there was none.
    pub fn last(&self, path: &str) -> Result<Seen> {
        let seen = self.state.seen.lock();
        let last = seen.iter().rev().find(|seen| bare(&seen.path) == path);
        last.cloned()
            .with_context(|| format!("nothing came on {path}, only {:?}", *seen))
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn bare(path: &str) -> &str {
    path.split('?').next().unwrap_or_default()
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    while let Ok((stream, _)) = listener.accept().await {
        drop(spawn(serve(stream, Arc::clone(&state))));
    }
}

async fn serve(stream: TcpStream, state: Arc<State>) {
    let mut first = [0_u8; 3];
    // One byte of "PRI" tells HTTP/2; every method of HTTP/1.1 that comes here differs in it but PUT.
    let length = stream.peek(&mut first).await.unwrap_or(0);
    let is_two = first
        .get(..length)
        .is_some_and(|head| b"PRI".starts_with(head));
    let service = service_fn(move |request| answer(request, Arc::clone(&state)));
    let io = TokioIo::new(stream);
    // A caller that hangs up is what some tests want.
    if is_two {
        let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        drop(builder.serve_connection(io, service).await);
    } else {
        let builder = hyper::server::conn::http1::Builder::new();
        drop(builder.serve_connection(io, service).await);
    }
}

async fn answer(
    request: Request<Incoming>,
    state: Arc<State>,
) -> Result<Response<UnsyncBoxBody<Bytes, Infallible>>, anyhow::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let path = head
        .uri
        .path_and_query()
        .map_or("/", |path| path.as_str())
        .to_owned();
    let found = state
        .answers
        .lock()
        .iter()
        .find(|answer| answer.path == bare(&path))
        .cloned();
    state.seen.lock().push(Seen {
        method: head.method,
        path: path.clone(),
        headers: head.headers,
        body,
    });
    let answer = found.unwrap_or_else(|| Answer {
        status: 404,
        ..Answer::whole(&path, "text/plain", "nothing here")
    });
    let mut trailers = HeaderMap::new();
    for (name, value) in answer.trailers {
        trailers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    let last = (!trailers.is_empty()).then(|| Ok(Frame::trailers(trailers)));
    let pieces =
        stream::iter(answer.pieces.into_iter().enumerate()).then(move |(number, piece)| {
            let state = Arc::clone(&state);
            async move {
                if number > 0 {
                    // The semaphore is never closed.
                    if let Ok(permit) = state.going.acquire().await {
                        permit.forget();
                    }
                }
                Ok(Frame::data(piece))
            }
        });
    let body = StreamBody::new(pieces.chain(stream::iter(last))).boxed_unsync();
    let mut response = Response::builder().status(StatusCode::from_u16(answer.status)?);
    for (name, value) in answer.headers {
        response = response.header(name, value);
    }
    Ok(response.body(body)?)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test has no drain; the task ends with its socket"
)]
fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    tokio::spawn(future)
}
