//! Members from DNS: the addresses of a host, or the targets of a service record (RFC 2782).
//!
//! DNS tells no drain and no death: a member that ends is noticed by its connections, and leaves when
//! the name's time to live is over.
//!
//! # Invariants
//! - A name is looked up again when its shortest time to live is over, within the settings' bounds, and
//!   when the source is asked to. No answer is taken from a cache.
//! - The answer's order means nothing: members are sorted, so that every router lists the same.
//! - A failed look-up changes nothing. "No such name" is an answer, one without members.

use std::{net::IpAddr, time::Duration};

use hickory_resolver::{
    TokioResolver,
    config::{NameServerConfig, ResolverConfig, ResolverOpts},
    net::{DnsError, NetError, runtime::TokioRuntimeProvider},
    proto::rr::{RData, Record, RecordType, rdata::SRV},
};
use mesh_core::slots::WEIGHT_MAX;
use mesh_proto::mesh::{WorkerId, WorkerState};
use tokio::time::sleep;

use super::{
    Error, Feed, settings,
    sight::{Peer, Share, Teller, roster},
};
use crate::drain::Drain;

/// A name that is looked up again and again.
pub(super) struct Source {
    resolver: TokioResolver,
    settings: settings::Dns,
    feed: Feed,
    shares: Vec<Share>,
    teller: Teller,
}

/// What one look has shown, and how long it holds.
struct Found {
    peers: Vec<Peer>,
    ttl: Option<u32>,
}

/// The resolver that all names of a process share.
///
/// # Errors
/// [`Error::Resolver`], where the system's configuration can't be read.
pub(super) fn resolver(settings: &settings::Dns) -> Result<TokioResolver, Error> {
    let wrong = |error: NetError| Error::Resolver(error.to_string());
    let mut builder = match settings.server {
        None => TokioResolver::builder_tokio().map_err(wrong)?,
        Some(server) => {
            let mut of_server = NameServerConfig::udp_and_tcp(server.ip());
            for connection in &mut of_server.connections {
                connection.port = server.port();
            }
            let config = ResolverConfig::from_name_servers(vec![of_server]);
            let provider = TokioRuntimeProvider::default();
            TokioResolver::builder_with_config(config, provider)
                .with_options(ResolverOpts::default())
        }
    };
    // The source itself knows when to ask again.
    builder.options_mut().cache_size = 0;
    builder.build().map_err(wrong)
}

impl Source {
    pub(super) const fn new(
        resolver: TokioResolver,
        settings: settings::Dns,
        feed: Feed,
        shares: Vec<Share>,
        teller: Teller,
    ) -> Self {
        Self {
            resolver,
            settings,
            feed,
            shares,
            teller,
        }
    }

    /// Looks the name up until the drain is signaled.
    pub(super) async fn follow(mut self, drain: Drain) {
        let mut failures = 0;
        loop {
            let looked = tokio::select! {
                () = drain.signaled() => return,
                looked = self.look() => looked,
            };
            let pause = match looked {
                Ok(found) => {
                    failures = 0;
                    self.teller.looked(roster(&found.peers, &self.shares));
                    Duration::from_secs(found.ttl.unwrap_or_default().into())
                }
                Err(error) => {
                    self.teller.touch.lose(&error);
                    failures += 1;
                    self.settings.ttl_min * 2_u32.saturating_pow(failures - 1).min(1 << 10)
                }
            };
            let floor = self.settings.ttl_min.max(Duration::from_millis(10));
            let pause = pause.min(self.settings.ttl_max).max(floor);
            tokio::select! {
                () = drain.signaled() => return,
                () = self.teller.asked() => {}
                () = sleep(pause) => {}
            }
        }
    }

    async fn look(&self) -> Result<Found, NetError> {
        let (records, mut peers) = match &self.feed {
            Feed::Dns { host, port } => {
                let mut records = self.ask(host, RecordType::A).await?;
                if records.is_empty() {
                    // One family only: a host with both would count twice.
                    records = self.ask(host, RecordType::AAAA).await?;
                }
                let found = records.iter().filter_map(|record| address(&record.data));
                let peers = found.map(|ip| at_address(ip, *port)).collect();
                (records, peers)
            }
            Feed::Srv { name } => {
                let records = self.ask(name, RecordType::SRV).await?;
                let found = records.iter().filter_map(|record| match &record.data {
                    RData::SRV(target) => Some(Target::from(target)),
                    _ => None,
                });
                let peers = targets(found.collect());
                (records, peers)
            }
            Feed::Kube { .. } => (Vec::new(), Vec::new()),
        };
        peers.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        peers.dedup_by(|a, b| a.id == b.id);
        let ttl = records.iter().map(|record| record.ttl).min();
        Ok(Found { peers, ttl })
    }

    /// The records of one kind, none where the name has none.
    async fn ask(&self, name: &str, kind: RecordType) -> Result<Vec<Record>, NetError> {
        match self.resolver.lookup(name, kind).await {
            Ok(lookup) => Ok(lookup.answers().to_vec()),
            Err(NetError::Dns(DnsError::NoRecordsFound(_))) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

const fn address(data: &RData) -> Option<IpAddr> {
    match data {
        RData::A(ip) => Some(IpAddr::V4(ip.0)),
        RData::AAAA(ip) => Some(IpAddr::V6(ip.0)),
        _ => None,
    }
}

fn at_address(ip: IpAddr, port: u16) -> Peer {
    let host = match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    Peer {
        // All that there is.
        id: WorkerId::new(&format!("{host}:{port}")),
        host,
        port,
        zone: None,
        weight: 1,
        state: WorkerState::Active,
    }
}

/// What a service record says.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Target {
    name: String,
    port: u16,
    priority: u16,
    weight: u16,
}

impl From<&SRV> for Target {
    fn from(record: &SRV) -> Self {
        let name = record.target.to_lowercase().to_string();
        Self {
            name: name.trim_end_matches('.').to_owned(),
            port: record.port,
            priority: record.priority,
            weight: record.weight,
        }
    }
}

/// The members of a service: those of the lowest priority that has any.
fn targets(mut all: Vec<Target>) -> Vec<Peer> {
    // A target of "." says that there is no such service here.
    all.retain(|target| !target.name.is_empty() && target.port > 0);
    let lowest = all.iter().map(|target| target.priority).min();
    all.retain(|target| Some(target.priority) == lowest);
    let heaviest = all.iter().map(|target| target.weight).max().unwrap_or(0);
    let is_even = all.iter().all(|target| target.weight == heaviest);
    let peer = |target: &Target| {
        let is_namesake = |other: &&Target| other.name == target.name && other.port != target.port;
        let id = match all.iter().find(is_namesake) {
            None => target.name.clone(),
            Some(_) => format!("{}:{}", target.name, target.port),
        };
        Peer {
            id: WorkerId::new(&id),
            host: target.name.clone(),
            port: target.port,
            zone: None,
            weight: if is_even {
                1
            } else {
                share(target.weight, heaviest)
            },
            state: WorkerState::Active,
        }
    };
    all.iter().map(peer).collect()
}

/// A weight of 0 to 65535 as one of 1 to 8, the heaviest being 8.
fn share(weight: u16, heaviest: u16) -> u8 {
    let most = u32::from(WEIGHT_MAX);
    let share = (u32::from(weight) * most).div_ceil(u32::from(heaviest).max(1));
    u8::try_from(share.clamp(1, most)).unwrap_or(WEIGHT_MAX)
}

#[cfg(test)]
mod tests;
