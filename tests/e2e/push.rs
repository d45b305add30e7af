//! Notifications through the mesh: what a client's webhook hears, and where no webhook ever leads.
//!
//! # Invariants
//! - What would be harm is done in a network of the test's own, which has no way out.

#![expect(
    clippy::disallowed_methods,
    reason = "a test's own tasks end with its runtime"
)]

mod batches;
mod queue;
mod receiver;
mod relay;
mod signed;
mod ssrf;
mod steward;
