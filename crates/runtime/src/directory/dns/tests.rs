//! Names as a small name server of the test's own tells them.

use std::{collections::HashMap, net::Ipv4Addr, sync::Arc};

use parking_lot::Mutex;
use tokio::net::UdpSocket;

use super::{
    super::{Directory, Metrics, Plan, Planned, Roster, Settings},
    *,
};
use crate::drain;

const HOST: &str = "workers.example.";

/// What the name server says of a name and a kind of record: data, each with its seconds to live;
/// `None`: that it is out of order.
type Records = HashMap<(&'static str, RecordType), Option<Vec<(u32, Vec<u8>)>>>;

#[derive(Clone, Default)]
struct Names(Arc<Mutex<(Records, u64)>>);

impl Names {
    fn say(&self, name: &'static str, kind: RecordType, records: Vec<(u32, Vec<u8>)>) {
        self.0.lock().0.insert((name, kind), Some(records));
    }

    fn fail(&self, name: &'static str, kind: RecordType) {
        self.0.lock().0.insert((name, kind), None);
    }

    fn asked(&self) -> u64 {
        self.0.lock().1
    }

    /// RFC 1035, 4.1: the question again, and an answer for each record.
    fn answer(&self, query: &[u8]) -> Option<Vec<u8>> {
        let (mut name, mut at) = (String::new(), 12);
        while let length @ 1.. = usize::from(*query.get(at)?) {
            name += std::str::from_utf8(query.get(at + 1..=at + length)?).ok()?;
            name.push('.');
            at += 1 + length;
        }
        let kind = RecordType::from(u16::from_be_bytes([
            *query.get(at + 1)?,
            *query.get(at + 2)?,
        ]));
        let mut state = self.0.lock();
        state.1 += 1;
        let is_known = state.0.keys().any(|(known, _)| *known == name);
        let found = state
            .0
            .iter()
            .find(|((known, of), _)| *known == name && *of == kind);
        let (code, records) = match found {
            Some((_, Some(records))) => (0, records.clone()),
            Some((_, None)) => (2, Vec::new()),
            None if is_known => (0, Vec::new()),
            None => (3, Vec::new()),
        };
        let mut reply = query.get(..2)?.to_vec();
        reply.extend([0x85, 0x80 | code, 0, 1]);
        reply.extend(u16::try_from(records.len()).ok()?.to_be_bytes());
        reply.extend([0; 4]);
        reply.extend(query.get(12..at + 5)?);
        for (ttl, data) in records {
            reply.extend([0xc0, 12]);
            reply.extend(u16::from(kind).to_be_bytes());
            reply.extend([0, 1]);
            reply.extend(ttl.to_be_bytes());
            reply.extend(u16::try_from(data.len()).ok()?.to_be_bytes());
            reply.extend(data);
        }
        Some(reply)
    }
}

fn a(last: u8) -> (u32, Vec<u8>) {
    (0, Ipv4Addr::new(10, 0, 0, last).octets().to_vec())
}

fn srv(priority: u16, weight: u16, port: u16, target: &str) -> (u32, Vec<u8>) {
    let mut data: Vec<u8> = [priority, weight, port]
        .iter()
        .flat_map(|number| number.to_be_bytes())
        .collect();
    for label in target.split('.').filter(|label| !label.is_empty()) {
        data.push(u8::try_from(label.len()).unwrap());
        data.extend(label.as_bytes());
    }
    data.push(0);
    (0, data)
}

/// A directory with one agent that a source feeds, and the name server behind it.
struct Followed {
    names: Names,
    metrics: Metrics,
    directory: Directory,
    rosters: tokio::sync::watch::Receiver<Arc<Roster>>,
    _trigger: drain::Trigger,
}

async fn followed(source: &str, names: Names) -> Followed {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let server = socket.local_addr().unwrap();
    let (trigger, drain) = drain::channel();
    let (serving, until) = (names.clone(), drain.clone());
    drain.spawn("name server", async move {
        let mut buffer = [0; 512];
        loop {
            let (length, from) = tokio::select! {
                () = until.signaled() => return,
                received = socket.recv_from(&mut buffer) => received.unwrap(),
            };
            if let Some(reply) = serving.answer(&buffer[..length]) {
                socket.send_to(&reply, from).await.unwrap();
            }
        }
    });
    let settings = Settings {
        debounce: Duration::ZERO,
        second_sight: Duration::ZERO,
        dns: settings::Dns {
            server: Some(server),
            ttl_min: Duration::from_millis(10),
            ttl_max: Duration::from_millis(40),
        },
        ..Settings::default()
    };
    let mut planned = Planned::new("a".parse().unwrap());
    planned.add(source).unwrap();
    let metrics = Metrics::default();
    let plan = Plan::Agents(vec![planned]);
    let directory = Directory::open(plan, &settings, &metrics, &drain).await;
    let directory = directory.unwrap();
    Followed {
        names,
        metrics,
        rosters: directory.rosters(),
        directory,
        _trigger: trigger,
    }
}

impl Followed {
    async fn members(&mut self, wanted: &[&str]) {
        let has = |roster: &Arc<Roster>| {
            let members = &roster.agents[0].members;
            members
                .iter()
                .map(|each| each.url.as_str())
                .eq(wanted.iter().copied())
        };
        let seen = tokio::time::timeout(Duration::from_secs(20), self.rosters.wait_for(has));
        let is_seen = seen.await.is_ok();
        assert!(is_seen, "{:?}", self.rosters.borrow());
    }

    /// Waits until the server was asked `more` times more.
    async fn asked(&self, more: u64) {
        let wanted = self.names.asked() + more;
        while self.names.asked() < wanted {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_host_is_looked_up_again_and_again_and_its_addresses_are_members() {
    let names = Names::default();
    names.say(HOST, RecordType::A, vec![a(2), a(1)]);
    let mut source = followed("dns:workers.example.:9000/assistant", names).await;
    let two = [
        "http://10.0.0.1:9000/assistant",
        "http://10.0.0.2:9000/assistant",
    ];
    source.members(&two).await;
    assert_eq!(
        source.rosters.borrow().agents[0].members[0].id.as_str(),
        "10.0.0.1:9000"
    );
    // Another order is no change.
    source.rosters.mark_unchanged();
    source.names.say(HOST, RecordType::A, vec![a(1), a(2)]);
    source.asked(3).await;
    assert!(!source.rosters.has_changed().unwrap());
    source.names.say(HOST, RecordType::A, vec![a(2)]);
    source.members(&two[1..]).await;
}

#[tokio::test]
async fn a_name_server_that_fails_or_knows_nobody_takes_nobody_away() {
    let names = Names::default();
    names.fail(HOST, RecordType::A);
    let mut source = followed("dns:workers.example.:80", names).await;
    source.asked(2).await;
    assert!(!source.directory.is_complete());
    assert!(source.rosters.borrow().agents[0].members.is_empty());
    source.names.say(HOST, RecordType::A, vec![a(1), a(2)]);
    let two = ["http://10.0.0.1/", "http://10.0.0.2/"];
    source.members(&two).await;
    assert!(source.directory.is_complete());
    source.names.fail(HOST, RecordType::A);
    source.asked(3).await;
    source.names.say(HOST, RecordType::A, Vec::new());
    while source.metrics.empty.get() == 0 {
        tokio::task::yield_now().await;
    }
    source.members(&two).await;
}

#[tokio::test]
async fn a_host_without_ipv4_is_reached_over_ipv6() {
    let names = Names::default();
    let address = "2001:db8::7".parse::<std::net::Ipv6Addr>().unwrap();
    names.say(HOST, RecordType::AAAA, vec![(0, address.octets().to_vec())]);
    let mut source = followed("dns+https:workers.example.:80", names).await;
    source.members(&["https://[2001:db8::7]:80/"]).await;
}

#[tokio::test]
async fn a_service_is_its_targets_of_the_lowest_priority_with_their_weights() {
    const SERVICE: &str = "_a2a._tcp.workers.example.";
    let names = Names::default();
    let records = vec![
        srv(10, 100, 7001, "w1.example"),
        srv(10, 25, 7002, "W2.example"),
        srv(10, 0, 7003, "w3.example"),
        srv(20, 100, 7004, "spare.example"),
        srv(0, 1, 0, "."),
    ];
    names.say(SERVICE, RecordType::SRV, records);
    let mut source = followed("srv:_a2a._tcp.workers.example./x", names).await;
    let three = [
        "http://w1.example:7001/x",
        "http://w2.example:7002/x",
        "http://w3.example:7003/x",
    ];
    source.members(&three).await;
    let roster = Arc::clone(&source.rosters.borrow());
    let members = roster.agents[0].members.iter();
    let told: Vec<_> = members
        .map(|each| (each.id.as_str(), each.weight))
        .collect();
    assert_eq!(
        told,
        [("w1.example", 8), ("w2.example", 2), ("w3.example", 1)]
    );
    let spare = vec![
        srv(20, 7, 7004, "spare.example"),
        srv(20, 7, 7005, "spare.example"),
    ];
    source.names.say(SERVICE, RecordType::SRV, spare);
    let spares = ["http://spare.example:7004/x", "http://spare.example:7005/x"];
    source.members(&spares).await;
    let roster = Arc::clone(&source.rosters.borrow());
    let members = roster.agents[0].members.iter();
    let told: Vec<_> = members
        .map(|each| (each.id.as_str(), each.weight))
        .collect();
    assert_eq!(told, [("spare.example:7004", 1), ("spare.example:7005", 1)]);
}
