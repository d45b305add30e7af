//! Extensions that a caller declares: under which header, and which of them pass.
//!
//! # Invariants
//! - Without a policy no header is touched.
//! - What the agent answers to have activated passes as it answers.

use http::{HeaderMap, HeaderName, HeaderValue};
use mesh_proto::Version;
use serde::Deserialize;

/// The header of 1.0: URIs, separated by commas (spec 1.0, 3.6.2).
const OF_1_0: HeaderName = HeaderName::from_static("a2a-extensions");
/// The header of 0.3.
const OF_0_3: HeaderName = HeaderName::from_static("x-a2a-extensions");

/// Which extensions callers may use through this router.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The URIs that pass; every other one is dropped from the header. Unset: all pass.
    pub allow: Option<Vec<String>>,
    /// URIs that are dropped, also where `allow` has them. Default: none.
    pub deny: Vec<String>,
}

impl Settings {
    /// Drops from the headers what the policy does not let pass.
    pub fn filter(&self, headers: &mut HeaderMap) {
        if self.allow.is_none() && self.deny.is_empty() {
            return;
        }
        for name in [OF_1_0, OF_0_3] {
            if !headers.contains_key(&name) {
                continue;
            }
            let passing: Vec<&str> = uris(headers, &name)
                .filter(|uri| self.passes(uri))
                .collect();
            let joined = HeaderValue::from_str(&passing.join(", "));
            match joined {
                Ok(joined) if !joined.is_empty() => headers.insert(name, joined),
                Ok(_) | Err(_) => headers.remove(name),
            };
        }
    }

    fn passes(&self, uri: &str) -> bool {
        let is_in = |list: &[String]| list.iter().any(|each| each == uri);
        !is_in(&self.deny) && self.allow.as_deref().is_none_or(is_in)
    }
}

/// Whether a caller declares an extension, be it under the header of either version.
#[must_use]
pub(super) fn declares(headers: &HeaderMap, uri: &str) -> bool {
    [OF_1_0, OF_0_3]
        .iter()
        .any(|name| uris(headers, name).any(|each| each == uri))
}

/// The header of a version, as it is written for people.
#[must_use]
pub(super) const fn header(version: Version) -> &'static str {
    match version {
        Version::V1_0 => "A2A-Extensions",
        Version::V0_3 => "X-A2A-Extensions",
    }
}

/// Puts what is declared under the header of this version.
pub fn rename(headers: &mut HeaderMap, version: Version) {
    let (name, other) = match version {
        Version::V1_0 => (OF_1_0, OF_0_3),
        Version::V0_3 => (OF_0_3, OF_1_0),
    };
    let values: Vec<HeaderValue> = headers.get_all(&other).iter().cloned().collect();
    headers.remove(&other);
    for value in values {
        headers.append(name.clone(), value);
    }
}

fn uris<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|uri| !uri.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declaring(name: HeaderName, uris: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(uris))])
    }

    #[test]
    fn without_a_policy_the_header_stays_as_it_came() {
        let mut headers = declaring(OF_1_0, "urn:a ,urn:b");
        Settings::default().filter(&mut headers);
        assert_eq!(headers, declaring(OF_1_0, "urn:a ,urn:b"));
    }

    #[test]
    fn only_what_is_allowed_and_not_denied_passes_under_either_header() {
        let policy = Settings {
            allow: Some(vec!["urn:a".to_owned(), "urn:b".to_owned()]),
            deny: vec!["urn:b".to_owned()],
        };
        for name in [OF_1_0, OF_0_3] {
            let mut headers = declaring(name.clone(), "urn:c,urn:a, urn:b");
            policy.filter(&mut headers);
            assert_eq!(headers, declaring(name.clone(), "urn:a"));
            let mut headers = declaring(name, "urn:b");
            policy.filter(&mut headers);
            assert_eq!(headers, HeaderMap::new());
        }
    }

    #[test]
    fn each_version_has_its_own_header() {
        let mut headers = declaring(OF_1_0, "urn:a,urn:b");
        rename(&mut headers, Version::V0_3);
        assert_eq!(headers, declaring(OF_0_3, "urn:a,urn:b"));
        rename(&mut headers, Version::V1_0);
        assert_eq!(headers, declaring(OF_1_0, "urn:a,urn:b"));
        assert!(declares(&headers, "urn:b") && !declares(&headers, "urn:"));
    }
}
