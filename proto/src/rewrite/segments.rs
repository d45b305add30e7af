//! A body with some spans replaced: slices of what came, and the new texts between them.
//!
//! # Invariants
//! - Whatever no edit names is the very memory that came; nothing is copied to be passed on.
//! - Edits stand in the order of the body and never overlap.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

/// A body in pieces. One piece, when nothing was replaced.
#[derive(Clone, Debug, Default)]
pub struct Segments {
    parts: Vec<Bytes>,
    changed: bool,
}

impl From<Bytes> for Segments {
    /// A body as it came.
    fn from(body: Bytes) -> Self {
        Self {
            parts: vec![body],
            changed: false,
        }
    }
}

impl Segments {
    /// Whether this is the body as it came.
    #[must_use]
    pub const fn is_unchanged(&self) -> bool {
        !self.changed
    }

    /// Bytes of all pieces together.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum()
    }

    /// Whether there is not a byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.iter().all(Bytes::is_empty)
    }

    /// The pieces, in order.
    #[must_use]
    pub fn parts(&self) -> &[Bytes] {
        &self.parts
    }

    /// The whole as one: copied only where something was replaced.
    #[must_use]
    pub fn into_bytes(mut self) -> Bytes {
        match self.parts.as_mut_slice() {
            [] => Bytes::new(),
            [only] => std::mem::take(only),
            parts => {
                let mut whole = BytesMut::with_capacity(parts.iter().map(Bytes::len).sum());
                parts.iter().for_each(|part| whole.extend_from_slice(part));
                whole.freeze()
            }
        }
    }
}

impl IntoIterator for Segments {
    type Item = Bytes;
    type IntoIter = std::vec::IntoIter<Bytes>;

    fn into_iter(self) -> Self::IntoIter {
        self.parts.into_iter()
    }
}

/// What to replace by what.
#[derive(Debug, Default)]
pub(super) struct Edits {
    edits: Vec<Edit>,
    /// All new texts, end to end: one allocation for a body.
    text: BytesMut,
}

#[derive(Debug)]
struct Edit {
    cut: Range<usize>,
    put: Range<usize>,
}

/// A place kept for a length that is known only after what it counts.
#[derive(Debug)]
pub(super) struct Place {
    index: usize,
    cut: Range<usize>,
}

impl Edits {
    /// Replaces a span by bytes.
    pub(super) fn replace(&mut self, cut: Range<usize>, new: &[u8]) {
        let start = self.text.len();
        self.text.extend_from_slice(new);
        let put = start..self.text.len();
        self.edits.push(Edit { cut, put });
    }

    /// Replaces the inside of a JSON string.
    pub(super) fn replace_json(&mut self, cut: Range<usize>, new: &str) {
        let is_plain = |byte: u8| byte >= 0x20 && byte != b'"' && byte != b'\\';
        if new.bytes().all(is_plain) {
            return self.replace(cut, new.as_bytes());
        }
        let quoted = serde_json::Value::from(new).to_string();
        let inside = quoted.get(1..quoted.len() - 1).unwrap_or_default();
        self.replace(cut, inside.as_bytes());
    }

    /// Keeps a place for the length that stands at `cut` and counts what follows it.
    pub(super) fn keep_place(&mut self, cut: Range<usize>) -> Place {
        let index = self.edits.len();
        self.edits.push(Edit {
            cut: cut.start..cut.start,
            put: 0..0,
        });
        Place { index, cut }
    }

    /// Writes the length into its place, where edits after it have changed it. A length that stays is
    /// left as it was spelled.
    pub(super) fn fill_place(&mut self, place: &Place, before: usize) {
        let since = self.edits.get(place.index + 1..).unwrap_or_default();
        let (cut, put) = since.iter().fold((0, 0), |(cut, put), edit| {
            (cut + edit.cut.len(), put + edit.put.len())
        });
        if since.is_empty() {
            self.edits.truncate(place.index);
        } else if cut != put {
            let start = self.text.len();
            prost::encoding::encode_varint((before + put - cut) as u64, &mut self.text);
            let end = self.text.len();
            if let Some(edit) = self.edits.get_mut(place.index) {
                edit.cut = place.cut.clone();
                edit.put = start..end;
            }
        }
    }

    /// Moves every edit: `to` knows where a position of the text that was walked stands in the body.
    pub(super) fn translate(&mut self, to: impl Fn(usize) -> usize) {
        for edit in &mut self.edits {
            let start = to(edit.cut.start);
            edit.cut = start..start + edit.cut.len();
        }
    }

    /// Cuts the body.
    pub(super) fn apply(self, body: Bytes) -> Segments {
        if self.edits.is_empty() {
            return Segments::from(body);
        }
        let text = self.text.freeze();
        let mut parts = Vec::with_capacity(2 * self.edits.len() + 1);
        let mut kept = 0;
        for Edit { cut, put } in self.edits {
            if cut.is_empty() && put.is_empty() {
                continue;
            }
            if kept < cut.start {
                parts.push(body.slice(kept..cut.start));
            }
            if !put.is_empty() {
                parts.push(text.slice(put));
            }
            kept = cut.end;
        }
        if kept < body.len() {
            parts.push(body.slice(kept..));
        }
        Segments {
            parts,
            changed: true,
        }
    }
}
