//! The messages that a subscription holds, and where each stands. No I/O, and time comes in.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::super::{Arrival, Message, Receipt, Subscription, metrics::Holding};

/// See the module.
#[derive(Default)]
pub(super) struct Held {
    last: u64,
    all: HashMap<u64, One>,
    lanes: HashMap<String, VecDeque<u64>>,
    ready: VecDeque<u64>,
    alarms: BTreeSet<(Instant, u64)>,
    dying: Vec<u64>,
}

struct One {
    message: Arc<Message>,
    attempt: u32,
    expires: Option<Instant>,
    receipt: Option<Box<dyn Receipt>>,
    phase: Phase,
    reason: Option<String>,
    _holding: Holding,
}

/// Where a message stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    /// Another of its key comes first.
    Behind,
    /// It may be handed out.
    Ready,
    /// Somebody is at it, until then.
    Out(Instant),
    /// It failed, and is ready again then.
    Pausing(Instant),
    /// It is handed out no more.
    Dying,
}

/// An attempt to be made.
pub(super) struct Out {
    pub(super) number: u64,
    pub(super) attempt: u32,
    pub(super) message: Arc<Message>,
}

/// A message that is handed out no more.
pub(super) struct Dying {
    pub(super) number: u64,
    pub(super) message: Arc<Message>,
    pub(super) attempts: u32,
    /// Why it is a dead letter; unset for one that has expired.
    pub(super) reason: Option<String>,
    pub(super) receipt: Option<Box<dyn Receipt>>,
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held")
            .field("messages", &self.all.len())
            .finish_non_exhaustive()
    }
}

impl Held {
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn arrive(&mut self, arrival: Arrival, holding: Holding, now: Instant) {
        self.last += 1;
        let number = self.last;
        let lane = self.lanes.entry(arrival.message.key.clone()).or_default();
        lane.push_back(number);
        let is_first = lane.len() == 1;
        if is_first {
            self.ready.push_back(number);
        }
        let one = One {
            expires: arrival.message.ttl.map(|ttl| now + ttl),
            message: Arc::new(arrival.message),
            attempt: arrival.attempt.max(1),
            receipt: Some(arrival.receipt),
            phase: if is_first {
                Phase::Ready
            } else {
                Phase::Behind
            },
            reason: None,
            _holding: holding,
        };
        self.all.insert(number, one);
    }

    /// Ends pauses and attempts whose time has come; how many attempts took too long.
    pub(super) fn wake(&mut self, ask: &Subscription, now: Instant) -> usize {
        let mut late = 0;
        while let Some((at, number)) = self.alarms.first().copied().filter(|(at, _)| *at <= now) {
            self.alarms.remove(&(at, number));
            let Some(one) = self.all.get_mut(&number) else {
                continue;
            };
            match one.phase {
                Phase::Pausing(until) if until == at => {
                    one.phase = Phase::Ready;
                    self.ready.push_back(number);
                }
                Phase::Out(until) if until == at => {
                    late += 1;
                    let attempt = one.attempt;
                    self.fail(ask, number, attempt, "it took too long", now);
                }
                Phase::Pausing(_) | Phase::Out(_) | Phase::Behind | Phase::Ready | Phase::Dying => {
                }
            }
        }
        late
    }

    /// The next attempt, if one is due.
    pub(super) fn hand_out(&mut self, ask: &Subscription, now: Instant) -> Option<Out> {
        while let Some(number) = self.ready.pop_front() {
            let Some(one) = self.all.get_mut(&number) else {
                continue;
            };
            let has_expired = one.expires.is_some_and(|at| at <= now);
            if has_expired || one.attempt > ask.attempts {
                one.phase = Phase::Dying;
                if !has_expired {
                    let reason = || "the one that was at it died, again and again".to_owned();
                    one.attempt -= 1;
                    one.reason.get_or_insert_with(reason);
                } else {
                    one.reason = None;
                }
                self.dying.push(number);
                continue;
            }
            let until = now + ask.deadline;
            one.phase = Phase::Out(until);
            self.alarms.insert((until, number));
            return Some(Out {
                number,
                attempt: one.attempt,
                message: Arc::clone(&one.message),
            });
        }
        None
    }

    /// An attempt has failed; not so if it was over before.
    pub(super) fn fail(
        &mut self,
        ask: &Subscription,
        number: u64,
        attempt: u32,
        reason: &str,
        now: Instant,
    ) -> bool {
        let Some(one) = self.out(number, attempt) else {
            return false;
        };
        one.reason = Some(reason.to_owned());
        if attempt >= ask.attempts {
            one.phase = Phase::Dying;
            self.dying.push(number);
            return true;
        }
        one.attempt += 1;
        let until = now + pause(ask, attempt);
        one.phase = Phase::Pausing(until);
        self.alarms.insert((until, number));
        true
    }

    /// A message that nobody can ever carry out.
    pub(super) fn give_up(&mut self, number: u64, attempt: u32, reason: &str) {
        if let Some(one) = self.out(number, attempt) {
            one.reason = Some(reason.to_owned());
            one.phase = Phase::Dying;
            self.dying.push(number);
        }
    }

    /// A message that somebody is at, in this attempt.
    fn out(&mut self, number: u64, attempt: u32) -> Option<&mut One> {
        let one = self.all.get_mut(&number)?;
        let is_out = matches!(one.phase, Phase::Out(_)) && one.attempt == attempt;
        is_out.then_some(one)
    }

    /// Lets go of a message, whoever said that it is done and how late, and makes the next of its key
    /// ready. What is dying already goes its way.
    pub(super) fn settle(&mut self, number: u64) -> Option<Box<dyn Receipt>> {
        let one = self.all.remove(&number)?;
        if let Phase::Out(at) | Phase::Pausing(at) = one.phase {
            self.alarms.remove(&(at, number));
        }
        let lane = self.lanes.get_mut(&one.message.key)?;
        lane.retain(|each| *each != number);
        match lane.front().copied() {
            None => {
                self.lanes.remove(&one.message.key);
            }
            Some(next) => {
                if let Some(next_one) = self.all.get_mut(&next)
                    && next_one.phase == Phase::Behind
                {
                    next_one.phase = Phase::Ready;
                    self.ready.push_back(next);
                }
            }
        }
        one.receipt
    }

    /// What is to leave now. It stays in its lane until it has left.
    pub(super) fn take_dying(&mut self) -> Vec<Dying> {
        let numbers = std::mem::take(&mut self.dying);
        let all = &mut self.all;
        let take = |number| {
            let one: &mut One = all.get_mut(&number)?;
            Some(Dying {
                number,
                message: Arc::clone(&one.message),
                attempts: one.attempt,
                reason: one.reason.take(),
                receipt: one.receipt.take(),
            })
        };
        numbers.into_iter().filter_map(take).collect()
    }

    pub(super) fn next_alarm(&self) -> Option<Instant> {
        self.alarms.first().map(|(at, _)| *at)
    }
}

/// The pause after so many attempts that failed.
fn pause(ask: &Subscription, failed: u32) -> Duration {
    let doubled = 2_u32.saturating_pow(failed.saturating_sub(1).min(20));
    ask.first_pause
        .saturating_mul(doubled)
        .min(ask.longest_pause)
}
