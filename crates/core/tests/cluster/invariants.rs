//! What must hold of every placement in every history.
//!
//! # Invariants
//! - Nothing here is taken from the code under test: owners are compared with owners of other routers
//!   and other times, and lives with the workers themselves.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use mesh_core::{
    CallError,
    placement::{Placement, Reason},
    slots::Member,
    view::Pool,
};
use mesh_proto::mesh::{Slot, ViewHash, WorkerId};

use super::{
    router::{Call, Router, life},
    world::{Task, Worker, World},
};

/// An invariant that did not hold.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Broken {
    pub(crate) invariant: Invariant,
    what: String,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Invariant {
    /// The same members give the same view, whatever a router saw before.
    OneView,
    /// What stays keeps what it had; who joins takes only for itself.
    LeastMoves,
    /// The same client's context and view give the same usable endpoint.
    OnePlace,
    /// Nobody who is out gets a call, nobody who drains gets new work that another could take.
    Standing,
    /// A task goes to the life that its token names, or to somebody who is told to adopt it.
    Route,
    /// When all has arrived everywhere, all routers decide alike.
    Quiet,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.invariant, self.what)
    }
}

fn hold(invariant: Invariant, holds: bool, what: impl Fn() -> String) -> Result<(), Broken> {
    match holds {
        true => Ok(()),
        false => Err(Broken {
            invariant,
            what: what(),
        }),
    }
}

/// Every member, and whether it drains.
type Listing = Vec<(Member, bool)>;
type Placed = Result<Placement, CallError>;
/// By name, in the order of preference.
type Names = Vec<WorkerId>;

/// Which slots are looked at: enough that two tables which differ at all differ here, over many seeds.
fn sample() -> impl Iterator<Item = Slot> {
    (0..24).map(|n: u16| Slot(n.wrapping_mul(40_503)))
}

/// Whom some slots belong to, in one view.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Picture {
    hash: ViewHash,
    members: BTreeMap<WorkerId, u8>,
    lists: Vec<Names>,
}

/// What was seen in this history.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    pictures: HashMap<Listing, Picture>,
    listings: HashMap<ViewHash, Listing>,
    contexts: HashMap<(Listing, Vec<String>, String), Names>,
}

impl Memory {
    /// Looks at a router's view, and compares it with every view of the same members.
    pub(crate) fn look(&mut self, router: &Router) -> Result<Picture, Broken> {
        let listing = router.listing();
        let pool = router.pool();
        let members = listing.iter();
        let picture = Picture {
            hash: router.view.hash(),
            members: members
                .map(|(member, _)| (member.id.clone(), member.weight))
                .collect(),
            lists: sample()
                .map(|slot| names(&pool, &pool.preference(slot)))
                .collect(),
        };
        let known = self.pictures.entry(listing.clone());
        let known = known.or_insert_with(|| picture.clone());
        hold(Invariant::OneView, *known == picture, || {
            format!("{listing:?}\nonce {known:?}\nnow  {picture:?}")
        })?;
        let same = self.listings.entry(picture.hash);
        let same = same.or_insert_with(|| listing.clone());
        hold(Invariant::OneView, *same == listing, || {
            format!("one hash for {same:?} and {listing:?}")
        })?;
        Ok(picture)
    }

    /// A call for a context or a new message was placed.
    pub(crate) fn place(
        &mut self,
        router: &Router,
        call: Call<'_>,
        placed: &Placed,
    ) -> Result<(), Broken> {
        let pool = router.pool();
        let standing = |member: u16| router.stands(&pool, member);
        let all = (0..pool.count()).map(standing);
        let stands: Vec<String> = all.map(|standing| format!("{standing:?}")).collect();
        let some = |wanted: &str| stands.iter().any(|standing| standing == wanted);
        let placement = match placed {
            Ok(placement) => placement,
            Err(error) => {
                let fits = match error {
                    CallError::NoMember { .. } => pool.members().is_empty(),
                    CallError::AllEjected { .. } => !some("Usable") && !some("Draining"),
                    _ => false,
                };
                return hold(Invariant::Standing, fits, || {
                    format!("{error:?} of {stands:?}")
                });
            }
        };
        let taken = placement.candidates.iter();
        let mut taken = taken.map(|member| &stands[usize::from(*member)]);
        let wanted = if some("Usable") { "Usable" } else { "Draining" };
        hold(
            Invariant::Standing,
            taken.all(|standing| standing == wanted),
            || format!("{placement:?} of {stands:?}"),
        )?;
        let Some(context) = call.context else {
            return Ok(());
        };
        let key = (router.listing(), stands, context.to_owned());
        let names = names(&pool, &placement.candidates);
        let known = self.contexts.entry(key);
        let known = known.or_insert_with(|| names.clone());
        hold(Invariant::OnePlace, *known == names, || {
            format!("{context} once at {known:?}, now at {names:?}")
        })
    }

    /// A call for a task was placed.
    pub(crate) fn route(
        &self,
        router: &Router,
        task: &Task,
        placement: &Placement,
        workers: &BTreeMap<WorkerId, Worker>,
    ) -> Result<(), Broken> {
        let pool = router.pool();
        let Some(first) = placement.candidates.first().copied() else {
            return hold(Invariant::Route, false, || "no candidate".to_owned());
        };
        let what = || format!("{task:?} by {placement:?} of {:?}", pool.members());
        if matches!(placement.reason, Reason::Token { .. }) {
            let lives = pool.incarnation(first) == task.named && !placement.is_orphan_at(0);
            hold(Invariant::Route, lives, what)?;
        } else {
            hold(Invariant::Route, placement.is_orphan_at(0), what)?;
        }
        let (id, boot) = &task.maker;
        let is_known = router.heard(id) == Some(*boot) && task.named == life(id, *boot);
        let lives = workers.get(id).is_some_and(|worker| worker.boot == *boot);
        let is_in = router.knows(id) && !router.ejected.contains(id);
        if is_known && lives && is_in {
            let goes_there = Router::name(&pool, first) == *id && !placement.is_orphan_at(0);
            hold(Invariant::Route, goes_there, what)?;
        }
        Ok(())
    }

    /// A call for a task reached another life than the one that its token names, and was not told to
    /// adopt: that may only be where the router had not heard of that life.
    pub(crate) fn only_late(
        heard: Option<u32>,
        reached: &(WorkerId, u32),
        task: &Task,
    ) -> Result<(), Broken> {
        hold(Invariant::Route, heard != Some(reached.1), || {
            format!("{task:?} came to {reached:?}, of which the router knew")
        })
    }
}

/// How many slots of the sample moved from one view to the next; each for a reason.
pub(crate) fn moves(before: &Picture, after: &Picture) -> Result<u64, Broken> {
    let mut moved = 0;
    for (old, new) in before.lists.iter().zip(&after.lists) {
        let (Some(old), Some(new)) = (old.first(), new.first()) else {
            continue;
        };
        if old == new {
            continue;
        }
        moved += 1;
        let lost = after.members.get(old) < before.members.get(old);
        let gained = after.members.get(new) > before.members.get(new);
        hold(Invariant::LeastMoves, lost || gained, || {
            format!("from {old} to {new}\nbefore {before:?}\nafter  {after:?}")
        })?;
    }
    Ok(moved)
}

/// All is heard everywhere: routers agree on everything, and every task is within reach.
pub(crate) fn quiet(world: &World) -> Result<(), Broken> {
    let Some((first, others)) = world.routers.split_first() else {
        return Ok(());
    };
    let truth: Vec<&WorkerId> = world.workers.keys().collect();
    let listing = first.listing();
    let listed: Vec<&WorkerId> = listing.iter().map(|(member, _)| &member.id).collect();
    hold(Invariant::Quiet, truth == listed, || {
        format!("{truth:?}, listed {listed:?}")
    })?;
    let contexts = (0..16).map(|n| format!("context-{n}"));
    let contexts: Vec<String> = contexts.collect();
    let tasks = world.tasks.iter().map(|task| Call::poll(&task.id));
    let calls = contexts
        .iter()
        .flat_map(|id| [Call::context(id), Call::message(id)]);
    for call in calls.chain(tasks) {
        let one = first.place(call);
        for other in others {
            let two = other.place(call);
            hold(Invariant::Quiet, one == two, || {
                format!("{call:?}: {one:?}, elsewhere {two:?}")
            })?;
        }
    }
    for other in others {
        hold(
            Invariant::Quiet,
            first.view.hash() == other.view.hash(),
            || format!("{:?}\n{:?}", first.view, other.view),
        )?;
    }
    Ok(())
}

fn names(pool: &Pool, members: &[u16]) -> Names {
    let members = members.iter();
    members.map(|member| Router::name(pool, *member)).collect()
}
