//! What the turns of a worker count.

use mesh_proto::a2a;
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

/// Counts of tasks and turns.
#[derive(Clone, Debug)]
pub struct Metrics {
    settled: Family<Labels, Counter>,
    pub(super) in_flight: Gauge,
    pub(super) turns: Counter,
    pub(super) tool_calls: Counter,
    pub(super) turn_seconds: Histogram,
    pub(super) unsaved: Counter,
    slow: Counter,
    resumed: Family<Resumption, Counter>,
}

#[derive(Clone, Copy, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Resumption {
    outcome: Resumed,
}

/// What came of naming the last event that was seen.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Resumed {
    /// All that followed was told.
    Replayed,
    /// Not all that followed is held: the task as it is was told.
    Snapshot,
    /// The name is none of ours; the same.
    Unreadable,
}

#[derive(Clone, Copy, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Labels {
    state: Settled,
}

/// The states that a turn or a cancel leaves a task in.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Settled {
    Completed,
    Failed,
    Canceled,
    Rejected,
    InputRequired,
}

impl EncodeLabelValue for Settled {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        std::fmt::Write::write_str(
            encoder,
            match self {
                Self::Completed => "completed",
                Self::Failed => "failed",
                Self::Canceled => "canceled",
                Self::Rejected => "rejected",
                Self::InputRequired => "input_required",
            },
        )
    }
}

impl EncodeLabelValue for Resumed {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        std::fmt::Write::write_str(
            encoder,
            match self {
                Self::Replayed => "replayed",
                Self::Snapshot => "snapshot",
                Self::Unreadable => "unreadable",
            },
        )
    }
}

impl Metrics {
    /// Makes the counts, all at zero, and shows them in a registry.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let counters = [
            ("mesh_worker_turns", "Turns that have ended", &metrics.turns),
            (
                "mesh_worker_tool_calls",
                "Tool calls that turns have made",
                &metrics.tool_calls,
            ),
            (
                "mesh_worker_tasks_unsaved",
                "Tasks that came to rest while the store did not answer",
                &metrics.unsaved,
            ),
            (
                "mesh_worker_watchers_dropped",
                "Streams that were ended because they were not read",
                &metrics.slow,
            ),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        registry.register(
            "mesh_worker_streams_resumed",
            "Subscriptions that named the last event seen",
            metrics.resumed.clone(),
        );
        registry.register(
            "mesh_worker_tasks",
            "Tasks by the state that they came to rest in",
            metrics.settled.clone(),
        );
        registry.register(
            "mesh_worker_tasks_in_flight",
            "Tasks whose turn runs now",
            metrics.in_flight.clone(),
        );
        registry.register(
            "mesh_worker_turn_seconds",
            "How long turns took",
            metrics.turn_seconds.clone(),
        );
        metrics
    }

    pub(super) fn settled(&self, state: a2a::TaskState) {
        let state = match state {
            a2a::TaskState::Completed => Settled::Completed,
            a2a::TaskState::Canceled => Settled::Canceled,
            a2a::TaskState::Rejected => Settled::Rejected,
            a2a::TaskState::InputRequired => Settled::InputRequired,
            a2a::TaskState::Failed
            | a2a::TaskState::Unspecified
            | a2a::TaskState::Submitted
            | a2a::TaskState::Working
            | a2a::TaskState::AuthRequired => Settled::Failed,
        };
        self.settled.get_or_create_owned(&Labels { state }).inc();
    }

    pub(super) fn resumed(&self, outcome: Resumed) {
        let outcome = Resumption { outcome };
        self.resumed.get_or_create_owned(&outcome).inc();
    }

    pub(super) fn slow(&self, watchers: usize) {
        if watchers > 0 {
            self.slow.inc_by(watchers as u64);
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        // From an echo to a long chain of tools and a slow model.
        let buckets = [
            0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 120.0, 600.0,
        ];
        let settled = Family::default();
        for state in [
            Settled::Completed,
            Settled::Failed,
            Settled::Canceled,
            Settled::Rejected,
            Settled::InputRequired,
        ] {
            settled.get_or_create_owned(&Labels { state });
        }
        let resumed = Family::default();
        for outcome in [Resumed::Replayed, Resumed::Snapshot, Resumed::Unreadable] {
            resumed.get_or_create_owned(&Resumption { outcome });
        }
        Self {
            settled,
            resumed,
            in_flight: Gauge::default(),
            turns: Counter::default(),
            tool_calls: Counter::default(),
            turn_seconds: Histogram::new(buckets),
            unsaved: Counter::default(),
            slow: Counter::default(),
        }
    }
}
