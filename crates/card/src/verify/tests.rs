//! What holds, and every way in which it does not.

use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::*;
use crate::{
    keys::KeyError,
    sign::Signer,
    specimen::{CARD, Pair, pair},
};

const NOW: u64 = 1_800_000_000;

fn signer(of: &Pair, id: &str) -> Signer {
    Signer::from_pem(of.private.as_bytes(), id, None).unwrap()
}

fn trust(signers: &[&Signer]) -> Keys {
    Keys::of_signers(signers.iter().copied())
}

fn check(card: &[u8], keys: &Keys) -> Result<Verified, Refused> {
    verify(card, keys, &Algorithm::ALL, NOW)
}

fn reason(card: &[u8], keys: &Keys) -> Reason {
    match check(card, keys) {
        Err(Refused::NoneHolds(refusals)) => refusals.last().unwrap().reason.clone(),
        other => panic!("{other:?}"),
    }
}

/// The card with its first signature's header changed, and signed by nobody again.
fn with_header(card: &[u8], change: impl FnOnce(&mut Map<String, Value>)) -> Vec<u8> {
    let mut card: Value = serde_json::from_slice(card).unwrap();
    let mut jws = Jws::of(&card["signatures"][0]).unwrap();
    change(&mut jws.header);
    let protected = URL_SAFE_NO_PAD.encode(Value::Object(jws.header).to_string());
    card["signatures"][0]["protected"] = protected.into();
    card.to_string().into_bytes()
}

/// The card with one signature over a header of the test's own, honestly made.
fn signed_with(header: &Value, of: &Pair, algorithm: Algorithm) -> Vec<u8> {
    let key = match algorithm {
        Algorithm::Es256 => jsonwebtoken::EncodingKey::from_ec_pem(of.private.as_bytes()),
        _ => jsonwebtoken::EncodingKey::from_rsa_pem(of.private.as_bytes()),
    };
    let payload = canonical::payload(CARD.as_bytes(), Form::Compact).unwrap();
    let protected = URL_SAFE_NO_PAD.encode(header.to_string());
    let input = signing_input(&protected, &payload);
    let signature = crypto::sign(input.as_bytes(), &key.unwrap(), algorithm.jwa()).unwrap();
    let mut card: Value = serde_json::from_str(CARD).unwrap();
    card["signatures"] = json!([{"protected": protected, "signature": signature}]);
    card.to_string().into_bytes()
}

#[test]
fn a_card_verifies_with_the_key_that_signed_it_in_every_algorithm() {
    for algorithm in Algorithm::ALL {
        let of = pair(algorithm);
        let signer = Signer::from_pem(of.private.as_bytes(), "k1", Some(algorithm)).unwrap();
        let card = signer.sign(CARD.as_bytes()).unwrap();
        let verified = check(&card, &trust(&[&signer])).unwrap();
        assert_eq!(verified.key_id, "k1");
        assert_eq!(verified.algorithm, algorithm);
        assert_eq!(verified.form, Form::Compact);
        assert_eq!(verified.uncovered, [""; 0]);
        // So it does with the public key in PEM, which has no name.
        let by_pem = Keys::read(of.public.as_bytes()).unwrap();
        assert!(check(&card, &by_pem).is_ok(), "{algorithm}");
    }
}

#[test]
fn a_card_of_0_3_and_one_that_was_signed_to_the_letter_verify_too() {
    let of = pair(Algorithm::Es256);
    let signer = signer(&of, "k1");
    let old = br#"{"name":"x","url":"https://a.example","protocolVersion":"0.3.0","skills":[]}"#;
    let card = signer.sign(old).unwrap();
    let verified = check(&card, &trust(&[&signer])).unwrap();
    assert_eq!(verified.form, Form::Legacy);
    assert_eq!(verified.uncovered, ["/protocolVersion"]);

    let mut card: Value = serde_json::from_str(CARD).unwrap();
    card["description"] = json!("");
    let explicit = canonical::payload(card.to_string().as_bytes(), Form::Explicit).unwrap();
    let key = jsonwebtoken::EncodingKey::from_ec_pem(of.private.as_bytes()).unwrap();
    let protected = URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256","kid":"k1"}"#);
    let input = signing_input(&protected, &explicit);
    let signature = crypto::sign(input.as_bytes(), &key, Algorithm::Es256.jwa()).unwrap();
    card["signatures"] = json!([{"protected": protected, "signature": signature}]);
    let verified = check(card.to_string().as_bytes(), &trust(&[&signer])).unwrap();
    assert_eq!(verified.form, Form::Explicit);
}

#[test]
fn adding_a_signature_keeps_the_others_and_one_that_holds_suffices() {
    let (old, new) = (pair(Algorithm::Rs256), pair(Algorithm::EdDsa));
    let (old, new) = (signer(&old, "old"), signer(&new, "new"));
    let card = new.sign(&old.sign(CARD.as_bytes()).unwrap()).unwrap();
    assert_eq!(check(&card, &trust(&[&old])).unwrap().key_id, "old");
    let verified = check(&card, &trust(&[&new])).unwrap();
    assert_eq!(verified.key_id, "new");
    assert_eq!(
        verified.refused,
        [Refusal {
            index: 0,
            key_id: Some("old".to_owned()),
            reason: Reason::UnknownKey
        }]
    );
}

#[test]
fn a_change_anywhere_that_is_signed_is_found() {
    let signer = signer(&pair(Algorithm::Es256), "k1");
    let card = signer.sign(CARD.as_bytes()).unwrap();
    let text = String::from_utf8(card).unwrap();
    for (from, to) in [
        ("agents.example.com/clock", "agents.example.org/clock"),
        ("\"Clock\"", "\"clock\""),
        ("12.5", "12.6"),
        ("\"pushNotifications\":false", "\"pushNotifications\":true"),
        ("überall", "uberall"),
    ] {
        let changed = text.replace(from, to);
        assert_ne!(changed, text, "{from}");
        let got = reason(changed.as_bytes(), &trust(&[&signer]));
        assert_eq!(got, Reason::Mismatch, "{from}");
    }
}

#[test]
fn a_change_that_is_not_signed_is_named_and_not_in_what_was_verified() {
    let signer = signer(&pair(Algorithm::Es256), "k1");
    let mut card: Value = serde_json::from_slice(&signer.sign(CARD.as_bytes()).unwrap()).unwrap();
    card["url"] = json!("https://evil.example");
    let verified = check(card.to_string().as_bytes(), &trust(&[&signer])).unwrap();
    assert_eq!(verified.uncovered, ["/url"]);
    let covered: Value = serde_json::from_slice(verified.payload()).unwrap();
    assert_eq!(covered.get("url"), None);
    assert_eq!(covered["name"], "Clock");
}

#[test]
fn none_and_symmetric_algorithms_are_refused_whatever_they_are_signed_with() {
    let of = pair(Algorithm::Rs256);
    let signer = signer(&of, "k1");
    let keys = trust(&[&signer]);
    let card = signer.sign(CARD.as_bytes()).unwrap();
    for name in [
        "none", "None", "HS256", "HS512", "ES384", "RS1", "rs256", "",
    ] {
        let changed = with_header(&card, |header| {
            header.insert("alg".to_owned(), json!(name));
        });
        assert_eq!(reason(&changed, &keys), Reason::Algorithm(name.to_owned()));
    }
    // The old trick: the public key, which everybody has, as the secret of an HMAC.
    let payload = canonical::payload(CARD.as_bytes(), Form::Compact).unwrap();
    let protected = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","kid":"k1","typ":"JOSE"}"#);
    let secret = jsonwebtoken::EncodingKey::from_secret(of.public.as_bytes());
    let input = signing_input(&protected, &payload);
    let forged = crypto::sign(input.as_bytes(), &secret, jsonwebtoken::Algorithm::HS256).unwrap();
    let mut card: Value = serde_json::from_str(CARD).unwrap();
    card["signatures"] = json!([{"protected": protected, "signature": forged}]);
    let got = reason(
        card.to_string().as_bytes(),
        &Keys::read(of.public.as_bytes()).unwrap(),
    );
    assert_eq!(got, Reason::Algorithm("HS256".to_owned()));
}

#[test]
fn an_algorithm_that_the_caller_does_not_allow_is_refused() {
    let signer = signer(&pair(Algorithm::Rs256), "k1");
    let card = signer.sign(CARD.as_bytes()).unwrap();
    let got = verify(&card, &trust(&[&signer]), &[Algorithm::Es256], NOW);
    let Err(Refused::NoneHolds(refusals)) = got else {
        panic!("{got:?}");
    };
    assert_eq!(refusals[0].reason, Reason::Algorithm("RS256".to_owned()));
}

#[test]
fn an_algorithm_that_is_not_the_keys_own_is_refused() {
    let of = pair(Algorithm::Rs256);
    let rs256 = signer(&of, "k1");
    let header = json!({"alg": "PS256", "kid": "k1"});
    let card = signed_with(&header, &of, Algorithm::Ps256);
    assert_eq!(
        reason(&card, &trust(&[&rs256])),
        Reason::Misfit(Algorithm::Ps256)
    );
    let es256 = signer(&pair(Algorithm::Es256), "k1");
    assert_eq!(
        reason(&card, &trust(&[&es256])),
        Reason::Misfit(Algorithm::Ps256)
    );
}

#[test]
fn a_key_of_the_right_name_that_did_not_sign_is_a_mismatch_and_its_namesake_is_found() {
    let (one, other) = (pair(Algorithm::Es256), pair(Algorithm::Es256));
    let (one, other) = (signer(&one, "k1"), signer(&other, "k1"));
    let card = one.sign(CARD.as_bytes()).unwrap();
    assert_eq!(reason(&card, &trust(&[&other])), Reason::Mismatch);
    assert!(check(&card, &trust(&[&other, &one])).is_ok());
}

#[test]
fn a_foreign_key_set_is_not_believed_and_not_even_asked_for() {
    let thief = signer(&pair(Algorithm::Es256), "k1").published_at("https://evil.example/jwks");
    let card = thief.sign(CARD.as_bytes()).unwrap();
    let honest = signer(&pair(Algorithm::Es256), "other");
    assert_eq!(
        reason(&card, &trust(&[&honest])),
        Reason::ForeignKeySet("https://evil.example/jwks".to_owned())
    );
    let allowed = ["https://good.example/jwks".to_owned()];
    assert_eq!(key_sets(&card, &allowed), [""; 0]);
    // Neither do the keys of an allowed set speak for another set.
    let mut keys = Keys::default();
    keys.add_set("https://good.example/jwks", trust(&[&thief]));
    assert!(matches!(reason(&card, &keys), Reason::ForeignKeySet(_)));
}

#[test]
fn a_key_set_that_is_allowed_is_named_for_fetching_and_its_keys_verify() {
    let url = "https://good.example/jwks";
    let signer = signer(&pair(Algorithm::Es256), "k1").published_at(url);
    let card = signer.sign(CARD.as_bytes()).unwrap();
    assert_eq!(key_sets(&card, &[url.to_owned()]), [url]);
    let mut keys = Keys::default();
    keys.add_set(url, trust(&[&signer]));
    assert!(check(&card, &keys).is_ok());
    // A signature that names no set is not for a set's keys.
    let without = with_header(&card, |header| {
        header.remove("jku");
    });
    assert_eq!(reason(&without, &keys), Reason::UnknownKey);
}

#[test]
fn a_key_counts_in_its_time_only() {
    let signer = signer(&pair(Algorithm::Es256), "k1");
    let card = signer.sign(CARD.as_bytes()).unwrap();
    let set: Value = serde_json::from_slice(&trust(&[&signer]).to_jwks()).unwrap();
    let keys = |name: &str, at: u64| -> Result<Keys, KeyError> {
        let mut set = set.clone();
        set["keys"][0][name] = json!(at);
        Keys::read(set.to_string().as_bytes())
    };
    assert!(check(&card, &keys("exp", NOW + 1).unwrap()).is_ok());
    assert!(check(&card, &keys("nbf", NOW + LEEWAY).unwrap()).is_ok());
    assert_eq!(reason(&card, &keys("exp", NOW).unwrap()), Reason::KeyTime);
    let later = keys("nbf", NOW + LEEWAY + 1).unwrap();
    assert_eq!(reason(&card, &later), Reason::KeyTime);
}

#[test]
fn a_signature_that_names_its_own_time_counts_in_that_time_only() {
    let of = pair(Algorithm::Es256);
    let keys = trust(&[&signer(&of, "k1")]);
    let card = |name: &str, at: Value| {
        let header = json!({"alg": "ES256", "kid": "k1", name: at});
        signed_with(&header, &of, Algorithm::Es256)
    };
    assert!(check(&card("exp", json!(NOW + 1)), &keys).is_ok());
    for (name, at) in [
        ("exp", json!(NOW)),
        ("nbf", json!(NOW + LEEWAY + 1)),
        ("exp", json!("never")),
        ("exp", Value::Null),
    ] {
        assert_eq!(
            reason(&card(name, at.clone()), &keys),
            Reason::Time,
            "{name} {at}"
        );
    }
}

#[test]
fn a_header_that_demands_what_is_not_known_or_names_no_key_is_refused() {
    let of = pair(Algorithm::Es256);
    let keys = trust(&[&signer(&of, "k1")]);
    let demanding = json!({"alg": "ES256", "kid": "k1", "crit": ["b64"], "b64": false});
    let card = signed_with(&demanding, &of, Algorithm::Es256);
    assert_eq!(reason(&card, &keys), Reason::Critical);
    let card = signed_with(&json!({"alg": "ES256"}), &of, Algorithm::Es256);
    assert_eq!(reason(&card, &keys), Reason::NoKeyId);
}

#[test]
fn what_is_not_signed_or_not_a_card_or_not_a_signature_says_so() {
    let keys = Keys::default();
    assert_eq!(check(b"[]", &keys), Err(Refused::NotACard));
    assert_eq!(check(CARD.as_bytes(), &keys), Err(Refused::Unsigned));
    assert_eq!(
        check(br#"{"signatures":[]}"#, &keys),
        Err(Refused::Unsigned)
    );
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256","kid":"k"}"#);
    for (entry, words) in [
        (json!(7), "no protected header"),
        (json!({"protected": header}), "no signature"),
        (
            json!({"protected": "?", "signature": "AA"}),
            "the protected header is not base64url",
        ),
        (
            json!({"protected": "W10", "signature": "AA"}),
            "the protected header is not a JSON object",
        ),
        (
            json!({"protected": header, "signature": "?"}),
            "the signature is not base64url",
        ),
        (
            json!({"protected": header, "signature": ""}),
            "no signature",
        ),
    ] {
        let card = json!({"name": "x", "signatures": [entry]}).to_string();
        assert_eq!(reason(card.as_bytes(), &keys), Reason::Malformed(words));
    }
}

#[test]
fn a_card_with_signatures_without_end_is_not_tried_without_end() {
    let signer = signer(&pair(Algorithm::EdDsa), "k1");
    let mut card: Value = serde_json::from_slice(&signer.sign(CARD.as_bytes()).unwrap()).unwrap();
    let good = card["signatures"][0].clone();
    let mut list = vec![json!({"protected": "e30", "signature": "AA"}); MOST_SIGNATURES];
    list.push(good.clone());
    list.push(good);
    card["signatures"] = list.into();
    assert_eq!(
        reason(card.to_string().as_bytes(), &trust(&[&signer])),
        Reason::TooMany
    );
}

proptest::proptest! {
    #[test]
    fn no_signature_that_nobody_made_holds(protected in "[A-Za-z0-9_-]{0,40}", signature in "[A-Za-z0-9_-]{0,90}") {
        let signer = signer(&pair(Algorithm::EdDsa), "k1");
        let card = json!({"name": "x", "signatures": [{"protected": protected, "signature": signature}]});
        proptest::prop_assert!(check(card.to_string().as_bytes(), &trust(&[&signer])).is_err());
    }
}
