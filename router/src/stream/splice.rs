//! A stream that outlives its worker: when one breaks, the task is asked for wherever it is now, and the
//! client's stream goes on with it after a gap.
//!
//! Works in the client's own dialect, above translation: what is resumed is what the client itself would
//! ask for.
//!
//! # Invariants
//! - Only whole events pass, so a break is always between two.
//! - Where the worker still holds what followed the last event that passed, nothing is missing and
//!   nothing comes twice. Else the task as it is now is retold as changes.
//! - The search for the task ends: by the patience of the settings, or when nobody has it any more. Then
//!   the stream breaks, and its pump says so.

use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt as _, Limited};
use mesh_proto::{
    Binding, Fault, Operation,
    a2a::{Task, stream_response::Payload},
    mesh, pivot,
};
use prometheus_client::metrics::counter::Counter;
use tokio::time::Instant;
use tracing::{debug, info};

use super::{
    frames::{self, Frames, Kind},
    retell::{is_at_rest, retell},
};
use crate::{
    call::{Ask, Broken},
    dispatch::{
        Dispatch,
        lookup::{Answer, Peeked},
    },
    upstream::Endpoint,
};

/// How often in a row a stream may break before anything has come of it.
const BREAKS: u32 = 5;
/// The pause after a search that found nobody, doubled each time within these.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// The longest task that is read whole.
const TASK_BYTES: usize = 64 << 20;

/// How the task of a stream is found again.
#[derive(Debug)]
pub struct Way {
    dispatch: Arc<Dispatch>,
    ask: Ask,
    task: Box<str>,
    until: Option<Instant>,
    patience: Duration,
}

impl Way {
    /// For the task of the stream that `ask` opened. Its body is not kept.
    #[must_use]
    pub fn new(
        dispatch: &Arc<Dispatch>,
        ask: &Ask,
        task: &str,
        until: Option<Instant>,
        patience: Duration,
    ) -> Self {
        Self {
            dispatch: Arc::clone(dispatch),
            ask: Ask {
                body: Bytes::new(),
                plain: None,
                ..ask.clone()
            },
            task: task.into(),
            until,
            patience,
        }
    }

    async fn seek(self: Arc<Self>, last: Option<String>) -> Option<Found> {
        let give_up = Instant::now() + self.patience;
        let mut pause = Duration::ZERO;
        loop {
            tokio::time::sleep(pause).await;
            match self.look(last.as_deref()).await {
                Look::Found(found) => return Some(*found),
                Look::Never => return None,
                Look::NotYet if Instant::now() >= give_up => return None,
                Look::NotYet => pause = (pause * 2).clamp(PAUSE.0, PAUSE.1),
            }
        }
    }

    async fn look(&self, last: Option<&str>) -> Look {
        let resumed = self
            .dispatch
            .resume(&self.ask, &self.task, last, self.until);
        match resumed.await {
            Ok(answer) if is_stream(&answer) => return Look::Found(Box::new(Found::On(answer))),
            // It has come to its end, or nobody can tell: only reading it tells which.
            Ok(_) => {}
            Err(error) => {
                debug!(%error, task = &*self.task, "a stream's task is not found yet");
                return Look::NotYet;
            }
        }
        let read = self.dispatch.reread(&self.ask, &self.task, self.until);
        let Ok(answer) = read.await else {
            return Look::NotYet;
        };
        let (status, headers) = (answer.status, answer.headers);
        let Ok(body) = Limited::new(answer.body, TASK_BYTES).collect().await else {
            return Look::NotYet;
        };
        let trailers = body.trailers().cloned();
        let decoded = pivot::decode_response(
            self.ask.dialect,
            Operation::GetTask,
            status,
            &headers,
            trailers.as_ref(),
            &body.to_bytes(),
        );
        match decoded {
            Ok(pivot::Response::Task(task)) if is_at_rest(&task) => {
                Look::Found(Box::new(Found::AtRest(task)))
            }
            Ok(_) => Look::NotYet,
            Err(problem) => match problem.fault {
                Fault::Unavailable | Fault::Exhausted | Fault::DeadlineExceeded => Look::NotYet,
                _ => Look::Never,
            },
        }
    }
}

/// What one look brought.
enum Look {
    Found(Box<Found>),
    NotYet,
    Never,
}

/// Where the task is.
enum Found {
    /// Its events go on here.
    On(Answer),
    /// Nothing more will come of it.
    AtRest(Task),
}

/// See the module.
pub struct Splice {
    way: Arc<Way>,
    at: At,
    frames: Frames,
    out: VecDeque<Frame<Bytes>>,
    /// Whether any event has passed, so that the client has the task.
    begun: bool,
    /// Whether the first event after a break is still to come.
    fresh: bool,
    /// Breaks since the last event.
    breaks: u32,
    spliced: Counter,
}

enum At {
    /// Events come from here; the future ends when its worker falls silent.
    On(Box<Peeked>, BoxFuture<'static, ()>),
    /// It broke.
    Seeking(BoxFuture<'static, Option<Found>>),
    /// Nothing more comes.
    Over,
}

impl Splice {
    /// Over the body of a worker of ours that answered with a stream of this kind; `None` where it is
    /// none.
    #[must_use]
    pub fn new(
        way: Way,
        body: Peeked,
        headers: &HeaderMap,
        endpoint: &Arc<Endpoint>,
        spliced: Counter,
    ) -> Self {
        let kind = match way.ask.dialect.binding {
            Binding::Grpc => Kind::Messages,
            Binding::JsonRpc | Binding::Rest => Kind::Events,
        };
        Self {
            way: Arc::new(way),
            at: At::On(Box::new(body), silence(endpoint)),
            frames: Frames::new(kind, first_id(headers)),
            out: VecDeque::new(),
            begun: false,
            fresh: false,
            breaks: 0,
            spliced,
        }
    }

    /// The next frame.
    pub fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        loop {
            if let Some(frame) = self.out.pop_front() {
                return Poll::Ready(Some(Ok(frame)));
            }
            match &mut self.at {
                At::Over => return Poll::Ready(None),
                At::On(body, silence) => {
                    let frame = match Pin::new(body).poll_frame(cx) {
                        Poll::Ready(frame) => frame,
                        // What has come is told before its worker is given up.
                        Poll::Pending => {
                            ready!(silence.as_mut().poll(cx));
                            Some(Err(Broken))
                        }
                    };
                    if !self.take(frame) && !self.search() {
                        self.at = At::Over;
                        return Poll::Ready(Some(Err(Broken)));
                    }
                }
                At::Seeking(search) => match ready!(search.as_mut().poll(cx)) {
                    None => {
                        self.at = At::Over;
                        return Poll::Ready(Some(Err(Broken)));
                    }
                    Some(found) => self.go_on(found),
                },
            }
        }
    }

    /// Whether nothing follows.
    pub fn has_ended(&self) -> bool {
        self.out.is_empty() && matches!(self.at, At::Over)
    }

    /// Takes in what the worker sent. False where that is no way to go on, or to end.
    fn take(&mut self, frame: Option<Result<Frame<Bytes>, Broken>>) -> bool {
        let is_grpc = self.frames.kind() == Kind::Messages;
        match frame {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    let whole = self.frames.take(data);
                    whole.is_empty() || self.admit(whole)
                }
                Err(trailers) => {
                    if !self.frames.is_boundary() {
                        return false;
                    }
                    self.out.push_back(trailers);
                    self.at = At::Over;
                    true
                }
            },
            // gRPC ends with trailers, and so do both end at an event's end.
            None if !is_grpc && self.frames.is_boundary() => {
                self.at = At::Over;
                true
            }
            None | Some(Err(Broken)) => false,
        }
    }

    /// Lets whole events pass; the first after a break as the client needs it. False where that one is no
    /// event but a complaint.
    fn admit(&mut self, whole: Bytes) -> bool {
        let first = match self.fresh {
            true => frames::first(self.frames.kind(), &whole),
            false => None,
        };
        let Some(first) = first else {
            // Comments alone say nothing yet.
            self.begun |= !self.fresh;
            self.out.push_back(Frame::data(whole));
            return true;
        };
        let (dialect, operation) = (self.way.ask.dialect, Operation::SubscribeToTask);
        let Ok(event) = pivot::decode_event(dialect, operation, &first.data) else {
            return false;
        };
        (self.fresh, self.breaks) = (false, 0);
        self.spliced.inc();
        info!(task = &*self.way.task, "a stream goes on");
        match event.payload {
            Some(Payload::Task(task)) if self.begun => {
                let is_over = is_at_rest(&task) && self.way.ask.operation.sends();
                self.retell(first.id.as_deref(), task);
                if is_over {
                    self.end();
                } else if !first.rest.is_empty() {
                    self.out.push_back(Frame::data(first.rest));
                }
            }
            _ => self.out.push_back(Frame::data(whole)),
        }
        self.begun = true;
        true
    }

    /// Begins to look for the task. False where it was looked for often enough.
    fn search(&mut self) -> bool {
        self.breaks += 1;
        if !self.frames.is_spliceable() || self.breaks > BREAKS {
            return false;
        }
        let last = self.frames.last().filter(|_| self.begun);
        let search = Arc::clone(&self.way).seek(last);
        self.at = At::Seeking(Box::pin(search));
        true
    }

    fn go_on(&mut self, found: Found) {
        match found {
            Found::On(answer) => {
                let kind = self.frames.kind();
                self.frames = Frames::new(kind, first_id(&answer.headers));
                self.fresh = true;
                let silence = silence(&answer.endpoint);
                self.at = At::On(Box::new(answer.body), silence);
            }
            Found::AtRest(task) => {
                self.spliced.inc();
                info!(task = &*self.way.task, "a stream tells the end of its task");
                self.retell(None, task);
                self.end();
            }
        }
    }

    fn retell(&mut self, event: Option<&str>, task: Task) {
        let ask = &self.way.ask;
        let told = retell(ask.dialect, ask.farewell.id.as_ref(), event, task);
        self.out.push_back(Frame::data(told));
    }

    /// Ends as a stream ends that went well.
    fn end(&mut self) {
        if self.frames.kind() == Kind::Messages {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
            self.out.push_back(Frame::trailers(trailers));
        }
        self.at = At::Over;
    }
}

impl fmt::Debug for Splice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Splice")
            .field("task", &self.way.task)
            .field("begun", &self.begun)
            .field("breaks", &self.breaks)
            .finish_non_exhaustive()
    }
}

fn silence(endpoint: &Arc<Endpoint>) -> BoxFuture<'static, ()> {
    let health = Arc::clone(endpoint.home().health());
    Box::pin(async move { health.silenced().await })
}

fn first_id(headers: &HeaderMap) -> Option<&str> {
    headers.get(mesh::EVENT_ID)?.to_str().ok()
}

/// Whether an answer is a stream of events, and nothing that has to be inflated first.
pub fn is_stream(answer: &Answer) -> bool {
    let text = |name| {
        answer
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    let kind = text(header::CONTENT_TYPE).unwrap_or_default();
    let streams = kind.starts_with("text/event-stream") || kind.starts_with("application/grpc");
    let encoding = text(header::CONTENT_ENCODING)
        .or_else(|| answer.headers.get("grpc-encoding")?.to_str().ok());
    answer.status == StatusCode::OK
        && streams
        && encoding.is_none_or(|encoding| encoding == "identity")
        && !answer.headers.contains_key("grpc-status")
}
