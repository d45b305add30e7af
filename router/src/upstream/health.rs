//! How a process does by what its answers, its reports and its silence say.
//!
//! # Invariants
//! - Read by every placement and written by every answer: atomics only, no lock.
//! - An ejection for failed connections ends by itself; each one in a row lasts twice as long, up to a
//!   bound. One for a lost watch lasts until the watch is heard again.
//! - What an endpoint is ejected for changes the choice among members, never whose a slot is.

mod ejection;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use mesh_proto::mesh::{Load, WorkerState};
use tokio::{sync::Notify, time::Instant};

pub(in crate::upstream) use self::ejection::Ejection;

/// How long the first byte's time is remembered, as `exp(-t / REMEMBERED)`: finagle's rule of ten seconds.
const REMEMBERED: Duration = Duration::from_secs(10);

/// How long a report that a process is full keeps new work from it, where this router's own calls do not
/// fill it. A report is already old when it is read: by then the tasks that it counts may be over, and a
/// process that is given nothing answers nothing that says so. One that is full indeed refuses as many
/// tries in this time as it takes turns, at most.
const FULL_FOR: Duration = Duration::from_millis(50);

/// What a watch knows of the process that it watches.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Pulse {
    /// Nobody watches, or it was heard of just now.
    Steady = 0,
    /// Its connection broke: it may be over, and may be back in a moment.
    Broken = 1,
    /// Its connection stands and nothing comes: it is frozen, or cut off.
    Silent = 2,
    /// Its port refuses connections.
    Over = 3,
}

/// See the module.
#[derive(Debug)]
pub struct Health {
    born: Instant,
    ejection: Ejection,
    pulse: AtomicU8,
    watched: AtomicBool,
    heard: AtomicBool,
    /// Whether it goes by another view than ours.
    stray: AtomicBool,
    /// Rung when the pulse changes.
    felt: Notify,
    load: Reported,
    /// Tasks of others than this router, by the last report, and when that came, in microseconds.
    others: AtomicI64,
    reported: AtomicU64,
    /// Calls of this router that run here, and those of them that send.
    running: AtomicU32,
    sends: AtomicU32,
    /// Seconds to an answer's first byte, as bits, and when it was measured last.
    first_byte: AtomicU64,
    measured: AtomicU64,
}

impl Health {
    /// Nothing known.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            born: now,
            ejection: Ejection::default(),
            pulse: AtomicU8::new(Pulse::Steady as u8),
            watched: AtomicBool::new(false),
            heard: AtomicBool::new(false),
            stray: AtomicBool::new(false),
            felt: Notify::new(),
            load: Reported::default(),
            others: AtomicI64::new(0),
            reported: AtomicU64::new(0),
            running: AtomicU32::new(0),
            sends: AtomicU32::new(0),
            first_byte: AtomicU64::new(0),
            measured: AtomicU64::new(0),
        }
    }

    /// Whether it is better left alone now.
    #[must_use]
    pub fn is_ejected(&self, now: Instant) -> bool {
        self.pulse.load(Ordering::Relaxed) != Pulse::Steady as u8
            || self.ejection.lasts(self.since_born(now))
    }

    /// Whether its port refused its watch: nobody is there, whatever else one may believe.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.pulse.load(Ordering::Relaxed) == Pulse::Over as u8
    }

    /// Takes the process out of the choice for a while. True if it was in.
    pub fn eject(&self, now: Instant) -> bool {
        let was_in = !self.is_ejected(now);
        self.ejection.begin(self.since_born(now));
        was_in
    }

    /// Puts the process back: it answered. What its watch says stands until that says otherwise.
    pub fn readmit(&self) {
        self.ejection.end();
    }

    /// Takes over what its watch knows of it.
    pub fn feel(&self, pulse: Pulse) {
        if self.pulse.swap(pulse as u8, Ordering::Relaxed) != pulse as u8 {
            self.felt.notify_waiters();
        }
    }

    /// Whether its connection stands and nothing comes.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.pulse.load(Ordering::Relaxed) == Pulse::Silent as u8
    }

    /// Waits until nothing is heard any more from a process whose connection still stands: a call there
    /// may wait for ever. Cancel safe.
    pub async fn silenced(&self) {
        loop {
            let mut felt = std::pin::pin!(self.felt.notified());
            felt.as_mut().enable();
            if self.is_silent() {
                return;
            }
            felt.await;
        }
    }

    /// Takes the right to watch the process. False where somebody has it.
    pub fn take_watch(&self) -> bool {
        !self.watched.swap(true, Ordering::Relaxed)
    }

    /// Notes that its watch is heard.
    pub fn heard(&self) {
        self.feel(Pulse::Steady);
        self.heard.store(true, Ordering::Relaxed);
    }

    /// Notes that it has no watch that could be heard.
    pub fn unheard(&self) {
        self.feel(Pulse::Steady);
        self.heard.store(false, Ordering::Relaxed);
    }

    /// Gives the right to watch back.
    pub fn leave_watch(&self) {
        self.unheard();
        self.watched.store(false, Ordering::Relaxed);
    }

    /// Whether its watch is what it is known by, also while that is lost.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.heard.load(Ordering::Relaxed)
    }

    /// Takes note of whether it goes by another view than ours.
    pub fn stray(&self, is_other: bool) {
        self.stray.store(is_other, Ordering::Relaxed);
    }

    /// Whether it goes by another view than ours.
    #[must_use]
    pub fn is_stray(&self) -> bool {
        self.stray.load(Ordering::Relaxed)
    }

    /// Takes over what it says of its load.
    pub fn report(&self, load: Load) {
        self.load.put(load);
        let ours = i64::from(self.sends.load(Ordering::Relaxed));
        let others = i64::from(load.in_flight) - ours;
        self.others.store(others.max(0), Ordering::Relaxed);
        let now = self.since_born(Instant::now());
        self.reported.store(micros(now), Ordering::Relaxed);
    }

    /// Whether it has as much as it takes: by what this router has sent it, or by a report of just now.
    #[must_use]
    pub fn is_full(&self, now: Instant) -> bool {
        let Some(load) = self.load().filter(|load| load.capacity != 0) else {
            return false;
        };
        let reported = Duration::from_micros(self.reported.load(Ordering::Relaxed));
        let is_old = self.since_born(now) >= reported + FULL_FOR;
        let counted = if is_old {
            self.sends.load(Ordering::Relaxed)
        } else {
            load.in_flight
        };
        counted >= load.capacity
    }

    /// What it said last of its load, brought up to date by what this router has sent since.
    #[must_use]
    pub fn load(&self) -> Option<Load> {
        let load = self.load.get()?;
        let ours = i64::from(self.sends.load(Ordering::Relaxed));
        let in_flight = self.others.load(Ordering::Relaxed) + ours;
        Some(Load {
            in_flight: u32::try_from(in_flight).unwrap_or(u32::MAX),
            ..load
        })
    }

    /// Counts a call here until what is given is dropped.
    #[must_use]
    pub fn begin(self: &Arc<Self>, sends: bool) -> Running {
        self.running.fetch_add(1, Ordering::Relaxed);
        if sends {
            self.sends.fetch_add(1, Ordering::Relaxed);
        }
        Running {
            health: Arc::clone(self),
            sends,
        }
    }

    /// Takes over how long an answer's first byte took.
    pub fn answered(&self, after: Duration, now: Instant) {
        let now = self.since_born(now);
        let last = self.measured.swap(micros(now), Ordering::Relaxed);
        let known = f64::from_bits(self.first_byte.load(Ordering::Relaxed));
        let measured = after.as_secs_f64();
        let passed = now.saturating_sub(Duration::from_micros(last));
        let weight = (-passed.as_secs_f64() / REMEMBERED.as_secs_f64()).exp();
        // A peak counts at once, and is forgotten slowly.
        let next = measured.max(known.mul_add(weight, measured * (1.0 - weight)));
        self.first_byte.store(next.to_bits(), Ordering::Relaxed);
    }

    /// What one more call costs here: the time of a first byte, for each that waits.
    #[must_use]
    pub fn cost(&self) -> f64 {
        let waiting = self.running.load(Ordering::Relaxed).saturating_add(1);
        let first_byte = f64::from_bits(self.first_byte.load(Ordering::Relaxed));
        // Who was never asked is not free: else all would ask it at once.
        first_byte.max(1e-6) * f64::from(waiting)
    }

    fn since_born(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.born)
    }
}

/// A call that runs at a process.
#[derive(Debug)]
pub struct Running {
    health: Arc<Health>,
    sends: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.health.running.fetch_sub(1, Ordering::Relaxed);
        if self.sends {
            self.health.sends.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// A [`Load`] in one word, so that it is read whole: 32 bits of tasks, 30 of capacity, the state, and
/// whether anything was reported.
#[derive(Debug, Default)]
struct Reported(AtomicU64);

const KNOWN: u64 = 1;
const DRAINING: u64 = 2;
const CAPACITY_MOST: u32 = (1 << 30) - 1;

impl Reported {
    fn put(&self, load: Load) {
        let state = match load.state {
            WorkerState::Active => 0,
            WorkerState::Draining => DRAINING,
        };
        let capacity = u64::from(load.capacity.min(CAPACITY_MOST));
        let word = u64::from(load.in_flight) << 32 | capacity << 2 | state | KNOWN;
        self.0.store(word, Ordering::Relaxed);
    }

    fn get(&self) -> Option<Load> {
        let word = self.0.load(Ordering::Relaxed);
        let low = u32::try_from(word & u64::from(u32::MAX)).unwrap_or_default();
        (word & KNOWN != 0).then(|| Load {
            in_flight: u32::try_from(word >> 32).unwrap_or_default(),
            capacity: low >> 2,
            state: if word & DRAINING == 0 {
                WorkerState::Active
            } else {
                WorkerState::Draining
            },
        })
    }
}

#[cfg(test)]
mod tests;
