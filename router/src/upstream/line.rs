//! Lines: the places where an endpoint speaks, which of them a call takes, and one request on one.
//!
//! A line that speaks the caller's own dialect is taken before all others, since its bytes pass untouched.
//! Then comes the one that loses least: another binding of the same version, whose messages are the same;
//! then another version in the same binding, then the rest. Among equals the agent's own order counts.
//!
//! # Invariants
//! - The host of a line is always the configured one. A card says binding, path and version, and its
//!   port counts only where its host is the configured host: a card can't send calls elsewhere. Behind a
//!   sidecar neither counts.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, header};
use http_body_util::Full;
use mesh_proto::{
    Binding, Dialect, Version,
    card::{Card, Interface},
};
use url::Url;

use super::{
    Error, Origins,
    origin::{Carried, Origin, Wire},
};

/// A place where an endpoint speaks one dialect.
#[derive(Clone, Debug)]
pub struct Line {
    /// The binding spoken.
    pub binding: Binding,
    /// The version: 1.0 also where the card names one that we do not know. Unset where there is no card to
    /// name one: then it is whatever the caller speaks.
    pub version: Option<Version>,
    /// The tenant that the card asks for.
    pub tenant: Option<Arc<str>>,
    origin: Arc<Origin>,
    /// Path of the interface without a slash at its end.
    path: Arc<str>,
}

impl Line {
    /// The lines that a card gives to the endpoint at `base`, whose origin is `home`.
    pub(super) fn all(
        card: &Card,
        base: &Url,
        home: &Arc<Origin>,
        origins: &Origins,
    ) -> Arc<[Self]> {
        card.interfaces()
            .iter()
            .filter_map(|each| Self::of(each, base, home, origins))
            .collect()
    }

    /// The line of an agent whose card can't be read: JSON-RPC at the configured URL. An app that its
    /// sidecar speaks gRPC to has no card to read, and its path is its tenant.
    pub(super) fn bare(base: &Url, home: &Arc<Origin>) -> Self {
        let path = base.path().trim_end_matches('/');
        let (binding, tenant, path) = if home.invoked().is_some_and(|it| it.app.speaks_grpc) {
            let tenant = path.trim_start_matches('/');
            let tenant = (!tenant.is_empty()).then(|| Arc::from(tenant));
            (Binding::Grpc, tenant, "")
        } else {
            (Binding::JsonRpc, None, path)
        };
        Self {
            binding,
            version: None,
            tenant,
            origin: Arc::clone(home),
            path: Arc::from(path),
        }
    }

    fn of(
        interface: &Interface,
        base: &Url,
        home: &Arc<Origin>,
        origins: &Origins,
    ) -> Option<Self> {
        let binding = interface.binding?;
        let shown = shown_url(&interface.url)?;
        let origin = match home.invoked() {
            // A sidecar speaks with its app at one port, and of HTTP and gRPC one.
            Some(invoked) => {
                let is_carried = (binding == Binding::Grpc) == invoked.app.speaks_grpc;
                is_carried.then(|| Arc::clone(home))?
            }
            None => {
                let mut target = home.target().clone();
                if same_host(&shown, base)
                    && let Some(port) = shown.port_or_known_default()
                {
                    target.port = port;
                }
                origins.at(&target)
            }
        };
        // A gRPC interface has no path of its own: `host:port` in the card, the service's below.
        let path = match binding {
            Binding::Grpc => "",
            Binding::JsonRpc | Binding::Rest => shown.path().trim_end_matches('/'),
        };
        Some(Self {
            binding,
            version: interface.version.or(Some(Version::V1_0)),
            tenant: interface
                .tenant
                .as_deref()
                .filter(|tenant| !tenant.is_empty())
                .map(Arc::from),
            origin,
            path: Arc::from(path),
        })
    }

    /// The best line for a dialect: see the module.
    #[must_use]
    pub fn choose(lines: &[Self], dialect: Dialect) -> Option<&Self> {
        lines
            .iter()
            .min_by_key(|line| loss(dialect, line.dialect(dialect.version)))
    }

    /// What is spoken on it with a caller of this version.
    #[must_use]
    pub fn dialect(&self, caller: Version) -> Dialect {
        Dialect::new(self.binding, self.version.unwrap_or(caller))
    }

    /// Where it leads.
    #[must_use]
    pub const fn origin(&self) -> &Arc<Origin> {
        &self.origin
    }

    /// Sends one call down the line: `below` is path and query after the interface's own path.
    ///
    /// # Errors
    /// [`Unanswered`](super::origin::Unanswered), or a path that is none.
    pub async fn send(
        &self,
        method: Method,
        below: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Carried>, Error> {
        // Below the root there may be nothing, or only a query.
        let path = if self.path.is_empty() && !below.starts_with('/') {
            format!("/{below}")
        } else {
            format!("{}{below}", self.path)
        };
        let target = self.origin.target();
        let (wire, uri) = match self.binding {
            // h2 takes its `:scheme` and `:authority` from the URI, h1 its Host from a header.
            Binding::Grpc => (
                Wire::H2,
                Uri::builder()
                    .scheme(target.scheme.as_str())
                    .authority(target.authority())
                    .path_and_query(path)
                    .build()?,
            ),
            Binding::JsonRpc | Binding::Rest => {
                (Wire::H1, Uri::builder().path_and_query(path).build()?)
            }
        };
        let mut request = Request::builder()
            .method(method)
            .uri(uri)
            .body(Full::new(body))?;
        *request.headers_mut() = headers;
        if wire == Wire::H1 {
            let host = HeaderValue::from_str(&target.authority()).map_err(http::Error::from)?;
            request.headers_mut().insert(header::HOST, host);
        } else {
            request
                .headers_mut()
                .insert(header::TE, HeaderValue::from_static("trailers"));
        }
        self.origin.call(wire, request).await
    }
}

/// How much is lost between two dialects: a rank, not a measure.
fn loss(client: Dialect, agent: Dialect) -> u8 {
    let same = (
        client.version == agent.version,
        client.binding == agent.binding,
    );
    match same {
        (true, true) => 0,
        (true, false) => 1,
        (false, true) => 2,
        (false, false) => 3,
    }
}

/// A card's URL; gRPC's bare `host:port` counts as one.
fn shown_url(text: &str) -> Option<Url> {
    match Url::parse(text) {
        Ok(url) if url.has_host() => Some(url),
        Ok(_) | Err(_) => Url::parse(&format!("http://{text}"))
            .ok()
            .filter(Url::has_host),
    }
}

/// Whether a card's host is the configured one. All names of this machine are one host, and a card
/// that shows the wildcard address shows where its agent listens, not a host.
fn same_host(shown: &Url, configured: &Url) -> bool {
    let is_here = |url: &Url| match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    let is_wildcard = match shown.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_unspecified(),
        Some(url::Host::Ipv6(ip)) => ip.is_unspecified(),
        Some(url::Host::Domain(_)) | None => false,
    };
    is_wildcard || shown.host() == configured.host() || (is_here(shown) && is_here(configured))
}

#[cfg(test)]
mod tests {
    use mesh_runtime::egress::Target;

    use super::*;

    fn lines(base: &str, card: &str) -> Arc<[Line]> {
        let (card, base) = (
            Card::parse(card.as_bytes()).unwrap(),
            Url::parse(base).unwrap(),
        );
        let origins = Origins::default();
        let home = origins.at(&Target::try_from(&base).unwrap());
        Line::all(&card, &base, &home, &origins)
    }

    fn targets(base: &str, card: &str) -> Vec<(Binding, String, String)> {
        let lines = lines(base, card);
        lines
            .iter()
            .map(|line| {
                (
                    line.binding,
                    line.origin.target().authority(),
                    line.path.to_string(),
                )
            })
            .collect()
    }

    #[tokio::test]
    async fn a_card_decides_path_and_port_but_never_the_host() {
        let card = r#"{"name":"x","supportedInterfaces":[
            {"url":"http://10.0.0.7:7001/a/","protocolBinding":"JSONRPC","protocolVersion":"1.0"},
            {"url":"http://evil.example:99/rest","protocolBinding":"HTTP+JSON","protocolVersion":"1.0"},
            {"url":"10.0.0.7:7002","protocolBinding":"GRPC","protocolVersion":"1.0"},
            {"url":"http://10.0.0.7/x","protocolBinding":"https://example.com/own","protocolVersion":"1.0"}]}"#;
        assert_eq!(
            targets("http://10.0.0.7:7000/", card),
            [
                (
                    Binding::JsonRpc,
                    "10.0.0.7:7001".to_owned(),
                    "/a".to_owned()
                ),
                (
                    Binding::Rest,
                    "10.0.0.7:7000".to_owned(),
                    "/rest".to_owned()
                ),
                (Binding::Grpc, "10.0.0.7:7002".to_owned(), String::new()),
            ]
        );
    }

    #[tokio::test]
    async fn the_names_of_this_machine_are_one_host() {
        let card = r#"{"name":"x","supportedInterfaces":[
            {"url":"http://localhost:7001","protocolBinding":"JSONRPC","protocolVersion":"1.0"},
            {"url":"0.0.0.0:7002","protocolBinding":"GRPC","protocolVersion":"1.0"}]}"#;
        assert_eq!(
            targets("http://127.0.0.1:7000", card),
            [
                (Binding::JsonRpc, "127.0.0.1:7001".to_owned(), String::new()),
                (Binding::Grpc, "127.0.0.1:7002".to_owned(), String::new()),
            ]
        );
    }

    #[tokio::test]
    async fn the_line_that_loses_least_is_taken_and_among_equals_the_agents_first() {
        const CARD: &str = r#"{"name":"x","supportedInterfaces":[
            {"url":"http://10.0.0.7/grpc","protocolBinding":"GRPC","protocolVersion":"1.1"},
            {"url":"http://10.0.0.7/rest","protocolBinding":"HTTP+JSON","protocolVersion":"1.0"},
            {"url":"http://10.0.0.7/old","protocolBinding":"JSONRPC","protocolVersion":"0.3"}]}"#;
        let lines = lines("http://10.0.0.7", CARD);
        let taken = |lines: &[Line], binding, version| {
            let line = Line::choose(lines, Dialect::new(binding, version)).unwrap();
            line.dialect(version)
        };
        use Binding::{Grpc, JsonRpc, Rest};
        use Version::{V0_3, V1_0};
        for (client, agent) in [
            ((Rest, V1_0), (Rest, V1_0)),
            ((Grpc, V1_0), (Grpc, V1_0)),
            ((JsonRpc, V0_3), (JsonRpc, V0_3)),
            // Same version, another binding, the agent's order.
            ((JsonRpc, V1_0), (Grpc, V1_0)),
            ((Rest, V0_3), (JsonRpc, V0_3)),
        ] {
            let found = taken(&lines, client.0, client.1);
            assert_eq!(found, Dialect::new(agent.0, agent.1), "{client:?}");
        }
        // Only another version left: the same binding before others.
        let newer: Vec<Line> = lines.iter().take(2).cloned().collect();
        assert_eq!(taken(&newer, Rest, V0_3), Dialect::new(Rest, V1_0));
        assert_eq!(taken(&newer, JsonRpc, V0_3), Dialect::new(Grpc, V1_0));
        // Without a card, JSON-RPC in whatever version.
        let base = Url::parse("http://10.0.0.7").unwrap();
        let home = Origins::default().at(&Target::try_from(&base).unwrap());
        let bare = [Line::bare(&base, &home)];
        assert_eq!(taken(&bare, Grpc, V0_3), Dialect::new(JsonRpc, V0_3));
    }
}
