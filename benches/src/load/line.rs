//! Connections to one aim: kept alive, of a bounded number, opened when one is wanted.
//!
//! # Invariants
//! - A call that finds no connection free waits for one, and its time runs on. Where calls have a
//!   deadline it is given up after a tenth of it, and counts as late: in a queue that is served in order
//!   every call would reach the endpoint when nobody waits for it any more, and the endpoint would be
//!   blamed for the generator's queue.
//! - Over HTTP/1.1 a connection carries one call at a time and is used again only after its answer was
//!   read to the end; over HTTP/2 [`STREAMS`] calls share one.
//! - A request that a dying connection gave back unwritten, or that its server says by GOAWAY it has not
//!   looked at (RFC 9113, 6.8), goes over another, [`GIVEN_BACK`] times at most; no other does.

use std::{
    borrow::Cow,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use mesh_proto::Binding;
use mesh_runtime::drain::Drain;
use parking_lot::Mutex;
use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
};

use super::aim::Aim;

/// Calls on one HTTP/2 connection at once: below what servers allow.
const STREAMS: usize = 100;

/// How often an unwritten request may find the next connection dying, too.
const GIVEN_BACK: usize = 3;

/// Why a call was never sent that found no connection free in time.
pub(super) const GIVEN_UP: &str = "no connection was free in time";

type Body = Full<Bytes>;

/// Why a call failed, in words that reports count.
pub(super) type Reason = Cow<'static, str>;

/// See the module.
#[derive(Debug)]
pub(super) struct Lines {
    address: SocketAddr,
    gate: Arc<Semaphore>,
    patience: Option<Duration>,
    idle: Mutex<Vec<http1::SendRequest<Body>>>,
    shared: Vec<tokio::sync::Mutex<Option<http2::SendRequest<Body>>>>,
    turn: AtomicUsize,
    opened: AtomicU64,
    unsent: AtomicU64,
    drain: Drain,
}

/// An answer, and the connection that it comes over.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) response: Response<Incoming>,
    pub(super) hold: Hold,
}

/// A connection while its answer is read.
#[derive(Debug)]
pub(super) struct Hold {
    line: Option<http1::SendRequest<Body>>,
    _permit: OwnedSemaphorePermit,
}

impl Lines {
    pub(super) fn new(
        aim: &Aim,
        connections: usize,
        deadline: Option<Duration>,
        drain: Drain,
    ) -> Self {
        let connections = connections.max(1);
        let multiplexed = aim.binding == Binding::Grpc;
        let (at_once, shared) = if multiplexed {
            (connections * STREAMS, connections)
        } else {
            (connections, 0)
        };
        Self {
            address: aim.address,
            gate: Arc::new(Semaphore::new(at_once)),
            patience: deadline.map(|deadline| deadline / 10),
            idle: Mutex::default(),
            shared: (0..shared).map(|_| tokio::sync::Mutex::default()).collect(),
            turn: AtomicUsize::new(0),
            opened: AtomicU64::new(0),
            unsent: AtomicU64::new(0),
            drain,
        }
    }

    pub(super) fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    pub(super) fn unsent(&self) -> u64 {
        self.unsent.load(Ordering::Relaxed)
    }

    /// Sends a request and waits for the head of its answer.
    ///
    /// # Errors
    /// Where the connection failed, as a reason for the report.
    pub(super) async fn send(&self, mut request: Request<Body>) -> Result<Answered, Reason> {
        let permit = Arc::clone(&self.gate).acquire_owned();
        let permit = match self.patience {
            Some(patience) => tokio::time::timeout(patience, permit)
                .await
                .map_err(|_| GIVEN_UP)?,
            None => permit.await,
        };
        let permit = permit.map_err(|_| "the run is over")?;
        for _ in 0..=GIVEN_BACK {
            let mut kept = None;
            let (sent, line) = if self.shared.is_empty() {
                let mut line = self.single().await?;
                (line.try_send_request(request).await, Some(line))
            } else {
                let mut line = self.multiplexed().await?;
                kept = Some(request.clone());
                (line.try_send_request(request).await, None)
            };
            let mut error: TrySendError<Request<Body>> = match sent {
                Ok(response) => {
                    let hold = Hold {
                        line,
                        _permit: permit,
                    };
                    return Ok(Answered { response, hold });
                }
                Err(error) => error,
            };
            let unseen = kept.filter(|_| is_unseen(error.error()));
            let Some(unsent) = error.take_message().or(unseen) else {
                return Err(reason(error.error()));
            };
            self.unsent.fetch_add(1, Ordering::Relaxed);
            request = unsent;
        }
        Err("every connection closed before the request was written".into())
    }

    /// Gives a connection back whose answer was read to the end.
    pub(super) fn give_back(&self, hold: Hold) {
        if let Some(line) = hold.line
            && !line.is_closed()
        {
            self.idle.lock().push(line);
        }
    }

    async fn single(&self) -> Result<http1::SendRequest<Body>, Reason> {
        // The last one first: those that are not needed grow old and are closed by the server.
        loop {
            let Some(mut line) = self.idle.lock().pop() else {
                break;
            };
            if line.ready().await.is_ok() {
                return Ok(line);
            }
        }
        let io = self.connect().await?;
        let (line, connection) = http1::handshake(io).await.map_err(|e| reason(&e))?;
        // Its end is seen by the call that it carries.
        self.drain
            .spawn("connection", async { connection.await.ok() });
        Ok(line)
    }

    async fn multiplexed(&self) -> Result<http2::SendRequest<Body>, Reason> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let place = self.shared.get(turn % self.shared.len().max(1));
        let mut place = place.ok_or("no connection")?.lock().await;
        if let Some(line) = place.as_ref().filter(|line| !line.is_closed()) {
            return Ok(line.clone());
        }
        let io = self.connect().await?;
        let (line, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(4 << 20)
            // Under overload it gives up calls by the thousand.
            .max_concurrent_reset_streams(1 << 16)
            .handshake(io)
            .await
            .map_err(|e| reason(&e))?;
        self.drain
            .spawn("connection", async { connection.await.ok() });
        *place = Some(line.clone());
        Ok(line)
    }

    async fn connect(&self) -> Result<TokioIo<TcpStream>, &'static str> {
        let stream = TcpStream::connect(self.address).await;
        let stream = stream.map_err(|_| "no connection")?;
        // Small requests must not wait for each other's acknowledgement.
        stream.set_nodelay(true).ok();
        self.opened.fetch_add(1, Ordering::Relaxed);
        Ok(TokioIo::new(stream))
    }
}

/// Whether a server that goes says that it has not looked at the request.
fn is_unseen(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error);
    let cause = cause.and_then(|cause| cause.downcast_ref::<h2::Error>());
    cause.is_some_and(|cause| {
        cause.is_go_away() && cause.is_remote() && cause.reason() == Some(h2::Reason::NO_ERROR)
    })
}

/// A connection's failure in few words, and its cause: reports count them.
pub(super) fn reason(error: &hyper::Error) -> Reason {
    let what = if error.is_incomplete_message() {
        "the connection ended without an answer"
    } else if error.is_parse() {
        "the answer is not HTTP"
    } else if error.is_canceled() || error.is_closed() {
        "the connection closed"
    } else {
        "the connection broke"
    };
    std::error::Error::source(error)
        .map_or_else(|| what.into(), |cause| format!("{what}: {cause}").into())
}
