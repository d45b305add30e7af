//! What each long-running process needs: drain, listeners, telemetry, admin, membership sources.
//!
//! # Invariants
//! - It knows no operation of A2A: it carries HTTP, not calls.
//! - Nothing here is global but what the process has once anyway: the log subscriber and the clock.
//! - Every task that it spawns is one that the drain waits for.

pub mod admin;
pub mod aside;
pub mod clock;
pub mod dice;
pub mod directory;
pub mod drain;
pub mod egress;
pub mod flaw;
pub mod net;
pub mod settings;
pub mod sidecar;
pub mod socket;
pub mod telemetry;
