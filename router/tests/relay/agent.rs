//! An agent that answers as it is told and remembers what it was asked.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use mesh_proto::{Problem, grpc, mesh, pivot::WireResponse};
use mesh_runtime::{
    drain::{self, Trigger},
    net::{self, Listener},
};
use parking_lot::Mutex;
use tokio::sync::mpsc;

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// What to answer.
pub(crate) enum Answer {
    /// A whole JSON body.
    Json(&'static str),
    /// A whole body of a type.
    Whole(&'static str, String),
    /// A whole JSON body under another status than 200, with one more header.
    Refusal(StatusCode, (&'static str, &'static str), &'static str),
    /// A body of this type in these pieces.
    Pieces(&'static str, Vec<Bytes>),
    /// A body of this type that [`Agent::write`] fills.
    Stream(&'static str),
    /// A message, and status 0 in the trailers.
    Grpc(Bytes),
    /// An error as a head.
    GrpcError(Problem),
    /// Whatever a codec wrote.
    Wire(WireResponse),
    /// A status and no more.
    Failure(StatusCode),
    /// Never.
    Hang,
}

impl Answer {
    pub(crate) const fn json(text: &'static str) -> Self {
        Self::Json(text)
    }
}

/// One request, as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) method: Method,
}

impl Seen {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

pub(crate) struct Agent {
    url: String,
    state: Arc<State>,
    trigger: Mutex<Option<Trigger>>,
}

/// What an agent answers to whoever reads a page of its.
type Pages = Box<dyn Fn(&Seen) -> Response<Bytes> + Send + Sync>;

struct State {
    boot: Option<&'static str>,
    load: Mutex<&'static str>,
    card: Option<String>,
    pages: Option<Pages>,
    seen: Mutex<Vec<Seen>>,
    stream: Mutex<Option<mpsc::Sender<Frame<Bytes>>>>,
    is_stream_gone: AtomicBool,
    /// Whether it reports no more, and how often it was asked to since.
    is_silent: AtomicBool,
    asked_in_vain: AtomicUsize,
    answer: Box<dyn Fn(&Seen) -> Answer + Send + Sync>,
}

impl Agent {
    /// An agent without a card.
    pub(crate) async fn answering(
        answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::start(None, None, answer).await
    }

    /// An agent that answers to every GET of a page as told, and takes calls.
    pub(crate) async fn with_pages(
        pages: impl Fn(&Seen) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Self {
        Self::start(None, Some(Box::new(pages)), |_| Answer::json("{}")).await
    }

    /// A worker of ours in this life: it reports, is watched, and takes views.
    pub(crate) async fn ours(
        boot: &'static str,
        answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::start_as(Some(boot), None, None, answer).await
    }

    /// An agent with a card, in which `PORT` is its port.
    pub(crate) async fn with_card(
        card: &str,
        answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::start(Some(card), None, answer).await
    }

    async fn start(
        card: Option<&str>,
        pages: Option<Pages>,
        answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::start_as(None, card, pages, answer).await
    }

    async fn start_as(
        boot: Option<&'static str>,
        card: Option<&str>,
        pages: Option<Pages>,
        answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = Listener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr();
        let state = Arc::new(State {
            boot,
            load: Mutex::new("0/64"),
            card: card.map(|card| card.replace("PORT", &address.port().to_string())),
            pages,
            seen: Mutex::default(),
            stream: Mutex::default(),
            is_stream_gone: AtomicBool::new(false),
            is_silent: AtomicBool::new(false),
            asked_in_vain: AtomicUsize::new(0),
            answer: Box::new(answer),
        });
        let (trigger, drain) = drain::channel();
        let served = Arc::clone(&state);
        let serving = net::serve(
            listener,
            net::Settings::default(),
            drain.clone(),
            move |request, _| {
                let state = Arc::clone(&served);
                async move { state.answer(request).await }
            },
        );
        drain.spawn("agent", serving);
        Self {
            url: format!("http://{address}"),
            state,
            trigger: Mutex::new(Some(trigger)),
        }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Every request, in order, looks at cards and reports included.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().clone()
    }

    /// What was posted, in order.
    pub(crate) fn posts(&self) -> Vec<Seen> {
        let seen = self.state.seen.lock();
        seen.iter()
            .filter(|seen| seen.method == Method::POST && seen.path != mesh::VIEW_PATH)
            .cloned()
            .collect()
    }

    /// The views that it was told, in order.
    pub(crate) fn views(&self) -> Vec<mesh::ViewNotice> {
        let seen = self.state.seen.lock();
        seen.iter()
            .filter(|seen| seen.path == mesh::VIEW_PATH)
            .map(|seen| serde_json::from_slice(&seen.body).unwrap())
            .collect()
    }

    /// What it says of its load from now on.
    pub(crate) fn loaded(&self, load: &'static str) {
        *self.state.load.lock() = load;
    }

    /// Ends its reports, and gives none any more.
    pub(crate) fn fall_silent(&self) {
        self.state.is_silent.store(true, Ordering::Relaxed);
    }

    /// Whether somebody has asked for a report since.
    pub(crate) fn was_asked_in_vain(&self) -> bool {
        self.state.asked_in_vain.load(Ordering::Relaxed) > 0
    }

    /// The one request that was posted since this was asked last; `None` for none, or several.
    pub(crate) fn take_post(&self) -> Option<Seen> {
        let mut seen = std::mem::take(&mut *self.state.seen.lock());
        seen.retain(|seen| seen.method == Method::POST);
        let last = seen.pop();
        last.filter(|_| seen.is_empty())
    }

    /// Writes to the stream that was asked for last, once there is one.
    pub(crate) async fn write(&self, bytes: Bytes) {
        self.write_frame(Frame::data(bytes)).await;
    }

    /// Ends the stream that was asked for last with trailers.
    pub(crate) async fn write_trailers(&self, trailers: HeaderMap) {
        self.write_frame(Frame::trailers(trailers)).await;
        self.end_stream();
    }

    async fn write_frame(&self, frame: Frame<Bytes>) {
        super::client::eventually("a stream to write to", async || {
            self.state.stream.lock().is_some()
        })
        .await;
        let sender = self.state.stream.lock().clone().unwrap();
        if sender.send(frame).await.is_err() {
            self.state.is_stream_gone.store(true, Ordering::Relaxed);
        }
    }

    /// Ends that stream well.
    pub(crate) fn end_stream(&self) {
        *self.state.stream.lock() = None;
    }

    pub(crate) fn is_stream_gone(&self) -> bool {
        self.state.is_stream_gone.load(Ordering::Relaxed)
    }

    /// Cuts every connection where it stands, as a killed process does.
    pub(crate) async fn stop(&self) {
        let trigger = self.trigger.lock().take().unwrap();
        trigger.drain(Duration::ZERO).await;
    }
}

impl State {
    /// The answer to a GET that is no call.
    fn page(&self, seen: &Seen) -> Option<Response<Body>> {
        if seen.method != Method::GET {
            return None;
        }
        if let Some(pages) = &self.pages {
            return Some(pages(seen).map(|bytes| Full::new(bytes).boxed_unsync()));
        }
        let is_call = seen.path.contains("/tasks") || seen.path.contains("/extendedAgentCard");
        (!is_call).then(|| match &self.card {
            Some(card) if seen.path.ends_with("agent-card.json") => {
                whole("application/json", Bytes::from(card.clone()))
            }
            _ => status(StatusCode::NOT_FOUND),
        })
    }

    /// The report of a worker of ours, once or as it lives.
    fn report(self: &Arc<Self>, seen: &Seen) -> Option<Response<Body>> {
        let boot = self.boot?;
        if seen.path == mesh::VIEW_PATH {
            let mut taken = whole("application/json", Bytes::new());
            *taken.status_mut() = StatusCode::NO_CONTENT;
            return Some(taken);
        }
        let line = move |load: &str| {
            let load = mesh::Load::parse(load).unwrap();
            let mut line = serde_json::to_vec(&mesh::WorkerReport {
                boot: boot.to_owned(),
                state: load.state,
                in_flight: load.in_flight,
                capacity: load.capacity,
                store: "shared".to_owned(),
                ..mesh::WorkerReport::default()
            })
            .unwrap();
            line.push(b'\n');
            Bytes::from(line)
        };
        let path = seen.path.strip_prefix(mesh::WORKER_PATH)?;
        if self.is_silent.load(Ordering::Relaxed) {
            self.asked_in_vain.fetch_add(1, Ordering::Relaxed);
            return Some(status(StatusCode::SERVICE_UNAVAILABLE));
        }
        if path.is_empty() {
            return Some(whole("application/json", line(*self.load.lock())));
        }
        let lines = futures_util::stream::unfold(Arc::clone(self), move |state| async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            if state.is_silent.load(Ordering::Relaxed) {
                return None;
            }
            let load = *state.load.lock();
            Some((Ok(Frame::data(line(load))), state))
        });
        Some(typed(
            "application/x-ndjson",
            StreamBody::new(lines).boxed_unsync(),
        ))
    }

    async fn answer(self: &Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        let mut response = self.answer_to(request).await;
        if let Some(boot) = self.boot {
            let headers = response.headers_mut();
            headers.insert(mesh::BOOT, HeaderValue::from_static(boot));
            let load = HeaderValue::from_static(*self.load.lock());
            headers.insert(mesh::LOAD, load);
        }
        response
    }

    async fn answer_to(self: &Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let body = body
            .collect()
            .await
            .map(http_body_util::Collected::to_bytes)
            .unwrap_or_default();
        let seen = Seen {
            path: parts.uri.path_and_query().unwrap().to_string(),
            headers: parts.headers,
            body,
            method: parts.method,
        };
        self.seen.lock().push(seen.clone());
        if let Some(report) = self.report(&seen) {
            return report;
        }
        if let Some(page) = self.page(&seen) {
            return page;
        }
        match (self.answer)(&seen) {
            Answer::Json(text) => whole("application/json", Bytes::from_static(text.as_bytes())),
            Answer::Whole(kind, text) => whole(kind, Bytes::from(text)),
            Answer::Refusal(status, (name, value), text) => {
                let mut response = whole("application/json", Bytes::from_static(text.as_bytes()));
                *response.status_mut() = status;
                response
                    .headers_mut()
                    .insert(name, HeaderValue::from_static(value));
                response
            }
            Answer::Failure(code) => status(code),
            Answer::Pieces(kind, pieces) => {
                let frames = pieces.into_iter().map(|piece| Ok(Frame::data(piece)));
                let frames = futures_util::stream::iter(frames);
                typed(kind, StreamBody::new(frames).boxed_unsync())
            }
            Answer::Hang => std::future::pending().await,
            Answer::Grpc(message) => {
                let trailers = HeaderMap::from_iter([(
                    header::HeaderName::from_static("grpc-status"),
                    HeaderValue::from_static("0"),
                )]);
                let body = Full::new(message).with_trailers(async move { Some(Ok(trailers)) });
                typed("application/grpc", body.boxed_unsync())
            }
            Answer::Wire(wire) => written(wire),
            Answer::GrpcError(problem) => {
                let mut response = whole("application/grpc", Bytes::new());
                response.headers_mut().extend(grpc::trailers(&problem));
                response
            }
            Answer::Stream(kind) => {
                let (sender, mut receiver) = mpsc::channel(1);
                *self.stream.lock() = Some(sender);
                let frames = futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx));
                let frames = futures_util::StreamExt::map(frames, Ok);
                typed(kind, StreamBody::new(frames).boxed_unsync())
            }
        }
    }
}

/// A URL at which nobody listens.
pub(crate) async fn dead_url() -> String {
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr())
}

/// An answer as a codec wrote it; a gRPC error is a head alone.
fn written(wire: WireResponse) -> Response<Body> {
    let WireResponse {
        status,
        content_type,
        body,
        trailers,
    } = wire;
    let mut response = match trailers {
        Some(head) if body.is_empty() => {
            let mut response = whole(content_type, body);
            response.headers_mut().extend(head);
            response
        }
        Some(trailers) => {
            let body = Full::new(body).with_trailers(async move { Some(Ok(trailers)) });
            typed(content_type, body.boxed_unsync())
        }
        None => whole(content_type, body),
    };
    *response.status_mut() = status;
    response
}

fn whole(kind: &'static str, bytes: Bytes) -> Response<Body> {
    typed(kind, Full::new(bytes).boxed_unsync())
}

fn typed(kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn status(status: StatusCode) -> Response<Body> {
    let mut response = whole("text/plain", Bytes::from_static(b"no"));
    *response.status_mut() = status;
    response
}
