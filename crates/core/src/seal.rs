//! Texts that a router gives out and gets back, so that it need not remember what is in them.
//!
//! ```text
//! 1<key id>.<base64url of nonce (12) | ciphertext | tag (16)>
//! ```
//!
//! AES-256-GCM-SIV (RFC 8452) under a key of its own, made of the token key of that id. What the text is
//! for, and whom it belongs to, is authenticated with it and not in it. The nonce follows from the
//! content: one content has one text, and with this cipher a nonce that comes twice gives away no more
//! than that the contents are equal.
//!
//! # Invariants
//! - Nobody without the keys can read a text, change it, or use it for another purpose or owner.
//! - Every way in which a text can be wrong reads the same: it does not open.
//! - No text is longer than its purpose allows; opening a longer one costs nothing.
//! - The layout is wire format: agents keep such texts as long as their tasks live. A golden vector
//!   holds it still.

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use xxhash_rust::xxh3;

use crate::{fields::Fields, token::Keys};

/// Format and version; the key id and a dot follow.
const PREFIX: &str = "1";
/// Bytes of the tag (RFC 8452, 4).
const TAG: usize = 16;

/// What a sealed text is for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Purpose {
    /// Where a list over several members goes on.
    Cursor,
    /// Where notifications of an agent go, and whose they are.
    Push,
}

impl Purpose {
    /// The longest text, in bytes. A cursor has to fit into a query, a push address into a path that
    /// agents keep in columns of a table.
    #[must_use]
    pub const fn longest(self) -> usize {
        match self {
            Self::Cursor => 32 << 10,
            Self::Push => 4 << 10,
        }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Cursor => "cursor",
            Self::Push => "push",
        }
    }
}

/// A content that does not fit into a text.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("too long to be sealed: at most {longest} bytes of text")]
pub struct TooLong {
    /// The bound, in bytes of text.
    pub longest: usize,
}

/// Seals a content for an owner: the fields that whoever opens it must name again.
///
/// # Errors
/// [`TooLong`].
pub fn seal(
    keys: &Keys,
    purpose: Purpose,
    owner: &[&str],
    content: &[u8],
) -> Result<String, TooLong> {
    let longest = purpose.longest();
    let too_long = TooLong { longest };
    if content.len() > longest {
        return Err(too_long);
    }
    let (id, secret) = keys.enclosing();
    let bound = bound(purpose, owner);
    let nonce = nonce(secret, &bound, content);
    let mut sealed = Vec::with_capacity(NONCE_LEN + content.len() + TAG);
    sealed.extend_from_slice(content);
    let nonce_of = Nonce::assume_unique_for_key(nonce);
    let key = key(secret).ok_or(too_long)?;
    key.seal_in_place_append_tag(nonce_of, Aad::from(bound.bytes()), &mut sealed)
        .map_err(|_| too_long)?;
    sealed.splice(0..0, nonce);
    let mut text = String::from(PREFIX);
    text.push(char::from(id));
    text.push('.');
    BASE64_URL_SAFE_NO_PAD.encode_string(&sealed, &mut text);
    (text.len() <= longest).then_some(text).ok_or(too_long)
}

/// Opens a text; `None` for one that these keys did not seal for this purpose and owner.
#[must_use]
pub fn open(keys: &Keys, purpose: Purpose, owner: &[&str], text: &str) -> Option<Vec<u8>> {
    if text.len() > purpose.longest() {
        return None;
    }
    let (id, sealed) = text.strip_prefix(PREFIX)?.split_at_checked(1)?;
    let sealed = sealed.strip_prefix('.')?;
    let &[id] = id.as_bytes() else { return None };
    let secret = keys.enclosing_by(id)?;
    let mut sealed = BASE64_URL_SAFE_NO_PAD.decode(sealed).ok()?;
    let (nonce, content) = sealed.split_at_mut_checked(NONCE_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let bound = bound(purpose, owner);
    let opened = key(secret)?
        .open_in_place(nonce, Aad::from(bound.bytes()), content)
        .ok()?;
    Some(opened.to_vec())
}

/// Whether a text has the shape of a sealed one, be it ours or not.
#[must_use]
pub fn is_sealed(text: &str) -> bool {
    let rest = text.strip_prefix(PREFIX).and_then(|rest| rest.get(1..));
    rest.and_then(|rest| rest.strip_prefix('.'))
        .is_some_and(|rest| rest.len() > NONCE_LEN + TAG)
}

fn bound(purpose: Purpose, owner: &[&str]) -> Fields {
    let mut fields = Fields::new();
    fields.text(purpose.label());
    for field in owner {
        fields.text(field);
    }
    fields
}

/// Two contents with one nonce are no harm with this cipher; it only must not be the same for all.
fn nonce(secret: &[u8; 32], bound: &Fields, content: &[u8]) -> [u8; NONCE_LEN] {
    let mut fields = Fields::new();
    fields.fixed(secret).fixed(bound.bytes()).fixed(content);
    let hash = xxh3::xxh3_128(fields.bytes()).to_be_bytes();
    let mut nonce = [0; NONCE_LEN];
    nonce.copy_from_slice(&hash[..NONCE_LEN]);
    nonce
}

fn key(secret: &[u8; 32]) -> Option<LessSafeKey> {
    let key = UnboundKey::new(&AES_256_GCM_SIV, secret).ok()?;
    Some(LessSafeKey::new(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROTATED: &str = "slot_secret = \"000102030405060708090a0b0c0d0e0f\"\nmint = \"b\"\n\
        [[token]]\nid = \"a\"\nkey = \"101112131415161718191a1b1c1d1e1f\"\n\
        [[token]]\nid = \"b\"\nkey = \"202122232425262728292a2b2c2d2e2f\"\n";

    #[test]
    fn what_was_sealed_opens_for_the_same_purpose_and_owner_only() {
        let keys = Keys::development();
        let owner = ["shop", "acme"];
        for content in [&b""[..], b"x", &[7; 2000]] {
            let text = seal(&keys, Purpose::Push, &owner, content).unwrap();
            assert!(is_sealed(&text), "{text}");
            let open = |purpose, owner: &[&str]| open(&keys, purpose, owner, &text);
            assert_eq!(open(Purpose::Push, &owner).as_deref(), Some(content));
            assert_eq!(open(Purpose::Cursor, &owner), None);
            assert_eq!(open(Purpose::Push, &["shop", "other"]), None);
            assert_eq!(open(Purpose::Push, &["shop"]), None);
            assert_eq!(open(Purpose::Push, &["shopacme", ""]), None);
        }
    }

    #[test]
    fn no_changed_text_opens() {
        let keys = Keys::development();
        let text = seal(&keys, Purpose::Push, &["a"], b"https://example.com/hook").unwrap();
        for at in 0..text.len() {
            for other in ["A", "z", "0", "-", "."] {
                let mut changed = text.clone();
                changed.replace_range(at..=at, other);
                let opened = open(&keys, Purpose::Push, &["a"], &changed);
                assert_eq!(opened.is_some(), changed == text, "{at}: {changed}");
            }
            let cut = open(&keys, Purpose::Push, &["a"], text.get(..at).unwrap());
            assert_eq!(cut, None, "cut at {at}");
        }
        assert_eq!(
            open(&keys, Purpose::Push, &["a"], &format!("{text}A")),
            None
        );
    }

    #[test]
    fn an_old_key_opens_as_long_as_it_is_listed_and_a_foreign_one_never() {
        let both = Keys::parse(ROTATED).unwrap();
        let old = Keys::parse(&ROTATED.replace("mint = \"b\"", "mint = \"a\"")).unwrap();
        let text = seal(&old, Purpose::Cursor, &[], b"c").unwrap();
        assert!(text.starts_with("1a."), "{text}");
        assert_eq!(open(&both, Purpose::Cursor, &[], &text).unwrap(), b"c");
        assert!(
            seal(&both, Purpose::Cursor, &[], b"c")
                .unwrap()
                .starts_with("1b.")
        );
        let foreign = Keys::development();
        assert_eq!(open(&foreign, Purpose::Cursor, &[], &text), None);
        let swapped = text.replacen("1a.", "1b.", 1);
        assert_eq!(open(&both, Purpose::Cursor, &[], &swapped), None);
    }

    #[test]
    fn a_text_is_bounded_by_its_purpose() {
        let keys = Keys::development();
        let longest = Purpose::Push.longest();
        assert_eq!(
            seal(&keys, Purpose::Push, &[], &vec![1; longest]),
            Err(TooLong { longest })
        );
        assert!(seal(&keys, Purpose::Push, &[], &vec![1; longest / 2]).is_ok());
        assert_eq!(
            open(&keys, Purpose::Push, &[], &"1".repeat(longest + 1)),
            None
        );
    }

    #[test]
    fn the_layout_is_what_other_routers_write() {
        let keys = Keys::parse(ROTATED).unwrap();
        let text = seal(&keys, Purpose::Push, &["shop"], b"https://example.com/hook").unwrap();
        expect_test::expect![
            "1b.CjlUgysK5uyB7rgdbgrCgx6KyjtJ9ny7yH4tGTTGkN2TECZLdVyDHn5esUgOXrY26QEWTw"
        ]
        .assert_eq(&text);
    }
}
