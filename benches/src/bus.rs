//! Open-loop load on a bus: what it takes, what comes out at a group, how long that takes, what it costs.
//!
//! # Invariants
//! - An event's times run from the moment it was due, whatever the generator or the publisher was late
//!   with: to the bus's word that it has it, and to its delivery.
//! - Every event is known by its number; one that comes a second time is counted apart, and one that the
//!   bus has taken and nobody was handed is lost, whatever the table looks like otherwise.
//! - What a bus that is too slow leaves no room for is not sent after its time: it counts as not taken.
//! - Steps don't meet: each has a mark of its own, and what an earlier one left behind is not counted.

mod tally;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use mesh_fabric::bus::{self, Message, Reach, Subscription, Topic, Transit};
use mesh_runtime::drain;
use serde::{Deserialize, Serialize};
use tokio::{sync::Semaphore, time::Instant};

use self::tally::{Mark, Tally};
pub use self::tally::{Report, Step};
use crate::{
    machine::{Machine, costs_of, spent_since},
    times::float,
};

/// A bus that is put under load.
#[derive(Clone, Debug)]
pub struct Place {
    /// What it is called in the report.
    pub name: String,
    /// It.
    pub bus: Transit,
    /// Where the events go on it.
    pub topic: Topic,
    /// Processes that work for it, by name: a sidecar, a broker.
    pub watched: Vec<(String, u32)>,
}

/// How events are given to it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// Each in a call of its own.
    Single,
    /// All that are due by now in one call.
    Bulk,
}

/// A load to be run, on each place in each way.
#[derive(Clone, Debug)]
pub struct Plan {
    /// In which ways.
    pub ways: Vec<Way>,
    /// Events per second, step after step.
    pub rates: Vec<f64>,
    /// How long each step is measured.
    pub measured: Duration,
    /// How long it runs before that.
    pub warm_up: Duration,
    /// How large an event's body is, in bytes; at least those of its mark.
    pub body: usize,
    /// How many keys there are: events of one key stay in order.
    pub keys: u64,
    /// Which group takes them.
    pub group: String,
}

/// Calls that are under way at once; what is due beyond waits for one, and its time runs.
const CALLS: usize = 256;

/// The same for calls of many events.
const BULKS: usize = 16;

/// How many deliveries are unsettled at once.
const IN_FLIGHT: usize = 512;

/// How long a delivery is waited for after the last event or the delivery before it.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the generator sleeps at least: shorter sleeps are not kept.
const TICK: Duration = Duration::from_millis(1);

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Single => "single",
            Self::Bulk => "bulk",
        })
    }
}

/// A load whose events are listened for.
#[derive(Debug)]
pub struct Load<'a> {
    plan: &'a Plan,
    places: Vec<Listened<'a>>,
}

#[derive(Debug)]
struct Listened<'a> {
    place: &'a Place,
    tally: Arc<Tally>,
    trigger: drain::Trigger,
    drain: drain::Drain,
}

impl<'a> Load<'a> {
    /// Subscribes at each place.
    ///
    /// # Errors
    /// Those of [`Transit::subscribe`].
    pub async fn listen(plan: &'a Plan, places: &'a [Place]) -> Result<Self, bus::Error> {
        let mut listened = Vec::new();
        for place in places {
            let (trigger, drain) = drain::channel();
            let tally = Arc::new(Tally::default());
            listen(plan, place, &tally, &drain).await?;
            listened.push(Listened {
                place,
                tally,
                trigger,
                drain,
            });
        }
        Ok(Self {
            plan,
            places: listened,
        })
    }

    /// Runs it to its end.
    pub async fn run(self) -> Report {
        let Self { plan, places } = self;
        let machine = Machine::here();
        let mut steps = Vec::new();
        for listened in places {
            for way in &plan.ways {
                for rate in &plan.rates {
                    let step = Running {
                        plan,
                        place: listened.place,
                        tally: &listened.tally,
                        drain: &listened.drain,
                    };
                    steps.push(step.step(*way, *rate).await);
                }
            }
            listened.trigger.drain(Duration::ZERO).await;
        }
        Report {
            machine,
            body_bytes: plan.body.max(Mark::BYTES),
            steps,
        }
    }
}

/// Takes deliveries and settles them, until the drain.
async fn listen(
    plan: &Plan,
    place: &Place,
    tally: &Arc<Tally>,
    drain: &drain::Drain,
) -> Result<(), bus::Error> {
    let ask = Subscription {
        in_flight: IN_FLIGHT,
        deadline: Duration::from_secs(60),
        ..Subscription::new(place.topic.clone(), Reach::Group(plan.group.clone()))
    };
    let mut deliveries = place.bus.subscribe(ask).await?;
    let (tally, end) = (Arc::clone(tally), drain.clone());
    drain.spawn("deliveries", async move {
        loop {
            let next = tokio::select! {
                () = end.signaled() => return,
                next = deliveries.next() => next,
            };
            let Some(delivery) = next else { return };
            tally.delivered(&delivery.message().body);
            end.spawn("settle", delivery.done());
        }
    });
    Ok(())
}

struct Running<'a> {
    plan: &'a Plan,
    place: &'a Place,
    tally: &'a Arc<Tally>,
    drain: &'a drain::Drain,
}

impl Running<'_> {
    /// One rate in one way: its warm-up, its measured time, and what is still to come.
    async fn step(&self, way: Way, rate: f64) -> Step {
        let start = Instant::now();
        let from = start + self.plan.warm_up;
        let end = from + self.plan.measured;
        let step = self.tally.begins(from);
        let most = match way {
            Way::Single => 1,
            Way::Bulk => bus::BATCH,
        };
        let calls = Arc::new(Semaphore::new(match way {
            Way::Single => CALLS,
            Way::Bulk => BULKS,
        }));
        let out = Arc::new(AtomicUsize::new(0));
        let (mut number, mut costs) = (0_u64, BTreeMap::new());
        let due_at = |number| start + Duration::from_secs_f64(float(number) / rate);
        while due_at(number) < end {
            let now = Instant::now();
            if now >= end {
                self.tally.leaves_out(number, |number| due_at(number) < end);
                break;
            }
            if due_at(number) > now {
                tokio::time::sleep_until(due_at(number).max(now + TICK)).await;
                continue;
            }
            if now >= from && costs.is_empty() {
                costs = costs_of(&self.place.watched);
            }
            let mut batch = Vec::with_capacity(most);
            while batch.len() < most && due_at(number) <= now && due_at(number) < end {
                batch.push(self.event(step, number, due_at(number)));
                number += 1;
            }
            // Never closed.
            let Ok(call) = Arc::clone(&calls).acquire_owned().await else {
                break;
            };
            let (bus, tally, left) = (
                self.place.bus.clone(),
                Arc::clone(self.tally),
                Arc::clone(&out),
            );
            left.fetch_add(1, Ordering::Relaxed);
            self.drain.spawn("publish", async move {
                let (marks, messages): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
                let answers = bus.publish(messages).await;
                for (mark, answer) in marks.into_iter().zip(answers) {
                    tally.published(mark, answer.err());
                }
                left.fetch_sub(1, Ordering::Relaxed);
                drop(call);
            });
        }
        let last = Instant::now();
        while (out.load(Ordering::Relaxed) > 0 || self.tally.waits_for_more())
            && self.tally.quiet_since(last) < PATIENCE
        {
            tokio::time::sleep(TICK * 10).await;
        }
        let spent = spent_since(&costs, &self.place.watched);
        self.tally
            .step((&self.place.name, way, rate), self.plan.measured, spent)
    }

    fn event(&self, step: u64, number: u64, due: Instant) -> (Mark, Message) {
        let mark = self.tally.mark(step, number, due);
        let mut body = BytesMut::with_capacity(self.plan.body.max(Mark::BYTES));
        mark.write(&mut body);
        body.resize(self.plan.body.max(Mark::BYTES), b'.');
        let id = format!("{step:x}-{number}");
        let key = format!("key-{}", number % self.plan.keys.max(1));
        let body: Bytes = body.freeze();
        (mark, Message::new(self.place.topic.clone(), id, key, body))
    }
}
