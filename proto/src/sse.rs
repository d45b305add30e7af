//! Server-sent events, read and written (WHATWG HTML, 9.2 "Server-sent events").
//!
//! What SDKs send differs: CRLF from Python, LF from Go, JS and Rust; `id:` from Go and Rust;
//! comments as keep-alive from Python and Rust. The reader takes all of it, cut anywhere.
//!
//! # Invariants
//! - A reader holds at most its bound, and then says so instead of growing.
//! - Bytes after the last blank line are no event: a stream that breaks off yields nothing half.
//! - What the writer writes, the reader reads back.

use std::collections::VecDeque;

use bytes::{BufMut as _, Bytes, BytesMut};

/// One event.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Event {
    /// `id:`, by which a client can ask for what comes after.
    pub id: Option<String>,
    /// `event:`, the type; A2A uses none, but the JS SDK names its error frames `error`.
    pub event: Option<String>,
    /// The `data:` lines, joined by line feeds.
    pub data: Bytes,
}

/// An event is over the reader's bound.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("an event is longer than {limit} bytes")]
pub struct TooLong {
    /// The bound.
    pub limit: usize,
}

/// Reads events from bytes that come in any pieces.
#[derive(Debug)]
pub struct Reader {
    limit: usize,
    line: BytesMut,
    /// The last piece ended in CR: a LF at the start of the next belongs to it.
    after_cr: bool,
    begun: bool,
    current: Pending,
    whole: VecDeque<Event>,
}

#[derive(Debug, Default)]
struct Pending {
    id: Option<String>,
    event: Option<String>,
    data: BytesMut,
    has_data: bool,
}

impl Event {
    /// An event that is only data.
    #[must_use]
    pub fn of_data(data: &[u8]) -> Self {
        Self {
            id: None,
            event: None,
            data: Bytes::copy_from_slice(data),
        }
    }
}

impl Reader {
    /// A reader for events of at most `limit` bytes of data, and lines of at most that.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            line: BytesMut::new(),
            after_cr: false,
            begun: false,
            current: Pending::default(),
            whole: VecDeque::new(),
        }
    }

    /// Takes the next piece of the stream.
    ///
    /// # Errors
    /// [`TooLong`]; the stream can't be read any further then.
    pub fn feed(&mut self, piece: &[u8]) -> Result<(), TooLong> {
        let mut rest = piece;
        if self.after_cr && !piece.is_empty() {
            self.after_cr = false;
            rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        }
        while let Some(end) = memchr::memchr2(b'\n', b'\r', rest) {
            let (line, tail) = rest.split_at(end);
            self.hold(line)?;
            self.end_line()?;
            rest = match tail {
                [b'\r', b'\n', tail @ ..] | [_, tail @ ..] => tail,
                [] => &[],
            };
            self.after_cr = tail == b"\r";
        }
        self.hold(rest)
    }

    /// The next whole event.
    pub fn next_event(&mut self) -> Option<Event> {
        self.whole.pop_front()
    }

    /// Whether nothing half-read is held: the stream may end here.
    #[must_use]
    pub fn is_boundary(&self) -> bool {
        self.line.is_empty() && !self.current.has_data
    }

    fn hold(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        if self.line.len() + bytes.len() > self.limit.saturating_add(16) {
            return Err(TooLong { limit: self.limit });
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn end_line(&mut self) -> Result<(), TooLong> {
        let line = self.line.split();
        let mut line: &[u8] = &line;
        if !self.begun {
            self.begun = true;
            line = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line);
        }
        if line.is_empty() {
            self.end_event();
            return Ok(());
        }
        let (field, value) = match memchr::memchr(b':', line) {
            Some(0) => return Ok(()),
            Some(colon) => {
                let value = line.get(colon + 1..).unwrap_or_default();
                let field = line.get(..colon).unwrap_or_default();
                (field, value.strip_prefix(b" ").unwrap_or(value))
            }
            None => (line, &[][..]),
        };
        match field {
            b"data" => {
                let current = &mut self.current;
                if current.data.len() + value.len() > self.limit {
                    return Err(TooLong { limit: self.limit });
                }
                if current.has_data {
                    current.data.put_u8(b'\n');
                }
                current.has_data = true;
                current.data.extend_from_slice(value);
            }
            b"event" => self.current.event = Some(String::from_utf8_lossy(value).into_owned()),
            // A NUL would end the id in a client's header: such a line counts for nothing.
            b"id" if !value.contains(&0) => {
                self.current.id = Some(String::from_utf8_lossy(value).into_owned());
            }
            _ => {}
        }
        Ok(())
    }

    fn end_event(&mut self) {
        let Pending {
            id,
            event,
            data,
            has_data,
        } = std::mem::take(&mut self.current);
        if has_data {
            self.whole.push_back(Event {
                id,
                event,
                data: data.freeze(),
            });
        }
    }
}

/// Writes an event, with LF ends, one `data:` line for each line of its data.
#[must_use]
pub fn write(event: &Event) -> Bytes {
    let mut out = BytesMut::with_capacity(event.data.len() + 64);
    if let Some(id) = &event.id {
        put_field(&mut out, "id", one_line(id).as_bytes());
    }
    if let Some(kind) = &event.event {
        put_field(&mut out, "event", one_line(kind).as_bytes());
    }
    let mut rest: &[u8] = &event.data;
    while let Some(end) = memchr::memchr2(b'\n', b'\r', rest) {
        let (line, tail) = rest.split_at(end);
        put_field(&mut out, "data", line);
        rest = match tail {
            [b'\r', b'\n', tail @ ..] | [_, tail @ ..] => tail,
            [] => &[],
        };
    }
    put_field(&mut out, "data", rest);
    out.put_u8(b'\n');
    out.freeze()
}

/// Writes a comment: what keeps a silent stream alive.
#[must_use]
pub fn comment(text: &str) -> Bytes {
    Bytes::from(format!(": {}\n\n", one_line(text)))
}

fn put_field(out: &mut BytesMut, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.put_u8(b'\n');
}

fn one_line(text: &str) -> String {
    text.chars()
        .filter(|letter| !matches!(letter, '\n' | '\r' | '\0'))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(pieces: &[&[u8]]) -> Vec<Event> {
        let mut reader = Reader::new(1 << 20);
        for piece in pieces {
            reader.feed(piece).unwrap();
        }
        std::iter::from_fn(|| reader.next_event()).collect()
    }

    fn data(events: &[Event]) -> Vec<&str> {
        events
            .iter()
            .map(|event| std::str::from_utf8(&event.data).unwrap())
            .collect()
    }

    #[test]
    fn every_line_end_and_every_cut_reads_alike() {
        let lines = [
            "\u{feff}: ping",
            "data: one",
            "",
            "id: 7",
            "event: error",
            "data:two",
            "data: ",
            "data: 2",
            "",
            "data: half",
        ];
        for end in ["\n", "\r\n", "\r"] {
            let stream = lines.join(end);
            for cut in 0..=stream.len() {
                let (head, tail) = stream.as_bytes().split_at(cut);
                let events = read(&[head, tail]);
                assert_eq!(data(&events), ["one", "two\n\n2"], "{end:?} cut at {cut}");
                assert_eq!(events[1].id.as_deref(), Some("7"));
                assert_eq!(events[1].event.as_deref(), Some("error"));
            }
        }
    }

    #[test]
    fn an_event_over_the_bound_is_an_error_and_not_memory() {
        let mut reader = Reader::new(8);
        assert_eq!(reader.feed(b"data: 12345678\n\n"), Ok(()));
        assert_eq!(
            reader.feed(b"data: 1234\ndata: 56789\n"),
            Err(TooLong { limit: 8 })
        );
        let mut reader = Reader::new(8);
        assert!(reader.feed(&[b'x'; 100]).is_err());
    }

    #[test]
    fn an_event_is_out_as_soon_as_its_blank_line_is_in() {
        for text in ["data: x\n\n", "data: x\r\r", "data: x\r\n\r"] {
            let mut reader = Reader::new(100);
            reader.feed(text.as_bytes()).unwrap();
            assert_eq!(reader.next_event(), Some(Event::of_data(b"x")), "{text:?}");
            for piece in [&b""[..], b"\n", b"data: y\n\n"] {
                assert!(reader.is_boundary());
                reader.feed(piece).unwrap();
            }
            assert_eq!(reader.next_event(), Some(Event::of_data(b"y")), "{text:?}");
        }
    }

    #[test]
    fn a_comment_is_no_event() {
        assert_eq!(read(&[&comment("still here\nevil: x")]), []);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(text in "[^\r]{0,200}", id in proptest::option::of("[a-z0-9]{1,9}"), cut in 0_usize..400) {
            let event = Event { id, event: None, data: Bytes::from(text) };
            let written = write(&event);
            let (head, tail) = written.split_at(cut.min(written.len()));
            prop_assert_eq!(read(&[head, tail]), [event]);
        }

        #[test]
        fn no_bytes_make_it_panic(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..64), 0..8)) {
            let mut reader = Reader::new(256);
            for piece in &pieces {
                if reader.feed(piece).is_err() {
                    break;
                }
            }
            while reader.next_event().is_some() {}
        }
    }
}
