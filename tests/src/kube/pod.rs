//! One Pod: its container as a process, probed, told of, and ended as its spec says.
//!
//! # Invariants
//! - A Pod that is deleted runs its preStop, then gets SIGTERM, then, its grace over, SIGKILL; only then
//!   is it gone from the API server.
//! - Readiness is probed until the end, also while it terminates: that is what `serving` is made of.

use std::{collections::BTreeMap, net::Ipv4Addr, path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::{
    api::core::v1::{Container, Pod, Probe},
    apimachinery::pkg::util::intstr::IntOrString,
};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, Preconditions},
};
use tokio::{
    process::Command,
    sync::{Notify, watch},
    task::JoinSet,
    time::Instant,
};

use super::{
    kubelet::Host,
    plane::PORT,
    status::{Phase, Standing, now, tell},
    volumes::volumes,
};
use crate::{
    process::{Printed, Process, Signal},
    wire,
};

/// How long a container that has ended waits before it is started again. Kubernetes begins with 10 s.
const AGAIN: Duration = Duration::from_millis(500);

/// Gives a container a `/run` of its own, with its volumes in it, then becomes it.
const SCRIPT: &str =
    r#"mount -t tmpfs tmpfs /run && cp -rL "$VOLUMES"/. /run/ && unset VOLUMES && exec "$@""#;

/// A Pod that runs. Dropped, its process ends at once.
#[derive(Debug)]
pub(super) struct Running {
    /// Its grace in seconds, once it is told to end.
    ending: watch::Sender<Option<u64>>,
    name: String,
    standing: watch::Receiver<Standing>,
    /// That the API server has it otherwise than it is.
    otherwise: Arc<Notify>,
    _life: JoinSet<()>,
}

impl Running {
    /// The Pod's name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// What the present process has printed.
    pub(super) fn log(&self) -> Vec<String> {
        let standing = self.standing.borrow();
        standing
            .printed
            .as_ref()
            .map(Printed::lines)
            .unwrap_or_default()
    }

    /// Tells what the API server says of it now.
    pub(super) fn tell(&self, pod: &Pod) {
        if pod.metadata.deletion_timestamp.is_some() {
            let grace = pod.metadata.deletion_grace_period_seconds.unwrap_or(30);
            self.ending
                .send_replace(Some(u64::try_from(grace).unwrap_or_default()));
        }
        // As where the node controller has taken the Node for lost.
        if is_ready(pod).is_some_and(|ready| ready != self.standing.borrow().ready) {
            self.otherwise.notify_one();
        }
    }
}

/// Whether the API server has it as ready; `None` where it was not told yet.
fn is_ready(pod: &Pod) -> Option<bool> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let ready = conditions.iter().find(|one| one.type_ == "Ready")?;
    Some(ready.status == "True")
}

/// Whether a Pod has ended for good.
pub(super) fn is_over(pod: &Pod) -> bool {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// Runs a Pod.
pub(super) fn run(host: Arc<Host>, pod: &Pod) -> Running {
    let (ending, told) = watch::channel(None);
    let address = host.address();
    let (shown, standing) = watch::channel(Standing {
        address: address.to_string(),
        container: container(pod)
            .map(|each| each.name.clone())
            .unwrap_or_default(),
        image: String::new(),
        started: now(),
        restarts: 0,
        phase: Phase::Waiting,
        ready: false,
        printed: None,
    });
    let name = pod.name_any();
    let mut life = JoinSet::new();
    let otherwise = Arc::new(Notify::new());
    life.spawn(keep_told(
        Arc::clone(&host),
        pod.clone(),
        standing.clone(),
        Arc::clone(&otherwise),
    ));
    life.spawn(live(host, pod.clone(), address, shown, told));
    let running = Running {
        ending,
        name,
        standing,
        otherwise,
        _life: life,
    };
    running.tell(pod);
    running
}

async fn live(
    host: Arc<Host>,
    pod: Pod,
    address: Ipv4Addr,
    shown: watch::Sender<Standing>,
    mut ending: watch::Receiver<Option<u64>>,
) {
    if let Err(error) = contain(&host, &pod, address, &shown, &mut ending).await {
        shown.send_modify(|standing| {
            standing.phase = Phase::Refused(format!("{error:#}"));
            standing.ready = false;
        });
        // It stays to be seen, until somebody deletes it.
        told(&mut ending).await;
    }
    forget(&host, &pod).await;
}

/// Tells the API server of each change, the latest first, until there are no more; and again where it has
/// it otherwise.
async fn keep_told(
    host: Arc<Host>,
    pod: Pod,
    mut seen: watch::Receiver<Standing>,
    otherwise: Arc<Notify>,
) {
    loop {
        let standing = seen.borrow_and_update().clone();
        while !tell(&host.client, &pod, &standing).await {
            tokio::time::sleep(AGAIN).await;
        }
        tokio::select! {
            changed = seen.changed() => if changed.is_err() {
                return;
            },
            () = otherwise.notified() => {}
        }
    }
}

async fn forget(host: &Host, pod: &Pod) {
    let pods: Api<Pod> = Api::namespaced(host.client.clone(), &pod.namespace().unwrap_or_default());
    let only_this = DeleteParams {
        grace_period_seconds: Some(0),
        preconditions: Some(Preconditions {
            uid: pod.uid(),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    loop {
        match pods.delete(&pod.name_any(), &only_this).await {
            Ok(_) | Err(kube::Error::Api(_)) => return,
            Err(_) => tokio::time::sleep(AGAIN).await,
        }
    }
}

pub(super) fn container(pod: &Pod) -> Result<&Container> {
    let spec = pod.spec.as_ref().context("a Pod has a spec")?;
    ensure!(
        spec.init_containers.is_none(),
        "init containers are not understood"
    );
    match spec.containers.as_slice() {
        [one] => Ok(one),
        more => bail!("one container is understood, not {}", more.len()),
    }
}

/// The life of the container, restarts included.
async fn contain(
    host: &Host,
    pod: &Pod,
    address: Ipv4Addr,
    shown: &watch::Sender<Standing>,
    ending: &mut watch::Receiver<Option<u64>>,
) -> Result<()> {
    let container = container(pod)?;
    let image = container.image.clone().unwrap_or_default();
    let volumes = volumes(host, pod).await?;
    loop {
        let command = command(host, pod, address, volumes.path())?;
        let mut process = Process::start(&pod.name_any(), command)?;
        shown.send_modify(|standing| {
            standing.image.clone_from(&image);
            standing.printed = Some(process.printed());
            standing.phase = Phase::Running;
        });
        let mut probing = JoinSet::new();
        probing.spawn(probe(container.clone(), address, shown.clone()));
        let status = tokio::select! {
            status = process.gone() => Some(status?),
            // Liveness failed: the probes are over.
            _ = probing.join_next() => None,
            grace = told(ending) => {
                let code = end(container, &mut process, Duration::from_secs(grace)).await?;
                shown.send_modify(|standing| {
                    standing.ready = false;
                    standing.phase = Phase::Over(code);
                });
                return Ok(());
            }
        };
        if status.is_none() {
            drop(process.signal(Signal::Kill));
        }
        drop(process);
        shown.send_modify(|standing| {
            standing.ready = false;
            standing.restarts += 1;
            standing.phase = Phase::Waiting;
        });
        tokio::select! {
            () = tokio::time::sleep(AGAIN) => {}
            _ = told(ending) => return Ok(()),
        }
    }
}

/// Waits until the Pod is told to end; its grace in seconds.
async fn told(ending: &mut watch::Receiver<Option<u64>>) -> u64 {
    let told = ending.wait_for(Option::is_some).await;
    told.ok().and_then(|grace| *grace).unwrap_or_default()
}

/// preStop, SIGTERM, and after the grace SIGKILL. The grace runs from the beginning of preStop.
async fn end(container: &Container, process: &mut Process, grace: Duration) -> Result<i32> {
    let until = Instant::now() + grace;
    let hook = container
        .lifecycle
        .as_ref()
        .and_then(|life| life.pre_stop.as_ref());
    if let Some(hook) = hook {
        let pause = hook
            .sleep
            .as_ref()
            .context("of preStop, sleep is understood")?
            .seconds;
        let pause = Duration::from_secs(u64::try_from(pause).unwrap_or_default());
        tokio::time::sleep_until(until.min(Instant::now() + pause)).await;
    }
    drop(process.signal(Signal::Term));
    let status = match tokio::time::timeout_at(until, process.gone()).await {
        Ok(status) => status?,
        Err(_) => {
            drop(process.signal(Signal::Kill));
            process.gone().await?
        }
    };
    Ok(status.code().unwrap_or(137))
}

/// Probes the container until its liveness fails.
async fn probe(container: Container, address: Ipv4Addr, shown: watch::Sender<Standing>) {
    if let Some(probe) = &container.startup_probe {
        let mut failures = 0;
        while !holds(&container, probe, address).await {
            failures += 1;
            if failures >= probe.failure_threshold.unwrap_or(3) {
                return;
            }
            pause(probe).await;
        }
    }
    let ready = async {
        let Some(probe) = &container.readiness_probe else {
            shown.send_modify(|standing| standing.ready = true);
            return std::future::pending().await;
        };
        let mut failures = 0;
        loop {
            let holds = holds(&container, probe, address).await;
            failures = if holds { 0 } else { failures + 1 };
            let is_out = failures >= probe.failure_threshold.unwrap_or(3);
            shown.send_if_modified(|standing| {
                let ready = holds || (standing.ready && !is_out);
                std::mem::replace(&mut standing.ready, ready) != ready
            });
            pause(probe).await;
        }
    };
    let alive = async {
        let Some(probe) = &container.liveness_probe else {
            return std::future::pending().await;
        };
        let mut failures = 0;
        while failures < probe.failure_threshold.unwrap_or(3) {
            pause(probe).await;
            let holds = holds(&container, probe, address).await;
            failures = if holds { 0 } else { failures + 1 };
        }
    };
    tokio::select! {
        () = ready => {}
        () = alive => {}
    }
}

async fn pause(probe: &Probe) {
    let seconds = u64::try_from(probe.period_seconds.unwrap_or(10)).unwrap_or(10);
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

/// One look. Only `httpGet` is understood; another probe never holds.
async fn holds(container: &Container, probe: &Probe, address: Ipv4Addr) -> bool {
    let Some(get) = &probe.http_get else {
        return false;
    };
    let port = match &get.port {
        IntOrString::Int(port) => Some(*port),
        IntOrString::String(name) => {
            let mut ports = container.ports.iter().flatten();
            let named = ports.find(|port| port.name.as_deref() == Some(name));
            named.map(|port| port.container_port)
        }
    };
    let Some(port) = port.and_then(|port| u16::try_from(port).ok()) else {
        return false;
    };
    let ask = wire::Ask::get(get.path.as_deref().unwrap_or("/"));
    let within =
        Duration::from_secs(u64::try_from(probe.timeout_seconds.unwrap_or(1)).unwrap_or(1));
    let looked = tokio::time::timeout(within, wire::exchange((address, port).into(), &ask)).await;
    matches!(looked, Ok(Ok(reply)) if reply.status.is_success() || reply.status.is_redirection())
}

/// The container's process: in a mount namespace of its own, where `/run` holds its volumes.
fn command(host: &Host, pod: &Pod, address: Ipv4Addr, volumes: &Path) -> Result<Command> {
    let container = container(pod)?;
    let image = container.image.as_deref().unwrap_or_default();
    let program = host
        .images
        .get(image)
        .with_context(|| format!("no image {image}"))?;
    let variables = variables(pod, container, address)?;
    let expand = |text: &String| {
        let mut text = text.clone();
        for (name, value) in &variables {
            text = text.replace(&format!("$({name})"), value);
        }
        text
    };
    ensure!(
        container.command.is_none(),
        "an image's own entry point is understood"
    );
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", SCRIPT, "sh"])
        .arg(program)
        .args(container.args.iter().flatten().map(expand))
        .env("VOLUMES", volumes)
        .env("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        .env("KUBERNETES_SERVICE_PORT", PORT.to_string())
        .envs(&variables);
    Ok(command)
}

fn variables(
    pod: &Pod,
    container: &Container,
    address: Ipv4Addr,
) -> Result<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    for variable in container.env.iter().flatten() {
        let value = match (&variable.value, &variable.value_from) {
            (Some(value), _) => value.clone(),
            (None, None) => String::new(),
            (None, Some(source)) => {
                let field = source
                    .field_ref
                    .as_ref()
                    .context("of valueFrom, fieldRef is understood")?;
                match field.field_path.as_str() {
                    "status.podIP" => address.to_string(),
                    "metadata.name" => pod.name_any(),
                    "metadata.namespace" => pod.namespace().unwrap_or_default(),
                    "metadata.uid" => pod.uid().unwrap_or_default(),
                    "spec.nodeName" => super::kubelet::NODE.to_owned(),
                    other => bail!("fieldRef {other} is not understood"),
                }
            }
        };
        all.insert(variable.name.clone(), value);
    }
    Ok(all)
}
