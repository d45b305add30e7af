//! Reads the keys file described at [`Keys`].
//!
//! # Invariants
//! - No error quotes the file: a misplaced secret must not reach a log. Where the TOML parser would
//!   quote, only its line number is kept.

use serde::{Deserialize, Deserializer};

use super::{BLOCK, KEYS_MAX, Keys, Origin, TokenKey, slot_secret};

/// Why a keys file cannot be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// Not TOML, or not these fields, or a value that is not a string.
    #[error(
        "line {line}: expected `slot_secret`, optionally `mint`, then [[token]] tables with `id` and \
         `key`, all of them strings"
    )]
    Format {
        /// Where it goes wrong, from 1.
        line: usize,
    },
    /// The slot secret is not 16 bytes in hexadecimal.
    #[error("`slot_secret` is not 32 hexadecimal digits; `openssl rand -hex 16` makes some")]
    SlotSecret,
    /// A token key is not 16 bytes in hexadecimal.
    #[error(
        "the key of [[token]] number {number} is not 32 hexadecimal digits; `openssl rand -hex 16` \
         makes some"
    )]
    TokenKey {
        /// Which of the tables, from 1.
        number: usize,
    },
    /// A key id is not one character of the alphabet.
    #[error("the id of [[token]] number {number} is not one character of 0-9 A-Z a-z _ -")]
    KeyId {
        /// Which of the tables, from 1.
        number: usize,
    },
    /// Two keys with the same id: which of them opens could not be told.
    #[error("two [[token]] tables have the id {id:?}")]
    KeyIdTwice {
        /// The id.
        id: char,
    },
    /// No key that could seal.
    #[error("there is no [[token]] table: nothing could seal an id")]
    NoToken,
    /// `mint` names a key that is not there.
    #[error("`mint` names no id of a [[token]] table")]
    Mint,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    slot_secret: Text,
    mint: Option<Text>,
    #[serde(default)]
    token: Vec<Token>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Token {
    id: Text,
    key: Text,
}

/// A string without `Debug`.
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        String::deserialize(source).map(Self)
    }
}

pub(super) fn parse(text: &str) -> Result<Keys, Error> {
    let file: File = toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        let before = text.bytes().take(start);
        Error::Format {
            line: 1 + before.filter(|byte| *byte == b'\n').count(),
        }
    })?;
    let slots = hexadecimal(&file.slot_secret.0).ok_or(Error::SlotSecret)?;
    let mut tokens: Vec<TokenKey> = Vec::with_capacity(file.token.len().min(KEYS_MAX));
    for (token, number) in file.token.iter().zip(1..) {
        let &[id] = token.id.0.as_bytes() else {
            return Err(Error::KeyId { number });
        };
        if !(id.is_ascii_alphanumeric() || matches!(id, b'_' | b'-')) {
            return Err(Error::KeyId { number });
        }
        // The alphabet has 64 characters, so this bounds the number of keys as well.
        if tokens.iter().any(|known| known.id == id) {
            return Err(Error::KeyIdTwice { id: char::from(id) });
        }
        let key = hexadecimal(&token.key.0).ok_or(Error::TokenKey { number })?;
        tokens.push(TokenKey::new(id, &key));
    }
    let last = tokens.len().checked_sub(1).ok_or(Error::NoToken)?;
    let newest = match file.mint {
        None => last,
        Some(mint) => tokens
            .iter()
            .position(|key| mint.0.as_bytes() == [key.id])
            .ok_or(Error::Mint)?,
    };
    Ok(Keys {
        slots: slot_secret(&slots),
        tokens,
        newest,
        origin: Origin::File,
    })
}

fn hexadecimal(text: &str) -> Option<[u8; BLOCK]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * BLOCK {
        return None;
    }
    let mut bytes = [0; BLOCK];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let &[high, low] = pair else { return None };
        let high = char::from(high).to_digit(16)?;
        let low = char::from(low).to_digit(16)?;
        *byte = u8::try_from(high * 16 + low).ok()?;
    }
    Some(bytes)
}
