//! Decides: slots, view, placement, route token, and what an error means. It does nothing else.
//!
//! The router asks [`placement::place`] where a call belongs and gets an ordered list of members;
//! carrying the bytes there, and noticing that a member is gone, is the router's own work.
//!
//! # Invariants
//! - No I/O, no clock, no spawn, no random numbers: time and facts come in as arguments, so that a
//!   simulation can own them and two processes with the same facts decide alike.
//! - Nothing here sees a body: only ids, an operation and the name of an agent.
//! - No floating point on the way to a decision: x86 and arm must agree bit for bit.
//!
//! Modules stand in the order in which a call meets them; each uses only those below it.

pub mod placement;

pub mod view;

pub mod seal;

pub mod token;

pub mod slots;

pub mod error;

mod fields;

pub use error::CallError;
