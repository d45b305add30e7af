//! One host and port that agents answer at: its connections, and whether it may be tried.
//!
//! Agents that live in one process share an origin, so that ten agents on a worker cost one pool.
//!
//! # Invariants
//! - [`Unanswered::Unsent`] means that no byte of the request reached the peer: another member may
//!   be tried. Everything else is [`Unanswered::Sent`].
//! - An h1 connection carries one call at a time and comes back only after its body's clean end.
//! - Idle h1 connections are bounded in number and age; h2 connections in number.

use std::{
    pin::Pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as _, Frame};
use http_body_util::Full;
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use mesh_runtime::egress::{self, Alpn, Egress, Target};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::call::Broken;

/// Idle h1 connections kept per origin; one more pushes the oldest out.
const IDLE_CONNECTIONS: usize = 128;
/// How long an h1 connection may idle. Common servers (uvicorn, Node) close theirs at 5 s, and a
/// request that meets the close half-way can't be told from one that was processed.
const IDLE_AGE: Duration = Duration::from_secs(4);
/// h2 connections per origin. One is enough until its streams run out.
const SHARED_CONNECTIONS: usize = 16;
/// Streams on an h2 connection before another is opened: 80 % of 100, the bound that most servers
/// announce and that RFC 9113, 6.5.2 asks them not to go below.
const STREAMS: usize = 80;
/// The first ejection's length; it doubles with each failure in a row, up to [`EJECTION_MOST`].
const EJECTION_FIRST: Duration = Duration::from_millis(250);
const EJECTION_MOST: Duration = Duration::from_secs(30);
/// Windows after `routing-and-scale` 4: a slow stream must not stall its neighbours.
const STREAM_WINDOW: u32 = 128 << 10;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// The HTTP version of a connection to an origin.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wire {
    /// HTTP/1.1, for JSON-RPC and HTTP+JSON.
    H1,
    /// HTTP/2, for gRPC.
    H2,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// No connection, or one that closed before it took the request.
    #[error("could not connect")]
    Unsent(#[source] Reason),
    /// The request was on its way when the connection broke.
    #[error("the connection broke before an answer")]
    Sent(#[source] hyper::Error),
}

/// What stood in the way of sending.
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    /// TCP or TLS.
    #[error("connecting failed")]
    Connect(#[source] egress::Error),
    /// Every connection closed before it took the request.
    #[error("every connection closed unused")]
    Closed,
    /// The HTTP handshake, or a connection that closed unused.
    #[error("the connection closed unused")]
    Http(#[source] hyper::Error),
}

/// See the module.
#[derive(Debug)]
pub struct Origin {
    target: Target,
    egress: Egress,
    born: Instant,
    idle: Mutex<Vec<Idle>>,
    shared: Mutex<Vec<Shared>>,
    /// Held while an h2 connection is made, so that a burst makes one and not a hundred.
    dialling: tokio::sync::Mutex<()>,
    /// Milliseconds after `born` until which the origin is ejected.
    ejected_until: AtomicU64,
    strikes: AtomicU32,
}

#[derive(Debug)]
struct Idle {
    sender: http1::SendRequest<Full<Bytes>>,
    since: Instant,
}

#[derive(Clone, Debug)]
struct Shared {
    sender: http2::SendRequest<Full<Bytes>>,
    streams: Arc<AtomicUsize>,
}

impl Origin {
    /// An origin that nobody has talked to yet.
    #[must_use]
    pub fn new(target: Target, egress: Egress) -> Self {
        Self {
            target,
            egress,
            born: Instant::now(),
            idle: Mutex::default(),
            shared: Mutex::default(),
            dialling: tokio::sync::Mutex::default(),
            ejected_until: AtomicU64::new(0),
            strikes: AtomicU32::new(0),
        }
    }

    /// Where it is.
    #[must_use]
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// Whether a failure is too fresh to try again.
    #[must_use]
    pub fn is_ejected(&self, now: Instant) -> bool {
        let until = self.ejected_until.load(Ordering::Relaxed);
        until != 0 && millis(now.saturating_duration_since(self.born)) < until
    }

    /// Takes the origin out of the choice for a while. True if it was in.
    pub fn eject(&self, now: Instant) -> bool {
        let was_in = !self.is_ejected(now);
        let strikes = self.strikes.fetch_add(1, Ordering::Relaxed).min(16);
        let pause = EJECTION_FIRST
            .saturating_mul(1 << strikes)
            .min(EJECTION_MOST);
        let until = millis(now.saturating_duration_since(self.born) + pause);
        self.ejected_until.store(until.max(1), Ordering::Relaxed);
        was_in
    }

    /// Puts the origin back: it answered.
    pub fn readmit(&self) {
        if self.strikes.load(Ordering::Relaxed) != 0 {
            self.strikes.store(0, Ordering::Relaxed);
            self.ejected_until.store(0, Ordering::Relaxed);
        }
    }

    /// Sends one request and waits for the answer's head.
    ///
    /// # Errors
    /// [`Unanswered`], which says whether the request can have been seen.
    pub async fn send(
        self: &Arc<Self>,
        wire: Wire,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Carried>, Unanswered> {
        match wire {
            Wire::H1 => self.send_h1(request).await,
            Wire::H2 => self.send_h2(request).await,
        }
    }

    async fn send_h1(
        self: &Arc<Self>,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<Carried>, Unanswered> {
        loop {
            let (mut sender, reused) = match self.take_idle() {
                Some(sender) => (sender, true),
                None => (self.dial_h1().await?, false),
            };
            let mut error = match sender.try_send_request(request).await {
                Ok(response) => {
                    let back = Some(Back {
                        sender,
                        origin: Arc::downgrade(self),
                    });
                    return Ok(response.map(|body| Carried {
                        body,
                        back,
                        _stream: None,
                    }));
                }
                Err(error) => error,
            };
            match error.take_message() {
                // The peer had closed the pooled connection; the next one, or a new one, will do.
                Some(unsent) if reused => request = unsent,
                Some(_) => return Err(Unanswered::Unsent(Reason::Http(error.into_error()))),
                None => return Err(Unanswered::Sent(error.into_error())),
            }
        }
    }

    async fn send_h2(
        self: &Arc<Self>,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<Carried>, Unanswered> {
        // Bounded: each turn either ends or uses up a connection that had closed.
        for _ in 0..=SHARED_CONNECTIONS {
            let Shared {
                mut sender,
                streams,
            } = self.stream_h2().await?;
            let stream = OpenStream::count(streams);
            let mut error = match sender.try_send_request(request).await {
                Ok(response) => {
                    return Ok(response.map(|body| Carried {
                        body,
                        back: None,
                        _stream: Some(stream),
                    }));
                }
                Err(error) => error,
            };
            match error.take_message() {
                Some(unsent) => request = unsent,
                None => return Err(Unanswered::Sent(error.into_error())),
            }
        }
        Err(Unanswered::Unsent(Reason::Closed))
    }

    fn take_idle(&self) -> Option<http1::SendRequest<Full<Bytes>>> {
        let now = Instant::now();
        let mut idle = self.idle.lock();
        while let Some(Idle { sender, since }) = idle.pop() {
            if now.saturating_duration_since(since) > IDLE_AGE {
                // The newest is on top: all below are older still.
                idle.clear();
                return None;
            }
            if sender.is_ready() {
                return Some(sender);
            }
        }
        None
    }

    fn give_back(&self, sender: http1::SendRequest<Full<Bytes>>) {
        let mut idle = self.idle.lock();
        if idle.len() >= IDLE_CONNECTIONS {
            idle.remove(0);
        }
        idle.push(Idle {
            sender,
            since: Instant::now(),
        });
    }

    async fn dial_h1(&self) -> Result<http1::SendRequest<Full<Bytes>>, Unanswered> {
        let stream = self
            .egress
            .connect(&self.target, Alpn::H1)
            .await
            .map_err(unsent)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(unsent_http)?;
        drive(async move {
            // What ends a connection shows where its calls are; here there is nobody to tell.
            drop(connection.await);
        });
        Ok(sender)
    }

    async fn stream_h2(&self) -> Result<Shared, Unanswered> {
        if let Some(shared) = self.roomy() {
            return Ok(shared);
        }
        let _one_at_a_time = self.dialling.lock().await;
        if let Some(shared) = self.roomy() {
            return Ok(shared);
        }
        let stream = self
            .egress
            .connect(&self.target, Alpn::H2)
            .await
            .map_err(unsent)?;
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(20))
            .handshake(TokioIo::new(stream))
            .await
            .map_err(unsent_http)?;
        drive(async move {
            drop(connection.await);
        });
        let shared = Shared {
            sender,
            streams: Arc::default(),
        };
        self.shared.lock().push(shared.clone());
        Ok(shared)
    }

    /// A connection with room for one more stream; at the bound of connections, the least loaded.
    fn roomy(&self) -> Option<Shared> {
        let mut shared = self.shared.lock();
        shared.retain(|each| !each.sender.is_closed());
        let least = shared
            .iter()
            .min_by_key(|each| each.streams.load(Ordering::Relaxed))?;
        let has_room = least.streams.load(Ordering::Relaxed) < STREAMS;
        (has_room || shared.len() >= SHARED_CONNECTIONS).then(|| least.clone())
    }
}

/// An upstream's body that gives its connection back at its end.
#[derive(Debug)]
pub struct Carried {
    body: Incoming,
    back: Option<Back>,
    _stream: Option<OpenStream>,
}

#[derive(Debug)]
struct Back {
    sender: http1::SendRequest<Full<Bytes>>,
    origin: Weak<Origin>,
}

impl Back {
    fn give(self) {
        let Some(origin) = self.origin.upgrade() else {
            return;
        };
        let mut sender = self.sender;
        if sender.is_ready() {
            origin.give_back(sender);
            return;
        }
        // The connection's task has still to see the end of the body.
        drive(async move {
            if sender.ready().await.is_ok() {
                origin.give_back(sender);
            }
        });
    }
}

impl http_body::Body for Carried {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx).map_err(|_| Broken);
        match &polled {
            Poll::Ready(None) => {
                if let Some(back) = self.back.take() {
                    back.give();
                }
            }
            Poll::Ready(Some(Err(_))) => self.back = None,
            Poll::Ready(Some(Ok(_))) if self.body.is_end_stream() => {
                if let Some(back) = self.back.take() {
                    back.give();
                }
            }
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        // An answer without a body is never polled; its connection is as good as new.
        if self.body.is_end_stream()
            && let Some(back) = self.back.take()
        {
            back.give();
        }
    }
}

/// One stream of an h2 connection, counted while it lives.
#[derive(Debug)]
struct OpenStream(Arc<AtomicUsize>);

impl OpenStream {
    fn count(streams: Arc<AtomicUsize>) -> Self {
        streams.fetch_add(1, Ordering::Relaxed);
        Self(streams)
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn unsent(error: egress::Error) -> Unanswered {
    Unanswered::Unsent(Reason::Connect(error))
}

fn unsent_http(error: hyper::Error) -> Unanswered {
    Unanswered::Unsent(Reason::Http(error))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a connection ends with its last call, which the drain already waits for"
)]
fn drive(connection: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(connection);
}
