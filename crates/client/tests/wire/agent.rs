//! An agent for tests: JSON-RPC and HTTP+JSON by hand over hyper, gRPC by tonic's generated server,
//! all on one port. What it does is what the message's text asks for.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use mesh_proto::{
    Operation, Problem,
    a2a::{SendMessageRequest, StreamResponse, TaskState, a2a_service_server::A2aServiceServer},
    grpc, json,
    jsonrpc::{self, RawId},
    rest, sse,
};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::Notify,
};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use crate::{
    script::{events, missing, said, task, unary},
    service::Service,
};

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A running agent.
#[derive(Clone)]
pub(crate) struct Agent {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Arc<Mutex<Vec<Seen>>>,
    /// Says when a stream that is to be cut may be: not before its first event has arrived.
    pub(crate) cut: Arc<Notify>,
}

/// A request that came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) tenant: String,
}

impl Agent {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let agent = Self {
            address,
            seen: Arc::default(),
            cut: Arc::default(),
        };
        spawn(accept(listener, None, agent.clone()));
        agent
    }

    /// The same behind TLS, with a certificate for `localhost`.
    pub(crate) async fn secure(tls: TlsAcceptor) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let agent = Self {
            address: listener.local_addr().unwrap(),
            seen: Arc::default(),
            cut: Arc::default(),
        };
        spawn(accept(listener, Some(tls), agent.clone()));
        agent
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn last(&self) -> Seen {
        self.seen.lock().last().cloned().unwrap()
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test's server ends with the test's runtime"
)]
pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(task);
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, agent: Agent) {
    while let Ok((socket, _)) = listener.accept().await {
        let agent = agent.clone();
        match tls.clone() {
            None => spawn(connection(socket, agent)),
            Some(tls) => spawn(async move {
                if let Ok(session) = tls.accept(socket).await {
                    connection(session, agent).await;
                }
            }),
        }
    }
}

async fn connection(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, agent: Agent) {
    let service = hyper::service::service_fn(move |request| {
        let agent = agent.clone();
        async move { Ok::<_, Infallible>(answer(request, &agent).await) }
    });
    let builder = auto::Builder::new(TokioExecutor::new());
    // It fails where a test cuts the connection.
    drop(builder.serve_connection(TokioIo::new(io), service).await);
}

async fn answer(request: Request<Incoming>, agent: &Agent) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let headers = request.headers().clone();
    let note = |tenant: &str| {
        agent.seen.lock().push(Seen {
            path: path.clone(),
            headers: headers.clone(),
            tenant: tenant.to_owned(),
        });
    };
    match path.as_str() {
        "/.well-known/agent-card.json" => full("application/json", card(agent.address)),
        "/html" => {
            let mut page = full("text/html", "<h1>nothing here</h1>");
            *page.status_mut() = StatusCode::NOT_FOUND;
            page
        }
        "/busy" => {
            let mut page = full("text/plain", "come back later");
            *page.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            page
        }
        "/rpc" => {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let ask: SendMessageRequest = jsonrpc::params(&body).unwrap();
            note(&ask.tenant);
            json_rpc(&body, &ask, &agent.cut)
        }
        path if path.starts_with("/lf.a2a.v1.A2AService/") => {
            note("");
            if headers.contains_key("x-cut") {
                return cut_grpc(&agent.cut);
            }
            let service = A2aServiceServer::new(Service);
            let answer = service.oneshot(request).await.unwrap();
            answer.map(|body| body.map_err(io::Error::other).boxed_unsync())
        }
        path => {
            let tenant = if path.starts_with("/rest/t/") {
                "t"
            } else {
                ""
            };
            note(tenant);
            let (path, query) = (path.to_owned(), request.uri().query().map(str::to_owned));
            let inner = path.trim_start_matches("/rest");
            let route = rest::route(request.method(), inner, query.as_deref());
            let body = request.into_body().collect().await.unwrap().to_bytes();
            match route {
                Ok(route) => rest_answer(route.operation, &body, query.as_deref(), &agent.cut),
                Err(problem) => rest_error(&problem),
            }
        }
    }
}

fn json_rpc(body: &[u8], ask: &SendMessageRequest, cut: &Arc<Notify>) -> Response<Body> {
    let id = RawId::number(1);
    let text = String::from_utf8_lossy(body);
    if text.contains("\"SendStreamingMessage\"") || text.contains("\"SubscribeToTask\"") {
        return match said(ask).as_str() {
            "missing" => full("application/json", jsonrpc::error(&id, &missing())),
            said => streamed(said, cut, move |event| match event {
                Ok(event) => jsonrpc::result(&RawId::number(1), &event),
                Err(problem) => jsonrpc::error(&RawId::number(1), &problem),
            }),
        };
    }
    if text.contains("\"DeleteTaskPushNotificationConfig\"") {
        return full(
            "application/json",
            r#"{"jsonrpc":"2.0","id":1,"result":null}"#,
        );
    }
    if text.contains("\"GetTask\"") {
        return full(
            "application/json",
            jsonrpc::result(&id, &task("t-1", TaskState::Working)),
        );
    }
    match unary(&said(ask)) {
        Ok(answer) => full("application/json", jsonrpc::result(&id, &answer)),
        Err(problem) => full("application/json", jsonrpc::error(&id, &problem)),
    }
}

fn rest_answer(
    operation: Operation,
    body: &[u8],
    query: Option<&str>,
    cut: &Arc<Notify>,
) -> Response<Body> {
    if operation == Operation::DeleteTaskPushNotificationConfig {
        let mut empty = full("application/json", "");
        *empty.status_mut() = StatusCode::NO_CONTENT;
        return empty;
    }
    if operation == Operation::GetTask {
        assert_eq!(query, Some("historyLength=2"));
        return full(
            "application/json",
            json::to_bytes(&task("t/1", TaskState::Working)),
        );
    }
    if operation == Operation::SubscribeToTask {
        return streamed("hello", cut, |event| json::to_bytes(&event.unwrap()));
    }
    let ask: SendMessageRequest = json::from_slice(body).unwrap();
    let said = said(&ask);
    if operation == Operation::SendStreamingMessage && said != "missing" {
        return streamed(&said, cut, |event| match event {
            Ok(event) => json::to_bytes(&event),
            Err(problem) => rest::error(&problem).1,
        });
    }
    match unary(&said) {
        Ok(answer) => full("application/a2a+json", json::to_bytes(&answer)),
        Err(problem) => rest_error(&problem),
    }
}

fn rest_error(problem: &Problem) -> Response<Body> {
    let (status, body) = rest::error(problem);
    let mut answer = full("application/json", body);
    *answer.status_mut() = status;
    answer
}

fn streamed(
    said: &str,
    cut: &Arc<Notify>,
    encode: impl Fn(Result<StreamResponse, Problem>) -> Bytes,
) -> Response<Body> {
    let mut frames: Vec<io::Result<Frame<Bytes>>> = vec![Ok(Frame::data(sse::comment("ping")))];
    frames.extend(events(said).into_iter().map(|event| {
        Ok(Frame::data(sse::write(&sse::Event::of_data(&encode(
            event,
        )))))
    }));
    let frames = stream::iter(frames);
    let body: Body = match said {
        "silence" => StreamBody::new(frames.chain(stream::pending())).boxed_unsync(),
        "cut" => StreamBody::new(frames.chain(broken(cut))).boxed_unsync(),
        _ => StreamBody::new(frames).boxed_unsync(),
    };
    Response::builder()
        .header("content-type", "text/event-stream; charset=utf-8")
        .body(body)
        .unwrap()
}

/// One whole event, and then the connection breaks: no trailers.
fn cut_grpc(cut: &Arc<Notify>) -> Response<Body> {
    let event = events("cut").remove(0).unwrap();
    let first = stream::iter([Ok(Frame::data(grpc::frame(&event)))]);
    Response::builder()
        .header("content-type", "application/grpc")
        .body(StreamBody::new(first.chain(broken(cut))).boxed_unsync())
        .unwrap()
}

/// A body's end that makes hyper break the connection.
fn broken(cut: &Arc<Notify>) -> impl Stream<Item = io::Result<Frame<Bytes>>> + use<> {
    let cut = Arc::clone(cut);
    stream::once(async move {
        cut.notified().await;
        Err(io::Error::other("cut"))
    })
}

fn full(content_type: &str, body: impl Into<Bytes>) -> Response<Body> {
    let body = Full::new(body.into())
        .map_err(|never: Infallible| match never {})
        .boxed_unsync();
    Response::builder()
        .header("content-type", content_type)
        .body(body)
        .unwrap()
}

fn card(address: SocketAddr) -> String {
    let interface = |binding: &str, url: &str, tenant: &str| {
        format!(
            r#"{{"url":"{url}","protocolBinding":"{binding}","protocolVersion":"1.0","tenant":"{tenant}"}}"#
        )
    };
    let interfaces = [
        interface("HTTP+JSON", &format!("http://{address}/rest"), "t"),
        interface("JSONRPC", &format!("http://{address}/rpc"), "t"),
        interface("GRPC", &address.to_string(), "t"),
    ];
    format!(
        r#"{{"name":"test","description":"an agent","version":"1","supportedInterfaces":[{}],
           "capabilities":{{"streaming":true}},"defaultInputModes":["text/plain"],
           "defaultOutputModes":["text/plain"],"skills":[]}}"#,
        interfaces.join(",")
    )
}
