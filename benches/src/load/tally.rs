//! What a step has seen so far.
//!
//! # Invariants
//! - Only calls that were due within the measured time count; each counts in the second it was due in.
//! - Bounded: a run of more than [`SECONDS`] keeps its totals, and its time series ends there.

use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;
use mesh_proto::Operation;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::answer::{Ended, Verdict};
use crate::{
    report::{Counts, Kind, Second, Step},
    times::{float, histogram, latency, millis, note},
};

/// The longest time series: an hour.
const SECONDS: usize = 3_600;

/// Different reasons of failure that are told apart.
const REASONS: usize = 100;

/// Percentiles of the curve, in percent.
const CURVE: [f64; 18] = [
    0.0, 5.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 95.0, 98.0, 99.0, 99.5, 99.9,
    99.99, 100.0,
];

/// See the module.
#[derive(Debug)]
pub(super) struct Tally {
    from: Instant,
    measured: Duration,
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Seen {
    kinds: BTreeMap<&'static str, OfKind>,
    refused: Histogram<u64>,
    lag: Histogram<u64>,
    reasons: BTreeMap<String, u64>,
    seconds: Vec<OfSecond>,
    resumed: u64,
}

#[derive(Debug)]
struct OfKind {
    counts: Counts,
    done: Histogram<u64>,
    first: Histogram<u64>,
}

#[derive(Debug)]
struct OfSecond {
    counts: Counts,
    done: Histogram<u64>,
}

impl Tally {
    pub(super) fn new(from: Instant, measured: Duration) -> Self {
        Self {
            from,
            measured,
            seen: Mutex::new(Seen {
                kinds: BTreeMap::new(),
                refused: histogram(),
                lag: histogram(),
                reasons: BTreeMap::new(),
                seconds: Vec::new(),
                resumed: 0,
            }),
        }
    }

    /// A call leaves, so late.
    pub(super) fn leaves(&self, due: Instant, late: Duration) {
        if due >= self.from {
            note(&mut self.seen.lock().lag, late);
        }
    }

    /// A call's end.
    pub(super) fn take(&self, operation: Operation, due: Instant, ended: &Ended) {
        let Some(since) = due.checked_duration_since(self.from) else {
            return;
        };
        let mut seen = self.seen.lock();
        let second = usize::try_from(since.as_secs()).unwrap_or(usize::MAX);
        while seen.seconds.len() <= second.min(SECONDS - 1) {
            seen.seconds.push(OfSecond {
                counts: Counts::default(),
                done: histogram(),
            });
        }
        if let Some(second) = seen.seconds.get_mut(second) {
            second.counts.add(&ended.verdict);
            if ended.verdict == Verdict::Done {
                note(&mut second.done, ended.took);
            }
        }
        seen.resumed += u64::from(ended.resumed);
        let kind = seen
            .kinds
            .entry(operation.name())
            .or_insert_with(|| OfKind {
                counts: Counts::default(),
                done: histogram(),
                first: histogram(),
            });
        kind.counts.add(&ended.verdict);
        match &ended.verdict {
            Verdict::Done => {
                note(&mut kind.done, ended.took);
                if let Some(first) = ended.first {
                    note(&mut kind.first, first);
                }
            }
            Verdict::Refused => note(&mut seen.refused, ended.took),
            Verdict::Failed(reason) => seen.blame(reason),
            Verdict::Late => {}
        }
    }

    /// The step as a report has it. Calls that left and of whose end nothing was heard are failures.
    pub(super) fn step(&self, rate: f64, cpu_seconds: BTreeMap<String, f64>) -> Step {
        let seen = self.seen.lock();
        let mut counts = Counts::default();
        let mut done = histogram();
        let mut kinds = BTreeMap::new();
        for (name, kind) in &seen.kinds {
            counts += kind.counts;
            // Of one layout, so that adding can't fail.
            done.add(&kind.done).unwrap_or_default();
            let kind = Kind {
                counts: kind.counts,
                done: latency(&kind.done),
                first_event: (!kind.first.is_empty()).then(|| latency(&kind.first)),
            };
            kinds.insert((*name).to_owned(), kind);
        }
        let mut reasons = seen.reasons.clone();
        let missing = seen.lag.len().saturating_sub(counts.sent);
        if missing > 0 {
            reasons.insert("no answer at all".to_owned(), missing);
            counts.sent += missing;
            counts.failed += missing;
        }
        let seconds = self.measured.as_secs_f64();
        Step {
            rate,
            seconds,
            counts,
            goodput: float(counts.done) / seconds,
            done: latency(&done),
            refused: latency(&seen.refused),
            lag: latency(&seen.lag),
            curve: CURVE
                .map(|percent| (percent, millis(done.value_at_percentile(percent))))
                .to_vec(),
            kinds,
            reasons,
            resumed: seen.resumed,
            series: seen.seconds.iter().map(OfSecond::row).collect(),
            cpu_seconds,
        }
    }
}

impl Seen {
    /// Counts a reason by its words; where there are too many different ones, without them.
    fn blame(&mut self, reason: &str) {
        let is_known = self.reasons.len() < REASONS || self.reasons.contains_key(reason);
        let reason = if is_known { reason } else { "other reasons" };
        *self.reasons.entry(reason.to_owned()).or_default() += 1;
    }
}

impl OfSecond {
    fn row(&self) -> Second {
        Second {
            counts: self.counts,
            p50_ms: millis(self.done.value_at_percentile(50.0)),
            p99_ms: millis(self.done.value_at_percentile(99.0)),
        }
    }
}

impl Counts {
    fn add(&mut self, verdict: &Verdict) {
        self.sent += 1;
        match verdict {
            Verdict::Done => self.done += 1,
            Verdict::Refused => self.refused += 1,
            Verdict::Late => self.late += 1,
            Verdict::Failed(_) => self.failed += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(verdict: Verdict, millis: u64) -> Ended {
        Ended {
            took: Duration::from_millis(millis),
            ..Ended::of(verdict)
        }
    }

    #[tokio::test]
    async fn what_was_due_before_the_measured_time_does_not_count() {
        let now = Instant::now();
        let from = now + Duration::from_secs(1);
        let tally = Tally::new(from, Duration::from_secs(2));
        let operation = Operation::SendMessage;
        for due in [now, from, from, from, from] {
            tally.leaves(due, Duration::ZERO);
        }
        tally.take(operation, now, &ended(Verdict::Done, 5));
        tally.take(operation, from, &ended(Verdict::Done, 10));
        let later = from + Duration::from_millis(1_500);
        tally.take(operation, later, &ended(Verdict::Refused, 1));
        tally.take(operation, later, &ended(Verdict::failed("why"), 1));
        let step = tally.step(2.0, BTreeMap::new());
        assert_eq!(step.counts.sent, 4);
        assert_eq!(step.counts.done, 1);
        assert_eq!(step.counts.refused, 1);
        assert_eq!(step.counts.failed, 2, "one of them was never told of");
        assert_eq!(step.reasons.get("why"), Some(&1));
        assert!((step.goodput - 0.5).abs() < 1e-9);
        assert!((step.done.p50_ms - 10.0).abs() < 0.1, "{:?}", step.done);
        let seconds: Vec<u64> = step
            .series
            .iter()
            .map(|second| second.counts.sent)
            .collect();
        assert_eq!(seconds, [1, 2]);
    }
}
