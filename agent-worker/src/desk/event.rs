//! What an input binding brings becomes a message to the agent that it is for.
//!
//! # Invariants
//! - An event is taken once its task is stored, and not before: whoever brings it may forget it then.
//! - The same event brought again, by its own id and words, is the same message, and joins its task. One
//!   that has no id is new each time.
//! - Nothing in an event becomes anybody's credentials: its task is that of a caller who has none.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use mesh_proto::{
    Fault, Problem,
    a2a::{Message, Part, Role, SendMessageConfiguration, SendMessageRequest, part::Content},
    json, mesh,
};
use mesh_runtime::dice;
use serde_json::Value;

use super::{Caller, Desk};
use crate::{agent::Input, record::digest, task::is_moved};

/// What an event says.
#[derive(Debug, Default, PartialEq)]
struct Heard {
    /// What names it: where it is from, and its id there.
    name: Option<String>,
    /// The trace that it belongs to.
    trace: Option<HeaderValue>,
    /// Its body, as an agent reads it.
    parts: Vec<Part>,
}

impl Desk {
    /// Whether an agent takes the events of a binding.
    #[must_use]
    pub fn has_input(&self, binding: &str) -> bool {
        self.input(binding).is_some()
    }

    /// Begins a task with an event of an input binding, or finds the one that the same event began.
    ///
    /// # Errors
    /// [`Fault::MethodNotFound`] where no agent takes events of the binding;
    /// [`Fault::ContentTypeNotSupported`] where it can't be read; [`Fault::Unavailable`] and
    /// [`Fault::Exhausted`] where it has to come again.
    pub async fn event(
        &self,
        binding: &str,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> Result<(), Problem> {
        let (agent, input) = self.input(binding).ok_or_else(|| {
            let text = format!("no agent here takes events of the binding {binding:?}");
            Problem::new(Fault::MethodNotFound, text)
        })?;
        let heard = read(input, headers, body)?;
        let mut known = HeaderMap::new();
        if let Some(trace) = heard.trace.clone() {
            known.insert(mesh::TRACEPARENT, trace);
        }
        let caller = Caller::new(agent.clone(), &known);
        let trace = caller.call().trace().to_owned();
        let settings = SendMessageConfiguration {
            return_immediately: true,
            ..SendMessageConfiguration::default()
        };
        let request = SendMessageRequest {
            message: Some(message(input, heard)),
            ..SendMessageRequest::default()
        };
        match self.begin(&caller, request, &settings, false).await {
            Ok(begun) if begun.is_stored() => {
                let task = begun.now().id;
                tracing::info!(binding, task, trace, agent = %agent.name(), "an event was taken");
                Ok(())
            }
            Ok(_) => Err(Problem::new(
                Fault::Unavailable,
                "the task is not stored, so the event has to come again",
            )),
            // Another worker took the same event, and has its task.
            Err(problem) if is_moved(&problem) => Ok(()),
            Err(problem) => {
                tracing::warn!(binding, trace, error = %problem.message, "an event was not taken");
                Err(problem)
            }
        }
    }

    fn input(&self, binding: &str) -> Option<(&crate::agent::Agent, &Input)> {
        self.agents.values().find_map(|agent| {
            let mut inputs = agent.inputs().iter();
            let input = inputs.find(|input| input.binding == binding)?;
            Some((agent, input))
        })
    }
}

/// The message to the agent: what the file says, then what the event says.
fn message(input: &Input, heard: Heard) -> Message {
    let mut parts = Vec::new();
    match &input.text {
        Some(said) => parts.push(text(said.clone())),
        None if heard.parts.is_empty() => {
            parts.push(text(format!("An event of {} has come.", input.binding)));
        }
        None => {}
    }
    parts.extend(heard.parts);
    let mut message = Message {
        role: Role::User.into(),
        parts,
        ..Message::default()
    };
    message.message_id = match heard.name {
        // With its words: two events of one id are then two messages, and neither is lost.
        Some(name) => {
            let said = digest(&prost::Message::encode_to_vec(&message));
            digest(format!("{}\n{name}\n{said}", input.binding).as_bytes())
        }
        None => dice::uuid().to_string(),
    };
    message
}

/// Reads an event. The sidecar calls every body JSON, so that its type says nothing, but for a
/// `CloudEvent`'s.
fn read(input: &Input, headers: &HeaderMap, body: &[u8]) -> Result<Heard, Problem> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let mut heard = Heard {
        name: input.id.as_deref().and_then(header).map(str::to_owned),
        trace: headers.get(mesh::TRACEPARENT).cloned(),
        parts: Vec::new(),
    };
    if let Some(id) = header("ce-id") {
        let source = header("ce-source").unwrap_or_default();
        heard.name = Some(format!("{source}\n{id}"));
    }
    let said = std::str::from_utf8(body).map_err(|_| {
        let text = "the event is neither JSON nor text";
        Problem::new(Fault::ContentTypeNotSupported, text)
    })?;
    if said.trim().is_empty() {
        return Ok(heard);
    }
    match serde_json::from_str::<Value>(said) {
        Ok(event) if is_cloud_event(&event) => cloud_event(event, &mut heard)?,
        Ok(data) => heard.parts.extend(part(data, said)),
        Err(_) => heard.parts.push(text(said.to_owned())),
    }
    Ok(heard)
}

/// Whether it has what each `CloudEvent` must have.
fn is_cloud_event(event: &Value) -> bool {
    ["specversion", "id", "source", "type"]
        .iter()
        .all(|name| event.get(name).is_some_and(Value::is_string))
}

/// Takes what a `CloudEvent` in structured mode says.
fn cloud_event(mut event: Value, heard: &mut Heard) -> Result<(), Problem> {
    let of = |name: &str| event.get(name).and_then(Value::as_str);
    let (source, id) = (
        of("source").unwrap_or_default(),
        of("id").unwrap_or_default(),
    );
    heard.name = Some(format!("{source}\n{id}"));
    if let Some(trace) = of("traceparent").map(HeaderValue::from_str) {
        heard.trace = trace.ok();
    }
    if let Some(encoded) = of("data_base64") {
        let decoded = BASE64_STANDARD.decode(encoded).ok();
        let said = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
        let said = said.ok_or_else(|| {
            let text = "data_base64 is no text";
            Problem::new(Fault::ContentTypeNotSupported, text)
        })?;
        let data = serde_json::from_str(&said).unwrap_or_else(|_| Value::String(said.clone()));
        heard.parts.extend(part(data, &said));
    } else if let Some(data) = event.get_mut("data").map(Value::take) {
        let said = data.to_string();
        heard.parts.extend(part(data, &said));
    }
    Ok(())
}

/// A part of a value: data, or text where it is one; none of nothing.
fn part(data: Value, said: &str) -> Option<Part> {
    match data {
        Value::Null => None,
        Value::String(said) if said.trim().is_empty() => None,
        Value::String(said) => Some(text(said)),
        // A number that no double holds is told as it was written.
        data => Some(json::value(&data).map_or_else(
            || text(said.to_owned()),
            |data| Part {
                content: Some(Content::Data(data)),
                ..Part::default()
            },
        )),
    }
}

fn text(text: String) -> Part {
    Part {
        content: Some(Content::Text(text)),
        ..Part::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn input(yaml: &str) -> Input {
        serde_saphyr::from_str(yaml).unwrap()
    }

    fn said(message: &Message) -> Vec<Value> {
        let content = |part: &Part| match part.content.clone().unwrap() {
            Content::Data(data) => json::of_value(&data),
            Content::Text(text) => json!(text),
            other => panic!("{other:?}"),
        };
        message.parts.iter().map(content).collect()
    }

    fn told(input: &Input, headers: &HeaderMap, body: &str) -> Message {
        message(input, read(input, headers, body.as_bytes()).unwrap())
    }

    #[test]
    fn a_body_is_data_or_text_after_what_the_file_says() {
        let plain = input("{binding: b}");
        let with = input("{binding: b, text: Look.}");
        let none = HeaderMap::new();
        for (input, body, expected) in [
            (&plain, r#"{"a":1}"#, json!([{"a": 1}])),
            (&plain, "good morning", json!(["good morning"])),
            (&plain, "\"quoted\"", json!(["quoted"])),
            (&plain, "", json!(["An event of b has come."])),
            (&with, "null", json!(["Look."])),
            (&with, "[1]", json!(["Look.", [1]])),
        ] {
            assert_eq!(json!(said(&told(input, &none, body))), expected, "{body}");
        }
        let unreadable = read(&plain, &none, b"\xff").unwrap_err();
        assert_eq!(unreadable.fault, Fault::ContentTypeNotSupported);
    }

    #[test]
    fn a_cloud_event_is_its_data_its_id_and_its_trace() {
        let trace = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01";
        let event = |id: &str, data: Value| {
            let mut event = json!({"specversion": "1.0", "type": "t", "source": "s", "id": id});
            event["traceparent"] = json!(trace);
            event
                .as_object_mut()
                .unwrap()
                .extend(data.as_object().unwrap().clone());
            event.to_string()
        };
        let (input, none) = (input("{binding: b}"), HeaderMap::new());
        let one = event("1", json!({"data": {"a": 1}}));
        let heard = read(&input, &none, one.as_bytes()).unwrap();
        assert_eq!(heard.trace.unwrap(), trace);
        let first = told(&input, &none, &one);
        assert_eq!(json!(said(&first)), json!([{"a": 1}]));
        let again = told(&input, &none, &one);
        assert_eq!(first, again);
        for other in [
            event("2", json!({"data": {"a": 1}})),
            event("1", json!({"data": {"a": 2}})),
        ] {
            let other = told(&input, &none, &other);
            assert_ne!(first.message_id, other.message_id);
        }
        let encoded = event("3", json!({"data_base64": "Z29vZCBtb3JuaW5n"}));
        let encoded = told(&input, &none, &encoded);
        assert_eq!(json!(said(&encoded)), json!(["good morning"]));
    }

    #[test]
    fn an_event_is_named_by_the_header_that_the_file_names_or_not_at_all() {
        let mut headers = HeaderMap::new();
        headers.insert("messageid", HeaderValue::from_static("7"));
        let named = input("{binding: b, id: MessageId}");
        let id = |input: &Input, headers: &HeaderMap| told(input, headers, "{}").message_id;
        assert_eq!(id(&named, &headers), id(&named, &headers));
        let nameless = input("{binding: b}");
        assert_ne!(id(&nameless, &headers), id(&nameless, &headers));
    }
}
