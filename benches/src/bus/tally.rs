//! What was seen of the events of a step, and the report.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use bytes::{BufMut as _, BytesMut};
use hdrhistogram::Histogram;
use mesh_fabric::bus;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::Way;
use crate::{
    machine::Machine,
    report::Latency,
    times::{float, histogram, latency, note},
};

/// What a load on buses has shown.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Report {
    /// What it ran on.
    pub machine: Machine,
    /// How large each body was.
    pub body_bytes: usize,
    /// One for each place, way and rate.
    pub steps: Vec<Step>,
}

/// What was seen of one place, in one way, at one rate.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Step {
    /// The place.
    pub place: String,
    /// The way.
    pub way: Way,
    /// Events per second that were due.
    pub rate: f64,
    /// Events that were due in the measured time.
    pub due: u64,
    /// Of these, those that the bus said to have.
    pub taken: u64,
    /// Of these, those that were handed out.
    pub delivered: u64,
    /// Of these, those that it took and that were not handed out in time.
    pub lost: u64,
    /// Deliveries of events that had come before.
    pub repeated: u64,
    /// Why the others were not taken.
    pub reasons: BTreeMap<String, u64>,
    /// Events per second that were handed out, from the first that was due to the last that came.
    pub throughput: f64,
    /// From when it was due to the bus's word that it has it.
    pub taking: Latency,
    /// From when it was due to its delivery.
    pub delivery: Latency,
    /// Microseconds of processor time per event delivered, by process; the program's own is `load`.
    pub cpu_micros: BTreeMap<String, f64>,
}

/// By what an event is known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Mark {
    step: u64,
    number: u64,
    /// Nanoseconds after the tally's birth.
    due: u64,
}

impl Mark {
    /// How long one is.
    pub(super) const BYTES: usize = 24;

    pub(super) fn write(self, body: &mut BytesMut) {
        body.put_u64(self.step);
        body.put_u64(self.number);
        body.put_u64(self.due);
    }

    fn read(body: &[u8]) -> Option<Self> {
        let (words, _) = body.get(..Self::BYTES)?.as_chunks::<8>();
        let [step, number, due] = *<&[[u8; 8]; 3]>::try_from(words).ok()?;
        Some(Self {
            step: u64::from_be_bytes(step),
            number: u64::from_be_bytes(number),
            due: u64::from_be_bytes(due),
        })
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Tally {
    born: Instant,
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Seen {
    step: u64,
    from: Instant,
    last: Instant,
    /// Of each event that is due in the measured time: whether it was taken, and handed out.
    events: BTreeMap<u64, (bool, bool)>,
    taken: u64,
    delivered: u64,
    repeated: u64,
    reasons: BTreeMap<String, u64>,
    left_out: u64,
    taking: Histogram<u64>,
    delivery: Histogram<u64>,
}

impl Seen {
    fn new(step: u64, from: Instant) -> Self {
        Self {
            step,
            from,
            last: from,
            events: BTreeMap::new(),
            taken: 0,
            delivered: 0,
            repeated: 0,
            reasons: BTreeMap::new(),
            left_out: 0,
            taking: histogram(),
            delivery: histogram(),
        }
    }
}

impl Default for Tally {
    fn default() -> Self {
        let now = Instant::now();
        Self {
            born: now,
            seen: Mutex::new(Seen::new(0, now)),
        }
    }
}

impl Tally {
    /// A step begins; its mark, which no other run has either.
    pub(super) fn begins(&self, from: Instant) -> u64 {
        let (step, _) = uuid::Uuid::new_v4().as_u64_pair();
        *self.seen.lock() = Seen::new(step, from);
        step
    }

    pub(super) fn mark(&self, step: u64, number: u64, due: Instant) -> Mark {
        let mut seen = self.seen.lock();
        if due >= seen.from {
            seen.events.insert(number, (false, false));
        }
        let due = due.saturating_duration_since(self.born).as_nanos();
        let due = u64::try_from(due).unwrap_or(u64::MAX);
        Mark { step, number, due }
    }

    pub(super) fn published(&self, mark: Mark, error: Option<bus::Error>) {
        let late = self.since(mark);
        let mut seen = self.seen.lock();
        let Some(event) = seen.events.get_mut(&mark.number) else {
            return;
        };
        if let Some(error) = error {
            *seen.reasons.entry(error.to_string()).or_default() += 1;
        } else {
            event.0 = true;
            seen.taken += 1;
            note(&mut seen.taking, late);
        }
    }

    pub(super) fn delivered(&self, body: &[u8]) {
        let Some(mark) = Mark::read(body) else { return };
        let late = self.since(mark);
        let mut seen = self.seen.lock();
        if mark.step != seen.step {
            return;
        }
        let Some(event) = seen.events.get_mut(&mark.number) else {
            return;
        };
        if std::mem::replace(&mut event.1, true) {
            seen.repeated += 1;
        } else {
            seen.delivered += 1;
            seen.last = Instant::now();
            note(&mut seen.delivery, late);
        }
    }

    fn since(&self, mark: Mark) -> Duration {
        self.born
            .elapsed()
            .saturating_sub(Duration::from_nanos(mark.due))
    }

    /// Events from this number on were due, and are not sent any more.
    pub(super) fn leaves_out(&self, from: u64, is_due: impl Fn(u64) -> bool) {
        let mut seen = self.seen.lock();
        let left = (from..).take_while(|number| is_due(*number)).count();
        seen.left_out = u64::try_from(left).unwrap_or(u64::MAX);
    }

    /// How long nothing has come, counted from `since` at the earliest.
    pub(super) fn quiet_since(&self, since: Instant) -> Duration {
        let last = self.seen.lock().last;
        last.max(since).elapsed()
    }

    /// Whether something that was taken has not come.
    pub(super) fn waits_for_more(&self) -> bool {
        let seen = self.seen.lock();
        seen.delivered < seen.taken
    }

    pub(super) fn step(
        &self,
        (place, way, rate): (&str, Way, f64),
        measured: Duration,
        spent: BTreeMap<String, f64>,
    ) -> Step {
        let seen = self.seen.lock();
        let came = seen.last.saturating_duration_since(seen.from);
        let delivered = float(seen.delivered);
        let lost = seen
            .events
            .values()
            .filter(|event| **event == (true, false));
        let mut reasons = seen.reasons.clone();
        if seen.left_out > 0 {
            reasons.insert("the bus left no room".to_owned(), seen.left_out);
        }
        let cost = |(name, seconds): (String, f64)| (name, seconds * 1e6 / delivered.max(1.0));
        Step {
            place: place.to_owned(),
            way,
            rate,
            due: u64::try_from(seen.events.len()).unwrap_or(u64::MAX) + seen.left_out,
            taken: seen.taken,
            delivered: seen.delivered,
            lost: u64::try_from(lost.count()).unwrap_or(u64::MAX),
            repeated: seen.repeated,
            reasons,
            throughput: delivered / came.max(measured).as_secs_f64(),
            taking: latency(&seen.taking),
            delivery: latency(&seen.delivery),
            cpu_micros: spent.into_iter().map(cost).collect(),
        }
    }
}

impl Report {
    /// The report for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string can't fail.
        self.write(&mut text).unwrap_or_default();
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        writeln!(
            text,
            "open loop of events of {} bytes to one group",
            self.body_bytes
        )?;
        writeln!(
            text,
            "{:<20} {:<6} {:>9} {:>9} {:>8} {:>6} {:>8} {:>9} {:>9} {:>9} {:>9}  us of processor per event",
            "bus",
            "way",
            "offered/s",
            "out/s",
            "taken",
            "lost",
            "repeated",
            "taken p50",
            "p99 ms",
            "out p50",
            "p99 ms",
        )?;
        for step in &self.steps {
            let costs = step.cpu_micros.iter();
            let costs: Vec<_> = costs
                .map(|(name, micros)| format!("{name} {micros:.0}"))
                .collect();
            writeln!(
                text,
                "{:<20} {:<6} {:>9.0} {:>9.0} {:>8} {:>6} {:>8} {:>9.2} {:>9.2} {:>9.2} {:>9.2}  {}",
                step.place,
                step.way,
                step.rate,
                step.throughput,
                step.taken,
                step.lost,
                step.repeated,
                step.taking.p50_ms,
                step.taking.p99_ms,
                step.delivery.p50_ms,
                step.delivery.p99_ms,
                costs.join(", ")
            )?;
            for (reason, count) in &step.reasons {
                writeln!(text, "  not taken, {count}: {reason}")?;
            }
        }
        let Machine {
            processor,
            cores,
            kernel,
            memory_gib,
            load,
        } = &self.machine;
        writeln!(
            text,
            "on {processor}, {cores} cores, {memory_gib} GiB, Linux {kernel}, load {load} before"
        )?;
        writeln!(text, "times run from when an event was due")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_counted_once_however_often_it_comes_and_lost_when_it_does_not() {
        let tally = Tally::default();
        let now = Instant::now();
        let step = tally.begins(now);
        let marks: Vec<_> = (0..4).map(|n| tally.mark(step, n, now)).collect();
        let early = tally.mark(step, 9, tally.born - Duration::from_secs(1));
        for mark in marks.iter().take(3).chain([&early]) {
            tally.published(*mark, None);
        }
        tally.published(marks[3], Some(bus::Error::Full));
        let come = |mark: &Mark| {
            let mut body = BytesMut::new();
            mark.write(&mut body);
            tally.delivered(&body);
        };
        for mark in [&marks[0], &marks[1], &marks[1], &early] {
            come(mark);
        }
        come(&Mark {
            step: step ^ 1,
            ..marks[2]
        });
        assert!(tally.waits_for_more());
        let second = Duration::from_secs(1);
        let step = tally.step(("it", Way::Bulk, 4.0), second, BTreeMap::new());
        assert_eq!((step.due, step.taken, step.delivered), (4, 3, 2));
        assert_eq!((step.lost, step.repeated), (1, 1));
        assert_eq!(
            step.reasons,
            BTreeMap::from([("the bus is full".to_owned(), 1)])
        );
    }
}
