//! An answer on its way out: whole bodies, events or messages, ids sealed in each as it passes.
//!
//! # Invariants
//! - An event is out as soon as its end is in, a message likewise; nothing waits for the next one.
//! - At most one answer, event or message is held, and never more than the bound.
//! - What was held when the agent broke off is dropped: half an event is none.

use std::{borrow::Cow, collections::VecDeque, sync::Arc};

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body::Frame;
use mesh_core::{
    slots,
    token::{Kind, Route},
};
use mesh_proto::{
    grpc,
    mesh::{Cell, Incarnation},
    rewrite::{self, Direction, Events, IdMap, Segments},
};

use super::{Ids, frame};
use crate::call::Broken;

/// Up to this length an answer goes out as one piece; a longer one goes out in the pieces of which it
/// is made, so that it is not copied.
const ONE_PIECE: usize = 16 << 10;

/// See the module.
#[derive(Debug)]
pub struct Sealer {
    shape: Shape,
    sealing: Sealing,
    /// Bounded: it is emptied before more is taken.
    out: VecDeque<Frame<Bytes>>,
    touched: bool,
    ended: bool,
}

#[derive(Debug)]
enum Shape {
    /// One body of JSON.
    Whole { held: BytesMut, limit: usize },
    /// Server-sent events.
    Events(Events),
    /// Messages of gRPC.
    Messages(grpc::Reader),
}

/// Puts tokens on.
#[derive(Debug)]
pub(super) struct Sealing {
    pub(super) ids: Arc<Ids>,
    /// The member whose new ids are sealed; unset where only what came sealed is.
    pub(super) life: Option<Incarnation>,
}

impl Sealer {
    /// For an answer with these headers; `None` where it is none that has ids.
    pub(super) fn new(
        ids: Arc<Ids>,
        life: Option<Incarnation>,
        headers: &HeaderMap,
        limit: usize,
    ) -> Option<Self> {
        let encoding = headers.get(header::CONTENT_ENCODING);
        if encoding.is_some_and(|encoding| encoding != "identity") {
            return None;
        }
        let kind = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
        let kind = kind.split(';').next()?.trim().to_ascii_lowercase();
        let shape = if kind == "text/event-stream" {
            Shape::Events(Events::new(limit))
        } else if kind.starts_with("application/grpc") {
            Shape::Messages(grpc::Reader::new(limit))
        } else if kind == "application/json" || kind.ends_with("+json") {
            let held = BytesMut::new();
            Shape::Whole { held, limit }
        } else {
            return None;
        };
        Some(Self {
            shape,
            sealing: Sealing { ids, life },
            out: VecDeque::new(),
            touched: false,
            ended: false,
        })
    }

    /// What may go out next.
    pub fn next_frame(&mut self) -> Option<Frame<Bytes>> {
        self.out.pop_front()
    }

    /// Whether nothing came in yet.
    #[must_use]
    pub const fn is_untouched(&self) -> bool {
        !self.touched
    }

    /// Whether the end was in, and all before it is out.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended && self.out.is_empty()
    }

    /// Takes what came in.
    ///
    /// # Errors
    /// [`Broken`], for what is over the bound or no frame of gRPC.
    pub fn take(&mut self, frame: Frame<Bytes>) -> Result<(), Broken> {
        self.touched = true;
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(trailers) => {
                self.flush();
                self.out.push_back(trailers);
                return Ok(());
            }
        };
        match &mut self.shape {
            Shape::Whole { held, limit } => {
                if held.len() + data.len() > *limit {
                    return Err(Broken);
                }
                held.extend_from_slice(&data);
            }
            Shape::Events(events) => {
                events.feed(&data);
                while let Some(piece) = events.next_piece().map_err(|_| Broken)? {
                    self.out.push_back(Frame::data(self.sealing.event(piece)));
                }
            }
            Shape::Messages(messages) => {
                messages.feed(&data);
                while let Some(message) = messages.next_frame().map_err(|_| Broken)? {
                    self.out
                        .push_back(Frame::data(self.sealing.message(message)));
                }
            }
        }
        Ok(())
    }

    /// The answer has come to its end.
    pub fn end(&mut self) {
        self.touched = true;
        self.flush();
        self.ended = true;
    }

    fn flush(&mut self) {
        match &mut self.shape {
            Shape::Whole { held, .. } if !held.is_empty() => {
                let whole = held.split().freeze();
                let sealed = self.sealing.body(whole, Direction::Reply);
                if sealed.len() <= ONE_PIECE {
                    self.out.push_back(Frame::data(sealed.into_bytes()));
                } else {
                    self.out.extend(sealed.into_iter().map(Frame::data));
                }
            }
            // Some readers take the last event also without its blank line.
            Shape::Events(events) => {
                let rest = events.rest();
                if !rest.is_empty() {
                    self.out.push_back(Frame::data(self.sealing.event(rest)));
                }
            }
            Shape::Whole { .. } | Shape::Messages(_) => {}
        }
    }
}

impl Sealing {
    fn body(&mut self, body: Bytes, direction: Direction) -> Segments {
        let (dialect, operation) = (self.ids.dialect, self.ids.operation);
        let sealed = rewrite::rewrite(dialect, operation, direction, body.clone(), self);
        sealed.unwrap_or_else(|_| Segments::from(body))
    }

    fn event(&mut self, piece: Bytes) -> Bytes {
        let (dialect, operation) = (self.ids.dialect, self.ids.operation);
        match rewrite::event(dialect, operation, piece.clone(), self) {
            Ok(sealed) => sealed.into_bytes(),
            Err(_) => piece,
        }
    }

    fn message(&mut self, message: grpc::Frame) -> Bytes {
        if !message.compressed {
            let sealed = self.body(message.message, Direction::Event);
            return frame(sealed.len(), sealed);
        }
        // Compressed although we said that we can't read it: it passes as it came.
        let mut as_it_came = BytesMut::from(&frame(message.message.len(), [])[..]);
        if let Some(flag) = as_it_came.first_mut() {
            *flag = 1;
        }
        as_it_came.put_slice(&message.message);
        as_it_came.freeze()
    }

    /// The id with its token; `None` for one that has a route already.
    fn seal(&self, id: &str, kind: Kind, slot: slots::Kind) -> Option<String> {
        let incarnation = self.life?;
        let Ids {
            keys,
            agent,
            tenant,
            ..
        } = &*self.ids;
        let tenant = tenant.as_deref();
        if keys.open(id, agent.as_str(), tenant).is_some() {
            return None;
        }
        let route = Route {
            cell: Cell::default(),
            slot: slots::slot(keys.slots(), slot, agent, tenant, id),
            incarnation,
            kind,
            minted_hour: 0,
        };
        let mut sealed = keys.seal(route, agent.as_str(), tenant);
        sealed.push('.');
        sealed.push_str(id);
        Some(sealed)
    }
}

impl IdMap for Sealing {
    fn task<'a>(&mut self, id: &'a str) -> Option<Cow<'a, str>> {
        if let Some(came) = self.ids.came.tasks.get(id) {
            return came.as_deref().map(|sealed| Cow::Owned(sealed.to_owned()));
        }
        let kind = if self.ids.in_context {
            Kind::EnvelopeInContext
        } else {
            Kind::Envelope
        };
        self.seal(id, kind, slots::Kind::Message).map(Cow::Owned)
    }

    fn context<'a>(&mut self, id: &'a str) -> Option<Cow<'a, str>> {
        if let Some(came) = self.ids.came.contexts.get(id) {
            return came.as_deref().map(|sealed| Cow::Owned(sealed.to_owned()));
        }
        if self.ids.in_context {
            return None;
        }
        let sealed = self.seal(id, Kind::Envelope, slots::Kind::Context);
        sealed.map(Cow::Owned)
    }

    fn webhook<'a>(&mut self, url: &'a str) -> Option<Cow<'a, str>> {
        let Ids {
            agent,
            tenant,
            webhooks,
            ..
        } = &*self.ids;
        let given = webhooks.as_ref()?.restore(url, agent, tenant.as_deref());
        given.map(Cow::Owned)
    }
}
