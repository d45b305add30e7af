//! A card with other places: where the agent listens as its callers are to know it.
//!
//! 1.0 lists places in `supportedInterfaces`; 0.3 has a main one (`url`, `preferredTransport`) and
//! `additionalInterfaces`. Clients of 1.0 that also speak 0.3 look for places of 0.3 in the list of
//! 1.0, where each entry has a version of its own, and do not look at the old fields once there is a
//! list. So a place of 0.3 stands in both.
//!
//! # Invariants
//! - No place remains that was not given.
//! - In the list, places of 1.0 come before those of 0.3: a client that does not look at versions
//!   takes the first.
//! - An entry of the agent's own keeps the fields that nobody here knows.

use serde_json::{Map, Value};

use super::{Card, Interface, list, text, words};
use crate::{Binding, Version};

/// In the words of which versions a card is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wording {
    /// Readable by clients of every version: what is published.
    Both,
    /// Of one version: the answer to a call of that version.
    Only(Version),
}

/// The version that a card of 0.3 names at its top.
const TOP_VERSION: &str = "0.3.0";

impl Card {
    /// The same card, telling that its agent listens at these places and nowhere else, in this order.
    /// Places of custom bindings or unknown versions can't be told.
    #[must_use]
    pub fn listening_at(&self, places: &[Interface], wording: Wording) -> Self {
        let mut fields = self.0.clone();
        for name in ["signatures", "url", "preferredTransport"] {
            fields.remove(name);
        }
        let of = |version| {
            let told = move |each: &&Interface| each.version == Some(version);
            places.iter().filter(told)
        };
        let listed = of(Version::V1_0).chain(of(Version::V0_3));
        let listed: Vec<Value> = listed.filter_map(|place| self.entry(place)).collect();
        let old: Vec<&Interface> = of(Version::V0_3).collect();
        match wording {
            Wording::Only(Version::V0_3) => fields.remove("supportedInterfaces"),
            Wording::Both | Wording::Only(Version::V1_0) => {
                fields.insert("supportedInterfaces".to_owned(), Value::Array(listed))
            }
        };
        match wording {
            Wording::Only(Version::V1_0) => forget_old(&mut fields),
            Wording::Both | Wording::Only(Version::V0_3) => self.tell_old(&mut fields, &old),
        }
        words::complete(&mut fields);
        if wording == Wording::Both {
            words::in_both_versions(&mut fields);
        }
        Self(fields)
    }

    /// The same card, with a name where it has none.
    #[must_use]
    pub fn or_named(mut self, name: &str) -> Self {
        if self.name().is_none() {
            self.0
                .insert("name".to_owned(), Value::String(name.to_owned()));
        }
        self
    }

    /// An entry of `supportedInterfaces`.
    fn entry(&self, place: &Interface) -> Option<Value> {
        let own = list(&self.0, "supportedInterfaces").find(|entry| {
            let shown = Interface::of_1_0(entry);
            (shown.binding, shown.version) == (place.binding, place.version)
        });
        let mut entry = own.cloned().unwrap_or_default();
        entry.insert("url".to_owned(), Value::String(place.url.clone()));
        set(
            &mut entry,
            "protocolBinding",
            Some(place.binding?.card_name()),
        );
        // The agent's own word, which may have a patch number, stays.
        if text(&entry, "protocolVersion").is_none() {
            set(&mut entry, "protocolVersion", Some(place.version?.as_str()));
        }
        set(&mut entry, "tenant", place.tenant.as_deref());
        Some(Value::Object(entry))
    }

    /// The fields in which 0.3 tells places. Its best practice is to name the main one twice.
    fn tell_old(&self, fields: &mut Map<String, Value>, places: &[&Interface]) {
        let Some((url, main)) = places
            .first()
            .and_then(|main| Some((main.url.clone(), main.binding?)))
        else {
            return forget_old(fields);
        };
        fields.insert("url".to_owned(), Value::String(url));
        set(fields, "preferredTransport", Some(main.card_name()));
        if !names_old_version(fields) {
            set(fields, "protocolVersion", Some(TOP_VERSION));
        }
        let entries = places.iter().filter_map(|place| self.old_entry(place));
        let entries = Value::Array(entries.collect());
        fields.insert("additionalInterfaces".to_owned(), entries);
    }

    /// An entry of `additionalInterfaces`.
    fn old_entry(&self, place: &Interface) -> Option<Value> {
        let binding: Binding = place.binding?;
        let own = list(&self.0, "additionalInterfaces")
            .find(|entry| Interface::of_0_3(entry).binding == Some(binding));
        let mut entry = own.cloned().unwrap_or_default();
        entry.insert("url".to_owned(), Value::String(place.url.clone()));
        set(&mut entry, "transport", Some(binding.card_name()));
        Some(Value::Object(entry))
    }
}

/// Takes away the fields in which 0.3 tells places; `protocolVersion` belongs to no other.
fn forget_old(fields: &mut Map<String, Value>) {
    for name in [
        "url",
        "preferredTransport",
        "additionalInterfaces",
        "protocolVersion",
    ] {
        fields.remove(name);
    }
}

fn names_old_version(fields: &Map<String, Value>) -> bool {
    text(fields, "protocolVersion").and_then(Version::parse) == Some(Version::V0_3)
}

fn set(fields: &mut Map<String, Value>, name: &str, value: Option<&str>) {
    match value {
        Some(value) => fields.insert(name.to_owned(), Value::String(value.to_owned())),
        None => fields.remove(name),
    };
}
