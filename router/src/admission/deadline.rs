//! How long a call may still take, by its caller's word: read where it enters, and what is left of it
//! written where it goes on.
//!
//! # Invariants
//! - What goes on is never more than what came.
//! - A value that can't be read is refused by name: a caller who sets a deadline relies on it.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use mesh_core::error::CallError;
use mesh_proto::{Binding, Fault, Problem, mesh};

/// gRPC's own (gRPC over HTTP/2, "Timeout"): at most eight digits and a unit.
const GRPC: &str = "grpc-timeout";
const DIGITS: usize = 8;
/// The longest time in milliseconds that is taken for one: longer ones are as good as it, 115 days.
const MOST_MILLIS: u64 = 9_999_999_999;

/// Reads how long a call may take. Where both headers are there, the shorter time counts.
///
/// # Errors
/// [`CallError::BadRequest`] that names the header.
pub fn read(headers: &HeaderMap, binding: Binding) -> Result<Option<Duration>, CallError> {
    let ours = one(headers, mesh::TIMEOUT, millis)?;
    let theirs = match binding {
        Binding::Grpc => one(headers, GRPC, grpc)?,
        Binding::JsonRpc | Binding::Rest => None,
    };
    Ok(match (ours, theirs) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    })
}

/// Writes how long a call may still take on a line of this binding.
pub fn write(headers: &mut HeaderMap, left: Duration, binding: Binding) {
    headers.remove(GRPC);
    headers.remove(mesh::TIMEOUT);
    let millis = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
    let (name, text) = match binding {
        Binding::Grpc if millis < 100_000_000 => (GRPC, format!("{millis}m")),
        Binding::Grpc => (GRPC, format!("{}S", (millis / 1000).min(99_999_999))),
        Binding::JsonRpc | Binding::Rest => (mesh::TIMEOUT, millis.to_string()),
    };
    if let Ok(value) = HeaderValue::from_str(&text) {
        headers.insert(HeaderName::from_static(name), value);
    }
}

fn one(
    headers: &HeaderMap,
    name: &'static str,
    parse: fn(&str) -> Option<Duration>,
) -> Result<Option<Duration>, CallError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let read = value.to_str().ok().and_then(parse);
    match (read, values.next()) {
        (Some(time), None) => Ok(Some(time)),
        _ => Err(wrong(name)),
    }
}

fn wrong(name: &'static str) -> CallError {
    let form = if name == GRPC {
        "one to eight digits and a unit of H, M, S, m, u or n"
    } else {
        "one number of milliseconds"
    };
    let problem = Problem::new(Fault::InvalidRequest, format!("{name} must be {form}"));
    CallError::BadRequest(problem.with("header", name))
}

fn millis(text: &str) -> Option<Duration> {
    let count = digits(text, 19)?;
    Some(Duration::from_millis(count.min(MOST_MILLIS)))
}

fn grpc(text: &str) -> Option<Duration> {
    let (count, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let count = digits(count, DIGITS)?;
    let seconds = |each: u64| Duration::from_secs(count.saturating_mul(each));
    let most = Duration::from_millis(MOST_MILLIS);
    let time = match unit {
        "H" => seconds(3600),
        "M" => seconds(60),
        "S" => seconds(1),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    };
    Some(time.min(most))
}

/// A number without a sign.
fn digits(text: &str, most: usize) -> Option<u64> {
    let is_number = (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            let value = HeaderValue::from_str(value).unwrap();
            (HeaderName::from_static(name), value)
        });
        let mut headers = HeaderMap::new();
        pairs.for_each(|(name, value)| {
            headers.append(name, value);
        });
        headers
    }

    #[test]
    fn both_headers_are_read_and_the_shorter_time_counts() {
        let grpc = |pairs: &[_]| read(&headers(pairs), Binding::Grpc).unwrap();
        assert_eq!(grpc(&[]), None);
        for (text, millis) in [
            ("1H", 3_600_000),
            ("2M", 120_000),
            ("3S", 3000),
            ("250m", 250),
        ] {
            let read = grpc(&[("grpc-timeout", text)]);
            assert_eq!(read, Some(Duration::from_millis(millis)), "{text}");
        }
        let both = [("grpc-timeout", "1S"), ("daca-timeout", "300")];
        assert_eq!(grpc(&both), Some(Duration::from_millis(300)));
        // Over HTTP gRPC's header is nobody's.
        let rest = read(&headers(&[("grpc-timeout", "nonsense")]), Binding::Rest);
        assert_eq!(rest.unwrap(), None);
    }

    #[test]
    fn what_is_no_time_is_refused_by_its_name() {
        let wrong = [
            ("grpc-timeout", ""),
            ("grpc-timeout", "S"),
            ("grpc-timeout", "123456789S"),
            ("grpc-timeout", "-1S"),
            ("grpc-timeout", "1s"),
            ("grpc-timeout", "1é"),
            ("daca-timeout", ""),
            ("daca-timeout", "+5"),
            ("daca-timeout", "1.5"),
            ("daca-timeout", "99999999999999999999"),
        ];
        for (name, text) in wrong {
            let error = read(&headers(&[(name, text)]), Binding::Grpc).unwrap_err();
            let answer = error.answer();
            assert_eq!(answer.fault, Fault::InvalidRequest, "{name}: {text}");
            assert!(answer.message.contains(name), "{}", answer.message);
        }
        let twice = headers(&[("daca-timeout", "5"), ("daca-timeout", "6")]);
        assert!(read(&twice, Binding::Rest).is_err());
    }

    #[test]
    fn what_goes_on_is_never_more_than_what_came() {
        for millis in [0, 1, 999, 99_999_999, 100_000_001, MOST_MILLIS] {
            let left = Duration::from_millis(millis);
            for binding in Binding::ALL {
                let mut headers = headers(&[("daca-timeout", "5"), ("grpc-timeout", "6S")]);
                write(&mut headers, left, binding);
                let read = read(&headers, binding).unwrap().unwrap();
                assert!(read <= left, "{binding:?} {left:?} {read:?}");
                assert!(left - read < Duration::from_secs(1), "{binding:?} {left:?}");
            }
        }
    }
}
