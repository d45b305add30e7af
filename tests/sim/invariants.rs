//! What must hold in every run, whatever comes.
//!
//! # Invariants
//! - One file per property; each says where the property is promised.

use crate::{
    history::Entry,
    plan::{AMPLE, Plan},
};

mod answered;
mod capacity;
mod conversation;
mod keys;
mod once;
mod placement;
mod reply;
mod smooth;
mod stream;

/// A property of a run.
pub(crate) trait Invariant {
    /// Its name, for a report.
    fn name(&self) -> &'static str;

    /// Looks at the next thing that happened.
    fn look(&mut self, entry: &Entry) -> Result<(), String>;

    /// Looks at the whole, when the run is over and the mesh was well for long enough.
    fn end(&mut self) -> Result<(), String> {
        Ok(())
    }
}

/// All that hold in a run of this plan.
pub(crate) fn all(plan: &Plan) -> Vec<Box<dyn Invariant>> {
    let mut all: Vec<Box<dyn Invariant>> = vec![
        Box::<reply::Reply>::default(),
        Box::<once::Once>::default(),
        Box::<conversation::Conversation>::default(),
        Box::<stream::Stream>::default(),
        Box::<placement::Placement>::default(),
        Box::new(capacity::Capacity::of(plan.capacity)),
        Box::<answered::Answered>::default(),
        Box::<keys::Keys>::default(),
    ];
    // A small mesh that is full refuses, and may.
    if plan.capacity == AMPLE {
        all.push(Box::<smooth::Smooth>::default());
    }
    all
}
