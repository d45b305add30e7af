//! One process of a mesh: how it is called, asked how it is, and ended.

use std::{net::SocketAddr, process::ExitStatus};

use anyhow::{Context as _, Result, ensure};
use mesh_proto::Binding;

use crate::{
    caller::Caller,
    eventually::eventually,
    process::{Process, Signal},
    wire::{self, Ask, Reply},
};

/// One process of the mesh and where it listens.
#[derive(Debug)]
pub struct Node {
    /// The process.
    pub process: Process,
    /// Where it takes calls.
    pub address: SocketAddr,
    /// Where it answers operators.
    pub admin: SocketAddr,
}

impl Node {
    /// A caller of one of its agents.
    #[must_use]
    pub fn caller(&self, agent: &str, binding: Binding) -> Caller {
        Caller::new(self.address, agent, binding)
    }

    /// The base URL of an agent on it.
    #[must_use]
    pub fn url(&self, agent: &str) -> String {
        format!("http://{}/{agent}", self.address)
    }

    /// Sends one request and reads the whole answer.
    ///
    /// # Errors
    /// When there is none.
    pub async fn exchange(&self, ask: &Ask) -> Result<Reply> {
        wire::exchange(self.address, ask).await
    }

    /// Waits until it says that it is ready.
    ///
    /// # Errors
    /// When it does not.
    pub async fn is_ready(&self) -> Result<()> {
        eventually("ready", || async {
            let reply = wire::exchange(self.admin, &Ask::get("/readyz")).await?;
            Ok(reply.status.is_success().then_some(()))
        })
        .await
    }

    /// Waits until this router has so many members of an agent.
    ///
    /// # Errors
    /// When it does not get them.
    pub async fn has(&self, agent: &str, members: usize) -> Result<()> {
        let path = format!("/-/route?agent={agent}&context=any");
        eventually(&format!("{members} members of {agent}"), || async {
            let reply = self.exchange(&Ask::get(&path)).await?;
            let candidates = reply.json()?["candidates"].as_array().map_or(0, Vec::len);
            // The preference list of a slot holds four at most.
            Ok((candidates == members.min(4)).then_some(()))
        })
        .await
    }

    /// The text of its metrics.
    ///
    /// # Errors
    /// When they are not served.
    pub async fn metrics(&self) -> Result<Metrics> {
        let reply = wire::exchange(self.admin, &Ask::get("/metrics")).await?;
        ensure!(
            reply.status.is_success(),
            "{}: {}",
            reply.status,
            reply.text()
        );
        Ok(Metrics(reply.text()))
    }

    /// Checks that it still runs and answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn is_well(&mut self) -> Result<()> {
        ensure!(self.process.is_alive()?, "it has ended");
        let reply = wire::exchange(self.admin, &Ask::get("/healthz")).await?;
        ensure!(reply.status.is_success(), "{}", reply.status);
        let log = self.process.log();
        let panicked = log.iter().find(|line| line.contains("panicked at"));
        ensure!(panicked.is_none(), "{}", panicked.map_or("", |line| line));
        Ok(())
    }

    /// Ends it with a signal and waits for its end.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn end_by(&mut self, signal: Signal) -> Result<ExitStatus> {
        self.process.signal(signal)?;
        self.process.end().await
    }
}

/// One scrape.
#[derive(Clone, Debug)]
pub struct Metrics(pub String);

impl Metrics {
    /// The sum of all series of a name whose labels hold each of `labels` (`name="value"`).
    ///
    /// # Errors
    /// When there is no such series: a name that is not there is a mistake of the test.
    pub fn sum(&self, name: &str, labels: &[&str]) -> Result<f64> {
        let mut values = self
            .0
            .lines()
            .filter(|line| line.split(['{', ' ']).next() == Some(name))
            .filter(|line| labels.iter().all(|label| line.contains(label)))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .peekable();
        values
            .peek()
            .with_context(|| format!("no {name} {labels:?} in\n{}", self.0))?;
        Ok(values.sum())
    }
}
