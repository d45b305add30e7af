//! Server-sent events as they stand on the wire: cut at their ends, ids replaced in their data.
//!
//! # Invariants
//! - What goes in comes out, byte for byte, but for ids: comments, `id:`, `event:`, line ends, the way
//!   in which data is broken into lines.
//! - An event is out as soon as its blank line is in, and a comment as soon as its line is: what keeps a
//!   stream alive is not held back.
//! - At most the bound is held.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::{Direction, Edits, IdMap, Segments, edits};
use crate::{dialect::Dialect, error::Problem, operation::Operation};

/// An event is over the bound.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("an event is longer than {limit} bytes")]
pub struct TooLong {
    /// The bound.
    pub limit: usize,
}

/// Cuts a stream of server-sent events at the ends of events.
#[derive(Debug)]
pub struct Events {
    limit: usize,
    held: BytesMut,
    /// Where in `held` the line begins that is being read.
    line: usize,
    /// How far that line has been searched for its end.
    searched: usize,
    /// Whether all lines before it are comments.
    only_comments: bool,
    /// The last line ended in CR, and a LF may still belong to it.
    after_cr: bool,
}

impl Events {
    /// For events of at most `limit` bytes, everything counted.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            held: BytesMut::new(),
            line: 0,
            searched: 0,
            only_comments: true,
            after_cr: false,
        }
    }

    /// Takes the next piece of the stream.
    pub fn feed(&mut self, piece: &[u8]) {
        self.held.extend_from_slice(piece);
    }

    /// The bytes up to the next end of an event, or of a comment where no more has come.
    ///
    /// # Errors
    /// [`TooLong`]; the stream can't be read any further then.
    pub fn next_piece(&mut self) -> Result<Option<Bytes>, TooLong> {
        if self.after_cr && self.line < self.held.len() {
            self.after_cr = false;
            if self.held.get(self.line) == Some(&b'\n') {
                self.line += 1;
                self.searched = self.line;
                if self.line == 1 {
                    return Ok(self.take());
                }
            }
        }
        while let Some(found) = memchr::memchr2(
            b'\n',
            b'\r',
            self.held.get(self.searched..).unwrap_or_default(),
        ) {
            let end = self.searched + found;
            let is_blank = end == self.line;
            let is_comment = self.held.get(self.line) == Some(&b':');
            let length = match self.held.get(end..end + 2) {
                Some(b"\r\n") => 2,
                _ => 1,
            };
            self.after_cr = length == 1 && self.held.get(end..) == Some(b"\r");
            self.line = end + length;
            self.searched = self.line;
            if is_blank {
                return Ok(self.take());
            }
            self.only_comments &= is_comment;
        }
        self.searched = self.held.len();
        if self.only_comments && self.line > 0 {
            return Ok(self.take());
        }
        if self.held.len() > self.limit {
            return Err(TooLong { limit: self.limit });
        }
        Ok(None)
    }

    /// What is left when the stream has ended: no whole event.
    #[must_use]
    pub fn rest(&mut self) -> Bytes {
        self.held.split().freeze()
    }

    fn take(&mut self) -> Option<Bytes> {
        let piece = self.held.split_to(self.line).freeze();
        self.searched = self.searched.saturating_sub(self.line);
        self.line = 0;
        self.only_comments = true;
        Some(piece)
    }
}

/// Replaces the ids in a piece that [`Events`] has cut.
///
/// # Errors
/// As [`super::rewrite`].
pub fn event(
    dialect: Dialect,
    operation: Operation,
    piece: Bytes,
    map: &mut impl IdMap,
) -> Result<Segments, Problem> {
    let data = data_lines(&piece);
    let edits = match data.as_slice() {
        [] => Edits::default(),
        [only] => {
            let text = piece.get(only.clone()).unwrap_or_default();
            let mut edits = edits(dialect, operation, Direction::Event, text, map)?;
            edits.translate(|at| at + only.start);
            edits
        }
        lines => {
            let mut joined = Vec::with_capacity(piece.len());
            // Where each line begins, in the joined text and in the piece.
            let mut begins = Vec::with_capacity(lines.len());
            for line in lines {
                begins.push((joined.len(), line.start));
                joined.extend_from_slice(piece.get(line.clone()).unwrap_or_default());
                joined.push(b'\n');
            }
            let mut edits = edits(dialect, operation, Direction::Event, &joined, map)?;
            // No string of JSON goes over the end of a line, and so no id does.
            edits.translate(|at| {
                let after = begins.partition_point(|(joined, _)| *joined <= at);
                let line = after.checked_sub(1).and_then(|line| begins.get(line));
                line.map_or(at, |(joined, begin)| begin + (at - joined))
            });
            edits
        }
    };
    Ok(edits.apply(piece))
}

/// The spans of the values of `data` lines.
fn data_lines(piece: &[u8]) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    let mut start = 0;
    while start < piece.len() {
        let rest = piece.get(start..).unwrap_or_default();
        let length = memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
        let line = rest.get(..length).unwrap_or_default();
        // The stream may begin with a byte order mark.
        let bare = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line);
        if let Some(value) = bare.strip_prefix(b"data:") {
            let value = value.strip_prefix(b" ").unwrap_or(value);
            let end = start + length;
            spans.push(end - value.len()..end);
        }
        start += length + 1;
    }
    spans
}
