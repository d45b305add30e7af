//! What the agent says it can do and wants: skills, media types, capabilities, extensions, security.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use url::Url;

use super::{Report, Subject, Written, entries, objects, quoted, step, text};

pub(super) fn check(card: &Subject<'_>, report: &mut Report) {
    skills(card.fields, report);
    modes(card.fields, report);
    capabilities(card, report);
    security(card.fields, report);
}

fn skills(card: &Map<String, Value>, report: &mut Report) {
    if let Some(Value::Array(skills)) = card.get("skills")
        && skills.is_empty()
    {
        report.warning("/skills", "without a skill nobody can tell what to ask for");
    }
    let mut seen = BTreeSet::new();
    for (pointer, skill) in objects(card, "", "skills") {
        if let Some(id) = text(skill, "id")
            && !seen.insert(id)
        {
            let words = format!("{} is another skill's id, too", quoted(id));
            report.error(format!("{pointer}/id"), words);
        }
        if let Some(Value::Array(tags)) = skill.get("tags")
            && tags.is_empty()
        {
            let words = "required and empty: a catalogue does not find the skill by a tag";
            report.warning(format!("{pointer}/tags"), words);
        }
        for name in ["inputModes", "outputModes"] {
            media_types(skill, &pointer, name, report);
        }
    }
}

fn modes(card: &Map<String, Value>, report: &mut Report) {
    for name in ["defaultInputModes", "defaultOutputModes"] {
        if let Some(Value::Array(modes)) = card.get(name)
            && modes.is_empty()
        {
            report.warning(format!("/{name}"), "required and empty");
        }
        media_types(card, "", name, report);
    }
}

fn media_types(fields: &Map<String, Value>, at: &str, name: &str, report: &mut Report) {
    for (pointer, mode) in entries(fields, at, name) {
        let Some(mode) = mode.as_str() else { continue };
        let essence = mode.split(';').next().unwrap_or_default().trim();
        let is_type = essence.split_once('/').is_some_and(|(kind, of)| {
            let is_token = |part: &str| !part.is_empty() && part.bytes().all(is_token_byte);
            is_token(kind) && is_token(of)
        });
        if !is_type {
            let words = format!("{} is not a media type like text/plain", quoted(mode));
            report.warning(pointer, words);
        }
    }
}

/// RFC 9110 5.6.2, which includes the `*` of ranges.
const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

fn capabilities(card: &Subject<'_>, report: &mut Report) {
    let Some(Value::Object(capabilities)) = card.fields.get("capabilities") else {
        return;
    };
    let at = "/capabilities";
    if capabilities.contains_key("stateTransitionHistory") && card.written == Written::For1_0 {
        let words = "1.0 has no such capability";
        report.note(format!("{at}/stateTransitionHistory"), words);
    }
    let extended = capabilities
        .get("extendedAgentCard")
        .and_then(Value::as_bool);
    let schemes = card
        .fields
        .get("securitySchemes")
        .and_then(Value::as_object);
    if extended == Some(true) && schemes.is_none_or(Map::is_empty) {
        let words = "the extended card is for callers with credentials, and no scheme says which";
        report.warning(format!("{at}/extendedAgentCard"), words);
    }
    let mut seen = BTreeSet::new();
    for (pointer, extension) in objects(capabilities, at, "extensions") {
        let Some(uri) = text(extension, "uri") else {
            continue;
        };
        let place = format!("{pointer}/uri");
        if uri.contains(',') || uri.contains(char::is_whitespace) {
            let words = "a comma or white space breaks the list in the A2A-Extensions header";
            report.error(place, words);
        } else if Url::parse(uri).is_err() {
            report.warning(place, format!("{} is not a URI", quoted(uri)));
        }
        if !seen.insert(uri) {
            report.warning(&pointer, "the same extension is listed before");
        }
        if extension.get("required").and_then(Value::as_bool) == Some(true) {
            let words = format!("every caller must activate {}", quoted(uri));
            report.note(format!("{pointer}/required"), words);
        }
    }
}

fn security(card: &Map<String, Value>, report: &mut Report) {
    let none = Map::new();
    let schemes = match card.get("securitySchemes") {
        Some(Value::Object(schemes)) => schemes,
        _ => &none,
    };
    for (name, scheme) in schemes {
        let pointer = format!("/securitySchemes/{}", step(name));
        match scheme.as_object() {
            Some(scheme) => scheme_of(scheme, &pointer, report),
            None => report.error(pointer, "not an object"),
        }
    }
    requirements(card, "", schemes, report);
    for (pointer, skill) in objects(card, "", "skills") {
        requirements(skill, &pointer, schemes, report);
    }
}

/// The members of 1.0's scheme, each with its `type` of 0.3.
const SCHEMES: [(&str, &str); 5] = [
    ("apiKeySecurityScheme", "apiKey"),
    ("httpAuthSecurityScheme", "http"),
    ("oauth2SecurityScheme", "oauth2"),
    ("openIdConnectSecurityScheme", "openIdConnect"),
    ("mtlsSecurityScheme", "mutualTLS"),
];

fn scheme_of(scheme: &Map<String, Value>, pointer: &str, report: &mut Report) {
    let members = SCHEMES
        .iter()
        .filter(|(member, _)| scheme.contains_key(*member));
    let of_0_3 = text(scheme, "type");
    match (members.count(), of_0_3) {
        (1, _) => {}
        (0, Some(kind)) if SCHEMES.iter().any(|(_, known)| *known == kind) => {}
        (0, _) => report.error(pointer, "it is of no kind that 1.0 or 0.3 knows"),
        _ => report.error(pointer, "a scheme is of one kind, and here are several"),
    }
    let oauth = scheme
        .get("oauth2SecurityScheme")
        .and_then(Value::as_object);
    let flows = oauth
        .unwrap_or(scheme)
        .get("flows")
        .and_then(Value::as_object);
    for old in ["implicit", "password"] {
        if flows.is_some_and(|flows| flows.contains_key(old)) {
            let words = format!("OAuth 2.1 has no {old} flow any more");
            report.warning(pointer, words);
        }
    }
}

/// Requirements of both versions: 1.0 nests scheme names below `schemes`.
fn requirements(
    fields: &Map<String, Value>,
    at: &str,
    schemes: &Map<String, Value>,
    report: &mut Report,
) {
    let of_1_0 = objects(fields, at, "securityRequirements").filter_map(|(pointer, entry)| {
        let named = entry.get("schemes")?.as_object()?;
        Some((format!("{pointer}/schemes"), named))
    });
    let of_0_3 = objects(fields, at, "security");
    for (pointer, named) in of_1_0.chain(of_0_3) {
        for name in named.keys().filter(|name| !schemes.contains_key(*name)) {
            let words = format!("{} is not among `securitySchemes`", quoted(name));
            report.error(format!("{pointer}/{}", step(name)), words);
        }
    }
}
