//! A subscription as its subscriber has it: what has come from the sidecar and is handed out, whichever
//! way it came.
//!
//! # Invariants
//! - What was handed out and not done is handed out again here, as long as there is a subscription.
//! - At most as many messages as were asked for are out.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use dapr::dapr::proto::runtime::v1::SubscribeTopicEventsRequestAlpha1 as Said;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::{
    super::{Arrival, Arrivals, Error, Message, Receipt},
    event, stream,
};

/// An event that has come.
pub(super) struct Came {
    pub(super) message: Message,
    /// When it expires, in Unix milliseconds.
    pub(super) expires: Option<u64>,
    pub(super) attempt: u32,
    /// How the sidecar hears that it is done; unset where it has been told.
    pub(super) answer: Option<Answer>,
}

/// The way to the sidecar.
pub(super) enum Answer {
    /// By its stream, under the event's id there.
    Stream(String, mpsc::Sender<Said>),
    /// With the rest of its batch. Dropped, it is not done.
    Batch(oneshot::Sender<()>),
}

/// What comes back because nobody has done it.
#[derive(Default)]
struct Back {
    waiting: Mutex<VecDeque<Came>>,
    rung: Notify,
}

/// The arrivals of one subscription.
pub(super) struct Inbox {
    came: mpsc::Receiver<Came>,
    back: Arc<Back>,
    permits: Arc<Semaphore>,
    /// What its end does.
    _ending: Box<dyn Send>,
}

impl Inbox {
    /// For what comes by `came`, so many of it out at a time. `ending` is dropped with it.
    pub(super) fn new(came: mpsc::Receiver<Came>, out: usize, ending: impl Send + 'static) -> Self {
        Self {
            came,
            back: Arc::default(),
            permits: Arc::new(Semaphore::new(out)),
            _ending: Box::new(ending),
        }
    }
}

impl Arrivals for Inbox {
    fn next(&mut self) -> BoxFuture<'_, Option<Arrival>> {
        Box::pin(async {
            loop {
                let permit = Arc::clone(&self.permits).acquire_owned().await.ok()?;
                let returned = self.back.waiting.lock().pop_front();
                let came = match returned {
                    Some(came) => came,
                    None => tokio::select! {
                        came = self.came.recv() => came?,
                        () = self.back.rung.notified() => continue,
                    },
                };
                let left = |at: u64| Duration::from_millis(at.saturating_sub(event::now()));
                return Some(Arrival {
                    message: Message {
                        ttl: came.expires.map(left),
                        ..came.message.clone()
                    },
                    attempt: came.attempt,
                    receipt: Box::new(Slip {
                        came: Some(came),
                        back: Arc::clone(&self.back),
                        _permit: permit,
                    }),
                });
            }
        })
    }
}

/// A message that is out.
struct Slip {
    came: Option<Came>,
    back: Arc<Back>,
    _permit: OwnedSemaphorePermit,
}

impl Receipt for Slip {
    fn done(mut self: Box<Self>) -> BoxFuture<'static, Result<(), Error>> {
        Box::pin(async move {
            match self.came.take().and_then(|came| came.answer) {
                Some(Answer::Stream(id, say)) => {
                    stream::answer(id, &say).await.map_err(Error::unavailable)
                }
                Some(Answer::Batch(done)) => {
                    done.send(()).map_err(|()| Error::unavailable(GoneBatch))
                }
                None => Ok(()),
            }
        })
    }
}

impl Drop for Slip {
    fn drop(&mut self) {
        if let Some(mut came) = self.came.take() {
            came.attempt += 1;
            self.back.waiting.lock().push_back(came);
            self.back.rung.notify_one();
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the sidecar does not wait for the batch any more")]
struct GoneBatch;
