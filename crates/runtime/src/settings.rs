//! Durations and sizes as people write them in a file: `250ms`, `10s`, `5m`, `64KiB`.
//!
//! For `#[serde(with = "mesh_runtime::settings::duration")]` and `...::bytes`. A number without a
//! unit is refused: whoever writes `10` should not have to know what we count in.

use std::time::Duration;

/// Why a text is no duration or size.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{text:?} is not {wanted}")]
pub struct Unreadable {
    text: String,
    wanted: &'static str,
}

/// Reads `250ms`, `10s`, `5m`, `1h`.
///
/// # Errors
/// [`Unreadable`], when the number or the unit is missing or unknown, or the value overflows.
pub fn parse_duration(text: &str) -> Result<Duration, Unreadable> {
    let wanted = "a duration such as 250ms, 10s, 5m or 1h";
    scaled(
        text,
        &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)],
    )
    .map(Duration::from_millis)
    .ok_or_else(|| unreadable(text, wanted))
}

/// Reads `512B`, `64KiB`, `8MiB`, `1GiB`.
///
/// # Errors
/// [`Unreadable`], when the number or the unit is missing or unknown, or the value overflows.
pub fn parse_bytes(text: &str) -> Result<usize, Unreadable> {
    let wanted = "a size such as 512B, 64KiB, 8MiB or 1GiB";
    scaled(
        text,
        &[
            ("KiB", 1 << 10),
            ("MiB", 1 << 20),
            ("GiB", 1 << 30),
            ("B", 1),
        ],
    )
    .and_then(|bytes| usize::try_from(bytes).ok())
    .ok_or_else(|| unreadable(text, wanted))
}

/// For `#[serde(with = "...")]` on a [`Duration`].
pub mod duration {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    /// Reads a duration.
    ///
    /// # Errors
    /// The deserializer's, with what would be right.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(from)?;
        super::parse_duration(&text).map_err(D::Error::custom)
    }

    /// Writes a duration in the largest unit that keeps it whole.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
        let millis = value.as_millis();
        to.serialize_str(&match millis {
            0 => "0s".to_owned(),
            m if m.is_multiple_of(60_000) => format!("{}m", m / 60_000),
            m if m.is_multiple_of(1_000) => format!("{}s", m / 1_000),
            m => format!("{m}ms"),
        })
    }
}

/// For `#[serde(with = "...")]` on a `usize` that counts bytes.
pub mod bytes {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    /// Reads a size.
    ///
    /// # Errors
    /// The deserializer's, with what would be right.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
        let text = String::deserialize(from)?;
        super::parse_bytes(&text).map_err(D::Error::custom)
    }

    /// Writes a size in the largest unit that keeps it whole.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(value: &usize, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&match *value {
            b if b > 0 && b.is_multiple_of(1 << 20) => format!("{}MiB", b >> 20),
            b if b > 0 && b.is_multiple_of(1 << 10) => format!("{}KiB", b >> 10),
            b => format!("{b}B"),
        })
    }
}

fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    units.iter().find_map(|(unit, scale)| {
        let number = text.strip_suffix(unit)?.trim_end();
        let digits_only = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        digits_only
            .then(|| number.parse::<u64>().ok()?.checked_mul(*scale))
            .flatten()
    })
}

fn unreadable(text: &str, wanted: &'static str) -> Unreadable {
    Unreadable {
        text: text.chars().take(40).collect(),
        wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_a_unit() {
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration(" 10 s"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(parse_duration("1h"), Ok(Duration::from_secs(3600)));
        for wrong in ["10", "", "s", "-1s", "1.5s", "18446744073709551615h"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_size_has_a_unit() {
        assert_eq!(parse_bytes("512B"), Ok(512));
        assert_eq!(parse_bytes("64KiB"), Ok(65_536));
        assert_eq!(parse_bytes("8MiB"), Ok(8 << 20));
        assert!(parse_bytes("64").is_err());
        assert!(parse_bytes("64KB").is_err());
    }

    #[test]
    fn what_is_written_is_read_back() {
        #[derive(Debug, PartialEq, serde::Deserialize, serde::Serialize)]
        struct Both {
            #[serde(with = "duration")]
            wait: Duration,
            #[serde(with = "bytes")]
            room: usize,
        }
        for (millis, room) in [(0, 0), (1, 1), (90_000, 65_536), (120_000, 4 << 20)] {
            let both = Both {
                wait: Duration::from_millis(millis),
                room,
            };
            let text = toml::to_string(&both).unwrap();
            assert_eq!(toml::from_str::<Both>(&text).unwrap(), both, "{text}");
        }
    }
}
