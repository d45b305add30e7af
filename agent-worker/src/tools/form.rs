//! A form: a tool that an agents file describes field by field, and that files what it collects by
//! calling another tool.
//!
//! # Invariants
//! - A form reports as done what its tool has done, never more: when filing fails, the form fails.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{
    session::{CallContext, Ending, ToolKind, ToolOutput, ToolSpec},
    tools::mcp,
};

/// A form as the file has it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The tool's name.
    pub name: String,
    /// What it is for, with the words that people use.
    pub description: String,
    /// What must be known, in the order in which it is asked for.
    pub fields: Vec<Field>,
    /// The tool that files it, as `server.tool`.
    pub file_with: String,
    /// That tool's arguments; `{field}` stands for a field's value.
    pub arguments: BTreeMap<String, String>,
    /// What to say when it is filed; `{field}` stands for a field's value.
    pub say: String,
}

/// One field of a form. All are required: what may be missing is no field.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// What is meant, for people and models.
    pub description: String,
    /// What kind of value it takes. Default: text.
    #[serde(default)]
    pub kind: FieldKind,
}

/// What kind of value a field takes.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldKind {
    /// Any text.
    #[default]
    Text,
    /// A whole number from 1 on.
    Count,
    /// A day, as YYYY-MM-DD.
    Date,
    /// A time of day, as HH:MM.
    Time,
}

/// A form with the server that files it.
#[derive(Debug)]
pub struct Form {
    config: Config,
    server: Arc<mcp::Server>,
    tool: String,
}

impl Form {
    /// Binds a form to its server.
    #[must_use]
    pub fn new(config: Config, server: Arc<mcp::Server>, tool: String) -> Self {
        Self {
            config,
            server,
            tool,
        }
    }

    /// The tool's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// The form as a model sees it.
    #[must_use]
    pub fn spec(&self) -> ToolSpec {
        let mut properties = Map::new();
        for field in &self.config.fields {
            properties.insert(field.name.clone(), field.schema());
        }
        let required: Vec<&str> = self.config.fields.iter().map(|f| f.name.as_str()).collect();
        let mut input = Map::new();
        input.insert("type".to_owned(), json!("object"));
        input.insert("properties".to_owned(), Value::Object(properties));
        input.insert("required".to_owned(), json!(required));
        ToolSpec {
            name: self.config.name.clone(),
            description: self.config.description.clone(),
            input,
            kind: ToolKind::Tool,
        }
    }

    /// Checks the fields and files them.
    pub async fn call(&self, arguments: &Map<String, Value>, context: &CallContext) -> ToolOutput {
        let mut values = BTreeMap::new();
        for field in &self.config.fields {
            match field.read(arguments.get(&field.name)) {
                Ok(value) => values.insert(field.name.as_str(), value),
                Err(complaint) => return ToolOutput::failed(complaint),
            };
        }
        let filed = self.config.arguments.iter();
        let filed = filed.map(|(key, text)| (key.clone(), Value::String(fill(text, &values))));
        let output = self.server.call(&self.tool, filed.collect(), context).await;
        if output.ending != Ending::Done {
            return output;
        }
        ToolOutput {
            text: fill(&self.config.say, &values),
            structured: Some(Value::Object(arguments.clone())),
            ending: Ending::Done,
        }
    }
}

impl Field {
    fn schema(&self) -> Value {
        let description = &self.description;
        match self.kind {
            FieldKind::Text => json!({"type": "string", "description": description}),
            FieldKind::Count => {
                json!({"type": "integer", "minimum": 1, "description": description})
            }
            FieldKind::Date => {
                json!({"type": "string", "format": "date", "description": description})
            }
            FieldKind::Time => {
                json!({"type": "string", "format": "time", "description": description})
            }
        }
    }

    fn read(&self, value: Option<&Value>) -> Result<String, String> {
        let name = &self.name;
        let text = match value {
            Some(Value::String(text)) => text.trim().to_owned(),
            Some(Value::Number(number)) => number.to_string(),
            Some(_) => return Err(format!("{name} must be text or a number")),
            None => return Err(format!("{name} is missing: {}", self.description)),
        };
        let (fits, wanted) = match self.kind {
            FieldKind::Text => (!text.is_empty(), "must not be empty"),
            FieldKind::Count => (
                text.parse::<u32>().is_ok_and(|n| n > 0),
                "must be a whole number from 1 on",
            ),
            FieldKind::Date => (
                text.parse::<jiff::civil::Date>().is_ok(),
                "must be a date, YYYY-MM-DD",
            ),
            FieldKind::Time => (
                text.parse::<jiff::civil::Time>().is_ok(),
                "must be a time, HH:MM",
            ),
        };
        if fits {
            Ok(text)
        } else {
            Err(format!("{name} {wanted}, not {text:?}"))
        }
    }
}

/// Puts values in the place of `{field}`, in one pass, so that a value is never read as a template.
fn fill(template: &str, values: &BTreeMap<&str, String>) -> String {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let named = after
            .split_once('}')
            .and_then(|(name, rest)| Some((values.get(name)?, rest)));
        match named {
            Some((value, after)) => {
                filled.push_str(value);
                rest = after;
            }
            None => {
                filled.push('{');
                rest = after;
            }
        }
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_takes_values_once_and_leaves_unknown_names() {
        let values = BTreeMap::from([
            ("name", "{date}".to_owned()),
            ("date", "2026-12-01".to_owned()),
        ]);
        assert_eq!(
            fill("{name} on {date}, {x} {", &values),
            "{date} on 2026-12-01, {x} {"
        );
    }

    #[test]
    fn a_field_takes_only_its_kind_of_value() {
        let read = |kind, value| {
            let field = Field {
                name: "f".to_owned(),
                description: "d".to_owned(),
                kind,
            };
            field.read(Some(&value))
        };
        assert_eq!(read(FieldKind::Count, json!(4)).as_deref(), Ok("4"));
        assert_eq!(
            read(FieldKind::Date, json!("2026-12-01")).as_deref(),
            Ok("2026-12-01")
        );
        assert_eq!(
            read(FieldKind::Time, json!("14:30")).as_deref(),
            Ok("14:30")
        );
        for (kind, value) in [
            (FieldKind::Count, json!(0)),
            (FieldKind::Count, json!("many")),
            (FieldKind::Date, json!("2026-13-01")),
            (FieldKind::Time, json!("25:00")),
            (FieldKind::Text, json!("  ")),
            (FieldKind::Text, json!([])),
        ] {
            assert!(read(kind, value.clone()).is_err(), "{kind:?} {value}");
        }
    }
}
