//! Known faults, put back on purpose: a simulation that finds nothing must show that it would.
//!
//! # Invariants
//! - Without the feature `simulated` there is none, and asking costs nothing; with it one is there only in
//!   a thread that a simulation's own test has put it into.

/// A fault that the mesh once had, or must never have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Flaw {
    /// A worker does not remember which messages it took.
    ForgetsMessages,
    /// A worker writes a task whoever wrote it meanwhile.
    IgnoresFences,
    /// A step that is repeated calls its tools under other keys.
    ChangesKeys,
}

#[cfg(feature = "simulated")]
thread_local! {
    static HERE: std::cell::Cell<Option<Flaw>> = const { std::cell::Cell::new(None) };
}

/// Puts a fault into this thread.
#[cfg(feature = "simulated")]
pub fn put(flaw: Option<Flaw>) {
    HERE.set(flaw);
}

/// Whether this thread has the fault.
#[must_use]
pub fn has(flaw: Flaw) -> bool {
    #[cfg(feature = "simulated")]
    return HERE.get() == Some(flaw);
    #[cfg(not(feature = "simulated"))]
    {
        let _ = flaw;
        false
    }
}
