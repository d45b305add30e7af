//! Slices as the API server writes them, in JSON.

use serde_json::{Value, json};

use super::*;

fn slice(name: &str, version: u32, endpoints: &Value) -> EndpointSlice {
    serde_json::from_value(json!({
        "metadata": { "name": name, "resourceVersion": version.to_string() },
        "addressType": "IPv4",
        "ports": [{ "name": "http", "port": 9000 }, { "name": "admin", "port": 9001 }],
        "endpoints": endpoints,
    }))
    .unwrap()
}

fn pod(name: &str, address: &str, conditions: &Value) -> Value {
    json!({
        "addresses": [address],
        "conditions": conditions,
        "targetRef": { "kind": "Pod", "name": name, "uid": format!("uid of {name}") },
    })
}

fn http() -> Port {
    Port::Name(Arc::from("http"))
}

fn ids(peers: &[Peer]) -> Vec<(&str, WorkerState)> {
    peers
        .iter()
        .map(|peer| (peer.id.as_str(), peer.state))
        .collect()
}

#[test]
fn conditions_tell_who_takes_work_who_finishes_and_who_is_away() {
    use WorkerState::{Active, Draining};
    let endpoints = json!([
        pod("ready", "10.0.0.1", &json!({ "ready": true, "serving": true, "terminating": false })),
        pod("unknown", "10.0.0.2", &json!({})),
        pod("starting", "10.0.0.3", &json!({ "ready": false, "serving": false })),
        pod("draining", "10.0.0.4", &json!({ "ready": false, "serving": true, "terminating": true })),
        pod("ending", "10.0.0.5", &json!({ "ready": false, "serving": false, "terminating": true })),
        pod("published", "10.0.0.6", &json!({ "ready": true, "serving": false, "terminating": false })),
        pod("published-ends", "10.0.0.7", &json!({ "ready": true, "serving": false, "terminating": true })),
        { "addresses": ["10.0.0.8"] },
    ]);
    let all = [slice("s", 1, &endpoints)];
    let peers = merge(&all, Some(&http()));
    let wanted = [
        ("10.0.0.8", Active),
        ("draining", Draining),
        ("published", Active),
        ("ready", Active),
        ("unknown", Active),
    ];
    assert_eq!(ids(&peers), wanted);
}

#[test]
fn all_slices_make_one_list_whatever_their_order() {
    let one = slice(
        "s-1",
        7,
        &json!([
            pod("b", "10.0.0.2", &json!({})),
            pod("a", "10.0.0.1", &json!({}))
        ]),
    );
    // A pod that moves between slices is for a moment in both; the newer one is right.
    let leaves = json!({ "ready": false, "serving": true, "terminating": true });
    let two = slice(
        "s-2",
        9,
        &json!([
            pod("a", "10.0.0.9", &leaves),
            pod("c", "10.0.0.3", &json!({}))
        ]),
    );
    let forth = merge([&one, &two], Some(&http()));
    let back = merge([&two, &one], Some(&http()));
    assert_eq!(forth, back);
    let hosts: Vec<_> = forth.iter().map(|peer| peer.host.as_str()).collect();
    assert_eq!(hosts, ["10.0.0.9", "10.0.0.2", "10.0.0.3"]);
    assert_eq!(forth[0].state, WorkerState::Draining);
    assert_eq!(forth[1].port, 9000);
}

#[test]
fn a_pod_with_two_families_is_one_member_reached_over_ipv4() {
    let mut six = slice("s-6", 9, &json!([pod("a", "2001:db8::1", &json!({}))]));
    six.address_type = "IPv6".to_owned();
    let four = slice("s-4", 1, &json!([pod("a", "10.0.0.1", &json!({}))]));
    let peers = merge([&six, &four], Some(&http()));
    assert_eq!((peers.len(), peers[0].host.as_str()), (1, "10.0.0.1"));
    assert_eq!(merge([&six], Some(&http()))[0].host, "[2001:db8::1]");
}

#[test]
fn a_pod_that_takes_a_name_over_counts_before_the_one_that_ends() {
    let leaves = json!({ "ready": false, "serving": true, "terminating": true });
    let mut old = pod("w-0", "10.0.0.1", &leaves);
    for uid in ["uid 1", "uid of zzz"] {
        old["targetRef"]["uid"] = json!(uid);
        let all = [slice(
            "s",
            1,
            &json!([old, pod("w-0", "10.0.0.2", &json!({}))]),
        )];
        let peers = merge(&all, Some(&http()));
        assert_eq!(ids(&peers), [("w-0", WorkerState::Active)]);
        assert_eq!(peers[0].host, "10.0.0.2");
    }
}

#[test]
fn the_zone_is_where_it_stands_or_else_the_only_one_that_is_advised() {
    let mut endpoints = [
        pod("a", "10.0.0.1", &json!({})),
        pod("b", "10.0.0.2", &json!({})),
        pod("c", "10.0.0.3", &json!({})),
    ];
    let hints = |zones: &[&str]| {
        let zones: Vec<_> = zones.iter().map(|zone| json!({ "name": zone })).collect();
        json!({ "forZones": zones })
    };
    endpoints[0]["zone"] = json!("z1");
    endpoints[0]["hints"] = hints(&["z2"]);
    endpoints[1]["hints"] = hints(&["z2"]);
    endpoints[2]["hints"] = hints(&["z1", "z2"]);
    let all = [slice("s", 1, &json!(endpoints))];
    let peers = merge(&all, Some(&http()));
    let zones: Vec<_> = peers.iter().map(|peer| peer.zone.as_deref()).collect();
    assert_eq!(zones, [Some("z1"), Some("z2"), None]);
}

#[test]
fn a_port_is_found_by_name_by_number_or_because_there_is_no_other() {
    let endpoints = json!([pod("a", "10.0.0.1", &json!({}))]);
    let mut all = [slice("s", 1, &endpoints)];
    let port = |all: &[EndpointSlice], port: Option<Port>| {
        merge(all, port.as_ref()).first().map(|peer| peer.port)
    };
    assert_eq!(port(&all, Some(Port::Name(Arc::from("admin")))), Some(9001));
    assert_eq!(port(&all, Some(Port::Number(9001))), Some(9001));
    assert_eq!(port(&all, Some(Port::Number(80))), None);
    assert_eq!(port(&all, Some(Port::Name(Arc::from("grpc")))), None);
    assert_eq!(port(&all, None), None, "which of two?");
    all[0].ports.as_mut().unwrap().truncate(1);
    assert_eq!(port(&all, None), Some(9000));
    all[0].ports = None;
    assert_eq!(port(&all, Some(Port::Number(80))), Some(80));
}
