//! What is read of a card, and what a card says once it was given other places.

use serde_json::json;

use super::*;

const BOTH: &str = r#"{
    "name": "x", "provider": {"organization": "o", "x-unknown": [1, 2]},
    "supportedInterfaces": [
        {"url": "http://10.0.0.1/a", "protocolBinding": "JSONRPC", "protocolVersion": "1.0", "x-own": 1},
        {"url": "10.0.0.1:50", "protocolBinding": "GRPC", "protocolVersion": "1.0.1", "tenant": "t"},
        {"url": "slim://x", "protocolBinding": "https://example.com/slim", "protocolVersion": "9"}],
    "url": "http://10.0.0.1/old", "preferredTransport": "HTTP+JSON", "protocolVersion": "0.3.0",
    "additionalInterfaces": [{"url": "http://10.0.0.1/rpc", "transport": "JSONRPC"}],
    "signatures": [{"protected": "e30", "signature": "x"}]}"#;

fn card(text: &str) -> Card {
    Card::parse(text.as_bytes()).unwrap()
}

fn place(binding: Binding, version: Version, url: &str) -> Interface {
    Interface {
        binding: Some(binding),
        version: Some(version),
        url: url.to_owned(),
        tenant: None,
    }
}

fn told(card: &Card, places: &[Interface]) -> Value {
    let card = card.listening_at(places, Wording::Both);
    serde_json::from_slice(&card.to_bytes()).unwrap()
}

#[test]
fn places_of_both_versions_are_found_in_order() {
    let place = |binding, version, url: &str, tenant: Option<&str>| Interface {
        binding,
        version,
        url: url.to_owned(),
        tenant: tenant.map(str::to_owned),
    };
    let (v1, v03) = (Some(Version::V1_0), Some(Version::V0_3));
    assert_eq!(
        card(BOTH).interfaces(),
        [
            place(Some(Binding::JsonRpc), v1, "http://10.0.0.1/a", None),
            place(Some(Binding::Grpc), v1, "10.0.0.1:50", Some("t")),
            place(None, None, "slim://x", None),
            place(Some(Binding::Rest), v03, "http://10.0.0.1/old", None),
            place(Some(Binding::JsonRpc), v03, "http://10.0.0.1/rpc", None),
        ]
    );
}

#[test]
fn a_rewritten_card_shows_no_old_address_keeps_what_it_does_not_know_and_is_unsigned() {
    let places = [
        place(Binding::JsonRpc, Version::V0_3, "http://public/x"),
        place(Binding::JsonRpc, Version::V1_0, "http://public/x"),
        place(Binding::Grpc, Version::V1_0, "public:80"),
    ];
    let told = told(&card(BOTH), &places);
    let text = told.to_string();
    assert!(
        !text.contains("10.0.0.1") && !text.contains("slim"),
        "{text}"
    );
    assert!(told.get("signatures").is_none(), "{text}");
    assert_eq!(told["provider"]["x-unknown"], json!([1, 2]));
    // 1.0 first, whatever the order in which they were given; the agent's own entry is kept as it is.
    assert_eq!(
        told["supportedInterfaces"],
        json!([
            {"url": "http://public/x", "protocolBinding": "JSONRPC", "protocolVersion": "1.0", "x-own": 1},
            {"url": "public:80", "protocolBinding": "GRPC", "protocolVersion": "1.0.1"},
            {"url": "http://public/x", "protocolBinding": "JSONRPC", "protocolVersion": "0.3"},
        ])
    );
    assert_eq!(
        (
            &told["url"],
            &told["preferredTransport"],
            &told["protocolVersion"]
        ),
        (
            &json!("http://public/x"),
            &json!("JSONRPC"),
            &json!("0.3.0")
        )
    );
    assert_eq!(
        told["additionalInterfaces"],
        json!([{"url": "http://public/x", "transport": "JSONRPC"}])
    );
}

#[test]
fn without_a_place_of_0_3_nothing_at_the_top_tells_of_one() {
    let told = told(
        &card(BOTH),
        &[place(Binding::Rest, Version::V1_0, "http://public/x")],
    );
    for name in [
        "url",
        "preferredTransport",
        "additionalInterfaces",
        "protocolVersion",
    ] {
        assert!(told.get(name).is_none(), "{name}: {told}");
    }
}

#[test]
fn the_answer_to_a_call_has_the_words_of_its_version_only() {
    let places = [
        place(Binding::JsonRpc, Version::V1_0, "http://public/x"),
        place(Binding::JsonRpc, Version::V0_3, "http://public/x"),
    ];
    let new = card(BOTH).listening_at(&places, Wording::Only(Version::V1_0));
    assert!(new.fields().get("url").is_none());
    assert_eq!(new.interfaces().len(), 2);
    let old = card(BOTH).listening_at(&places, Wording::Only(Version::V0_3));
    assert!(old.fields().get("supportedInterfaces").is_none());
    assert_eq!(old.fields()["url"], "http://public/x");
}

#[test]
fn a_card_of_0_3_says_in_1_0_whom_it_lets_in() {
    let old = card(
        r#"{"name":"n","url":"http://a","supportsAuthenticatedExtendedCard":true,
        "securitySchemes":{"key":{"type":"apiKey","in":"header","name":"x-key"}},
        "security":[{"key":[]}],"skills":[{"id":"s","security":[{"key":["a"]}]}]}"#,
    );
    let told = told(&old, &[]);
    assert_eq!(
        told["securitySchemes"]["key"],
        json!({"type":"apiKey","in":"header","name":"x-key",
            "apiKeySecurityScheme":{"location":"header","name":"x-key"}})
    );
    assert_eq!(
        told["securityRequirements"],
        json!([{"schemes":{"key":{"list":[]}}}])
    );
    assert_eq!(
        told["skills"][0]["securityRequirements"],
        json!([{"schemes":{"key":{"list":["a"]}}}])
    );
    assert_eq!(told["capabilities"]["extendedAgentCard"], true);
}

#[test]
fn a_card_of_1_0_says_in_0_3_whom_it_lets_in() {
    let new = card(
        r#"{"name":"n","capabilities":{"extendedAgentCard":true},
        "securitySchemes":{"key":{"apiKeySecurityScheme":{"location":"header","name":"x-key"}}},
        "securityRequirements":[{"schemes":{"key":{"list":["a"]},"other":{}}}]}"#,
    );
    let told = told(&new, &[]);
    assert_eq!(
        told["securitySchemes"]["key"],
        json!({"type":"apiKey","in":"header","name":"x-key",
            "apiKeySecurityScheme":{"location":"header","name":"x-key"}})
    );
    assert_eq!(told["security"], json!([{"key":["a"],"other":[]}]));
    assert_eq!(told["supportsAuthenticatedExtendedCard"], true);
}

#[test]
fn what_readers_require_is_there_and_what_they_would_stumble_over_is_not() {
    let odd = card(
        r#"{"name":7,"iconUrl":[],"provider":{"url":null},"capabilities":[],"defaultInputModes":["a",1],
        "skills":[3,{"name":"s","tags":"x","examples":null}],"securitySchemes":{"a":1},"security":{},
        "x-unknown":null}"#,
    );
    assert_eq!(
        told(&odd.or_named("agent"), &[]),
        json!({"name":"agent","description":"","version":"","provider":{"organization":"","url":""},
            "capabilities":{},"defaultInputModes":["a"],"defaultOutputModes":[],
            "skills":[{"id":"s","name":"s","description":"","tags":[]}],"securitySchemes":{},
            "supportedInterfaces":[],"x-unknown":null})
    );
}

#[test]
fn skills_are_found_by_their_ids() {
    let card = card(
        r#"{"skills":[{"id":"sum","name":"Sums","tags":["math",4]},{"name":"anonymous"},{}, 3]}"#,
    );
    let ids: Vec<&str> = card.skills().iter().map(|skill| skill.id).collect();
    assert_eq!(ids, ["sum", "anonymous"]);
    assert_eq!(card.skills()[0].tags, ["math"]);
    assert!(card.has_skill("sum") && !card.has_skill("Sums"));
}

#[test]
fn a_card_with_fields_of_wrong_types_is_read_as_far_as_it_goes() {
    let odd = br#"{"name":7,"url":["x"],"supportedInterfaces":[3,{"url":5},{"url":"http://a"}]}"#;
    let card = Card::parse(odd).unwrap();
    assert_eq!((card.name(), card.interfaces().len()), (None, 1));
    assert!(Card::parse(b"[]").is_err());
    assert!(Card::parse(b"{").is_err());
}
