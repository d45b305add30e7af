//! Agent cards as a router needs them: where an agent says it listens, what it can do, and the same
//! card with other addresses.
//!
//! A card is kept as the JSON that it is, since a router must not lose what it does not know:
//! extensions, provider fields, fields of later versions.
//!
//! # Invariants
//! - Reading is lenient: a field of the wrong type is as good as absent. Only what is not a JSON
//!   object is refused.
//! - Writing is strict: a card that was given other places ([`Card::listening_at`]) has every field
//!   that readers of its versions require, in the type that they require.
//! - A rewritten card carries no signature: it would no longer verify (spec 8.4).

mod told;
mod words;

use bytes::Bytes;
use serde_json::{Map, Value};

pub use self::told::Wording;
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

    /// What it says it is good at. A skill without an id goes by its name; one without either is none.
    #[must_use]
    pub fn skills(&self) -> Vec<Skill<'_>> {
        list(&self.0, "skills").filter_map(Skill::of).collect()
    }

    /// Whether it has a skill of this id.
    #[must_use]
    pub fn has_skill(&self, id: &str) -> bool {
        list(&self.0, "skills").any(|entry| Skill::id(entry) == Some(id))
    }

    /// The card's fields.
    #[must_use]
    pub const fn fields(&self) -> &Map<String, Value> {
        &self.0
    }

    /// The card's fields, to be put elsewhere.
    #[must_use]
    pub fn into_fields(self) -> Map<String, Value> {
        self.0
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

impl From<Map<String, Value>> for Card {
    fn from(fields: Map<String, Value>) -> Self {
        Self(fields)
    }
}

/// One thing that an agent says it is good at.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Skill<'a> {
    /// By which it is asked for.
    pub id: &'a str,
    /// Its name for people.
    pub name: &'a str,
    /// Words by which it is found.
    pub tags: Vec<&'a str>,
}

impl<'a> Skill<'a> {
    fn id(entry: &'a Map<String, Value>) -> Option<&'a str> {
        text(entry, "id").or_else(|| text(entry, "name"))
    }

    fn of(entry: &'a Map<String, Value>) -> Option<Self> {
        let (id, name) = (Self::id(entry)?, text(entry, "name"));
        let tags = entry.get("tags").and_then(Value::as_array);
        Some(Self {
            id,
            name: name.unwrap_or(id),
            tags: tags
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect(),
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

#[cfg(test)]
mod tests;
