//! Replies on their way down: what passes, what is added while nothing passes, and what becomes of a
//! stream whose worker is lost.
//!
//! # Invariants
//! - There is no total timeout: a stream lives as long as both ends want it to, and something is said.
//! - What is added stands between events, never within one.
//! - Only streams of our own workers are spliced: of nobody else is it known that a task goes on
//!   elsewhere, and that asking for it again does nothing twice.

mod frames;
mod pump;
mod retell;
mod splice;

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use mesh_runtime::drain::Drain;
use parking_lot::Mutex;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use serde::Deserialize;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use self::pump::Held;
pub use self::{
    pump::{Carrier, Pump},
    splice::{Splice, Way, is_stream},
};

/// How streams are kept.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Seconds without a byte after which a stream of server-sent events gets a comment, so that what
    /// stands between does not take it for dead. 0: none. Default 15. Over gRPC the connection's own
    /// pings do it.
    pub keep_alive_seconds: u64,
    /// Seconds without a byte from the agent, comments included, after which a stream is ended with words
    /// that say so. 0: never. Default 600.
    pub idle_seconds: u64,
    /// Seconds for which a client may leave what has come unread, before its stream is ended. 0: for ever.
    /// Default 60. Until then the agent waits, as flow control has it: a window's worth is under way.
    pub slow_seconds: u64,
    /// What becomes of a stream whose worker, one of ours, is lost: `splice` goes on with the same task
    /// wherever it is now, `close` ends the stream with an error. Default `splice`.
    pub after_crash: AfterCrash,
    /// Seconds for which the task of such a stream is looked for. A worker that froze is known to be lost
    /// only when its lease is over. Default 60.
    pub splice_seconds: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            keep_alive_seconds: 15,
            idle_seconds: 600,
            slow_seconds: 60,
            after_crash: AfterCrash::Splice,
            splice_seconds: 60,
        }
    }
}

/// What becomes of a stream whose worker is lost.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum AfterCrash {
    /// It goes on, after a gap.
    #[default]
    Splice,
    /// It ends, with an error.
    Close,
}

/// How long a task is looked for that only one worker can have.
const ALONE: Duration = Duration::from_secs(1);

/// How often slow clients are looked for.
const LOOK: Duration = Duration::from_secs(1);

/// How all streams of a router are kept. Clones keep the same ones.
#[derive(Clone, Debug)]
pub struct Keeping(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: Settings,
    metrics: Metrics,
    began: Instant,
    /// Every stream that is open, and some that were.
    streams: Mutex<Vec<Weak<Held>>>,
    ending: CancellationToken,
}

impl Keeping {
    /// Registers the counters, all at zero, and looks for clients that do not read until the drain is
    /// signaled.
    #[must_use]
    pub fn start(settings: Settings, registry: &mut Registry, drain: &Drain) -> Self {
        let keeping = Self(Arc::new(Inner {
            settings,
            metrics: Metrics::register(registry),
            began: Instant::now(),
            streams: Mutex::default(),
            ending: CancellationToken::new(),
        }));
        if settings.slow_seconds > 0 {
            let (keeping, signal) = (keeping.clone(), drain.clone());
            drain.spawn("streams", async move {
                loop {
                    tokio::select! {
                        () = tokio::time::sleep(LOOK) => keeping.look(),
                        () = signal.signaled() => return,
                    }
                }
            });
        }
        keeping
    }

    /// Ends every stream at its next boundary: the router goes away.
    pub fn end_all(&self) {
        self.0.ending.cancel();
    }

    /// Whether a stream of our workers goes on after a crash.
    #[must_use]
    pub fn splices(&self) -> bool {
        self.0.settings.after_crash == AfterCrash::Splice
    }

    /// How long a lost task is looked for; of a worker that keeps its tasks to itself only as long as its
    /// connection alone may have been lost.
    #[must_use]
    pub fn patience(&self, shares_its_store: bool) -> Duration {
        let patience = Duration::from_secs(self.0.settings.splice_seconds);
        if shares_its_store {
            patience
        } else {
            patience.min(ALONE)
        }
    }

    /// Counts streams that went on.
    #[must_use]
    pub fn spliced(&self) -> Counter {
        self.0.metrics.spliced.clone()
    }

    fn look(&self) {
        let slow = self.0.settings.slow_seconds.saturating_mul(1000);
        let before = self.stamp().saturating_sub(slow);
        let mut all = std::mem::take(&mut *self.0.streams.lock());
        all.retain(|held| {
            let Some(held) = held.upgrade() else {
                return false;
            };
            let is_slow = held.take_if_slow(before);
            self.0.metrics.slow.inc_by(u64::from(is_slow));
            !is_slow
        });
        // What was opened meanwhile is among the new ones.
        self.0.streams.lock().append(&mut all);
    }

    fn watch(&self, held: &Arc<Held>) {
        if self.0.settings.slow_seconds > 0 {
            self.0.streams.lock().push(Arc::downgrade(held));
        }
    }

    /// Milliseconds since the router began, never 0.
    fn stamp(&self) -> u64 {
        let since = self.0.began.elapsed().as_millis();
        u64::try_from(since).unwrap_or(u64::MAX).max(1)
    }

    fn ending(&self) -> WaitForCancellationFutureOwned {
        self.0.ending.clone().cancelled_owned()
    }

    fn commented(&self) {
        self.0.metrics.comments.inc();
    }

    fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    fn keep_alive(&self) -> Option<Duration> {
        seconds(self.0.settings.keep_alive_seconds)
    }

    fn idle(&self) -> Option<Duration> {
        seconds(self.0.settings.idle_seconds)
    }
}

/// A setting of which 0 means never.
fn seconds(setting: u64) -> Option<Duration> {
    (setting > 0).then(|| Duration::from_secs(setting))
}

/// The families of this module.
#[derive(Debug)]
struct Metrics {
    comments: Counter,
    spliced: Counter,
    lost: Counter,
    idle: Counter,
    slow: Counter,
    ending: Counter,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Reason {
    reason: &'static str,
}

impl Metrics {
    fn register(registry: &mut Registry) -> Self {
        let closed = Family::<Reason, Counter>::default();
        let counter = |reason| closed.get_or_create_owned(&Reason { reason });
        let metrics = Self {
            comments: Counter::default(),
            spliced: Counter::default(),
            lost: counter("lost"),
            idle: counter("idle"),
            slow: counter("slow"),
            ending: counter("drain"),
        };
        registry.register(
            "mesh_streams_closed",
            "Streams that the router ended: the agent was lost or said nothing, the client did not read, \
             or the router went away",
            closed,
        );
        registry.register(
            "mesh_streams_spliced",
            "Streams that went on at another worker, or after a lost connection",
            metrics.spliced.clone(),
        );
        registry.register(
            "mesh_stream_comments",
            "Comments sent into silent streams",
            metrics.comments.clone(),
        );
        metrics
    }
}
