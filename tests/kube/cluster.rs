//! A cluster with the shipped manifests applied, and routers to ask.

use std::{collections::BTreeMap, net::SocketAddr, path::Path};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt as _, api::ListParams};
use mesh_proto::Binding;
use mesh_tests::{
    caller::Caller,
    eventually::{PATIENCE, eventually, eventually_for},
    kube::{Kubelet, Plane, kubelet},
    mesh::Metrics,
    network, parts,
    wire::{self, Ask},
};

/// The namespace of the manifests.
pub(crate) const NAMESPACE: &str = "daca";

/// The keys that all routers share; any will do.
const KEYS: &str = "slot_secret = \"000102030405060708090a0b0c0d0e0f\"\nmint = \"a\"\n\
    [[token]]\nid = \"a\"\nkey = \"101112131415161718191a1b1c1d1e1f\"\n";

/// See the module.
pub(crate) struct Cluster {
    pub(crate) plane: Plane,
    pub(crate) client: Client,
    pub(crate) kubelet: Kubelet,
}

/// Runs a test in its own network; what to go on with, inside. `None` outside, and where it can't run.
pub(crate) async fn inside(test: &str) -> Result<Option<Cluster>> {
    if parts::Part::Kubernetes.find()?.is_none() {
        return Ok(None);
    }
    if !network::is_inside() {
        network::again(test, &kubelet::addresses()).await?;
        return Ok(None);
    }
    Cluster::start().await.map(Some)
}

impl Cluster {
    async fn start() -> Result<Self> {
        let plane = Plane::start().await?.context("it was found outside")?;
        let client = plane.client().await?;
        let program = Path::new(env!("CARGO_BIN_EXE_daca-under-test")).to_owned();
        let images = BTreeMap::from([("daca".to_owned(), program)]);
        let kubelet = Kubelet::start(client.clone(), images, plane.ca().to_owned()).await?;
        let cluster = Self {
            plane,
            client,
            kubelet,
        };
        let keys = tempfile::tempdir()?;
        let file = keys.path().join("keys.toml");
        std::fs::write(&file, KEYS)?;
        let kubectl = |arguments: Vec<String>| {
            let plane = &cluster.plane;
            async move {
                let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
                plane.kubectl(&arguments).await
            }
        };
        kubectl(vec!["create".into(), "namespace".into(), NAMESPACE.into()]).await?;
        let from = format!("--from-file={}", file.display());
        let secret = [
            "create",
            "secret",
            "generic",
            "daca-keys",
            "-n",
            NAMESPACE,
            &from,
        ];
        kubectl(secret.map(str::to_owned).to_vec()).await?;
        Ok(cluster)
    }

    /// Applies the manifests that ship, with so many of each.
    pub(crate) async fn apply(&self, routers: usize, workers: usize) -> Result<()> {
        let base = parts::repository()
            .join("deploy/k8s/base")
            .display()
            .to_string();
        self.plane.kubectl(&["apply", "-k", &base]).await?;
        self.scale("router", routers).await?;
        self.scale("workers", workers).await?;
        self.running("worker", workers).await?;
        self.running("router", routers).await?;
        Ok(())
    }

    /// Gives the routers the role that ships.
    pub(crate) async fn grant(&self) -> Result<()> {
        let roles = parts::repository().join("deploy/k8s/base/rbac.yaml");
        let roles = roles.display().to_string();
        self.plane.kubectl(&["apply", "-f", &roles]).await?;
        Ok(())
    }

    /// Scales a Deployment.
    pub(crate) async fn scale(&self, deployment: &str, replicas: usize) -> Result<()> {
        let replicas = format!("--replicas={replicas}");
        let name = format!("deployment/{deployment}");
        self.plane
            .kubectl(&["scale", &name, "-n", NAMESPACE, &replicas])
            .await?;
        Ok(())
    }

    /// Waits until exactly so many Pods of a component are there, all ready and none ending.
    pub(crate) async fn running(&self, component: &str, count: usize) -> Result<Vec<Pod>> {
        // A controller or kubelet that met a server that was away asks again within a minute, and each of
        // three must have done so.
        let what = format!("{count} pods of {component}");
        eventually_for(8 * PATIENCE, &what, || async {
            let pods = self.pods(component).await?;
            let refused = pods.iter().find_map(refusal);
            ensure!(refused.is_none(), "{}", refused.unwrap_or_default());
            let whole =
                pods.len() == count && pods.iter().all(|pod| is_ready(pod) && !is_ending(pod));
            Ok(whole.then_some(pods))
        })
        .await
    }

    /// All Pods of a component.
    pub(crate) async fn pods(&self, component: &str) -> Result<Vec<Pod>> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), NAMESPACE);
        let label = format!("app.kubernetes.io/component={component}");
        Ok(pods
            .list(&ListParams::default().labels(&label))
            .await?
            .items)
    }

    /// The routers that run.
    pub(crate) async fn routers(&self) -> Result<Vec<Router>> {
        let pods = self.pods("router").await?;
        pods.iter()
            .filter(|pod| is_ready(pod))
            .map(Router::of)
            .collect()
    }
}

/// A router's Pod, from outside.
#[derive(Clone, Debug)]
pub(crate) struct Router {
    pub(crate) name: String,
    address: SocketAddr,
    admin: SocketAddr,
}

impl Router {
    pub(crate) fn of(pod: &Pod) -> Result<Self> {
        let address = address(pod)?;
        Ok(Self {
            name: pod.name_any(),
            address: (address, 8080).into(),
            admin: (address, 9090).into(),
        })
    }

    /// A caller of an agent through it.
    pub(crate) fn caller(&self, agent: &str, binding: Binding) -> Caller {
        Caller::new(self.address, agent, binding)
    }

    /// The text of its metrics.
    pub(crate) async fn metrics(&self) -> Result<Metrics> {
        let reply = wire::exchange(self.admin, &Ask::get("/metrics")).await?;
        Ok(Metrics(reply.text()))
    }

    /// Whether it says that it is ready.
    pub(crate) async fn is_ready(&self) -> Result<bool> {
        let reply = wire::exchange(self.admin, &Ask::get("/readyz")).await?;
        Ok(reply.status.is_success())
    }

    /// Whether it says that what it knows of the cluster may be old.
    pub(crate) async fn is_stale(&self) -> Result<bool> {
        Ok(self.metrics().await?.sum("mesh_directory_stale", &[])? > 0.0)
    }

    /// The hash of what it sees, to compare routers.
    pub(crate) async fn view(&self) -> Result<String> {
        let json = self.route("assistant", "any").await?.json()?;
        json["view"]
            .as_str()
            .map(str::to_owned)
            .with_context(|| json.to_string())
    }

    /// The members that a context may be placed on, the first one first; none while there is nobody.
    pub(crate) async fn candidates(&self, agent: &str, context: &str) -> Result<Vec<String>> {
        let reply = self.route(agent, context).await?;
        if !reply.status.is_success() {
            return Ok(Vec::new());
        }
        let json = reply.json()?;
        let candidates = json["candidates"]
            .as_array()
            .context("a list of candidates")?;
        let name = |each: &serde_json::Value| each["id"].as_str().map(str::to_owned);
        candidates
            .iter()
            .map(|each| name(each).with_context(|| json.to_string()))
            .collect()
    }

    /// Where it would send a context. That is told to callers on its own machine only, as
    /// `kubectl port-forward` is one.
    async fn route(&self, agent: &str, context: &str) -> Result<wire::Reply> {
        let path = format!("/-/route?agent={agent}&context={context}");
        let ask = Ask::get(&path).from(std::net::Ipv4Addr::LOCALHOST.into());
        wire::exchange(self.address, &ask).await
    }

    /// Waits until it places contexts on exactly these Pods.
    pub(crate) async fn knows(&self, pods: &[Pod]) -> Result<()> {
        let wanted: std::collections::BTreeSet<String> =
            pods.iter().map(|pod| pod.name_any()).collect();
        eventually(&format!("{} knows {wanted:?}", self.name), || async {
            let mut seen = std::collections::BTreeSet::new();
            for context in 0..64 {
                seen.extend(self.candidates("assistant", &format!("c{context}")).await?);
            }
            Ok((seen == wanted).then_some(()))
        })
        .await
    }
}

/// The address of a Pod.
pub(crate) fn address(pod: &Pod) -> Result<std::net::IpAddr> {
    let status = pod.status.as_ref();
    let text = status
        .and_then(|status| status.pod_ip.as_deref())
        .context("a Pod has an address")?;
    Ok(text.parse()?)
}

/// Whether a Pod is ready.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    conditions
        .into_iter()
        .any(|each| each.type_ == "Ready" && each.status == "True")
}

/// Whether a Pod is on its way out.
pub(crate) fn is_ending(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// Why a Pod can't run, if it can't.
fn refusal(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let state = status
        .container_statuses
        .as_ref()?
        .first()?
        .state
        .as_ref()?;
    let waiting = state.waiting.as_ref()?;
    let is_refused = waiting.reason.as_deref() == Some("CreateContainerConfigError");
    is_refused.then(|| {
        format!(
            "{}: {}",
            pod.name_any(),
            waiting.message.as_deref().unwrap_or_default()
        )
    })
}
