//! What is durable, behind one face: embedded in memory or in SQLite, or behind a Dapr sidecar.
//!
//! # Invariants
//! - It knows no agents and no routing: keys are text, values are bytes.
//! - Each form keeps the same contract, and one suite of tests holds all of them to it.

pub mod bus;
pub mod dapr;
mod sqlite;
pub mod state;
