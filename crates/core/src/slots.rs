//! Which member of a set owns which part of the key space: capacity-bounded weighted rendezvous,
//! solved as a stable matching.
//!
//! The key space is 65,536 slots. A [`Table`] gives every slot an owner and up to three members to turn
//! to after it.
//!
//! - **Score.** `score(slot, member) = max over j < weight of mix64(key(slot) ^ h(member, j))`. The
//!   highest of q draws wins with probability q / sum(q): weights without floating point.
//! - **Capacity.** `ceil(65,536 * q * 1.1 / sum(q))` slots for a member, so that none owns more than
//!   10 % over its share.
//! - **Matching.** Slots prefer members, and members prefer slots, by the *same* score. Then exactly
//!   one stable matching exists: the order of members, of proposals and of past changes cannot matter.
//! - **Small sets.** Up to [`DIRECT_MAX`] members the owner is the highest score and nothing else, found
//!   anew for each slot asked for. It is the same matching: with 4,096 slots or more for each of them the
//!   draws keep within 10 % of even shares (six sigma), and the capacity would turn nobody away. So a set
//!   of three costs no memory but its draws, and ten thousand agents may have one each.
//!
//! # Invariants
//! - A table is a function of the member *set*: two routers with the same set have the same table,
//!   whatever they saw before. Hence no consensus is needed.
//! - The score and the slot hash are wire format. Another constant here moves contexts between
//!   workers all over a running mesh: raise [`ALGORITHM`] with it, which shows in the view hash, and
//!   treat the roll-out as a migration. Golden vectors in the tests hold both still.
//! - Never keyed by an address: a member that comes back elsewhere under its name keeps its rows.
//! - The number of slots never changes: a set that grows from 2 members to 1,000 one by one moves, with
//!   each of them, little more than what that one takes.
//! - A member of weight 0 owns nothing, unless all are of weight 0.

use std::{collections::BTreeMap, fmt, ops::Deref, sync::Arc};

use mesh_proto::{
    AgentName,
    mesh::{Slot, WorkerId},
};
use xxhash_rust::xxh3;

use crate::fields::Fields;

mod matching;
#[cfg(test)]
mod tests;

/// The version of score, matching and slot hash together; part of the view hash.
pub const ALGORITHM: u32 = 2;

/// The longest preference list: an owner and three to turn to.
pub const PREFERENCES: usize = 4;

/// The most members that one set may have: the indices of a preference list are 16 bits wide. A cell
/// is meant to hold a thousand.
pub const MEMBERS_MAX: usize = u16::MAX as usize;

/// The highest weight of a member; 0 takes no new work.
pub const WEIGHT_MAX: u8 = 8;

/// The largest set of which no table is kept.
pub const DIRECT_MAX: usize = 16;

/// How many slots there are.
const SLOTS: usize = 1 << 16;

/// One worker as the slot table sees it.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Member {
    /// Its stable name; this alone decides its draws.
    pub id: WorkerId,
    /// Its share relative to others, 0 to [`WEIGHT_MAX`]; more counts as that.
    pub weight: u8,
    /// Where it stands, if known. Only used to have the second preference elsewhere.
    pub zone: Option<Arc<str>>,
}

impl Member {
    /// A member of weight 1 in no known zone.
    #[must_use]
    pub const fn new(id: WorkerId) -> Self {
        Self {
            id,
            weight: 1,
            zone: None,
        }
    }
}

/// A slot's owner, and after it whom to turn to.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Preference {
    members: [u16; PREFERENCES],
    len: u8,
}

impl Preference {
    /// Nobody.
    pub const NONE: Self = Self {
        members: [0; PREFERENCES],
        len: 0,
    };

    /// One member, the first of its set.
    pub const ONLY: Self = Self {
        members: [0; PREFERENCES],
        len: 1,
    };

    fn push(&mut self, member: u16) {
        if let Some(room) = self.members.get_mut(usize::from(self.len)) {
            *room = member;
            self.len += 1;
        }
    }
}

impl FromIterator<u16> for Preference {
    fn from_iter<I: IntoIterator<Item = u16>>(members: I) -> Self {
        let mut list = Self::NONE;
        members.into_iter().for_each(|member| list.push(member));
        list
    }
}

impl Deref for Preference {
    type Target = [u16];

    fn deref(&self) -> &[u16] {
        &self.members[..usize::from(self.len)]
    }
}

impl fmt::Debug for Preference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// Slot to members, for one set of two or more.
///
/// Above [`DIRECT_MAX`] members it takes 512 KiB: intern one for each member set
/// ([`crate::view::Tables`]).
pub struct Table {
    /// Entries of one slot: [`PREFERENCES`], or the number of members with a weight if that is less.
    width: usize,
    /// Slot after slot, the owner first; nothing for a small set.
    preferences: Box<[u16]>,
    draws: Draws,
    zones: Box<[Option<usize>]>,
}

impl Table {
    /// Computes the table of a set. The indices that it hands out are positions among the members
    /// sorted by id; a repeated id counts once.
    ///
    /// `None` for a set of fewer than two, which needs no table, or of more than [`MEMBERS_MAX`].
    ///
    /// It takes some 0.3 s for a thousand members: build off the path of calls.
    #[must_use]
    pub fn build(members: &[Member]) -> Option<Self> {
        let mut sorted: Vec<&Member> = members.iter().collect();
        sorted.sort_unstable();
        sorted.dedup_by(|later, first| later.id == first.id);
        if !(2..=MEMBERS_MAX).contains(&sorted.len()) {
            return None;
        }
        let draws = Draws::of(&sorted);
        let zones = zones_of(&sorted);
        let width = draws.drawing().min(PREFERENCES);
        let preferences = if draws.drawing() <= DIRECT_MAX {
            Box::default()
        } else {
            matching::solve(&draws, &zones, width)
        };
        Some(Self {
            width,
            preferences,
            draws,
            zones: zones.into(),
        })
    }

    /// The owner of a slot, and after it whom to turn to: at most [`PREFERENCES`] members in
    /// rendezvous order, the second from another zone than the owner's where the set has one.
    #[must_use]
    pub fn preference(&self, slot: Slot) -> Preference {
        let start = usize::from(slot.0) * self.width;
        match self.preferences.get(start..start + self.width) {
            Some(solved) => solved.iter().copied().collect(),
            None => matching::direct(&self.draws, &self.zones, slot),
        }
    }

    /// The member with the highest score for a slot among those that a caller accepts. It looks at
    /// every member (about a microsecond for a thousand): only for when the preferences are used up.
    #[must_use]
    pub fn best(&self, slot: Slot, accepts: impl Fn(u16) -> bool) -> Option<u16> {
        self.draws.best(slot_key(slot), accepts)
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table")
            .field("members", &self.draws.members())
            .field("is_kept", &!self.preferences.is_empty())
            .finish_non_exhaustive()
    }
}

/// What a key of the slot hash is. Part of the hash, so that a context and a message with the same id
/// do not land on the same slot.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// A context that the client named.
    Context,
    /// A new message without context.
    Message,
}

impl Kind {
    const fn code(self) -> u8 {
        match self {
            Self::Context => 1,
            Self::Message => 2,
        }
    }
}

/// The key of the slot hash: who does not have it cannot choose ids that all hit one worker.
#[derive(Clone)]
pub struct SlotSecret(Box<[u8; SECRET_BYTES]>);

/// XXH3 takes 136 bytes or more.
pub(crate) const SECRET_BYTES: usize = 192;

impl SlotSecret {
    pub(crate) fn new(expanded: [u8; SECRET_BYTES]) -> Self {
        Self(Box::new(expanded))
    }
}

impl fmt::Debug for SlotSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SlotSecret(..)")
    }
}

/// The slot of an id. No principal goes in: turning identity on must not move contexts.
#[must_use]
pub fn slot(
    secret: &SlotSecret,
    kind: Kind,
    agent: &AgentName,
    tenant: Option<&str>,
    id: &str,
) -> Slot {
    let mut fields = Fields::new();
    fields
        .fixed(&[kind.code()])
        .text(agent.as_str())
        .optional(tenant)
        .text(id);
    let hash = xxh3::xxh3_64_with_secret(fields.bytes(), secret.0.as_slice());
    // The top 16 bits of 64: nothing is lost by the cast.
    Slot(u16::try_from(hash >> 48).unwrap_or_default())
}

/// An agent's draw for an id, where several agents could take the call that carries it. It shares no
/// bits with the slot of that id at that agent: else the winner's slots would all be high ones.
pub(crate) fn agent_draw(
    secret: &SlotSecret,
    kind: Kind,
    agent: &AgentName,
    tenant: Option<&str>,
    id: &str,
) -> u64 {
    /// Apart from every code of [`Kind`].
    const AMONG_AGENTS: u8 = 0x80;
    let mut fields = Fields::new();
    fields
        .fixed(&[AMONG_AGENTS, kind.code()])
        .text(agent.as_str())
        .optional(tenant)
        .text(id);
    xxh3::xxh3_64_with_secret(fields.bytes(), secret.0.as_slice())
}

/// Every member's draws, flat: those of member `i` are `hashes[starts[i]..starts[i + 1]]`.
pub(crate) struct Draws {
    hashes: Box<[u64]>,
    starts: Box<[u32]>,
    /// Draws per member, as capacities need them.
    weights: Box<[u8]>,
    /// Whether each member has just one: then a plain walk over the draws does.
    is_plain: bool,
}

impl Draws {
    fn of(members: &[&Member]) -> Self {
        let all_rest = members.iter().all(|member| member.weight == 0);
        let weight = |member: &&Member| match member.weight {
            0 if all_rest => 1,
            weight => weight.min(WEIGHT_MAX),
        };
        let weights: Box<[u8]> = members.iter().map(weight).collect();
        let mut hashes = Vec::with_capacity(members.len());
        let mut starts = Vec::with_capacity(members.len() + 1);
        let mut end = 0;
        starts.push(end);
        for (member, weight) in members.iter().zip(&weights) {
            for draw in 0..u64::from(*weight) {
                let id = member.id.as_str().as_bytes();
                hashes.push(xxh3::xxh3_64_with_seed(id, draw));
                end += 1;
            }
            starts.push(end);
        }
        Self {
            hashes: hashes.into(),
            starts: starts.into(),
            is_plain: weights.iter().all(|weight| *weight == 1),
            weights,
        }
    }

    /// How many members draw at all.
    pub(crate) fn drawing(&self) -> usize {
        self.weights.iter().filter(|weight| **weight > 0).count()
    }

    pub(crate) fn members(&self) -> usize {
        self.weights.len()
    }

    pub(crate) fn weights(&self) -> &[u8] {
        &self.weights
    }

    /// Calls back with the score for a slot of every member that draws, in the order of the members.
    pub(crate) fn scores(&self, key: u64, mut each: impl FnMut(u16, u64)) {
        // A table of a thousand members takes 65 million scores.
        if self.is_plain {
            for (member, hash) in (0..=u16::MAX).zip(&self.hashes) {
                each(member, mix64(key ^ hash));
            }
            return;
        }
        for (member, bounds) in (0..=u16::MAX).zip(self.starts.windows(2)) {
            let &[start, end] = bounds else { continue };
            let own = &self.hashes[start as usize..end as usize];
            if let Some(score) = own.iter().map(|hash| mix64(key ^ hash)).max() {
                each(member, score);
            }
        }
    }

    pub(crate) fn best(&self, key: u64, accepts: impl Fn(u16) -> bool) -> Option<u16> {
        let mut best: Option<(u64, u16)> = None;
        self.scores(key, |member, score| {
            // Of equal scores the lower index stays, as everywhere.
            if best.is_none_or(|(highest, _)| score > highest) && accepts(member) {
                best = Some((score, member));
            }
        });
        best.map(|(_, member)| member)
    }
}

/// What a slot's scores are made from.
pub(crate) const fn slot_key(slot: Slot) -> u64 {
    mix64(slot.0 as u64 + GOLDEN_GAMMA)
}

/// The finalizer of SplitMix64: every input bit reaches every output bit.
pub(crate) const fn mix64(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// 2^64 divided by the golden ratio: keeps slot 0 off the finalizer's fixed point at 0.
const GOLDEN_GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// Zones as numbers, for comparing.
fn zones_of(members: &[&Member]) -> Vec<Option<usize>> {
    let mut known: BTreeMap<&str, usize> = BTreeMap::new();
    members
        .iter()
        .map(|member| {
            let zone = member.zone.as_deref()?;
            let next = known.len();
            Some(*known.entry(zone).or_insert(next))
        })
        .collect()
}
