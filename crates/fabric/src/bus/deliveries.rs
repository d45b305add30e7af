//! What a subscription hands out, and what it makes up for whatever the form is: order per key, pauses
//! between attempts, a deadline for each, dead letters.
//!
//! ```text
//!  arrival -> behind (another of its key is before it) -> ready -> out -> done
//!                                                           ^        |-> failed: pausing (attempts left)
//!                                                           |---------------'     or dying -> dead letter
//! ```
//!
//! # Invariants
//! - Of the messages of one key only the first is handed out, until it is done or a dead letter.
//! - The form hears of a message once: that it is done, or, by its receipt dropped with this
//!   subscription, that it is not. In between it is held here, so that a form that redelivers badly
//!   makes no difference while this process lives.
//! - At most `in_flight` messages are held, since the form hands out no more before it hears of some.

mod held;

use std::{fmt, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};
use tracing::{debug, warn};

use self::held::{Dying, Held, Out};
use super::{
    Arrivals, Error, Message, Receipt, Subscription, TEXT_BYTES, Transit, metrics::Happened,
};

/// The deliveries of one subscription. Dropped, what is not done goes to another member.
pub struct Deliveries {
    arrivals: Option<Box<dyn Arrivals>>,
    desk: Arc<Desk>,
    /// What leaves: dead letters on their way, and what has expired.
    leaving: FuturesUnordered<BoxFuture<'static, (u64, Result<(), Error>)>>,
}

impl fmt::Debug for Deliveries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deliveries")
            .field("ask", &self.desk.ask)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Desk {
    ask: Subscription,
    transit: Transit,
    held: Mutex<Held>,
    rung: Notify,
}

/// One attempt at carrying out a message. Dropped without a word, it has failed.
#[derive(Debug)]
pub struct Delivery {
    message: Arc<Message>,
    attempt: u32,
    number: u64,
    desk: Arc<Desk>,
    is_settled: bool,
}

impl Delivery {
    /// What is to be carried out.
    #[must_use]
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// Which attempt this is, from 1.
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// It is carried out. A form that does not hear of it hands the message out again.
    pub async fn done(mut self) {
        self.is_settled = true;
        let receipt = self.desk.held.lock().settle(self.number);
        self.desk.rung.notify_one();
        let Some(receipt) = receipt else { return };
        if let Err(error) = receipt.done().await {
            debug!(%error, id = self.message.id, "the bus was not told that a message is done");
        }
    }

    /// It could not be carried out now: again after a pause, if attempts are left.
    pub fn again(mut self, reason: &str) {
        self.fail(reason);
    }

    /// It can never be carried out: a dead letter at once.
    pub fn dead(mut self, reason: &str) {
        self.is_settled = true;
        self.desk
            .held
            .lock()
            .give_up(self.number, self.attempt, reason);
        self.desk.rung.notify_one();
    }

    fn fail(&mut self, reason: &str) {
        self.is_settled = true;
        let now = Instant::now();
        let mut held = self.desk.held.lock();
        let has_failed = held.fail(&self.desk.ask, self.number, self.attempt, reason, now);
        drop(held);
        if has_failed {
            self.desk.count(Happened::Again);
        }
        self.desk.rung.notify_one();
    }
}

impl Desk {
    fn count(&self, happened: Happened) {
        self.transit.count(&self.ask.topic, happened);
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if !self.is_settled {
            self.fail("it was dropped");
        }
    }
}

impl Deliveries {
    pub(super) fn new(arrivals: Box<dyn Arrivals>, ask: Subscription, transit: Transit) -> Self {
        Self {
            arrivals: Some(arrivals),
            desk: Arc::new(Desk {
                ask,
                transit,
                held: Mutex::default(),
                rung: Notify::new(),
            }),
            leaving: FuturesUnordered::new(),
        }
    }

    /// The next delivery; waits for it. Pauses, deadlines and dead letters go on while somebody waits
    /// here. `None` once the form has closed the subscription and all that it gave is settled.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Delivery> {
        loop {
            let now = Instant::now();
            let (out, dying, wake) = {
                let mut held = self.desk.held.lock();
                let failed = held.wake(&self.desk.ask, now);
                for _ in 0..failed {
                    self.desk.count(Happened::Again);
                }
                (
                    held.hand_out(&self.desk.ask, now),
                    held.take_dying(),
                    held.next_alarm(),
                )
            };
            self.send_off(dying);
            if let Some(Out {
                number,
                attempt,
                message,
            }) = out
            {
                self.desk.count(Happened::Delivered);
                return Some(Delivery {
                    message,
                    attempt,
                    number,
                    desk: Arc::clone(&self.desk),
                    is_settled: false,
                });
            }
            if self.arrivals.is_none() && self.desk.held.lock().is_empty() {
                return None;
            }
            self.wait(wake).await;
        }
    }

    async fn wait(&mut self, wake: Option<Instant>) {
        let alarm = async {
            match wake {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let arrival = async {
            match &mut self.arrivals {
                Some(arrivals) => arrivals.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            arrival = arrival => match arrival {
                Some(arrival) => {
                    let holding = self.desk.transit.hold(&self.desk.ask.topic);
                    let mut held = self.desk.held.lock();
                    held.arrive(arrival, holding, Instant::now());
                }
                None => self.arrivals = None,
            },
            () = self.desk.rung.notified() => {}
            () = alarm => {}
            Some((number, left)) = self.leaving.next(), if !self.leaving.is_empty() => {
                self.has_left(number, left);
            }
        }
    }

    /// Lets go of what nobody will carry out.
    fn send_off(&self, dying: Vec<Dying>) {
        for Dying {
            number,
            message,
            attempts,
            reason,
            receipt,
        } in dying
        {
            let letter = reason.map(|reason| letter(&message, attempts, &reason));
            let happened = if letter.is_some() {
                Happened::Dead
            } else {
                Happened::Expired
            };
            self.desk.count(happened);
            let (transit, pause) = (self.desk.transit.clone(), self.desk.ask.longest_pause);
            self.leaving.push(Box::pin(async move {
                let left = leave(&transit, letter, receipt, pause).await;
                (number, left)
            }));
        }
    }

    fn has_left(&self, number: u64, left: Result<(), Error>) {
        // What could not be buried is dropped here and comes again from the form.
        if let Err(error) = left {
            warn!(%error, topic = %self.desk.ask.topic, "a dead letter could not be written; its message comes again");
        }
        drop(self.desk.held.lock().settle(number));
    }
}

async fn leave(
    transit: &Transit,
    letter: Option<Message>,
    receipt: Option<Box<dyn Receipt>>,
    pause: Duration,
) -> Result<(), Error> {
    if let Some(letter) = letter
        && let Err(error) = transit.bury(letter).await
    {
        // It comes again at once when its receipt is dropped, and a bus that is full stays so for a while.
        tokio::time::sleep(pause).await;
        return Err(error);
    }
    match receipt {
        Some(receipt) => receipt.done().await,
        None => Ok(()),
    }
}

/// What lies among the dead letters: the message, and where it was to go and why it did not.
fn letter(message: &Message, attempts: u32, reason: &str) -> Message {
    let topic = message.topic.dead();
    let mut attributes = message.attributes.clone();
    if topic != message.topic {
        attributes.insert("origin".to_owned(), message.topic.to_string());
        attributes.insert("originid".to_owned(), message.id.clone());
    }
    attributes.insert("attempts".to_owned(), attempts.to_string());
    attributes.insert("reason".to_owned(), cut(reason).to_owned());
    // A broker that knows ids again over several topics must not take it for its origin.
    let suffix = format!("@{topic}");
    let id = match message.id.ends_with(&suffix) {
        true => message.id.clone(),
        false => format!("{}{suffix}", message.id),
    };
    Message {
        topic,
        id,
        key: message.key.clone(),
        attributes,
        body: message.body.clone(),
        ttl: None,
    }
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(TEXT_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests;
