//! The protocol's hard cases, one named test each: what breaks routers that only know the easy ones.
//!
//! Where a case is told more fully elsewhere, its test here still shows the one thing that must hold.
//! What the numbers stand for is said at each test.
//!
//! # Invariants
//! - Each test names its case first, so that the list can be held against the design's.

mod bodies;
mod life;
mod paths;
mod streams;
mod versions;
