//! Verifying a card: whether one of its signatures was made by a key that the caller trusts, over what
//! the card says.
//!
//! One valid signature suffices (specification 8.4.3): the others may be for other verifiers, or by
//! keys that have been retired. Why each of them failed is told, since "it does not verify" helps
//! nobody who has to find out.
//!
//! # Invariants
//! - The algorithm comes from the caller's list and must be that of the key; the header only says
//!   which of those it is (RFC 8725 3.1).
//! - A header that demands what is not understood here (`crit`) fails (RFC 7515 4.1.11).
//! - A `jku` is never followed. [`key_sets`] names those that the caller allows, for it to fetch.
//! - At most [`MOST_SIGNATURES`] are tried, each against at most [`crate::keys::MOST_KEYS`] keys of a
//!   set.

use std::collections::BTreeSet;

use base64::{
    Engine,
    alphabet::URL_SAFE,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use jsonwebtoken::crypto;
use serde_json::{Map, Value};

use crate::{
    canonical::{self, Form},
    keys::{Algorithm, Key, Keys, numeric_date},
    sign::signing_input,
};

/// How many signatures of one card are tried.
pub const MOST_SIGNATURES: usize = 16;

/// By how much clocks may differ, in seconds, before a date that has not come yet is held against a
/// signature. RFC 7519 4.1.5 speaks of "a few minutes at most".
pub(crate) const LEEWAY: u64 = 60;

/// Which signature holds, and what it says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Verified {
    /// The name of the key that made it.
    pub key_id: String,
    /// The algorithm.
    pub algorithm: Algorithm,
    /// What of the card it covers.
    pub form: Form,
    /// JSON pointers of what it does not cover. Whoever carried the card may have written those:
    /// nothing that matters may be read from them.
    pub uncovered: Vec<String>,
    /// Those before it that do not hold.
    pub refused: Vec<Refusal>,
    payload: Vec<u8>,
}

impl Verified {
    /// The card as it was signed: a JSON object that can be read as a card, without anything that the
    /// signature does not cover.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }
}

/// Why a card does not verify.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refused {
    /// It is not a JSON object.
    #[error("the card is not a JSON object")]
    NotACard,
    /// It carries no signature.
    #[error("the card is not signed")]
    Unsigned,
    /// It carries some, and none holds.
    #[error("no signature holds: {}", list(.0))]
    NoneHolds(Vec<Refusal>),
}

/// Why one signature does not hold.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// Its place in `signatures`.
    pub index: usize,
    /// The key that it names.
    pub key_id: Option<String>,
    /// Why.
    pub reason: Reason,
}

/// What is wrong with a signature.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Reason {
    /// It is not written as a JWS.
    #[error("not a signature: {0}")]
    Malformed(&'static str),
    /// An algorithm that is not allowed, `none` among them.
    #[error("the algorithm {0} is not allowed")]
    Algorithm(String),
    /// The header demands an extension that is not known here.
    #[error("it demands an extension of JWS that is not known here")]
    Critical,
    /// No key is named.
    #[error("it names no key")]
    NoKeyId,
    /// The key is not among those trusted.
    #[error("its key is not trusted")]
    UnknownKey,
    /// The key is not among those trusted, and is said to be in a key set that is not allowed.
    #[error("its key is in the key set {0}, which is not allowed")]
    ForeignKeySet(String),
    /// The key is of another kind than the algorithm.
    #[error("its key is not for {0}")]
    Misfit(Algorithm),
    /// The key is not valid any more, was revoked, or is not valid yet.
    #[error("its key is not valid at this time")]
    KeyTime,
    /// The signature itself is not valid any more, or not yet.
    #[error("it is not valid at this time")]
    Time,
    /// Signature, key and card do not belong together: something was changed, or another key signed.
    #[error("it does not belong to this card and key")]
    Mismatch,
    /// Signature, key and notification do not belong together, in the same way.
    #[error("it does not belong to this body and key")]
    Body,
    /// The notification was for another address.
    #[error("it is for another receiver")]
    Receiver,
    /// There are more signatures than are tried.
    #[error("it is beyond the first {MOST_SIGNATURES}")]
    TooMany,
}

/// Checks the signatures of a card. `algorithms` are those that the caller allows, `now_seconds` is
/// the time since 1970.
///
/// # Errors
/// [`Refused`] when none of them holds.
pub fn verify(
    card: &[u8],
    keys: &Keys,
    algorithms: &[Algorithm],
    now_seconds: u64,
) -> Result<Verified, Refused> {
    let signatures = signatures(card)?;
    let payloads = Form::ALL.map(|form| (form, canonical::payload(card, form).ok()));
    let mut refused = Vec::new();
    for (index, entry) in signatures.iter().enumerate() {
        let attempt = Attempt {
            keys,
            algorithms,
            now_seconds,
            payloads: &payloads,
        };
        let outcome = match Jws::of(entry) {
            _ if index >= MOST_SIGNATURES => Err((None, Reason::TooMany)),
            Ok(jws) => attempt
                .check(&jws)
                .map_err(|reason| (text(&jws.header, "kid").map(str::to_owned), reason)),
            Err(reason) => Err((None, reason)),
        };
        match outcome {
            Ok(held) => {
                return Ok(Verified {
                    key_id: held.key_id,
                    algorithm: held.algorithm,
                    form: held.form,
                    uncovered: canonical::uncovered(card, held.payload),
                    refused,
                    payload: held.payload.to_vec(),
                });
            }
            Err((key_id, reason)) => refused.push(Refusal {
                index,
                key_id,
                reason,
            }),
        }
        if index >= MOST_SIGNATURES {
            break;
        }
    }
    Err(Refused::NoneHolds(refused))
}

/// The URLs of key sets that a card's signatures name and the caller allows, for it to fetch and add
/// with [`Keys::add_set`]. Compared by the letter: a URL that is only like an allowed one is another.
#[must_use]
pub fn key_sets(card: &[u8], allowed: &[String]) -> Vec<String> {
    let signatures = signatures(card).unwrap_or_default();
    let named: BTreeSet<_> = signatures
        .iter()
        .take(MOST_SIGNATURES)
        .filter_map(|entry| Some(text(&Jws::of(entry).ok()?.header, "jku")?.to_owned()))
        .collect();
    named
        .into_iter()
        .filter(|url| allowed.contains(url))
        .collect()
}

/// One signature, and all that it may be over, each with the name of its form.
pub(crate) struct Attempt<'a, F> {
    pub(crate) keys: &'a Keys,
    pub(crate) algorithms: &'a [Algorithm],
    pub(crate) now_seconds: u64,
    pub(crate) payloads: &'a [(F, Option<Vec<u8>>)],
}

/// A signature that holds.
pub(crate) struct Held<'a, F> {
    pub(crate) key_id: String,
    pub(crate) algorithm: Algorithm,
    form: F,
    payload: &'a [u8],
}

impl<'a, F: Copy> Attempt<'a, F> {
    pub(crate) fn check(&self, jws: &Jws<'_>) -> Result<Held<'a, F>, Reason> {
        let named = text(&jws.header, "alg").unwrap_or_default();
        let algorithm = Algorithm::from_name(named)
            .filter(|algorithm| self.algorithms.contains(algorithm))
            .ok_or_else(|| Reason::Algorithm(shortened(named)))?;
        if jws.header.contains_key("crit") {
            return Err(Reason::Critical);
        }
        let signature = jws.signature.map_err(Reason::Malformed)?;
        let id = text(&jws.header, "kid").ok_or(Reason::NoKeyId)?;
        self.check_time(&jws.header)?;
        let key_set = text(&jws.header, "jku");
        let mut reason = match key_set {
            Some(url) if !self.keys.has_set(url) => Reason::ForeignKeySet(shortened(url)),
            Some(_) | None => Reason::UnknownKey,
        };
        // Each key that could be it is tried; the reason of the one that came furthest is told.
        for key in self.keys.candidates(id, key_set) {
            match self.check_key((jws.protected, signature), key, algorithm) {
                Ok((form, payload)) => {
                    return Ok(Held {
                        key_id: id.to_owned(),
                        algorithm,
                        form,
                        payload,
                    });
                }
                Err(new) if reason != Reason::Mismatch => reason = new,
                Err(_) => {}
            }
        }
        Err(reason)
    }

    fn check_key(
        &self,
        (protected, signature): (&str, &str),
        key: &Key,
        algorithm: Algorithm,
    ) -> Result<(F, &'a [u8]), Reason> {
        if !key.fits(algorithm) {
            return Err(Reason::Misfit(algorithm));
        }
        let valid = key.validity();
        let has_begun = valid.from.is_none_or(|from| self.has_begun(from));
        if !has_begun || valid.until.is_some_and(|until| self.now_seconds >= until) {
            return Err(Reason::KeyTime);
        }
        let holds = |payload: &[u8]| {
            let input = signing_input(protected, payload);
            crypto::verify(signature, input.as_bytes(), key.decoding(), algorithm.jwa())
                .unwrap_or(false)
        };
        self.payloads
            .iter()
            .filter_map(|(form, payload)| Some((*form, payload.as_deref()?)))
            .find(|(_, payload)| holds(payload))
            .ok_or(Reason::Mismatch)
    }

    /// `nbf` and `exp` may stand in a protected header (RFC 7519 5.3); who put them there means them.
    fn check_time(&self, header: &Map<String, Value>) -> Result<(), Reason> {
        let time = |name: &str| match header.get(name) {
            None => Ok(None),
            Some(time) => numeric_date(time).map(Some).ok_or(Reason::Time),
        };
        let has_begun = time("nbf")?.is_none_or(|from| self.has_begun(from));
        let has_ended = time("exp")?.is_some_and(|until| self.now_seconds >= until);
        if has_begun && !has_ended {
            Ok(())
        } else {
            Err(Reason::Time)
        }
    }

    const fn has_begun(&self, from: u64) -> bool {
        self.now_seconds.saturating_add(LEEWAY) >= from
    }
}

/// An entry of `signatures`, taken apart.
pub(crate) struct Jws<'a> {
    protected: &'a str,
    pub(crate) header: Map<String, Value>,
    /// In base64url; else why not. The header is judged before it: under `none` there is none.
    pub(crate) signature: Result<&'a str, &'static str>,
}

/// base64url without padding (RFC 7515 2); padding is not held against a signer.
const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl<'a> Jws<'a> {
    pub(crate) fn of(entry: &'a Value) -> Result<Self, Reason> {
        let field = |name| entry.get(name).and_then(Value::as_str);
        let protected = field("protected").ok_or(Reason::Malformed("no protected header"))?;
        let header = BASE64URL
            .decode(protected)
            .map_err(|_| Reason::Malformed("the protected header is not base64url"))?;
        let header = serde_json::from_slice(&header)
            .map_err(|_| Reason::Malformed("the protected header is not a JSON object"))?;
        let signature = match field("signature").map(|text| text.trim_end_matches('=')) {
            None | Some("") => Err("no signature"),
            Some(text) if BASE64URL.decode(text).is_err() => Err("the signature is not base64url"),
            Some(text) => Ok(text),
        };
        Ok(Self {
            protected,
            header,
            signature,
        })
    }
}

fn signatures(card: &[u8]) -> Result<Vec<Value>, Refused> {
    let Ok(Value::Object(mut fields)) = serde_json::from_slice(card) else {
        return Err(Refused::NotACard);
    };
    match fields.remove("signatures") {
        Some(Value::Array(list)) if !list.is_empty() => Ok(list),
        _ => Err(Refused::Unsigned),
    }
}

pub(crate) fn text<'a>(header: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    header
        .get(name)
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty())
}

/// What is repeated to people of what a stranger wrote.
fn shortened(text: &str) -> String {
    let plain = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().take(200).map(plain).collect()
}

fn list(refusals: &[Refusal]) -> String {
    let each = |refusal: &Refusal| match &refusal.key_id {
        Some(id) => format!("{} ({}): {}", refusal.index, shortened(id), refusal.reason),
        None => format!("{}: {}", refusal.index, refusal.reason),
    };
    refusals.iter().map(each).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests;
