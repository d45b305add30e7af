//! Which version of the protocol a call is of.
//!
//! Four things can tell it, and the first that does counts (spec 1.0, 3.6): the header `A2A-Version`, the
//! query parameter of that name, the style of the call itself, and, where even that has none, 0.3 by
//! definition. The style is the method's name over JSON-RPC (`SendMessage`, `message/send`), the path over
//! HTTP+JSON (`/message:send`, `/v1/message:send`) and the package over gRPC (`lf.a2a.v1`, `a2a.v1`). Every
//! call that can be read at all has a style, so that the fourth is never asked.
//!
//! | stated (header, else query) | style of 1.0 | style of 0.3 |
//! |---|---|---|
//! | nothing, or an empty text | 1.0 | 0.3 |
//! | `1.0`, `1.0.x` | 1.0 | VersionNotSupported |
//! | `0.3`, `0.3.x` | VersionNotSupported | 0.3 |
//! | anything else | VersionNotSupported | VersionNotSupported |
//!
//! A call that states one version and is written in the style of the other is refused: so do the official
//! SDKs' servers, and any guess would be wrong for half of its senders. A refusal has the shape of the
//! style, since that is what its sender reads.
//!
//! # Invariants
//! - The rule is the same in every binding, and holds also for agents that do not check.

use http::{HeaderMap, HeaderValue};
use mesh_proto::{Fault, Problem, Version, mesh};

use super::Caller;

/// The version of a call of this style.
///
/// # Errors
/// [`Fault::VersionNotSupported`], by the table above.
pub(super) fn settle(caller: &Caller, style: Version) -> Result<Version, Problem> {
    let Some(stated) = stated(caller) else {
        return Ok(style);
    };
    let refused = |message: String| Err(Problem::new(Fault::VersionNotSupported, message));
    match Version::parse(&stated) {
        Some(version) if version == style => Ok(style),
        Some(version) => refused(format!(
            "the call states version {version}, but is written as one of {style}"
        )),
        None => {
            let shown = super::shortened(&stated);
            refused(format!(
                "version `{shown}` is not spoken here; {} and {} are",
                Version::V1_0,
                Version::V0_3
            ))
        }
    }
}

/// The version in which an error is told to a caller whose call can't be read: what it states, else 1.0,
/// whose errors say more and can be read by all.
pub(super) fn guess(caller: &Caller) -> Version {
    let stated = stated(caller).and_then(|stated| Version::parse(&stated));
    stated.unwrap_or(Version::V1_0)
}

/// What the caller states, in the header, else in the query.
fn stated(caller: &Caller) -> Option<String> {
    let header = caller.headers.get(mesh::A2A_VERSION);
    // What is no text is no version.
    let header = header.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let query = || {
        let pairs = url::form_urlencoded::parse(caller.uri.query()?.as_bytes());
        pairs
            .into_iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(mesh::A2A_VERSION))
            .map(|(_, stated)| stated.into_owned())
    };
    let is_said = |stated: &String| !stated.trim().is_empty();
    header.filter(is_said).or_else(|| query().filter(is_said))
}

/// Repeats in the header what only the query states, since some agents look nowhere else.
pub(super) fn repeat(caller: &Caller, onward: &mut HeaderMap) {
    let header = onward.get(mesh::A2A_VERSION);
    if header.is_some_and(|value| !value.as_bytes().trim_ascii().is_empty()) {
        return;
    }
    if let Some(stated) = stated(caller).and_then(|stated| HeaderValue::from_str(&stated).ok()) {
        onward.insert(mesh::A2A_VERSION, stated);
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, Method};

    use super::*;
    use crate::binding::Door;

    fn caller(header: Option<&'static str>, uri: &'static str) -> Caller {
        let header = header.map(|stated| {
            let name = HeaderName::from_static(mesh::A2A_VERSION);
            (name, HeaderValue::from_static(stated))
        });
        Caller {
            door: Door::Main,
            peer: ([127, 0, 0, 1], 1).into(),
            method: Method::POST,
            headers: HeaderMap::from_iter(header),
            uri: http::Uri::from_static(uri),
        }
    }

    #[test]
    fn header_counts_before_query_before_style() {
        use Version::{V0_3, V1_0};
        let refused = Err(Fault::VersionNotSupported);
        for (header, uri, style, expected) in [
            (None, "/", V1_0, Ok(V1_0)),
            (None, "/", V0_3, Ok(V0_3)),
            (Some(""), "/", V0_3, Ok(V0_3)),
            (Some("1.0.4"), "/", V1_0, Ok(V1_0)),
            (Some(" 0.3 "), "/", V0_3, Ok(V0_3)),
            (Some("1.0"), "/", V0_3, refused),
            (Some("0.3"), "/", V1_0, refused),
            (Some("2.0"), "/", V1_0, refused),
            (Some("1.0"), "/?A2A-Version=2.0", V1_0, Ok(V1_0)),
            (Some(""), "/?x=1&A2A-Version=1.0", V1_0, Ok(V1_0)),
            (None, "/?a2a-version=0.5", V1_0, refused),
            (None, "/?A2A-Version=", V0_3, Ok(V0_3)),
        ] {
            let found = settle(&caller(header, uri), style).map_err(|problem| problem.fault);
            assert_eq!(found, expected, "{header:?} {uri} {style}");
        }
    }
}
