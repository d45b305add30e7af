//! Integers in ProtoJSON: 32-bit ones as numbers, 64-bit ones as strings, since a JSON reader may hold
//! numbers as doubles. Both forms are read; so is an integer written as `1.0` or `1e2`.

use std::fmt;

use serde::{
    Deserializer, Serializer,
    de::{Error, Visitor},
};

use super::Codec;

/// `int32`.
#[derive(Debug)]
pub struct Int32;

/// `int64`.
#[derive(Debug)]
pub struct Int64;

/// `uint64`.
#[derive(Debug)]
pub struct Uint64;

impl Codec for Int32 {
    type Value = i32;

    fn serialize<S: Serializer>(value: &i32, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i32(*value)
    }

    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i32, D::Error> {
        narrow(deserializer.deserialize_any(Integer)?)
    }
}

impl Codec for Int64 {
    type Value = i64;

    fn serialize<S: Serializer>(value: &i64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
        narrow(deserializer.deserialize_any(Integer)?)
    }
}

impl Codec for Uint64 {
    type Value = u64;

    fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        narrow(deserializer.deserialize_any(Integer)?)
    }
}

fn narrow<T: TryFrom<i128>, E: Error>(wide: i128) -> Result<T, E> {
    T::try_from(wide).map_err(|_| E::custom(format_args!("{wide} is out of range")))
}

/// Reads any integer into a type that holds all of them.
struct Integer;

impl Visitor<'_> for Integer {
    type Value = i128;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integer, or a string that holds one")
    }

    fn visit_i64<E>(self, number: i64) -> Result<i128, E> {
        Ok(number.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<i128, E> {
        Ok(number.into())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<i128, E> {
        // 2^65 is beyond every integer type of protobuf and far within i128.
        if number.fract() != 0.0 || number.abs() > 2f64.powi(65) {
            return Err(E::custom(format_args!("{number} is no integer of 64 bits")));
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "integral and within 65 bits, as checked above"
        )]
        Ok(number as i128)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<i128, E> {
        if let Ok(number) = text.parse::<i64>() {
            return Ok(number.into());
        }
        if let Ok(number) = text.parse::<u64>() {
            return Ok(number.into());
        }
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => self.visit_f64(number),
            Ok(_) | Err(_) => Err(E::custom(format_args!("`{text}` is no integer"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{In, Out};
    use super::*;

    fn read<C: Codec>(json: &str) -> Option<C::Value> {
        serde_json::from_str::<In<C>>(json)
            .ok()
            .map(|value| value.0)
    }

    #[test]
    fn an_integer_is_read_from_a_number_or_a_string_and_never_rounded() {
        assert_eq!(read::<Int32>("7"), Some(7));
        assert_eq!(read::<Int32>("\"-7\""), Some(-7));
        assert_eq!(read::<Int32>("7.0"), Some(7));
        assert_eq!(read::<Int32>("1e2"), Some(100));
        for wrong in [
            "7.5",
            "2147483648",
            "\"\"",
            "\"7x\"",
            "true",
            "[]",
            "1e300",
            "\"NaN\"",
        ] {
            assert_eq!(read::<Int32>(wrong), None, "{wrong}");
        }
        assert_eq!(read::<Uint64>("-1"), None);
        assert_eq!(read::<Uint64>("18446744073709551615"), Some(u64::MAX));
    }

    proptest! {
        #[test]
        fn a_64_bit_integer_is_written_as_a_string_and_comes_back(number: i64, other: u64) {
            let text = serde_json::to_string(&Out::<Int64>(&number)).unwrap();
            prop_assert_eq!(&text, &format!("\"{number}\""));
            prop_assert_eq!(read::<Int64>(&text), Some(number));
            prop_assert_eq!(read::<Int64>(&number.to_string()), Some(number));
            let text = serde_json::to_string(&Out::<Uint64>(&other)).unwrap();
            prop_assert_eq!(read::<Uint64>(&text), Some(other));
        }
    }
}
