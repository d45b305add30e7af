//! Cards of 0.3 and of 1.0, each made of the other.
//!
//! The two differ in where they say where the agent listens, and in how they write security; the rest has
//! the same names. So a card is turned field by field as JSON, and what is not known is left behind only
//! at the door of the pivot, whose message can't hold it.
//!
//! # Invariants
//! - Reading is lenient: a field that cannot be read is left out, and the card is made of the others.
//! - 0.3 writes security schemes in two ways: with a `type` (JSON, as OpenAPI does) and as members of a
//!   oneof (ProtoJSON of `a2a.v1`). Both are read; the first is written, but for gRPC.

mod security;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    a2a,
    dialect::{Binding, Version},
};

/// The version that a card of 0.3 names when it is written whole.
const VERSION: &str = "0.3.0";

/// Makes a card of 1.0 out of one of 0.3. Fields that cannot be read are left out; those of 1.0 that are
/// already there (a card may carry both) are kept, and its places stand first.
#[must_use]
pub fn card_to_1_0(card: &Map<String, Value>) -> a2a::AgentCard {
    let mut fields = card.clone();
    let mut places = match fields.remove("supportedInterfaces") {
        Some(Value::Array(places)) => places,
        _ => Vec::new(),
    };
    let version = text(&fields, "protocolVersion")
        .unwrap_or(VERSION)
        .to_owned();
    let main = text(&fields, "url").map(|url| {
        let binding = text(&fields, "preferredTransport").unwrap_or(Binding::JsonRpc.card_name());
        place(url, binding, &version)
    });
    places.extend(main.clone());
    if let Some(Value::Array(additional)) = fields.remove("additionalInterfaces") {
        for each in &additional {
            // As of the main place, one without an address is none.
            let said = |name| each.get(name).and_then(Value::as_str);
            let (url, binding) = (said("url").filter(|url| !url.is_empty()), said("transport"));
            let (Some(url), Some(binding)) = (url, binding) else {
                continue;
            };
            // The list is asked to repeat the main place; once is enough.
            let is_main = main.as_ref().is_some_and(|main| {
                main.get("url") == each.get("url")
                    && main.get("protocolBinding") == each.get("transport")
            });
            if !is_main {
                places.push(place(url, binding, Version::V0_3.as_str()));
            }
        }
    }
    fields.insert("supportedInterfaces".to_owned(), Value::Array(places));
    for old in ["url", "preferredTransport", "protocolVersion"] {
        fields.remove(old);
    }
    if let Some(extended) = fields.remove("supportsAuthenticatedExtendedCard")
        && let Some(capabilities) = object(&mut fields, "capabilities")
    {
        capabilities.entry("extendedAgentCard").or_insert(extended);
    }
    security::to_1_0(&mut fields);
    for skill in objects(&mut fields, "skills") {
        security::requirements_to_1_0(skill);
    }
    read(fields)
}

/// Makes a card of 0.3 out of one of 1.0. The places are those at which 0.3 is spoken or, where there is
/// none, all: whoever asks for this card in 0.3 was answered in 0.3, and 0.3 cannot go without an address.
#[must_use]
pub fn card_of_1_0(card: &a2a::AgentCard) -> Map<String, Value> {
    let mut fields = proto_of_1_0(card);
    security::flatten(&mut fields);
    for skill in objects(&mut fields, "skills") {
        security::flatten_requirements(skill);
    }
    fields
}

/// The same in the ProtoJSON of `a2a.v1`, which leaves security as 1.0 has it.
pub(super) fn proto_of_1_0(card: &a2a::AgentCard) -> Map<String, Value> {
    let Ok(Value::Object(mut fields)) = serde_json::to_value(card) else {
        return Map::new();
    };
    fields.remove("supportedInterfaces");
    let is_old = |place: &a2a::AgentInterface| {
        Version::parse(&place.protocol_version) == Some(Version::V0_3)
    };
    let mut places: Vec<_> = card
        .supported_interfaces
        .iter()
        .filter(|place| is_old(place))
        .collect();
    if places.is_empty() {
        places = card.supported_interfaces.iter().collect();
    }
    let version = places
        .first()
        .filter(|place| is_old(place))
        .map_or(VERSION, |place| &place.protocol_version);
    fields.insert("protocolVersion".to_owned(), Value::from(version));
    let main = places.first().map_or("", |place| &place.url);
    fields.insert("url".to_owned(), Value::from(main));
    if let Some(place) = places.first() {
        let transport = Value::from(place.protocol_binding.as_str());
        fields.insert("preferredTransport".to_owned(), transport);
    }
    if places.len() > 1 {
        let additional = places
            .iter()
            .skip(1)
            .map(|place| json!({"url": place.url, "transport": place.protocol_binding}))
            .collect();
        fields.insert("additionalInterfaces".to_owned(), Value::Array(additional));
    }
    let capabilities = object(&mut fields, "capabilities");
    if let Some(extended) = capabilities.and_then(|each| each.remove("extendedAgentCard")) {
        fields.insert("supportsAuthenticatedExtendedCard".to_owned(), extended);
    }
    security::of_1_0(&mut fields);
    for skill in objects(&mut fields, "skills") {
        security::requirements_of_1_0(skill);
    }
    // 0.3 requires what 1.0 leaves out when it is empty.
    for (name, empty) in [
        ("capabilities", json!({})),
        ("defaultInputModes", json!([])),
        ("defaultOutputModes", json!([])),
        ("skills", json!([])),
    ] {
        fields.entry(name).or_insert(empty);
    }
    fields
}

fn place(url: &str, binding: &str, version: &str) -> Value {
    json!({"url": url, "protocolBinding": binding, "protocolVersion": version})
}

/// Reads the fields of a card, leaving out those that are not what they should be.
fn read(mut fields: Map<String, Value>) -> a2a::AgentCard {
    let card = |fields: &Map<String, Value>| {
        a2a::AgentCard::deserialize(Value::Object(fields.clone())).ok()
    };
    card(&fields).unwrap_or_else(|| {
        fields.retain(|name, value| {
            let alone = Map::from_iter([(name.clone(), value.clone())]);
            card(&alone).is_some()
        });
        card(&fields).unwrap_or_default()
    })
}

fn text<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    let text = fields.get(name).and_then(Value::as_str);
    text.filter(|text| !text.is_empty())
}

/// A field that is an object, made where it is not there.
fn object<'a>(
    fields: &'a mut Map<String, Value>,
    name: &str,
) -> Option<&'a mut Map<String, Value>> {
    fields
        .entry(name)
        .or_insert_with(|| json!({}))
        .as_object_mut()
}

/// The objects of a field that is a list.
fn objects<'a>(
    fields: &'a mut Map<String, Value>,
    name: &str,
) -> impl Iterator<Item = &'a mut Map<String, Value>> {
    let list = fields.get_mut(name).and_then(Value::as_array_mut);
    list.into_iter().flatten().filter_map(Value::as_object_mut)
}
