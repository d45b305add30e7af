//! An oracle over real processes: clients that write down what they were promised, while workers are
//! killed, frozen, drained and joined, and a judge that holds the mesh to it afterwards.
//!
//! Five minutes with `DACA_LONG=1`, half a minute otherwise; the program should be optimised for the times
//! to mean something: `DACA_PROGRAM=target/release/daca cargo test -p mesh-tests --test oracle`. A seed
//! repeats the faults (`DACA_ORACLE_SEED`), though not the moment that each process is in.
//!
//! # Invariants
//! - Judged are what clients saw, what the tools were asked and what routers say of the tasks afterwards,
//!   nothing that a worker thinks of itself; only the times of adoption come from the workers' logs.

mod client;
mod faults;
mod history;
mod tools;

use std::{
    io::Write as _,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::{join, join_all};
use mesh_runtime::clock;
use mesh_tests::{load, mesh::Plan, process::say};

use crate::{
    client::User,
    faults::{Dice, Stage},
    history::History,
    tools::Tools,
};

const AGENT: &str = "counter";
const ROUTERS: usize = 2;
const WORKERS: usize = 6;
const CLIENTS: usize = 200;
const LEASE: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_was_promised_is_lost_while_workers_die_freeze_join_and_drain() -> Result<()> {
    let seed = seed()?;
    let rage = Duration::from_secs(if load::is_long() { 300 } else { 30 });
    say(&format!("DACA_ORACLE_SEED={seed}"));
    let tools = Tools::start().await?;
    let mut stage = start(&tools).await?;
    let history = History::default();
    let over = AtomicBool::new(false);
    let urls = stage.urls();
    let mut users = Vec::new();
    for number in 0..CLIENTS {
        let url = &urls[number % urls.len()];
        users.push(User::new(number, seed, url).await?);
    }
    let living = join_all(users.iter_mut().map(|user| user.live(&history, &over)));
    let raging = async {
        let raged = stage.rage(&mut Dice::new(seed), rage).await;
        over.store(true, Ordering::Relaxed);
        raged
    };
    let (lived, raged) = join(living, raging).await;
    raged?;
    let mut wrong: Vec<String> = lived.into_iter().filter_map(Result::err).collect();
    wrong.extend(history.judge());
    wrong.extend(history.read_again(&urls).await?);
    wrong.extend(tools.judge(history.words()));
    let recovered = stage.recoveries();
    say(&format!(
        "{}{}{}",
        history.report(),
        tools.report(),
        recovered.report()
    ));
    wrong.extend(recovered.judge(LEASE));
    ensure!(
        wrong.is_empty(),
        "{} broken promises, seed {seed}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    stage.are_well().await
}

async fn start(tools: &Tools) -> Result<Stage> {
    let mut agents = tempfile::Builder::new().suffix(".yaml").tempfile()?;
    writeln!(
        agents,
        "servers:\n  tally: {{url: \"{}\"}}\nagents:\n  - {{name: {AGENT}, description: Counts., \
         model: rules, tools: [tally]}}",
        tools.url()
    )?;
    let store = tempfile::tempdir()?;
    let lease = format!("{}ms", LEASE.as_millis());
    let place = format!("sqlite:{}", store.path().display());
    let mut plan = Plan::of(
        &load::program(env!("CARGO_BIN_EXE_daca-under-test")),
        WORKERS,
    )
    .routers(ROUTERS)
    .agents(agents.path(), &[AGENT])
    .knowing_their_router();
    for argument in [
        "--state",
        &place,
        "--lease",
        &lease,
        "--grace",
        "6s",
        "--hand-over-after",
        "500ms",
    ] {
        plan = plan.worker(argument);
    }
    let mesh = plan.start().await?;
    Ok(Stage::new(plan, mesh, (agents, store)))
}

fn seed() -> Result<u64> {
    match std::env::var("DACA_ORACLE_SEED") {
        Ok(seed) => seed.parse().context("DACA_ORACLE_SEED is a number"),
        Err(_) => Ok(clock::unix_millis()),
    }
}
