//! Entity tags of cards: one that signatures do not change, and the comparison that `If-None-Match`
//! asks for.
//!
//! Replicas of an agent may sign each answer anew, and ES256 gives another signature every time. A tag
//! over the signatures would never match; one without them says what matters, that the card is the
//! same. It is weak for that reason (RFC 9110 8.8.1): equal tags mean equal cards, not equal bytes.
//!
//! # Invariants
//! - The tag depends on neither the order of members, nor white space, nor how numbers and strings are
//!   written, nor `signatures`.

use std::fmt::Write as _;

use aws_lc_rs::digest;
use http::HeaderValue;

use crate::canonical::{self, Form};

/// The tag of a card; `None` for what is not a JSON object or has no canonical form.
#[must_use]
pub fn tag(card: &[u8]) -> Option<HeaderValue> {
    let canonical = canonical::payload(card, Form::Whole).ok()?;
    let mut tag = String::from("W/\"");
    for byte in digest::digest(&digest::SHA256, &canonical).as_ref() {
        // Writing into a string does not fail.
        write!(tag, "{byte:02x}").ok()?;
    }
    tag.push('"');
    HeaderValue::try_from(tag).ok()
}

/// Whether an `If-None-Match` names this tag, in the weak comparison that RFC 9110 13.1.2 wants.
/// What cannot be read matches nothing: the client then gets the card once more.
#[must_use]
pub fn none_match_hits(header: &HeaderValue, tag: &HeaderValue) -> bool {
    let Ok(mut rest) = header.to_str().map(str::trim_start) else {
        return false;
    };
    if rest.trim_end() == "*" {
        return true;
    }
    let Ok(own) = tag.to_str() else {
        return false;
    };
    let own = own.strip_prefix("W/").unwrap_or(own);
    // A tag may hold commas, so the list is walked by quotes.
    loop {
        rest = rest.trim_start_matches([',', ' ', '\t']);
        let opaque = rest.strip_prefix("W/").unwrap_or(rest);
        let Some((inside, after)) = opaque
            .strip_prefix('"')
            .and_then(|open| open.split_once('"'))
        else {
            return false;
        };
        if own.strip_prefix('"').and_then(|own| own.strip_suffix('"')) == Some(inside) {
            return true;
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(header: &str, tag: &str) -> bool {
        let value = |text: &str| HeaderValue::from_str(text).unwrap();
        none_match_hits(&value(header), &value(tag))
    }

    #[test]
    fn two_signings_of_one_card_have_one_tag_and_another_card_has_another() {
        let one = tag(br#"{"name":"x","n":1.0,"signatures":[{"signature":"a"}]}"#).unwrap();
        let same = tag(br#"{ "n": 1, "signatures": [{"signature":"b"}], "n\u0061me": "x" }"#);
        assert_eq!(Some(&one), same.as_ref());
        assert_ne!(Some(one), tag(br#"{"name":"y","n":1}"#));
    }

    #[test]
    fn a_tag_is_weak_and_as_long_as_its_hash() {
        let tag = tag(b"{}").unwrap();
        // SHA-256 of `{}`.
        assert_eq!(
            tag,
            "W/\"44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a\""
        );
    }

    #[test]
    fn what_is_not_an_object_has_no_tag() {
        for text in ["", "[]", "7", "{"] {
            assert_eq!(tag(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn if_none_match_compares_weakly_and_takes_lists() {
        assert!(hits("\"a\"", "W/\"a\""));
        assert!(hits("W/\"a\"", "\"a\""));
        assert!(hits("\"b\", W/\"a\"", "W/\"a\""));
        assert!(hits("\"with,comma\" , \"a\"", "W/\"a\""));
        assert!(hits(" * ", "W/\"a\""));
        assert!(!hits("\"b\", \"c\"", "W/\"a\""));
        assert!(!hits("a", "W/\"a\""));
        assert!(!hits("\"a", "W/\"a\""));
        assert!(!hits("", "W/\"a\""));
    }
}
