//! Whether each field is there where it must be, and of its type.

use serde_json::{Map, Value};

use super::{Report, Subject, Written, entries, objects, step};

#[derive(Clone, Copy)]
enum Kind {
    Text,
    Flag,
    Object,
    /// A list of strings.
    Texts,
    /// A list of objects.
    Objects,
}

#[derive(Clone, Copy)]
enum Presence {
    Required,
    Optional,
}

use Kind::{Flag, Object, Objects, Text, Texts};
use Presence::{Optional, Required};

type Field = (&'static str, Kind, Presence);

/// What 1.0 and 0.3 have in common.
const CARD: &[Field] = &[
    ("name", Text, Required),
    ("description", Text, Required),
    ("version", Text, Required),
    ("capabilities", Object, Required),
    ("defaultInputModes", Texts, Required),
    ("defaultOutputModes", Texts, Required),
    ("skills", Objects, Required),
    ("provider", Object, Optional),
    ("documentationUrl", Text, Optional),
    ("iconUrl", Text, Optional),
    ("securitySchemes", Object, Optional),
    ("signatures", Objects, Optional),
];
const OF_1_0: &[Field] = &[
    ("supportedInterfaces", Objects, Required),
    ("securityRequirements", Objects, Optional),
];
const OF_0_3: &[Field] = &[
    ("url", Text, Required),
    ("protocolVersion", Text, Required),
    ("preferredTransport", Text, Optional),
    ("additionalInterfaces", Objects, Optional),
    ("security", Objects, Optional),
    ("supportsAuthenticatedExtendedCard", Flag, Optional),
];
const PROVIDER: &[Field] = &[("organization", Text, Required), ("url", Text, Required)];
const CAPABILITIES: &[Field] = &[
    ("streaming", Flag, Optional),
    ("pushNotifications", Flag, Optional),
    ("extendedAgentCard", Flag, Optional),
    ("stateTransitionHistory", Flag, Optional),
    ("extensions", Objects, Optional),
];
const EXTENSION: &[Field] = &[
    ("uri", Text, Required),
    ("description", Text, Optional),
    ("required", Flag, Optional),
    ("params", Object, Optional),
];
const SKILL: &[Field] = &[
    ("id", Text, Required),
    ("name", Text, Required),
    ("description", Text, Required),
    ("tags", Texts, Required),
    ("examples", Texts, Optional),
    ("inputModes", Texts, Optional),
    ("outputModes", Texts, Optional),
    ("securityRequirements", Objects, Optional),
];
const INTERFACE_1_0: &[Field] = &[
    ("url", Text, Required),
    ("protocolBinding", Text, Required),
    ("protocolVersion", Text, Required),
    ("tenant", Text, Optional),
];
const INTERFACE_0_3: &[Field] = &[("url", Text, Required), ("transport", Text, Required)];

pub(super) fn check(card: &Subject<'_>, report: &mut Report) {
    let fields = card.fields;
    fields_of(fields, "", CARD, report);
    if card.written != Written::For0_3 {
        fields_of(fields, "", OF_1_0, report);
    }
    if card.written != Written::For1_0 {
        fields_of(fields, "", OF_0_3, report);
    }
    for (name, of) in [("provider", PROVIDER), ("capabilities", CAPABILITIES)] {
        if let Some(Value::Object(inner)) = fields.get(name) {
            fields_of(inner, &format!("/{name}"), of, report);
        }
    }
    if let Some(Value::Object(inner)) = fields.get("capabilities") {
        each(inner, "/capabilities", "extensions", EXTENSION, report);
    }
    each(fields, "", "skills", SKILL, report);
    each(fields, "", "supportedInterfaces", INTERFACE_1_0, report);
    each(fields, "", "additionalInterfaces", INTERFACE_0_3, report);
    unknown(fields, report);
}

fn each(fields: &Map<String, Value>, at: &str, name: &str, of: &[Field], report: &mut Report) {
    for (pointer, entry) in objects(fields, at, name) {
        fields_of(entry, &pointer, of, report);
    }
}

fn fields_of(fields: &Map<String, Value>, at: &str, of: &[Field], report: &mut Report) {
    for (name, kind, presence) in of {
        let pointer = format!("{at}/{name}");
        match (fields.get(*name), presence) {
            (None | Some(Value::Null), Required) => {
                report.error(at, format!("`{name}` is required and missing"));
            }
            (None | Some(Value::Null), Optional) => {}
            (Some(Value::String(text)), Required) if text.trim().is_empty() => {
                report.error(pointer, "required and empty");
            }
            (Some(value), _) => of_kind(value, fields, at, (name, *kind), report),
        }
    }
}

fn of_kind(
    value: &Value,
    fields: &Map<String, Value>,
    at: &str,
    (name, kind): (&str, Kind),
    report: &mut Report,
) {
    let (fits, wanted) = match kind {
        Text => (value.is_string(), "a string"),
        Flag => (value.is_boolean(), "true or false"),
        Object => (value.is_object(), "an object"),
        Texts | Objects => (value.is_array(), "a list"),
    };
    if !fits {
        report.error(format!("{at}/{name}"), format!("not {wanted}"));
        return;
    }
    let wanted: (fn(&Value) -> bool, _) = match kind {
        Texts => (Value::is_string, "a string"),
        Objects => (Value::is_object, "an object"),
        Text | Flag | Object => return,
    };
    for (pointer, entry) in entries(fields, at, name) {
        if !(wanted.0)(entry) {
            report.error(pointer, format!("not {}", wanted.1));
        }
    }
}

/// A field that nobody knows is often one that is misspelt.
fn unknown(fields: &Map<String, Value>, report: &mut Report) {
    let known = |name: &str| {
        [CARD, OF_1_0, OF_0_3]
            .iter()
            .any(|of| of.iter().any(|(known, ..)| *known == name))
    };
    for name in fields.keys().filter(|name| !known(name)) {
        let words = "no field of a card in 1.0 or 0.3: readers pass over it";
        report.note(format!("/{}", step(name)), words);
    }
}
