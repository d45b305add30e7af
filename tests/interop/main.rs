//! The official SDKs as clients of the mesh, in every binding and version that they have, against
//! agents on every official SDK and our own; what they saw is printed as tables.
//!
//! # Invariants
//! - Every step is the SDK's own doing; nothing here speaks A2A.
//! - A step that an SDK can't take is left out with its reason, in its client or in `limits.rs`; there is
//!   no list of failures that are let pass.

mod agents;
mod cards;
mod cli;
mod judges;
mod limits;
mod matrix;
mod openai;
mod resolve;
mod three;
