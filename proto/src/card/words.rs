//! The fields of a card besides its places: completed, and said in the words of both versions.
//!
//! Readers are strict in different ways. Those of 0.3 refuse a card without `skills` or with a
//! security scheme that has no `type`; ProtoJSON leaves empty lists out, and some readers of 1.0 refuse
//! a scheme that is not in the field of its kind. One card can please all of them, since each ignores
//! the fields that it does not know.
//!
//! # Invariants
//! - What a field says is never changed, only said again where other readers look for it.
//! - A field of the wrong type is taken away where it is optional, and emptied where it is required.

use serde_json::{Map, Value, json};

type Fields = Map<String, Value>;

/// Kinds of security schemes: `type` of 0.3, and the field of 1.0 (spec 4.5).
const SCHEMES: [(&str, &str); 5] = [
    ("apiKey", "apiKeySecurityScheme"),
    ("http", "httpAuthSecurityScheme"),
    ("oauth2", "oauth2SecurityScheme"),
    ("openIdConnect", "openIdConnectSecurityScheme"),
    ("mutualTLS", "mtlsSecurityScheme"),
];

/// Gives a card every field that the versions require (1.0: 4.4.1; 0.3: 5.5), and no known field a
/// type that a reader would stumble over.
pub(super) fn complete(fields: &mut Fields) {
    for name in ["name", "description", "version"] {
        require_text(fields, name, "");
    }
    for name in ["documentationUrl", "iconUrl"] {
        keep_if(fields, name, Value::is_string);
    }
    for name in ["defaultInputModes", "defaultOutputModes"] {
        require_list(fields, name);
        texts_only(fields, name);
    }
    keep_if(fields, "provider", Value::is_object);
    if let Some(Value::Object(provider)) = fields.get_mut("provider") {
        require_text(provider, "organization", "");
        require_text(provider, "url", "");
    }
    if !fields.get("capabilities").is_some_and(Value::is_object) {
        fields.insert("capabilities".to_owned(), json!({}));
    }
    if let Some(Value::Object(capabilities)) = fields.get_mut("capabilities") {
        complete_capabilities(capabilities);
    }
    keep_if(
        fields,
        "supportsAuthenticatedExtendedCard",
        Value::is_boolean,
    );
    keep_if(fields, "securitySchemes", Value::is_object);
    if let Some(Value::Object(schemes)) = fields.get_mut("securitySchemes") {
        schemes.retain(|_, scheme| scheme.is_object());
    }
    complete_security(fields);
    require_list(fields, "skills");
    for skill in objects(fields, "skills") {
        complete_skill(skill);
    }
}

/// Says what a card of either version says in the words of the other, too.
pub(super) fn in_both_versions(fields: &mut Fields) {
    extended_card(fields);
    if let Some(Value::Object(schemes)) = fields.get_mut("securitySchemes") {
        for scheme in schemes.values_mut().filter_map(Value::as_object_mut) {
            scheme_in_both(scheme);
        }
    }
    security_in_both(fields);
    for skill in objects(fields, "skills") {
        security_in_both(skill);
    }
}

fn complete_capabilities(capabilities: &mut Fields) {
    for name in [
        "streaming",
        "pushNotifications",
        "extendedAgentCard",
        "stateTransitionHistory",
    ] {
        keep_if(capabilities, name, Value::is_boolean);
    }
    keep_if(capabilities, "extensions", Value::is_array);
    for extension in objects(capabilities, "extensions") {
        require_text(extension, "uri", "");
        keep_if(extension, "description", Value::is_string);
        keep_if(extension, "required", Value::is_boolean);
        keep_if(extension, "params", Value::is_object);
    }
}

fn complete_skill(skill: &mut Fields) {
    let own = |name: &str| skill.get(name).and_then(Value::as_str).map(str::to_owned);
    let (id, name) = (own("id"), own("name"));
    let (for_id, for_name) = (name.unwrap_or_default(), id.unwrap_or_default());
    require_text(skill, "id", &for_id);
    require_text(skill, "name", &for_name);
    require_text(skill, "description", "");
    require_list(skill, "tags");
    for name in ["tags", "examples", "inputModes", "outputModes"] {
        keep_if(skill, name, Value::is_array);
        texts_only(skill, name);
    }
    complete_security(skill);
}

fn complete_security(fields: &mut Fields) {
    for name in ["security", "securityRequirements"] {
        keep_if(fields, name, Value::is_array);
        // Only objects remain.
        objects(fields, name).for_each(drop);
    }
}

/// 0.3 says it at the top, 1.0 among the capabilities.
fn extended_card(fields: &mut Fields) {
    let old = fields.get("supportsAuthenticatedExtendedCard") == Some(&Value::Bool(true));
    let Some(Value::Object(capabilities)) = fields.get_mut("capabilities") else {
        return;
    };
    let new = capabilities.get("extendedAgentCard").cloned();
    match new {
        None if old => {
            capabilities.insert("extendedAgentCard".to_owned(), Value::Bool(true));
        }
        Some(Value::Bool(true)) => {
            fields.insert(
                "supportsAuthenticatedExtendedCard".to_owned(),
                Value::Bool(true),
            );
        }
        None | Some(_) => {}
    }
}

/// A scheme has a `type` beside its fields in 0.3, and its fields in one of the type's name in 1.0.
fn scheme_in_both(scheme: &mut Fields) {
    let old = scheme.get("type").and_then(Value::as_str);
    let old = SCHEMES.iter().find(|(name, _)| Some(*name) == old);
    let new = SCHEMES
        .iter()
        .find(|(_, field)| scheme.get(*field).is_some_and(Value::is_object));
    match (old, new) {
        (Some((_, field)), None) => {
            let mut inner = scheme.clone();
            inner.remove("type");
            rename(&mut inner, "in", "location");
            scheme.insert((*field).to_owned(), Value::Object(inner));
        }
        (None, Some((name, field))) => {
            let Some(Value::Object(mut inner)) = scheme.get(*field).cloned() else {
                return;
            };
            rename(&mut inner, "location", "in");
            for (key, value) in inner {
                scheme.entry(key).or_insert(value);
            }
            scheme.insert("type".to_owned(), Value::String((*name).to_owned()));
        }
        (Some(_), Some(_)) | (None, None) => {}
    }
}

/// `security` of 0.3 is `[{"scheme": ["scope"]}]`; 1.0 says
/// `securityRequirements: [{"schemes": {"scheme": {"list": ["scope"]}}}]`.
fn security_in_both(fields: &mut Fields) {
    let (old, new) = (fields.get("security"), fields.get("securityRequirements"));
    match (old, new) {
        (Some(old), None) => {
            let told = each_requirement(old, |schemes| {
                let schemes = schemes.iter().map(|(name, scopes)| {
                    let list = if scopes.is_array() {
                        scopes.clone()
                    } else {
                        json!([])
                    };
                    (name.clone(), json!({ "list": list }))
                });
                json!({ "schemes": schemes.collect::<Fields>() })
            });
            fields.insert("securityRequirements".to_owned(), told);
        }
        (None, Some(new)) => {
            let told = each_requirement(new, |requirement| {
                let schemes = requirement.get("schemes").and_then(Value::as_object);
                let schemes = schemes.into_iter().flatten().map(|(name, scopes)| {
                    let list = scopes.get("list").cloned().unwrap_or_else(|| json!([]));
                    (name.clone(), list)
                });
                Value::Object(schemes.collect())
            });
            fields.insert("security".to_owned(), told);
        }
        (Some(_), Some(_)) | (None, None) => {}
    }
}

fn each_requirement(all: &Value, tell: impl Fn(&Fields) -> Value) -> Value {
    let all = all.as_array().into_iter().flatten();
    Value::Array(all.filter_map(Value::as_object).map(tell).collect())
}

/// The objects of a list; whatever else is in it goes.
fn objects<'a>(fields: &'a mut Fields, name: &str) -> impl Iterator<Item = &'a mut Fields> {
    if let Some(Value::Array(entries)) = fields.get_mut(name) {
        entries.retain(Value::is_object);
    }
    let entries = fields.get_mut(name).and_then(Value::as_array_mut);
    entries
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
}

fn texts_only(fields: &mut Fields, name: &str) {
    if let Some(Value::Array(entries)) = fields.get_mut(name) {
        entries.retain(Value::is_string);
    }
}

fn require_text(fields: &mut Fields, name: &str, otherwise: &str) {
    if !fields.get(name).is_some_and(Value::is_string) {
        fields.insert(name.to_owned(), Value::String(otherwise.to_owned()));
    }
}

fn require_list(fields: &mut Fields, name: &str) {
    if !fields.get(name).is_some_and(Value::is_array) {
        fields.insert(name.to_owned(), json!([]));
    }
}

fn keep_if(fields: &mut Fields, name: &str, fits: impl Fn(&Value) -> bool) {
    if fields.get(name).is_some_and(|value| !fits(value)) {
        fields.remove(name);
    }
}

fn rename(fields: &mut Fields, from: &str, to: &str) {
    if let Some(value) = fields.remove(from) {
        fields.entry(to).or_insert(value);
    }
}
