//! A name server that tells what a test wants told: a list of answers for each name, one look-up after
//! the other.
//!
//! # Invariants
//! - It answers A and AAAA over UDP (RFC 1035, 4.1) and knows nothing else; a name that it does not have
//!   does not exist.

#![expect(
    clippy::disallowed_methods,
    reason = "a test's own tasks end with its runtime"
)]

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use anyhow::Result;
use parking_lot::Mutex;
use tokio::net::UdpSocket;

const A: u16 = 1;
const AAAA: u16 = 28;

/// What names lead to. Of several answers to a name each is given once, in their order; the last one
/// stays.
pub(crate) type Names = HashMap<&'static str, Vec<Vec<IpAddr>>>;

/// Answers from now on, until the test's end, at the address that is given back.
pub(crate) async fn serve(address: SocketAddr, names: Names) -> Result<SocketAddr> {
    let socket = UdpSocket::bind(address).await?;
    let address = socket.local_addr()?;
    let asked: Arc<Mutex<HashMap<(String, u16), usize>>> = Arc::default();
    drop(tokio::task::spawn(async move {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            let Some(reply) = answer(&buffer[..length], &names, &asked) else {
                continue;
            };
            if socket.send_to(&reply, from).await.is_err() {
                return;
            }
        }
    }));
    Ok(address)
}

fn answer(
    query: &[u8],
    names: &Names,
    asked: &Mutex<HashMap<(String, u16), usize>>,
) -> Option<Vec<u8>> {
    let (name, end) = name(query)?;
    let kind = u16::from_be_bytes([*query.get(end)?, *query.get(end + 1)?]);
    let lists = names.get(name.as_str());
    let addresses = lists.map(|lists| {
        let mut asked = asked.lock();
        let times = asked.entry((name.clone(), kind)).or_default();
        let list = &lists[(*times).min(lists.len() - 1)];
        *times += 1;
        list.clone()
    });
    let found: Vec<_> = addresses
        .iter()
        .flatten()
        .filter_map(|ip| record(kind, *ip))
        .collect();
    let mut reply = query.get(..2)?.to_vec();
    // An answer with authority and recursion; code 3 where there is no such name.
    reply.extend([0x85, if lists.is_some() { 0x80 } else { 0x83 }]);
    reply.extend([0, 1]);
    reply.extend(u16::try_from(found.len()).ok()?.to_be_bytes());
    reply.extend([0, 0, 0, 0]);
    reply.extend(query.get(12..end + 4)?);
    for data in found {
        // The name of the question, class IN, for no time.
        reply.extend([0xc0, 12]);
        reply.extend(kind.to_be_bytes());
        reply.extend([0, 1, 0, 0, 0, 0]);
        reply.extend(u16::try_from(data.len()).ok()?.to_be_bytes());
        reply.extend(data);
    }
    Some(reply)
}

fn record(kind: u16, ip: IpAddr) -> Option<Vec<u8>> {
    match (kind, ip) {
        (A, IpAddr::V4(ip)) => Some(ip.octets().to_vec()),
        (AAAA, IpAddr::V6(ip)) => Some(ip.octets().to_vec()),
        _ => None,
    }
}

/// The name that is asked for, and where it ends.
fn name(query: &[u8]) -> Option<(String, usize)> {
    let (mut labels, mut at) = (Vec::new(), 12);
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join("."), at));
        }
        let label = query.get(at..at + length)?;
        labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
        at += length;
    }
}
