//! What a worker is among those that share its store, and what it counts of that.
//!
//! # Invariants
//! - A worker whose own lease cannot be renewed takes no task over: it cannot know what others did.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use mesh_proto::AgentName;
use parking_lot::Mutex;
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use tokio::time::Instant;

use crate::{agent::Agent, view::Views};

/// How a worker holds on to its tasks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Survival {
    /// How long a worker's lease lives that is not renewed: so long a frozen worker's tasks stand still.
    /// It is renewed three times as often. Default 15 s. Shorter costs writes, and tasks that are taken
    /// from a worker that was only slow.
    pub lease: Duration,
    /// How long turns may run on after the worker was told to end, before they are handed over at their
    /// next step. Default 5 s.
    pub hand_over_after: Duration,
    /// What becomes of new tasks while the store does not answer. Default [`WhenDown::Refuse`].
    pub when_down: WhenDown,
}

impl Default for Survival {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(15),
            hand_over_after: Duration::from_secs(5),
            when_down: WhenDown::Refuse,
        }
    }
}

/// What becomes of new tasks while the store does not answer.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum WhenDown {
    /// `refuse`: they are refused, since nobody could promise to keep them.
    #[default]
    Refuse,
    /// `ephemeral`: they run, and are gone with the worker unless the store comes back first.
    Ephemeral,
}

impl std::str::FromStr for WhenDown {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "refuse" => Ok(Self::Refuse),
            "ephemeral" => Ok(Self::Ephemeral),
            _ => Err(format!("{text:?} is neither refuse nor ephemeral")),
        }
    }
}

/// What a worker is among those that share its store.
#[derive(Debug, Default)]
pub struct Membership {
    /// Its boot.
    pub boot: String,
    /// Its agents, for the tasks that it adopts.
    pub agents: BTreeMap<AgentName, Agent>,
    /// Whom routers have told it of.
    pub views: Views,
    /// What becomes of new tasks while the store does not answer.
    pub when_down: WhenDown,
    /// What it counts.
    pub counts: Counts,
    down: AtomicBool,
    unsaved: AtomicUsize,
    /// When this process was last seen to run on time; none where nobody looks.
    pulse: Mutex<Option<Instant>>,
}

/// How long this process may stand still before it must ask whose its tasks are: shorter than any
/// router takes to hold it for lost.
const STILL: Duration = Duration::from_millis(1500);

/// How many tasks that came to rest while the store did not answer are kept for it. Those of a further
/// one are told to who waits, and lost.
const UNSAVED: usize = 1024;

impl Membership {
    /// A worker of this boot.
    #[must_use]
    pub fn new(boot: String, agents: Vec<Agent>, views: Views, counts: Counts) -> Self {
        let named = agents.into_iter();
        Self {
            boot,
            agents: named.map(|agent| (agent.name().clone(), agent)).collect(),
            views,
            counts,
            ..Self::default()
        }
    }

    /// The same, with another rule for new tasks while the store does not answer.
    #[must_use]
    pub fn when_down(mut self, when_down: WhenDown) -> Self {
        self.when_down = when_down;
        self
    }

    pub(super) fn is_down(&self) -> bool {
        self.down.load(Ordering::Acquire)
    }

    /// Notes that this process runs on time.
    pub(super) fn beat(&self, now: Instant) {
        *self.pulse.lock() = Some(now);
    }

    /// Whether this process stood still, so that its tasks may be others' by now.
    pub(super) fn stood_still(&self, now: Instant) -> bool {
        let last = *self.pulse.lock();
        last.is_some_and(|last| now.saturating_duration_since(last) > STILL)
    }

    /// Notes whether the store answers; whether that is news.
    pub(super) fn set_down(&self, down: bool) -> bool {
        self.down.swap(down, Ordering::AcqRel) != down
    }

    /// Whether one more task may wait for the store.
    pub(super) fn may_wait(&self) -> bool {
        let waiting = self.unsaved.fetch_add(1, Ordering::AcqRel);
        if waiting >= UNSAVED {
            self.saved();
        }
        waiting < UNSAVED
    }

    /// Whether any task does.
    pub(super) fn is_waited_for(&self) -> bool {
        self.unsaved.load(Ordering::Acquire) > 0
    }

    pub(super) fn saved(&self) {
        self.unsaved.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Why a task was adopted.
#[derive(Clone, Copy, Debug, EncodeLabelValue, Eq, Hash, PartialEq)]
pub(super) enum Duty {
    /// A router held its owner to be gone.
    Gone,
    /// Its owner's lease had run out.
    Lapsed,
    /// Its owner let go of it.
    Released,
    /// The router that sent a call vouched for it.
    Vouched,
}

#[derive(Clone, Copy, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Adoption {
    why: Duty,
}

#[derive(Clone, Copy, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Checkpoint {
    outcome: Noted,
}

#[derive(Clone, Copy, Debug, EncodeLabelValue, Eq, Hash, PartialEq)]
enum Noted {
    Written,
    Failed,
}

/// Counts of what changes hands.
#[derive(Clone, Debug)]
pub struct Counts {
    adopted: Family<Adoption, Counter>,
    checkpoints: Family<Checkpoint, Counter>,
    pub(super) lost: Counter,
    pub(super) handed_over: Counter,
    pub(super) joined: Counter,
    pub(super) ephemeral: Counter,
    pub(super) lapses: Counter,
}

impl Default for Counts {
    fn default() -> Self {
        let adopted = Family::default();
        for why in [Duty::Gone, Duty::Lapsed, Duty::Released, Duty::Vouched] {
            adopted.get_or_create_owned(&Adoption { why });
        }
        let checkpoints = Family::default();
        for outcome in [Noted::Written, Noted::Failed] {
            checkpoints.get_or_create_owned(&Checkpoint { outcome });
        }
        Self {
            adopted,
            checkpoints,
            lost: Counter::default(),
            handed_over: Counter::default(),
            joined: Counter::default(),
            ephemeral: Counter::default(),
            lapses: Counter::default(),
        }
    }
}

impl Counts {
    /// Makes the counts, all at zero, and shows them in a registry.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let counts = Self::default();
        let counters = [
            (
                "mesh_worker_tasks_lost",
                "Tasks that another worker took while their turn ran here",
                &counts.lost,
            ),
            (
                "mesh_worker_tasks_handed_over",
                "Tasks that went to another worker while this one drained",
                &counts.handed_over,
            ),
            (
                "mesh_worker_messages_joined",
                "Messages that were taken before and joined their task",
                &counts.joined,
            ),
            (
                "mesh_worker_tasks_ephemeral",
                "Tasks that began while the store did not answer",
                &counts.ephemeral,
            ),
            (
                "mesh_worker_lease_lapses",
                "Times that the worker's own lease had run out",
                &counts.lapses,
            ),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        registry.register(
            "mesh_worker_tasks_adopted",
            "Tasks that were taken over, by why they could be",
            counts.adopted.clone(),
        );
        registry.register(
            "mesh_worker_checkpoints",
            "Steps of turns that were noted in the store, or not",
            counts.checkpoints.clone(),
        );
        counts
    }

    pub(super) fn adopted(&self, why: Duty) {
        self.adopted.get_or_create_owned(&Adoption { why }).inc();
    }

    pub(super) fn checkpoint(&self, written: bool) {
        let outcome = if written {
            Noted::Written
        } else {
            Noted::Failed
        };
        let outcome = Checkpoint { outcome };
        self.checkpoints.get_or_create_owned(&outcome).inc();
    }
}
