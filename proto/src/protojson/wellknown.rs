//! `google.protobuf.Struct` and `Value` in JSON: any object, any value.
//!
//! # Invariants
//! - A whole number is written as one: a double that came in as `3` does not go out as `3.0`.
//! - Not a number and the infinities are refused, since JSON has no word for them.

use std::{collections::BTreeMap, fmt};

use prost_types::{ListValue, Struct, Value, value::Kind};
use serde::{
    Deserialize, Deserializer, Serializer,
    de::{MapAccess, SeqAccess, Visitor},
    ser::Error as _,
};

use super::{Codec, Out};

/// `google.protobuf.Value`: any JSON value.
#[derive(Debug)]
pub struct Any;

/// `google.protobuf.Struct`: any JSON object.
#[derive(Debug)]
pub struct Object;

/// The value `null`.
#[must_use]
pub const fn null() -> Value {
    Value {
        kind: Some(Kind::NullValue(0)),
    }
}

impl Codec for Any {
    type Value = Value;

    fn serialize<S: Serializer>(value: &Value, serializer: S) -> Result<S::Ok, S::Error> {
        match &value.kind {
            // The protobuf form allows a value that holds nothing; `null` is the nearest.
            None | Some(Kind::NullValue(_)) => serializer.serialize_unit(),
            Some(Kind::BoolValue(flag)) => serializer.serialize_bool(*flag),
            Some(Kind::NumberValue(number)) => number_out(*number, serializer),
            Some(Kind::StringValue(text)) => serializer.serialize_str(text),
            Some(Kind::StructValue(object)) => Object::serialize(object, serializer),
            Some(Kind::ListValue(list)) => {
                serializer.collect_seq(list.values.iter().map(Out::<Self>))
            }
        }
    }

    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl Codec for Object {
    type Value = Struct;

    fn serialize<S: Serializer>(value: &Struct, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(
            value
                .fields
                .iter()
                .map(|(key, value)| (key, Out::<Any>(value))),
        )
    }

    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Struct, D::Error> {
        deserializer.deserialize_map(Self)
    }
}

impl<'de> Visitor<'de> for Object {
    type Value = Struct;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Struct, A::Error> {
        let mut fields = BTreeMap::new();
        while let Some((key, value)) = map.next_entry::<String, AnyIn>()? {
            fields.insert(key, value.0);
        }
        Ok(Struct { fields })
    }
}

/// Like `In<Any>`, but `null` is a value.
struct AnyIn(Value);

impl<'de> Deserialize<'de> for AnyIn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Any::deserialize(deserializer).map(Self)
    }
}

impl<'de> Visitor<'de> for Any {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(null())
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(of(Kind::BoolValue(flag)))
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "a Value holds doubles: that is the type's own limit"
    )]
    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(of(Kind::NumberValue(number as f64)))
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "a Value holds doubles: that is the type's own limit"
    )]
    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(of(Kind::NumberValue(number as f64)))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Value, E> {
        if number.is_finite() {
            Ok(of(Kind::NumberValue(number)))
        } else {
            Err(E::custom("a number that JSON cannot hold"))
        }
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(of(Kind::StringValue(text.to_owned())))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(of(Kind::StringValue(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = seq.next_element::<AnyIn>()? {
            values.push(value.0);
        }
        Ok(of(Kind::ListValue(ListValue { values })))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Value, A::Error> {
        Object
            .visit_map(map)
            .map(|object| of(Kind::StructValue(object)))
    }
}

const fn of(kind: Kind) -> Value {
    Value { kind: Some(kind) }
}

fn number_out<S: Serializer>(number: f64, serializer: S) -> Result<S::Ok, S::Error> {
    if !number.is_finite() {
        return Err(S::Error::custom("a number that JSON cannot hold"));
    }
    // Up to 2^53 a double holds every integer, so the shorter form says the same.
    if number.fract() == 0.0 && number.abs() <= 2f64.powi(53) {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "integral and within 54 bits, as checked above"
        )]
        return serializer.serialize_i64(number as i64);
    }
    serializer.serialize_f64(number)
}
