//! A reply's body on its way down: every frame as it comes, a comment into long silence, and honest last
//! words if it breaks.
//!
//! # Invariants
//! - Frames are neither split, merged, held back nor looked into, but for the last four bytes; only a
//!   stream that can be spliced waits for the end of an event (`splice`).
//! - A broken stream never looks like a whole one. At an event boundary the client gets an error
//!   event (or trailers) of its own binding; inside an event the connection is cut.
//! - The client's going away drops this body, and with it the upstream's. A client that stays and does
//!   not read loses the upstream's, too, after a while (`Held`).

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, header};
use http_body::{Frame, SizeHint};
use mesh_core::error::CallError;
use mesh_proto::{Fault, Problem};
use parking_lot::Mutex;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::{Keeping, splice::Splice};
use crate::{
    call::{Broken, Farewell, LastWords, Outcome},
    dispatch::lookup::Peeked,
    passage::Account,
};

/// A comment, as it keeps a stream alive.
const COMMENT: &[u8] = b":\n\n";

type Polled = Poll<Option<Result<Frame<Bytes>, Broken>>>;

/// What a pump carries.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "an answer in one piece is not boxed again"
)]
pub enum Carrier {
    /// A body as it comes.
    Plain(Peeked),
    /// A stream that outlives its worker.
    Spliced(Box<Splice>),
}

/// See the module.
#[derive(Debug)]
pub struct Pump {
    source: Source,
    account: Account,
    farewell: Farewell,
    shape: Shape,
    tail: Tail,
    ended: bool,
}

/// Where the frames come from.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "an answer in one piece is not boxed again"
)]
enum Source {
    /// An answer in one piece.
    Whole(Peeked),
    /// A stream of events, and what it is kept by.
    Stream(Box<Kept>),
}

/// What may be added to a body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Shape {
    /// Server-sent events: one more event or comment, at a boundary.
    Events,
    /// gRPC: trailers, anywhere.
    Messages,
    /// Anything else: nothing.
    Whole,
}

/// What keeps a stream.
#[derive(Debug)]
struct Kept {
    held: Arc<Held>,
    keeping: Keeping,
    /// Armed when the stream begins and after it fires, never by a frame.
    timer: Pin<Box<Sleep>>,
    /// When something went down.
    told: Instant,
    /// When something came from the agent.
    heard: Instant,
    /// When this router is about to end.
    ending: Pin<Box<WaitForCancellationFutureOwned>>,
}

/// The upstream's side of a stream, where it can be taken from a client that does not read.
///
/// A client that does not read is not seen from within: its stream is not polled then. It is seen from
/// beside, by a stamp that stands while a frame was given and no next one was asked for.
#[derive(Debug)]
pub(super) struct Held {
    carrier: Mutex<Option<Carrier>>,
    /// Milliseconds since the router began; 0 while the client waits.
    given: AtomicU64,
}

/// Why the router ends a stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Cause {
    Lost,
    Idle,
    Slow,
    Ending,
}

impl Held {
    /// Takes the upstream's side from a client that has not read since `before`; whether it did.
    pub(super) fn take_if_slow(&self, before: u64) -> bool {
        let given = self.given.load(Ordering::Relaxed);
        if given == 0 || given >= before {
            return false;
        }
        self.given.store(0, Ordering::Relaxed);
        self.carrier.lock().take().is_some()
    }
}

impl Pump {
    /// A pump for a reply with these headers.
    #[must_use]
    pub fn new(
        carrier: Carrier,
        headers: &HeaderMap,
        farewell: Farewell,
        account: Account,
        keeping: &Keeping,
    ) -> Self {
        let shape = Shape::of(headers);
        let source = match (carrier, shape) {
            (Carrier::Plain(body), Shape::Whole) => Source::Whole(body),
            (carrier, _) => Source::Stream(Box::new(Kept::new(carrier, keeping))),
        };
        Self {
            source,
            account,
            farewell,
            shape,
            tail: Tail::default(),
            ended: false,
        }
    }

    /// Ends the stream: with last words where there is a place for them.
    fn end(&mut self, cause: Cause) -> Result<Frame<Bytes>, Broken> {
        self.ended = true;
        let error = CallError::UpstreamReset;
        self.account.settle(match cause {
            Cause::Lost | Cause::Idle => Outcome::from(&error),
            Cause::Slow => Outcome::Abandoned,
            Cause::Ending => Outcome::Answered,
        });
        let problem = match &self.source {
            Source::Whole(_) => return Err(Broken),
            Source::Stream(kept) => kept.close(cause).unwrap_or_else(|| error.answer()),
        };
        let words = || (self.farewell.write)(self.farewell.id.as_ref(), &problem);
        match self.shape {
            Shape::Events if self.tail.is_boundary() => match words() {
                LastWords::Event(event) => Ok(Frame::data(event)),
                LastWords::Trailers(_) => Err(Broken),
            },
            Shape::Messages => match words() {
                LastWords::Trailers(trailers) => Ok(Frame::trailers(trailers)),
                LastWords::Event(_) => Err(Broken),
            },
            Shape::Events | Shape::Whole => Err(Broken),
        }
    }

    /// What is to be done while nothing comes.
    fn wait(&mut self, cx: &mut Context<'_>) -> Polled {
        let Source::Stream(kept) = &mut self.source else {
            return Poll::Pending;
        };
        let is_boundary = self.shape == Shape::Messages || self.tail.is_boundary();
        if is_boundary && kept.ending.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(self.end(Cause::Ending)));
        }
        while kept.timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            if kept.is_idle(now) {
                return Poll::Ready(Some(self.end(Cause::Idle)));
            }
            let comments = self.shape == Shape::Events;
            let is_due = comments && kept.is_silent(now);
            kept.arm(now, comments);
            if is_due && is_boundary {
                kept.comment(now);
                return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(COMMENT)))));
            }
        }
        Poll::Pending
    }
}

impl http_body::Body for Pump {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        if self.ended {
            return Poll::Ready(None);
        }
        let polled = match &mut self.source {
            Source::Whole(body) => Pin::new(body).poll_frame(cx),
            Source::Stream(kept) => match kept.poll_frame(cx) {
                Some(polled) => polled,
                None => return Poll::Ready(Some(self.end(Cause::Slow))),
            },
        };
        match polled {
            Poll::Pending => self.wait(cx),
            // Without a status a stream of gRPC has no end.
            Poll::Ready(None) if self.shape == Shape::Messages => {
                Poll::Ready(Some(self.end(Cause::Lost)))
            }
            Poll::Ready(None) => {
                self.ended = true;
                self.account.settle(Outcome::Answered);
                Poll::Ready(None)
            }
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    self.tail.push(data);
                }
                let is_last = frame.is_trailers() && self.shape == Shape::Messages;
                // The server may not poll past a frame that it knows to be the last.
                if is_last || self.source.has_ended() {
                    self.ended = is_last;
                    self.account.settle(Outcome::Answered);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(_))) => Poll::Ready(Some(self.end(Cause::Lost))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.source.has_ended()
    }

    fn size_hint(&self) -> SizeHint {
        // A length promised here could not be kept by last words; events have none anyway.
        match &self.source {
            Source::Whole(body) => body.size_hint(),
            Source::Stream(_) => SizeHint::default(),
        }
    }
}

impl Source {
    fn has_ended(&self) -> bool {
        match self {
            Self::Whole(body) => http_body::Body::is_end_stream(body),
            Self::Stream(kept) => match &*kept.held.carrier.lock() {
                Some(Carrier::Plain(body)) => http_body::Body::is_end_stream(body),
                Some(Carrier::Spliced(splice)) => splice.has_ended(),
                None => false,
            },
        }
    }
}

impl Kept {
    fn new(carrier: Carrier, keeping: &Keeping) -> Self {
        let now = Instant::now();
        let held = Arc::new(Held {
            carrier: Mutex::new(Some(carrier)),
            given: AtomicU64::new(0),
        });
        keeping.watch(&held);
        let mut kept = Self {
            held,
            timer: Box::pin(tokio::time::sleep_until(now)),
            told: now,
            heard: now,
            ending: Box::pin(keeping.ending()),
            keeping: keeping.clone(),
        };
        kept.arm(now, true);
        kept
    }

    /// The next frame; `None` where the client was too slow to get it.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Option<Polled> {
        let polled = match self.held.carrier.lock().as_mut()? {
            Carrier::Plain(body) => http_body::Body::poll_frame(Pin::new(body), cx),
            Carrier::Spliced(splice) => splice.poll_frame(cx),
        };
        let given = match &polled {
            Poll::Pending => 0,
            Poll::Ready(_) => {
                (self.told, self.heard) = (Instant::now(), Instant::now());
                self.keeping.stamp()
            }
        };
        self.held.given.store(given, Ordering::Relaxed);
        Some(polled)
    }

    /// Whether it is time for a comment.
    fn is_silent(&self, now: Instant) -> bool {
        let pause = self.keeping.keep_alive();
        pause.is_some_and(|pause| now.saturating_duration_since(self.told) >= pause)
    }

    fn is_idle(&self, now: Instant) -> bool {
        let pause = self.keeping.idle();
        pause.is_some_and(|pause| now.saturating_duration_since(self.heard) >= pause)
    }

    /// Sets the timer to whatever is due first.
    fn arm(&mut self, now: Instant, comments: bool) {
        /// Longer than any stream.
        const NEVER: Duration = Duration::from_hours(24 * 365);
        let due = |pause: Option<Duration>, since: Instant| pause.map(|pause| since + pause);
        let told = if self.is_silent(now) { now } else { self.told };
        let comment = due(self.keeping.keep_alive().filter(|_| comments), told);
        let idle = due(self.keeping.idle(), self.heard);
        let next = comment.into_iter().chain(idle).min();
        self.timer.as_mut().reset(next.unwrap_or(now + NEVER));
    }

    fn comment(&mut self, now: Instant) {
        self.told = now;
        self.keeping.commented();
    }

    /// Lets the upstream go, and counts why. What the client is told, where that is not the usual.
    fn close(&self, cause: Cause) -> Option<Problem> {
        drop(self.held.carrier.lock().take());
        let problem = |text: &str| Problem::new(Fault::Unavailable, text);
        match cause {
            Cause::Lost => {
                self.keeping.metrics().lost.inc();
                None
            }
            Cause::Idle => {
                self.keeping.metrics().idle.inc();
                Some(problem(
                    "the agent said nothing for too long; subscribe to the task again",
                ))
            }
            Cause::Slow => {
                let text = "the stream was not read for too long; subscribe to the task again";
                Some(Problem::new(Fault::Exhausted, text))
            }
            Cause::Ending => {
                self.keeping.metrics().ending.inc();
                Some(problem(
                    "the router is going away; subscribe to the task again",
                ))
            }
        }
    }
}

impl Shape {
    fn of(headers: &HeaderMap) -> Self {
        let kind = headers.get(header::CONTENT_TYPE);
        let kind = kind.and_then(|value| value.to_str().ok());
        // An error of gRPC may be all head; then nothing more is to come.
        let is_over = headers.contains_key("grpc-status");
        match kind {
            Some(kind) if kind.starts_with("text/event-stream") => Self::Events,
            Some(kind) if kind.starts_with("application/grpc") && !is_over => Self::Messages,
            Some(_) | None => Self::Whole,
        }
    }
}

/// The last bytes that passed, as far as an event boundary can reach.
#[derive(Clone, Copy, Debug, Default)]
struct Tail {
    bytes: [u8; 4],
    seen: usize,
}

impl Tail {
    fn push(&mut self, data: &[u8]) {
        let last = data.get(data.len().saturating_sub(4)..).unwrap_or_default();
        self.bytes.rotate_left(last.len());
        let start = 4 - last.len();
        if let Some(end) = self.bytes.get_mut(start..) {
            end.copy_from_slice(last);
        }
        self.seen = self.seen.saturating_add(data.len());
    }

    /// Whether an event has just ended, or none has begun.
    fn is_boundary(self) -> bool {
        self.seen == 0
            || self.bytes.ends_with(b"\n\n")
            || self.bytes.ends_with(b"\r\r")
            || self.bytes == *b"\r\n\r\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_boundary_is_seen_however_the_bytes_are_cut() {
        for whole in ["data: x\n\n", "data: x\r\n\r\n", "data: x\r\r"] {
            for cut in 0..whole.len() {
                let mut tail = Tail::default();
                tail.push(&whole.as_bytes()[..cut]);
                assert_eq!(tail.is_boundary(), cut == 0, "{whole:?} cut at {cut}");
                tail.push(&whole.as_bytes()[cut..]);
                assert!(tail.is_boundary(), "{whole:?} cut at {cut}");
            }
        }
    }
}
