//! The whole mesh in one thread: real routers, workers and clients over a simulated network and clock,
//! with faults, all from one seed.
//!
//! `README.md` beside this file tells how to read a failure and which sources of chance are closed.

mod agent;
mod client;
mod history;
mod invariants;
mod mesh;
mod plan;
mod run;

use std::fmt::Write as _;

use mesh_runtime::flaw::Flaw;
use plan::Options;
use run::{Verdict, run};
use tracing_subscriber::EnvFilter;

const FAULTS: Options = Options {
    faults: true,
    flaw: None,
};
const NONE: Options = Options {
    faults: false,
    flaw: None,
};

/// Within so many seeds each known fault is found.
const FOUND: u64 = 25;

/// How a seed is run again.
const AGAIN: &str = "cargo test --release -p mesh-sim --test sim -- seeds_hold --nocapture";

/// How much of each history a report of many seeds shows.
const TAIL: usize = 30;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text} is no number")),
    )
}

/// Shows what the processes of a run say of themselves, where `RUST_LOG` asks for it.
fn show_logs() {
    let Ok(filter) = EnvFilter::try_from_default_env() else {
        return;
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .without_time()
        .init();
}

#[track_caller]
fn none_broken(verdicts: &[Verdict]) {
    let mut report = String::new();
    for Verdict {
        seed,
        broken,
        lines,
        ..
    } in verdicts
    {
        let Some(broken) = broken else { continue };
        let _written = writeln!(report, "\nDACA_SIM_SEED={seed} {AGAIN}\n{broken}");
        // The whole of one seed that was asked for, the end of one among many.
        let shown = if verdicts.len() == 1 {
            lines.len()
        } else {
            TAIL
        };
        for line in &lines[lines.len().saturating_sub(shown)..] {
            let _written = writeln!(report, "{line}");
        }
    }
    let bad = verdicts.iter().filter(|each| each.broken.is_some()).count();
    assert!(bad == 0, "{bad} of {} seeds: {report}", verdicts.len());
}

#[test]
fn without_faults_every_message_has_its_answer() {
    none_broken(&[run(1, NONE), run(2, NONE)]);
}

#[test]
fn a_seed_run_twice_is_the_same_run() {
    let (one, other) = (run(7, FAULTS), run(7, FAULTS));
    let mut lines = one.lines.iter().zip(&other.lines);
    let differ = lines.position(|(one, other)| one != other);
    if let Some(at) = differ {
        let until = (at + 1).min(one.lines.len());
        let before = one.lines[at.saturating_sub(5)..until].join("\n");
        panic!("one seed, two runs:\n{before}\nor\n{}", other.lines[at]);
    }
    assert_eq!(
        one.hash, other.hash,
        "one run of a seed goes on where the other ends"
    );
}

/// Seeds that hold (`seeds_hold`) break with it.
#[test]
fn each_known_fault_that_is_put_back_is_found() {
    for flaw in [
        Flaw::ForgetsMessages,
        Flaw::IgnoresFences,
        Flaw::ChangesKeys,
    ] {
        let options = Options {
            flaw: Some(flaw),
            ..FAULTS
        };
        let found = (0..FOUND).any(|seed| run(seed, options).broken.is_some());
        assert!(found, "{flaw:?}: not in {FOUND} seeds");
    }
}

#[test]
fn seeds_hold() {
    if let Some(seed) = number("DACA_SIM_SEED") {
        show_logs();
        return none_broken(&[run(seed, FAULTS)]);
    }
    let from = number("DACA_SIM_FROM").unwrap_or(0);
    let many = number("DACA_SIM_SEEDS").unwrap_or(10);
    let verdicts: Vec<Verdict> = (from..from + many).map(|seed| run(seed, FAULTS)).collect();
    none_broken(&verdicts);
}
