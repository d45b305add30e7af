//! What happened in a run, in order: what clients said and heard, what models and tools were asked, and
//! which faults came.
//!
//! # Invariants
//! - Everything that an invariant judges is in here, and nothing that differs between two runs of one
//!   seed: [`History::hash`] is the run's fingerprint.

use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

use parking_lot::Mutex;
use xxhash_rust::xxh3::Xxh3;

use crate::plan::Act;

/// The name of one message that a client wants an answer to; it stands in the message's own text.
pub(crate) type Token = Arc<str>;

/// Something that happened.
#[derive(Clone, Debug)]
#[expect(
    dead_code,
    reason = "not all is judged: some is for the reader of a report"
)]
pub(crate) enum What {
    /// A client began a call.
    Asked {
        call: u64,
        token: Token,
        message: String,
        how: &'static str,
        deadline: Duration,
    },
    /// A call came to its end: `Err` names the fault, and whether nothing was sent.
    Ended {
        call: u64,
        outcome: Result<(), Failure>,
    },
    /// A client learned of a task, whichever way.
    Saw { call: u64, token: Token, task: Seen },
    /// An event of a stream.
    Event {
        call: u64,
        token: Token,
        event: Event,
    },
    /// A client has the answer to its message, or has seen how it failed.
    Settled { token: Token, task: Seen },
    /// A client has given a message up without ever hearing of a task.
    GivenUp { token: Token },
    /// A model was asked for its next step; `busy` is how many it thinks about in this life of its
    /// worker.
    Step {
        worker: String,
        task: String,
        token: Token,
        step: usize,
        busy: usize,
    },
    /// A tool was called.
    Tool {
        worker: String,
        key: Option<String>,
        token: Token,
        step: usize,
    },
    /// A model was shown a conversation that holds a user's message twice.
    Doubled { task: String, text: String },
    /// A fault came, or went.
    Fault(Act),
    /// A router shows where it would send calls.
    Places(Places),
    /// All faults are over.
    Calm,
}

/// An event of a stream, as far as it is judged.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Event {
    Task {
        state: String,
        text: String,
    },
    Status {
        state: String,
    },
    Artifact {
        text: String,
        append: bool,
        last: bool,
    },
    Other,
}

/// Where a router would send calls of some contexts.
#[derive(Clone, Eq, PartialEq)]
pub(crate) struct Places {
    pub(crate) router: usize,
    pub(crate) view: String,
    /// Members that it holds to be usable.
    pub(crate) usable: BTreeSet<String>,
    /// For each of the contexts, in order: whom it would try first.
    pub(crate) first: Vec<String>,
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            router,
            view,
            usable,
            ..
        } = self;
        write!(f, "router-{router} of view {view} with {usable:?}")
    }
}

/// Whether a state of a task is one that it does not leave by itself.
pub(crate) fn is_end(state: &str) -> bool {
    ["COMPLETED", "FAILED", "CANCELED", "REJECTED"]
        .iter()
        .any(|end| state.ends_with(end))
}

/// How a call failed.
#[derive(Clone, Debug)]
#[expect(dead_code, reason = "for the reader of a report")]
pub(crate) struct Failure {
    pub(crate) words: String,
    pub(crate) unsent: bool,
    /// The agent's own word: the task does not exist.
    pub(crate) not_found: bool,
}

/// A task as a client saw it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Seen {
    pub(crate) id: String,
    pub(crate) context: String,
    pub(crate) state: String,
    pub(crate) text: String,
}

impl Seen {
    /// Whether nothing more can become of it.
    pub(crate) fn is_terminal(&self) -> bool {
        is_end(&self.state)
    }

    /// Whether it waits for its client, or is over.
    pub(crate) fn rests(&self) -> bool {
        self.is_terminal() || self.state.ends_with("INPUT_REQUIRED")
    }
}

/// When, and what.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) at: Duration,
    pub(crate) what: What,
}

/// The history of a run. Clones are the same one.
#[derive(Clone, Default)]
pub(crate) struct History(Arc<Mutex<Inner>>);

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("History")
    }
}

#[derive(Default)]
struct Inner {
    now: Duration,
    calls: u64,
    entries: Vec<Entry>,
}

impl History {
    /// Sets the time of what follows.
    pub(crate) fn clock(&self, now: Duration) {
        self.0.lock().now = now;
    }

    pub(crate) fn tell(&self, what: What) {
        let mut inner = self.0.lock();
        let at = inner.now;
        inner.entries.push(Entry { at, what });
    }

    /// A number that no call has.
    pub(crate) fn call(&self) -> u64 {
        let mut inner = self.0.lock();
        inner.calls += 1;
        inner.calls
    }

    /// Hands over what came after the first `seen` entries.
    pub(crate) fn since(&self, seen: usize) -> Vec<Entry> {
        self.0.lock().entries[seen..].to_vec()
    }

    /// The fingerprint.
    pub(crate) fn hash(&self) -> u64 {
        let mut hash = Xxh3::new();
        for line in self.lines() {
            hash.update(line.as_bytes());
        }
        hash.digest()
    }

    /// A line for each thing that happened.
    pub(crate) fn lines(&self) -> Vec<String> {
        let line = |Entry { at, what }: &Entry| format!("  {:>7} ms  {what:?}", at.as_millis());
        self.0.lock().entries.iter().map(line).collect()
    }
}
