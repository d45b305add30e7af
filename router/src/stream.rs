//! A reply's body on its way down: every frame as it comes, and honest last words if it breaks.
//!
//! # Invariants
//! - Frames are neither split, merged, held back nor looked into, but for the last four bytes.
//! - There is no total timeout: a stream lives as long as both ends want it to.
//! - A broken stream never looks like a whole one. At an event boundary the client gets an error
//!   event (or trailers) of its own binding; inside an event the connection is cut.
//! - The client's going away drops this body, and with it the upstream's.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, header};
use http_body::{Frame, SizeHint};
use mesh_core::error::CallError;

use crate::{
    call::{Broken, Farewell, LastWords, Outcome},
    dispatch::lookup::Peeked,
    passage::Account,
};

/// See the module.
#[derive(Debug)]
pub struct Pump {
    body: Peeked,
    account: Account,
    farewell: Farewell,
    shape: Shape,
    tail: Tail,
    ended: bool,
}

/// What may be added to a body that breaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Shape {
    /// Server-sent events: one more event, at a boundary.
    Events,
    /// gRPC: trailers, anywhere.
    Messages,
    /// Anything else: nothing.
    Whole,
}

impl Pump {
    /// A pump for a reply with these headers.
    #[must_use]
    pub fn new(body: Peeked, headers: &HeaderMap, farewell: Farewell, account: Account) -> Self {
        let kind = headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        let shape = match kind {
            Some(kind) if kind.starts_with("text/event-stream") => Shape::Events,
            Some(kind) if kind.starts_with("application/grpc") => Shape::Messages,
            Some(_) | None => Shape::Whole,
        };
        Self {
            body,
            account,
            farewell,
            shape,
            tail: Tail::default(),
            ended: false,
        }
    }

    fn last_words(&self) -> Option<Frame<Bytes>> {
        let problem = CallError::UpstreamReset.answer();
        let words = || (self.farewell.write)(self.farewell.id.as_ref(), &problem);
        match self.shape {
            Shape::Events if self.tail.is_boundary() => match words() {
                LastWords::Event(event) => Some(Frame::data(event)),
                LastWords::Trailers(_) => None,
            },
            Shape::Messages => match words() {
                LastWords::Trailers(trailers) => Some(Frame::trailers(trailers)),
                LastWords::Event(_) => None,
            },
            Shape::Events | Shape::Whole => None,
        }
    }
}

impl http_body::Body for Pump {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) => {
                self.ended = true;
                self.account.settle(Outcome::Answered);
                Poll::Ready(None)
            }
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    self.tail.push(data);
                }
                // The server may not poll past a frame that it knows to be the last.
                if self.body.is_end_stream() {
                    self.account.settle(Outcome::Answered);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(_))) => {
                self.ended = true;
                self.account
                    .settle(Outcome::from(&CallError::UpstreamReset));
                Poll::Ready(Some(self.last_words().ok_or(Broken)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // A length promised here could not be kept by last words; events have none anyway.
        match self.shape {
            Shape::Whole => self.body.size_hint(),
            Shape::Events | Shape::Messages => SizeHint::default(),
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
