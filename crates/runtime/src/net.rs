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
//! - On drain, what the kernel has accepted already is served, and nothing after it. HTTP/2 peers get
//!   GOAWAY. HTTP/1 has no such word: each answer says `Connection: close`, and a connection is closed
//!   unasked only when it was idle for [`Settings::drain_linger`], so that no client meets a reset.

use std::{future::Future, io, net::SocketAddr, os::fd::OwnedFd, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};
use tokio::sync::Semaphore;
use tracing::warn;

use crate::{
    drain::Drain,
    net::connection::{Connection, Open},
    settings,
    socket::Acceptor,
};

mod connection;
mod sniff;
pub mod takeover;

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
    /// How long a draining listener keeps HTTP/1 connections that are idle, and new ones that have
    /// said nothing yet: a request on them is answered, with `Connection: close`. Default 5s. Longer
    /// than most clients pause between two calls; a process that drains lasts at least as long where
    /// such connections are open. The end of the drain's grace cuts it short.
    #[serde(with = "settings::duration")]
    pub drain_linger: Duration,
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
            drain_linger: Duration::from_secs(5),
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

/// A bound listener.
#[derive(Debug)]
pub struct Listener {
    socket: Acceptor,
    local: SocketAddr,
    metrics: Metrics,
}

impl Listener {
    /// Binds `HOST:PORT`; port 0 takes a free one, which [`Self::local_addr`] then tells.
    ///
    /// # Errors
    /// Where the address does not resolve or is taken.
    pub async fn bind(address: &str) -> io::Result<Self> {
        Self::on(Acceptor::bind(address).await?)
    }

    /// On a socket that another process has bound.
    fn inherited(socket: OwnedFd) -> io::Result<Self> {
        Self::on(Acceptor::inherited(socket)?)
    }

    fn on(socket: Acceptor) -> io::Result<Self> {
        let local = socket.local_addr()?;
        Ok(Self {
            socket,
            local,
            metrics: Metrics::default(),
        })
    }

    /// The same socket once more, for another process. While it is held the port stays open.
    fn share(&self) -> io::Result<OwnedFd> {
        self.socket.share()
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
    let Listener {
        socket, metrics, ..
    } = listener;
    let take = |(socket, addr)| {
        metrics.accepted.inc();
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
            metrics.over_cap.inc();
            return;
        };
        let connection = Connection {
            peer: Peer { addr },
            settings: Arc::clone(&settings),
            metrics: metrics.clone(),
            drain: drain.clone(),
            _open: Open::count(&metrics, permit),
        };
        drain.spawn("connection", connection.run(socket, service.clone()));
    };
    loop {
        let accepted = tokio::select! {
            () = drain.signaled() => break,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok(accepted) => take(accepted),
            Err(error) => {
                // Out of descriptors, most likely: without a pause this loop would burn the CPU
                // that could close some. A client's own early reset costs one pause, no more.
                warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // To these clients the connection stands: closing the socket would reset it.
    socket.backlog().into_iter().for_each(take);
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
