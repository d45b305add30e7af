//! The table of requirements, by chapter.

mod card;
mod list;
mod push;
mod send;
mod shape;
mod stream;
mod task;
mod version;

use std::{
    fmt::Debug,
    sync::atomic::{AtomicUsize, Ordering},
};

use anyhow::{Result, bail};
use mesh_proto::Fault;
use mesh_tests::caller::{Refusal, Said};

use crate::Requirement;

/// Lines of `section, scope, sentence => check`.
macro_rules! requirements {
    ($($section:literal, $scope:expr, $name:literal => $check:path;)*) => {
        vec![$($crate::Requirement {
            section: $section,
            scope: $scope,
            name: $name,
            check: |subject| Box::pin($check(subject)),
        }),*]
    };
}
use requirements;

/// All of them.
pub(crate) fn all() -> Vec<Requirement> {
    [
        send::all(),
        task::all(),
        list::all(),
        stream::all(),
        push::all(),
        card::all(),
        version::all(),
        shape::all(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A no that must be one.
fn refused<T: Debug>(said: Said<T>) -> Result<Refusal> {
    match said {
        Err(refusal) => Ok(refusal),
        Ok(answer) => bail!("answered with {answer:?}"),
    }
}

/// A no that must be this one.
fn refused_with<T: Debug>(said: Said<T>, fault: Fault) -> Result<()> {
    refused(said)?.expect(fault)
}

/// An id that no other check uses: contexts are not shared between them.
fn fresh(what: &str) -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{what}-{}-{number}", std::process::id())
}
