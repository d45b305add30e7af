//! Signatures of notifications: which hold, and why the others do not.

use super::*;
use crate::specimen::{CARD, pair};

const URL: &str = "https://hooks.example/a?b=c";
const BODY: &[u8] = br#"{"statusUpdate": {"taskId": "t", "n": 1.50}}"#;
const NOW: u64 = 1_800_000_000;

struct Scene {
    signer: Signer,
    keys: Keys,
}

impl Scene {
    fn new(algorithm: Algorithm) -> Self {
        let private = pair(algorithm).private;
        let signer = Signer::from_pem(private.as_bytes(), "k1", Some(algorithm)).unwrap();
        let keys = Keys::of_signers([&signer]);
        Self { signer, keys }
    }

    fn signed(&self) -> String {
        self.signer.sign_notice(BODY, URL, NOW).unwrap()
    }

    fn expected(&self) -> Expected<'_> {
        Expected {
            keys: &self.keys,
            algorithms: &Algorithm::ALL,
            url: URL,
            now_seconds: NOW + 10,
            window: WINDOW,
        }
    }
}

#[test]
fn what_was_signed_for_a_receiver_holds_there_with_every_algorithm() {
    for algorithm in Algorithm::ALL {
        let scene = Scene::new(algorithm);
        let held = verify(&scene.signed(), BODY, scene.expected()).unwrap();
        let (key_id, made) = ("k1".to_owned(), NOW);
        let expected = Held {
            key_id,
            algorithm,
            made,
        };
        assert_eq!(held, expected);
    }
}

#[test]
fn another_body_receiver_key_or_time_is_refused() {
    let scene = Scene::new(Algorithm::Es256);
    let (signed, expected) = (scene.signed(), scene.expected());
    let other = br#"{"statusUpdate":{"taskId":"t","n":1.5}}"#;
    assert_eq!(verify(&signed, other, expected), Err(Reason::Body));
    let elsewhere = Expected {
        url: "https://hooks.example/a",
        ..expected
    };
    assert_eq!(verify(&signed, BODY, elsewhere), Err(Reason::Receiver));
    let stranger = Scene::new(Algorithm::Es256);
    let signed_by_another = stranger.signed();
    let refused = verify(&signed_by_another, BODY, expected);
    assert_eq!(refused, Err(Reason::Body));
    let others = Expected {
        algorithms: &[Algorithm::EdDsa],
        ..expected
    };
    let refused = verify(&signed, BODY, others);
    assert_eq!(refused, Err(Reason::Algorithm("ES256".to_owned())));
    for now_seconds in [NOW - 61, NOW + WINDOW + 1] {
        let at = Expected {
            now_seconds,
            ..expected
        };
        assert_eq!(verify(&signed, BODY, at), Err(Reason::Time));
    }
    for now_seconds in [NOW - 60, NOW + WINDOW] {
        let at = Expected {
            now_seconds,
            ..expected
        };
        assert!(verify(&signed, BODY, at).is_ok());
    }
}

#[test]
fn a_signature_of_a_card_is_none_of_a_notification() {
    let scene = Scene::new(Algorithm::EdDsa);
    let card: serde_json::Value =
        serde_json::from_slice(&scene.signer.sign(CARD.as_bytes()).unwrap()).unwrap();
    let part = |name: &str| card["signatures"][0][name].as_str().unwrap().to_owned();
    let moved = format!("{}..{}", part("protected"), part("signature"));
    assert!(matches!(
        verify(&moved, CARD.as_bytes(), scene.expected()),
        Err(Reason::Malformed(_))
    ));
}

#[test]
fn what_is_no_detached_signature_is_refused_and_does_not_panic() {
    let scene = Scene::new(Algorithm::Es256);
    let signed = scene.signed();
    let attached = signed.replace("..", ".e30.");
    let long = "x".repeat(LONGEST + 1);
    for odd in ["", ".", "..", "a..b", "....", "\u{e4}..x", &attached, &long] {
        assert!(verify(odd, BODY, scene.expected()).is_err(), "{odd:.40}");
    }
}
