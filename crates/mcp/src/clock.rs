//! What a clock on the wall shows at an instant in a zone.
//!
//! # Invariants
//! - The instant comes in as an argument; this file reads no clock.

use jiff::Timestamp;
use rmcp::schemars;
use serde::{Deserialize, Serialize};

use crate::zone;

/// What a clock is asked.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// Time zone: an IANA name such as Asia/Tokyo, or a well-known city such as Tokyo.
    pub zone: String,
}

/// What it shows.
#[derive(Debug, Deserialize, Eq, PartialEq, Serialize, schemars::JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
pub struct Reading {
    /// The IANA name of the zone.
    pub zone: String,
    /// The local time of day, 24 hours, as HH:MM:SS.
    pub time: String,
    /// The local date, as YYYY-MM-DD.
    pub date: String,
    /// The day of the week, in English.
    pub weekday: String,
    /// The offset from UTC, as +HH:MM.
    pub offset: String,
    /// The abbreviation in use, such as JST.
    pub abbreviation: String,
    /// The instant as RFC 3339 with the local offset.
    pub rfc3339: String,
    /// Seconds since 1970-01-01T00:00:00Z.
    pub unix: i64,
}

/// No such place is known.
#[derive(Debug, thiserror::Error)]
#[error(
    "no time zone or city {name:?} is known; give an IANA name such as Asia/Tokyo or a well-known city"
)]
pub struct UnknownZone {
    /// As it was asked for, cut to a sane length.
    pub name: String,
}

/// Reads the wall clock of a zone.
///
/// # Errors
/// [`UnknownZone`] when the name is neither a zone nor a known city.
pub fn read(ask: &Ask, now: Timestamp) -> Result<Reading, UnknownZone> {
    let zone = zone::resolve(&ask.zone).ok_or_else(|| UnknownZone {
        name: ask.zone.chars().take(80).collect(),
    })?;
    let local = now.to_zoned(zone);
    Ok(Reading {
        zone: local.time_zone().iana_name().unwrap_or("UTC").to_owned(),
        time: local.strftime("%H:%M:%S").to_string(),
        date: local.strftime("%Y-%m-%d").to_string(),
        weekday: local.strftime("%A").to_string(),
        offset: local.strftime("%:z").to_string(),
        abbreviation: local.strftime("%Z").to_string(),
        rfc3339: local.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
        unix: now.as_second(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(unix: i64, zone: &str) -> Result<Reading, UnknownZone> {
        read(
            &Ask {
                zone: zone.to_owned(),
            },
            Timestamp::from_second(unix).unwrap(),
        )
    }

    #[test]
    fn the_wall_clock_knows_zones_and_summer_time() {
        let tokyo = at(1_782_864_000, "Tokyo").unwrap();
        assert_eq!(
            (
                tokyo.rfc3339.as_str(),
                tokyo.abbreviation.as_str(),
                tokyo.weekday.as_str()
            ),
            ("2026-07-01T09:00:00+09:00", "JST", "Wednesday")
        );
        assert_eq!(at(1_782_864_000, "Europe/Berlin").unwrap().offset, "+02:00");
        assert_eq!(at(1_798_761_600, "Europe/Berlin").unwrap().offset, "+01:00");
        assert_eq!(at(1_782_864_000, "Asia/Kolkata").unwrap().time, "05:30:00");
    }

    #[test]
    fn an_unknown_place_is_said_back_cut_short() {
        let error = at(0, &"x".repeat(500)).unwrap_err();
        assert_eq!(error.name.len(), 80);
        assert!(
            at(0, "Atlantis")
                .unwrap_err()
                .to_string()
                .contains("Atlantis")
        );
    }
}
