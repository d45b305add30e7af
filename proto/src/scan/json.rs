//! A cursor over JSON text that checks everything and builds nothing.
//!
//! It owns the grammar of RFC 8259, as strict as serde_json; it never decides what a name means.
//!
//! # Invariants
//! - The text is UTF-8, checked once and whole, before the first step.
//! - Nesting is bounded by [`DEPTH`] and never uses the call stack.
//! - Each byte is looked at a constant number of times, long strings at the speed of memchr.

use std::borrow::Cow;

/// How deep arrays and objects may lie in each other: the bound of serde_json, with which an agent
/// behind us is likely to read.
const DEPTH: u8 = 127;

/// Up to this length a string is read byte by byte: a search that is set up costs more than it saves.
const NEAR: usize = 32;

/// What is wrong, and where.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Malformed {
    /// The byte at which it was seen.
    pub(super) at: usize,
    /// What is wrong.
    pub(super) what: &'static str,
}

/// What is inside the quotes of a string.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<'a> {
    raw: &'a str,
    escaped: bool,
}

impl<'a> Text<'a> {
    /// The string itself; only an escaped one is copied.
    pub(super) fn decode(self) -> Cow<'a, str> {
        if !self.escaped {
            return Cow::Borrowed(self.raw);
        }
        let mut out = String::with_capacity(self.raw.len());
        let mut rest = self.raw;
        while let Some((plain, escape)) = rest.split_once('\\') {
            out.push_str(plain);
            let (c, length) = unescape(escape.as_bytes()).unwrap_or(('\u{fffd}', 1));
            out.push(c);
            rest = escape.get(length..).unwrap_or_default();
        }
        out.push_str(rest);
        Cow::Owned(out)
    }
}

/// A value of which only a string matters.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Found<'a> {
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
pub(super) struct Cursor<'a> {
    text: &'a str,
    at: usize,
    depth: u8,
}

type Step<T = ()> = Result<T, Malformed>;

impl<'a> Cursor<'a> {
    /// Stands before the first byte.
    pub(super) fn new(body: &'a [u8]) -> Step<Self> {
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
    pub(super) fn peek(&mut self) -> Option<u8> {
        self.whitespace();
        self.byte()
    }

    /// The text between two positions.
    pub(super) fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    /// The position of the next value.
    pub(super) fn start(&mut self) -> usize {
        self.whitespace();
        self.at
    }

    /// Ends the text: nothing but whitespace may follow.
    pub(super) fn end(mut self) -> Step {
        match self.peek() {
            None => Ok(()),
            Some(_) => self.fail("trailing characters"),
        }
    }

    /// Walks through an object. `visit` stands before each member's value and must step over it.
    pub(super) fn members(&mut self, mut visit: impl FnMut(&mut Self, Text<'a>) -> Step) -> Step {
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

    /// Steps over a value that should be a string.
    pub(super) fn text(&mut self) -> Step<Found<'a>> {
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
    pub(super) fn skip(&mut self) -> Step {
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

/// Where the plain part of a string ends: at a quote, a backslash, a control character or the end.
fn plain_end(bytes: &[u8], from: usize) -> usize {
    let is_special = |byte: &u8| *byte < 0x20 || matches!(byte, b'"' | b'\\');
    let near = bytes.len().min(from + NEAR);
    if let Some(found) = bytes
        .get(from..near)
        .and_then(|s| s.iter().position(is_special))
    {
        return from + found;
    }
    let rest = bytes.get(near..).unwrap_or_default();
    let end = memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
    let plain = rest.get(..end).unwrap_or_default();
    // The least byte of a slice is found by vectors; where it lies is asked only when it is wrong.
    if plain.iter().fold(u8::MAX, |least, byte| least.min(*byte)) >= 0x20 {
        return near + end;
    }
    near + plain.iter().position(is_special).unwrap_or(end)
}

/// Reads what follows a backslash: the character, and how many bytes it took.
fn unescape(bytes: &[u8]) -> Option<(char, usize)> {
    let c = match bytes.first()? {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return unicode(bytes),
        _ => return None,
    };
    Some((c, 1))
}

/// `uXXXX`, or a pair of them for what lies beyond 16 bits; half a pair is no character.
fn unicode(bytes: &[u8]) -> Option<(char, usize)> {
    let first = hex4(bytes.get(1..5)?)?;
    if !(0xd800..0xdc00).contains(&first) {
        return char::from_u32(first).map(|c| (c, 5));
    }
    if bytes.get(5..7)? != br"\u" {
        return None;
    }
    let second = hex4(bytes.get(7..11)?)?;
    if !(0xdc00..0xe000).contains(&second) {
        return None;
    }
    char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)).map(|c| (c, 11))
}

fn hex4(bytes: &[u8]) -> Option<u32> {
    bytes.iter().try_fold(0, |sum, byte| {
        char::from(*byte).to_digit(16).map(|digit| sum << 4 | digit)
    })
}

#[cfg(test)]
mod tests;
