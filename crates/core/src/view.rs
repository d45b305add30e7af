//! What a router knows of the mesh at one moment: agents, their members, and the slot tables.
//!
//! A view is built whole from what the membership source lists, published by a pointer swap and never
//! changed. What changes by the second (ejection, load) is not in it: see
//! [`crate::placement::Standing`].
//!
//! # Invariants
//! - Members stand sorted by id, and an index means the same member in the pool, in its table and in
//!   whatever a router keeps beside it.
//! - Pools with the same member set share one table and one list of members.
//! - An incarnation that two members of a pool share is unknown: better to fall back to the slot than
//!   to send a task to a worker that never held it.
//! - Two routers with the same listing have the same [`View::hash`], whatever came before.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, Weak},
};

use mesh_proto::{
    AgentName,
    mesh::{Incarnation, Slot, ViewHash, WorkerId, WorkerState},
};
use xxhash_rust::xxh3;

use crate::{
    fields::Fields,
    slots::{ALGORITHM, MEMBERS_MAX, Member, Preference, Table},
};

/// A member as the source lists it, with what it told of itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Listed {
    /// Its name, weight and zone.
    pub member: Member,
    /// Its present life ([`crate::token::incarnation`]); 0 for a third party or one not heard yet.
    pub incarnation: Incarnation,
    /// Whether it takes new work.
    pub state: WorkerState,
}

impl Listed {
    /// A member of which nothing else is known.
    #[must_use]
    pub const fn new(member: Member) -> Self {
        Self {
            member,
            incarnation: Incarnation(0),
            state: WorkerState::Active,
        }
    }
}

/// Why a listing is no view.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// An agent is listed twice.
    #[error("agent {agent} is listed twice")]
    AgentTwice {
        /// The agent.
        agent: AgentName,
    },
    /// A member is listed twice with different facts.
    #[error("agent {agent} lists the member {id} twice, with different facts")]
    MemberTwice {
        /// The agent.
        agent: AgentName,
        /// The member.
        id: WorkerId,
    },
    /// More members than a table can index.
    #[error("agent {agent} lists {count} members; at most {MEMBERS_MAX} are possible")]
    TooManyMembers {
        /// The agent.
        agent: AgentName,
        /// How many.
        count: usize,
    },
}

/// Everything that placement reads, immutable.
#[derive(Debug)]
pub struct View {
    pools: BTreeMap<AgentName, Arc<Pool>>,
    hash: ViewHash,
}

impl View {
    /// Builds a view. `tables` keeps the tables of the views before it, so that only a changed member
    /// set costs a table; hand in the same one each time.
    ///
    /// # Errors
    /// [`Error`], when the listing contradicts itself or is too long. Keep the view before it then.
    pub fn build(
        listing: impl IntoIterator<Item = (AgentName, Vec<Listed>)>,
        tables: &mut Tables,
    ) -> Result<Self, Error> {
        let mut pools = BTreeMap::new();
        for (agent, listed) in listing {
            let pool = Arc::new(Pool::build(agent.clone(), listed, tables)?);
            if pools.insert(agent.clone(), pool).is_some() {
                return Err(Error::AgentTwice { agent });
            }
        }
        tables.forget_unused();
        let mut fields = Fields::new();
        fields.fixed(&ALGORITHM.to_le_bytes());
        for (agent, pool) in &pools {
            fields
                .text(agent.as_str())
                .fixed(&pool.hash.0.to_le_bytes());
        }
        let hash = ViewHash(xxh3::xxh3_64(fields.bytes()));
        Ok(Self { pools, hash })
    }

    /// An agent's pool.
    #[must_use]
    pub fn pool(&self, agent: &str) -> Option<&Arc<Pool>> {
        self.pools.get(agent)
    }

    /// All pools, by the agents' names.
    pub fn pools(&self) -> impl ExactSizeIterator<Item = &Arc<Pool>> {
        self.pools.values()
    }

    /// The hash of everything that routers must agree on: the version of the algorithms, and of each
    /// agent the sorted members with weight, zone and state. Incarnations are not in it: routers learn
    /// of a restart by themselves, at different times.
    #[must_use]
    pub const fn hash(&self) -> ViewHash {
        self.hash
    }
}

/// The members of one agent.
pub struct Pool {
    agent: AgentName,
    members: Arc<[Member]>,
    /// `None` for fewer than two members.
    table: Option<Arc<Table>>,
    incarnations: Box<[Incarnation]>,
    states: Box<[WorkerState]>,
    /// Sorted by incarnation; without unknown and ambiguous ones.
    lives: Box<[(Incarnation, u16)]>,
    hash: ViewHash,
}

impl Pool {
    fn build(
        agent: AgentName,
        mut listed: Vec<Listed>,
        tables: &mut Tables,
    ) -> Result<Self, Error> {
        listed.sort_unstable_by(|a, b| a.member.id.cmp(&b.member.id));
        listed.dedup();
        if let Some([one, _]) = listed
            .array_windows()
            .find(|[one, two]: &&[Listed; 2]| one.member.id == two.member.id)
        {
            let id = one.member.id.clone();
            return Err(Error::MemberTwice { agent, id });
        }
        if listed.len() > MEMBERS_MAX {
            let count = listed.len();
            return Err(Error::TooManyMembers { agent, count });
        }
        let hash = hash_of(&listed);
        let lives = lives_of(&listed);
        let incarnations = listed.iter().map(|listed| listed.incarnation).collect();
        let states = listed.iter().map(|listed| listed.state).collect();
        let members = listed.into_iter().map(|listed| listed.member).collect();
        let (members, table) = tables.intern(members);
        Ok(Self {
            agent,
            members,
            table,
            incarnations,
            states,
            lives,
            hash,
        })
    }

    /// The agent whose members these are.
    #[must_use]
    pub const fn agent(&self) -> &AgentName {
        &self.agent
    }

    /// The members, sorted by id.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// How many members there are; it fits the indices.
    #[must_use]
    pub fn count(&self) -> u16 {
        u16::try_from(self.members.len()).unwrap_or(u16::MAX)
    }

    /// The table of two or more members.
    #[must_use]
    pub const fn table(&self) -> Option<&Arc<Table>> {
        self.table.as_ref()
    }

    /// Whose a slot is, and whom to turn to after: [`Table::preference`], or the only member.
    #[must_use]
    pub fn preference(&self, slot: Slot) -> Preference {
        match &self.table {
            Some(table) => table.preference(slot),
            None if self.members.is_empty() => Preference::NONE,
            None => Preference::ONLY,
        }
    }

    /// The present life of a member; 0 where none is known, or no such member.
    #[must_use]
    pub fn incarnation(&self, member: u16) -> Incarnation {
        let known = self.incarnations.get(usize::from(member));
        known.copied().unwrap_or_default()
    }

    /// What a member told of itself; no such member takes nothing.
    #[must_use]
    pub fn state(&self, member: u16) -> WorkerState {
        let known = self.states.get(usize::from(member));
        known.copied().unwrap_or(WorkerState::Draining)
    }

    /// Which member lives this life, if it is known and nobody shares it.
    #[must_use]
    pub fn living(&self, incarnation: Incarnation) -> Option<u16> {
        let found = self.lives.binary_search_by_key(&incarnation, |life| life.0);
        found.ok().map(|place| self.lives[place].1)
    }

    /// The index of a member.
    #[must_use]
    pub fn position(&self, id: &WorkerId) -> Option<u16> {
        let found = self.members.binary_search_by(|member| member.id.cmp(id));
        found.ok().and_then(|place| u16::try_from(place).ok())
    }

    /// The hash of this pool alone, as it goes into [`View::hash`].
    #[must_use]
    pub const fn hash(&self) -> ViewHash {
        self.hash
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("agent", &self.agent)
            .field("members", &self.members.len())
            .field("hash", &self.hash)
            .finish_non_exhaustive()
    }
}

/// The tables of the views that are in use. Its owner keeps it from one build to the next.
#[derive(Debug, Default)]
pub struct Tables {
    /// By a 128-bit hash of the set. Bounded by what views hold: the rest goes at every build.
    sets: HashMap<u128, Interned>,
}

#[derive(Debug)]
struct Interned {
    members: Weak<[Member]>,
    table: Weak<Table>,
}

impl Tables {
    /// The one list and table of a set. Sets of fewer than two have no table and are not kept.
    fn intern(&mut self, members: Vec<Member>) -> (Arc<[Member]>, Option<Arc<Table>>) {
        if members.len() < 2 {
            return (members.into(), None);
        }
        let key = fingerprint(&members);
        if let Some(known) = self.sets.get(&key)
            && let (Some(members), Some(table)) = (known.members.upgrade(), known.table.upgrade())
        {
            return (members, Some(table));
        }
        let members: Arc<[Member]> = members.into();
        let table = Table::build(&members).map(Arc::new);
        if let Some(table) = &table {
            let interned = Interned {
                members: Arc::downgrade(&members),
                table: Arc::downgrade(table),
            };
            self.sets.insert(key, interned);
        }
        (members, table)
    }

    fn forget_unused(&mut self) {
        self.sets.retain(|_, set| set.table.strong_count() > 0);
    }

    /// How many tables are kept; each of a large set takes 512 KiB.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sets.len()
    }

    /// Whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }
}

fn hash_of(listed: &[Listed]) -> ViewHash {
    let mut fields = Fields::new();
    for listed in listed {
        let state = match listed.state {
            WorkerState::Active => 0,
            WorkerState::Draining => 1,
        };
        write_member(&mut fields, &listed.member);
        fields.fixed(&[state]);
    }
    ViewHash(xxh3::xxh3_64(fields.bytes()))
}

fn fingerprint(members: &[Member]) -> u128 {
    let mut fields = Fields::new();
    for member in members {
        write_member(&mut fields, member);
    }
    xxh3::xxh3_128(fields.bytes())
}

fn write_member(fields: &mut Fields, member: &Member) {
    fields
        .text(member.id.as_str())
        .fixed(&[member.weight])
        .optional(member.zone.as_deref());
}

fn lives_of(listed: &[Listed]) -> Box<[(Incarnation, u16)]> {
    let known = listed.iter().map(|listed| listed.incarnation);
    let mut lives: Vec<_> = known
        .zip(0..=u16::MAX)
        .filter(|(life, _)| *life != Incarnation(0))
        .collect();
    lives.sort_unstable();
    lives
        .chunk_by(|a, b| a.0 == b.0)
        .filter_map(|same| match same {
            [life] => Some(*life),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests;
