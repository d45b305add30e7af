//! The bus and the store on what users run them on: a real Dapr sidecar with real brokers behind it, held
//! to the contract that the embedded forms keep.
//!
//! # Invariants
//! - No clause is skipped: it holds, or the form is refused at the start with words that say why.
//! - Two handles are two sidecars, as two processes have them, but for `pubsub.in-memory`, which is
//!   within one; those of SQLite are two processes, those of the memory form one.

mod batches;
mod contract;
mod deploy;
mod ground;
mod halves;
mod state;
mod survival;
mod throughput;
