//! A cursor over JSON text that checks everything and builds nothing.
//!
//! It owns the grammar of RFC 8259, as strict as serde_json; it never decides what a name means.
//!
//! # Invariants
//! - The text is UTF-8, checked once and whole, before the first step.
//! - Nesting is bounded by [`DEPTH`] and never uses the call stack.
//! - Each byte is looked at a constant number of times, long strings at the speed of memchr.

mod text;

use text::{plain_end, unescape};

pub(crate) use text::Text;

/// How deep arrays and objects may lie in each other: the bound of serde_json, with which an agent
/// behind us is likely to read.
const DEPTH: u8 = 127;

/// What is wrong, and where.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Malformed {
    /// The byte at which it was seen.
    pub(crate) at: usize,
    /// What is wrong.
    pub(crate) what: &'static str,
}

/// A value of which only a string matters.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Found<'a> {
    /// Absent, `null` or `""`: one and the same in ProtoJSON.
    #[default]
    Unset,
    /// A string that is not empty.
    Text(Text<'a>),
    /// Something else.
    Wrong,
}

/// The cursor.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    text: &'a str,
    at: usize,
    depth: u8,
}

type Step<T = ()> = Result<T, Malformed>;

impl<'a> Cursor<'a> {
    /// Stands before the first byte.
    pub(crate) fn new(body: &'a [u8]) -> Step<Self> {
        match str::from_utf8(body) {
            Ok(text) => Ok(Self {
                text,
                at: 0,
                depth: 0,
            }),
            Err(error) => Err(Malformed {
                at: error.valid_up_to(),
                what: "invalid UTF-8",
            }),
        }
    }

    /// The first byte of the next value.
    pub(crate) fn peek(&mut self) -> Option<u8> {
        self.whitespace();
        self.byte()
    }

    /// The text between two positions.
    pub(crate) fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    /// The position of the next value.
    pub(crate) fn start(&mut self) -> usize {
        self.whitespace();
        self.at
    }

    /// Ends the text: nothing but whitespace may follow.
    pub(crate) fn end(mut self) -> Step {
        match self.peek() {
            None => Ok(()),
            Some(_) => self.fail("trailing characters"),
        }
    }

    /// Walks through an object. `visit` stands before each member's value and must step over it.
    pub(crate) fn members(&mut self, mut visit: impl FnMut(&mut Self, Text<'a>) -> Step) -> Step {
        self.expect(b'{')?;
        self.enter()?;
        if self.peek() == Some(b'}') {
            self.at += 1;
            self.depth -= 1;
            return Ok(());
        }
        loop {
            let key = self.key()?;
            visit(self, key)?;
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    self.depth -= 1;
                    return Ok(());
                }
                _ => return self.fail("expected `,` or `}`"),
            }
        }
    }

    /// Walks through an array. `visit` stands before each element and must step over it.
    pub(crate) fn elements(&mut self, mut visit: impl FnMut(&mut Self) -> Step) -> Step {
        if self.peek() != Some(b'[') {
            return self.fail("expected `[`");
        }
        self.at += 1;
        self.enter()?;
        if self.peek() == Some(b']') {
            self.at += 1;
            self.depth -= 1;
            return Ok(());
        }
        loop {
            self.whitespace();
            visit(self)?;
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    self.depth -= 1;
                    return Ok(());
                }
                _ => return self.fail("expected `,` or `]`"),
            }
        }
    }

    /// Steps over a value that should be a string.
    pub(crate) fn text(&mut self) -> Step<Found<'a>> {
        Ok(match self.peek() {
            Some(b'"') => {
                let text = self.string()?;
                if text.raw.is_empty() {
                    Found::Unset
                } else {
                    Found::Text(text)
                }
            }
            Some(b'n') => {
                self.scalar()?;
                Found::Unset
            }
            _ => {
                self.skip()?;
                Found::Wrong
            }
        })
    }

    /// Steps over any value.
    pub(crate) fn skip(&mut self) -> Step {
        let base = self.depth;
        // Bit n says that the container at depth n is an object.
        let mut objects = 0u128;
        loop {
            self.open(&mut objects)?;
            if self.close(base, objects)? {
                return Ok(());
            }
        }
    }

    /// Steps to the end of the next scalar or empty container, noting what is opened on the way.
    fn open(&mut self, objects: &mut u128) -> Step {
        loop {
            let (end, bit) = match self.peek() {
                Some(b'{') => (b'}', 1),
                Some(b'[') => (b']', 0),
                _ => return self.scalar(),
            };
            self.at += 1;
            self.enter()?;
            *objects = *objects & !(1 << self.depth) | (bit << self.depth);
            if self.peek() == Some(end) {
                self.at += 1;
                self.depth -= 1;
                return Ok(());
            }
            if bit == 1 {
                self.key()?;
            }
        }
    }

    /// After a value: closes what ends here. Whether the outermost value is done.
    fn close(&mut self, base: u8, objects: u128) -> Step<bool> {
        while self.depth > base {
            let is_object = objects >> self.depth & 1 == 1;
            match (self.peek(), is_object) {
                (Some(b','), _) => {
                    self.at += 1;
                    if is_object {
                        self.key()?;
                    }
                    return Ok(false);
                }
                (Some(b'}'), true) | (Some(b']'), false) => {
                    self.at += 1;
                    self.depth -= 1;
                }
                (_, true) => return self.fail("expected `,` or `}`"),
                (_, false) => return self.fail("expected `,` or `]`"),
            }
        }
        Ok(true)
    }

    fn scalar(&mut self) -> Step {
        match self.byte() {
            Some(b'"') => self.string().map(drop),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal("true"),
            Some(b'f') => self.literal("false"),
            Some(b'n') => self.literal("null"),
            Some(_) => self.fail("expected a value"),
            None => self.fail("unexpected end"),
        }
    }

    fn key(&mut self) -> Step<Text<'a>> {
        if self.peek() != Some(b'"') {
            return self.fail("expected a name");
        }
        let key = self.string()?;
        self.expect(b':')?;
        Ok(key)
    }

    /// Stands on the opening quote.
    fn string(&mut self) -> Step<Text<'a>> {
        let bytes = self.text.as_bytes();
        let start = self.at + 1;
        let (mut at, mut escaped) = (start, false);
        loop {
            at = plain_end(bytes, at);
            match bytes.get(at) {
                Some(b'"') => {
                    self.at = at + 1;
                    return Ok(Text {
                        raw: self.text.get(start..at).unwrap_or_default(),
                        escaped,
                    });
                }
                Some(b'\\') => {
                    escaped = true;
                    match bytes.get(at + 1..).and_then(unescape) {
                        Some((_, length)) => at += 1 + length,
                        None => {
                            return Err(Malformed {
                                at,
                                what: "invalid escape",
                            });
                        }
                    }
                }
                Some(_) => {
                    return Err(Malformed {
                        at,
                        what: "control character in a string",
                    });
                }
                None => {
                    return Err(Malformed {
                        at,
                        what: "unexpected end of a string",
                    });
                }
            }
        }
    }

    fn number(&mut self) -> Step {
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        match self.byte() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits()?,
            _ => return self.fail("invalid number"),
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.byte(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Step {
        let start = self.at;
        while matches!(self.byte(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start {
            return self.fail("invalid number");
        }
        Ok(())
    }

    fn literal(&mut self, word: &str) -> Step {
        let end = self.at + word.len();
        if self.text.as_bytes().get(self.at..end) != Some(word.as_bytes()) {
            return self.fail("expected a value");
        }
        self.at = end;
        Ok(())
    }

    fn expect(&mut self, byte: u8) -> Step {
        if self.peek() != Some(byte) {
            return self.fail(if byte == b':' {
                "expected `:`"
            } else {
                "expected `{`"
            });
        }
        self.at += 1;
        Ok(())
    }

    fn enter(&mut self) -> Step {
        if self.depth == DEPTH {
            return self.fail("nested too deep");
        }
        self.depth += 1;
        Ok(())
    }

    fn whitespace(&mut self) {
        while matches!(self.byte(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn fail<T>(&self, what: &'static str) -> Step<T> {
        Err(Malformed { at: self.at, what })
    }
}

#[cfg(test)]
mod tests;
