//! The latest events of a task, by their numbers, so that a broken stream can go on where it broke.
//!
//! # Invariants
//! - Numbers rise by one with each event, and no two events of a task have the same id: a task that
//!   comes back into memory begins beyond every number that it can have given before.
//! - A ring holds at most [`EVENTS`] events and [`BYTES`] bytes; the oldest go first.
//! - What [`Ring::since`] gives is all that followed, without a gap, or nothing.

use std::{collections::VecDeque, fmt, sync::Arc};

use mesh_proto::a2a::StreamResponse;
use prost::Message as _;

/// How many events are held of one task.
const EVENTS: usize = 512;

/// How many bytes of events are held of one task, as protobuf counts them.
const BYTES: usize = 1 << 20;

/// The name of an event among those of its task: `<fence>-<n>`, both decimal.
///
/// The fence is the number of times that the task was adopted, so that two workers never give the same
/// id to different events.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct EventId {
    fence: u64,
    n: u64,
}

impl EventId {
    /// Reads what [`fmt::Display`] wrote, and nothing else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (fence, n) = text.split_once('-')?;
        Some(Self {
            fence: number(fence)?,
            n: number(n)?,
        })
    }

    /// The event after it.
    #[must_use]
    pub const fn next(self) -> Self {
        Self {
            n: self.n.saturating_add(1),
            ..self
        }
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.fence, self.n)
    }
}

fn number(text: &str) -> Option<u64> {
    let is_plain =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_plain)
}

/// One event with its id.
#[derive(Clone, Debug)]
pub struct Told {
    /// Its id; of a snapshot, the id of the last event that is in it.
    pub id: EventId,
    /// What happened.
    pub event: Arc<StreamResponse>,
}

/// The latest events of a task.
#[derive(Debug)]
pub(super) struct Ring {
    last: EventId,
    events: VecDeque<(Arc<StreamResponse>, usize)>,
    bytes: usize,
}

impl Ring {
    /// An empty ring; its first event has the number after `n`.
    pub(super) const fn new(fence: u64, n: u64) -> Self {
        Self {
            last: EventId { fence, n },
            events: VecDeque::new(),
            bytes: 0,
        }
    }

    /// The id of the latest event, held or not.
    pub(super) const fn last(&self) -> EventId {
        self.last
    }

    /// How many bytes it holds.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes an event in and numbers it.
    pub(super) fn push(&mut self, event: &Arc<StreamResponse>) -> EventId {
        let bytes = event.encoded_len();
        self.last = self.last.next();
        self.events.push_back((Arc::clone(event), bytes));
        self.bytes += bytes;
        while self.events.len() > EVENTS || self.bytes > BYTES {
            let Some((_, bytes)) = self.events.pop_front() else {
                break;
            };
            self.bytes -= bytes;
        }
        self.last
    }

    /// All that followed an event; `None` where that event is none of these, or more followed than is
    /// held.
    pub(super) fn since(&self, id: EventId) -> Option<VecDeque<Told>> {
        if id.fence != self.last.fence {
            return None;
        }
        let missed = usize::try_from(self.last.n.checked_sub(id.n)?).ok()?;
        let skip = self.events.len().checked_sub(missed)?;
        let mut next = id;
        let told = self.events.iter().skip(skip).map(|(event, _)| {
            next = next.next();
            Told {
                id: next,
                event: Arc::clone(event),
            }
        });
        Some(told.collect())
    }

    /// What it holds; in its place stays an empty ring that goes on with the numbers.
    pub(super) fn take(&mut self) -> Self {
        let rest = Self::new(self.last.fence, self.last.n);
        std::mem::replace(self, rest)
    }
}

#[cfg(test)]
mod tests {
    use mesh_proto::a2a::{TaskStatusUpdateEvent, stream_response::Payload};
    use proptest::prelude::*;

    use super::*;

    fn event(text: &str) -> Arc<StreamResponse> {
        let update = TaskStatusUpdateEvent {
            task_id: text.to_owned(),
            ..TaskStatusUpdateEvent::default()
        };
        Arc::new(StreamResponse {
            payload: Some(Payload::StatusUpdate(update)),
        })
    }

    fn id(text: &str) -> EventId {
        EventId::parse(text).unwrap()
    }

    #[test]
    fn an_id_is_read_as_it_was_written_and_nothing_else_is() {
        for text in ["1-0", "0-1", "18446744073709551615-18446744073709551615"] {
            assert_eq!(id(text).to_string(), text);
        }
        for wrong in [
            "",
            "1",
            "1-",
            "-1",
            "1-1-1",
            "+1-1",
            "1-01",
            " 1-1",
            "1-1 ",
            "a-b",
            "1_1",
            "1-18446744073709551616",
        ] {
            assert_eq!(EventId::parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn an_event_over_the_bound_leaves_an_empty_ring_that_counts_on() {
        let mut ring = Ring::new(1, 0);
        ring.push(&event("small"));
        assert_eq!(ring.push(&event(&"x".repeat(BYTES))).to_string(), "1-2");
        assert_eq!((ring.events.len(), ring.bytes()), (0, 0));
        assert!(ring.since(id("1-1")).is_none());
        assert!(ring.since(id("1-2")).is_some_and(|rest| rest.is_empty()));
        assert_eq!(ring.push(&event("next")).to_string(), "1-3");
    }

    #[test]
    fn another_fence_and_a_number_to_come_are_not_held() {
        let mut ring = Ring::new(2, 0);
        ring.push(&event("a"));
        for other in ["1-0", "1-1", "3-0", "2-2", "2-99"] {
            assert!(ring.since(id(other)).is_none(), "{other}");
        }
    }

    proptest! {
        /// Whatever was pushed: from any id there comes all that followed, in order, or nothing; and
        /// nothing only where more followed than fits.
        #[test]
        fn what_followed_comes_whole_or_not_at_all(
            first in 0_u64..1000,
            sizes in proptest::collection::vec(0_usize..6000, 0..700),
            back in 0_usize..800,
        ) {
            let mut ring = Ring::new(7, first);
            let all: Vec<_> = sizes.iter().map(|size| event(&"x".repeat(*size))).collect();
            for (at, event) in all.iter().enumerate() {
                let n = first + at as u64 + 1;
                prop_assert_eq!(ring.push(event), EventId { fence: 7, n });
                prop_assert!(ring.bytes <= BYTES && ring.events.len() <= EVENTS);
            }
            let back = back.min(all.len());
            let (seen, missed) = all.split_at(all.len() - back);
            let asked = EventId { fence: 7, n: first + seen.len() as u64 };
            let fits = back <= EVENTS
                && missed.iter().map(|event| event.encoded_len()).sum::<usize>() <= BYTES;
            match ring.since(asked) {
                Some(told) => {
                    prop_assert!(fits);
                    prop_assert_eq!(told.len(), missed.len());
                    let mut next = asked;
                    for (told, event) in told.iter().zip(missed) {
                        next = next.next();
                        prop_assert_eq!(told.id, next);
                        prop_assert!(Arc::ptr_eq(&told.event, event));
                    }
                }
                None => prop_assert!(!fits),
            }
        }
    }
}
