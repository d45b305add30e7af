//! Where events end: only whole ones go down, so that a stream which breaks always breaks between two.
//!
//! What our workers send, and what the router itself writes, ends each event with two line feeds.
//!
//! # Invariants
//! - Bytes that end with an event pass as they are, uncopied: nothing waits that is whole.
//! - What is held back is less than one event, within a bound. Beyond it, all passes, and the stream can
//!   no longer be spliced.

use bytes::{Buf as _, Bytes, BytesMut};
use memchr::memmem;
use mesh_proto::sse;

/// The longest event that is held back: the bound of what our workers send in one.
const EVENT_BYTES: usize = 16 << 20;

/// Bytes before each message of gRPC: a flag and a length.
const PREFIX: usize = 5;

/// How events are told apart.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// Server-sent events.
    Events,
    /// Messages of gRPC.
    Messages,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Frames {
    kind: Kind,
    held: BytesMut,
    last: Last,
    overflowed: bool,
}

/// The last event that has passed.
#[derive(Debug, Default)]
enum Last {
    #[default]
    Unknown,
    /// As its `id:` has it.
    Named(Box<str>),
    /// As counted: the id's part before the number, and the number.
    Counted(Box<str>, u64),
}

impl Frames {
    /// Nothing has passed. `next` is the id of the first message, where a head tells it.
    pub(super) fn new(kind: Kind, next: Option<&str>) -> Self {
        let counted = next.and_then(|next| {
            let (fence, number) = next.rsplit_once('-')?;
            let number: u64 = number.parse().ok()?;
            Some(Last::Counted(fence.into(), number.checked_sub(1)?))
        });
        Self {
            kind,
            held: BytesMut::new(),
            last: counted.unwrap_or_default(),
            overflowed: false,
        }
    }

    /// How they are told apart.
    pub(super) const fn kind(&self) -> Kind {
        self.kind
    }

    /// Takes the next bytes in; what of them, and of those before, is whole.
    pub(super) fn take(&mut self, data: Bytes) -> Bytes {
        if self.overflowed {
            return data;
        }
        if self.held.is_empty() && self.whole(&data) == data.len() {
            self.note(&data);
            return data;
        }
        self.held.extend_from_slice(&data);
        let end = self.whole(&self.held);
        let whole = self.held.split_to(end).freeze();
        self.note(&whole);
        if self.held.len() > EVENT_BYTES {
            self.overflowed = true;
            return [whole, self.held.split().freeze()].concat().into();
        }
        whole
    }

    /// Whether the stream may go on elsewhere: nothing of a half event has passed.
    pub(super) const fn is_spliceable(&self) -> bool {
        !self.overflowed
    }

    /// Whether nothing is held back.
    pub(super) fn is_boundary(&self) -> bool {
        self.held.is_empty()
    }

    /// The id of the last event that has passed, where it has one.
    pub(super) fn last(&self) -> Option<String> {
        match &self.last {
            Last::Unknown => None,
            Last::Named(id) => Some(id.to_string()),
            Last::Counted(_, 0) => None,
            Last::Counted(fence, number) => Some(format!("{fence}-{number}")),
        }
    }

    /// How many of these bytes are whole events.
    fn whole(&self, bytes: &[u8]) -> usize {
        match self.kind {
            Kind::Events if bytes.ends_with(b"\n\n") => bytes.len(),
            Kind::Events => memmem::rfind(bytes, b"\n\n").map_or(0, |at| at + 2),
            Kind::Messages => messages(bytes).last().map_or(0, |(_, end)| end),
        }
    }

    fn note(&mut self, whole: &[u8]) {
        match self.kind {
            Kind::Events => {
                if let Some(id) = last_id(whole) {
                    self.last = Last::Named(id.into());
                }
            }
            Kind::Messages => {
                if let Last::Counted(_, number) = &mut self.last {
                    *number += messages(whole).count() as u64;
                }
            }
        }
    }
}

/// The first event of whole ones, what it carries, and the rest. Comments before it are dropped.
pub(super) fn first(kind: Kind, whole: &Bytes) -> Option<First> {
    match kind {
        Kind::Events => {
            let mut rest = whole.clone();
            while let Some(at) = memmem::find(&rest, b"\n\n") {
                let block = rest.split_to(at + 2);
                let mut reader = sse::Reader::new(EVENT_BYTES);
                reader.feed(&block).ok()?;
                if let Some(event) = reader.next_event() {
                    return Some(First {
                        id: event.id,
                        data: event.data,
                        rest,
                    });
                }
            }
            None
        }
        Kind::Messages => {
            let (start, end) = messages(whole).next()?;
            Some(First {
                id: None,
                data: whole.slice(start..end),
                rest: whole.slice(end..),
            })
        }
    }
}

/// See [`first`].
#[derive(Debug)]
pub(super) struct First {
    pub(super) id: Option<String>,
    pub(super) data: Bytes,
    pub(super) rest: Bytes,
}

/// Where the messages of gRPC in these bytes begin and end, without their prefixes; a cut one at the end
/// is left out.
fn messages(bytes: &[u8]) -> impl Iterator<Item = (usize, usize)> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let mut prefix = bytes.get(at..at + PREFIX)?;
        prefix.advance(1);
        let length = usize::try_from(prefix.get_u32()).ok()?;
        let start = at + PREFIX;
        let end = start
            .checked_add(length)
            .filter(|end| *end <= bytes.len())?;
        at = end;
        Some((start, end))
    })
}

fn last_id(events: &[u8]) -> Option<&str> {
    let at = match memmem::rfind(events, b"\nid:") {
        Some(at) => at + 4,
        None if events.starts_with(b"id:") => 3,
        None => return None,
    };
    let line = events.get(at..)?;
    let line = line.split(|byte| *byte == b'\n').next()?;
    std::str::from_utf8(line).ok().map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_events_pass_however_they_are_cut() {
        let all = b"id: 1-4\ndata: a\n\nid: 1-5\ndata: b\n\n";
        for cut in 0..=all.len() {
            let mut frames = Frames::new(Kind::Events, None);
            let one = frames.take(Bytes::copy_from_slice(&all[..cut]));
            assert!(one.is_empty() || one.ends_with(b"\n\n"), "cut at {cut}");
            let two = frames.take(Bytes::copy_from_slice(&all[cut..]));
            assert_eq!([one, two].concat(), all, "cut at {cut}");
            assert!(frames.is_boundary());
            assert_eq!(frames.last().as_deref(), Some("1-5"));
        }
    }

    #[test]
    fn messages_are_counted_from_the_first_that_the_head_names() {
        let all = b"\0\0\0\0\x02ab\0\0\0\0\0\0\0\0\0\x01c";
        for cut in 0..=all.len() {
            let mut frames = Frames::new(Kind::Messages, Some("3-7"));
            assert_eq!(frames.last().as_deref(), Some("3-6"));
            let one = frames.take(Bytes::copy_from_slice(&all[..cut]));
            let two = frames.take(Bytes::copy_from_slice(&all[cut..]));
            assert_eq!([one, two].concat(), all, "cut at {cut}");
            assert_eq!(frames.last().as_deref(), Some("3-9"));
        }
        assert_eq!(Frames::new(Kind::Messages, Some("3-1")).last(), None);
        assert_eq!(Frames::new(Kind::Messages, Some("x")).last(), None);
    }

    #[test]
    fn the_first_event_is_found_behind_comments_and_before_others() {
        let whole = Bytes::from_static(b":\n\nid: 2-1\ndata: {}\n\ndata: []\n\n");
        let found = first(Kind::Events, &whole).unwrap();
        assert_eq!(
            (found.id.as_deref(), &*found.data),
            (Some("2-1"), &b"{}"[..])
        );
        assert_eq!(&*found.rest, b"data: []\n\n");
        assert!(first(Kind::Events, &Bytes::from_static(b":\n\n")).is_none());
    }
}
