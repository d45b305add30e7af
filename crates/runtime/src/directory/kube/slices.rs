//! All EndpointSlices of a service, made into one list of members.
//!
//! # Invariants
//! - The result depends on the slices alone, not on the order in which they came: every router that has
//!   the same slices lists the same members.
//! - A pod is one member, whatever number of slices names it, and its name is the pod's, never an
//!   address: it keeps its slots when it comes back elsewhere.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use mesh_proto::mesh::{WorkerId, WorkerState};

use crate::directory::{Port, sight::Peer};

/// Which of two mentions of a pod counts: IPv4 before IPv6, then the newer slice, then the first name.
type Rank<'a> = (u8, Reverse<u64>, &'a str);

/// The members that the slices name, sorted by their names.
pub(super) fn merge<'a>(
    slices: impl IntoIterator<Item = &'a EndpointSlice>,
    port: Option<&Port>,
) -> Vec<Peer> {
    let mut best: BTreeMap<String, (Rank<'_>, Option<Peer>)> = BTreeMap::new();
    for slice in slices {
        let Some(port) = port_of(slice.ports.as_deref().unwrap_or_default(), port) else {
            continue;
        };
        let rank = rank(slice);
        for endpoint in slice.endpoints.iter().flatten() {
            let Some(address) = endpoint.addresses.first() else {
                continue;
            };
            // A mention that counts hides the others even where it says that the pod is not to be used.
            let key = identity(endpoint, address);
            let is_better = best.get(&key).is_none_or(|(known, _)| rank < *known);
            if is_better {
                best.insert(key, (rank, peer(endpoint, address, port)));
            }
        }
    }
    let mut peers: Vec<Peer> = best.into_values().filter_map(|(_, peer)| peer).collect();
    peers.sort_by(|a, b| a.id.cmp(&b.id));
    // Two pods of one name: the one of a StatefulSet that ends, and the one that takes its place. What
    // takes new work counts.
    peers.dedup_by(|later, kept| {
        let is_same = later.id == kept.id;
        if is_same && kept.state == WorkerState::Draining && later.state == WorkerState::Active {
            std::mem::swap(later, kept);
        }
        is_same
    });
    peers
}

fn rank(slice: &EndpointSlice) -> Rank<'_> {
    let family = match slice.address_type.as_str() {
        "IPv4" => 0,
        "IPv6" => 1,
        _ => 2,
    };
    let version = slice.metadata.resource_version.as_deref();
    let version = version.and_then(|text| text.parse().ok()).unwrap_or(0);
    let name = slice.metadata.name.as_deref().unwrap_or_default();
    (family, Reverse(version), name)
}

/// The uid of the pod, else its name, else the host's name, else the address.
fn identity(endpoint: &Endpoint, address: &str) -> String {
    let target = endpoint.target_ref.as_ref();
    let uid = target.and_then(|target| target.uid.clone());
    uid.unwrap_or_else(|| id(endpoint, address).to_owned())
}

fn id<'a>(endpoint: &'a Endpoint, address: &'a str) -> &'a str {
    let target = endpoint.target_ref.as_ref();
    let name = target.and_then(|target| target.name.as_deref());
    name.or(endpoint.hostname.as_deref()).unwrap_or(address)
}

/// Absent where the endpoint is to get nothing at all.
fn peer(endpoint: &Endpoint, address: &str, port: u16) -> Option<Peer> {
    let host = if address.contains(':') {
        format!("[{address}]")
    } else {
        address.to_owned()
    };
    Some(Peer {
        state: state(endpoint.conditions.as_ref())?,
        id: WorkerId::new(id(endpoint, address)),
        host,
        port,
        zone: zone(endpoint),
        weight: 1,
    })
}

/// Ready: takes anything. Serving while it terminates: finishes what it has. Neither: nothing.
///
/// A condition that is not set is unknown; unknown readiness counts as ready, unknown serving as
/// readiness, and unknown termination as none (so says the API of EndpointSlices).
fn state(conditions: Option<&EndpointConditions>) -> Option<WorkerState> {
    let ready = conditions.and_then(|each| each.ready).unwrap_or(true);
    let serving = conditions.and_then(|each| each.serving).unwrap_or(ready);
    let terminating = conditions
        .and_then(|each| each.terminating)
        .unwrap_or(false);
    match (ready, serving && terminating) {
        // A service that publishes pods that are not ready calls them ready while they terminate, too.
        (_, true) => Some(WorkerState::Draining),
        (true, false) if !terminating => Some(WorkerState::Active),
        (_, false) => None,
    }
}

/// Where it stands; where that is not said, the one zone that is advised to use it.
fn zone(endpoint: &Endpoint) -> Option<Arc<str>> {
    let advised = || match endpoint.hints.as_ref()?.for_zones.as_deref()? {
        [only] => Some(only.name.as_str()),
        _ => None,
    };
    let zone = endpoint.zone.as_deref().or_else(advised)?;
    (!zone.is_empty()).then(|| Arc::from(zone))
}

/// The number of the wanted port in one slice; the only one, where none is named.
fn port_of(ports: &[EndpointPort], wanted: Option<&Port>) -> Option<u16> {
    let number = |port: &EndpointPort| u16::try_from(port.port?).ok().filter(|port| *port > 0);
    match wanted {
        None => match ports {
            [only] => number(only),
            _ => None,
        },
        Some(Port::Name(name)) => {
            let mut named = ports
                .iter()
                .filter(|port| port.name.as_deref() == Some(name));
            named.find_map(number)
        }
        Some(Port::Number(wanted)) => {
            let mut numbers = ports.iter().map(number);
            // A slice without ports, or with one without a number, is of any port.
            let is_there =
                ports.is_empty() || numbers.any(|port| port.is_none_or(|it| it == *wanted));
            is_there.then_some(*wanted)
        }
    }
}

#[cfg(test)]
mod tests;
