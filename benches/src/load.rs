//! Open-loop load on an A2A endpoint: calls leave when they are due, whether or not earlier ones were
//! answered.
//!
//! # Invariants
//! - A call's time runs from the moment it was due, not from the moment it was sent: what the
//!   generator is late with, or what waits for a connection, counts against the endpoint and is shown
//!   as the generator's own lag besides (no coordinated omission).
//! - Times are kept in HDR histograms; several are merged, never averaged.
//! - Nothing is sent again, but what the connection gave back unwritten: any HTTP client's pool does
//!   that, and it is counted.
//! - Every call is counted exactly once; one that has no answer when all is over is a failure.

mod aim;
mod answer;
mod line;
mod tally;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use mesh_proto::{Binding, Operation};
use mesh_runtime::drain;
use tokio::time::Instant;

pub use self::aim::{Aim, Unusable};
use self::{
    answer::{Call, Ended, Verdict},
    tally::Tally,
};
use crate::{
    machine::{Machine, costs_of, spent_since},
    report::{Report, Step},
    times::float,
};

/// A load to be run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where the calls go, in turn.
    pub aims: Vec<Aim>,
    /// What is called, in turn: repeat one to make it more frequent.
    pub mix: Vec<Operation>,
    /// Calls per second, step after step.
    pub rates: Vec<f64>,
    /// How long each step is measured.
    pub measured: Duration,
    /// How long it runs before that.
    pub warm_up: Duration,
    /// How long a call may take; told to the endpoint, and the bound of good answers.
    pub deadline: Option<Duration>,
    /// Connections to each aim at most; over HTTP/2 a hundred calls share one.
    pub connections: usize,
    /// What the messages say.
    pub text: String,
    /// Whether a stream that ends before its task does is taken up once more.
    pub resume: bool,
    /// Processes whose processor time is wanted, by name.
    pub watched: Vec<(String, u32)>,
}

/// The most calls that are out at once; one more is not sent, and counted as failed. Each holds a few
/// kilobytes.
const MOST_OUT: usize = 50_000;

/// How long answers are waited for after the last call, where there is no deadline.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a load to its end.
pub async fn run(plan: &Plan) -> Report {
    let machine = Machine::here();
    let (trigger, drain) = drain::channel();
    let lines: Vec<_> = plan
        .aims
        .iter()
        .map(|aim| {
            Arc::new(line::Lines::new(
                aim,
                plan.connections,
                plan.deadline,
                drain.clone(),
            ))
        })
        .collect();
    let calls = plan.aims.iter().zip(&lines).map(|(aim, lines)| {
        Call::new(
            aim,
            Arc::clone(lines),
            &plan.text,
            plan.deadline,
            plan.resume,
        )
    });
    let field = Field {
        calls: calls.map(Arc::new).collect(),
        drain,
    };
    let mut steps = Vec::new();
    for rate in &plan.rates {
        steps.push(field.step(plan, *rate).await);
    }
    let opened = lines.iter().map(|lines| lines.opened()).sum();
    let unsent = lines.iter().map(|lines| lines.unsent()).sum();
    drop(field);
    trigger.drain(Duration::ZERO).await;
    Report {
        machine,
        aims: plan.aims.iter().map(ToString::to_string).collect(),
        deadline_ms: plan.deadline.map(|deadline| deadline.as_secs_f64() * 1e3),
        connections_opened: opened,
        given_back_unsent: unsent,
        steps,
    }
}

struct Field {
    calls: Vec<Arc<Call>>,
    drain: drain::Drain,
}

impl Field {
    /// One rate: its warm-up, its measured time, and the answers that are still to come.
    async fn step(&self, plan: &Plan, rate: f64) -> Step {
        let start = Instant::now();
        let measured_from = start + plan.warm_up;
        let end = measured_from + plan.measured;
        let tally = Arc::new(Tally::new(measured_from, plan.measured));
        let out = Arc::new(Out::default());
        let mut costs = BTreeMap::new();
        for number in 0_u64.. {
            let due = start + Duration::from_secs_f64(float(number) / rate);
            if due >= end {
                break;
            }
            if due > Instant::now() {
                tokio::time::sleep_until(due).await;
            }
            if due >= measured_from && costs.is_empty() {
                costs = costs_of(&plan.watched);
            }
            let Some((call, operation)) = self.turn(plan, number) else {
                break;
            };
            tally.leaves(due, due.elapsed());
            if out.running.load(Ordering::Relaxed) >= MOST_OUT {
                tally.take(operation, due, &Ended::of(Verdict::failed("not sent")));
                continue;
            }
            self.send(call, operation, due, (&tally, &out));
        }
        let spent = spent_since(&costs, &plan.watched);
        let last = plan.deadline.unwrap_or(PATIENCE) + Duration::from_secs(1);
        out.all_back(last).await;
        tally.step(rate, spent)
    }

    fn send(
        &self,
        call: Arc<Call>,
        operation: Operation,
        due: Instant,
        (tally, out): (&Arc<Tally>, &Arc<Out>),
    ) {
        let (tally, out) = (Arc::clone(tally), Arc::clone(out));
        out.leaves();
        self.drain.spawn("call", async move {
            let ended = call.run(operation, due).await;
            tally.take(operation, due, &ended);
            out.comes_back();
        });
    }

    /// Whom the call of this number goes to, and what it asks: every aim gets the whole mix.
    fn turn(&self, plan: &Plan, number: u64) -> Option<(Arc<Call>, Operation)> {
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        let aims = self.calls.len().max(1);
        let call = self.calls.get(number % aims)?;
        let operation = plan.mix.get(number / aims % plan.mix.len().max(1))?;
        Some((Arc::clone(call), *operation))
    }
}

/// The calls that have no answer yet.
#[derive(Debug, Default)]
struct Out {
    running: AtomicUsize,
    back: tokio::sync::Notify,
}

impl Out {
    fn leaves(&self) {
        self.running.fetch_add(1, Ordering::Relaxed);
    }

    fn comes_back(&self) {
        if self.running.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.back.notify_one();
        }
    }

    async fn all_back(&self, patience: Duration) {
        let none_left = async {
            while self.running.load(Ordering::Relaxed) > 0 {
                self.back.notified().await;
            }
        };
        // What is still out then has failed, and is counted so.
        drop(tokio::time::timeout(patience, none_left).await);
    }
}

/// The mixes that have a name.
#[must_use]
pub fn mix(name: &str) -> Option<Vec<Operation>> {
    let (send, stream, get) = (
        Operation::SendMessage,
        Operation::SendStreamingMessage,
        Operation::GetTask,
    );
    Some(match name {
        "send" => vec![send],
        "stream" => vec![stream],
        "get" => vec![send, get, get, get, get, get, get, get, get, get],
        "mixed" => vec![send, get, stream, get],
        _ => return None,
    })
}

/// The name of a binding in flags and reports.
const fn label(binding: Binding) -> &'static str {
    binding.label()
}
