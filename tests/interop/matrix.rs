//! The matrix: every client, in every binding and version that it has, to every maker's agent offered
//! in one binding alone, all through the router over two replicas.
//!
//! By default each pair of a client's dialect and an agent occurs once, with the clients in turn, so
//! that every pair of dialects is translated; `DACA_LONG=1` takes every client to every agent.
//!
//! # Invariants
//! - A cell is green when every step went as the specification says, or was left out for a reason that
//!   is printed below the table.

use std::{collections::BTreeSet, fmt::Write as _};

use anyhow::{Result, ensure};
use mesh_proto::{Binding, Dialect, Version};
use mesh_tests::{
    parts::{
        Part,
        agent::Maker,
        sdk::{self, Cell, SDKS, Step},
    },
    process::say,
};

use crate::{
    agents::{Behind, Whose},
    cli, limits,
};

/// Who calls.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Client {
    /// An official SDK.
    Sdk(Part),
    /// Our command line.
    Daca,
}

/// Whose agent is called, and the one binding that it is offered in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    /// Whose.
    pub(crate) whose: Whose,
    /// In which binding.
    pub(crate) binding: Binding,
}

impl Client {
    const fn name(self) -> &'static str {
        match self {
            Self::Sdk(sdk) => sdk.name(),
            Self::Daca => "daca",
        }
    }

    const fn versions(self) -> &'static [Version] {
        match self {
            Self::Sdk(sdk) => sdk::versions(sdk),
            Self::Daca => cli::VERSIONS,
        }
    }
}

fn clients() -> Vec<Client> {
    let sdks = SDKS.into_iter().map(Client::Sdk);
    sdks.chain([Client::Daca]).collect()
}

fn dialects() -> impl Iterator<Item = Dialect> {
    let of = |version| Binding::ALL.map(|binding| Dialect::new(binding, version));
    [Version::V1_0, Version::V0_3].into_iter().flat_map(of)
}

/// The clients that try a pair of dialects: all that can, or the one whose turn it is.
fn chosen(dialect: Dialect, target: Target, turn: usize) -> Vec<Client> {
    let able = |client: &Client| client.versions().contains(&dialect.version);
    let mut able: Vec<Client> = clients().into_iter().filter(able).collect();
    if std::env::var_os("DACA_LONG").is_none() {
        // A client that leaves everything out would leave the pair untried.
        able.retain(|client| limits::routed(*client, dialect, target).len() < 5);
        able = able.into_iter().cycle().skip(turn).take(1).collect();
    }
    able
}

#[tokio::test]
async fn any_client_reaches_agents_on_the_python_sdk() -> Result<()> {
    through_the_router(Whose::Theirs(Maker::Python), 0).await
}

#[tokio::test]
async fn any_client_reaches_agents_on_the_go_sdk() -> Result<()> {
    through_the_router(Whose::Theirs(Maker::Go), 1).await
}

#[tokio::test]
async fn any_client_reaches_agents_on_the_rust_sdk() -> Result<()> {
    through_the_router(Whose::Theirs(Maker::Rust), 2).await
}

#[tokio::test]
async fn any_client_reaches_agents_of_a2a_0_3() -> Result<()> {
    through_the_router(Whose::Theirs(Maker::Python03), 3).await
}

#[tokio::test]
async fn any_client_reaches_our_workers() -> Result<()> {
    through_the_router(Whose::Ours, 4).await
}

/// One client's cell and what came of it.
struct Tried {
    client: Client,
    dialect: Dialect,
    target: Target,
    cell: Cell,
    steps: Vec<Step>,
}

/// Tries the cells of one maker's agents and prints the table before it judges.
async fn through_the_router(whose: Whose, turn: usize) -> Result<()> {
    let Some(behind) = Behind::start(whose).await? else {
        return Ok(());
    };
    let mut planned = plan(&behind, whose, turn)?;
    let mut tried = Vec::new();
    for client in clients() {
        let mine: Vec<Tried> = planned.extract_if(.., |one| one.client == client).collect();
        if mine.is_empty() {
            continue;
        }
        let cells: Vec<Cell> = mine.iter().map(|one| one.cell.clone()).collect();
        let steps = match client {
            Client::Sdk(sdk) => sdk::run(sdk, &cells, whose.script()).await?,
            Client::Daca => Some(cli::run(&cells, whose.script()).await?),
        };
        let Some(steps) = steps else {
            continue;
        };
        let done = mine.into_iter().zip(steps);
        tried.extend(done.map(|(one, steps)| Tried { steps, ..one }));
    }
    let (table, wrong) = judge(whose, &tried)?;
    say(&table);
    ensure!(wrong.is_empty(), "{whose}:\n{}", wrong.join("\n"));
    Ok(())
}

fn plan(behind: &Behind, whose: Whose, turn: usize) -> Result<Vec<Tried>> {
    let mut planned = Vec::new();
    for (row, dialect) in dialects().enumerate() {
        for (column, binding) in Binding::ALL.into_iter().enumerate() {
            let target = Target { whose, binding };
            for client in chosen(dialect, target, turn + row + column) {
                let mut cell = behind.cell(dialect, binding)?;
                cell.without = limits::routed(client, dialect, target);
                planned.push(Tried {
                    client,
                    dialect,
                    target,
                    cell,
                    steps: Vec::new(),
                });
            }
        }
    }
    Ok(planned)
}

/// The table of one maker's agents, and what went wrong.
fn judge<'a>(whose: Whose, tried: &'a [Tried]) -> Result<(String, Vec<String>)> {
    let mut table = format!("\nClients of {whose}, offered in one binding, over two replicas\n");
    write!(table, "{:<20} {:<14}", "client", "speaks")?;
    for binding in Binding::ALL {
        let offered = format!("{} {}", binding.label(), whose.version());
        write!(table, " {offered:<16}")?;
    }
    for client in clients() {
        for dialect in dialects() {
            let of = |one: &&Tried| one.client == client && one.dialect == dialect;
            let row: Vec<&Tried> = tried.iter().filter(of).collect();
            if row.is_empty() {
                continue;
            }
            let speaks = spoken(dialect);
            write!(table, "\n{:<20} {speaks:<14}", client.name())?;
            for binding in Binding::ALL {
                let cell = row.iter().find(|one| one.target.binding == binding);
                let word = cell.map_or_else(String::new, |one| word(&one.steps));
                write!(table, " {word:<16}")?;
            }
        }
    }
    let steps = || {
        let steps = |one: &'a Tried| one.steps.iter().map(move |step| (one, step));
        tried.iter().flat_map(steps)
    };
    let reason = |(_, step): (&Tried, &'a Step)| Some((step.step.as_str(), step.left_out()?));
    let reasons: BTreeSet<_> = steps().filter_map(reason).collect();
    for (step, reason) in reasons {
        write!(table, "\n  left out: {step}: {reason}")?;
    }
    let wrong = steps().filter(|(_, step)| !step.ok).map(|(one, step)| {
        let (who, speaks) = (one.client.name(), spoken(one.dialect));
        let whom = one.target.binding.label();
        format!("{who} {speaks} to {whom}: {}: {}", step.step, step.detail)
    });
    Ok((table, wrong.collect()))
}

fn spoken(dialect: Dialect) -> String {
    format!("{} {}", dialect.binding.label(), dialect.version)
}

/// A cell in a word: how many steps went well, how many were left out, or that some failed.
fn word(steps: &[Step]) -> String {
    let failed = steps.iter().filter(|step| !step.ok).count();
    let left = steps
        .iter()
        .filter(|step| step.left_out().is_some())
        .count();
    match (failed, left) {
        (0, 0) => "ok".to_owned(),
        (0, left) => format!("ok, {left} left out"),
        (failed, _) => format!("{failed} FAILED"),
    }
}
