//! Agent cards as documents that can be trusted: what they say in one canonical way, who signed that,
//! what is wrong with one, and for how long one may be kept. And who signed a push notification, by the
//! same keys.
//!
//! A card is taken as the bytes that it came in, since a signature and a finding are about those and
//! not about what one program makes of them.
//!
//! # Invariants
//! - No I/O and no clock: key sets are fetched by the caller, and the time comes in as an argument.
//! - What a card says of its own trustworthiness (algorithm, key, key set) is never believed: each is
//!   compared with what the caller allows.
//! - No input panics; each list that a card brings along has a bound where it is walked.

pub mod lint;
pub mod notice;
pub mod verify;
pub mod sign;
pub mod keys;
pub mod canonical;
pub mod freshness;
pub mod entity;

pub use canonical::Form;
pub use freshness::{Bounds, Cache, Freshness, Storage, Validators};
pub use keys::{Algorithm, Keys};
pub use sign::Signer;
pub use verify::{Refused, Verified, verify};

#[cfg(test)]
mod specimen;
