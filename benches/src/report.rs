//! What a load has shown: for programs as JSON, for people as a table, to be looked at as an SVG.
//!
//! # Invariants
//! - A report stands for itself: it says on what machine it was made and what the generator was late.

mod svg;

use std::{collections::BTreeMap, fmt::Write as _, ops::AddAssign};

use serde::{Deserialize, Serialize};

use crate::machine::Machine;

/// See the module.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Report {
    /// What it ran on.
    pub machine: Machine,
    /// Where the calls went.
    pub aims: Vec<String>,
    /// How long a call could take.
    pub deadline_ms: Option<f64>,
    /// Connections made in all.
    pub connections_opened: u64,
    /// Requests that a dying connection gave back unwritten, and that went over another.
    pub given_back_unsent: u64,
    /// One for each rate.
    pub steps: Vec<Step>,
}

/// What was seen at one rate.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Step {
    /// Calls per second that were due.
    pub rate: f64,
    /// How long it was measured.
    pub seconds: f64,
    /// How the calls ended.
    pub counts: Counts,
    /// Calls done within their deadline, per second.
    pub goodput: f64,
    /// How long the calls took that were done, from when they were due.
    pub done: Latency,
    /// How long it took to be refused.
    pub refused: Latency,
    /// How late calls left: the generator's own.
    pub lag: Latency,
    /// Percentiles of `done`, in percent and milliseconds.
    pub curve: Vec<(f64, f64)>,
    /// By operation.
    pub kinds: BTreeMap<String, Kind>,
    /// Why calls failed.
    pub reasons: BTreeMap<String, u64>,
    /// Streams that were taken up again.
    pub resumed: u64,
    /// Second by second.
    pub series: Vec<Second>,
    /// Processor time of the processes watched, and the generator's as `load`.
    pub cpu_seconds: BTreeMap<String, f64>,
}

/// How calls ended.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Counts {
    /// All.
    pub sent: u64,
    /// The answer was the task.
    pub done: u64,
    /// Refused for want of room.
    pub refused: u64,
    /// Not within the deadline.
    pub late: u64,
    /// Anything else.
    pub failed: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.sent += other.sent;
        self.done += other.done;
        self.refused += other.refused;
        self.late += other.late;
        self.failed += other.failed;
    }
}

/// Times, in milliseconds.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Latency {
    pub count: u64,
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    pub most_ms: f64,
}

/// One operation.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Kind {
    /// How its calls ended.
    pub counts: Counts,
    /// How long those took that were done.
    pub done: Latency,
    /// To the first event of streams.
    pub first_event: Option<Latency>,
}

/// One second.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Second {
    /// The calls that were due in it.
    pub counts: Counts,
    /// Of those done.
    pub p50_ms: f64,
    /// Of those done.
    pub p99_ms: f64,
}

impl Report {
    /// All steps together.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for step in &self.steps {
            counts += step.counts;
        }
        counts
    }

    /// Why calls failed, over all steps.
    #[must_use]
    pub fn reasons(&self) -> BTreeMap<&str, u64> {
        let mut reasons = BTreeMap::new();
        for (reason, count) in self.steps.iter().flat_map(|step| &step.reasons) {
            *reasons.entry(reason.as_str()).or_default() += count;
        }
        reasons
    }

    /// The report for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string can't fail.
        self.write(&mut text).unwrap_or_default();
        text
    }

    /// The report as a picture: goodput over load, times over percentiles, both over time.
    #[must_use]
    pub fn svg(&self) -> String {
        svg::draw(self)
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "open loop to {}", self.aims.join(", "))?;
        writeln!(
            text,
            "{:>9} {:>9} {:>8} {:>8} {:>7} {:>7} {:>9} {:>9} {:>9} {:>9} {:>8}",
            "offered/s",
            "goodput/s",
            "done",
            "refused",
            "late",
            "failed",
            "p50 ms",
            "p99 ms",
            "p99.9 ms",
            "max ms",
            "lag p99"
        )?;
        for step in &self.steps {
            let (counts, done) = (step.counts, step.done);
            writeln!(
                text,
                "{:>9.0} {:>9.1} {:>8} {:>8} {:>7} {:>7} {:>9.2} {:>9.2} {:>9.2} {:>9.2} {:>8.2}",
                step.rate,
                step.goodput,
                counts.done,
                counts.refused,
                counts.late,
                counts.failed,
                done.p50_ms,
                done.p99_ms,
                done.p999_ms,
                done.most_ms,
                step.lag.p99_ms
            )?;
        }
        for step in &self.steps {
            if step.kinds.len() > 1 {
                write_kinds(text, step)?;
            }
            let costs = step.cpu_seconds.iter();
            let costs: Vec<String> = costs
                .map(|(name, spent)| format!("{name} {:.2}", spent / step.seconds))
                .collect();
            writeln!(
                text,
                "at {:.0}/s, cores busy: {}",
                step.rate,
                costs.join(", ")
            )?;
        }
        for (reason, count) in self.reasons() {
            writeln!(text, "failed {count}: {reason}")?;
        }
        let resumed: u64 = self.steps.iter().map(|step| step.resumed).sum();
        writeln!(
            text,
            "{} connections opened, {} requests given back unsent, {resumed} streams taken up again",
            self.connections_opened, self.given_back_unsent
        )?;
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
        writeln!(
            text,
            "times run from when a call was due; lag is how late the generator sent it"
        )
    }
}

fn write_kinds(text: &mut String, step: &Step) -> std::fmt::Result {
    for (name, kind) in &step.kinds {
        write!(
            text,
            "at {:.0}/s, {name}: {} done of {}, p50 {:.2} ms, p99 {:.2} ms",
            step.rate, kind.counts.done, kind.counts.sent, kind.done.p50_ms, kind.done.p99_ms
        )?;
        match &kind.first_event {
            Some(first) => writeln!(text, ", first event p99 {:.2} ms", first.p99_ms)?,
            None => writeln!(text)?,
        }
    }
    Ok(())
}
