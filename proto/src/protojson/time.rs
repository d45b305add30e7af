//! `google.protobuf.Timestamp` in JSON: RFC 3339.
//!
//! # Invariants
//! - Written in UTC with `Z` and three, six or nine digits after the second: at least milliseconds,
//!   as A2A asks, and as many more as it takes.
//! - Only the years 1 to 9999 exist: what cannot be written is not read either.

use std::{borrow::Cow, fmt};

use prost_types::Timestamp;
use serde::{Deserializer, Serializer, de::Error as _, ser::Error as _};

use super::Codec;

/// `google.protobuf.Timestamp`.
#[derive(Debug)]
pub struct Time;

const DAY: i64 = 86_400;
/// 0001-01-01T00:00:00Z.
const FIRST: i64 = -62_135_596_800;
/// 9999-12-31T23:59:59Z.
const LAST: i64 = 253_402_300_799;

impl Codec for Time {
    type Value = Timestamp;

    fn serialize<S: Serializer>(value: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        match format(value) {
            Some(text) => serializer.serialize_str(&text),
            None => Err(S::Error::custom("a time outside of the years 1 to 9999")),
        }
    }

    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        struct Text;
        impl<'de> serde::de::Visitor<'de> for Text {
            type Value = Cow<'de, str>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time (RFC 3339)")
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Cow::Owned(text.to_owned()))
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(text))
            }
        }
        let text = deserializer.deserialize_str(Text)?;
        parse(&text).ok_or_else(|| {
            D::Error::custom(format_args!(
                "`{text}` is no time (RFC 3339, years 1 to 9999)"
            ))
        })
    }
}

/// Writes a time; `None` outside of the years 1 to 9999.
#[must_use]
pub fn format(time: &Timestamp) -> Option<String> {
    if !(FIRST..=LAST).contains(&time.seconds) || !(0..1_000_000_000).contains(&time.nanos) {
        return None;
    }
    let (days, second) = (time.seconds.div_euclid(DAY), time.seconds.rem_euclid(DAY));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let fraction = match time.nanos {
        nanos if nanos % 1_000_000 == 0 => format!("{:03}", nanos / 1_000_000),
        nanos if nanos % 1_000 == 0 => format!("{:06}", nanos / 1_000),
        nanos => format!("{nanos:09}"),
    };
    Some(format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction}Z"
    ))
}

/// Reads a time; `None` when it is none.
#[must_use]
pub fn parse(text: &str) -> Option<Timestamp> {
    let mut rest = Rest(text.as_bytes());
    let year = rest.digits(4)?;
    rest.one_of(b"-")?;
    let month = rest.digits(2)?;
    rest.one_of(b"-")?;
    let day = rest.digits(2)?;
    rest.one_of(b"Tt ")?;
    let hour = rest.digits(2)?;
    rest.one_of(b":")?;
    let minute = rest.digits(2)?;
    rest.one_of(b":")?;
    let second = rest.digits(2)?;
    let nanos = rest.fraction()?;
    let offset = rest.offset()?;
    let in_range = (1..=12).contains(&month)
        && (1..=days_in(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60
        && rest.0.is_empty();
    if !in_range {
        return None;
    }
    let seconds = days(year, month, day) * DAY + hour * 3600 + minute * 60 + second - offset;
    (FIRST..=LAST)
        .contains(&seconds)
        .then_some(Timestamp { seconds, nanos })
}

struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn one_of(&mut self, allowed: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        if !allowed.contains(first) {
            return None;
        }
        self.0 = rest;
        Some(*first)
    }

    fn digits(&mut self, count: usize) -> Option<i64> {
        (0..count).try_fold(0, |sum, _| {
            Some(sum * 10 + i64::from(self.one_of(b"0123456789")? - b'0'))
        })
    }

    /// `.` and at least one digit, or nothing; digits beyond the ninth are below a nanosecond.
    fn fraction(&mut self) -> Option<i32> {
        if self.one_of(b".").is_none() {
            return Some(0);
        }
        let (mut nanos, mut unit) = (0, 100_000_000);
        let mut digit = self.one_of(b"0123456789")?;
        loop {
            nanos += i32::from(digit - b'0') * unit;
            unit /= 10;
            match self.one_of(b"0123456789") {
                Some(next) => digit = next,
                None => return Some(nanos),
            }
        }
    }

    fn offset(&mut self) -> Option<i64> {
        let sign = match self.one_of(b"Zz+-")? {
            b'+' => 1,
            b'-' => -1,
            _ => return Some(0),
        };
        let hours = self.digits(2)?;
        self.one_of(b":")?;
        let minutes = self.digits(2)?;
        (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
    }
}

const fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

const fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date. Years are counted from March, so that the leap day comes last.
const fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468
}

/// The date of a day counted from 1970-01-01, the reverse of [`days`].
const fn civil(days: i64) -> (i64, i64, i64) {
    let day = days + 719_468;
    let era = day.div_euclid(146_097);
    let day = day.rem_euclid(146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day_of_month = day - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 {
        (year, month + 3)
    } else {
        (year + 1, month - 9)
    };
    (year + era * 400, month, day_of_month)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, seconds: i64, nanos: i32, written: &str) {
        let time = parse(text).unwrap_or_else(|| panic!("{text} is a time"));
        assert_eq!((time.seconds, time.nanos), (seconds, nanos), "{text}");
        assert_eq!(format(&time).as_deref(), Some(written));
    }

    #[test]
    fn a_time_is_written_in_utc_with_as_many_digits_as_it_takes() {
        check("1970-01-01T00:00:00Z", 0, 0, "1970-01-01T00:00:00.000Z");
        check(
            "2024-02-29T23:59:59.5+01:00",
            1_709_247_599,
            500_000_000,
            "2024-02-29T22:59:59.500Z",
        );
        check(
            "2026-11-22T17:35:00.000001Z",
            1_795_368_900,
            1000,
            "2026-11-22T17:35:00.000001Z",
        );
        check(
            "2000-03-01t00:00:00.123456789999z",
            951_868_800,
            123_456_789,
            "2000-03-01T00:00:00.123456789Z",
        );
        check("0001-01-01T00:00:00Z", FIRST, 0, "0001-01-01T00:00:00.000Z");
        check("9999-12-31T23:59:59Z", LAST, 0, "9999-12-31T23:59:59.000Z");
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for wrong in [
            "",
            "2024",
            "2024-02-30T00:00:00Z",
            "2023-02-29T00:00:00Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:00:00",
            "2024-01-01T00:00:00.Z",
            "2024-01-01T00:00:00Zx",
            "2024-13-01T00:00:00Z",
            "0000-01-01T00:00:00Z",
            "9999-12-31T23:59:59-00:01",
            "2024-01-01T00:00:00+1:00",
            "２024-01-01T00:00:00Z",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
        assert_eq!(
            format(&Timestamp {
                seconds: LAST + 1,
                nanos: 0
            }),
            None
        );
        assert_eq!(
            format(&Timestamp {
                seconds: 0,
                nanos: -1
            }),
            None
        );
    }

    proptest! {
        #[test]
        fn a_time_comes_back_as_it_was(seconds in FIRST..=LAST, nanos in 0..1_000_000_000i32) {
            let time = Timestamp { seconds, nanos };
            prop_assert_eq!(parse(&format(&time).unwrap()), Some(time));
        }
    }
}
