//! The cursor and serde_json judge alike.

use std::borrow::Cow;

use proptest::prelude::*;
use serde_json::Value;

use super::{
    text::{NEAR, plain_end},
    *,
};

fn scan(body: &[u8]) -> Step {
    let mut cursor = Cursor::new(body)?;
    cursor.skip()?;
    cursor.end()
}

/// Whether serde_json takes it; `None` where it objects to a number's size, which is not our affair.
fn serde(body: &[u8]) -> Option<bool> {
    match serde_json::from_slice::<Value>(body) {
        Ok(_) => Some(true),
        Err(error) if error.to_string().contains("out of range") => None,
        Err(_) => Some(false),
    }
}

fn same(body: &[u8]) {
    if let Some(verdict) = serde(body) {
        assert_eq!(
            scan(body).is_ok(),
            verdict,
            "{:?}",
            String::from_utf8_lossy(body)
        );
    }
}

#[test]
fn the_grammar_is_that_of_serde_json() {
    for text in [
        "",
        " ",
        "{",
        "}",
        "[",
        "[1,]",
        "{,}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "[1 2]",
        "{]",
        "[}",
        "01",
        "-",
        "-0",
        "1.",
        ".5",
        "1e",
        "1e+",
        "1E-2",
        "0.1e5",
        "tru",
        "truex",
        "nulll",
        "true false",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u123g\"",
        "\"\\ud800\"",
        "\"\\ud800\\u0041\"",
        "\"\\udc00\"",
        "\"\\ud83d\\ude00\"",
        "\"\t\"",
        "\"\u{7f}\"",
        "\"",
        "\"\\",
        "'a'",
        "[[]]",
        "{\"a\":{\"b\":[]}}",
        "\u{feff}{}",
        "[1]]",
        "{\"a\" : [ 1 , { } ] }\n",
        "NaN",
        "+1",
        "\u{a0}1",
        "{1:2}",
        "{\"a\":1 \"b\":2}",
        "\"a\u{0}b\"",
    ] {
        same(text.as_bytes());
    }
    let long = format!("\"{}\u{1}{}\"", "x".repeat(100), "y".repeat(100));
    same(long.as_bytes());
    for bytes in [&b"\"\xff\""[..], b"\xff", b"{}\xff", b"\"\xc3\""] {
        same(bytes);
    }
}

#[test]
fn nesting_is_bounded_like_that_of_serde_json_and_never_overflows() {
    for depth in [126, 127, 128, 129, 100_000] {
        same(format!("{}{}", "[".repeat(depth), "]".repeat(depth)).as_bytes());
        same(format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth)).as_bytes());
    }
}

#[test]
fn an_escaped_string_is_decoded_and_a_plain_one_borrowed() {
    let decode = |body: &'static str| match Cursor::new(body.as_bytes()).unwrap().text().unwrap() {
        Found::Text(text) => text.decode(),
        Found::Unset | Found::Wrong => Cow::Borrowed("?"),
    };
    assert!(matches!(decode("\"plain é\""), Cow::Borrowed("plain é")));
    assert_eq!(decode(r#""a\u0049\n\"\\\/\ud83d\ude00é""#), "aI\n\"\\/😀é");
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[a-z\"\\\\\u{1}]{30,80}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn whatever_serde_json_writes_is_json(value in value()) {
        prop_assert_eq!(scan(value.to_string().as_bytes()), Ok(()));
        prop_assert_eq!(scan(serde_json::to_string_pretty(&value).unwrap().as_bytes()), Ok(()));
    }

    #[test]
    fn damage_is_seen_just_as_serde_json_sees_it(value in value(), at: prop::sample::Index, byte: u8) {
        let mut body = value.to_string().into_bytes();
        let at = at.index(body.len());
        body[at] = byte;
        same(&body);
        body.truncate(at);
        same(&body);
    }

    #[test]
    fn any_soup_of_json_letters_is_judged_alike(text in "[\\[\\]{}:,\"\\\\u0-9a-f.eE+\\- tfn]{0,12}") {
        same(text.as_bytes());
    }

    #[test]
    fn a_string_is_decoded_as_serde_json_decodes_it(text: String) {
        let body = serde_json::to_string(&text).unwrap();
        let mut cursor = Cursor::new(body.as_bytes()).unwrap();
        let decoded = match cursor.text().unwrap() {
            Found::Text(text) => text.decode().into_owned(),
            Found::Unset => String::new(),
            Found::Wrong => panic!("{body} is a string"),
        };
        prop_assert_eq!(decoded, text);
    }
}

#[test]
fn the_plain_part_of_a_string_ends_where_a_look_at_each_byte_says() {
    let is_special = |byte: &u8| *byte < 0x20 || matches!(byte, b'"' | b'\\');
    for fill in [b' ', b'!', b'#', b'[', b']', 0x7f, 0x80, 0xa2, 0xdc, 0xff] {
        for special in [0, 0x1f, b'"', b'\\'] {
            for at in 0..2 * NEAR {
                let mut bytes = vec![fill; at];
                bytes.extend([special, fill, special, b'"', fill]);
                for from in [0, 1, 7, at] {
                    let slow = bytes.iter().skip(from).position(is_special);
                    let slow = slow.map_or(bytes.len(), |found| from.min(bytes.len()) + found);
                    assert_eq!(
                        plain_end(&bytes, from),
                        slow,
                        "{fill} {special} {at} {from}"
                    );
                }
            }
        }
    }
}
