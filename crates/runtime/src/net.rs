//! The seam to the network: listeners, and HTTP/1 and HTTP/2 on one port.
//!
//! [`serve`] accepts, tells the two protocols apart by their first bytes, and hands each request to
//! one function. It knows nothing of what the requests mean.
//!
//! # Invariants
//! - A client that connects and says nothing is closed after [`Settings::first_bytes_within`]; one
//!   that sends half a head, after [`Settings::header_read_timeout`].
//! - A panic in one call is that call's `500`; neither the process nor the connection pays for it.
//! - Every buffer and count per connection has a bound in [`Settings`].
//! - On drain, nothing new is accepted, HTTP/2 peers get GOAWAY and HTTP/1 answers close.

use std::{
    future::Future, io, net::SocketAddr, panic::AssertUnwindSafe, sync::Arc, time::Duration,
};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{Either, Empty};
use hyper::{body::Incoming, server::conn, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tracing::{debug, error, warn};

use crate::{
    drain::Drain,
    net::sniff::{Rewind, Wire},
    settings,
};

mod sniff;

/// What a listener allows its clients.
///
/// Every field may be left out of a file and then has the default that is named here.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How long a new connection may stay silent. Default 10s. Too short cuts slow links, too long
    /// lets idle connections pile up to the cap.
    #[serde(with = "settings::duration")]
    pub first_bytes_within: Duration,
    /// How long an HTTP/1 head may take; also how long a kept-alive HTTP/1 connection may wait for
    /// its next request. Default 60s. Must be longer than the idle time of the client's connection
    /// pool, else a request can meet a connection that is just being closed.
    #[serde(with = "settings::duration")]
    pub header_read_timeout: Duration,
    /// Connections at once on this listener. Default 65,536. One more is accepted and closed at
    /// once, so that its client fails fast instead of hanging in the backlog.
    pub max_connections: usize,
    /// HTTP/1: the largest head, and the read buffer of a connection. Default 64KiB. At least 8KiB;
    /// less is raised to that.
    #[serde(with = "settings::bytes")]
    pub h1_buffer: usize,
    /// HTTP/2: what a client may send on one stream before we have read it. Default 128KiB.
    #[serde(with = "settings::bytes")]
    pub h2_stream_window: usize,
    /// HTTP/2: the same for all streams of a connection together. Default 4MiB.
    #[serde(with = "settings::bytes")]
    pub h2_connection_window: usize,
    /// HTTP/2: streams at once on a connection; the protocol makes a client wait with more. Default
    /// 1024: our own routers put many calls on one connection.
    pub h2_max_streams: u32,
    /// HTTP/2: the largest head, decompressed. Default 16KiB; a larger one is refused with 431.
    #[serde(with = "settings::bytes")]
    pub h2_header_list: usize,
    /// HTTP/2: how often an otherwise silent peer is asked whether it lives. Default 30s.
    #[serde(with = "settings::duration")]
    pub h2_ping_every: Duration,
    /// HTTP/2: how long it may take to answer before the connection is closed. Default 20s.
    #[serde(with = "settings::duration")]
    pub h2_ping_within: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            first_bytes_within: Duration::from_secs(10),
            header_read_timeout: Duration::from_secs(60),
            max_connections: 65_536,
            h1_buffer: 64 << 10,
            h2_stream_window: 128 << 10,
            h2_connection_window: 4 << 20,
            h2_max_streams: 1024,
            h2_header_list: 16 << 10,
            h2_ping_every: Duration::from_secs(30),
            h2_ping_within: Duration::from_secs(20),
        }
    }
}

/// What the listeners of a process count, together.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    open: Gauge,
    accepted: Counter,
    over_cap: Counter,
    silent: Counter,
    panics: Counter,
}

impl Metrics {
    /// Registers the series, all at zero.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let mut add = |name: &str, help: &str, counter: &Counter| {
            registry.register(name, help, counter.clone());
        };
        add(
            "mesh_connections_accepted",
            "Connections accepted",
            &metrics.accepted,
        );
        add(
            "mesh_connections_over_cap",
            "Connections closed at once because the listener is at its cap",
            &metrics.over_cap,
        );
        add(
            "mesh_connections_silent",
            "Connections closed because no first byte came in time",
            &metrics.silent,
        );
        add(
            "mesh_call_panics",
            "Calls that ended in a panic and were answered with 500",
            &metrics.panics,
        );
        registry.register(
            "mesh_connections_open",
            "Connections that are open now",
            metrics.open.clone(),
        );
        metrics
    }
}

/// A bound TCP listener.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    local: SocketAddr,
    metrics: Metrics,
}

impl Listener {
    /// Binds `HOST:PORT`; port 0 takes a free one, which [`Self::local_addr`] then tells.
    ///
    /// # Errors
    /// Where the address does not resolve or is taken.
    pub async fn bind(address: &str) -> io::Result<Self> {
        let socket = TcpListener::bind(address).await?;
        let local = socket.local_addr()?;
        Ok(Self {
            socket,
            local,
            metrics: Metrics::default(),
        })
    }

    /// Counts into registered metrics instead of nowhere.
    #[must_use]
    pub fn counted(mut self, metrics: Metrics) -> Self {
        self.metrics = metrics;
        self
    }

    /// The address that it is bound to, with the real port.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local
    }
}

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Peer {
    /// The address as the socket tells it; a proxy before us hides the client's.
    pub addr: SocketAddr,
}

/// Accepts until the drain is signaled. Returns then; connections end in their own tasks, which the
/// drain waits for.
pub async fn serve<S, Fut, B>(listener: Listener, settings: Settings, drain: Drain, service: S)
where
    S: Fn(Request<Incoming>, Peer) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let settings = Arc::new(settings);
    let room = Arc::new(Semaphore::new(
        settings.max_connections.min(Semaphore::MAX_PERMITS),
    ));
    loop {
        let accepted = tokio::select! {
            () = drain.signaled() => return,
            accepted = listener.socket.accept() => accepted,
        };
        let (socket, addr) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, most likely: without a pause this loop would burn the CPU
                // that could close some. A client's own early reset costs one pause, no more.
                warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        listener.metrics.accepted.inc();
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
            listener.metrics.over_cap.inc();
            continue;
        };
        let connection = Connection {
            peer: Peer { addr },
            settings: Arc::clone(&settings),
            metrics: listener.metrics.clone(),
            drain: drain.clone(),
            _open: Open::count(&listener.metrics, permit),
        };
        drain.spawn("connection", connection.run(socket, service.clone()));
    }
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

struct Connection {
    peer: Peer,
    settings: Arc<Settings>,
    metrics: Metrics,
    drain: Drain,
    _open: Open,
}

impl Connection {
    async fn run<S, Fut, B>(self, mut socket: TcpStream, service: S)
    where
        S: Fn(Request<Incoming>, Peer) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Response<B>> + Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        if let Err(error) = prepare(&socket) {
            debug!(%error, "socket options refused");
        }
        let first = tokio::time::timeout(
            self.settings.first_bytes_within,
            sniff::first_bytes(&mut socket),
        );
        let (wire, prefix) = tokio::select! {
            () = self.drain.signaled() => return,
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
        let service = service_fn(move |request| {
            let (service, panics) = (service.clone(), panics.clone());
            async move {
                Ok::<_, std::convert::Infallible>(answer(service, request, peer, panics).await)
            }
        });
        let io = TokioIo::new(Rewind::new(prefix, socket));
        let ended = match wire {
            Wire::H1 => {
                let connection = self.h1().serve_connection(io, service);
                self.until_done(connection, |c| c.graceful_shutdown()).await
            }
            Wire::H2 => {
                let connection = self.h2().serve_connection(io, service);
                self.until_done(connection, |c| c.graceful_shutdown()).await
            }
        };
        if let Err(error) = ended {
            debug!(%error, peer = %self.peer.addr, "connection ended");
        }
    }

    /// Drives a connection; once the drain is signaled, lets it finish what it has begun.
    async fn until_done<C>(
        &self,
        connection: C,
        finish: impl FnOnce(std::pin::Pin<&mut C>),
    ) -> Result<(), hyper::Error>
    where
        C: Future<Output = Result<(), hyper::Error>>,
    {
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            ended = connection.as_mut() => return ended,
            () = self.drain.signaled() => {}
        }
        finish(connection.as_mut());
        connection.await
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
            .max_header_list_size(window(self.settings.h2_header_list))
            .keep_alive_interval(self.settings.h2_ping_every)
            .keep_alive_timeout(self.settings.h2_ping_within);
        builder
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
fn prepare(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let alive = socket2::TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(15));
    socket2::SockRef::from(socket).set_tcp_keepalive(&alive)
}

/// HTTP/2 windows are 31 bits wide.
fn window(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX).min((1 << 31) - 1)
}

/// Counts a connection as open until it is dropped, and holds its place under the cap.
struct Open {
    gauge: Gauge,
    _permit: OwnedSemaphorePermit,
}

impl Open {
    fn count(metrics: &Metrics, permit: OwnedSemaphorePermit) -> Self {
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

#[cfg(test)]
mod tests;
