//! The signature of a push notification: a detached JWS (RFC 7515 appendix F) over the bytes of its body,
//! in a header of the request.
//!
//! The specification leaves it to who sends and who receives how a receiver is convinced (4.3.3 names
//! signatures as one way); this is ours. The protected header says, beside algorithm and key, that it is
//! of a notification (`typ`), when it was made (`iat`, Unix seconds) and for whom (`url`): a signature of
//! a card is none of a notification, and one for another receiver, or of yesterday, is refused.
//!
//! # Invariants
//! - The body is signed as it is sent: no canonical form, so a receiver checks the bytes that came.
//! - Each attempt is signed anew: its `iat` is when it was sent, not when the event happened.

use serde_json::{Map, json};

use crate::{
    keys::{Algorithm, Keys, numeric_date},
    sign::{SignError, Signer},
    verify::{Attempt, Jws, LEEWAY, Reason, text},
};

/// The request header that carries the signature, as `protected..signature`.
pub const HEADER: &str = "x-a2a-notification-signature";

/// What `typ` says.
const TYPE: &str = "a2a-notification";

/// The longest signature that is looked at, in bytes.
const LONGEST: usize = 8 << 10;

/// For how long after it was made a signature is good, in seconds, where a receiver has no rule of its own.
pub const WINDOW: u64 = 300;

impl Signer {
    /// The value of [`HEADER`] for a body that is sent to a URL at this time, in Unix seconds.
    ///
    /// # Errors
    /// [`SignError::Key`], where the key does not sign.
    pub fn sign_notice(
        &self,
        body: &[u8],
        url: &str,
        now_seconds: u64,
    ) -> Result<String, SignError> {
        let mut header = Map::new();
        header.insert("typ".to_owned(), json!(TYPE));
        header.insert("iat".to_owned(), json!(now_seconds));
        header.insert("url".to_owned(), json!(url));
        let (protected, signature) = self.detached(header, body)?;
        Ok(format!("{protected}..{signature}"))
    }
}

/// What a receiver holds a signature against.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// Whom it trusts.
    pub keys: &'a Keys,
    /// The algorithms that it allows.
    pub algorithms: &'a [Algorithm],
    /// Its own address, as the sender was given it.
    pub url: &'a str,
    /// The time, in Unix seconds.
    pub now_seconds: u64,
    /// For how many seconds a signature is good; [`WINDOW`], where nobody knows better.
    pub window: u64,
}

/// A signature that holds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Held {
    /// The name of the key that made it.
    pub key_id: String,
    /// The algorithm.
    pub algorithm: Algorithm,
    /// When it was made, in Unix seconds.
    pub made: u64,
}

/// Checks the signature of a body that came in, as it stands in [`HEADER`].
///
/// # Errors
/// [`Reason`], the first thing that is wrong with it.
pub fn verify(signature: &str, body: &[u8], expected: Expected<'_>) -> Result<Held, Reason> {
    if signature.len() > LONGEST {
        return Err(Reason::Malformed("it is too long"));
    }
    let parts: Vec<_> = signature.split('.').collect();
    let [protected, "", signature] = parts[..] else {
        return Err(Reason::Malformed("it is not PROTECTED..SIGNATURE"));
    };
    let entry = json!({"protected": protected, "signature": signature});
    let jws = Jws::of(&entry)?;
    if text(&jws.header, "typ") != Some(TYPE) {
        return Err(Reason::Malformed("it is not of a notification"));
    }
    let attempt = Attempt {
        keys: expected.keys,
        algorithms: expected.algorithms,
        now_seconds: expected.now_seconds,
        payloads: &[((), Some(body.to_vec()))],
    };
    let held = attempt.check(&jws).map_err(|reason| match reason {
        Reason::Mismatch => Reason::Body,
        reason => reason,
    })?;
    if text(&jws.header, "url") != Some(expected.url) {
        return Err(Reason::Receiver);
    }
    let made = jws.header.get("iat").and_then(numeric_date);
    let made = made.ok_or(Reason::Time)?;
    let (now, early) = (expected.now_seconds, made.saturating_sub(LEEWAY));
    if early > now || now > made.saturating_add(expected.window) {
        return Err(Reason::Time);
    }
    Ok(Held {
        key_id: held.key_id,
        algorithm: held.algorithm,
        made,
    })
}

#[cfg(test)]
mod tests;
