//! The codecs of strings, flags, bytes, enums, messages, lists and maps.

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use base64::{
    Engine,
    alphabet::{STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;
use serde::{
    Deserialize, Deserializer, Serializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
    ser::SerializeSeq,
};

use super::{Codec, Enumeration, In, Message, Out, read, write};

/// `string`.
#[derive(Debug)]
pub struct Text;

impl Codec for Text {
    type Value = String;

    fn serialize<S: Serializer>(value: &String, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(value)
    }

    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
        String::deserialize(deserializer)
    }
}

/// `bool`.
#[derive(Debug)]
pub struct Flag;

impl Codec for Flag {
    type Value = bool;

    fn serialize<S: Serializer>(value: &bool, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bool(*value)
    }

    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
        bool::deserialize(deserializer)
    }
}

/// `bytes`: standard base64 with padding out; either alphabet, padded or not, in.
#[derive(Debug)]
pub struct Base64;

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const STANDARD_BASE64: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);
const URL_SAFE_BASE64: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT);

impl Codec for Base64 {
    type Value = Bytes;

    fn serialize<S: Serializer>(value: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD_BASE64.encode(value))
    }

    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        deserializer.deserialize_str(Self)
    }
}

impl Visitor<'_> for Base64 {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("base64")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Bytes, E> {
        let engine = if text.contains(['-', '_']) {
            URL_SAFE_BASE64
        } else {
            STANDARD_BASE64
        };
        engine.decode(text).map(Bytes::from).map_err(E::custom)
    }
}

/// An enum: its name out, its name or its number in.
#[derive(Debug)]
pub struct Name<E>(PhantomData<E>);

impl<N: Enumeration> Codec for Name<N> {
    type Value = i32;

    fn serialize<S: Serializer>(value: &i32, serializer: S) -> Result<S::Ok, S::Error> {
        match N::name(*value) {
            Some(name) => serializer.serialize_str(name),
            None => serializer.serialize_i32(*value),
        }
    }

    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i32, D::Error> {
        deserializer.deserialize_any(Self(PhantomData))
    }
}

impl<N: Enumeration> Visitor<'_> for Name<N> {
    type Value = i32;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name or the number of an enum value")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<i32, E> {
        N::number(name).ok_or_else(|| E::custom(format_args!("unknown enum value `{name}`")))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<i32, E> {
        i32::try_from(number).map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<i32, E> {
        i32::try_from(number).map_err(E::custom)
    }
}

/// A message within a message.
#[derive(Debug)]
pub struct Nested<M>(PhantomData<M>);

impl<M: Message> Codec for Nested<M> {
    type Value = M;

    fn serialize<S: Serializer>(value: &M, serializer: S) -> Result<S::Ok, S::Error> {
        write(value, serializer)
    }

    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<M, D::Error> {
        read(deserializer)
    }
}

/// `repeated`: an array.
#[derive(Debug)]
pub struct List<C>(PhantomData<C>);

impl<C: Codec> Codec for List<C> {
    type Value = Vec<C::Value>;

    fn serialize<S: Serializer>(values: &Self::Value, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(values.len()))?;
        for value in values {
            list.serialize_element(&Out::<C>(value))?;
        }
        list.end()
    }

    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(Self(PhantomData))
    }
}

impl<'de, C: Codec> Visitor<'de> for List<C> {
    type Value = Vec<C::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = seq.next_element::<In<C>>()? {
            values.push(value.0);
        }
        Ok(values)
    }
}

/// `map<string, _>`: an object.
#[derive(Debug)]
pub struct Map<C>(PhantomData<C>);

impl<C: Codec> Codec for Map<C> {
    type Value = BTreeMap<String, C::Value>;

    fn serialize<S: Serializer>(values: &Self::Value, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(values.iter().map(|(key, value)| (key, Out::<C>(value))))
    }

    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(Self(PhantomData))
    }
}

impl<'de, C: Codec> Visitor<'de> for Map<C> {
    type Value = BTreeMap<String, C::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut values = BTreeMap::new();
        while let Some((key, value)) = map.next_entry::<String, In<C>>()? {
            values.insert(key, value.0);
        }
        Ok(values)
    }
}
