//! From a URL to the interface to talk to: the agent's card, and what we make of it.
//!
//! # Invariants
//! - The card's order is the agent's preference; the first interface that is spoken here wins.
//! - The tenant of the chosen interface goes into every request, as the specification demands.

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::Full;
use mesh_proto::{Binding, Dialect, Version, card::Card, card::Interface, mesh};

use crate::{
    error::{Broken, Error},
    options::Options,
    transport::{self, Transport, Wire},
};

/// Where the public card is, below an agent's base URL (spec 8.2).
pub const CARD_PATH: &str = "/.well-known/agent-card.json";

/// Where one client talks to: binding, version, base and tenant.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Endpoint {
    /// The binding that is spoken there.
    pub binding: Binding,
    /// The version that is spoken there.
    pub version: Version,
    /// Scheme, authority and path without a trailing slash.
    pub base: String,
    /// What goes into the `tenant` field of each request.
    pub tenant: Option<String>,
}

impl Endpoint {
    /// What is spoken there.
    #[must_use]
    pub const fn dialect(&self) -> Dialect {
        Dialect::new(self.binding, self.version)
    }
}

/// Reads an agent's public card. `url` is the agent's base URL, or the card's own.
///
/// # Errors
/// Those of the connection, and [`Broken::NoCard`] or [`Broken::BadCard`] where no card is.
pub async fn fetch_card(url: &str, options: &Options) -> Result<Card, Error> {
    card_over(&Transport::new(options), url, options).await
}

/// The same card as the bytes that came: what a signature is about.
///
/// # Errors
/// Those of the connection, and [`Broken::NoCard`] where no card is.
pub async fn fetch_card_bytes(url: &str, options: &Options) -> Result<Bytes, Error> {
    bytes_over(&Transport::new(options), &card_url(url), options).await
}

/// The same over connections that are kept for the calls that follow.
pub(crate) async fn card_over(
    transport: &Transport,
    url: &str,
    options: &Options,
) -> Result<Card, Error> {
    let url = card_url(url);
    let body = bytes_over(transport, &url, options).await?;
    Card::parse(&body).map_err(|problem| Broken::BadCard { url, problem }.into())
}

async fn bytes_over(transport: &Transport, url: &str, options: &Options) -> Result<Bytes, Error> {
    let (status, body) = fetch_over(transport, url, options).await?;
    if status != StatusCode::OK {
        let (url, status) = (url.to_owned(), status.as_u16());
        return Err(Broken::NoCard { url, status }.into());
    }
    Ok(body)
}

/// A plain GET of something small in JSON, such as a card; the bound is
/// [`Limits::card`](crate::Limits::card).
///
/// # Errors
/// Those of the URL and of the connection. An HTTP status is not an error.
pub async fn fetch(url: &str, options: &Options) -> Result<(StatusCode, Bytes), Error> {
    fetch_over(&Transport::new(options), url, options).await
}

async fn fetch_over(
    transport: &Transport,
    url: &str,
    options: &Options,
) -> Result<(StatusCode, Bytes), Error> {
    let uri = http_uri(url)?;
    let mut request = Request::builder()
        .method(Method::GET)
        .uri(uri)
        .body(Full::new(Bytes::new()))
        .map_err(Error::Request)?;
    let headers = request.headers_mut();
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(
        mesh::A2A_VERSION,
        HeaderValue::from_static(Version::V1_0.as_str()),
    );
    for (name, value) in &options.headers {
        headers.insert(name, value.clone());
    }
    transport::within(options.answer_timeout, async {
        let response = transport.send(Wire::H1, request).await?;
        let status = response.status();
        let body = transport::collect(response.into_body(), "card", options.limits.card).await?;
        Ok((status, body.to_bytes()))
    })
    .await
}

/// Picks the interface to talk to: the first of 1.0, else of a version that is not known, since a later
/// 1.x answers calls of 1.0, else of 0.3.
///
/// # Errors
/// [`Error::NoInterface`] if nothing fits, [`Error::Url`] if what fits has no usable URL.
pub(crate) fn choose(
    card: &Card,
    card_url: Option<&str>,
    options: &Options,
) -> Result<Endpoint, Error> {
    const PREFERENCE: [Option<Version>; 3] = [Some(Version::V1_0), None, Some(Version::V0_3)];
    let interfaces = card.interfaces();
    let binding = |interface: &Interface| {
        let own = interface.binding?;
        options
            .binding
            .is_none_or(|wanted| wanted == own)
            .then_some(own)
    };
    let chosen = PREFERENCE.into_iter().find_map(|version| {
        let spoken = version.unwrap_or(Version::V1_0);
        if options.version.is_some_and(|wanted| wanted != spoken) {
            return None;
        }
        let mut fitting = interfaces.iter().filter(|each| each.version == version);
        fitting.find_map(|interface| Some((interface, binding(interface)?, spoken)))
    });
    let Some((interface, binding, version)) = chosen else {
        let offered = offer(&interfaces);
        return Err(Error::no_interface(
            options.binding,
            options.version,
            offered,
        ));
    };
    let secure = card_url.is_some_and(|url| url.starts_with("https://"));
    Ok(Endpoint {
        binding,
        version,
        base: base(binding, &interface.url, secure)?,
        tenant: interface.tenant.clone().filter(|tenant| !tenant.is_empty()),
    })
}

/// Brings an interface's URL into the one form that is used here. gRPC has three in the wild:
/// `host:port` (1.0.1), `http://host:port` and `https://host[:port]`; the bare one is TLS where its
/// card came over TLS or its port is 443.
pub(crate) fn base(binding: Binding, url: &str, secure: bool) -> Result<String, Error> {
    let url = url.trim();
    let full = if url.contains("://") {
        url.to_owned()
    } else if binding == Binding::Grpc {
        let scheme = if secure || url.ends_with(":443") {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{url}")
    } else {
        return Err(bad(url, "it needs http:// or https://"));
    };
    let uri = http_uri(&full)?;
    if uri.query().is_some() {
        return Err(bad(url, "a query can't be followed by paths"));
    }
    let path = match binding {
        // gRPC knows no base path: an RPC's path is fixed.
        Binding::Grpc => "",
        // A JSON-RPC endpoint is one URL, its trailing slash included.
        Binding::JsonRpc => uri.path(),
        Binding::Rest => uri.path().trim_end_matches('/'),
    };
    let scheme = uri.scheme_str().unwrap_or("http");
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    Ok(format!("{scheme}://{authority}{path}"))
}

fn card_url(url: &str) -> String {
    let url = url.trim();
    let url = if url.contains("://") {
        url.to_owned()
    } else {
        // What a person types at a terminal: localhost:8080/assistant.
        format!("http://{url}")
    };
    if url.ends_with(".json") {
        url
    } else {
        format!("{}{CARD_PATH}", url.trim_end_matches('/'))
    }
}

fn http_uri(url: &str) -> Result<Uri, Error> {
    let uri: Uri = url.parse().map_err(|_| bad(url, "it does not parse"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(bad(url, "it needs http:// or https://"));
    }
    if uri.host().is_none_or(str::is_empty) {
        return Err(bad(url, "it has no host"));
    }
    Ok(uri)
}

fn bad(url: &str, reason: &'static str) -> Error {
    Error::Url {
        url: url.to_owned(),
        reason,
    }
}

fn offer(interfaces: &[Interface]) -> String {
    let names: Vec<String> = interfaces
        .iter()
        .map(|interface| {
            let binding = interface
                .binding
                .map_or("a binding of its own", Binding::card_name);
            let version = interface.version.map_or("another version", Version::as_str);
            format!("{binding} {version} at {}", interface.url)
        })
        .collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(interfaces: &str) -> Card {
        let text = format!(
            r#"{{"name":"a","description":"","version":"1","supportedInterfaces":[{interfaces}],
               "capabilities":{{}},"defaultInputModes":[],"defaultOutputModes":[],"skills":[]}}"#
        );
        Card::parse(text.as_bytes()).unwrap()
    }

    fn interface(binding: &str, version: &str, url: &str) -> String {
        format!(
            r#"{{"url":"{url}","protocolBinding":"{binding}","protocolVersion":"{version}","tenant":"t"}}"#
        )
    }

    #[test]
    fn the_first_interface_that_is_spoken_here_wins_and_brings_its_tenant() {
        let card = card(
            &[
                interface("https://example.test/custom", "1.0", "https://h/c"),
                interface("JSONRPC", "0.3", "https://h/old"),
                interface("HTTP+JSON", "1.0.1", "https://h/rest/"),
                interface("JSONRPC", "1.0", "https://h/rpc"),
            ]
            .join(","),
        );
        let over = |binding| Options {
            binding,
            ..Options::default()
        };
        let endpoint = choose(&card, None, &over(None)).unwrap();
        assert_eq!(endpoint.binding, Binding::Rest);
        assert_eq!(endpoint.base, "https://h/rest");
        assert_eq!(endpoint.tenant.as_deref(), Some("t"));
        let endpoint = choose(&card, None, &over(Some(Binding::JsonRpc))).unwrap();
        assert_eq!(endpoint.base, "https://h/rpc");
        let error = choose(&card, None, &over(Some(Binding::Grpc))).unwrap_err();
        assert!(
            error.to_string().contains("JSONRPC 0.3 at https://h/old"),
            "{error}"
        );
    }

    #[test]
    fn a_version_is_chosen_by_the_caller_else_the_newest_that_is_offered() {
        let old = interface("HTTP+JSON", "0.3", "https://h/old");
        let new = interface("JSONRPC", "1.0", "https://h/new");
        let later = interface("JSONRPC", "1.7", "https://h/later");
        let chosen = |interfaces: &[&String], version| {
            let interfaces: Vec<_> = interfaces.iter().map(|each| each.as_str()).collect();
            let options = Options {
                version,
                ..Options::default()
            };
            choose(&card(&interfaces.join(",")), None, &options)
                .map(|endpoint| (endpoint.version, endpoint.base))
                .ok()
        };
        let (v1, v03) = (Version::V1_0, Version::V0_3);
        let at = |version, name: &str| Some((version, format!("https://h/{name}")));
        assert_eq!(chosen(&[&old, &later, &new], None), at(v1, "new"));
        assert_eq!(chosen(&[&old, &later], None), at(v1, "later"));
        assert_eq!(chosen(&[&old], None), at(v03, "old"));
        assert_eq!(chosen(&[&new, &old], Some(v03)), at(v03, "old"));
        assert_eq!(chosen(&[&old], Some(v1)), None);
        assert_eq!(chosen(&[&new], Some(v03)), None);
    }

    #[test]
    fn every_form_of_a_grpc_url_is_understood() {
        let grpc = |url: &str, secure| base(Binding::Grpc, url, secure).unwrap();
        assert_eq!(grpc("h:50051", false), "http://h:50051");
        assert_eq!(grpc("h:50051", true), "https://h:50051");
        assert_eq!(grpc("h:443", false), "https://h:443");
        assert_eq!(grpc("http://h:50051", true), "http://h:50051");
        assert_eq!(grpc("https://h/some/path", false), "https://h");
        assert_eq!(grpc("[::1]:50051", false), "http://[::1]:50051");
    }

    #[test]
    fn a_url_that_cannot_be_called_is_refused_before_anything_is_sent() {
        for url in [
            "",
            "h:80/x",
            "ftp://h/x",
            "http://",
            "http:///x",
            "http://h/x?y=1",
            "http://h h/",
        ] {
            let error = base(Binding::Rest, url, false).unwrap_err();
            assert!(matches!(error, Error::Url { .. }), "{url}: {error}");
            assert!(error.is_unsent());
        }
    }

    #[test]
    fn a_card_is_asked_for_below_the_base_or_at_its_own_url() {
        assert_eq!(
            card_url("http://h/a/"),
            "http://h/a/.well-known/agent-card.json"
        );
        assert_eq!(
            card_url("h:8080/a"),
            "http://h:8080/a/.well-known/agent-card.json"
        );
        assert_eq!(card_url("http://h/agent.json"), "http://h/agent.json");
    }
}
