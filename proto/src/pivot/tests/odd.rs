//! JSON as other libraries may spell it: the names of the proto, numbers as text, enums as numbers, the
//! other alphabet of base64, `null` for what is not set, and fields that nobody knows.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use prost::Message;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, ReflectMessage, Value};
use serde_json::{Map, Value as Json, json};

use crate::{chance::Rng, protojson};

/// Spells a message in one of the many ways that a reader must take.
pub(super) fn spelled(rng: &mut Rng, message: &DynamicMessage) -> Json {
    let of = message.descriptor();
    let bytes = message.encode_to_vec();
    match of.full_name() {
        "google.protobuf.Struct" => {
            return crate::json::of_object(&Message::decode(bytes.as_slice()).unwrap());
        }
        "google.protobuf.Value" => {
            return crate::json::of_value(&Message::decode(bytes.as_slice()).unwrap());
        }
        "google.protobuf.Timestamp" => {
            let time = Message::decode(bytes.as_slice()).unwrap();
            return json!(protojson::time::format(&time).unwrap());
        }
        _ => {}
    }
    let mut out = Map::new();
    if rng.below(3) == 0 {
        let unknown = json!({"id": "x", "taskId": [null, {"deep": 1e300}], "tenant": "x"});
        out.insert("x-future".into(), unknown);
        out.insert("kind".into(), json!("message"));
    }
    for field in of.fields() {
        let name = match rng.below(2) {
            0 => field.name(),
            _ => field.json_name(),
        };
        if message.has_field(&field) {
            let value = message.get_field(&field);
            out.insert(name.to_owned(), value_of(rng, &field, &value));
        } else if rng.below(3) == 0 && may_be_null(message, &field) {
            out.insert(name.to_owned(), Json::Null);
        }
    }
    Json::Object(out)
}

/// Alone, `null` is a value of `data`; beside a member of its oneof that is set, it is none.
fn may_be_null(message: &DynamicMessage, field: &FieldDescriptor) -> bool {
    field.name() != "data"
        && (field.containing_oneof().is_none() || !message.has_field_by_name("data"))
}

fn value_of(rng: &mut Rng, field: &FieldDescriptor, value: &Value) -> Json {
    match value {
        Value::List(values) => values
            .iter()
            .map(|value| value_of(rng, field, value))
            .collect(),
        Value::Map(values) => {
            let mut out = Map::new();
            for (key, value) in values {
                let MapKey::String(key) = key else {
                    unreachable!("all keys of A2A are strings");
                };
                out.insert(key.clone(), value_of(rng, field, value));
            }
            Json::Object(out)
        }
        Value::Bool(flag) => json!(flag),
        Value::I32(number) => match rng.below(3) {
            0 => json!(number.to_string()),
            1 => json!(f64::from(*number)),
            _ => json!(number),
        },
        Value::String(text) => json!(text),
        Value::Bytes(bytes) => json!(BASE64_URL_SAFE_NO_PAD.encode(bytes)),
        Value::EnumNumber(number) => {
            let Kind::Enum(of) = field.kind() else {
                unreachable!("only an enum has such a value");
            };
            match of.get_value(*number) {
                Some(known) if rng.below(2) == 0 => json!(known.name()),
                _ => json!(number),
            }
        }
        Value::Message(message) => spelled(rng, message),
        other => unreachable!("A2A has no {other:?}"),
    }
}
