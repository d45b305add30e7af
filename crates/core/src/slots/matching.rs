//! The stable matching behind a slot table: slots propose, members keep their best-scoring slots.
//!
//! # Invariants
//! - Equal scores are ordered by member, then by row, on both sides: with ties broken one way for all,
//!   the stable matching stays unique.
//! - The shortlist is a shortcut only: a row that is turned away by all of it falls back to the whole
//!   ranking, so its length changes the time and never the result.

use std::{
    cmp::{Ordering, Reverse},
    collections::{BTreeMap, BinaryHeap},
};

use mesh_proto::mesh::Slot;

use super::{DIRECT_MAX, Draws, PREFERENCES, Preference, SLOTS, slot_key};

/// How many of its best members a row remembers. With 10 % spare capacity over 99 % of the rows are
/// placed within it; each entry more costs time for every row, a miss costs one ranking of all.
pub(super) const SHORTLIST: usize = 8;

const _: () = assert!(
    SHORTLIST > PREFERENCES,
    "preferences come from the shortlist"
);

/// Every member owns at most its share and this many percent.
const SPARE_PERCENT: u64 = 10;

/// Computes the preference lists, row after row, `width` members each.
pub(super) fn solve(draws: &Draws, zones: &[Option<usize>], width: usize) -> Box<[u16]> {
    let mut rankings = Rankings::of(draws, SLOTS);
    let owners = rankings.owners(&capacities(draws.weights(), SLOTS));
    let spread = Spread::of(zones);
    let mut preferences = Vec::with_capacity(SLOTS * width);
    for (row, owner) in owners.into_iter().enumerate() {
        let second = spread.elsewhere(owner).and_then(|is_elsewhere| {
            let near = rankings.shortlist(row).iter().map(|choice| choice.member);
            let near = near.into_iter().find(|member| is_elsewhere(*member));
            near.or_else(|| draws.best(key(row), is_elsewhere))
        });
        let rest = rankings.shortlist(row).iter().map(|choice| choice.member);
        let rest = rest.filter(|member| *member != owner && Some(*member) != second);
        let list = std::iter::once(owner).chain(second).chain(rest);
        preferences.extend(list.take(width));
    }
    preferences.into()
}

/// The list of one slot of a small set, where the highest score owns.
pub(super) fn direct(draws: &Draws, zones: &[Option<usize>], slot: Slot) -> Preference {
    let nobody = Choice {
        score: 0,
        member: u16::MAX,
    };
    let mut ranked = [nobody; DIRECT_MAX];
    let mut count = 0;
    draws.scores(slot_key(slot), |member, score| {
        let choice = Choice { score, member };
        let place = ranked[..count]
            .iter()
            .position(|better| *better < choice)
            .unwrap_or(count);
        count = (count + 1).min(DIRECT_MAX);
        if let Some(from) = ranked.get_mut(place..count) {
            from.rotate_right(1);
            from[0] = choice;
        }
    });
    let ranked = || ranked[..count].iter().map(|choice| choice.member);
    let Some(owner) = ranked().next() else {
        return Preference::NONE;
    };
    let second = Spread::of(zones)
        .elsewhere(owner)
        .and_then(|is_elsewhere| ranked().find(|member| is_elsewhere(*member)));
    let rest = ranked().filter(|member| *member != owner && Some(*member) != second);
    std::iter::once(owner).chain(second).chain(rest).collect()
}

/// `ceil(rows * q * (100 + spare) / (100 * sum(q)))` for each member: together 1.1 times the rows, so
/// every row finds an owner.
pub(super) fn capacities(weights: &[u8], rows: usize) -> Vec<usize> {
    let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
    weights
        .iter()
        .map(|weight| {
            let share = rows as u64 * u64::from(*weight) * (100 + SPARE_PERCENT);
            usize::try_from(share.div_ceil(100 * total)).unwrap_or(rows)
        })
        .collect()
}

/// A member and its score for some row; greater is better.
#[derive(Clone, Copy, Eq, PartialEq)]
struct Choice {
    score: u64,
    member: u16,
}

impl Ord for Choice {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_score = self.score.cmp(&other.score);
        by_score.then_with(|| other.member.cmp(&self.member))
    }
}

impl PartialOrd for Choice {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A row and its score for some member; greater is better.
#[derive(Clone, Copy, Eq, PartialEq)]
struct Held {
    score: u64,
    row: usize,
}

impl Ord for Held {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_score = self.score.cmp(&other.score);
        by_score.then_with(|| other.row.cmp(&self.row))
    }
}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// What each row thinks of the members.
struct Rankings<'a> {
    draws: &'a Draws,
    /// Entries of one row.
    depth: usize,
    /// Row after row, the best member first.
    shortlists: Vec<Choice>,
    /// The whole ranking of the few rows that needed it.
    whole: BTreeMap<usize, Box<[Choice]>>,
}

impl<'a> Rankings<'a> {
    fn of(draws: &'a Draws, rows: usize) -> Self {
        let depth = draws.drawing().min(SHORTLIST);
        let mut shortlists = Vec::with_capacity(rows * depth);
        for row in 0..rows {
            shortlist(draws, key(row), depth, &mut shortlists);
        }
        Self {
            draws,
            depth,
            shortlists,
            whole: BTreeMap::new(),
        }
    }

    fn shortlist(&self, row: usize) -> &[Choice] {
        &self.shortlists[row * self.depth..(row + 1) * self.depth]
    }

    /// The member at a rank of a row's preferences, 0 being the best.
    fn choice(&mut self, row: usize, rank: usize) -> Option<Choice> {
        if rank < self.depth {
            return self.shortlist(row).get(rank).copied();
        }
        let key = key(row);
        let draws = self.draws;
        let whole = self.whole.entry(row).or_insert_with(|| {
            let mut all = Vec::with_capacity(draws.members());
            draws.scores(key, |member, score| all.push(Choice { score, member }));
            all.sort_unstable_by_key(|choice| Reverse(*choice));
            all.into()
        });
        whole.get(rank).copied()
    }

    /// Matches every row with a member. A row that loses its place proposes further down its list.
    fn owners(&mut self, capacities: &[usize]) -> Vec<u16> {
        let rows = self.shortlists.len() / self.depth;
        let mut next = vec![0; rows];
        let mut held: Vec<BinaryHeap<Reverse<Held>>> = capacities
            .iter()
            .map(|capacity| BinaryHeap::with_capacity(*capacity))
            .collect();
        for row in 0..rows {
            let mut proposer = Some(row);
            while let Some(row) = proposer {
                // Capacities add up to more than the rows, so a list never runs out.
                let Some(choice) = self.choice(row, next[row]) else {
                    break;
                };
                next[row] += 1;
                let member = usize::from(choice.member);
                let score = choice.score;
                proposer = propose(&mut held[member], capacities[member], Held { score, row });
            }
        }
        let mut owners = vec![0; rows];
        for (member, rows) in (0..=u16::MAX).zip(held) {
            for Reverse(held) in rows {
                owners[held.row] = member;
            }
        }
        owners
    }
}

/// Offers a row to a member. Gives back the row that is without a place afterwards, if any.
fn propose(held: &mut BinaryHeap<Reverse<Held>>, capacity: usize, offer: Held) -> Option<usize> {
    if held.len() < capacity {
        held.push(Reverse(offer));
        return None;
    }
    match held.peek_mut() {
        Some(mut worst) if worst.0 < offer => {
            let evicted = worst.0.row;
            *worst = Reverse(offer);
            Some(evicted)
        }
        _ => Some(offer.row),
    }
}

/// Appends a row's best members, the best first.
fn shortlist(draws: &Draws, key: u64, depth: usize, out: &mut Vec<Choice>) {
    // The worst comes first here, so that the one comparison that almost all members fail is with a
    // fixed place. An empty place loses to everybody: no member has the last index.
    let nobody = Choice {
        score: 0,
        member: u16::MAX,
    };
    let mut best = [nobody; SHORTLIST];
    draws.scores(key, |member, score| {
        let choice = Choice { score, member };
        if choice < best[0] {
            return;
        }
        best[0] = choice;
        for place in 1..SHORTLIST {
            if choice < best[place] {
                break;
            }
            best.swap(place - 1, place);
        }
    });
    out.extend(best.iter().rev().take(depth));
}

/// A row is a slot, counted as an index.
fn key(row: usize) -> u64 {
    slot_key(Slot(u16::try_from(row).unwrap_or(u16::MAX)))
}

/// Who stands where.
struct Spread<'a> {
    zones: &'a [Option<usize>],
    several: bool,
}

impl<'a> Spread<'a> {
    fn of(zones: &'a [Option<usize>]) -> Self {
        let mut known = zones.iter().flatten();
        let first = known.next();
        Self {
            zones,
            several: known.any(|zone| Some(zone) != first),
        }
    }

    /// Which members stand in another zone than an owner's; `None` where nobody does. Somebody of
    /// whom no zone is known may well stand next to the owner, and so does not count.
    fn elsewhere(&self, owner: u16) -> Option<impl Fn(u16) -> bool + Copy> {
        let zones = self.zones;
        let own = zones[usize::from(owner)]?;
        self.several
            .then_some(move |member| zones[usize::from(member)].is_some_and(|zone| zone != own))
    }
}
