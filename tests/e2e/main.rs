//! The whole mesh, as its users meet it: real processes on loopback, called over real sockets.
//!
//! A module for each behaviour. The program under test is the product's own `main`.
//!
//! # Invariants
//! - A test reads as a sentence and stands alone: it starts what it needs and leaves nothing behind.
//! - No fixed pauses and no retries: a test that needs one has found a defect.

mod affinity;
mod bindings;
mod cards;
mod cli;
mod compression;
mod cors;
mod delegation;
mod drain;
mod errors;
mod failover;
mod flags;
mod hard_cases;
mod lists;
mod model;
mod passthrough;
mod push;
mod quickstart;
mod services;
mod stage;
mod tls;
