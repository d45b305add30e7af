//! Tasks: their life as states, who watches them, and the turns that move them on.
//!
//! [`Ledger`] is the face: it starts turns, finds tasks, follows and cancels them. The store is what is
//! true of a task at rest; the worker that runs its turn is what is true meanwhile.
//!
//! # Invariants
//! - A step that the protocol does not allow cannot be written: [`state`] is the only place that moves
//!   a task from state to state.
//! - A task belongs to a [`Scope`](crate::record::Scope); no lookup crosses it.
//! - What a caller is told of a task at rest is in the store before.
//! - A task's turn ends only by itself, by a cancel or by the drain, never because a client went away.
//!
//! A task whose worker died is adopted: by the worker that has its slot now, or by the one that is asked
//! for it. It goes on from its last checkpoint, which [`Boundary`](crate::turn::Boundary) marks.

mod document;
mod ledger;
mod handover;
mod keeper;
mod live;
mod metrics;
mod problem;
mod ring;
mod runner;
mod shelf;
pub mod state;
mod survival;

#[cfg(test)]
mod tests;

pub(crate) use document::shorten;
pub use document::{Piece, Task, TooLarge};
pub(crate) use ledger::is_moved;
pub use ledger::{Ledger, Limits};
pub use live::Events;
pub use metrics::Metrics;
pub use ring::{EventId, Told};
pub use runner::{Begun, Start};
pub use state::{Event, IllegalStep, Phase};
pub use survival::{Counts, Membership, Survival, WhenDown};
