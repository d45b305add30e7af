//! The router's address as a caller knows it: what cards and catalogues carry.
//!
//! `public_url` wins. Without it, what the caller wrote: its Host, or what a reverse proxy in front says
//! of the request that it got (`X-Forwarded-Proto`, `-Host`, `-Port`, `-Prefix`; else `Forwarded`,
//! RFC 7239).
//!
//! # Invariants
//! - Only peers that may speak for others are believed ([`Proxies`]): anybody else could have another
//!   caller's cache filled with addresses of its own.
//! - Whatever an answer was made of stands in its `Vary`.
//! - What does not read as an address is not repeated.

use std::net::IpAddr;

use http::{HeaderMap, Uri};
use ipnet::IpNet;
use serde::Deserialize;
use url::Url;

/// The request headers that a base is made of, where it does not come from `public_url`.
pub(super) const VARIES_BY: &str = "host, forwarded, x-forwarded-host, x-forwarded-port, \
     x-forwarded-prefix, x-forwarded-proto";

/// Whose word on where a request came from is believed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(transparent)]
pub struct Proxies(Option<Vec<IpNet>>);

impl Proxies {
    /// Unset: peers on this machine and in private networks, where reverse proxies stand.
    fn may_speak(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        match (&self.0, peer) {
            (Some(nets), peer) => nets.iter().any(|net| net.contains(&peer)),
            (None, IpAddr::V4(peer)) => {
                peer.is_loopback() || peer.is_private() || peer.is_link_local()
            }
            (None, IpAddr::V6(peer)) => {
                peer.is_loopback() || peer.is_unique_local() || peer.is_unicast_link_local()
            }
        }
    }
}

/// The router's public addresses: for HTTP a base URL without a slash at its end, for gRPC
/// `host:port`, the form that every SDK's channel takes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Base {
    pub(super) http: String,
    pub(super) grpc: String,
}

impl Base {
    /// A configured one.
    pub(super) fn of(url: &Url) -> Self {
        let host = url.host_str().unwrap_or("localhost");
        let port = url.port_or_known_default().unwrap_or(80);
        Self {
            http: url.as_str().trim_end_matches('/').to_owned(),
            grpc: format!("{host}:{port}"),
        }
    }

    /// That by which a request came.
    pub(super) fn asked(headers: &HeaderMap, uri: &Uri, peer: IpAddr, proxies: &Proxies) -> Self {
        let told = if proxies.may_speak(peer) {
            Told::by_proxy(headers)
        } else {
            Told::default()
        };
        let scheme = match told.proto.as_deref() {
            Some(proto) if proto.eq_ignore_ascii_case("https") => "https",
            Some(_) | None => "http",
        };
        let host = told
            .host
            .or_else(|| first(headers, "host"))
            .or_else(|| uri.authority().map(ToString::to_string))
            .unwrap_or_default();
        let Some(mut url) = address(scheme, &host) else {
            return Self::localhost();
        };
        if url.port().is_none()
            && let Some(port) = told.port
        {
            // The scheme's own port is dropped by the type; a URL with a host can have any.
            url.set_port(Some(port)).ok();
        }
        if let Some(prefix) = told.prefix {
            url.set_path(&prefix);
        }
        Self::of(&url)
    }

    /// For a caller whose own word is none.
    fn localhost() -> Self {
        Self {
            http: "http://localhost".to_owned(),
            grpc: "localhost:80".to_owned(),
        }
    }
}

/// What a reverse proxy says of the request that it got.
#[derive(Debug, Default)]
struct Told {
    proto: Option<String>,
    host: Option<String>,
    port: Option<u16>,
    prefix: Option<String>,
}

impl Told {
    /// The older headers where there are any, else the standard one: a proxy that writes the older
    /// ones may well pass on a `Forwarded` of its own caller. In both the first entry is the one
    /// nearest to the caller.
    fn by_proxy(headers: &HeaderMap) -> Self {
        let told = Self {
            proto: first(headers, "x-forwarded-proto"),
            host: first(headers, "x-forwarded-host"),
            port: first(headers, "x-forwarded-port").and_then(|port| port.parse().ok()),
            prefix: first(headers, "x-forwarded-prefix").filter(|prefix| prefix.starts_with('/')),
        };
        if told.proto.is_some() || told.host.is_some() {
            return told;
        }
        let standard = Self::standard(headers);
        Self {
            proto: standard.proto,
            host: standard.host,
            ..told
        }
    }

    fn standard(headers: &HeaderMap) -> Self {
        let mut told = Self::default();
        let Some(element) = first(headers, "forwarded") else {
            return told;
        };
        for pair in element.split(';') {
            let Some((name, value)) = pair.split_once('=') else {
                continue;
            };
            let value = value.trim().trim_matches('"').to_owned();
            match name.trim().to_ascii_lowercase().as_str() {
                "proto" => told.proto = Some(value),
                "host" => told.host = Some(value),
                _ => {}
            }
        }
        told
    }
}

/// The first entry of a header that is a list.
fn first(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    let entry = value.split(',').next()?.trim();
    (!entry.is_empty()).then(|| entry.to_owned())
}

/// A host, perhaps with a port, as a URL; nothing else passes for one.
fn address(scheme: &str, host: &str) -> Option<Url> {
    if host.contains(['/', '?', '#', '@', '\\']) {
        return None;
    }
    let url = Url::parse(&format!("{scheme}://{host}")).ok()?;
    url.has_host().then_some(url)
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    const NEAR: &str = "10.1.2.3";
    const FAR: &str = "203.0.113.9";

    fn base(peer: &str, headers: &[(&'static str, &str)]) -> Base {
        base_for(&Proxies::default(), peer, headers)
    }

    fn base_for(proxies: &Proxies, peer: &str, headers: &[(&'static str, &str)]) -> Base {
        let headers = headers.iter().map(|(name, value)| {
            let value = HeaderValue::from_str(value).unwrap();
            (HeaderName::from_static(name), value)
        });
        let headers = headers.collect();
        let uri = Uri::from_static("/agents");
        Base::asked(&headers, &uri, peer.parse().unwrap(), proxies)
    }

    fn is(http: &str, grpc: &str) -> Base {
        Base {
            http: http.to_owned(),
            grpc: grpc.to_owned(),
        }
    }

    #[test]
    fn the_host_that_the_caller_wrote_is_the_base() {
        let host = [("host", "mesh:8080")];
        assert_eq!(base(FAR, &host), is("http://mesh:8080", "mesh:8080"));
    }

    #[test]
    fn a_proxy_in_a_private_network_is_believed_prefix_and_port_included() {
        let told = [
            ("host", "10.0.0.1:80"),
            ("x-forwarded-proto", "https, http"),
            ("x-forwarded-host", "mesh.example, inner"),
            ("x-forwarded-port", "8443"),
            ("x-forwarded-prefix", "/a2a/"),
        ];
        assert_eq!(
            base(NEAR, &told),
            is("https://mesh.example:8443/a2a", "mesh.example:8443")
        );
        assert_eq!(base(FAR, &told), is("http://10.0.0.1", "10.0.0.1:80"));
        let own_port = [("x-forwarded-host", "m"), ("x-forwarded-port", "80")];
        assert_eq!(base(NEAR, &own_port), is("http://m", "m:80"));
    }

    #[test]
    fn the_standard_header_is_read_where_the_older_ones_are_not_there() {
        let told = [
            ("host", "inner"),
            (
                "forwarded",
                "for=1.2.3.4;proto=https;host=\"mesh:444\", for=x",
            ),
        ];
        assert_eq!(base(NEAR, &told), is("https://mesh:444", "mesh:444"));
    }

    #[test]
    fn a_list_of_proxies_replaces_the_private_networks() {
        let only: Proxies = serde_json::from_str(r#"["203.0.113.0/24"]"#).unwrap();
        let told = [("host", "inner"), ("x-forwarded-host", "outer")];
        assert_eq!(base_for(&only, FAR, &told).http, "http://outer");
        assert_eq!(base_for(&only, NEAR, &told).http, "http://inner");
    }

    #[test]
    fn what_is_no_address_is_not_repeated() {
        for host in ["a/b", "user@host", "a b", "", "[::1", "x?y"] {
            let base = base(NEAR, &[("host", "mesh"), ("x-forwarded-host", host)]);
            assert!(
                ["http://localhost", "http://mesh"].contains(&base.http.as_str()),
                "{host}: {base:?}"
            );
        }
        let odd = [("host", "mesh"), ("x-forwarded-prefix", "//evil.example")];
        assert!(base(NEAR, &odd).http.starts_with("http://mesh/"));
        let port = [("host", "mesh"), ("x-forwarded-port", "99999")];
        assert_eq!(base(NEAR, &port).http, "http://mesh");
    }
}
