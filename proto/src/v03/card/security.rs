//! Security schemes and requirements in cards.
//!
//! # Invariants
//! - A scheme or a flow that one side does not know is left out, never half-written.

use serde_json::{Map, Value, json};

/// A way to authenticate: the `type` of JSON, and the member of the oneof.
type Scheme = (&'static str, &'static str);

const SCHEMES: [Scheme; 5] = [
    ("apiKey", "apiKeySecurityScheme"),
    ("http", "httpAuthSecurityScheme"),
    ("oauth2", "oauth2SecurityScheme"),
    ("openIdConnect", "openIdConnectSecurityScheme"),
    ("mutualTLS", "mtlsSecurityScheme"),
];

/// The one field that the two call differently: where a key goes.
const LOCATION: (&str, &str) = ("in", "location");

/// The flows that both versions have. 0.3 allows several at once in JSON, the oneof of 1.0 only one: the
/// first of these counts, in the order in which the Python SDK looks for them.
const FLOWS: [&str; 4] = [
    "authorizationCode",
    "clientCredentials",
    "implicit",
    "password",
];

/// Turns `security` and `securitySchemes` of a card of 0.3 into those of 1.0.
pub(super) fn to_1_0(fields: &mut Map<String, Value>) {
    requirements_to_1_0(fields);
    if let Some(Value::Object(schemes)) = fields.get_mut("securitySchemes") {
        schemes.retain(|_, scheme| scheme_to_1_0(scheme).is_some());
    }
}

fn scheme_to_1_0(scheme: &mut Value) -> Option<()> {
    let fields = scheme.as_object_mut()?;
    let Some(kind) = fields.remove("type") else {
        // Already a member of the oneof.
        return Some(());
    };
    let kind = kind.as_str()?;
    let (_, member) = SCHEMES.iter().find(|(name, _)| *name == kind)?;
    if let Some(value) = fields.remove(LOCATION.0) {
        fields.insert(LOCATION.1.to_owned(), value);
    }
    if let Some(Value::Object(flows)) = fields.get_mut("flows") {
        let first = FLOWS
            .iter()
            .find(|name| flows.get(**name).is_some_and(Value::is_object));
        flows.retain(|name, _| Some(name.as_str()) == first.copied());
    }
    let inside = std::mem::take(fields);
    *scheme = json!({ *member: inside });
    Some(())
}

/// Turns `security` of a card or a skill into `securityRequirements`.
pub(super) fn requirements_to_1_0(fields: &mut Map<String, Value>) {
    let Some(Value::Array(mut requirements)) = fields.remove("security") else {
        return;
    };
    for requirement in &mut requirements {
        let is_flat = |scopes: &Value| scopes.is_array();
        let Some(schemes) = requirement.as_object_mut() else {
            continue;
        };
        if !schemes.is_empty() && !schemes.values().all(is_flat) {
            continue;
        }
        let listed: Map<String, Value> = std::mem::take(schemes)
            .into_iter()
            .map(|(name, scopes)| (name, json!({"list": scopes})))
            .collect();
        schemes.insert("schemes".to_owned(), Value::Object(listed));
    }
    let new = Value::Array(requirements);
    fields.entry("securityRequirements").or_insert(new);
}

/// Turns `securityRequirements` of a card of 1.0 into `security`, in proto form, and leaves out schemes
/// that 0.3 lacks.
pub(super) fn of_1_0(fields: &mut Map<String, Value>) {
    requirements_of_1_0(fields);
    if let Some(Value::Object(schemes)) = fields.get_mut("securitySchemes") {
        schemes.retain(|_, scheme| scheme_of_1_0(scheme).is_some());
    }
}

pub(super) fn requirements_of_1_0(fields: &mut Map<String, Value>) {
    if let Some(requirements) = fields.remove("securityRequirements") {
        fields.insert("security".to_owned(), requirements);
    }
}

fn scheme_of_1_0(scheme: &mut Value) -> Option<()> {
    let Some(oauth) = scheme.get_mut("oauth2SecurityScheme") else {
        return Some(());
    };
    let flows = oauth.get_mut("flows")?.as_object_mut()?;
    flows.retain(|name, _| FLOWS.contains(&name.as_str()));
    if let Some(Value::Object(flow)) = flows.get_mut("authorizationCode") {
        flow.remove("pkceRequired");
    }
    (!flows.is_empty()).then_some(())
}

/// Writes security of a card as the JSON of 0.3 does: a `type` in each scheme, scopes as bare lists.
pub(super) fn flatten(fields: &mut Map<String, Value>) {
    flatten_requirements(fields);
    if let Some(Value::Object(schemes)) = fields.get_mut("securitySchemes") {
        schemes.retain(|_, scheme| flatten_scheme(scheme).is_some());
    }
}

fn flatten_scheme(scheme: &mut Value) -> Option<()> {
    let found = SCHEMES
        .iter()
        .find_map(|(kind, member)| Some((kind, scheme.get_mut(*member)?.take())));
    let (kind, Value::Object(mut fields)) = found? else {
        return None;
    };
    if let Some(value) = fields.remove(LOCATION.1) {
        fields.insert(LOCATION.0.to_owned(), value);
    }
    fields.insert("type".to_owned(), Value::from(*kind));
    *scheme = Value::Object(fields);
    Some(())
}

pub(super) fn flatten_requirements(fields: &mut Map<String, Value>) {
    let Some(Value::Array(requirements)) = fields.get_mut("security") else {
        return;
    };
    for requirement in requirements {
        let schemes = requirement.get_mut("schemes").map(Value::take);
        let Some(Value::Object(schemes)) = schemes else {
            *requirement = json!({});
            continue;
        };
        let flat: Map<String, Value> = schemes
            .into_iter()
            .map(|(name, mut scopes)| {
                let list = scopes.get_mut("list").map(Value::take);
                (name, list.unwrap_or_else(|| json!([])))
            })
            .collect();
        *requirement = Value::Object(flat);
    }
}
