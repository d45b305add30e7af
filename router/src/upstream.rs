//! To agents: one replica of one agent, the lines on which it listens, and one request on a line.
//!
//! # Invariants
//! - The host of a line is always the configured one. A card says binding, path and version, and its
//!   port counts only where its host is the configured host: a card can't send calls elsewhere.
//! - Nothing here chooses among replicas; that is `dispatch`.

pub mod envelope;
pub mod origin;

use std::{
    collections::HashMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use mesh_proto::{
    Binding, Dialect, Version,
    card::{Card, Interface},
    mesh::{Incarnation, WorkerId, WorkerReport, WorkerState},
};
use mesh_runtime::egress::{Egress, Target};
use parking_lot::Mutex;
use tokio::time::Instant;
use url::Url;

use self::origin::{Carried, Origin, Unanswered, Wire};
use crate::meter::EndpointMeter;

/// The most that is read of a card or a report.
const PAGE_BYTES: usize = 1 << 20;

/// One replica of one agent.
#[derive(Debug)]
pub struct Endpoint {
    /// Its stable name, which decides its slots.
    pub id: WorkerId,
    /// Its counters.
    pub meter: EndpointMeter,
    base: Url,
    home: Arc<Origin>,
    facts: ArcSwap<Facts>,
    looked_at: AtomicBool,
}

/// What is known of an endpoint besides its URL; replaced whole.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Its card, once one could be read.
    pub card: Option<Arc<Card>>,
    /// Where it listens, by the card.
    pub lines: Arc<[Line]>,
    /// Its boot id, once it has shown itself to be a worker of ours.
    pub boot: Option<Arc<str>>,
    /// Whether it takes new work.
    pub state: WorkerState,
}

/// A place where an endpoint speaks one dialect.
#[derive(Clone, Debug)]
pub struct Line {
    /// The binding spoken.
    pub binding: Binding,
    /// The version, where the card names one that we know.
    pub version: Option<Version>,
    /// The tenant that the card asks for.
    pub tenant: Option<Arc<str>>,
    origin: Arc<Origin>,
    /// Path of the interface without a slash at its end.
    path: Arc<str>,
}

/// Origins by address, shared by all endpoints that live there.
#[derive(Debug, Default)]
pub struct Origins {
    egress: Egress,
    known: Mutex<HashMap<Target, Weak<Origin>>>,
}

/// Why a page could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No answer.
    #[error("no answer")]
    Unanswered(#[from] Unanswered),
    /// An answer other than 200.
    #[error("answered with status {0}")]
    Status(u16),
    /// The page broke off or was over the bound.
    #[error("broke off, or was longer than {PAGE_BYTES} bytes")]
    Page,
    /// The path can't be asked for.
    #[error("is not a path")]
    Path(#[from] http::Error),
}

impl Origins {
    /// No origins yet; connections will be opened by this egress.
    #[must_use]
    pub fn new(egress: Egress) -> Self {
        Self {
            egress,
            known: Mutex::default(),
        }
    }

    /// The origin at an address, made if there is none.
    pub fn at(&self, target: &Target) -> Arc<Origin> {
        let mut all = self.known.lock();
        if let Some(origin) = all.get(target).and_then(Weak::upgrade) {
            return origin;
        }
        // An address that nobody uses any more leaves a dead entry; sweep when one is added.
        all.retain(|_, origin| origin.strong_count() > 0);
        let origin = Arc::new(Origin::new(target.clone(), self.egress.clone()));
        all.insert(target.clone(), Arc::downgrade(&origin));
        origin
    }
}

impl Endpoint {
    /// An endpoint of which only the URL is known: `None` when the URL has no host, or is not
    /// http or https.
    pub fn new(id: WorkerId, base: Url, meter: EndpointMeter, origins: &Origins) -> Option<Self> {
        let home = origins.at(&Target::try_from(&base).ok()?);
        Some(Self {
            id,
            meter,
            base,
            home,
            facts: ArcSwap::default(),
            looked_at: AtomicBool::new(false),
        })
    }

    /// The configured URL.
    #[must_use]
    pub const fn base(&self) -> &Url {
        &self.base
    }

    /// What is known now.
    #[must_use]
    pub fn facts(&self) -> Arc<Facts> {
        self.facts.load_full()
    }

    /// Its incarnation: 0 for a third party, or for one not heard of yet.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        let facts = self.facts.load();
        facts
            .boot
            .as_deref()
            .map_or_else(Incarnation::default, |boot| {
                mesh_core::token::incarnation(&self.id, boot)
            })
    }

    /// What tokens call it: its incarnation, or for a third party the life that lasts as long as it is
    /// listed. 0 while nobody has looked which of the two it is.
    #[must_use]
    pub fn life(&self) -> Incarnation {
        match self.third_party() {
            Some(life) => life,
            None => self.incarnation(),
        }
    }

    /// The life of a third party; unset for a worker of ours, and while nobody has looked.
    #[must_use]
    pub fn third_party(&self) -> Option<Incarnation> {
        let is_one = self.is_looked_at() && self.facts.load().boot.is_none();
        is_one.then(|| mesh_core::token::third_party(&self.id))
    }

    /// Notes that a scout has been here, whatever it found. True for the first time.
    pub fn look_at(&self) -> bool {
        !self.looked_at.swap(true, Ordering::Relaxed)
    }

    /// Whether a scout has been here.
    #[must_use]
    pub fn is_looked_at(&self) -> bool {
        self.looked_at.load(Ordering::Relaxed)
    }

    /// Whether its home origin failed too recently to be tried.
    #[must_use]
    pub fn is_ejected(&self, now: Instant) -> bool {
        self.home.is_ejected(now)
    }

    /// The origin at the configured URL.
    #[must_use]
    pub const fn home(&self) -> &Arc<Origin> {
        &self.home
    }

    /// Takes over a card. True if it differs from the one known.
    pub fn learn_card(&self, card: &Card, origins: &Origins) -> bool {
        let known = self.facts.load_full();
        if known
            .card
            .as_deref()
            .is_some_and(|old| old.to_bytes() == card.to_bytes())
        {
            return false;
        }
        let lines = self.lines_of(card, origins);
        self.facts.rcu(|known| Facts {
            card: Some(Arc::new(card.clone())),
            lines: Arc::clone(&lines),
            ..(**known).clone()
        });
        true
    }

    /// Takes over a worker's report. True if a view would change by it.
    pub fn learn_report(&self, report: &WorkerReport) -> bool {
        let is_new = self.facts.load().state != report.state;
        if is_new {
            self.facts.rcu(|known| Facts {
                state: report.state,
                ..(**known).clone()
            });
        }
        self.learn_boot(&report.boot) || is_new
    }

    /// Takes over a boot id. True if it is new.
    pub fn learn_boot(&self, boot: &str) -> bool {
        if self.facts.load().boot.as_deref() == Some(boot) {
            return false;
        }
        let boot: Arc<str> = Arc::from(boot);
        self.facts.rcu(|known| Facts {
            boot: Some(Arc::clone(&boot)),
            ..(**known).clone()
        });
        true
    }

    /// The lines that a card, its own or that of a replica, gives this endpoint.
    #[must_use]
    pub fn lines_of(&self, card: &Card, origins: &Origins) -> Arc<[Line]> {
        card.interfaces()
            .iter()
            .filter_map(|each| self.line_of(each, origins))
            .collect()
    }

    /// The line of an agent whose card can't be read: JSON-RPC at the configured URL.
    #[must_use]
    pub fn bare_line(&self) -> Line {
        Line {
            binding: Binding::JsonRpc,
            version: None,
            tenant: None,
            origin: Arc::clone(&self.home),
            path: Arc::from(self.base.path().trim_end_matches('/')),
        }
    }

    /// Reads a page of this endpoint: `below` starts at the configured URL, `at_root` at its host.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn page(&self, page: Page<'_>) -> Result<Bytes, Error> {
        let path = match page {
            Page::Below(path) => format!("{}{path}", self.base.path().trim_end_matches('/')),
            Page::AtRoot(path) => path.to_owned(),
        };
        let request = Request::builder()
            .method(Method::GET)
            .uri(path)
            .header(header::HOST, self.home.target().authority())
            .header(header::ACCEPT, "application/json")
            .body(Full::default())?;
        let response = self.home.send(Wire::H1, request).await?;
        if response.status() != http::StatusCode::OK {
            return Err(Error::Status(response.status().as_u16()));
        }
        let body = Limited::new(response.into_body(), PAGE_BYTES)
            .collect()
            .await;
        body.map(http_body_util::Collected::to_bytes)
            .map_err(|_| Error::Page)
    }

    fn line_of(&self, interface: &Interface, origins: &Origins) -> Option<Line> {
        let binding = interface.binding?;
        let shown = shown_url(&interface.url)?;
        let mut target = self.home.target().clone();
        if same_host(&shown, &self.base)
            && let Some(port) = shown.port_or_known_default()
        {
            target.port = port;
        }
        // A gRPC interface has no path of its own: `host:port` in the card, the service's below.
        let path = match binding {
            Binding::Grpc => "",
            Binding::JsonRpc | Binding::Rest => shown.path().trim_end_matches('/'),
        };
        Some(Line {
            binding,
            version: interface.version,
            tenant: interface.tenant.as_deref().map(Arc::from),
            origin: origins.at(&target),
            path: Arc::from(path),
        })
    }
}

/// Where a page lies.
#[derive(Clone, Copy, Debug)]
pub enum Page<'a> {
    /// Below the configured URL.
    Below(&'a str),
    /// At the root of its host.
    AtRoot(&'a str),
}

impl Line {
    /// The best line for a dialect: the very version, else any with the binding.
    #[must_use]
    pub fn choose(lines: &[Self], dialect: Dialect) -> Option<&Self> {
        let with_binding = || lines.iter().filter(|line| line.binding == dialect.binding);
        with_binding()
            .find(|line| line.version == Some(dialect.version))
            .or_else(|| with_binding().next())
    }

    /// Where it leads.
    #[must_use]
    pub const fn origin(&self) -> &Arc<Origin> {
        &self.origin
    }

    /// Sends one call down the line: `below` is path and query after the interface's own path.
    ///
    /// # Errors
    /// [`Unanswered`], or a path that is none.
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
        Ok(self.origin.send(wire, request).await?)
    }
}

/// Reads what our worker says of itself; anything else is `None`.
#[must_use]
pub fn report(page: &[u8]) -> Option<WorkerReport> {
    serde_json::from_slice(page).ok()
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
    use super::*;

    fn endpoint(url: &str) -> Endpoint {
        let meter = EndpointMeter::default();
        Endpoint::new(
            WorkerId::new(url),
            Url::parse(url).unwrap(),
            meter,
            &Origins::default(),
        )
        .unwrap()
    }

    fn targets(endpoint: &Endpoint, card: &str) -> Vec<(Binding, String, String)> {
        let card = Card::parse(card.as_bytes()).unwrap();
        let lines = endpoint.lines_of(&card, &Origins::default());
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
            targets(&endpoint("http://10.0.0.7:7000/"), card),
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
            targets(&endpoint("http://127.0.0.1:7000"), card),
            [
                (Binding::JsonRpc, "127.0.0.1:7001".to_owned(), String::new()),
                (Binding::Grpc, "127.0.0.1:7002".to_owned(), String::new()),
            ]
        );
    }
}
