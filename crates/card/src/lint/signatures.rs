//! Signatures as far as they can be judged without a key.

use serde_json::{Map, Value};

use super::{Report, Subject, Written, entries, quoted, text};
use crate::{
    canonical::{self, Form},
    keys::Algorithm,
    verify::{Jws, MOST_SIGNATURES, Reason},
};

pub(super) fn check(card: &Subject<'_>, report: &mut Report) {
    let Some(Value::Array(listed)) = card.fields.get("signatures") else {
        return;
    };
    if listed.is_empty() {
        report.note("/signatures", "it is empty: the card is not signed");
        return;
    }
    if listed.len() > MOST_SIGNATURES {
        let words = format!("only the first {MOST_SIGNATURES} are tried");
        report.warning("/signatures", words);
    }
    for (pointer, entry) in entries(card.fields, "", "signatures").take(MOST_SIGNATURES) {
        match Jws::of(entry) {
            Ok(jws) => {
                header(&format!("{pointer}/protected"), &jws.header, report);
                if let Err(why) = jws.signature {
                    report.error(pointer, why);
                }
            }
            Err(Reason::Malformed(why)) => report.error(pointer, why),
            Err(other) => report.error(pointer, other.to_string()),
        }
    }
    coverage(card, report);
}

fn header(pointer: &str, header: &Map<String, Value>, report: &mut Report) {
    match text(header, "alg") {
        None => report.error(pointer, "`alg` is required and missing"),
        Some("none") => report.error(pointer, "`none` is no signature: whoever sends it signs"),
        Some(name) if name.starts_with("HS") => {
            let words = format!("{name} is for a shared secret, and a card is for everybody");
            report.error(pointer, words);
        }
        Some(name) if Algorithm::from_name(name).is_none() => {
            let words = format!("the algorithm {} is not known here", quoted(name));
            report.warning(pointer, words);
        }
        Some(_) => {}
    }
    if text(header, "kid").is_none() {
        report.error(pointer, "`kid` is required and missing");
    }
    match text(header, "typ") {
        Some("JOSE") => {}
        Some(_) => report.note(pointer, "`typ` should be JOSE"),
        None => report.warning(
            pointer,
            "without a `typ`, the SDK for JavaScript refuses it",
        ),
    }
    if header.contains_key("crit") {
        report.warning(
            pointer,
            "`crit` demands an extension, which most verifiers refuse",
        );
    }
    if text(header, "jku").is_some_and(|url| !url.starts_with("https://")) {
        report.warning(
            pointer,
            "`jku` is not an https address: anybody on the way changes keys",
        );
    }
}

/// Where a signature does not say what its reader may think that it says.
fn coverage(card: &Subject<'_>, report: &mut Report) {
    if card.written == Written::For0_3 {
        return;
    }
    let payload = |form| canonical::payload(card.bytes, form);
    let (compact, explicit) = match (payload(Form::Compact), payload(Form::Explicit)) {
        (Ok(compact), Ok(explicit)) => (compact, explicit),
        (Err(why), _) | (_, Err(why)) => {
            report.error("/signatures", format!("nobody can verify them: {why}"));
            return;
        }
    };
    if compact != explicit {
        let words = "the card has fields that are required or set, and empty: the specification \
                     signs them, the SDKs do not, so that a signature holds for one of them only";
        report.warning("/signatures", words);
    }
    for pointer in canonical::uncovered(card.bytes, &compact) {
        let words = "no signature of 1.0 covers it: whoever carries the card may change it";
        report.warning(pointer, words);
    }
}
