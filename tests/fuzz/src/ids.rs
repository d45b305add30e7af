//! Maps of ids for the rewriters: one that changes nothing, one that marks, one that takes the marks
//! off again.
//!
//! # Invariants
//! - `Unmark` undoes `Mark`.

use std::borrow::Cow;

use mesh_proto::rewrite::IdMap;

/// Leaves every id.
pub(crate) struct Keep;

/// Puts a mark in front of ids, by their kind.
pub(crate) struct Mark;

/// Takes it off again.
pub(crate) struct Unmark;

const TASK: &str = "z1t.";
const CONTEXT: &str = "z1c.";

impl IdMap for Keep {
    fn task<'a>(&mut self, id: &'a str) -> Option<Cow<'a, str>> {
        assert!(!id.is_empty(), "an empty id was shown");
        None
    }

    fn context<'a>(&mut self, id: &'a str) -> Option<Cow<'a, str>> {
        assert!(!id.is_empty(), "an empty id was shown");
        None
    }
}

impl IdMap for Mark {
    fn task<'a>(&mut self, id: &'a str) -> Option<Cow<'a, str>> {
        Some(Cow::Owned(format!("{TASK}{id}")))
    }

    fn context<'a>(&mut self, id: &'a str) -> Option<Cow<'a, str>> {
        Some(Cow::Owned(format!("{CONTEXT}{id}")))
    }
}

impl IdMap for Unmark {
    fn task<'a>(&mut self, id: &'a str) -> Option<Cow<'a, str>> {
        id.strip_prefix(TASK).map(Cow::Borrowed)
    }

    fn context<'a>(&mut self, id: &'a str) -> Option<Cow<'a, str>> {
        id.strip_prefix(CONTEXT).map(Cow::Borrowed)
    }
}
