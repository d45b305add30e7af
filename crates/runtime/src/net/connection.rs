//! One connection: its protocol told, its calls answered, its end.
//!
//! # Invariants
//! - What a client has begun to send before the drain's signal, or soon after it, is answered.
//! - A connection is counted and holds its place under the cap until its task has ended.

use std::{future::Future, io, panic::AssertUnwindSafe, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use http_body::Body;
use http_body_util::{Either, Empty};
use hyper::{body::Incoming, server::conn, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use prometheus_client::metrics::{counter::Counter, gauge::Gauge};
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::Instant,
};
use tracing::{debug, error};

use super::{
    Metrics, Peer, Settings,
    sniff::{self, Rewind, Wire},
};
use crate::{drain::Drain, socket::Socket};

/// An accepted connection.
pub(super) struct Connection {
    pub(super) peer: Peer,
    pub(super) settings: Arc<Settings>,
    pub(super) metrics: Metrics,
    pub(super) drain: Drain,
    pub(super) _open: Open,
}

impl Connection {
    pub(super) async fn run<S, Fut, B>(self, mut socket: Socket, service: S)
    where
        S: Fn(Request<Incoming>, Peer) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Response<B>> + Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let come = Instant::now();
        if let Err(error) = prepare(&socket) {
            debug!(%error, "socket options refused");
        }
        let first = tokio::time::timeout(
            self.settings.first_bytes_within,
            sniff::first_bytes(&mut socket),
        );
        let (wire, prefix) = tokio::select! {
            () = self.lingered() => return,
            first = first => match first {
                Ok(Ok(Some(first))) => first,
                Ok(Ok(None) | Err(_)) => return,
                Err(_) => {
                    self.metrics.silent.inc();
                    return;
                }
            },
        };
        let (peer, panics) = (self.peer, self.metrics.panics.clone());
        // HTTP/2 has GOAWAY for this, and forbids the header.
        let last = (wire == Wire::H1).then(|| self.drain.clone());
        let (begun, has_begun) = watch::channel(false);
        let service = service_fn(move |request| {
            begun.send_if_modified(|begun| !std::mem::replace(begun, true));
            let (service, panics, last) = (service.clone(), panics.clone(), last.clone());
            async move {
                type Never = std::convert::Infallible;
                if has_no_one_host(&request) {
                    let mut response = Response::new(Either::Right(Empty::new()));
                    *response.status_mut() = StatusCode::BAD_REQUEST;
                    let close = HeaderValue::from_static("close");
                    response.headers_mut().insert(header::CONNECTION, close);
                    return Ok::<_, Never>(response);
                }
                let mut response = answer(service, request, peer, panics).await;
                if last.is_some_and(|drain| drain.is_signaled()) {
                    let close = HeaderValue::from_static("close");
                    response.headers_mut().insert(header::CONNECTION, close);
                }
                Ok(response)
            }
        });
        let io = TokioIo::new(Rewind::new(prefix, socket));
        let ended = match wire {
            Wire::H1 => {
                let connection = self.h1().serve_connection(io, service);
                until_done(connection, self.lingered(), |c| c.graceful_shutdown()).await
            }
            Wire::H2 => {
                let connection = self.h2().serve_connection(io, service);
                let time = self.goodbye(come, has_begun);
                until_done(connection, time, |c| c.graceful_shutdown()).await
            }
        };
        if let Err(error) = ended {
            debug!(%error, peer = %self.peer.addr, "connection ended");
        }
    }

    /// Waits until the drain was signaled and an idle client has had its time.
    async fn lingered(&self) {
        self.drain.signaled().await;
        tokio::time::sleep(self.settings.drain_linger).await;
    }

    /// Waits for the time of GOAWAY: at once, but for a connection that has only just come and is still
    /// without a call. A client that connects for one call would take it for the answer.
    async fn goodbye(&self, come: Instant, mut has_begun: watch::Receiver<bool>) {
        self.drain.signaled().await;
        tokio::select! {
            _ = has_begun.wait_for(|begun| *begun) => {}
            () = tokio::time::sleep_until(come + self.settings.drain_linger) => {}
        }
    }

    fn h1(&self) -> conn::http1::Builder {
        let mut builder = conn::http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            // A client may close its sending half and still wait for the answer: `nc` does.
            .half_close(true)
            .header_read_timeout(self.settings.header_read_timeout)
            .max_buf_size(self.settings.h1_buffer.max(8 << 10));
        builder
    }

    fn h2(&self) -> conn::http2::Builder<TokioExecutor> {
        // Streams are spawned apart from the drain: they end with their connection, which is in it.
        let mut builder = conn::http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(window(self.settings.h2_stream_window))
            .initial_connection_window_size(window(self.settings.h2_connection_window))
            .max_concurrent_streams(self.settings.h2_max_streams)
            // Clients whose deadlines pass give up in crowds. Who ends a connection after the twentieth, as
            // is the default, takes the calls of all others with it; as many as may run are no flood.
            .max_pending_accept_reset_streams(usize::try_from(self.settings.h2_max_streams).ok())
            .max_header_list_size(window(self.settings.h2_header_list))
            .keep_alive_interval(self.settings.h2_ping_every)
            .keep_alive_timeout(self.settings.h2_ping_within);
        builder
    }
}

/// Drives a connection; once it is time, lets it finish what it has begun.
async fn until_done<C>(
    connection: C,
    time: impl Future<Output = ()>,
    finish: impl FnOnce(Pin<&mut C>),
) -> Result<(), hyper::Error>
where
    C: Future<Output = Result<(), hyper::Error>>,
{
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        // The connection first: one that has just come is not to end before its first request.
        biased;
        ended = connection.as_mut() => return ended,
        () = time => {}
    }
    finish(connection.as_mut());
    connection.await
}

/// Whether a request leaves open whom it is for: what stands before us could have read another host in
/// it than we do (RFC 9112, 3.2).
fn has_no_one_host<B>(request: &Request<B>) -> bool {
    let hosts = request.headers().get_all(header::HOST).iter().count();
    match request.version() {
        Version::HTTP_11 => hosts != 1,
        // HTTP/1.0 need not name one; HTTP/2 has `:authority` for it.
        _ => hosts > 1,
    }
}

/// Runs one call and turns its panic into an answer.
async fn answer<S, Fut, B>(
    service: S,
    request: Request<Incoming>,
    peer: Peer,
    panics: Counter,
) -> Response<Either<B, Empty<Bytes>>>
where
    S: Fn(Request<Incoming>, Peer) -> Fut,
    Fut: Future<Output = Response<B>>,
{
    let call = async move { service(request, peer).await };
    // The panic's own message was printed by the panic hook; the answer must not tell it.
    if let Ok(response) = AssertUnwindSafe(call).catch_unwind().await {
        return response.map(Either::Left);
    }
    panics.inc();
    error!(peer = %peer.addr, "a call panicked");
    let mut response = Response::new(Either::Right(Empty::new()));
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}

/// Small writes at once (an event is a small write), and dead peers found by the kernel.
fn prepare(socket: &Socket) -> io::Result<()> {
    socket.set_nodelay()?;
    socket.keep_alive(Duration::from_secs(60), Duration::from_secs(15))
}

/// HTTP/2 windows are 31 bits wide.
fn window(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX).min((1 << 31) - 1)
}

/// Counts a connection as open until it is dropped, and holds its place under the cap.
pub(super) struct Open {
    gauge: Gauge,
    _permit: OwnedSemaphorePermit,
}

impl Open {
    pub(super) fn count(metrics: &Metrics, permit: OwnedSemaphorePermit) -> Self {
        metrics.open.inc();
        Self {
            gauge: metrics.open.clone(),
            _permit: permit,
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}
