//! The whole mesh, as its users meet it: real processes on loopback, called over real sockets.
//!
//! A module for each behaviour. The program under test is the product's own `main`.
//!
//! # Invariants
//! - A test reads as a sentence and stands alone: it starts what it needs and leaves nothing behind.
//! - No fixed pauses and no retries: a test that needs one has found a defect.

mod affinity;
mod bindings;
mod calls;
mod cards;
mod cli;
mod compression;
mod control;
mod cors;
mod delegation;
mod directory;
mod drain;
mod errors;
mod events;
mod failover;
mod flags;
mod ground;
mod group;
mod hard_cases;
mod invocation;
mod lists;
mod members;
mod model;
mod names;
mod passthrough;
mod push;
mod quickstart;
mod services;
mod sidecar;
mod stage;
mod survival;
mod takeover;
mod tls;
