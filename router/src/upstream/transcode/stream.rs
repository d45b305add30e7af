//! A stream between two dialects: each event is read, written anew and sent on by itself.
//!
//! # Invariants
//! - Order is kept, one frame per event, and none waits for the next.
//! - A clean end of the agent's is a clean end here; anything else is a break. Over gRPC only trailers
//!   with a status end a stream, over server-sent events the end of the body at an event's end.
//! - Comments that keep a stream alive become comments; over gRPC, whose connection has pings of its
//!   own, they are dropped.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame};
use http_body_util::BodyExt as _;
use mesh_core::error::CallError;
use mesh_proto::{
    Binding, Problem, grpc,
    pivot::{self, Event},
    sse,
};

use super::{Transcoding, headers};
use crate::{
    call::{Broken, LastWords},
    refusal::farewell,
    upstream::origin::Carried,
};

/// A comment, as it keeps a stream alive.
const COMMENT: &[u8] = b":\n\n";

/// See the module.
#[derive(Debug)]
pub struct Stream {
    transcoding: Transcoding,
    body: Carried,
    reader: Reader,
    /// Bounded: it is emptied before more is read.
    out: VecDeque<Frame<Bytes>>,
    ended: bool,
}

#[derive(Debug)]
enum Reader {
    /// Server-sent events.
    Events(sse::Reader),
    /// Messages of gRPC.
    Messages(grpc::Reader),
}

/// What a piece of the agent's stream says.
enum Said {
    Event(Box<Event>),
    Problem(Problem),
    /// Nothing, but that the agent is alive.
    Alive,
    /// Nothing yet.
    Nothing,
    End,
}

impl Stream {
    pub(super) fn new(transcoding: Transcoding, body: Carried) -> Self {
        let limit = transcoding.limit;
        let reader = match transcoding.agent.binding {
            Binding::Grpc => Reader::Messages(grpc::Reader::new(limit)),
            Binding::JsonRpc | Binding::Rest => Reader::Events(sse::Reader::new(limit)),
        };
        Self {
            transcoding,
            body,
            reader,
            out: VecDeque::new(),
            ended: false,
        }
    }

    /// Reads up to the first event, or the first sign of life: what the agent complains of before it can
    /// still be an ordinary answer.
    ///
    /// # Errors
    /// [`CallError`], where the stream breaks before.
    pub(super) async fn begin(&mut self) -> Result<Option<Problem>, CallError> {
        loop {
            let mut said = self.next().map_err(|_| CallError::BadAnswer)?;
            if matches!(said, Said::Nothing) {
                said = match self.body.frame().await {
                    Some(Ok(frame)) => self.take(frame).map_err(|_| CallError::BadAnswer)?,
                    Some(Err(_)) => return Err(CallError::UpstreamReset),
                    None => self.end().map_err(|_| CallError::UpstreamReset)?,
                };
            }
            match said {
                Said::Nothing => {}
                Said::Problem(problem) => return Ok(Some(problem)),
                said => {
                    self.push(said);
                    return Ok(None);
                }
            }
        }
    }

    /// The next thing said by what is there already.
    fn next(&mut self) -> Result<Said, Broken> {
        let (agent, operation) = (self.transcoding.agent, self.transcoding.operation);
        let data = match &mut self.reader {
            Reader::Events(events) => events.next_event().map(|event| event.data),
            Reader::Messages(messages) => match messages.next_frame().map_err(|_| Broken)? {
                Some(frame) if frame.compressed => return Err(Broken),
                frame => frame.map(|frame| frame.message),
            },
        };
        Ok(match data {
            None => Said::Nothing,
            Some(data) => match pivot::decode_event(agent, operation, &data) {
                // Of a kind that nobody knows: there is nothing in it that could be said.
                Ok(Event { payload: None }) => Said::Alive,
                Ok(event) => Said::Event(Box::new(event)),
                Err(problem) => Said::Problem(problem),
            },
        })
    }

    /// Takes a frame in, and tells the first thing that it says.
    fn take(&mut self, frame: Frame<Bytes>) -> Result<Said, Broken> {
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => {
                let trailers = frame.into_trailers().map_err(|_| Broken)?;
                return self.status(&trailers);
            }
        };
        match &mut self.reader {
            Reader::Messages(messages) => messages.feed(&data),
            Reader::Events(events) => events.feed(&data).map_err(|_| Broken)?,
        }
        let said = self.next()?;
        Ok(match (&self.reader, said) {
            (Reader::Events(events), Said::Nothing) if events.is_boundary() => Said::Alive,
            (_, said) => said,
        })
    }

    /// What trailers say.
    fn status(&self, trailers: &HeaderMap) -> Result<Said, Broken> {
        let problem = grpc::problem_in(self.transcoding.agent.version, trailers);
        match (&self.reader, problem) {
            (Reader::Events(_), _) => Ok(Said::Nothing),
            (Reader::Messages(_), Some(problem)) => Ok(Said::Problem(problem)),
            (Reader::Messages(left), None) if left.is_empty() => {
                let has_status = trailers.contains_key("grpc-status");
                has_status.then_some(Said::End).ok_or(Broken)
            }
            (Reader::Messages(_), None) => Err(Broken),
        }
    }

    /// What the end of the body says.
    fn end(&self) -> Result<Said, Broken> {
        match &self.reader {
            Reader::Events(events) if events.is_boundary() => Ok(Said::End),
            Reader::Events(_) | Reader::Messages(_) => Err(Broken),
        }
    }

    /// Says it to the client.
    fn push(&mut self, said: Said) {
        let (client, id) = (self.transcoding.client, self.transcoding.id.as_ref());
        let is_grpc = client.binding == Binding::Grpc;
        match said {
            Said::Nothing => {}
            Said::Event(event) => {
                let event = pivot::encode_event(client, id, Ok(&event));
                self.out.push_back(Frame::data(event));
            }
            Said::Alive if is_grpc => {}
            Said::Alive => self.out.push_back(Frame::data(Bytes::from_static(COMMENT))),
            Said::Problem(problem) => {
                let words = farewell(client, id.cloned());
                match (words.write)(words.id.as_ref(), &problem) {
                    LastWords::Event(event) => self.out.push_back(Frame::data(event)),
                    LastWords::Trailers(trailers) => {
                        self.out.push_back(Frame::trailers(trailers));
                    }
                }
                // A status ends a call of gRPC; after an error event others may follow.
                self.ended = is_grpc || matches!(self.reader, Reader::Messages(_));
            }
            Said::End => {
                if is_grpc {
                    self.out.push_back(Frame::trailers(headers::success()));
                }
                self.ended = true;
            }
        }
    }

    /// What comes next, in the client's dialect.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        loop {
            if let Some(frame) = self.out.pop_front() {
                return Poll::Ready(Some(Ok(frame)));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            let said = match self.next()? {
                Said::Nothing => match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                    Some(Ok(frame)) => self.take(frame)?,
                    Some(Err(broken)) => return Poll::Ready(Some(Err(broken))),
                    None => self.end()?,
                },
                said => said,
            };
            self.push(said);
        }
    }

    /// Whether nothing more will come.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended && self.out.is_empty()
    }
}
