//! A message as a CloudEvent, which is what Dapr carries, and back.
//!
//! # Invariants
//! - The body is base64 of `application/octet-stream`: not a byte of it changes.
//! - What others put on a topic is a message too: its id and source are an id, its data the body.

use std::collections::HashMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use dapr::dapr::proto::runtime::v1::TopicEventRequest;
use prost_types::value;
use serde_json::{Map, Value, json};

use super::super::{ATTRIBUTES, Message, Topic};

/// Tells the sidecar that the envelope is there already.
pub(super) const CONTENT_TYPE: &str = "application/cloudevents+json";

/// Of our attributes' names, so that none is one of CloudEvents' own.
const OURS: &str = "daca";

/// Extensions of ours: the message's id and key, when it expires, that it is a listener's own mark.
const ID: &str = "messageid";
const KEY: &str = "messagekey";
const EXPIRES: &str = "messageexpires";
const MARK: &str = "messagemark";
/// When it was published, in Unix milliseconds.
const AT: &str = "messageat";

/// The event that carries a message.
pub(super) fn encode(message: &Message) -> Vec<u8> {
    let mut event = envelope(&message.topic);
    event.insert("subject".to_owned(), json!(message.id));
    event.insert(ID.to_owned(), json!(message.id));
    event.insert(KEY.to_owned(), json!(message.key));
    event.insert(
        "datacontenttype".to_owned(),
        json!("application/octet-stream"),
    );
    event.insert(
        "data_base64".to_owned(),
        json!(STANDARD.encode(&message.body)),
    );
    if let Some(ttl) = message.ttl {
        let at = u128::from(now()) + ttl.as_millis();
        event.insert(EXPIRES.to_owned(), json!(at.to_string()));
    }
    for (name, value) in &message.attributes {
        event.insert(format!("{OURS}{name}"), json!(value));
    }
    Value::Object(event).to_string().into_bytes()
}

/// The event by which a listener knows that what comes from here on is new.
pub(super) fn mark(topic: &Topic, name: &str) -> Vec<u8> {
    let mut event = envelope(topic);
    event.insert(MARK.to_owned(), json!(name));
    event.insert(
        "datacontenttype".to_owned(),
        json!("application/octet-stream"),
    );
    event.insert("data_base64".to_owned(), json!(""));
    Value::Object(event).to_string().into_bytes()
}

fn envelope(topic: &Topic) -> Map<String, Value> {
    let own = mesh_runtime::dice::uuid();
    let mut event = Map::new();
    event.insert("specversion".to_owned(), json!("1.0"));
    event.insert("id".to_owned(), json!(format!("{own}@{topic}")));
    event.insert("source".to_owned(), json!("urn:daca:mesh"));
    event.insert("type".to_owned(), json!("mesh.message.v1"));
    event.insert(AT.to_owned(), json!(now().to_string()));
    event
}

/// What the broker must see.
pub(super) fn metadata(message: &Message) -> HashMap<String, String> {
    HashMap::from([("partitionKey".to_owned(), message.key.clone())])
}

/// What an event turned out to be.
pub(super) enum Read {
    /// A message, and when it expires, in Unix milliseconds.
    Message(Message, Option<u64>),
    /// The mark of a listener, by its name.
    Mark(String),
}

/// An event as a sidecar brings it, by whichever way.
pub(super) struct Event {
    id: String,
    /// Those attributes that are texts.
    texts: HashMap<String, String>,
    data: Bytes,
}

impl From<TopicEventRequest> for Event {
    fn from(event: TopicEventRequest) -> Self {
        let fields = event.extensions.map(|all| all.fields).unwrap_or_default();
        let text = |(name, field): (String, prost_types::Value)| match field.kind {
            Some(value::Kind::StringValue(text)) => Some((name, text)),
            _ => None,
        };
        Self {
            id: event.id,
            texts: fields.into_iter().filter_map(text).collect(),
            data: Bytes::from(event.data),
        }
    }
}

impl TryFrom<Map<String, Value>> for Event {
    type Error = base64::DecodeError;

    /// Of a CloudEvent in JSON.
    fn try_from(mut event: Map<String, Value>) -> Result<Self, base64::DecodeError> {
        let data = match (event.remove("data_base64"), event.remove("data")) {
            (Some(Value::String(text)), _) => STANDARD.decode(text)?.into(),
            (_, Some(Value::String(text))) => Bytes::from(text),
            (_, Some(data)) => data.to_string().into(),
            _ => Bytes::new(),
        };
        let text = |(name, value)| match value {
            Value::String(text) => Some((name, text)),
            _ => None,
        };
        let mut texts: HashMap<_, _> = event.into_iter().filter_map(text).collect();
        Ok(Self {
            id: texts.remove("id").unwrap_or_default(),
            texts,
            data,
        })
    }
}

/// Reads an event of a topic, and when it was published, if it says so. Until when a message is of use
/// is told apart from it: it may wait before it is handed out.
pub(super) fn decode(topic: &Topic, event: Event) -> (Option<u64>, Read) {
    let Event { id, texts, data } = event;
    let text = |name: &str| texts.get(name).cloned();
    let at = text(AT).and_then(|at| at.parse().ok());
    if let Some(mark) = text(MARK) {
        return (at, Read::Mark(mark));
    }
    let attribute = |name: &String| {
        let own = name.strip_prefix(OURS)?;
        Some((own.to_owned(), text(name)?))
    };
    let expires = text(EXPIRES).and_then(|at| at.parse::<u64>().ok());
    let id = text(ID).unwrap_or(id);
    let message = Message {
        topic: topic.clone(),
        key: text(KEY).unwrap_or_else(|| id.clone()),
        id,
        // A dead letter has a few more than others.
        attributes: texts
            .keys()
            .filter_map(attribute)
            .take(ATTRIBUTES + 8)
            .collect(),
        body: data,
        ttl: None,
    };
    (at, Read::Message(message, expires))
}

/// Now, in Unix milliseconds.
pub(super) fn now() -> u64 {
    mesh_runtime::clock::unix_millis()
}
