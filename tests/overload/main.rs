//! More load than was declared: the mesh goes on doing what it can, refuses the rest at once, and does
//! not multiply it.
//!
//! Four workers of a declared capacity (50 turns of 100 ms each with `DACA_LONG=1`, a tenth of it or less
//! otherwise), so that the machine itself is not the limit. The program should be optimised:
//! `DACA_PROGRAM=target/release/daca cargo test -p mesh-tests --test overload`.
//!
//! # Invariants
//! - The offered load comes open loop: what is refused or late does not slow what follows.
//! - One at a time: two loads on one machine measure each other.
//! - The short run, which stands where anything may run beside it, tells a collapse from none; the figures
//!   come from the long one.

mod chain;
mod curve;

use std::{io::Write as _, path::PathBuf};

use anyhow::Result;
use mesh_tests::{load, mesh::Plan};
use tempfile::NamedTempFile;

/// How long a turn takes.
const TURN_MS: u32 = 100;
/// How many workers share the load.
const WORKERS: usize = 4;

fn program() -> PathBuf {
    load::program(env!("CARGO_BIN_EXE_daca-under-test"))
}

/// Turns at once at each worker: what is declared in the whole run, a tenth of it otherwise, and fewer for
/// a program that is not optimised. `DACA_CAPACITY` says another number, for a machine that can't offer ten
/// times as much.
fn capacity() -> u32 {
    let told = std::env::var("DACA_CAPACITY").ok();
    let told = told.and_then(|number| number.parse().ok());
    let fit = match (load::is_long(), load::is_given()) {
        (true, _) => 50,
        (false, true) => 5,
        (false, false) => 2,
    };
    told.unwrap_or(fit)
}

fn agents(text: &str) -> Result<NamedTempFile> {
    let mut file = tempfile::Builder::new().suffix(".yaml").tempfile()?;
    file.write_all(text.as_bytes())?;
    Ok(file)
}

fn mesh(agents: &NamedTempFile, names: &[&str]) -> Plan {
    Plan::of(&program(), WORKERS)
        .agents(agents.path(), names)
        .worker("--capacity")
        .worker(capacity().to_string())
        // A line for each turn would cost more than the turn.
        .environment("RUST_LOG", "warn")
}

#[tokio::test]
async fn ten_times_the_load_leaves_the_goodput_where_it_was_and_is_not_multiplied_on_its_way()
-> Result<()> {
    curve::holds().await?;
    chain::holds().await
}
