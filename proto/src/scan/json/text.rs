//! The inside of JSON strings: where they end, and what their escapes mean.

use std::borrow::Cow;

/// Up to this length a string is read word by word: a search that is set up costs more than it saves,
/// and in code or quoted speech the next escape is near.
pub(super) const NEAR: usize = 64;

/// What is inside the quotes of a string.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text<'a> {
    pub(super) raw: &'a str,
    pub(super) escaped: bool,
}

impl<'a> Text<'a> {
    /// The string as it stands there, escapes and all.
    pub(crate) const fn raw(self) -> &'a str {
        self.raw
    }

    /// The string itself; only an escaped one is copied.
    pub(crate) fn decode(self) -> Cow<'a, str> {
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

/// Where the plain part of a string ends: at a quote, a backslash, a control character or the end.
pub(super) fn plain_end(bytes: &[u8], from: usize) -> usize {
    let is_special = |byte: &u8| *byte < 0x20 || matches!(byte, b'"' | b'\\');
    let near = bytes.len().min(from + NEAR);
    let (words, tail) = bytes.get(from..near).unwrap_or_default().as_chunks();
    for (word, at) in words.iter().zip((from..).step_by(8)) {
        let special = specials(u64::from_le_bytes(*word));
        if special != 0 {
            return at + special.trailing_zeros() as usize / 8;
        }
    }
    if let Some(found) = tail.iter().position(is_special) {
        return near - tail.len() + found;
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

/// Marks the highest bit of each byte that ends the plain part of a string. A byte above the lowest
/// mark may be marked wrongly (a borrow reaches it), so that only the lowest counts.
const fn specials(word: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let quote = word ^ (EACH * b'"' as u64);
    let backslash = word ^ (EACH * b'\\' as u64);
    let control = word.wrapping_sub(EACH * 0x20) & !word;
    let quote = quote.wrapping_sub(EACH) & !quote;
    let backslash = backslash.wrapping_sub(EACH) & !backslash;
    (quote | backslash | control) & (EACH << 7)
}

/// Reads what follows a backslash: the character, and how many bytes it took.
pub(super) fn unescape(bytes: &[u8]) -> Option<(char, usize)> {
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
