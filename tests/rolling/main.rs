//! All workers and both routers are replaced, one after the other, under load, and no client sees it.
//!
//! Fifty thousand requests with `DACA_LONG=1`, a tenth otherwise; the program should be optimised:
//! `DACA_PROGRAM=target/release/daca cargo test -p mesh-tests --test rolling`.
//!
//! # Invariants
//! - An error is any call whose answer is not its task. No call is made twice; a request that a closing
//!   connection gave back unwritten, or that its server says by GOAWAY it has not looked at, goes over
//!   another, as in any HTTP client's pool.
//! - The rounds go on until the load ends, and at least one must be whole by then.

mod stage;

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, ensure};
use mesh_bench::report::Report;
use mesh_tests::{
    load::{self, keep_picture},
    process::say,
};

use stage::Stage;

/// Requests of a whole run, and how many of them a second.
const REQUESTS: u64 = 50_000;
const RATE: u64 = 500;
/// The same of the tenth that is the default, for a program that is not optimised.
const FEWER: u64 = 5_000;
const SLOWER: u64 = 100;

#[tokio::test]
async fn every_process_is_replaced_under_load_and_no_client_sees_it() -> Result<()> {
    let (requests, rate) = if load::is_long() {
        (REQUESTS, RATE)
    } else {
        (FEWER, SLOWER)
    };
    let mut stage = Stage::start().await?;
    let arguments = arguments(&stage, requests, rate);
    let over = AtomicBool::new(false);
    let load = async {
        let report = load::load(stage::program().as_path(), &arguments).await;
        over.store(true, Ordering::Relaxed);
        report
    };
    let rolling = async {
        let mut rounds = 0_u32;
        while !over.load(Ordering::Relaxed) {
            stage.replace_workers().await?;
            stage.replace_routers().await?;
            rounds += 1;
        }
        anyhow::Ok(rounds)
    };
    let (report, rounds) = tokio::join!(load, rolling);
    let (report, rounds) = (report?, rounds?);
    say(&format!(
        "{rounds} rounds, each of {} workers and {} routers\n{}",
        stage::WORKERS,
        stage::ROUTERS,
        report.text()
    ));
    keep_picture("rolling.svg", &report, env!("CARGO_TARGET_TMPDIR"))?;
    judge(&report, requests, rounds)
}

fn arguments(stage: &Stage, requests: u64, rate: u64) -> Vec<String> {
    let seconds = requests.div_ceil(rate) + 1;
    let (rate, seconds) = (rate.to_string(), format!("{seconds}s"));
    let flags = [
        "--rate",
        &rate,
        "--for",
        &seconds,
        "--warm-up",
        "0s",
        "--mix",
        "mixed",
        "--binding",
        "jsonrpc,rest,grpc",
        "--deadline",
        "20s",
    ];
    let urls = stage.urls().into_iter();
    urls.chain(flags.map(str::to_owned)).collect()
}

fn judge(report: &Report, requests: u64, rounds: u32) -> Result<()> {
    let counts = report.counts();
    ensure!(rounds > 0, "the load was over before a round was");
    ensure!(
        counts.sent >= requests,
        "{} of {requests} requests",
        counts.sent
    );
    ensure!(
        counts.done == counts.sent,
        "{counts:?}: {:?}",
        report.reasons()
    );
    Ok(())
}
