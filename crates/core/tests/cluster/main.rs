//! The virtual cluster: routers and workers without a network, thousands of histories a second.
//!
//! Members come, go, restart, drain and die; routers learn of it late and each in its own order; clients
//! call through any of them. What must hold is in `invariants.rs`. A history that breaks something is
//! told with the line that repeats it:
//!
//! ```text
//! DACA_CLUSTER_SEED=4711 cargo test -p mesh-core --test cluster history
//! ```
//!
//! `DACA_CLUSTER_SEEDS=100000` asks for more histories than usual, `DACA_LONG=1` for many more.
//!
//! # Invariants
//! - A seed is a history: no clock, no other chance, no threads.
//! - The test proves itself: with a known flaw built in it must find the invariant that breaks.

#![expect(clippy::unwrap_used, reason = "a test says what it needs by failing")]

mod churn;
mod dice;
mod invariants;
mod router;
mod sight;
mod world;

use std::{env, panic};

use invariants::{Broken, Invariant};
use router::Flaw;
use world::{Tally, World};

const SEEDS: u64 = 2_000;
const SEEDS_LONG: u64 = 200_000;
const STEPS: usize = 60;

/// One history: trouble, quiet, trouble again, and quiet.
fn run(seed: u64, flaw: Flaw) -> Result<Tally, Broken> {
    let mut world = World::new(seed, flaw);
    for _ in 0..2 {
        for _ in 0..STEPS {
            world.step()?;
        }
        world.settle()?;
        for which in 0..world.tasks.len() {
            for at in 0..world.routers.len() {
                world.ask(at, which)?;
            }
        }
        invariants::quiet(&world)?;
    }
    Ok(world.tally)
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap())
}

fn seeds() -> std::ops::Range<u64> {
    if let Some(seed) = number("DACA_CLUSTER_SEED") {
        return seed..seed + 1;
    }
    let is_long = env::var_os("DACA_LONG").is_some_and(|value| value == "1");
    let usual = if is_long { SEEDS_LONG } else { SEEDS };
    0..number("DACA_CLUSTER_SEEDS").unwrap_or(usual)
}

#[test]
fn every_history_keeps_the_invariants() {
    let mut all = Tally::default();
    for seed in seeds() {
        let outcome = panic::catch_unwind(|| run(seed, Flaw::None));
        let again =
            format!("DACA_CLUSTER_SEED={seed} cargo test -p mesh-core --test cluster history");
        match outcome {
            Ok(Ok(tally)) => all.add(&tally),
            Ok(Err(broken)) => panic!("{broken}\nagain: {again}"),
            Err(_) => panic!("the core panicked; again: {again}"),
        }
    }
    // No invariant holds for want of a case.
    if seeds().count() > 100 {
        let counts = [all.placed, all.pinned, all.orphaned, all.late, all.refused];
        assert!(counts.iter().all(|count| *count > 100), "{all:?}");
        assert!(all.failed_over > 100 && all.moved > 100, "{all:?}");
    }
}

#[test]
fn a_seed_is_one_history() {
    let of = |seed| format!("{:?}", run(seed, Flaw::None));
    assert_eq!(of(7), of(7));
    assert_ne!(of(7), of(8));
}

#[test]
fn each_known_flaw_is_found() {
    let flaws = [
        (Flaw::ForgetsLives, Invariant::Route),
        (Flaw::DrawsByAddress, Invariant::OneView),
        (Flaw::BelievesTheLast, Invariant::Quiet),
    ];
    for (flaw, invariant) in flaws {
        let found = (0..200).find_map(|seed| run(seed, flaw).err());
        assert_eq!(
            found.map(|broken| broken.invariant),
            Some(invariant),
            "{flaw:?}"
        );
    }
}
