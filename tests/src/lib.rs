//! Harness and tests of the whole mesh: e2e, interop, conformance, tidy.
//!
//! The words with which the tests speak: a [`mesh::Mesh`] of real processes, a [`caller::Caller`]
//! that speaks one binding by hand, a scripted [`model`], and the [`parts`] of other people.
//!
//! # Invariants
//! - Nothing here is used by the product.
//! - The caller shares no code with the router's or the client's codecs beyond the message types,
//!   so that a codec's error does not cancel itself out.
//! - Every process started is stopped, by its own id, when its handle is dropped.
//! - No fixed ports and no fixed pauses: addresses are read from ready lines, conditions are waited
//!   for with a deadline.

pub mod caller;
pub mod eventually;
pub mod kube;
pub mod load;
pub mod mesh;
pub mod model;
pub mod network;
pub mod parts;
pub mod process;
pub mod recorder;
pub mod remote;
pub mod wire;
