//! What a kubelet tells of a Pod.

use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::{
    Api, Client, ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::process::Printed;

/// Now, as the API writes it.
pub(super) fn now() -> String {
    let now = Timestamp::now().round(k8s_openapi::jiff::Unit::Second);
    serde_json::to_value(now.map(Time).ok())
        .ok()
        .and_then(|value| value.as_str().map(str::to_owned))
        .unwrap_or_default()
}

/// How a Pod is.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    pub(super) address: String,
    pub(super) container: String,
    pub(super) image: String,
    pub(super) started: String,
    pub(super) restarts: u32,
    pub(super) phase: Phase,
    pub(super) ready: bool,
    /// What its process prints.
    pub(super) printed: Option<Printed>,
}

/// Where a Pod is in its life.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Phase {
    /// Its container runs.
    Running,
    /// Its container has ended, and will be started again.
    Waiting,
    /// Its container has ended for good, with this exit code.
    Over(i32),
    /// It can't be started here, and why.
    Refused(String),
}

impl Standing {
    fn to_json(&self) -> Value {
        let condition = |kind: &str, holds: bool| {
            let status = if holds { "True" } else { "False" };
            json!({"type": kind, "status": status, "lastTransitionTime": now()})
        };
        let (phase, state) = match &self.phase {
            Phase::Running => ("Running", json!({"running": {"startedAt": self.started}})),
            Phase::Waiting => (
                "Running",
                json!({"waiting": {"reason": "CrashLoopBackOff", "message": "it has ended"}}),
            ),
            Phase::Over(code) => (
                if *code == 0 { "Succeeded" } else { "Failed" },
                json!({"terminated": {"exitCode": code, "finishedAt": now()}}),
            ),
            Phase::Refused(why) => (
                "Failed",
                json!({"waiting": {"reason": "CreateContainerConfigError", "message": why}}),
            ),
        };
        json!({"status": {
            "phase": phase,
            "hostIP": "10.1.0.1",
            "podIP": self.address,
            "podIPs": [{"ip": self.address}],
            "startTime": self.started,
            "conditions": [
                condition("Initialized", true),
                condition("PodScheduled", true),
                condition("ContainersReady", self.ready),
                condition("Ready", self.ready),
            ],
            "containerStatuses": [{
                "name": self.container, "image": self.image, "imageID": self.image,
                "ready": self.ready, "started": self.phase == Phase::Running,
                "restartCount": self.restarts, "state": state,
            }],
        }})
    }
}

/// Tells the API server how a Pod is. True once it has heard it, or there is no such Pod any more.
pub(super) async fn tell(client: &Client, pod: &Pod, standing: &Standing) -> bool {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
    let patch = Patch::Merge(standing.to_json());
    let told = pods
        .patch_status(&pod.name_any(), &PatchParams::default(), &patch)
        .await;
    match told {
        Ok(_) => true,
        Err(kube::Error::Api(error)) => error.code == 404,
        Err(_) => false,
    }
}
