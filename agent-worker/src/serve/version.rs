//! Which version a caller speaks: the header, else the query parameter, else 0.3 (spec 3.6).
//!
//! This server speaks 1.0. What is said in 0.3 the router translates before it comes here.

use http::HeaderMap;
use mesh_proto::{Fault, Problem, Version, mesh};

/// Refuses a request in a version that is not spoken here.
pub(super) fn of(headers: &HeaderMap, query: Option<&str>) -> Result<(), Problem> {
    let header = headers.get(mesh::A2A_VERSION);
    let header = header.map(|value| value.to_str().unwrap_or("unreadable"));
    let named = header
        .filter(|text| !text.trim().is_empty())
        .map(str::to_owned);
    match named.or_else(|| in_query(query?)) {
        None => check(Version::V0_3),
        Some(text) => match Version::parse(&text) {
            Some(version) => check(version),
            None => Err(refused(&text)),
        },
    }
}

/// Refuses a version that is not spoken here.
pub(super) fn check(version: Version) -> Result<(), Problem> {
    match version {
        Version::V1_0 => Ok(()),
        Version::V0_3 => Err(refused(version.as_str())),
    }
}

fn in_query(query: &str) -> Option<String> {
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    pairs
        .find(|(name, value)| name.eq_ignore_ascii_case(mesh::A2A_VERSION) && !value.is_empty())
        .map(|(_, value)| value.into_owned())
}

fn refused(version: &str) -> Problem {
    let shown: String = version.chars().take(16).collect();
    let text = format!("version {shown} is not spoken here; send A2A-Version: 1.0");
    Problem::new(Fault::VersionNotSupported, text).with("supported", Version::V1_0.as_str())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_header_wins_over_the_query_and_nothing_at_all_is_0_3() {
        let judge = |header: Option<&'static str>, query| {
            let mut headers = HeaderMap::new();
            if let Some(text) = header {
                headers.insert(mesh::A2A_VERSION, HeaderValue::from_static(text));
            }
            of(&headers, query).is_ok()
        };
        assert!(judge(Some("1.0"), None));
        assert!(judge(Some("1.0.1"), Some("A2A-Version=0.3")));
        assert!(judge(None, Some("x=1&A2A-Version=1.0")));
        assert!(judge(Some(" "), Some("a2a-version=1.0")));
        assert!(!judge(None, None));
        assert!(!judge(Some("0.3"), Some("A2A-Version=1.0")));
        assert!(!judge(Some("2.0"), None));
        assert!(!judge(None, Some("A2A-Version=")));
    }
}
