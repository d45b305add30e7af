//! What one worker tells another: that tasks are its own now.
//!
//! # Invariants
//! - Naming a task here gives nobody a task: who is told looks into the store, and takes what is free.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, header::HOST};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use mesh_proto::{AgentName, mesh};
use mesh_runtime::egress::{Alpn, Egress, Settings, Target};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::record::{Scope, TaskKey};

/// Tasks of one agent that a worker gives to another.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct HandOver {
    /// The agent.
    pub agent: String,
    /// The tasks; at most [`TASKS`].
    pub tasks: Vec<Handed>,
}

/// One task.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Handed {
    /// The tenant of its scope.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tenant: String,
    /// The caller of its scope, as a digest.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub principal: String,
    /// Its id.
    pub id: String,
}

/// How many tasks one hand-over may name.
pub const TASKS: usize = 1024;

/// How long the other worker may take to write down that it has them.
const WITHIN: Duration = Duration::from_secs(3);

impl From<&TaskKey> for Handed {
    fn from(key: &TaskKey) -> Self {
        Self {
            tenant: key.scope.tenant.clone(),
            principal: key.scope.principal.clone(),
            id: key.id.clone(),
        }
    }
}

impl HandOver {
    /// The keys of the tasks; `None` where the agent has no name of one, or they are too many.
    #[must_use]
    pub fn keys(self) -> Option<Vec<TaskKey>> {
        let agent = AgentName::parse(&self.agent).ok()?;
        if self.tasks.len() > TASKS {
            return None;
        }
        let keys = self.tasks.into_iter().map(|task| TaskKey {
            scope: Scope {
                agent: agent.clone(),
                tenant: task.tenant,
                principal: task.principal,
            },
            id: task.id,
        });
        Some(keys.collect())
    }
}

/// Tells the worker at `url` of tasks.
///
/// # Errors
/// Why it did not take them, in words for the log.
pub async fn hand_over(url: &str, given: &HandOver) -> Result<(), String> {
    let url = Url::parse(url).map_err(|error| error.to_string())?;
    tokio::time::timeout(WITHIN, send(&url, given))
        .await
        .map_err(|_| "it did not answer in time".to_owned())?
}

async fn send(url: &Url, given: &HandOver) -> Result<(), String> {
    let target = Target::try_from(url).map_err(|error| error.to_string())?;
    let connector = Egress::new(Settings::default());
    let stream = connector.connect(&target, Alpn::H1).await;
    let stream = stream.map_err(|error| error.to_string())?;
    let opened = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = opened.map_err(|error| error.to_string())?;
    let body = serde_json::to_vec(given).map_err(|error| error.to_string())?;
    let request = Request::builder()
        .method(Method::POST)
        .uri(mesh::ADOPT_PATH)
        .header(HOST, target.authority())
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| error.to_string())?;
    let answer = sender.send_request(request);
    let answered = tokio::select! {
        answered = answer => answered.map_err(|error| error.to_string())?,
        ended = connection => return Err(format!("the connection ended: {ended:?}")),
    };
    if answered.status().is_success() {
        Ok(())
    } else {
        Err(format!("it answered {}", answered.status()))
    }
}
