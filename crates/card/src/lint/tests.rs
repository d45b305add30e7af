//! One card that is fine, and what is found when one thing in it is not.

use serde_json::json;

use super::*;
use crate::specimen::CARD;

/// The findings of the good card with one value changed; `null` takes the field away.
fn changed(pointer: &str, to: Value) -> Vec<String> {
    let mut card: Value = serde_json::from_str(CARD).unwrap();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let place = card.pointer_mut(parent).unwrap();
    match place {
        Value::Object(fields) if to.is_null() => {
            fields.remove(name);
        }
        Value::Object(fields) => {
            fields.insert(name.to_owned(), to);
        }
        Value::Array(list) => list[name.parse::<usize>().unwrap()] = to,
        other => panic!("{other}"),
    }
    said(&card)
}

fn said(card: &Value) -> Vec<String> {
    let each = |finding: Finding| format!("{} {}", finding.severity, finding.pointer);
    lint(card.to_string().as_bytes())
        .into_iter()
        .map(each)
        .collect()
}

#[test]
fn nothing_is_wrong_with_a_good_card() {
    assert_eq!(lint(CARD.as_bytes()), []);
}

#[test]
fn what_is_not_an_object_is_not_a_card() {
    assert_eq!(said(&json!([])), ["error "]);
    assert_eq!(lint(b"{")[0].severity, Severity::Error);
}

#[test]
fn required_fields_are_missed_where_they_are_missing() {
    for name in [
        "name",
        "description",
        "version",
        "capabilities",
        "defaultInputModes",
        "defaultOutputModes",
        "skills",
        "supportedInterfaces",
    ] {
        let found = changed(&format!("/{name}"), Value::Null);
        assert_eq!(
            found.first().map(String::as_str),
            Some("error "),
            "{name} {found:?}"
        );
    }
    assert_eq!(changed("/skills/0/tags", Value::Null), ["error /skills/0"]);
    assert_eq!(changed("/name", json!(" ")), ["error /name"]);
    assert_eq!(
        changed("/provider", json!({"organization": "o"})),
        ["error /provider"]
    );
}

#[test]
fn fields_of_another_type_are_errors() {
    assert_eq!(changed("/name", json!(7)), ["error /name"]);
    assert_eq!(
        changed("/capabilities/streaming", json!("yes")),
        ["error /capabilities/streaming"]
    );
    assert_eq!(changed("/skills/0", json!("x")), ["error /skills/0"]);
    assert_eq!(
        changed("/skills/0/tags", json!([1])),
        ["error /skills/0/tags/0"]
    );
}

#[test]
fn a_field_that_nobody_knows_is_noted() {
    assert_eq!(
        changed("/supportedInterface", json!([])),
        ["note /supportedInterface"]
    );
    assert_eq!(changed("/x", json!(1)), ["note /x"]);
}

#[test]
fn addresses_that_cannot_be_called_are_errors() {
    let url = "/supportedInterfaces/0/url";
    for text in [
        "agents.example.com/clock",
        "/clock",
        "ftp://agents.example.com",
        "https://",
        "https://user:secret@agents.example.com",
        "http://0.0.0.0:80/",
        "https://[::]/",
        " https://agents.example.com",
    ] {
        let found = changed(url, json!(text));
        assert!(found.contains(&format!("error {url}")), "{text} {found:?}");
    }
}

#[test]
fn addresses_that_not_everybody_reaches_are_warned_of() {
    let url = "/supportedInterfaces/0/url";
    for text in [
        "http://agents.example.com/",
        "https://127.0.0.1/",
        "http://localhost:8080/",
        "https://10.1.2.3/",
        "https://169.254.169.254/",
        "https://100.64.0.1/",
        "https://[::1]/",
        "https://[fd00::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://clock.internal/",
        "https://clock/",
        "https://agents.example.com/?tenant=x",
    ] {
        let found = changed(url, json!(text));
        assert_eq!(found, [format!("warning {url}")], "{text}");
    }
}

#[test]
fn grpc_has_forms_of_its_own() {
    let url = "/supportedInterfaces/1/url";
    for fine in [
        "agents.example.com:443",
        "https://agents.example.com:443",
        "8.8.8.8:50051",
        "[2001:4860::1]:443",
    ] {
        assert_eq!(changed(url, json!(fine)), [""; 0], "{fine}");
    }
    for (text, severity) in [
        ("agents.example.com", "error"),
        ("agents.example.com:99999", "error"),
        ("agents.example.com:", "error"),
        (":443", "error"),
        ("https://agents.example.com:8443/a2a", "warning"),
        ("dns:///agents.example.com:443", "warning"),
        ("localhost:50051", "warning"),
        ("10.0.0.1:50051", "warning"),
    ] {
        assert_eq!(
            changed(url, json!(text)),
            [format!("{severity} {url}")],
            "{text}"
        );
    }
}

#[test]
fn bindings_and_versions_are_those_that_exist() {
    let binding = "/supportedInterfaces/0/protocolBinding";
    assert_eq!(
        changed(binding, json!("jsonrpc")),
        [format!("warning {binding}")]
    );
    assert_eq!(
        changed(binding, json!("REST")),
        [format!("error {binding}")]
    );
    assert_eq!(
        changed(binding, json!("https://example.com/slim")),
        [format!("note {binding}")]
    );
    let version = "/supportedInterfaces/0/protocolVersion";
    assert_eq!(
        changed(version, json!("1.0.1")),
        [format!("warning {version}")]
    );
    assert_eq!(changed(version, json!("7")), [format!("warning {version}")]);
    let none =
        json!([{"url": "https://a.example", "protocolBinding": "JSONRPC", "protocolVersion": "7"}]);
    let found = changed("/supportedInterfaces", none);
    assert!(
        found.contains(&"error /supportedInterfaces".to_owned()),
        "{found:?}"
    );
    assert_eq!(
        changed("/supportedInterfaces", json!([])),
        ["error /supportedInterfaces"]
    );
    let mut card: Value = serde_json::from_str(CARD).unwrap();
    card["supportedInterfaces"][1] = card["supportedInterfaces"][0].clone();
    assert_eq!(said(&card), ["warning /supportedInterfaces/1"]);
}

#[test]
fn skills_are_told_apart_by_their_ids() {
    let mut card: Value = serde_json::from_str(CARD).unwrap();
    let skill = card["skills"][0].clone();
    card["skills"].as_array_mut().unwrap().push(skill);
    assert_eq!(said(&card), ["error /skills/1/id"]);
    assert_eq!(changed("/skills", json!([])), ["warning /skills"]);
    assert_eq!(
        changed("/skills/0/tags", json!([])),
        ["warning /skills/0/tags"]
    );
}

#[test]
fn modes_are_media_types() {
    let place = "/defaultInputModes/0";
    assert_eq!(changed(place, json!("text")), [format!("warning {place}")]);
    assert_eq!(changed(place, json!("text/plain; charset=utf-8")), [""; 0]);
    assert_eq!(
        changed("/defaultOutputModes", json!([])),
        ["warning /defaultOutputModes"]
    );
    let skills = "/skills/0/inputModes";
    assert_eq!(
        changed(skills, json!(["a b/c"])),
        [format!("warning {skills}/0")]
    );
}

#[test]
fn extensions_have_uris_that_a_header_can_carry() {
    let place = "/capabilities/extensions/0/uri";
    assert_eq!(
        changed(place, json!("https://a.example/x,y")),
        [format!("error {place}")]
    );
    assert_eq!(changed(place, json!("rate")), [format!("warning {place}")]);
    let required = "/capabilities/extensions/0/required";
    assert_eq!(changed(required, json!(true)), [format!("note {required}")]);
}

#[test]
fn security_names_schemes_that_are_there_and_of_one_kind() {
    let requirements = "/securityRequirements";
    let unknown = json!([{"schemes": {"k": {"list": []}}}]);
    assert_eq!(
        changed(requirements, unknown),
        [format!("error {requirements}/0/schemes/k")]
    );
    let extended = "/capabilities/extendedAgentCard";
    assert_eq!(
        changed(extended, json!(true)),
        [format!("warning {extended}")]
    );
    let place = "/securitySchemes";
    let scheme = |value: Value| changed(place, json!({"k": value}));
    assert_eq!(scheme(json!({"mtlsSecurityScheme": {}})), [""; 0]);
    assert_eq!(scheme(json!({})), [format!("error {place}/k")]);
    let two = json!({"mtlsSecurityScheme": {}, "apiKeySecurityScheme": {}});
    assert_eq!(scheme(two), [format!("error {place}/k")]);
    let old = json!({"oauth2SecurityScheme": {"flows": {"implicit": {}}}});
    assert_eq!(scheme(old), [format!("warning {place}/k")]);
}

fn of_0_3() -> Value {
    let mut card: Value = serde_json::from_str(CARD).unwrap();
    let fields = card.as_object_mut().unwrap();
    fields.remove("supportedInterfaces");
    fields.insert("url".to_owned(), json!("https://agents.example.com/clock"));
    fields.insert("protocolVersion".to_owned(), json!("0.3.0"));
    card
}

#[test]
fn a_card_of_0_3_is_judged_by_0_3() {
    assert_eq!(said(&of_0_3()), ["note "]);
    let mut other = of_0_3();
    other["preferredTransport"] = json!("GRPC");
    other["additionalInterfaces"] =
        json!([{"url": "https://agents.example.com/clock", "transport": "JSONRPC"}]);
    let found = said(&other);
    assert!(
        found.contains(&"warning /additionalInterfaces/0".to_owned()),
        "{found:?}"
    );
    // An address may be of several transports.
    other["additionalInterfaces"] = json!([
        {"url": "https://agents.example.com/clock", "transport": "JSONRPC"},
        {"url": "https://agents.example.com/clock", "transport": "GRPC"},
    ]);
    let found = said(&other);
    assert!(
        !found.contains(&"warning /additionalInterfaces/0".to_owned()),
        "{found:?}"
    );
    let mut version = of_0_3();
    version["protocolVersion"] = json!("1.0");
    assert_eq!(said(&version), ["warning /protocolVersion", "note "]);
}

#[test]
fn a_card_of_both_versions_agrees_with_itself() {
    let mut card: Value = serde_json::from_str(CARD).unwrap();
    let old = of_0_3();
    for name in ["url", "protocolVersion"] {
        card[name] = old[name].clone();
    }
    assert_eq!(said(&card), ["warning /supportedInterfaces"]);
    let of_0_3 = json!({"url": old["url"], "protocolBinding": "JSONRPC", "protocolVersion": "0.3"});
    card["supportedInterfaces"]
        .as_array_mut()
        .unwrap()
        .push(of_0_3);
    assert_eq!(said(&card), [""; 0]);
    card["supportsAuthenticatedExtendedCard"] = json!(true);
    assert_eq!(said(&card), ["warning /supportsAuthenticatedExtendedCard"]);
}

#[test]
fn signatures_are_judged_as_far_as_no_key_is_needed() {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let header = |header: Value| {
        let protected = URL_SAFE_NO_PAD.encode(header.to_string());
        changed(
            "/signatures",
            json!([{"protected": protected, "signature": "AA"}]),
        )
    };
    let place = "/signatures/0/protected";
    let fine = json!({"alg": "ES256", "kid": "k", "typ": "JOSE"});
    assert_eq!(header(fine.clone()), [""; 0]);
    for (name, value, severity) in [
        ("alg", json!("none"), "error"),
        ("alg", json!("HS256"), "error"),
        ("alg", json!("ES512"), "warning"),
        ("kid", json!(""), "error"),
        ("typ", json!("JWT"), "note"),
        ("crit", json!(["x"]), "warning"),
        ("jku", json!("http://a.example/jwks"), "warning"),
    ] {
        let mut other = fine.clone();
        other[name] = value.clone();
        assert_eq!(
            header(other),
            [format!("{severity} {place}")],
            "{name} {value}"
        );
    }
    assert_eq!(
        changed(
            "/signatures",
            json!([{"protected": "?", "signature": "AA"}])
        ),
        ["error /signatures/0"]
    );
    assert_eq!(changed("/signatures", json!([])), ["note /signatures"]);
}

#[test]
fn what_signatures_do_not_say_is_warned_of() {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let protected = URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256","kid":"k","typ":"JOSE"}"#);
    let mut card: Value = serde_json::from_str(CARD).unwrap();
    card["signatures"] = json!([{"protected": protected, "signature": "AA"}]);
    card["x-own"] = json!(1);
    assert_eq!(said(&card), ["note /x-own", "warning /x-own"]);
    card.as_object_mut().unwrap().remove("x-own");
    card["capabilities"] = json!({});
    assert_eq!(said(&card), ["warning /signatures"]);
}

#[test]
fn a_card_that_is_wrong_everywhere_is_not_listed_without_end() {
    let mut card: Value = serde_json::from_str(CARD).unwrap();
    card["skills"] = json!(vec![json!({}); MOST_FINDINGS]);
    assert_eq!(lint(card.to_string().as_bytes()).len(), MOST_FINDINGS);
}

proptest::proptest! {
    #[test]
    fn no_address_and_no_bytes_panic(text in ".{0,40}", bytes in proptest::collection::vec(0_u8.., 0..60)) {
        proptest::prop_assert!(lint(&bytes).len() <= MOST_FINDINGS);
        for place in ["/supportedInterfaces/0/url", "/supportedInterfaces/1/url", "/supportedInterfaces/0/protocolBinding"] {
            changed(place, json!(text));
        }
    }
}
