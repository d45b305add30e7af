//! The vectors of RFC 8785, and what the SDKs make of real cards.

use serde_json::json;

use super::*;

fn whole(json: &str) -> String {
    String::from_utf8(payload(json.as_bytes(), Form::Whole).unwrap()).unwrap()
}

fn in_form(card: &Value, form: Form) -> Value {
    let bytes = payload(&serde_json::to_vec(card).unwrap(), form).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

/// RFC 8785, 3.2.2 with the expected bytes of 3.2.4.
#[test]
fn the_example_of_the_rfc_comes_out_as_its_bytes() {
    let given = r#"{
        "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
        "literals": [null, true, false]}"#;
    let expected = "7b 22 6c 69 74 65 72 61 6c 73 22 3a 5b 6e 75 6c 6c 2c 74 72 75 65 2c 66 61 6c \
        73 65 5d 2c 22 6e 75 6d 62 65 72 73 22 3a 5b 33 33 33 33 33 33 33 33 33 2e 33 33 33 33 33 \
        33 33 2c 31 65 2b 33 30 2c 34 2e 35 2c 30 2e 30 30 32 2c 31 65 2d 32 37 5d 2c 22 73 74 72 \
        69 6e 67 22 3a 22 e2 82 ac 24 5c 75 30 30 30 66 5c 6e 41 27 42 5c 22 5c 5c 5c 5c 5c 22 2f \
        22 7d";
    let got = whole(given)
        .bytes()
        .map(|byte| format!("{byte:02x}"))
        .collect::<Vec<_>>();
    assert_eq!(got, expected.split_whitespace().collect::<Vec<_>>());
}

/// RFC 8785, 3.2.3: names are compared as UTF-16, so the emoji comes before the Hebrew letter.
#[test]
fn names_are_sorted_by_their_utf_16_units() {
    let given = r#"{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh",
        "1":"One","\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control",
        "\u00f6":"Latin Small Letter O With Diaeresis"}"#;
    let got = whole(given);
    let order = [
        "Carriage Return",
        "One",
        "Control",
        "Latin Small",
        "Euro Sign",
        "Emoji",
        "Hebrew",
    ];
    let places: Vec<_> = order.map(|word| got.find(word).unwrap()).into();
    assert!(places.is_sorted(), "{got}");
}

/// RFC 8785, appendix B: the bits of a double and how it is written.
#[test]
fn numbers_are_written_as_ecmascript_writes_them() {
    for (bits, text) in [
        (0x0000_0000_0000_0000, "0"),
        (0x8000_0000_0000_0000, "0"),
        (0x0000_0000_0000_0001, "5e-324"),
        (0x8000_0000_0000_0001, "-5e-324"),
        (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
        (0xffef_ffff_ffff_ffff, "-1.7976931348623157e+308"),
        (0x4340_0000_0000_0000, "9007199254740992"),
        (0xc340_0000_0000_0000, "-9007199254740992"),
        (0x4430_0000_0000_0000, "295147905179352830000"),
        (0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22"),
        (0x44b5_2d02_c7e1_4af6, "1e+23"),
        (0x44b5_2d02_c7e1_4af7, "1.0000000000000001e+23"),
        (0x444b_1ae4_d6e2_ef4e, "999999999999999700000"),
        (0x444b_1ae4_d6e2_ef4f, "999999999999999900000"),
        (0x444b_1ae4_d6e2_ef50, "1e+21"),
        (0x3eb0_c6f7_a0b5_ed8c, "9.999999999999997e-7"),
        (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
        (0x41b3_de43_5555_5553, "333333333.3333332"),
        (0x41b3_de43_5555_5554, "333333333.33333325"),
        (0x41b3_de43_5555_5555, "333333333.3333333"),
        (0x41b3_de43_5555_5556, "333333333.3333334"),
        (0x41b3_de43_5555_5557, "333333333.33333343"),
        (0xbecb_f647_612f_3696_u64, "-0.0000033333333333333333"),
        (0x4314_3ff3_c1cb_0959, "1424953923781206.2"),
    ] {
        let number = serde_json::Number::from_f64(f64::from_bits(bits)).unwrap();
        let card = json!({ "n": number }).to_string();
        assert_eq!(whole(&card), format!("{{\"n\":{text}}}"), "{bits:x}");
    }
}

#[test]
fn signatures_are_never_part_of_what_is_signed() {
    let card = json!({"name": "x", "supportedInterfaces": [{"url": "http://a"}], "signatures": [{"signature": "s"}]});
    for form in Form::ALL {
        assert_eq!(in_form(&card, form).get("signatures"), None, "{form:?}");
    }
}

/// The specification's own example in 8.4.1, in the words of this test.
#[test]
fn the_specification_keeps_required_fields_that_are_empty_and_the_sdks_do_not() {
    let card = json!({
        "name": "x", "description": "", "version": "", "supportedInterfaces": [],
        "capabilities": {"streaming": false, "extensions": []}, "skills": [],
        "documentationUrl": "", "defaultInputModes": ["text/plain"], "defaultOutputModes": []
    });
    assert_eq!(
        in_form(&card, Form::Explicit),
        json!({
            "name": "x", "description": "", "version": "", "supportedInterfaces": [],
            "capabilities": {"streaming": false}, "skills": [],
            "documentationUrl": "", "defaultInputModes": ["text/plain"], "defaultOutputModes": []
        })
    );
    assert_eq!(
        in_form(&card, Form::Compact),
        json!({"name": "x", "capabilities": {"streaming": false}, "defaultInputModes": ["text/plain"]})
    );
}

#[test]
fn a_1_0_form_holds_no_field_that_1_0_does_not_know() {
    let card = json!({
        "name": "x", "url": "http://old", "preferredTransport": "JSONRPC", "x-own": 1,
        "supportedInterfaces": [{"url": "http://a", "protocolBinding": "JSONRPC", "protocolVersion": "1.0", "weight": 3}],
        "capabilities": {"extensions": [{"uri": "urn:e", "required": false,
            "params": {"keep": false, "zero": 0, "none": null, "list": [null, "", {}], "deep": {"a": ""}}}]}
    });
    assert_eq!(
        in_form(&card, Form::Compact),
        json!({
            "name": "x",
            "supportedInterfaces": [{"url": "http://a", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}],
            "capabilities": {"extensions": [{"uri": "urn:e", "params": {"keep": false, "zero": 0}}]}
        })
    );
}

#[test]
fn the_form_of_0_3_leaves_out_the_defaults_of_0_3() {
    let card = json!({
        "name": "x", "url": "http://a", "preferredTransport": "JSONRPC", "protocolVersion": "0.3.0",
        "skills": [], "supportsAuthenticatedExtendedCard": false,
        "securitySchemes": {"k": {"type": "apiKey", "in": "header", "name": "n"}}
    });
    assert_eq!(
        in_form(&card, Form::Legacy),
        json!({
            "name": "x", "url": "http://a", "supportsAuthenticatedExtendedCard": false,
            "securitySchemes": {"k": {"in": "header", "name": "n"}}
        })
    );
    assert_eq!(Form::for_signing(card.to_string().as_bytes()), Form::Legacy);
}

#[test]
fn what_a_signature_does_not_cover_is_named() {
    let card = json!({
        "name": "x", "description": "", "url": "http://other", "protocolVersion": "0.3.0",
        "supportsAuthenticatedExtendedCard": false, "a/b~c": 1,
        "supportedInterfaces": [{"url": "http://a", "protocolBinding": "JSONRPC", "weight": 3}],
        "signatures": [{"signature": "s"}]
    })
    .to_string();
    let covered = payload(card.as_bytes(), Form::Compact).unwrap();
    assert_eq!(
        uncovered(card.as_bytes(), &covered),
        [
            "/a~1b~0c",
            "/protocolVersion",
            "/supportedInterfaces/0/weight",
            "/url"
        ]
    );
    let whole = payload(card.as_bytes(), Form::Whole).unwrap();
    assert!(uncovered(card.as_bytes(), &whole).is_empty());
}

/// ProtoJSON knows a field by two names. The signature covers the one that was read last; a reader of
/// the other must be told.
#[test]
fn a_second_name_of_a_field_cannot_smuggle_an_address_past_the_signature() {
    let card = r#"{"supportedInterfaces":[{"url":"http://evil"}],"supported_interfaces":[{"url":"http://good"}]}"#;
    let covered = payload(card.as_bytes(), Form::Compact).unwrap();
    let named = uncovered(card.as_bytes(), &covered);
    assert!(
        named
            .iter()
            .any(|pointer| pointer.starts_with("/supportedInterfaces")),
        "{named:?}"
    );
}

#[test]
fn what_is_not_a_card_has_no_form_and_says_why() {
    for text in ["", "[]", "{", "7"] {
        for form in Form::ALL {
            let got = payload(text.as_bytes(), form);
            assert!(got.is_err(), "{text} {form:?} {got:?}");
        }
    }
    let odd = br#"{"name": 7}"#;
    assert!(matches!(
        payload(odd, Form::Compact),
        Err(CanonicalError::NotTheMessage(_))
    ));
    assert!(payload(odd, Form::Whole).is_ok());
}

proptest::proptest! {
    #[test]
    fn a_canonical_card_is_its_own_canonical_form(name in ".{0,20}", number in proptest::num::f64::NORMAL) {
        let card = json!({"name": name, "n": number}).to_string();
        let once = payload(card.as_bytes(), Form::Whole).unwrap();
        let twice = payload(&once, Form::Whole).unwrap();
        proptest::prop_assert_eq!(once, twice);
    }
}
