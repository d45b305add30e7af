//! The mesh's own side of the server: the worker's report, once or as it changes, and the routers'
//! views.
//!
//! # Invariants
//! - At most [`WATCHERS`] follow the report; one more is refused and may come later.
//! - Who follows it learns that the worker drains before the stream ends, and it ends only once the
//!   last turn is over: its end means that this life is.
//! - A line costs the turns nothing: it is the follower's own clock that looks.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::StreamBody;
use mesh_proto::{
    Fault, Problem, json,
    mesh::{self, ViewNotice, WorkerReport, WorkerState},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::Instant,
};

use super::{
    JSON,
    body::{self, Body, BoxError},
    moved, rest,
};
use crate::{desk::Desk, view::Views};

/// How many may follow the report: each router of a cell has one stream, and tools come and go.
const WATCHERS: usize = 64;

/// The longest silence between two lines. Three of it, and a router takes the worker for frozen.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);

/// How often a worker that drains looks whether it is done.
const LAST_LOOKS: Duration = Duration::from_millis(50);

/// The shortest and the longest time between two lines about load, and the one that is not asked for,
/// in milliseconds.
const EVERY: std::ops::RangeInclusive<u64> = 100..=60_000;
const EVERY_DEFAULT: u64 = 1000;

/// The largest notice: a thousand members with long names, four times over.
const NOTICE_BYTES: usize = 4 << 20;

/// The answer to what was told: nothing, where it was taken.
fn taken(taken: Result<(), Problem>) -> Response<Body> {
    match taken {
        Ok(()) => {
            let mut response = body::full(StatusCode::NO_CONTENT, JSON, Bytes::new());
            response.headers_mut().remove(header::CONTENT_TYPE);
            response
        }
        Err(mut problem) => {
            let owner = moved::owner(&mut problem);
            moved::to(owner, rest::refuse(&problem))
        }
    }
}

/// What answers below `/-/`.
#[derive(Debug)]
pub(super) struct Mesh {
    desk: Arc<Desk>,
    views: Views,
    boot: String,
    room: Arc<Semaphore>,
}

impl Mesh {
    pub(super) fn new(desk: Arc<Desk>, views: Views, boot: String) -> Self {
        Self {
            desk,
            views,
            boot,
            room: Arc::new(Semaphore::new(WATCHERS)),
        }
    }

    /// Answers with the report; with `watch` in the query, with each change of it.
    pub(super) fn worker<B>(&self, request: &Request<B>) -> Response<Body> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return not_allowed("GET, HEAD");
        }
        let every = match watched(request.uri().query()) {
            Ok(every) => every,
            Err(problem) => return rest::refuse(&problem),
        };
        match every {
            Some(every) if *request.method() == Method::GET => self.watch(every),
            _ => body::full(StatusCode::OK, JSON, json::to_bytes(&self.report())),
        }
    }

    /// Takes a view.
    pub(super) async fn view<B>(
        &self,
        method: &Method,
        headers: &HeaderMap,
        body: B,
    ) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send,
        B::Error: Into<BoxError>,
    {
        if *method != Method::POST {
            return not_allowed("POST");
        }
        taken(self.take(headers, body).await)
    }

    /// Takes tasks that another worker hands over.
    pub(super) async fn adopt<B>(
        &self,
        method: &Method,
        headers: &HeaderMap,
        body: B,
    ) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send,
        B::Error: Into<BoxError>,
    {
        if *method != Method::POST {
            return not_allowed("POST");
        }
        let adopt = async {
            let bytes = body::read(headers, body, NOTICE_BYTES).await?;
            let given = serde_json::from_slice(&bytes).map_err(|error| {
                Problem::new(Fault::InvalidRequest, format!("no hand-over: {error}"))
            })?;
            self.desk.adopt(given).await
        };
        taken(adopt.await)
    }

    async fn take<B>(&self, headers: &HeaderMap, body: B) -> Result<(), Problem>
    where
        B: http_body::Body<Data = Bytes> + Send,
        B::Error: Into<BoxError>,
    {
        let bytes = body::read(headers, body, NOTICE_BYTES).await?;
        let wrong =
            |error: String| Problem::new(Fault::InvalidRequest, format!("no view: {error}"));
        let notice: ViewNotice =
            serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
        if notice.gone.len() > mesh::GONE_MAX {
            return Err(wrong(format!("more than {} are gone", mesh::GONE_MAX)));
        }
        let taken = self.views.publish(notice).await;
        taken.map_err(|error| wrong(error.to_string()))
    }

    fn report(&self) -> WorkerReport {
        report(&self.desk, &self.views, &self.boot)
    }

    fn watch(&self, every: Duration) -> Response<Body> {
        let Ok(place) = Arc::clone(&self.room).try_acquire_owned() else {
            let text = format!("{WATCHERS} follow the report already");
            let mut refused = rest::refuse(&Problem::new(Fault::Unavailable, text));
            let soon = HeaderValue::from_static("1");
            refused.headers_mut().insert(header::RETRY_AFTER, soon);
            return refused;
        };
        let lines = lines(Watch {
            state: self.desk.state(),
            desk: Arc::clone(&self.desk),
            views: self.views.clone(),
            boot: self.boot.clone(),
            every,
            told: None,
            _place: place,
        });
        let frames = lines.map(|line| Ok::<_, Infallible>(Frame::data(line)));
        let mut response = Response::new(body::wrap(StreamBody::new(frames)));
        let kind = HeaderValue::from_static("application/x-ndjson");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }
}

/// Who follows the report.
struct Watch {
    desk: Arc<Desk>,
    views: Views,
    boot: String,
    state: watch::Receiver<WorkerState>,
    every: Duration,
    /// The last line, and when it was written.
    told: Option<(WorkerReport, Instant)>,
    _place: OwnedSemaphorePermit,
}

fn lines(watch: Watch) -> impl Stream<Item = Bytes> + Send {
    stream::unfold(watch, |mut watch| async {
        let report = watch.next().await?;
        let mut line = json::to_bytes(&report).to_vec();
        line.push(b'\n');
        watch.told = Some((report, Instant::now()));
        Some((Bytes::from(line), watch))
    })
}

impl Watch {
    /// The next report that is worth a line; `None` after the last one.
    async fn next(&mut self) -> Option<WorkerReport> {
        if self.told.as_ref().is_some_and(|(told, _)| is_last(told)) {
            return None;
        }
        loop {
            self.state.mark_unchanged();
            let report = report(&self.desk, &self.views, &self.boot);
            let Some((told, at)) = &self.told else {
                return Some(report);
            };
            let silent = at.elapsed();
            let is_due = silent >= self.every.min(SIGN_OF_LIFE) && report != *told;
            if report.state != told.state || is_due || is_last(&report) || silent >= SIGN_OF_LIFE {
                return Some(report);
            }
            let pause = match report.state {
                WorkerState::Active => self.every.min(SIGN_OF_LIFE - silent),
                WorkerState::Draining => LAST_LOOKS,
            };
            tokio::select! {
                changed = self.state.changed() => changed.ok()?,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}

fn report(desk: &Desk, views: &Views, boot: &str) -> WorkerReport {
    WorkerReport {
        boot: boot.to_owned(),
        view: views.now().view().to_owned(),
        ..desk.report()
    }
}

/// Nothing comes after that: no new work is taken and none is left.
fn is_last(report: &WorkerReport) -> bool {
    report.state == WorkerState::Draining && report.in_flight == 0
}

/// How often to tell of load, where the query asks for more than one report.
fn watched(query: Option<&str>) -> Result<Option<Duration>, Problem> {
    let mut pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let Some((_, value)) = pairs.find(|(name, _)| name == "watch") else {
        return Ok(None);
    };
    let millis = match &*value {
        "" => Some(EVERY_DEFAULT),
        text => text.parse().ok().filter(|millis| EVERY.contains(millis)),
    };
    let millis = millis.ok_or_else(|| {
        let (least, most) = EVERY.into_inner();
        let text = format!("watch must be milliseconds, {least} to {most}");
        Problem::new(Fault::InvalidParams, text)
    })?;
    Ok(Some(Duration::from_millis(millis)))
}

fn not_allowed(allow: &'static str) -> Response<Body> {
    let mut response = body::full(StatusCode::METHOD_NOT_ALLOWED, JSON, Bytes::new());
    let allow = HeaderValue::from_static(allow);
    response.headers_mut().insert(header::ALLOW, allow);
    response
}

#[cfg(test)]
mod tests;
