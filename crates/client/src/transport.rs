//! One request out, the head of one answer back, over pooled connections: HTTP/1.1 for JSON-RPC and
//! HTTP+JSON, HTTP/2 for gRPC.
//!
//! # Invariants
//! - [`Cut::Connect`] means that the request was not written, not even in part; a pooled connection
//!   that turned out dead before it took the request is replaced without a word.
//! - Redirects are not followed: credentials would go to whom the caller never named.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::BoxFuture;
use http::{Request, Response, Uri};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    body::{Bytes, Incoming},
    rt::{Read, ReadBufCursor, Write},
};
use hyper_util::{
    client::legacy::{self, connect::Connected},
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use mesh_runtime::egress::{self, Alpn, Egress, Target};
use url::Url;

use crate::{
    error::{self, Broken, Cut, Error},
    options::Options,
};

/// The HTTP version that a binding rides on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Wire {
    H1,
    H2,
}

/// The connections of one client.
#[derive(Clone, Debug)]
pub(crate) struct Transport {
    h1: legacy::Client<Connector, Full<Bytes>>,
    h2: legacy::Client<Connector, Full<Bytes>>,
}

impl Transport {
    pub(crate) fn new(options: &Options) -> Self {
        let egress = Egress::new(egress::Settings {
            connect_timeout: options.connect_timeout,
            ca_file: options.ca_file.clone(),
        });
        let connector = |alpn| Connector {
            alpn,
            egress: egress.clone(),
        };
        let mut builder = legacy::Client::builder(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_AGE)
            .pool_max_idle_per_host(IDLE_CONNECTIONS);
        let h1 = builder.build(connector(Alpn::H1));
        // Bigger windows than the 64 KiB of the standard, so that one artifact does not wait for a
        // round trip per window. Pings find a peer that hangs under a long stream; the kernel finds one
        // that vanished, and sooner.
        builder
            .http2_only(true)
            .http2_initial_stream_window_size(1 << 20)
            .http2_initial_connection_window_size(4 << 20)
            .http2_keep_alive_interval(PULSE)
            .http2_keep_alive_timeout(Duration::from_secs(20));
        Self {
            h1,
            h2: builder.build(connector(Alpn::H2)),
        }
    }

    /// Sends a request and waits for the head of its answer.
    pub(crate) async fn send(
        &self,
        wire: Wire,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Cut> {
        let authority = request
            .uri()
            .authority()
            .map_or_else(String::new, ToString::to_string);
        let client = match wire {
            Wire::H1 => &self.h1,
            Wire::H2 => &self.h2,
        };
        client.request(request).await.map_err(|error| {
            let reason = error::root(&error);
            if is_unsent(&error) {
                Cut::Connect { authority, reason }
            } else {
                Cut::Broke { authority, reason }
            }
        })
    }
}

/// Reads a whole body, up to a bound.
pub(crate) async fn collect(
    body: Incoming,
    what: &'static str,
    limit: usize,
) -> Result<http_body_util::Collected<Bytes>, Error> {
    // A stated length over the bound is refused before it is read.
    if body.size_hint().lower() > limit as u64 {
        return Err(Broken::TooLarge { what, limit }.into());
    }
    Limited::new(body, limit).collect().await.map_err(|error| {
        if error.is::<http_body_util::LengthLimitError>() {
            Broken::TooLarge { what, limit }.into()
        } else {
            let reason = error::root(&*error);
            Cut::MidAnswer { reason }.into()
        }
    })
}

/// Runs a call under a deadline, if there is one.
pub(crate) async fn within<T>(
    limit: Option<Duration>,
    call: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    match limit {
        Some(limit) => tokio::time::timeout(limit, call)
            .await
            .unwrap_or(Err(Error::Transport(Cut::Late(limit)))),
        None => call.await,
    }
}

fn is_unsent(error: &legacy::Error) -> bool {
    if error.is_connect() {
        return true;
    }
    // "Canceled" is hyper's word for a request that it hands back unwritten.
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            return error.is_canceled();
        }
        source = error.source();
    }
    false
}

/// Makes connections for the pool.
#[derive(Clone, Debug)]
struct Connector {
    alpn: Alpn,
    egress: Egress,
}

impl Connector {
    async fn connect(self, uri: Uri) -> Result<Connection, egress::Error> {
        let url = Url::parse(&uri.to_string()).map_err(|_| egress::Error::Url(uri.to_string()))?;
        let target = Target::try_from(&url)?;
        let stream = self.egress.connect(&target, self.alpn).await?;
        Ok(Connection(TokioIo::new(stream)))
    }
}

impl tower::Service<Uri> for Connector {
    type Response = Connection;
    type Error = egress::Error;
    type Future = BoxFuture<'static, Result<Connection, egress::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), egress::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

/// A connection as hyper's pool wants it.
#[derive(Debug)]
struct Connection(TokioIo<egress::Stream>);

impl legacy::connect::Connection for Connection {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl Write for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }
}

/// How long an unused connection is kept. Common servers (uvicorn, Node) close theirs after 5 s,
/// and a request that meets the close half-way can't be told from one that was processed.
const IDLE_AGE: Duration = Duration::from_secs(4);
/// Unused connections per agent; one more is closed.
const IDLE_CONNECTIONS: usize = 32;

/// How often a silent connection is asked whether it lives, while a call waits. Servers of gRPC close one
/// that asks more often than every five minutes without being told anything (gRPC proposal A8), and with it
/// the call that an agent thinks about.
const PULSE: Duration = Duration::from_secs(310);
