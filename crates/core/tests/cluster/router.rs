//! A router as `mesh-core` sees it: what it was told of the members, in the order in which that came, and
//! what it made of them itself.
//!
//! # Invariants
//! - It decides nothing that the core decides: it keeps facts, builds views and asks.
//! - Of two facts about one member the newer stays, whichever came last. Nothing else of the order in
//!   which facts come is kept, but in the core's own `Tables`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use mesh_core::{
    CallError,
    placement::{self, Facts, Placement, Standing},
    slots::Member,
    token::{self, Keys, Route},
    view::{Listed, Pool, Tables, View},
};
use mesh_proto::{
    AgentName, Operation,
    mesh::{Cell, Incarnation, Load, Slot, WorkerId, WorkerState},
};

use super::sight::Sight;

/// What this test breaks on purpose, to see that it notices.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Flaw {
    None,
    /// Tokens name a worker and not a life of it.
    ForgetsLives,
    /// Slots are drawn by where a worker runs, which is new with each start.
    DrawsByAddress,
    /// A fact that comes late undoes a newer one.
    BelievesTheLast,
}

/// What the membership source says of one member, or that it is no more.
#[derive(Clone, Debug)]
pub(crate) struct Fact {
    pub(crate) version: u64,
    pub(crate) id: WorkerId,
    pub(crate) listed: Option<(Member, WorkerState)>,
}

/// The ids that a call carries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<'a> {
    pub(crate) operation: Operation,
    pub(crate) task: Option<&'a str>,
    pub(crate) context: Option<&'a str>,
    pub(crate) message: Option<&'a str>,
}

impl<'a> Call<'a> {
    pub(crate) const fn poll(task: &'a str) -> Self {
        Self {
            operation: Operation::GetTask,
            task: Some(task),
            context: None,
            message: None,
        }
    }

    pub(crate) const fn context(context: &'a str) -> Self {
        Self {
            operation: Operation::SendMessage,
            task: None,
            context: Some(context),
            message: Some("m"),
        }
    }

    pub(crate) const fn message(message: &'a str) -> Self {
        Self {
            operation: Operation::SendMessage,
            task: None,
            context: None,
            message: Some(message),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Router {
    flaw: Flaw,
    agent: AgentName,
    keys: Keys,
    tables: Tables,
    /// By member: the version of what is known, and what it is.
    known: BTreeMap<WorkerId, (u64, Option<(Member, WorkerState)>)>,
    /// What each member told of itself when it was heard last.
    boots: BTreeMap<WorkerId, u32>,
    /// Facts under way to it.
    pub(crate) inbox: Vec<Fact>,
    pub(crate) view: View,
    pub(crate) ejected: BTreeSet<WorkerId>,
    pub(crate) loads: BTreeMap<WorkerId, Load>,
}

impl Router {
    pub(crate) fn new(flaw: Flaw) -> Self {
        let mut tables = Tables::default();
        let agent = AgentName::parse("desk").unwrap();
        let nobody = [(agent.clone(), Vec::new())];
        Self {
            flaw,
            agent,
            keys: Keys::development(),
            view: View::build(nobody, &mut tables).unwrap(),
            tables,
            known: BTreeMap::new(),
            boots: BTreeMap::new(),
            inbox: Vec::new(),
            ejected: BTreeSet::new(),
            loads: BTreeMap::new(),
        }
    }

    /// Takes in a fact from its inbox, if there is one, and builds the view anew.
    pub(crate) fn learn(&mut self, place: usize) {
        if place >= self.inbox.len() {
            return;
        }
        let fact = self.inbox.swap_remove(place);
        let known = self.known.get(&fact.id).map(|known| known.0);
        if known.is_some_and(|known| known > fact.version) && self.flaw != Flaw::BelievesTheLast {
            return;
        }
        if fact.listed.is_none() {
            self.boots.remove(&fact.id);
            self.ejected.remove(&fact.id);
            self.loads.remove(&fact.id);
        }
        self.known.insert(fact.id, (fact.version, fact.listed));
        self.rebuild();
    }

    /// Hears from a member itself which life it lives.
    pub(crate) fn hear(&mut self, id: &WorkerId, boot: u32) {
        let is_listed = self.knows(id);
        if is_listed && self.boots.insert(id.clone(), boot) != Some(boot) {
            self.rebuild();
        }
        self.ejected.remove(id);
    }

    /// Whether a member is listed here.
    pub(crate) fn knows(&self, id: &WorkerId) -> bool {
        self.known.get(id).is_some_and(|known| known.1.is_some())
    }

    /// The members as it knows them, and whether each drains.
    pub(crate) fn listing(&self) -> Vec<(Member, bool)> {
        let known = self
            .known
            .values()
            .filter_map(|(_, listed)| listed.as_ref());
        known
            .map(|(member, state)| (member.clone(), *state == WorkerState::Draining))
            .collect()
    }

    /// Which life of a member it heard of.
    pub(crate) fn heard(&self, id: &WorkerId) -> Option<u32> {
        self.boots.get(id).copied()
    }

    fn rebuild(&mut self) {
        let listed = self.known.iter().filter_map(|(id, (_, listed))| {
            let (member, state) = listed.clone()?;
            let boot = self.boots.get(id);
            Some(Listed {
                incarnation: boot.map_or(Incarnation(0), |boot| self.life(id, *boot)),
                member: self.seen(member, boot.copied()),
                state,
            })
        });
        let listing = [(self.agent.clone(), listed.collect())];
        self.view = View::build(listing, &mut self.tables).unwrap();
    }

    fn seen(&self, member: Member, boot: Option<u32>) -> Member {
        match boot {
            Some(boot) if self.flaw == Flaw::DrawsByAddress => Member {
                id: WorkerId::new(&format!("{}:{boot}", member.id)),
                ..member
            },
            _ => member,
        }
    }

    /// The life as tokens name it.
    pub(crate) fn life(&self, id: &WorkerId, boot: u32) -> Incarnation {
        match self.flaw {
            Flaw::ForgetsLives => token::incarnation(id, "any"),
            _ => life(id, boot),
        }
    }

    pub(crate) fn pool(&self) -> Arc<Pool> {
        self.view.pool(self.agent.as_str()).unwrap().clone()
    }

    /// Whose index this is.
    pub(crate) fn name(pool: &Pool, member: u16) -> WorkerId {
        let id = &pool.members()[usize::from(member)].id;
        match id.as_str().split_once(':') {
            Some((name, _)) => WorkerId::new(name),
            None => id.clone(),
        }
    }

    /// What it thinks of a member now.
    pub(crate) fn stands(&self, pool: &Pool, member: u16) -> Standing {
        let sight = Sight { router: self, pool };
        sight.standing(member)
    }

    /// Asks the core.
    pub(crate) fn place(&self, call: Call<'_>) -> Result<Placement, CallError> {
        let pool = self.pool();
        let facts = Facts {
            operation: call.operation,
            agent: &self.agent,
            tenant: None,
            task_id: call.task,
            context_id: call.context,
            message_id: call.message,
        };
        let sight = Sight {
            router: self,
            pool: &pool,
        };
        placement::place(&pool, &self.keys, &facts, |member| sight.standing(member))
    }

    /// The id that a worker gives to what it makes by this placement's first candidates.
    pub(crate) fn mint(&self, pool: &Pool, member: u16, slot: Slot, native: &str) -> String {
        let route = Route {
            cell: Cell(0),
            slot,
            incarnation: pool.incarnation(member),
            kind: token::Kind::Native,
            minted_hour: 1,
        };
        let sealed = self.keys.seal(route, self.agent.as_str(), None);
        format!("{sealed}.{native}")
    }
}

/// The life of a worker.
pub(crate) fn life(id: &WorkerId, boot: u32) -> Incarnation {
    token::incarnation(id, &boot.to_string())
}
