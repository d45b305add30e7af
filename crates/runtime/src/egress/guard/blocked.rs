//! Addresses that no stranger may have us call.
//!
//! Those of the special-purpose registries (RFC 6890 and what IANA added since) that are not plainly
//! public, those in which an IPv4 address is hidden, and what clouds put beside them.
//!
//! # Invariants
//! - An IPv6 address that carries an IPv4 address within it is blocked whatever that is: who means an
//!   IPv4 address can say so.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Networks of IPv4: address and length of the prefix.
const V4: &[(Ipv4Addr, u32)] = &[
    // "This network", which many systems take for this machine.
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    // Private use.
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    // Between a provider and its customers; metadata of one cloud.
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    // This machine.
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    // This link; metadata of most clouds.
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    // Protocol assignments; metadata of one cloud.
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    // Documentation.
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    // Relays of 6to4, which nobody should use.
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    // Measurements between networks.
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    // Azure's own services, on an address that looks public.
    (Ipv4Addr::new(168, 63, 129, 16), 32),
    // Multicast, the rest, and everybody.
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// Networks of IPv6.
const V6: &[(Ipv6Addr, u32)] = &[
    // Nobody, this machine, and IPv4 addresses in the oldest form.
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 0), 96),
    // IPv4 addresses in forms that sockets, translators and tunnels take.
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96),
    (Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, 0, 0), 96),
    (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96),
    (Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    // Protocol assignments, Teredo among them.
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    // To be thrown away, and documentation.
    (Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0), 64),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
    // Segments of routing, within one network.
    (Ipv6Addr::new(0x5f00, 0, 0, 0, 0, 0, 0, 0), 16),
    // Private use; metadata of one cloud (fd00:ec2::254).
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7),
    // This link, and this site in the old way.
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10),
    // Multicast.
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8),
];

/// Whether an address is in any of them.
pub(super) fn is_blocked(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => V4
            .iter()
            .any(|(net, length)| (ip.to_bits() ^ net.to_bits()).leading_zeros() >= *length),
        IpAddr::V6(ip) => V6
            .iter()
            .any(|(net, length)| (ip.to_bits() ^ net.to_bits()).leading_zeros() >= *length),
    }
}
