//! The turn of a group: its members are asked, and their answers are shown as they come.
//!
//! # Invariants
//! - What is shown is made of what the store holds, so whoever goes on with the turn shows the same.
//! - Each answer is shown once by one owner: up to [`SINGLE`] members as an artifact each, above that as
//!   counts, and pages of answers as long as they fit.

use std::{collections::BTreeSet, fmt::Write as _, time::Duration};

use mesh_proto::a2a::Message;
use mesh_runtime::clock;
use serde_json::json;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use tracing::{debug, warn};

use super::{Boundary, Outcome, Step};
use crate::{
    group::{Config, Fanout, Tally, Verdict},
    record::{Chunk, End, Head, Seat, TaskKey},
};

/// What a group's turn is about.
pub(super) struct Gathering<'a> {
    pub(super) config: &'a Config,
    pub(super) fanout: &'a Fanout,
    pub(super) key: TaskKey,
    pub(super) message: Message,
    pub(super) step: u32,
    pub(super) boundaries: Option<mpsc::Sender<Boundary>>,
    pub(super) steps: &'a mpsc::Sender<Step>,
}

/// What was seen so far.
struct Seen {
    head: Head,
    tally: Tally,
    open: Vec<Open>,
    /// Where in `open` the next look begins.
    at: usize,
    failures: Vec<String>,
    shown_bytes: usize,
    tenths: u32,
    unshown: u32,
}

/// A chunk of which not all is seen.
struct Open {
    number: u32,
    seen: BTreeSet<usize>,
    last: Chunk,
}

impl Gathering<'_> {
    /// Asks all members and gathers what they answer, until there is enough or never will be.
    ///
    /// # Cancel safety
    /// Dropped, the members are let go once the task rests.
    pub(super) async fn gather(mut self) -> Outcome {
        let asked = self.fanout.ask(&self.key, self.config, &self.message);
        let head = match asked.await {
            Ok(head) => head,
            Err(error) => {
                let cause = std::error::Error::source(&error);
                let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
                return Outcome::Failed {
                    reason: format!("{error}{cause}"),
                };
            }
        };
        self.boundary().await;
        let mut seen = Seen::of(head);
        let (mut pause, mut noted) = (FIRST_PAUSE, Instant::now());
        loop {
            let is_late = clock::unix_millis() >= seen.head.until;
            let news = self.look(&mut seen, is_late).await;
            if let Some(verdict) = self.config.policy.verdict(seen.tally, is_late) {
                return self.rest(seen, verdict).await;
            }
            if noted.elapsed() >= NOTE {
                self.boundary().await;
                noted = Instant::now();
            }
            pause = if news {
                FIRST_PAUSE
            } else {
                (pause * 2).min(LONGEST_PAUSE)
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Looks at some of the open chunks, or at all of them at last; whether there is something new.
    async fn look(&self, seen: &mut Seen, at_all: bool) -> bool {
        let open = seen.open.len();
        let count = if at_all { open } else { open.min(AT_ONCE) };
        let before = seen.tally;
        for _ in 0..count {
            seen.at %= seen.open.len().max(1);
            let Some(number) = seen.open.get(seen.at).map(|open| open.number) else {
                break;
            };
            let chunk = match self.fanout.chunk(&self.key, number).await {
                Ok(chunk) => chunk,
                Err(error) => {
                    warn!(%error, task = %self.key.id, number, "a chunk cannot be read");
                    break;
                }
            };
            self.take(seen, chunk).await;
        }
        seen.tally != before
    }

    /// Takes what is new in the chunk that is looked at.
    async fn take(&self, seen: &mut Seen, chunk: Chunk) {
        let is_single = seen.tally.members <= SINGLE;
        let at = seen.at;
        let Some(open) = seen.open.get_mut(at) else {
            return;
        };
        let news: Vec<(usize, Seat)> = (0..)
            .zip(&chunk.seats)
            .filter(|(place, seat)| seat.end() != End::Open && !open.seen.contains(place))
            .map(|(place, seat)| (place, seat.clone()))
            .collect();
        open.seen.extend(news.iter().map(|(place, _)| *place));
        let is_whole = !chunk.seats.is_empty() && open.seen.len() == chunk.seats.len();
        open.last = chunk;
        for (_, seat) in &news {
            seen.count(seat);
            if is_single {
                self.show(seat).await;
            }
        }
        if !is_single && !news.is_empty() {
            self.show_counts(seen).await;
        }
        if is_whole {
            let whole = seen.open.swap_remove(at);
            if !is_single {
                self.show_page(seen, &whole).await;
            }
        } else {
            seen.at += 1;
        }
    }

    async fn show(&self, seat: &Seat) {
        let step = match seat.end() {
            End::Answered => Step::Artifact {
                artifact_id: seat.name(),
                name: seat.name(),
                text: seat.text.clone(),
                append: false,
                last: true,
            },
            End::Failed => Step::Status(format!("{}: {}", seat.name(), seat.text)),
            End::Open => return,
        };
        self.tell(step).await;
    }

    /// Says how many have answered, each time that it is a tenth more.
    async fn show_counts(&self, seen: &mut Seen) {
        let spoken = u64::from(seen.tally.answered + seen.tally.failed);
        let tenths = spoken * 10 / u64::from(seen.tally.members.max(1));
        let tenths = u32::try_from(tenths).unwrap_or(u32::MAX);
        if tenths > seen.tenths {
            seen.tenths = tenths;
            self.tell(Step::Status(seen.counts())).await;
        }
    }

    /// Shows a chunk as a page: one line of JSON per member.
    async fn show_page(&self, seen: &mut Seen, open: &Open) {
        let mut text = String::new();
        let (mut lines, seats) = (0, &open.last.seats);
        for seat in seats.iter().filter(|seat| seat.end() != End::Open) {
            let state = match seat.end() {
                End::Answered => "answered",
                End::Failed | End::Open => "failed",
            };
            let line = json!({"member": seat.name(), "state": state, "text": seat.text});
            // Writing to a string cannot fail.
            writeln!(text, "{line}").ok();
            lines += 1;
        }
        if lines == 0 {
            return;
        }
        if seen.shown_bytes + text.len() > PAGES_BYTES {
            seen.unshown += lines;
            return;
        }
        seen.shown_bytes += text.len();
        let name = format!("results-{:08}", open.number);
        self.tell(Step::Artifact {
            artifact_id: name.clone(),
            name,
            text,
            append: false,
            last: true,
        })
        .await;
    }

    async fn rest(&self, mut seen: Seen, verdict: Verdict) -> Outcome {
        if seen.tally.members > SINGLE {
            for open in std::mem::take(&mut seen.open) {
                self.show_page(&mut seen, &open).await;
            }
        }
        let words = seen.words();
        match verdict {
            Verdict::Enough => Outcome::Completed {
                message: Some(words),
            },
            Verdict::Short => Outcome::Failed { reason: words },
        }
    }

    /// Notes that the turn has come so far, so that it may go on elsewhere.
    async fn boundary(&mut self) {
        self.step += 1;
        let (passed, pass) = oneshot::channel();
        let boundary = Boundary {
            step: self.step,
            passed,
        };
        if let Some(boundaries) = &self.boundaries
            && boundaries.send(boundary).await.is_ok()
            && pass.await.is_err()
        {
            debug!(task = %self.key.id, "the turn goes on without a word of its owner");
        }
    }

    async fn tell(&self, step: Step) {
        if self.steps.send(step).await.is_err() {
            debug!(task = %self.key.id, "nobody listens to the turn");
        }
    }
}

impl Seen {
    fn of(head: Head) -> Self {
        let open = |number| Open {
            number,
            seen: BTreeSet::new(),
            last: Chunk::default(),
        };
        Self {
            tally: Tally {
                members: head.members,
                ..Tally::default()
            },
            open: (0..head.chunks()).map(open).collect(),
            head,
            at: 0,
            failures: Vec::new(),
            shown_bytes: 0,
            tenths: 0,
            unshown: 0,
        }
    }

    fn count(&mut self, seat: &Seat) {
        match seat.end() {
            End::Answered => self.tally.answered += 1,
            End::Failed => {
                self.tally.failed += 1;
                if self.failures.len() < NAMED {
                    let mut reason = seat.text.clone();
                    reason.truncate(reason.floor_char_boundary(REASON));
                    self.failures.push(format!("{} ({reason})", seat.name()));
                }
            }
            End::Open => {}
        }
    }

    fn counts(&self) -> String {
        let Tally {
            members,
            answered,
            failed,
        } = self.tally;
        let open = members - answered - failed;
        format!("{answered} of {members} members answered, {failed} failed, {open} are open")
    }

    /// How it ended, with who failed and why.
    fn words(&self) -> String {
        let mut words = self.counts();
        if !self.failures.is_empty() {
            let named = u32::try_from(self.failures.len()).unwrap_or(u32::MAX);
            let others = self.tally.failed.saturating_sub(named);
            write!(words, ". Failed: {}", self.failures.join("; ")).ok();
            if others > 0 {
                write!(words, "; and {others} others").ok();
            }
        }
        if self.unshown > 0 {
            let unshown = self.unshown;
            write!(words, ". {unshown} answers are counted and not shown").ok();
        }
        words
    }
}

/// Up to how many members each answer is an artifact of its own.
const SINGLE: u32 = 100;

/// How many open chunks are looked at before the next pause.
const AT_ONCE: usize = 16;

/// How long between two looks: after news, and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// How often it is noted how far the turn has come.
const NOTE: Duration = Duration::from_secs(1);

/// How many bytes of pages a task shows; its artifacts have a bound above this.
const PAGES_BYTES: usize = 3 << 20;

/// How many failures are named at the end, and how much of each reason.
const NAMED: usize = 20;
const REASON: usize = 200;
