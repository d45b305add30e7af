//! Server-sent events, as both HTTP bindings carry streams.
//!
//! # Invariants
//! - One event is read up to the bound; what is over it ends the stream.
//! - A stream that ends within an event was cut.

use bytes::Bytes;
use http::{HeaderValue, Response, header};
use mesh_proto::{
    Operation,
    sse::{self, TooLong},
};

use crate::error::{Broken, Cut, Error};

/// The data of each event.
#[derive(Debug)]
pub(crate) struct Reader {
    events: sse::Reader,
    /// The bound was passed: what was whole before is still given out.
    over: Option<TooLong>,
    /// Of the event that was given last.
    id: Option<String>,
}

impl Reader {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            events: sse::Reader::new(limit),
            over: None,
            id: None,
        }
    }

    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.over = self.events.feed(bytes).err();
    }

    /// The data of the next whole event; events without data are passed over.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, Error> {
        while let Some(event) = self.events.next_event() {
            if !event.data.is_empty() {
                self.id = event.id;
                return Ok(Some(event.data));
            }
        }
        match self.over {
            Some(TooLong { limit }) => Err(Broken::TooLarge {
                what: "event",
                limit,
            }
            .into()),
            None => Ok(None),
        }
    }

    /// The id of the event that was given last.
    pub(crate) fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Judges the end of the body.
    pub(crate) fn finish(&self) -> Result<(), Error> {
        if self.events.is_boundary() {
            Ok(())
        } else {
            let reason = "it ended within an event".to_owned();
            Err(Cut::MidAnswer { reason }.into())
        }
    }
}

/// What to ask for: the stream, or the one answer of an operation without one.
pub(crate) fn accept(operation: Operation, answer: &'static str) -> HeaderValue {
    HeaderValue::from_static(if operation.streams() {
        "text/event-stream"
    } else {
        answer
    })
}

/// Whether an answer is a stream of events.
pub(crate) fn is_stream<B>(response: &Response<B>) -> bool {
    response.status().is_success()
        && response
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok())
            .and_then(|kind| kind.split(';').next())
            .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/event-stream"))
}
