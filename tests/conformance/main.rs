//! Conformance: what the specification demands of a server and an intermediary can break, tried on an
//! agent of the Python SDK directly, and on one and three replicas of it behind two routers.
//!
//! Each replica keeps its tasks in its own memory, and each request goes to the other router than the
//! one before: only a mesh that finds every task and conversation again, without state in the routers,
//! shows what the agent shows alone.
//!
//! # Invariants
//! - What holds directly holds through the routers. What fails directly may fail there, or be mended; it
//!   is shown as what it is.
//! - Every check speaks by hand (`mesh_tests::caller`), with no codec of the product.

mod requirements;
mod subject;

use std::{collections::BTreeMap, fmt::Write as _};

use anyhow::{Result, ensure};
use futures_util::{StreamExt as _, future::LocalBoxFuture, stream};
use mesh_proto::Binding;
use mesh_tests::{caller::BINDINGS, parts::Part, process::say};

use crate::subject::{Place, Subject};

/// In which bindings a requirement is one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scope {
    /// In each.
    Every,
    /// In one alone.
    Only(Binding),
    /// In those that are JSON over HTTP.
    Http,
}

impl Scope {
    fn has(self, binding: Binding) -> bool {
        match self {
            Self::Every => true,
            Self::Only(one) => one == binding,
            Self::Http => binding != Binding::Grpc,
        }
    }
}

/// A MUST of the specification.
pub(crate) struct Requirement {
    /// Where the specification says so.
    pub(crate) section: &'static str,
    /// In which bindings.
    pub(crate) scope: Scope,
    /// What it demands, as a sentence.
    pub(crate) name: &'static str,
    /// Tries it.
    pub(crate) check: for<'a> fn(&'a Subject) -> LocalBoxFuture<'a, Result<()>>,
}

/// How many checks run at once: a machine of two cores is not to be the reason of a failure.
const AT_ONCE: usize = 6;

/// What came of a requirement, in a binding, at a place.
type Outcomes = BTreeMap<(usize, Binding, Place), Option<String>>;

#[tokio::test]
async fn two_routers_over_replicas_show_what_the_agent_shows_alone() -> Result<()> {
    let Some(python) = Part::Python.find()? else {
        return Ok(());
    };
    let all = requirements::all();
    let mut outcomes = Outcomes::new();
    for place in Place::ALL {
        let stage = subject::Stage::start(&python, place).await?;
        for binding in BINDINGS {
            for (number, outcome) in tried(&all, &stage.subject(binding)).await {
                let wrong = outcome.err().map(|error| format!("{error:#}"));
                outcomes.insert((number, binding, place), wrong);
            }
        }
    }
    let (table, broken) = judge(&all, &outcomes)?;
    say(&table);
    ensure!(
        broken.is_empty(),
        "the routers broke:\n{}",
        broken.join("\n")
    );
    Ok(())
}

/// What came of each requirement that is one in the subject's binding, by its number.
async fn tried(all: &[Requirement], subject: &Subject) -> Vec<(usize, Result<()>)> {
    let ours = all.iter().enumerate();
    let ours = ours.filter(|(_, requirement)| requirement.scope.has(subject.binding()));
    let checks = ours.map(|(number, requirement)| async move {
        let outcome = (requirement.check)(subject).await;
        (number, outcome)
    });
    stream::iter(checks)
        .buffer_unordered(AT_ONCE)
        .collect()
        .await
}

/// The table, and what holds directly but not through the routers.
fn judge(all: &[Requirement], outcomes: &Outcomes) -> Result<(String, Vec<String>)> {
    let mut table =
        "\nConformance of a Python SDK agent: directly, and over N replicas behind two \
                     routers in turn\n"
            .to_owned();
    write!(table, "{:<10} {:<62}", "section", "requirement")?;
    for binding in BINDINGS {
        write!(table, " {:<20}", binding.label())?;
    }
    let mut verdict = Verdict::default();
    for (number, requirement) in all.iter().enumerate() {
        let (section, name) = (requirement.section, requirement.name);
        write!(table, "\n{section:<10} {name:<62}")?;
        for binding in BINDINGS {
            let of = |place| outcomes.get(&(number, binding, place));
            let told = Place::ALL.map(|place| match of(place) {
                None => "",
                Some(None) => "ok ",
                Some(Some(_)) => "FAIL ",
            });
            write!(table, " {:<20}", told.concat().trim_end())?;
            let alone = matches!(of(Place::Direct), Some(None));
            for (place, outcome) in Place::ALL.map(|place| (place, of(place))) {
                let what = format!("{section} {name}: {} ({})", binding.label(), place.name());
                verdict.take(place, outcome, alone, &what);
            }
        }
    }
    write!(table, "\n\n(each cell: directly, N = 1, N = 3)")?;
    for place in Place::ALL {
        let count = verdict.held.get(&place).copied().unwrap_or_default();
        write!(table, "\nholds {}: {count}", place.name())?;
    }
    for note in &verdict.notes {
        write!(table, "\nfails directly, too: {note}")?;
    }
    Ok((table, verdict.broken))
}

#[derive(Default)]
struct Verdict {
    /// What holds at the agent itself and not through the routers.
    broken: Vec<String>,
    /// What does not hold at the agent itself, wherever it was tried.
    notes: Vec<String>,
    held: BTreeMap<Place, usize>,
}

impl Verdict {
    fn take(&mut self, place: Place, outcome: Option<&Option<String>>, alone: bool, what: &str) {
        match outcome {
            None => {}
            Some(None) => *self.held.entry(place).or_default() += 1,
            Some(Some(wrong)) if alone => self.broken.push(format!("{what}: {wrong}")),
            Some(Some(wrong)) => self.notes.push(format!("{what}: {wrong}")),
        }
    }
}
