//! Says in words what a tool answered.

use serde_json::{Map, Value};

use crate::session::{Ending, ToolOutput};

/// The answer of a tool as a line or more.
pub(super) fn answer(tool: &str, output: &ToolOutput) -> String {
    if output.ending != Ending::Done {
        return format!("{tool} failed: {}", output.text);
    }
    // A tool that words its answer itself is not worded again.
    let worded = serde_json::from_str::<Value>(&output.text).is_err() && !output.text.is_empty();
    match &output.structured {
        Some(data) if !worded => data_in_words(data),
        _ if output.text.is_empty() => format!("{tool} is done."),
        _ => output.text.clone(),
    }
}

/// The value that another call takes over: the result alone where there is one.
pub(super) fn value(output: &ToolOutput) -> String {
    let data = output.structured.as_ref().and_then(Value::as_object);
    let result = data.and_then(|data| {
        ["result", "text", "rfc3339"]
            .iter()
            .find_map(|k| data.get(*k))
    });
    result.map_or_else(|| answer("the tool", output), scalar)
}

fn data_in_words(data: &Value) -> String {
    let Value::Object(data) = data else {
        return scalar(data);
    };
    let has = |keys: &[&str]| keys.iter().all(|key| data.contains_key(*key));
    let of = |key: &str| data.get(key).map(scalar).unwrap_or_default();
    if has(&["expression", "result"]) {
        let sign = if data.get("exact") == Some(&Value::Bool(false)) {
            "≈"
        } else {
            "="
        };
        format!("{} {sign} {}", of("expression"), of("result"))
    } else if has(&["time", "weekday", "date", "zone", "offset"]) {
        let (time, weekday, date) = (of("time"), of("weekday"), of("date"));
        format!(
            "It is {time} on {weekday}, {date}, in {} (UTC{}).",
            of("zone"),
            of("offset")
        )
    } else if has(&["words", "characters", "lines", "sentences"]) {
        let counts =
            ["words", "characters", "lines", "sentences"].map(|key| counted(&of(key), key));
        format!("{}.", counts.join(", "))
    } else if has(&["key", "replaced"]) {
        let verb = if data["replaced"] == Value::Bool(true) {
            "Replaced"
        } else {
            "Noted"
        };
        format!("{verb} under {}.", of("key"))
    } else if has(&["key", "text"]) {
        format!("{}: {}", of("key"), of("text"))
    } else if has(&["path", "text"]) {
        of("text")
    } else {
        listed(data)
    }
}

/// Any other data: one value alone, or a line for each.
fn listed(data: &Map<String, Value>) -> String {
    let mut values = data.iter();
    if let (Some((_, only)), None) = (values.next(), values.next()) {
        return scalar(only);
    }
    let lines: Vec<_> = data
        .iter()
        .map(|(key, value)| format!("{key}: {}", scalar(value)))
        .collect();
    lines.join("\n")
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) if values.is_empty() => "none".to_owned(),
        Value::Array(values) => values.iter().map(scalar).collect::<Vec<_>>().join("\n"),
        Value::Object(data) => {
            let fields = data
                .iter()
                .map(|(key, value)| format!("{key} {}", scalar(value)));
            fields.collect::<Vec<_>>().join(", ")
        }
        Value::Null => "nothing".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

fn counted(count: &str, things: &str) -> String {
    let things = if count == "1" {
        things.trim_end_matches('s')
    } else {
        things
    };
    format!("{count} {things}")
}
