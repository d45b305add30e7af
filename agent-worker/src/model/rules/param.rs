//! What kind of value each parameter of a tool takes, by its JSON Schema.

use mesh_mcp::zone;
use serde_json::{Map, Value};

use super::value::{self, Form};
use crate::session::{ToolKind, ToolSpec};

/// A parameter of a tool.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Param {
    /// Its name.
    pub(super) name: String,
    /// What is meant, in words.
    pub(super) description: String,
    /// Whether the tool can't do without it.
    pub(super) required: bool,
    /// What it takes.
    pub(super) kind: Kind,
}

/// What a parameter takes.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// One of these.
    Enum(Vec<Value>),
    /// Yes or no.
    Boolean,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// A text of a form that can be told by looking.
    Formed(Form),
    /// A short name for something.
    Name,
    /// A request in plain language: the clause itself.
    Message,
    /// Any text.
    Text,
    /// A list or an object.
    Json,
}

/// The parameters of a tool: the required ones in the order in which the tool requires them, then the
/// others in the order of the schema.
pub(super) fn of(tool: &ToolSpec) -> Vec<Param> {
    let none = Map::new();
    let properties = tool
        .input
        .get("properties")
        .and_then(Value::as_object)
        .unwrap_or(&none);
    let required: Vec<&str> = tool
        .input
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let optional = properties
        .keys()
        .map(String::as_str)
        .filter(|name| !required.contains(name));
    let names: Vec<&str> = required.iter().copied().chain(optional).collect();
    let params = names.into_iter().map(|name| {
        let schema = resolved(properties.get(name).unwrap_or(&Value::Null), &tool.input);
        let description = schema
            .get("description")
            .and_then(Value::as_str)
            .unwrap_or_default();
        Param {
            name: name.to_owned(),
            description: description.to_owned(),
            required: required.contains(&name),
            kind: kind(tool.kind, name, description, schema),
        }
    });
    params.collect()
}

impl Param {
    /// Makes a value of a text that is meant for this parameter.
    pub(super) fn read(&self, text: &str) -> Option<Value> {
        let text = text.trim();
        match &self.kind {
            Kind::Enum(values) => values.iter().find(|value| is_said(value, text)).cloned(),
            Kind::Boolean => match text.to_lowercase().as_str() {
                "true" | "yes" | "on" | "1" => Some(Value::Bool(true)),
                "false" | "no" | "off" | "0" => Some(Value::Bool(false)),
                _ => None,
            },
            Kind::Integer => value::number(text)?.parse::<i64>().ok().map(Value::from),
            Kind::Number => value::number(text)?.parse::<f64>().ok().map(Value::from),
            Kind::Json => serde_json::from_str(text)
                .ok()
                .filter(|v| matches!(v, Value::Array(_) | Value::Object(_))),
            Kind::Formed(Form::Zone) if zone::resolve(text).is_some() => {
                zone::resolve(text)?.iana_name().map(Value::from)
            }
            Kind::Formed(_) | Kind::Name | Kind::Message | Kind::Text => {
                (!text.is_empty()).then(|| Value::from(text))
            }
        }
    }

    /// Whether a value given as data may stand.
    pub(super) fn takes(&self, value: &Value) -> bool {
        match &self.kind {
            Kind::Enum(values) => values.contains(value),
            Kind::Boolean => value.is_boolean(),
            Kind::Integer => value.as_f64().is_some_and(|n| n.fract() == 0.0),
            Kind::Number => value.is_number(),
            Kind::Json => value.is_array() || value.is_object(),
            Kind::Formed(_) | Kind::Name | Kind::Message | Kind::Text => value.is_string(),
        }
    }

    /// Whether any text at all would do.
    pub(super) const fn is_free(&self) -> bool {
        matches!(self.kind, Kind::Name | Kind::Message | Kind::Text)
    }
}

/// Whether a value of an enumeration is what was said.
pub(super) fn is_said(value: &Value, text: &str) -> bool {
    match value {
        Value::String(word) => word.eq_ignore_ascii_case(text),
        other => text.parse::<Value>().is_ok_and(|value| value == *other),
    }
}

fn kind(tool: ToolKind, name: &str, description: &str, schema: &Value) -> Kind {
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        return Kind::Enum(values.clone());
    }
    match type_of(schema) {
        "boolean" => Kind::Boolean,
        "integer" => Kind::Integer,
        "number" => Kind::Number,
        "array" | "object" => Kind::Json,
        _ => text_kind(tool, name, description, schema),
    }
}

fn text_kind(tool: ToolKind, name: &str, description: &str, schema: &Value) -> Kind {
    let format = schema
        .get("format")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let name = name.to_lowercase();
    let words: Vec<&str> = name.split(|c: char| !c.is_alphanumeric()).collect();
    let named = |any: &[&str]| words.iter().any(|word| any.contains(word));
    let description = description.to_lowercase();
    if tool == ToolKind::Agent && name == "message" {
        Kind::Message
    } else if format == "uri" || named(&["url", "uri"]) {
        Kind::Formed(Form::Url)
    } else if named(&["zone", "timezone", "tz"]) || description.contains("time zone") {
        Kind::Formed(Form::Zone)
    } else if format == "date" || named(&["date", "day"]) {
        Kind::Formed(Form::Date)
    } else if format == "time" || named(&["time"]) {
        Kind::Formed(Form::Time)
    } else if named(&["expression", "expr", "formula"]) || description.contains("arithmetic") {
        Kind::Formed(Form::Sum)
    } else if named(&["path", "file", "filename", "folder", "directory"]) {
        Kind::Formed(Form::Path)
    } else if named(&["key", "name", "title", "id", "subject", "label"]) {
        Kind::Name
    } else {
        Kind::Text
    }
}

/// Follows a reference within the schema, and the first choice that is not null.
fn resolved<'a>(schema: &'a Value, root: &'a Map<String, Value>) -> &'a Value {
    let mut schema = schema;
    for _ in 0..DEPTH {
        let reference = schema.get("$ref").and_then(Value::as_str);
        let choices = schema
            .get("anyOf")
            .or_else(|| schema.get("oneOf"))
            .and_then(Value::as_array);
        let next = if let Some(path) = reference.and_then(|reference| reference.strip_prefix("#/"))
        {
            let mut parts = path.split('/');
            let first = parts.next().and_then(|part| root.get(part));
            parts.fold(first, |at, part| at?.get(part))
        } else {
            choices
                .into_iter()
                .flatten()
                .find(|choice| type_of(choice) != "null")
        };
        match next {
            Some(next) => schema = next,
            None => break,
        }
    }
    schema
}

/// The type; the first that is not null where there are several.
fn type_of(schema: &Value) -> &str {
    match schema.get("type") {
        Some(Value::String(name)) => name,
        Some(Value::Array(names)) => names
            .iter()
            .filter_map(Value::as_str)
            .find(|name| *name != "null")
            .unwrap_or("null"),
        _ => "",
    }
}

/// How many references are followed: a schema may be a circle.
const DEPTH: usize = 8;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kinds(schema: Value) -> Vec<(String, bool, Kind)> {
        let Value::Object(input) = schema else {
            panic!("a schema is an object")
        };
        let tool = ToolSpec {
            name: "t".to_owned(),
            description: String::new(),
            input,
            kind: ToolKind::Tool,
        };
        of(&tool)
            .into_iter()
            .map(|param| (param.name, param.required, param.kind))
            .collect()
    }

    #[test]
    fn required_parameters_come_first_in_the_order_of_the_tool() {
        let found = kinds(json!({
            "properties": {
                "a": {"type": "string"},
                "limit": {"type": ["integer", "null"]},
                "source_timezone": {"type": "string"},
                "color": {"$ref": "#/$defs/Color"},
                "when": {"anyOf": [{"type": "null"}, {"type": "string", "format": "date"}]},
            },
            "required": ["source_timezone", "a"],
            "$defs": {"Color": {"enum": ["red", "blue"]}},
        }));
        let colors = Kind::Enum(vec![json!("red"), json!("blue")]);
        let expected = [
            ("source_timezone", true, Kind::Formed(Form::Zone)),
            ("a", true, Kind::Text),
            ("color", false, colors),
            ("limit", false, Kind::Integer),
            ("when", false, Kind::Formed(Form::Date)),
        ]
        .map(|(name, required, kind)| (name.to_owned(), required, kind));
        assert_eq!(found, expected);
    }

    #[test]
    fn a_schema_that_refers_to_itself_ends() {
        let found = kinds(json!({
            "properties": {"a": {"$ref": "#/$defs/A"}, "b": {"$ref": "#/nowhere"}, "c": 1},
            "$defs": {"A": {"$ref": "#/$defs/A"}},
        }));
        assert!(found.iter().all(|(_, _, kind)| *kind == Kind::Text));
    }
}
