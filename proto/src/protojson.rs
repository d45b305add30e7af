//! ProtoJSON: what the generated messages say of themselves, and how each proto type looks in JSON.
//!
//! It owns the rules that hold for all fields; `gen/a2a_json.rs` says which field follows which. It
//! never decides whether a request is sensible.
//!
//! # Invariants
//! - `null` is "not set" for every field, lists, maps and enums included.
//! - Unknown fields are skipped; an unknown enum number is kept, an unknown name is refused.
//! - What we write, every ProtoJSON reader takes: camelCase, standard base64 with padding, times in
//!   UTC ending in `Z`, 64-bit integers as strings.

mod codec;
mod number;
pub mod time;
mod wellknown;

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeSeed, Error, IgnoredAny, MapAccess, Visitor},
    ser::SerializeMap,
};

pub use codec::{Base64, Flag, List, Map, Name, Nested, Text};
pub use number::{Int32, Int64, Uint64};
pub use time::Time;
pub use wellknown::{Any, Object, null};

/// A generated message.
pub trait Message: Default + Sized {
    /// Its name in the .proto, for error messages.
    const NAME: &'static str;

    /// Writes the fields that are set or required.
    ///
    /// # Errors
    /// Those of the writer, and values that JSON cannot hold.
    fn write<M: SerializeMap>(&self, out: &mut M) -> Result<(), M::Error>;

    /// Reads the value of one field.
    ///
    /// # Errors
    /// Those of the reader, and a value of the wrong type.
    fn read<'de, A: MapAccess<'de>>(
        &mut self,
        key: &str,
        seen: &mut Seen,
        from: &mut A,
    ) -> Result<Field, A::Error>;

    /// The JSON path of the first REQUIRED field that is unset, here or in a message within.
    fn missing(&self) -> Option<String>;
}

/// A generated enum.
pub trait Enumeration {
    /// The name of a number, if it has one.
    fn name(number: i32) -> Option<&'static str>;

    /// The number of a name.
    fn number(name: &str) -> Option<i32>;
}

/// Whether a message has the field that it was asked to read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Field {
    /// It has, and the value is read.
    Known,
    /// It has not, and the value is still to be skipped.
    Unknown,
}

/// Which oneofs of a message have been set while it is read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen(u32);

impl Seen {
    /// Marks a oneof as set.
    ///
    /// # Errors
    /// When it was already: two members of a oneof contradict each other.
    pub fn once<E: Error>(&mut self, oneof: u32, name: &str) -> Result<(), E> {
        if self.has(oneof) {
            return Err(E::custom(format_args!(
                "more than one member of `{name}` is set"
            )));
        }
        self.0 |= 1 << oneof;
        Ok(())
    }

    /// Whether a oneof is set.
    #[must_use]
    pub const fn has(self, oneof: u32) -> bool {
        self.0 & (1 << oneof) != 0
    }
}

/// How one proto type looks in JSON.
pub trait Codec {
    /// The Rust type that prost holds it in.
    type Value;

    /// Writes a value.
    ///
    /// # Errors
    /// Those of the writer, and values that JSON cannot hold.
    fn serialize<S: Serializer>(value: &Self::Value, serializer: S) -> Result<S::Ok, S::Error>;

    /// Reads a value that is not `null`.
    ///
    /// # Errors
    /// Those of the reader, and a value of the wrong type.
    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self::Value, D::Error>;
}

/// A borrowed value with its codec: what serde writes.
pub struct Out<'a, C: Codec>(pub &'a C::Value);

impl<C: Codec> fmt::Debug for Out<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Out")
    }
}

impl<C: Codec> Serialize for Out<'_, C> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        C::serialize(self.0, serializer)
    }
}

/// A value with its codec: what serde reads.
pub struct In<C: Codec>(pub C::Value);

impl<C: Codec> fmt::Debug for In<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("In")
    }
}

impl<'de, C: Codec> Deserialize<'de> for In<C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        C::deserialize(deserializer).map(Self)
    }
}

/// Writes one field.
///
/// # Errors
/// Those of the writer, and values that JSON cannot hold.
pub fn put<C: Codec, M: SerializeMap>(
    out: &mut M,
    key: &'static str,
    value: &C::Value,
) -> Result<(), M::Error> {
    out.serialize_entry(key, &Out::<C>(value))
}

/// Reads one field; `None` for `null`.
///
/// # Errors
/// Those of the reader, and a value of the wrong type.
pub fn take<'de, C: Codec, A: MapAccess<'de>>(from: &mut A) -> Result<Option<C::Value>, A::Error> {
    Ok(from.next_value::<Option<In<C>>>()?.map(|value| value.0))
}

/// Writes a whole message.
///
/// # Errors
/// Those of the writer, and values that JSON cannot hold.
pub fn write<M: Message, S: Serializer>(message: &M, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(None)?;
    message.write(&mut map)?;
    map.end()
}

/// Reads a whole message.
///
/// # Errors
/// Those of the reader, and fields of the wrong type.
pub fn read<'de, M: Message, D: Deserializer<'de>>(deserializer: D) -> Result<M, D::Error> {
    deserializer.deserialize_map(Fields(PhantomData))
}

struct Fields<M>(PhantomData<M>);

impl<'de, M: Message> Visitor<'de> for Fields<M> {
    type Value = M;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object ({})", M::NAME)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<M, A::Error> {
        let (mut message, mut seen) = (M::default(), Seen::default());
        while let Some(key) = map.next_key_seed(Key)? {
            if message.read(&key, &mut seen, &mut map)? == Field::Unknown {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(message)
    }
}

/// Reads a key without copying it, unless it is escaped.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}

#[cfg(test)]
mod tests;
