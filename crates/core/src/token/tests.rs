//! Properties of the route token, and the golden vectors that hold its wire format still.

use expect_test::expect;
use proptest::prelude::*;

use super::*;

const OLD: &str = r#"
slot_secret = "000102030405060708090a0b0c0d0e0f"
[[token]]
id = "a"
key = "101112131415161718191a1b1c1d1e1f"
"#;

const ROTATED: &str = r#"
slot_secret = "000102030405060708090a0b0c0d0e0f"
[[token]]
id = "a"
key = "101112131415161718191a1b1c1d1e1f"
[[token]]
id = "B"
key = "202122232425262728292A2B2C2D2E2F"
"#;

const SOME: Route = Route {
    cell: Cell(0),
    slot: Slot(4711),
    incarnation: Incarnation(0xdead_beef),
    kind: Kind::Native,
    minted_hour: 498_000,
};

const KINDS: [Kind; 3] = [Kind::Native, Kind::Envelope, Kind::EnvelopeInContext];

prop_compose! {
    fn a_route()(cell: u16, slot: u16, incarnation: u32, kind in 0..KINDS.len(), hour in 0_u32..1 << 24) -> Route {
        Route {
            cell: Cell(cell),
            slot: Slot(slot),
            incarnation: Incarnation(incarnation),
            kind: KINDS[kind],
            minted_hour: hour,
        }
    }
}

proptest! {
    #[test]
    fn what_was_sealed_opens_and_is_the_same(
        route in a_route(), native in "[A-Za-z0-9._:-]{1,40}", tenant in prop::option::of(".{1,9}"),
    ) {
        let keys = Keys::development();
        let sealed = keys.seal(route, "desk", tenant.as_deref());
        let id = format!("{sealed}.{native}");
        let opened = keys.open(&id, "desk", tenant.as_deref());
        prop_assert_eq!(opened, Some(Opened { route, native: &native }));
    }

    #[test]
    fn any_other_character_in_the_token_makes_it_foreign(
        route in a_route(), at in 0_usize..26, to in "[ -~]",
    ) {
        let keys = Keys::development();
        let mut id = keys.seal(route, "desk", None);
        prop_assume!(id.get(at..=at) != Some(to.as_str()));
        id.replace_range(at..=at, &to);
        id.push_str(".native");
        prop_assert_eq!(keys.open(&id, "desk", None), None);
    }

    #[test]
    fn no_bit_of_the_block_can_be_flipped(route in a_route(), bit in 0_usize..128) {
        let keys = Keys::development();
        let key = &keys.tokens[0];
        let mut block = key.seal(route, "desk", None);
        block[bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(key.open(block, "desk", None), None);
    }

    #[test]
    fn no_text_is_dangerous_to_open(id in "(z1)?\\PC{0,40}") {
        let keys = Keys::development();
        prop_assert_eq!(keys.open(&id, "desk", None), None);
    }
}

#[test]
fn a_token_of_another_agent_or_tenant_is_foreign() {
    let keys = Keys::development();
    let id = format!("{}.n", keys.seal(SOME, "desk", Some("acme")));
    assert!(keys.open(&id, "desk", Some("acme")).is_some());
    assert_eq!(keys.open(&id, "planner", Some("acme")), None);
    assert_eq!(keys.open(&id, "desk", Some("acme2")), None);
    assert_eq!(keys.open(&id, "desk", None), None);
    // The two names together are the same bytes, the split is not.
    assert_eq!(keys.open(&id, "deska", Some("cme")), None);
}

#[test]
fn a_token_without_a_native_id_is_no_id() {
    let keys = Keys::development();
    let sealed = keys.seal(SOME, "desk", None);
    assert_eq!(sealed.len(), 26);
    assert_eq!(keys.open(&sealed, "desk", None), None);
    assert_eq!(keys.open(&format!("{sealed}."), "desk", None), None);
    assert_eq!(keys.open(&format!("{sealed}-n"), "desk", None), None);
}

#[test]
fn the_newest_key_mints_and_the_old_one_still_opens() {
    let old = Keys::parse(OLD).unwrap();
    let rotated = Keys::parse(ROTATED).unwrap();
    let before = format!("{}.n", old.seal(SOME, "desk", None));
    let after = format!("{}.n", rotated.seal(SOME, "desk", None));
    assert!(before.starts_with("z1a."), "{before}");
    assert!(after.starts_with("z1B."), "{after}");
    assert!(rotated.open(&before, "desk", None).is_some());
    assert!(rotated.open(&after, "desk", None).is_some());
    assert_eq!(old.open(&after, "desk", None), None);
    assert!(!rotated.is_development());
    assert!(Keys::development().is_development());
}

#[test]
fn a_rotation_can_hand_out_a_key_before_it_mints() {
    let waiting = Keys::parse(&format!("mint = \"a\"\n{ROTATED}")).unwrap();
    let id = waiting.seal(SOME, "desk", None);
    assert!(id.starts_with("z1a."), "{id}");
}

#[test]
fn as_many_keys_fit_as_there_are_key_ids() {
    let alphabet = (b'0'..=b'9').chain(b'A'..=b'Z').chain(b'a'..=b'z');
    let alphabet: Vec<u8> = alphabet.chain([b'_', b'-']).collect();
    assert_eq!(alphabet.len(), KEYS_MAX);
    let mut text = "slot_secret = \"000102030405060708090a0b0c0d0e0f\"\n".to_owned();
    for (number, id) in alphabet.iter().enumerate() {
        let id = char::from(*id);
        text += &format!("[[token]]\nid = \"{id}\"\nkey = \"{number:032x}\"\n");
    }
    let keys = Keys::parse(&text).unwrap();
    assert_eq!(keys.tokens.len(), KEYS_MAX);
}

#[test]
fn an_unusable_file_is_told_apart_and_never_quoted() {
    let secret = "slot_secret = \"000102030405060708090a0b0c0d0e0f\"\n";
    let token = |id: &str, key: &str| format!("[[token]]\nid = \"{id}\"\nkey = \"{key}\"\n");
    let good = "101112131415161718191a1b1c1d1e1f";
    let check = |text: String, expected: Error| {
        let error = Keys::parse(&text).unwrap_err();
        assert_eq!(error, expected);
        let told = format!("{error} {error:?}");
        assert!(!told.contains("1011"), "{told}");
    };
    check(token("a", good), Error::Format { line: 1 });
    check(
        format!("{secret}[[token]]\nid = \"a\"\nkey = 1011\n"),
        Error::Format { line: 4 },
    );
    check(
        format!("{secret}[[token]]\nid = \"a\"\nkey = \"1011\n"),
        Error::Format { line: 4 },
    );
    check(
        format!("{secret}colour = \"1011\"\n"),
        Error::Format { line: 2 },
    );
    check("slot_secret = \"1011\"\n".to_owned(), Error::SlotSecret);
    check(secret.to_owned(), Error::NoToken);
    check(
        format!("{secret}{}", token("a", "1011")),
        Error::TokenKey { number: 1 },
    );
    check(
        format!("{secret}{}", token("ab", good)),
        Error::KeyId { number: 1 },
    );
    check(
        format!("{secret}{}", token(".", good)),
        Error::KeyId { number: 1 },
    );
    let twice = format!("{secret}{}{}", token("a", good), token("a", good));
    check(twice, Error::KeyIdTwice { id: 'a' });
    check(
        format!("mint = \"z\"\n{secret}{}", token("a", good)),
        Error::Mint,
    );
}

#[test]
fn secrets_do_not_leave_by_debug() {
    let keys = Keys::parse(ROTATED).unwrap();
    expect![[r#"Keys { key_ids: "aB", mints: 'B', is_development: false, .. }"#]]
        .assert_eq(&format!("{keys:?}"));
    assert_eq!(format!("{:?}", keys.slots()), "SlotSecret(..)");
}

#[test]
fn a_kind_of_a_later_version_is_foreign() {
    let keys = Keys::development();
    let key = &keys.tokens[0];
    let mut plain = key.seal(SOME, "desk", None).into();
    key.cipher.decrypt_block(&mut plain);
    let mut plain: [u8; BLOCK] = plain.into();
    assert_eq!(plain[8], 1);
    plain[8] = 0x81;
    let check = key.check(&plain[..CHECKED], "desk", None);
    plain[CHECKED..].copy_from_slice(&check.to_be_bytes());
    let mut sealed = plain.into();
    key.cipher.encrypt_block(&mut sealed);
    assert_eq!(key.open(sealed.into(), "desk", None), None);
}

#[test]
fn each_life_of_each_worker_is_another() {
    let of = |worker: &str, boot: &str| incarnation(&WorkerId::new(worker), boot);
    assert_ne!(of("worker-1", "a"), of("worker-1", "b"));
    assert_ne!(of("worker-1", "a"), of("worker-2", "a"));
    assert_ne!(of("ab", "c"), of("a", "bc"));
    assert_ne!(of("", ""), Incarnation(0));
}

/// Changing any of these texts makes every id that clients hold foreign: their tasks are found by
/// lookup only, or not at all. A new layout takes a new prefix (`z2`), and routers open both for as
/// long as the longest task lives.
#[test]
fn golden_vectors_of_the_token() {
    let keys = Keys::parse(OLD).unwrap();
    expect!["z1a.3_aFejSoB44KVkNj8Jy9Lw"].assert_eq(&keys.seal(SOME, "desk", None));
    expect!["z1a.ckkfk8WGSEtVy0vZl8mWlQ"].assert_eq(&keys.seal(SOME, "desk", Some("acme")));
    expect!["z10.5yAZ4mvQuxh6cfWSqvjjCw"].assert_eq(&Keys::development().seal(SOME, "desk", None));
    let life = incarnation(
        &WorkerId::new("worker-1"),
        "0190163d-8694-739b-aea5-966c26f8ad91",
    );
    expect!["c394a6b9"].assert_eq(&format!("{:08x}", life.0));
    let life = third_party(&WorkerId::new("http://10.0.0.7:9000/"));
    expect!["56e25357"].assert_eq(&format!("{:08x}", life.0));
    for (kind, golden) in [
        (Kind::Envelope, expect!["z1a.XCZmyu-Jdfec4FmdWJNrMQ"]),
        (
            Kind::EnvelopeInContext,
            expect!["z1a.eZxD__9-EMHJ6qkf0d_SEQ"],
        ),
    ] {
        let envelope = Route {
            incarnation: life,
            kind,
            minted_hour: 0,
            ..SOME
        };
        golden.assert_eq(&keys.seal(envelope, "desk", None));
    }
}
