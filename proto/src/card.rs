//! Agent cards as a router needs them: where an agent says it listens, and the same card with other
//! addresses.
//!
//! A card is kept as the JSON that it is, since a router must not lose what it does not know:
//! extensions, provider fields, fields of later versions.
//!
//! # Invariants
//! - Reading is lenient: a field of the wrong type is as good as absent. Only what is not a JSON
//!   object is refused.
//! - A rewritten card carries no signature: it would no longer verify (spec 8.4).

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::{Binding, Fault, Problem, Version};

/// A card of any version.
#[derive(Clone, Debug, PartialEq)]
pub struct Card(Map<String, Value>);

/// One place where an agent says it listens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Interface {
    /// The binding; `None` for a custom one.
    pub binding: Option<Binding>,
    /// The version; `None` for one that we do not know.
    pub version: Option<Version>,
    /// The address: a URL, or `host:port` for gRPC.
    pub url: String,
    /// What clients must send as tenant.
    pub tenant: Option<String>,
}

impl Card {
    /// Reads a card.
    ///
    /// # Errors
    /// [`Fault::InvalidAgentResponse`] for what is not a JSON object.
    pub fn parse(bytes: &[u8]) -> Result<Self, Problem> {
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) | Err(_) => Err(Problem::new(
                Fault::InvalidAgentResponse,
                "the card is not a JSON object",
            )),
        }
    }

    /// The agent's name for people.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        text(&self.0, "name")
    }

    /// What the agent says it does.
    #[must_use]
    pub fn description(&self) -> Option<&str> {
        text(&self.0, "description")
    }

    /// All places, in the agent's order of preference: those of 1.0, then those of 0.3.
    #[must_use]
    pub fn interfaces(&self) -> Vec<Interface> {
        let listed = list(&self.0, "supportedInterfaces").map(Interface::of_1_0);
        let main = self.main().into_iter();
        let additional = list(&self.0, "additionalInterfaces").map(Interface::of_0_3);
        listed
            .chain(main)
            .chain(additional)
            .filter(|each| !each.url.is_empty())
            .collect()
    }

    /// The same card with other places; those for which `change` gives nothing are left out.
    #[must_use]
    pub fn rewrite(&self, change: impl Fn(&Interface) -> Option<Interface>) -> Self {
        let mut fields = self.0.clone();
        fields.remove("signatures");
        if let Some(Value::Array(entries)) = fields.get_mut("supportedInterfaces") {
            keep(entries, |entry| {
                let new = change(&Interface::of_1_0(entry))?;
                entry.insert("url".to_owned(), Value::String(new.url));
                match new.tenant {
                    Some(tenant) => entry.insert("tenant".to_owned(), Value::String(tenant)),
                    None => entry.remove("tenant"),
                };
                Some(())
            });
        }
        let mut additional = Vec::new();
        if let Some(Value::Array(entries)) = fields.get_mut("additionalInterfaces") {
            keep(entries, |entry| {
                let new = change(&Interface::of_0_3(entry))?;
                entry.insert("url".to_owned(), Value::String(new.url.clone()));
                additional.push(new);
                Some(())
            });
        }
        if let Some(main) = self.main() {
            // A main place that can't be kept gives its rank to the next that can: a 0.3 client
            // reads `url` before anything else.
            match change(&main).or_else(|| additional.first().cloned()) {
                Some(new) => {
                    fields.insert("url".to_owned(), Value::String(new.url));
                    if let Some(binding) = new.binding {
                        let name = Value::String(binding.card_name().to_owned());
                        fields.insert("preferredTransport".to_owned(), name);
                    }
                }
                None => {
                    fields.remove("url");
                    fields.remove("preferredTransport");
                }
            }
        }
        Self(fields)
    }

    /// The card as JSON.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        // A map of JSON values always has a JSON text.
        serde_json::to_vec(&self.0)
            .map(Bytes::from)
            .unwrap_or_default()
    }

    /// The place that 0.3 puts at the top of the card.
    fn main(&self) -> Option<Interface> {
        let url = text(&self.0, "url")?;
        let transport = text(&self.0, "preferredTransport").unwrap_or("JSONRPC");
        Some(Interface {
            binding: Binding::from_card_name(transport),
            version: Some(Version::V0_3),
            url: url.to_owned(),
            tenant: None,
        })
    }
}

impl Interface {
    fn of_1_0(entry: &Map<String, Value>) -> Self {
        // An entry without a version is of the version that made the field required: 1.0.
        let version = text(entry, "protocolVersion").map_or(Some(Version::V1_0), Version::parse);
        Self {
            binding: text(entry, "protocolBinding").and_then(Binding::from_card_name),
            version,
            url: text(entry, "url").unwrap_or_default().to_owned(),
            tenant: text(entry, "tenant").map(str::to_owned),
        }
    }

    fn of_0_3(entry: &Map<String, Value>) -> Self {
        Self {
            binding: text(entry, "transport").and_then(Binding::from_card_name),
            version: Some(Version::V0_3),
            url: text(entry, "url").unwrap_or_default().to_owned(),
            tenant: None,
        }
    }
}

/// A field that is a string and not empty.
fn text<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    fields
        .get(name)
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty())
}

/// The objects of a field that is a list.
fn list<'a>(
    fields: &'a Map<String, Value>,
    name: &str,
) -> impl Iterator<Item = &'a Map<String, Value>> {
    let entries = fields.get(name).and_then(Value::as_array);
    entries.into_iter().flatten().filter_map(Value::as_object)
}

fn keep(entries: &mut Vec<Value>, mut change: impl FnMut(&mut Map<String, Value>) -> Option<()>) {
    entries.retain_mut(|entry| entry.as_object_mut().and_then(&mut change).is_some());
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: &str = r#"{
        "name": "x", "provider": {"organization": "o", "x-unknown": [1, 2]},
        "supportedInterfaces": [
            {"url": "http://10.0.0.1/a", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"},
            {"url": "10.0.0.1:50", "protocolBinding": "GRPC", "protocolVersion": "1.0.1", "tenant": "t"},
            {"url": "slim://x", "protocolBinding": "https://example.com/slim", "protocolVersion": "9"}],
        "url": "http://10.0.0.1/old", "preferredTransport": "HTTP+JSON", "protocolVersion": "0.3.0",
        "additionalInterfaces": [{"url": "http://10.0.0.1/rpc", "transport": "JSONRPC"}],
        "signatures": [{"protected": "e30", "signature": "x"}]}"#;

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
            Card::parse(BOTH.as_bytes()).unwrap().interfaces(),
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
        let card = Card::parse(BOTH.as_bytes()).unwrap();
        let new = card.rewrite(|old| {
            old.binding?;
            Some(Interface {
                url: "http://public/x".to_owned(),
                ..old.clone()
            })
        });
        let text = String::from_utf8(new.to_bytes().to_vec()).unwrap();
        assert!(
            !text.contains("10.0.0.1") && !text.contains("slim"),
            "{text}"
        );
        assert!(!text.contains("signatures"), "{text}");
        assert!(text.contains(r#""x-unknown":[1,2]"#), "{text}");
        assert_eq!(new.interfaces().len(), 4);
    }

    #[test]
    fn a_main_place_that_is_left_out_gives_its_rank_to_the_next() {
        let card = Card::parse(BOTH.as_bytes()).unwrap();
        let new = card.rewrite(|old| (old.binding == Some(Binding::JsonRpc)).then(|| old.clone()));
        let main = new
            .interfaces()
            .into_iter()
            .find(|each| each.version == Some(Version::V0_3));
        assert_eq!(
            main.map(|each| each.url),
            Some("http://10.0.0.1/rpc".to_owned())
        );
    }

    #[test]
    fn a_card_with_fields_of_wrong_types_is_read_as_far_as_it_goes() {
        let odd =
            br#"{"name":7,"url":["x"],"supportedInterfaces":[3,{"url":5},{"url":"http://a"}]}"#;
        let card = Card::parse(odd).unwrap();
        assert_eq!((card.name(), card.interfaces().len()), (None, 1));
        assert!(Card::parse(b"[]").is_err());
        assert!(Card::parse(b"{").is_err());
    }
}
