//! Addresses in cards: whether they can be read, and who can reach them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mesh_proto::Binding;
use url::{Host, Url};

use super::{Report, quoted};

/// From where an address is reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Reach {
    /// From the machine itself.
    Machine,
    /// From a private network.
    Network,
    /// From anywhere, as far as an address tells.
    Anywhere,
    /// From nowhere: it is no address to connect to.
    Nowhere,
}

/// An interface's address, in the forms that its binding allows.
pub(super) fn interface(pointer: &str, text: &str, binding: Option<Binding>, report: &mut Report) {
    match (binding, read(text)) {
        (Some(Binding::Grpc), Err(_)) => target(pointer, text, report),
        (Some(Binding::Grpc), Ok(url)) if !matches!(url.scheme(), "http" | "https") => {
            target(pointer, text, report);
        }
        (None, Ok(url)) if !matches!(url.scheme(), "http" | "https") => {}
        (Some(Binding::JsonRpc | Binding::Rest) | None, Err(why)) => {
            report.error(pointer, format!("{} is not a URL: {why}", quoted(text)));
        }
        (binding, Ok(url)) => {
            web(pointer, &url, report);
            if binding == Some(Binding::Grpc) && !matches!(url.path(), "" | "/") {
                let words = "a gRPC address has no path: clients connect to its host and port";
                report.warning(pointer, words);
            }
        }
    }
}

/// A link for people: documentation, a picture, a provider's site.
pub(super) fn link(pointer: &str, text: &str, report: &mut Report) {
    match read(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https" | "data") => {}
        Ok(_) | Err(_) => report.warning(pointer, format!("{} is not a web address", quoted(text))),
    }
}

fn read(text: &str) -> Result<Url, String> {
    // Trimmed by the parser, but not by every client.
    if text.trim() != text {
        return Err("it begins or ends with white space".to_owned());
    }
    Url::parse(text).map_err(|error| error.to_string())
}

/// `http` and `https`.
fn web(pointer: &str, url: &Url, report: &mut Report) {
    if !matches!(url.scheme(), "http" | "https") {
        let words = format!("the scheme {} is not http or https", quoted(url.scheme()));
        report.error(pointer, words);
        return;
    }
    if !url.username().is_empty() || url.password().is_some() {
        report.error(
            pointer,
            "a card is public, and there are credentials in the address",
        );
    }
    if url.query().is_some() || url.fragment().is_some() {
        let words = "a query or fragment gets lost where clients add their paths";
        report.warning(pointer, words);
    }
    let reach = url.host().map_or(Reach::Nowhere, |host| match host {
        Host::Domain(name) => of_name(name),
        Host::Ipv4(address) => of_v4(address),
        Host::Ipv6(address) => of_v6(address),
    });
    told(pointer, reach, report);
    if url.scheme() == "http" && reach == Reach::Anywhere {
        let words = "http without TLS: specification 7.1 wants https in production";
        report.warning(pointer, words);
    }
}

/// `host:port`, the form of gRPC targets; `dns:///host:port` and its like are what some libraries
/// take and others do not.
fn target(pointer: &str, text: &str, report: &mut Report) {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !text.contains("//") => (host, port),
        Some(_) => {
            let words = format!("{} is a target of one gRPC library's own", quoted(text));
            report.warning(pointer, words);
            return;
        }
        None => {
            let words = format!("{} has no port: gRPC wants host:port", quoted(text));
            report.error(pointer, words);
            return;
        }
    };
    if port.parse::<u16>().is_ok_and(|port| port != 0) {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        match Host::parse(host) {
            _ if host.is_empty() => report.error(pointer, "there is no host in it"),
            Ok(Host::Domain(name)) => told(pointer, of_name(&name), report),
            Ok(Host::Ipv4(address)) => told(pointer, of_v4(address), report),
            Ok(Host::Ipv6(address)) => told(pointer, of_v6(address), report),
            Err(_) => match host.parse::<IpAddr>() {
                Ok(IpAddr::V4(address)) => told(pointer, of_v4(address), report),
                Ok(IpAddr::V6(address)) => told(pointer, of_v6(address), report),
                Err(_) => report.error(pointer, format!("{} is not a host", quoted(host))),
            },
        }
    } else {
        report.error(pointer, format!("{} is not a port", quoted(port)));
    }
}

fn told(pointer: &str, reach: Reach, report: &mut Report) {
    match reach {
        Reach::Anywhere => {}
        Reach::Machine => report.warning(pointer, "only the agent's own machine reaches it"),
        Reach::Network => report.warning(pointer, "only the agent's own network reaches it"),
        Reach::Nowhere => report.error(pointer, "it is not an address to connect to"),
    }
}

fn of_name(name: &str) -> Reach {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    // RFC 6761, RFC 6762, RFC 8375 and RFC 9476's reasoning; a name without a dot is a machine's own
    // or a search list's.
    let ends = |suffix: &str| name.ends_with(suffix);
    if name == "localhost" || ends(".localhost") {
        Reach::Machine
    } else if [".local", ".internal", ".home.arpa", ".lan"]
        .into_iter()
        .any(ends)
    {
        Reach::Network
    } else if ends(".invalid") {
        Reach::Nowhere
    } else if name.contains('.') {
        Reach::Anywhere
    } else {
        Reach::Network
    }
}

fn of_v4(address: Ipv4Addr) -> Reach {
    let [a, b, ..] = address.octets();
    // 100.64.0.0/10 is between a carrier and its customers (RFC 6598).
    let is_carriers = a == 100 && (64..128).contains(&b);
    if address.is_unspecified() || address.is_multicast() || address.is_broadcast() {
        Reach::Nowhere
    } else if address.is_loopback() {
        Reach::Machine
    } else if address.is_private() || address.is_link_local() || is_carriers {
        Reach::Network
    } else {
        Reach::Anywhere
    }
}

fn of_v6(address: Ipv6Addr) -> Reach {
    if let Some(address) = address.to_ipv4_mapped() {
        return of_v4(address);
    }
    if address.is_unspecified() || address.is_multicast() {
        Reach::Nowhere
    } else if address.is_loopback() {
        Reach::Machine
    } else if address.is_unique_local() || address.is_unicast_link_local() {
        Reach::Network
    } else {
        Reach::Anywhere
    }
}
