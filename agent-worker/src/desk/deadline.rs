//! How long a call may take, by its caller's word.
//!
//! # Invariants
//! - What can't be read is refused by name: a caller who sets a deadline relies on it.

use std::time::Duration;

use http::HeaderMap;
use mesh_proto::{Fault, Problem, mesh};

/// gRPC's own (gRPC over HTTP/2, "Timeout").
const GRPC: &str = "grpc-timeout";

/// The longest time that is taken for one; longer ones are as good as it.
const MOST: Duration = Duration::from_secs(365 * 24 * 3600);

/// Reads how long a call may take; of two, the shorter time counts.
///
/// # Errors
/// [`Fault::InvalidRequest`], with the header in the message.
pub(super) fn read(headers: &HeaderMap) -> Result<Option<Duration>, Problem> {
    let ours = one(headers, mesh::TIMEOUT, "a number of milliseconds", millis)?;
    let theirs = one(
        headers,
        GRPC,
        "up to eight digits and a unit of HMSmun",
        grpc,
    )?;
    let shorter = ours.into_iter().chain(theirs).min();
    Ok(shorter.map(|time| time.min(MOST)))
}

fn one(
    headers: &HeaderMap,
    name: &str,
    form: &str,
    parse: fn(&str) -> Option<Duration>,
) -> Result<Option<Duration>, Problem> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    match (value.to_str().ok().and_then(parse), values.next()) {
        (Some(time), None) => Ok(Some(time)),
        _ => {
            let text = format!("{name} must be {form}");
            Err(Problem::new(Fault::InvalidRequest, text).with("header", name))
        }
    }
}

fn millis(text: &str) -> Option<Duration> {
    number(text, 19).map(Duration::from_millis)
}

fn grpc(text: &str) -> Option<Duration> {
    let (count, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let count = number(count, 8)?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

fn number(text: &str, digits: usize) -> Option<u64> {
    let is_plain = !text.is_empty() && text.len() <= digits;
    let is_plain = is_plain && text.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn told(pairs: &[(&'static str, &'static str)]) -> Result<Option<Duration>, Fault> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let name = HeaderName::from_static(name);
            headers.append(name, HeaderValue::from_static(value));
        }
        read(&headers).map_err(|problem| problem.fault)
    }

    #[test]
    fn both_headers_are_read_and_the_shorter_time_counts() {
        assert_eq!(told(&[]), Ok(None));
        for (text, time) in [
            ("99999999H", MOST),
            ("2M", Duration::from_secs(120)),
            ("3S", Duration::from_secs(3)),
            ("4m", Duration::from_millis(4)),
            ("5u", Duration::from_micros(5)),
            ("0n", Duration::ZERO),
        ] {
            assert_eq!(told(&[(GRPC, text)]), Ok(Some(time)), "{text}");
        }
        let both = [(GRPC, "1S"), (mesh::TIMEOUT, "250")];
        assert_eq!(told(&both), Ok(Some(Duration::from_millis(250))));
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for text in ["", "S", "1", "-1S", "1 S", "123456789S", "1X"] {
            assert_eq!(told(&[(GRPC, text)]), Err(Fault::InvalidRequest), "{text}");
        }
        for text in ["", "1s", "1.5", "-1", "99999999999999999999"] {
            let read = told(&[(mesh::TIMEOUT, text)]);
            assert_eq!(read, Err(Fault::InvalidRequest), "{text}");
        }
        let twice = [(mesh::TIMEOUT, "1"), (mesh::TIMEOUT, "2")];
        assert_eq!(told(&twice), Err(Fault::InvalidRequest));
    }
}
