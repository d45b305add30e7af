//! A body of an upstream, and what it gives back at its end.

use std::{
    pin::Pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, client::conn::http1};

use super::{Origin, drive};
use crate::{call::Broken, upstream::health::Running};

/// An upstream's body that gives its connection back at its end.
#[derive(Debug)]
pub struct Carried {
    /// What was read of it already, and is still to be carried.
    ahead: Option<Bytes>,
    body: Incoming,
    back: Option<Back>,
    _stream: Option<OpenStream>,
    running: Option<Running>,
}

impl Carried {
    /// A body that nobody has read of.
    pub(super) const fn new(
        body: Incoming,
        back: Option<Back>,
        stream: Option<OpenStream>,
    ) -> Self {
        Self {
            ahead: None,
            body,
            back,
            _stream: stream,
            running: None,
        }
    }

    /// The first bytes of a body of which nothing was read yet, which stay in it. `None` where it begins
    /// with none, or breaks; that shows again when it is carried.
    pub async fn beginning(&mut self) -> Option<Bytes> {
        let frame = self.frame().await?.ok()?;
        let first = frame.into_data().ok()?;
        self.ahead = Some(first.clone());
        Some(first)
    }

    /// Counts the call at its process until the body is dropped, or has come to its end.
    pub fn counted(&mut self, running: Running) {
        self.running = Some(running);
    }
}

#[derive(Debug)]
pub(super) struct Back {
    sender: http1::SendRequest<Full<Bytes>>,
    origin: Weak<Origin>,
}

impl Back {
    pub(super) fn new(sender: http1::SendRequest<Full<Bytes>>, origin: &Arc<Origin>) -> Self {
        Self {
            sender,
            origin: Arc::downgrade(origin),
        }
    }

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
        if let Some(ahead) = self.ahead.take() {
            return Poll::Ready(Some(Ok(Frame::data(ahead))));
        }
        let polled = Pin::new(&mut self.body).poll_frame(cx).map_err(|_| Broken);
        match &polled {
            Poll::Ready(None) => {
                self.running = None;
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
        self.ahead.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.body.size_hint();
        let ahead = self.ahead.as_ref().map_or(0, Bytes::len) as u64;
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + ahead);
        }
        hint.set_lower(hint.lower() + ahead);
        hint
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
pub(super) struct OpenStream(Arc<AtomicUsize>);

impl OpenStream {
    pub(super) fn count(streams: Arc<AtomicUsize>) -> Self {
        streams.fetch_add(1, Ordering::Relaxed);
        Self(streams)
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
