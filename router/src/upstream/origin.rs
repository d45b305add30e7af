//! One host and port that agents answer at: its connections, and whether it may be tried.
//!
//! Agents that live in one process share an origin, so that ten agents on a worker cost one pool.
//!
//! # Invariants
//! - [`Unanswered::Unsent`] means that no byte of the request reached the peer: another member may
//!   be tried. Everything else is [`Unanswered::Sent`].
//! - An h1 connection carries one call at a time and comes back only after its body's clean end.
//! - Idle h1 connections are bounded in number and age; h2 connections in number.

mod carried;

use std::{
    error::Error as _,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use mesh_proto::AgentName;
use mesh_runtime::egress::{self, Alpn, Egress, Target};
use parking_lot::Mutex;
use tokio::time::Instant;

use self::carried::{Back, OpenStream};
use super::{Endpoint, health::Health, invoked::Invoked};

pub use self::carried::Carried;

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
/// Streams that were given up and whose late answers are still recognised. Clients whose deadlines pass
/// give up in crowds, and an answer that nobody knows any more counts against the whole connection.
const GIVEN_UP: usize = 4096;

/// A stream that is not read must not stall its neighbours: all of them at once fit into the
/// connection's window.
const STREAM_WINDOW: u32 = 128 << 10;
const CONNECTION_WINDOW: u32 = 16 << 20;
/// How often a silent h2 connection is asked whether it lives, and how long it may take to say so. Of our
/// workers also one that idles, so that no call meets a connection that died unseen.
const PULSE_OF_OURS: (Duration, Duration) = (Duration::from_secs(8), Duration::from_secs(4));
/// The same of others, only while calls wait: servers of gRPC close a connection that asks more often than
/// every five minutes without being told anything (gRPC proposal A8, `min_recv_ping_interval_without_data`),
/// and with it a call whose agent thinks for longer than that.
const PULSE_OF_OTHERS: (Duration, Duration) = (Duration::from_secs(310), Duration::from_secs(20));
const _: () = assert!(STREAMS * (STREAM_WINDOW as usize) <= CONNECTION_WINDOW as usize);

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
    /// The peer says of the stream that it did nothing of it: it refused it, or its number is above
    /// the last that a GOAWAY names (RFC 9113, 8.7).
    #[error("the stream was refused")]
    Refused(#[source] hyper::Error),
}

impl Reason {
    /// Whether the host can't be had, and not only a connection or a stream of it.
    #[must_use]
    pub const fn is_of_the_host(&self) -> bool {
        matches!(self, Self::Connect(_))
    }
}

/// See the module.
#[derive(Debug)]
pub struct Origin {
    target: Target,
    /// The app that it is, where a sidecar stands between.
    invoked: Option<Arc<Invoked>>,
    egress: Egress,
    health: Arc<Health>,
    /// Who lives here. Few: the agents of one process.
    residents: Mutex<Vec<Resident>>,
    idle: Mutex<Vec<Idle>>,
    shared: Mutex<Vec<Shared>>,
    /// Held while an h2 connection is made, so that a burst makes one and not a hundred.
    dialling: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Resident {
    agent: AgentName,
    endpoint: Weak<Endpoint>,
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
    /// Whether it is asked often whether it lives.
    is_felt: bool,
}

impl Origin {
    /// An origin that nobody has talked to yet.
    #[must_use]
    pub fn new(target: Target, invoked: Option<Arc<Invoked>>, egress: Egress) -> Self {
        Self {
            target,
            invoked,
            egress,
            health: Arc::new(Health::new(Instant::now())),
            residents: Mutex::default(),
            idle: Mutex::default(),
            shared: Mutex::default(),
            dialling: tokio::sync::Mutex::default(),
        }
    }

    /// Where it is.
    #[must_use]
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// The app that it is, where a sidecar stands between.
    #[must_use]
    pub fn invoked(&self) -> Option<&Invoked> {
        self.invoked.as_deref()
    }

    /// How it does.
    #[must_use]
    pub const fn health(&self) -> &Arc<Health> {
        &self.health
    }

    /// Notes that an endpoint of an agent lives here.
    pub fn house(&self, agent: &AgentName, endpoint: &Arc<Endpoint>) {
        let mut residents = self.residents.lock();
        residents.retain(|each| each.endpoint.strong_count() > 0);
        residents.push(Resident {
            agent: agent.clone(),
            endpoint: Arc::downgrade(endpoint),
        });
    }

    /// The endpoints that live here, with their agents.
    #[must_use]
    pub fn residents(&self) -> Vec<(AgentName, Arc<Endpoint>)> {
        let residents = self.residents.lock();
        let living = residents.iter().filter_map(|each| {
            let endpoint = each.endpoint.upgrade()?;
            Some((each.agent.clone(), endpoint))
        });
        living.collect()
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
                    let back = Some(Back::new(sender, self));
                    return Ok(response.map(|body| Carried::new(body, back, None)));
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
                ..
            } = self.stream_h2().await?;
            let stream = OpenStream::count(streams);
            let mut error = match sender.try_send_request(request).await {
                Ok(response) => {
                    return Ok(response.map(|body| Carried::new(body, None, Some(stream))));
                }
                Err(error) => error,
            };
            match error.take_message() {
                Some(unsent) => request = unsent,
                None => {
                    let error = error.into_error();
                    return Err(match was_refused(&error) {
                        true => Unanswered::Unsent(Reason::Refused(error)),
                        false => Unanswered::Sent(error),
                    });
                }
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
        let is_ours = self.health.is_watched();
        let (every, within) = if is_ours {
            PULSE_OF_OURS
        } else {
            PULSE_OF_OTHERS
        };
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .keep_alive_interval(every)
            .keep_alive_timeout(within)
            .keep_alive_while_idle(is_ours)
            .max_concurrent_reset_streams(GIVEN_UP)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(unsent_http)?;
        drive(async move {
            drop(connection.await);
        });
        let shared = Shared {
            sender,
            streams: Arc::default(),
            is_felt: is_ours,
        };
        self.shared.lock().push(shared.clone());
        Ok(shared)
    }

    /// A connection with room for one more stream; at the bound of connections, the least loaded.
    fn roomy(&self) -> Option<Shared> {
        let mut shared = self.shared.lock();
        // One made before its worker was known to be ours ends with its calls.
        let is_ours = self.health.is_watched();
        shared.retain(|each| !each.sender.is_closed() && (each.is_felt || !is_ours));
        let least = shared
            .iter()
            .min_by_key(|each| each.streams.load(Ordering::Relaxed))?;
        let has_room = least.streams.load(Ordering::Relaxed) < STREAMS;
        (has_room || shared.len() >= SHARED_CONNECTIONS).then(|| least.clone())
    }
}

/// Whether the peer says that it did nothing of a stream. A GOAWAY for an error says less: what it ends
/// may have begun.
fn was_refused(error: &hyper::Error) -> bool {
    let cause = error
        .source()
        .and_then(|cause| cause.downcast_ref::<h2::Error>());
    cause.is_some_and(|cause| {
        let is_goodbye = cause.is_go_away() && cause.reason() == Some(h2::Reason::NO_ERROR);
        let is_refusal = cause.is_reset() && cause.reason() == Some(h2::Reason::REFUSED_STREAM);
        cause.is_remote() && (is_goodbye || is_refusal)
    })
}

fn unsent(error: egress::Error) -> Unanswered {
    Unanswered::Unsent(Reason::Connect(error))
}

fn unsent_http(error: hyper::Error) -> Unanswered {
    Unanswered::Unsent(Reason::Http(error))
}

#[expect(
    clippy::disallowed_methods,
    reason = "a connection ends with its last call, which the drain already waits for"
)]
fn drive(connection: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(connection);
}
