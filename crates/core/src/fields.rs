//! Fields laid end to end for hashing, each with its length in front, so that no two ways to split
//! the same bytes into fields hash alike.
//!
//! # Invariants
//! - The layout is wire format: routers that hash the same fields must write the same bytes. Only
//!   little-endian fixed-width integers, no `usize`, no `Hash` of the standard library.

/// Bytes that stay on the stack. A kind, an agent's name and a UUID or two need under 200.
const INLINE: usize = 256;

/// A buffer for one hash. Most fit on the stack; a longer one moves to the heap once.
pub(crate) struct Fields {
    inline: [u8; INLINE],
    used: usize,
    spilled: Vec<u8>,
}

impl Fields {
    pub(crate) const fn new() -> Self {
        Self {
            inline: [0; INLINE],
            used: 0,
            spilled: Vec::new(),
        }
    }

    /// Adds bytes of a width that both sides know.
    #[inline]
    pub(crate) fn fixed(&mut self, bytes: &[u8]) -> &mut Self {
        let end = self.used + bytes.len();
        if self.spilled.is_empty()
            && let Some(room) = self.inline.get_mut(self.used..end)
        {
            room.copy_from_slice(bytes);
            self.used = end;
            return self;
        }
        self.spill(bytes);
        self
    }

    /// Kept out of the way of the short fields, which are the many.
    #[cold]
    fn spill(&mut self, bytes: &[u8]) {
        if self.spilled.is_empty() {
            self.spilled.reserve(2 * INLINE + bytes.len());
            self.spilled.extend_from_slice(&self.inline[..self.used]);
        }
        self.spilled.extend_from_slice(bytes);
    }

    /// Adds bytes of any width, their length first.
    #[inline]
    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.fixed(&(text.len() as u64).to_le_bytes())
            .fixed(text.as_bytes())
    }

    /// Adds a text that may be unset. Unset and empty are the same, as on A2A's wires.
    pub(crate) fn optional(&mut self, text: Option<&str>) -> &mut Self {
        self.text(text.unwrap_or_default())
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        if self.spilled.is_empty() {
            &self.inline[..self.used]
        } else {
            &self.spilled
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_split_of_the_same_bytes_reads_as_another() {
        let of = |parts: &[&str]| {
            let mut fields = Fields::new();
            for part in parts {
                fields.text(part);
            }
            fields.bytes().to_vec()
        };
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_ne!(of(&["abc"]), of(&["abc", ""]));
        assert_ne!(of(&["", "abc"]), of(&["abc", ""]));
    }

    #[test]
    fn fields_that_leave_the_stack_keep_every_byte() {
        let long = "x".repeat(INLINE - 9);
        let mut fields = Fields::new();
        fields.text(&long).fixed(&[7]).fixed(&[8, 9]).text("end");
        let bytes = fields.bytes();
        assert_eq!(&bytes[8..8 + long.len()], long.as_bytes());
        assert_eq!(&bytes[8 + long.len()..8 + long.len() + 3], &[7, 8, 9]);
        assert!(bytes.ends_with(b"end"));
        assert_eq!(bytes.len(), 8 + long.len() + 3 + 8 + 3);
    }
}
