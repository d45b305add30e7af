//! What a mesh stands on: where its workers keep their tasks, and what carries their messages.

use anyhow::Result;
use mesh_tests::{
    mesh::Plan,
    parts::{
        broker::Broker,
        daprd::{Component, Daprd},
    },
};
use tempfile::TempDir;

/// A place that several workers share, with all that is behind it.
#[derive(Debug)]
pub(crate) struct Ground {
    place: String,
    /// A sidecar for each worker.
    pub(crate) sidecars: Vec<Daprd>,
    /// What is behind those.
    pub(crate) broker: Option<Broker>,
    /// Where the embedded form is, and what else is written for the mesh.
    pub(crate) folder: TempDir,
}

impl Ground {
    /// A folder.
    pub(crate) fn sqlite() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        Ok(Self {
            place: format!("sqlite:{}", folder.path().join("state").display()),
            sidecars: Vec::new(),
            broker: None,
            folder,
        })
    }

    /// A sidecar beside each of so many workers, with one Redis behind all; `None` after a `NOT RUN` line.
    pub(crate) async fn dapr(workers: usize) -> Result<Option<Self>> {
        let Some(broker) = Broker::redis().await? else {
            return Ok(None);
        };
        let address = broker.address();
        let host = ("redisHost", address.as_str());
        let bus = [
            host,
            ("consumerID", "mesh"),
            // What a dead worker had goes to another after five seconds, looked for each second.
            ("processingTimeout", "5s"),
            ("redeliverInterval", "1s"),
        ];
        let components = [
            Component::new("statestore", "state.redis", &[host]),
            Component::new("pubsub", "pubsub.redis", &bus),
        ];
        let mut sidecars = Vec::new();
        for _ in 0..workers {
            match Daprd::start(&components).await? {
                Some(sidecar) => sidecars.push(sidecar),
                None => return Ok(None),
            }
        }
        Ok(Some(Self {
            place: "dapr".to_owned(),
            sidecars,
            broker: Some(broker),
            folder: tempfile::tempdir()?,
        }))
    }

    /// As a command line names it.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// The plan with its workers on this.
    pub(crate) fn under(&self, plan: Plan) -> Plan {
        let endpoints = self.sidecars.iter().map(Daprd::endpoint).collect();
        plan.sidecars(endpoints)
            .worker("--state")
            .worker(&self.place)
    }
}
