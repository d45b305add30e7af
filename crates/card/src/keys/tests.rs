//! Which keys are taken, from what they are read, and what is published of ours.

use serde_json::json;

use super::*;
use crate::specimen::{p384, pair};

fn published(algorithm: Algorithm) -> (Signer, Value) {
    let signer = Signer::from_pem(pair(algorithm).private.as_bytes(), "k1", Some(algorithm));
    let signer = signer.unwrap();
    let set = Keys::of_signers([&signer]).to_jwks();
    (signer, serde_json::from_slice(&set).unwrap())
}

fn with(set: &Value, name: &str, value: &Value) -> Result<Keys, KeyError> {
    let mut set = set.clone();
    set["keys"][0][name] = value.clone();
    Keys::read(set.to_string().as_bytes())
}

#[test]
fn a_published_set_is_read_back_as_the_same_keys_and_holds_nothing_private() {
    for algorithm in Algorithm::ALL {
        let (_, set) = published(algorithm);
        let fields = set["keys"][0].as_object().unwrap();
        assert_eq!(fields["kid"], "k1");
        assert_eq!(fields["alg"], algorithm.name());
        assert_eq!(fields["use"], "sig");
        for private in ["d", "p", "q", "dp", "dq", "qi", "k"] {
            assert!(!fields.contains_key(private), "{algorithm} {private}");
        }
        let read = Keys::read(set.to_string().as_bytes()).unwrap();
        assert_eq!(read.as_slice().len(), 1);
        assert!(read.as_slice()[0].fits(algorithm));
        assert_eq!(
            serde_json::from_slice::<Value>(&read.to_jwks()).unwrap(),
            set
        );
    }
}

#[test]
fn a_key_fits_the_algorithms_of_its_kind_and_only_its_own_where_it_names_one() {
    let fitting = |keys: &Keys| {
        let key = &keys.as_slice()[0];
        let fits = Algorithm::ALL.into_iter().filter(|each| key.fits(*each));
        fits.collect::<Vec<_>>()
    };
    let of_pem = |algorithm| fitting(&Keys::read(pair(algorithm).public.as_bytes()).unwrap());
    assert_eq!(of_pem(Algorithm::Es256), [Algorithm::Es256]);
    assert_eq!(of_pem(Algorithm::EdDsa), [Algorithm::EdDsa]);
    assert_eq!(
        of_pem(Algorithm::Rs256),
        [Algorithm::Rs256, Algorithm::Ps256]
    );
    let (_, set) = published(Algorithm::Ps256);
    let named = Keys::read(set.to_string().as_bytes()).unwrap();
    assert_eq!(fitting(&named), [Algorithm::Ps256]);
}

#[test]
fn a_private_key_in_pem_is_read_as_its_public_part() {
    for algorithm in Algorithm::ALL {
        let keys = Keys::read(pair(algorithm).private.as_bytes()).unwrap();
        assert!(keys.as_slice()[0].fits(algorithm));
        assert_eq!(keys.as_slice()[0].id(), None);
    }
}

#[test]
fn one_key_without_a_set_around_it_is_a_set_of_one() {
    let (_, set) = published(Algorithm::Es256);
    let keys = Keys::read(set["keys"][0].to_string().as_bytes()).unwrap();
    assert_eq!(keys.as_slice()[0].id(), Some("k1"));
}

#[test]
fn keys_that_cannot_verify_a_card_are_passed_over() {
    let (_, set) = published(Algorithm::Rs256);
    for (name, value) in [
        ("alg", json!("HS256")),
        ("alg", json!("RSA-OAEP")),
        ("use", json!("enc")),
        ("key_ops", json!(["sign"])),
        ("kty", json!("oct")),
    ] {
        let got = with(&set, name, &value).map(|keys| keys.as_slice().len());
        assert_eq!(got, Err(KeyError::NoneUsable), "{name} {value}");
    }
    let secret = json!({"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "k1", "alg": "HS256"}, set["keys"][0]]});
    let mixed = Keys::read(secret.to_string().as_bytes()).unwrap();
    assert_eq!(mixed.as_slice().len(), 1);
    assert_eq!(
        Keys::read(p384().public.as_bytes()).map(|_| ()),
        Err(KeyError::NoneUsable)
    );
}

#[test]
fn what_is_no_key_says_so() {
    for text in [
        "",
        "{}",
        "[]",
        "null",
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
    ] {
        let got = Keys::read(text.as_bytes()).map(|_| ());
        assert_eq!(got, Err(KeyError::Unreadable), "{text}");
    }
    assert_eq!(
        Keys::read(br#"{"keys": []}"#).map(|_| ()),
        Err(KeyError::NoneUsable)
    );
    let many = json!({"keys": vec![json!({}); MOST_KEYS + 1]}).to_string();
    assert_eq!(
        Keys::read(many.as_bytes()).map(|_| ()),
        Err(KeyError::TooMany)
    );
}

#[test]
fn a_key_signs_with_its_own_kind_of_algorithm_only() {
    for algorithm in Algorithm::ALL {
        let own = pair(algorithm);
        for wanted in Algorithm::ALL {
            let got = Signer::from_pem(own.private.as_bytes(), "k", Some(wanted));
            let both_rsa = [algorithm, wanted]
                .iter()
                .all(|each| matches!(each, Algorithm::Rs256 | Algorithm::Ps256));
            assert_eq!(
                got.is_ok(),
                wanted == algorithm || both_rsa,
                "{algorithm} {wanted}"
            );
        }
        let public = Signer::from_pem(own.public.as_bytes(), "k", None);
        assert_eq!(public.err(), Some(KeyError::Unsignable), "{algorithm}");
    }
    let other_curve = Signer::from_pem(p384().private.as_bytes(), "k", None);
    assert_eq!(other_curve.err(), Some(KeyError::Unsignable));
}

#[test]
fn a_time_that_cannot_be_read_and_a_revocation_close_a_key() {
    let (_, set) = published(Algorithm::Es256);
    let until = |name, value: &Value| with(&set, name, value).unwrap().as_slice()[0].validity();
    assert_eq!(until("exp", &json!(100)).until, Some(100));
    assert_eq!(until("exp", &json!(100.9)).until, Some(100));
    assert_eq!(until("nbf", &json!(100)).from, Some(100));
    assert_eq!(until("exp", &json!("tomorrow")).until, Some(0));
    assert_eq!(until("nbf", &json!(-1)).until, Some(0));
    let revoked = json!({"revoked_at": 5});
    assert_eq!(until("revoked", &revoked).until, Some(0));
    assert_eq!(until("revoked", &Value::Null), Validity::default());
}
