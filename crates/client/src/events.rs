//! The events of one stream, as they come.
//!
//! # Invariants
//! - No total timeout; silence is bounded only where [`Options::idle_timeout`] says so.
//! - The first error is the last item. A stream that the agent ends well ends without one.
//! - Dropping it ends the call: the connection (h1) or the stream (h2) is closed, the task is not.
//!
//! [`Options::idle_timeout`]: crate::Options::idle_timeout

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::Stream;
use http::HeaderMap;
use http_body::{Body as _, Frame};
use hyper::body::{Bytes, Incoming};
use mesh_proto::{Binding, Dialect, Operation, a2a::StreamResponse, mesh, pivot};
use tokio::time::{Instant, Sleep};

use crate::{
    error::{self, Cut, Error},
    grpc, sse,
};

/// The events of a stream: a `Stream` of [`StreamResponse`]. The end of the stream is the agent's
/// word that nothing more comes; whether the task is done is for its last state to say.
#[derive(Debug)]
pub struct Events {
    body: Incoming,
    decoder: Decoder,
    idle: Option<Idle>,
    done: bool,
}

/// Bytes of a stream in, events out.
#[derive(Debug)]
pub(crate) struct Decoder {
    dialect: Dialect,
    operation: Operation,
    frames: Frames,
    count: Option<Count>,
}

/// The ids of events over gRPC: the head has the first, and each message has the next number.
#[derive(Debug)]
struct Count {
    fence: String,
    next: u64,
    last: Option<String>,
}

impl Count {
    fn from(first: &str) -> Option<Self> {
        let (fence, n) = first.split_once('-')?;
        Some(Self {
            fence: fence.to_owned(),
            next: n.parse().ok()?,
            last: None,
        })
    }

    fn step(&mut self) {
        self.last = Some(format!("{}-{}", self.fence, self.next));
        self.next = self.next.saturating_add(1);
    }
}

/// What a binding puts around each event.
#[derive(Debug)]
enum Frames {
    Sse(sse::Reader),
    Grpc(grpc::Frames, Option<HeaderMap>),
}

#[derive(Debug)]
struct Idle {
    limit: Duration,
    sleep: Pin<Box<Sleep>>,
}

impl Events {
    pub(crate) fn new(body: Incoming, decoder: Decoder, idle: Option<Duration>) -> Self {
        Self {
            body,
            decoder,
            idle: idle.map(|limit| Idle {
                limit,
                sleep: Box::pin(tokio::time::sleep(limit)),
            }),
            done: false,
        }
    }

    /// The id of the event that was given last, where the agent numbers its events: what followed it
    /// can be asked for in a subscription, with the header `last-event-id`.
    #[must_use]
    pub fn event_id(&self) -> Option<&str> {
        match &self.decoder.frames {
            Frames::Sse(reader) => reader.id(),
            Frames::Grpc(..) => self.decoder.count.as_ref()?.last.as_deref(),
        }
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(frame) => {
                if let Some(idle) = &mut self.idle {
                    idle.sleep.as_mut().reset(Instant::now() + idle.limit);
                }
                Poll::Ready(frame.map(|frame| {
                    frame.map_err(|source| {
                        Cut::MidAnswer {
                            reason: error::root(&source),
                        }
                        .into()
                    })
                }))
            }
            Poll::Pending => {
                let Some(idle) = &mut self.idle else {
                    return Poll::Pending;
                };
                let silent = idle.sleep.as_mut().poll(cx);
                silent.map(|()| Some(Err(Cut::Idle(idle.limit).into())))
            }
        }
    }
}

impl Stream for Events {
    type Item = Result<StreamResponse, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        while !this.done {
            let step = match this.decoder.next() {
                Ok(Some(event)) => return Poll::Ready(Some(Ok(event))),
                Ok(None) => match this.poll_body(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Some(Ok(frame))) => {
                        this.decoder.feed(frame);
                        Ok(())
                    }
                    Poll::Ready(Some(Err(error))) => Err(error),
                    Poll::Ready(None) => {
                        this.done = true;
                        this.decoder.finish()
                    }
                },
                Err(error) => Err(error),
            };
            if let Err(error) = step {
                this.done = true;
                return Poll::Ready(Some(Err(error)));
            }
        }
        Poll::Ready(None)
    }
}

impl Decoder {
    pub(crate) fn new(dialect: Dialect, operation: Operation, limit: usize) -> Self {
        Self {
            dialect,
            operation,
            frames: match dialect.binding {
                Binding::JsonRpc | Binding::Rest => Frames::Sse(sse::Reader::new(limit)),
                Binding::Grpc => {
                    Frames::Grpc(grpc::Frames::new(dialect.version, "event", limit), None)
                }
            },
            count: None,
        }
    }

    /// Takes the head of the answer, which over gRPC numbers the first event.
    pub(crate) fn begin(&mut self, headers: &HeaderMap) {
        let first = headers.get(mesh::EVENT_ID);
        let first = first.and_then(|id| id.to_str().ok());
        self.count = first.and_then(Count::from);
    }

    fn next(&mut self) -> Result<Option<StreamResponse>, Error> {
        let data = match &mut self.frames {
            Frames::Sse(reader) => reader.next()?,
            Frames::Grpc(frames, _) => frames.next()?,
        };
        if let (Some(_), Some(count)) = (&data, &mut self.count) {
            count.step();
        }
        data.map(|data| pivot::decode_event(self.dialect, self.operation, &data))
            .transpose()
            .map_err(Error::Problem)
    }

    fn feed(&mut self, frame: Frame<Bytes>) {
        match (&mut self.frames, frame.into_data()) {
            (Frames::Sse(reader), Ok(data)) => reader.feed(&data),
            (Frames::Grpc(frames, _), Ok(data)) => frames.feed(&data),
            (Frames::Grpc(_, trailers), Err(frame)) => *trailers = frame.into_trailers().ok(),
            (Frames::Sse(_), Err(_)) => {}
        }
    }

    fn finish(&self) -> Result<(), Error> {
        match &self.frames {
            Frames::Sse(reader) => reader.finish(),
            Frames::Grpc(frames, trailers) => frames.end(trailers.as_ref()),
        }
    }
}
