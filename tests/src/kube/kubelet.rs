//! A kubelet: one Node, and the Pods that are bound to it, as processes.
//!
//! There is no scheduler, so it binds whatever Pod has no node yet to its own.
//!
//! # Invariants
//! - A Pod's processes end with the kubelet, whatever becomes of the API server.
//! - While the API server is gone the Pods go on; their status is told when it is back.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    path::PathBuf,
    sync::{Arc, atomic::AtomicU8},
    time::Duration,
};

use anyhow::Result;
use futures_util::StreamExt as _;
use k8s_openapi::{
    api::{
        coordination::v1::Lease,
        core::v1::{Node, Pod},
    },
    apimachinery::pkg::apis::meta::v1::Status,
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{Patch, PatchParams, PostParams},
    runtime::{WatchStreamExt as _, watcher},
};
use parking_lot::Mutex;
use serde_json::json;
use tokio::task::JoinSet;

use super::{
    pod::{self, Running},
    status::now,
};

/// The Node's name.
pub const NODE: &str = "here";

/// How often the Node shows that it lives. Kubernetes gives it up after 40 s.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);

/// What every Pod's start needs.
pub(super) struct Host {
    pub(super) client: Client,
    /// Image to program.
    pub(super) images: BTreeMap<String, PathBuf>,
    /// The certificate that service accounts trust.
    pub(super) ca: String,
    next: AtomicU8,
}

/// A running kubelet. Dropped, it ends, and its Pods' processes with it.
#[derive(Debug)]
pub struct Kubelet {
    running: Arc<Mutex<BTreeMap<String, Running>>>,
    _work: JoinSet<()>,
}

impl Host {
    /// An address that no Pod has had yet.
    pub(super) fn address(&self) -> Ipv4Addr {
        let number = self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Ipv4Addr::new(10, 1, 0, number)
    }
}

/// The addresses that pods get, in order; the test's network must have them.
#[must_use]
pub fn addresses() -> Vec<std::net::IpAddr> {
    (FIRST..=LAST)
        .map(|number| Ipv4Addr::new(10, 1, 0, number).into())
        .collect()
}

const FIRST: u8 = 1;
const LAST: u8 = 120;

impl Kubelet {
    /// Registers the Node and runs what is bound to it. `images` tells which program an image is; a
    /// container of any other image fails its Pod.
    ///
    /// # Errors
    /// When the Node can't be registered.
    pub async fn start(
        client: Client,
        images: BTreeMap<String, PathBuf>,
        ca: String,
    ) -> Result<Self> {
        register(&client).await?;
        let host = Arc::new(Host {
            client: client.clone(),
            images,
            ca,
            next: AtomicU8::new(FIRST + 1),
        });
        let mut work = JoinSet::new();
        work.spawn(live(client));
        let running = Arc::default();
        work.spawn(follow(host, Arc::clone(&running)));
        Ok(Self {
            running,
            _work: work,
        })
    }

    /// What the process of a Pod has printed so far, in its present life.
    #[must_use]
    pub fn log(&self, pod: &str) -> Vec<String> {
        let running = self.running.lock();
        let mut named = running.values().filter(|each| each.name() == pod);
        named.next().map(Running::log).unwrap_or_default()
    }
}

async fn register(client: &Client) -> Result<()> {
    let node: Node = serde_json::from_value(json!({
        "metadata": {"name": NODE, "labels": {
            "kubernetes.io/hostname": NODE, "topology.kubernetes.io/zone": "zone-a",
        }},
    }))?;
    Api::all(client.clone())
        .create(&PostParams::default(), &node)
        .await?;
    show(client).await?;
    // The node controller puts this on a new Node until it has seen it ready; nothing here waits for it.
    Ok(())
}

/// Says that the Node is ready. The node controller takes it for lost when it could not see the lease for
/// a while, be it because the server was away, and takes that back only when it is said again.
async fn show(client: &Client) -> Result<()> {
    let status = json!({"status": {
        "conditions": [{
            "type": "Ready", "status": "True", "reason": "KubeletReady", "message": "a process",
            "lastHeartbeatTime": now(), "lastTransitionTime": now(),
        }],
        "capacity": {"cpu": "64", "memory": "256Gi", "pods": "110"},
        "allocatable": {"cpu": "64", "memory": "256Gi", "pods": "110"},
        "addresses": [{"type": "InternalIP", "address": "10.1.0.1"}],
    }});
    let nodes: Api<Node> = Api::all(client.clone());
    nodes
        .patch_status(NODE, &PatchParams::default(), &Patch::Merge(&status))
        .await?;
    Ok(())
}

/// Renews the Node's lease and status for ever.
async fn live(client: Client) {
    let leases: Api<Lease> = Api::namespaced(client.clone(), "kube-node-lease");
    let mut tick = tokio::time::interval(SIGN_OF_LIFE);
    loop {
        tick.tick().await;
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": NODE},
            "spec": {"holderIdentity": NODE, "leaseDurationSeconds": 40, "renewTime": now_micros()},
        });
        let apply = PatchParams::apply("kubelet").force();
        // The server may be gone for a while.
        drop(leases.patch(NODE, &apply, &Patch::Apply(&lease)).await);
        drop(show(&client).await);
    }
}

fn now_micros() -> String {
    now().replace('Z', ".000000Z")
}

/// Watches all Pods: binds those without a node, runs those of this one.
async fn follow(host: Arc<Host>, running: Arc<Mutex<BTreeMap<String, Running>>>) {
    let pods: Api<Pod> = Api::all(host.client.clone());
    let mut changes = watcher(pods, watcher::Config::default())
        .default_backoff()
        .boxed();
    while let Some(change) = changes.next().await {
        match change {
            Ok(watcher::Event::Apply(pod) | watcher::Event::InitApply(pod)) => {
                seen(&host, &running, pod).await;
            }
            Ok(watcher::Event::Delete(pod)) => {
                running.lock().remove(&pod.uid().unwrap_or_default());
            }
            // An error is the server's being away; the watcher tries again by itself.
            Ok(watcher::Event::Init | watcher::Event::InitDone) | Err(_) => {}
        }
    }
}

async fn seen(host: &Arc<Host>, running: &Mutex<BTreeMap<String, Running>>, pod: Pod) {
    let Some(spec) = &pod.spec else { return };
    match spec.node_name.as_deref() {
        None => bind(&host.client, &pod).await,
        Some(NODE) => {
            let mut running = running.lock();
            let uid = pod.uid().unwrap_or_default();
            match running.get(&uid) {
                Some(known) => known.tell(&pod),
                None if pod::is_over(&pod) => {}
                None => {
                    running.insert(uid, pod::run(Arc::clone(host), &pod));
                }
            }
        }
        Some(_) => {}
    }
}

async fn bind(client: &Client, pod: &Pod) {
    let name = pod.name_any();
    let pods: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
    let binding = json!({
        "apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
        "target": {"apiVersion": "v1", "kind": "Node", "name": NODE},
    });
    // Told again with the next change, if it did not work out.
    let bound: Result<Status, _> = pods
        .create_subresource("binding", &name, &PostParams::default(), &binding)
        .await;
    drop(bound);
}
