//! How a message of the pivot looks where it is not ProtoJSON: the traits by which `json` describes the
//! shapes of 0.3, and the codec that makes of a description a reader and a writer.
//!
//! # Invariants
//! - A shape is read straight into the pivot's message and written straight out of it: there is no tree
//!   of JSON in between.
//! - The rules of `protojson` hold here too: `null` is not set, unknown fields are skipped.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer, Serializer,
    de::{Error, IgnoredAny, MapAccess, Visitor},
    ser::SerializeMap,
};

use crate::protojson::{Codec, Field};

/// One object of 0.3.
pub(super) trait Shape {
    /// What it is in the pivot.
    type Value;
    /// What has been read of it so far.
    type Draft: Default;
    /// Its name, for error messages.
    const NAME: &'static str;

    /// Writes the fields that are set or required.
    fn write<M: SerializeMap>(value: &Self::Value, out: &mut M) -> Result<(), M::Error>;

    /// Reads the value of one field.
    fn read<'de, A: MapAccess<'de>>(
        draft: &mut Self::Draft,
        key: &str,
        from: &mut A,
    ) -> Result<Field, A::Error>;

    /// Makes the whole of it, or says why it is none.
    fn finish(draft: Self::Draft) -> Result<Self::Value, &'static str>;
}

/// The codec of a shape.
#[derive(Debug)]
pub(super) struct As<S>(PhantomData<S>);

impl<S: Shape> Codec for As<S> {
    type Value = S::Value;

    fn serialize<Z: Serializer>(value: &S::Value, serializer: Z) -> Result<Z::Ok, Z::Error> {
        let mut map = serializer.serialize_map(None)?;
        S::write(value, &mut map)?;
        map.end()
    }

    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<S::Value, D::Error> {
        deserializer.deserialize_map(Self(PhantomData))
    }
}

impl<'de, S: Shape> Visitor<'de> for As<S> {
    type Value = S::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object ({})", S::NAME)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<S::Value, A::Error> {
        let mut draft = S::Draft::default();
        while let Some(Key(key)) = map.next_key()? {
            if S::read(&mut draft, &key, &mut map)? == Field::Unknown {
                map.next_value::<IgnoredAny>()?;
            }
        }
        S::finish(draft).map_err(|why| A::Error::custom(format_args!("{}: {why}", S::NAME)))
    }
}

/// A key, not copied unless it is escaped.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// The value of one field; `None` for `null`.
pub(super) fn take<'de, C: Codec, A: MapAccess<'de>>(
    from: &mut A,
) -> Result<Option<C::Value>, A::Error> {
    crate::protojson::take::<C, A>(from)
}

/// The value of one field, or its default for `null`.
pub(super) fn get<'de, C: Codec<Value: Default>, A: MapAccess<'de>>(
    from: &mut A,
) -> Result<C::Value, A::Error> {
    Ok(take::<C, A>(from)?.unwrap_or_default())
}

/// Writes a field.
pub(super) fn put<C: Codec, M: SerializeMap>(
    out: &mut M,
    key: &'static str,
    value: &C::Value,
) -> Result<(), M::Error> {
    crate::protojson::put::<C, M>(out, key, value)
}

/// Writes a field that is there.
pub(super) fn put_some<C: Codec, M: SerializeMap>(
    out: &mut M,
    key: &'static str,
    value: Option<&C::Value>,
) -> Result<(), M::Error> {
    value.map_or(Ok(()), |value| put::<C, M>(out, key, value))
}

/// Writes a text that is not empty: in 0.3 an optional text is left out, never empty.
pub(super) fn put_text<M: SerializeMap>(
    out: &mut M,
    key: &'static str,
    text: &str,
) -> Result<(), M::Error> {
    if text.is_empty() {
        return Ok(());
    }
    out.serialize_entry(key, text)
}

/// Writes a list that is not empty.
pub(super) fn put_list<C: Codec, M: SerializeMap>(
    out: &mut M,
    key: &'static str,
    values: &Vec<C::Value>,
) -> Result<(), M::Error> {
    if values.is_empty() {
        return Ok(());
    }
    put::<crate::protojson::List<C>, M>(out, key, values)
}
