//! Where the agent says it listens: interfaces of both versions, and whether they agree.

use std::collections::BTreeSet;

use mesh_proto::{Binding, Version};
use serde_json::{Map, Value};
use url::Url;

use super::{Report, Subject, Written, address, objects, quoted, text};

pub(super) fn check(card: &Subject<'_>, report: &mut Report) {
    if card.written != Written::For0_3 {
        of_1_0(card.fields, report);
    }
    if card.written != Written::For1_0 {
        of_0_3(card.fields, report);
    }
    match card.written {
        Written::ForBoth => agreement(card.fields, report),
        Written::For0_3 => {
            let words = "a card of 0.3 alone: a client of 1.0 finds no `supportedInterfaces`";
            report.note("", words);
        }
        Written::For1_0 => {}
    }
    for name in ["documentationUrl", "iconUrl"] {
        if let Some(link) = text(card.fields, name) {
            address::link(&format!("/{name}"), link, report);
        }
    }
    let provider = card.fields.get("provider").and_then(Value::as_object);
    if let Some(link) = provider.and_then(|provider| text(provider, "url")) {
        address::link("/provider/url", link, report);
    }
}

fn of_1_0(card: &Map<String, Value>, report: &mut Report) {
    let Some(Value::Array(listed)) = card.get("supportedInterfaces") else {
        return;
    };
    let (mut seen, mut usable) = (BTreeSet::new(), 0);
    for (pointer, entry) in objects(card, "", "supportedInterfaces") {
        let (url, name) = (text(entry, "url"), text(entry, "protocolBinding"));
        let binding = name.and_then(Binding::from_card_name);
        if let Some(name) = name {
            binding_name(&format!("{pointer}/protocolBinding"), name, report);
        }
        let version = text(entry, "protocolVersion");
        if let Some(version) = version {
            version_number(&format!("{pointer}/protocolVersion"), version, report);
        }
        if let Some(url) = url {
            address::interface(&format!("{pointer}/url"), url, binding, report);
        }
        let is_known_version = version.is_some_and(|version| Version::parse(version).is_some());
        usable += usize::from(binding.is_some() && is_known_version && url.is_some());
        if !seen.insert((url, name, version, text(entry, "tenant"))) {
            report.warning(pointer, "the same interface is listed before");
        }
    }
    if listed.is_empty() {
        report.error(
            "/supportedInterfaces",
            "it is empty: nobody can call the agent",
        );
    } else if usable == 0 {
        let words = "no interface is of a binding and a version that are known here";
        report.error("/supportedInterfaces", words);
    }
}

fn of_0_3(card: &Map<String, Value>, report: &mut Report) {
    let main = text(card, "preferredTransport").unwrap_or("JSONRPC");
    binding_name("/preferredTransport", main, report);
    let main_binding = Binding::from_card_name(main);
    if let Some(url) = text(card, "url") {
        address::interface("/url", url, main_binding, report);
    }
    match text(card, "protocolVersion").map(|version| (version, Version::parse(version))) {
        Some((_, Some(Version::V0_3))) | None => {}
        Some((version, Some(Version::V1_0))) => {
            let words = format!(
                "{} at the top of a card: 1.0 puts it into each interface",
                quoted(version)
            );
            report.warning("/protocolVersion", words);
        }
        Some((version, None)) => {
            let words = format!("{} is a version that is not known here", quoted(version));
            report.warning("/protocolVersion", words);
        }
    }
    for (pointer, entry) in objects(card, "", "additionalInterfaces") {
        let name = text(entry, "transport").unwrap_or_default();
        let binding = Binding::from_card_name(name);
        if !name.is_empty() {
            binding_name(&format!("{pointer}/transport"), name, report);
        }
        let Some(url) = text(entry, "url") else {
            continue;
        };
        address::interface(&format!("{pointer}/url"), url, binding, report);
    }
    main_is_listed(card, main, report);
}

/// An address may be of several transports in 0.3 (the words at `AgentCard.additionalInterfaces`). But
/// where the list has the card's own address, it should have it with the card's own transport, too.
fn main_is_listed(card: &Map<String, Value>, main: &str, report: &mut Report) {
    let listed: Vec<_> = objects(card, "", "additionalInterfaces")
        .filter(|(_, entry)| text(entry, "url") == text(card, "url"))
        .filter_map(|(pointer, entry)| Some((pointer, text(entry, "transport")?)))
        .collect();
    let is_listed = listed
        .iter()
        .any(|(_, name)| name.eq_ignore_ascii_case(main));
    if let Some((pointer, name)) = listed.into_iter().next()
        && !is_listed
    {
        let words = format!(
            "the card's own `url` is of {}, and here the same is of {} alone",
            quoted(main),
            quoted(name)
        );
        report.warning(pointer, words);
    }
}

/// A card for both must send clients of both to the same agent.
fn agreement(card: &Map<String, Value>, report: &mut Report) {
    let of_0_3 = |entry: &Map<String, Value>| {
        text(entry, "protocolVersion").and_then(Version::parse) == Some(Version::V0_3)
    };
    let mut listed = objects(card, "", "supportedInterfaces").map(|(_, entry)| entry);
    if !listed.any(of_0_3) {
        let words = "no entry has version 0.3, though the card has fields of 0.3: a client that \
                     reads entries alone does not find what a client of 0.3 finds at `url`";
        report.warning("/supportedInterfaces", words);
    }
    let extended = card
        .get("capabilities")
        .and_then(|of| of.get("extendedAgentCard"));
    let extended = extended.and_then(Value::as_bool).unwrap_or_default();
    let old = card.get("supportsAuthenticatedExtendedCard");
    if old.and_then(Value::as_bool).unwrap_or_default() != extended {
        let words = "`capabilities.extendedAgentCard` says otherwise";
        let pointer = old.map_or("", |_| "/supportsAuthenticatedExtendedCard");
        report.warning(pointer, words);
    }
}

fn binding_name(pointer: &str, name: &str, report: &mut Report) {
    match Binding::from_card_name(name) {
        Some(known) if known.card_name() != name => {
            let words = format!("{} is written {}", quoted(name), known.card_name());
            report.warning(pointer, words);
        }
        Some(_) => {}
        // Specification 12: a custom binding is named by a URI.
        None if Url::parse(name).is_ok() => {
            report.note(pointer, format!("{} is a binding of its own", quoted(name)));
        }
        None => {
            let words = format!(
                "{} is neither JSONRPC, GRPC, HTTP+JSON nor the URI of a binding",
                quoted(name)
            );
            report.error(pointer, words);
        }
    }
}

fn version_number(pointer: &str, version: &str, report: &mut Report) {
    if Version::parse(version).is_none() {
        let words = format!("{} is a version that is not known here", quoted(version));
        report.warning(pointer, words);
    } else if version.split('.').count() > 2 {
        let words = "patch numbers do not count, and some clients compare the whole text";
        report.warning(pointer, words);
    }
}
