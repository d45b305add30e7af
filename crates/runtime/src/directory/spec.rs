//! How a source of members is written: `KIND:WHERE[/PATH]`.
//!
//! `dns:HOST:PORT`, `srv:_SERVICE._tcp.NAME`, `kube:NAMESPACE/SERVICE[:PORT]`; `+https` after the kind
//! where the members speak TLS. What follows is the path below which each member serves the agent.
//!
//! # Invariants
//! - A text that is refused is refused with what is wrong and an example of what is right.
//! - [`Feed`] is what is watched, without path and scheme: agents that differ only in those share one.

use std::{fmt, net::IpAddr, sync::Arc};

use serde::{Deserialize, Deserializer, de::Error as _};
use url::Url;

/// Where an agent's members come from, and how a member's URL is made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Spec {
    /// What is watched.
    pub feed: Feed,
    /// Whether members are called over TLS.
    pub is_https: bool,
    /// Empty, or `/` and more, without a slash at its end.
    pub path: String,
}

/// What is watched.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Feed {
    /// The addresses of a host.
    Dns {
        /// Its name.
        host: Arc<str>,
        /// The members' port.
        port: u16,
    },
    /// The targets of a service record.
    Srv {
        /// Its whole name.
        name: Arc<str>,
    },
    /// The EndpointSlices of a service.
    Kube {
        /// Its namespace.
        namespace: Arc<str>,
        /// Its name.
        service: Arc<str>,
        /// Which of its ports; none where it has one only.
        port: Option<Port>,
    },
}

/// A port of an EndpointSlice.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Port {
    /// By its name in the service.
    Name(Arc<str>),
    /// By its number at the pod.
    Number(u16),
}

/// Why a text names no source.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{text:?}: {why}, as in {example}")]
pub struct Unreadable {
    text: String,
    why: &'static str,
    example: &'static str,
}

const DNS: &str = "dns:workers.example:9000/assistant";
const SRV: &str = "srv:_a2a._tcp.workers.example/assistant";
const KUBE: &str = "kube:daca/workers:http/assistant";

impl Spec {
    /// Whether a text is meant as a source, well written or not.
    #[must_use]
    pub fn is_meant(text: &str) -> bool {
        kind(text).is_some()
    }

    /// Reads a source.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn parse(text: &str) -> Result<Self, Unreadable> {
        let wrong = |why, example| Unreadable {
            text: text.to_owned(),
            why,
            example,
        };
        let Some((kind, is_https, rest)) = kind(text) else {
            return Err(wrong("a source begins with dns:, srv: or kube:", KUBE));
        };
        let (example, read) = match kind {
            Kind::Dns => (DNS, dns(rest)),
            Kind::Srv => (SRV, srv(rest)),
            Kind::Kube => (KUBE, kube(rest)),
        };
        let (feed, path) = read.map_err(|why| wrong(why, example))?;
        let path = path.trim_end_matches('/');
        let is_path = path.is_empty() || is_path(path);
        is_path
            .then(|| Self {
                feed,
                is_https,
                path: path.to_owned(),
            })
            .ok_or_else(|| wrong("after the first slash comes a path", example))
    }

    /// The same source one step further down.
    #[must_use]
    pub fn below(&self, step: &str) -> Self {
        let path = format!("{}/{step}", self.path);
        Self {
            path,
            ..self.clone()
        }
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let feed = self.feed.to_string();
        match feed.split_once(':') {
            Some((kind, rest)) if self.is_https => write!(f, "{kind}+https:{rest}{}", self.path),
            Some(_) | None => write!(f, "{feed}{}", self.path),
        }
    }
}

impl fmt::Display for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns { host, port } => write!(f, "dns:{host}:{port}"),
            Self::Srv { name } => write!(f, "srv:{name}"),
            Self::Kube {
                namespace,
                service,
                port,
            } => {
                write!(f, "kube:{namespace}/{service}")?;
                match port {
                    None => Ok(()),
                    Some(Port::Name(name)) => write!(f, ":{name}"),
                    Some(Port::Number(number)) => write!(f, ":{number}"),
                }
            }
        }
    }
}

impl<'de> Deserialize<'de> for Spec {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::parse(&text).map_err(D::Error::custom)
    }
}

impl serde::Serialize for Spec {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Dns,
    Srv,
    Kube,
}

fn kind(text: &str) -> Option<(Kind, bool, &str)> {
    let (kind, rest) = text.split_once(':')?;
    let (kind, is_https) = match kind.strip_suffix("+https") {
        Some(kind) => (kind, true),
        None => (kind, false),
    };
    let kind = match kind {
        "dns" => Kind::Dns,
        "srv" => Kind::Srv,
        "kube" => Kind::Kube,
        _ => return None,
    };
    Some((kind, is_https, rest))
}

type Read<'a> = Result<(Feed, &'a str), &'static str>;

fn dns(rest: &str) -> Read<'_> {
    let (at, path) = cut(rest);
    let (host, port) = at.rsplit_once(':').ok_or("the port is missing")?;
    if host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
        return Err("an address needs no look-up: give it as a URL; a source has a name");
    }
    if !is_host(host) {
        return Err("the host is no name");
    }
    let host = Arc::from(host);
    let port = number(port).ok_or("the port is no number from 1 to 65535")?;
    Ok((Feed::Dns { host, port }, path))
}

fn srv(rest: &str) -> Read<'_> {
    let (name, path) = cut(rest);
    let mut labels = name.splitn(3, '.');
    let is_service = labels.by_ref().take(2).all(|label| label.starts_with('_'));
    if !is_service || labels.next().is_none_or(str::is_empty) || !is_host(name) {
        return Err("a service record's name is _SERVICE._PROTO.NAME");
    }
    let name = Arc::from(name);
    Ok((Feed::Srv { name }, path))
}

fn kube(rest: &str) -> Read<'_> {
    let (namespace, rest) = rest.split_once('/').ok_or("the service is missing")?;
    let (service, path) = cut(rest);
    let (service, port) = match service.split_once(':') {
        None => (service, None),
        Some((service, port)) => (service, Some(port)),
    };
    if !is_label(namespace) || !is_label(service) {
        return Err("namespace and service are names of lower-case letters, digits and hyphens");
    }
    let port = match port {
        None => None,
        Some(port) => Some(match number(port) {
            Some(number) => Port::Number(number),
            None if is_label(port) && !is_digits(port) => Port::Name(Arc::from(port)),
            None => return Err("the port is a port's name or its number at the pod"),
        }),
    };
    let (namespace, service) = (Arc::from(namespace), Arc::from(service));
    let feed = Feed::Kube {
        namespace,
        service,
        port,
    };
    Ok((feed, path))
}

/// What stands before the first slash, and the rest with it.
fn cut(text: &str) -> (&str, &str) {
    text.split_at(text.find('/').unwrap_or(text.len()))
}

fn number(text: &str) -> Option<u16> {
    let number = is_digits(text).then(|| text.parse().ok())?;
    number.filter(|number| *number > 0)
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// RFC 1123, as Kubernetes has it for names.
fn is_label(text: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(inside)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn is_host(text: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let text = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(inside);
    text.len() <= 253 && text.split('.').all(is_label)
}

fn is_path(path: &str) -> bool {
    let url = Url::parse(&format!("http://member{path}"));
    url.is_ok_and(|url| url.path() == path && url.query().is_none() && url.fragment().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_read_as_it_is_written() {
        for text in [
            "dns:workers.example:9000",
            "dns+https:workers:443/a/b",
            "srv:_a2a._tcp.workers.example./assistant",
            "srv+https:_a2a._tcp.w",
            "kube:daca/workers",
            "kube:daca/workers/assistant",
            "kube:daca/workers:http/assistant",
            "kube+https:daca/workers:8443/assistant",
        ] {
            assert!(Spec::is_meant(text));
            assert_eq!(Spec::parse(text).unwrap().to_string(), text);
        }
        let below = Spec::parse("kube:daca/workers:http/base/").unwrap();
        let below = below.below("desk");
        assert_eq!(below.to_string(), "kube:daca/workers:http/base/desk");
    }

    #[test]
    fn agents_on_the_same_workers_share_what_is_watched() {
        let feed = |text| Spec::parse(text).unwrap().feed;
        let one = feed("kube:daca/workers:http/assistant");
        assert_eq!(one, feed("kube+https:daca/workers:http/planner"));
        assert_ne!(one, feed("kube:daca/workers:8080/assistant"));
    }

    #[test]
    fn a_wrong_source_is_told_what_is_wrong_and_what_would_be_right() {
        for (text, why) in [
            ("consul:workers", "dns:, srv: or kube:"),
            ("dns:workers", "port is missing"),
            ("dns:workers:0", "1 to 65535"),
            ("dns:workers:http", "1 to 65535"),
            ("dns::80", "no name"),
            ("dns:10.0.0.1:80", "as a URL"),
            ("dns:[::1]:80", "as a URL"),
            ("dns:work ers:80", "no name"),
            ("srv:workers.example", "_SERVICE._PROTO.NAME"),
            ("srv:_a2a._tcp", "_SERVICE._PROTO.NAME"),
            ("kube:workers", "service is missing"),
            ("kube:daca/Workers", "lower-case"),
            ("kube:daca/workers:", "port's name"),
            ("kube:daca/workers:70000", "port's name"),
            ("kube:daca/workers,x=y", "lower-case"),
            ("kube:daca/workers:http/a?b", "a path"),
            ("kube:daca/workers:http/a b", "a path"),
        ] {
            let error = Spec::parse(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
            assert!(error.contains(", as in "), "{error}");
        }
    }
}
