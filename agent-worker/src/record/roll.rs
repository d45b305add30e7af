//! The members that a group was given over its API: sorted by name, in leaves of at most [`CHUNK`], under
//! an index that says where each leaf begins.
//!
//! # Invariants
//! - A leaf and the index change in one commit, each under the etag that was read, so no member is in two
//!   leaves and none is between two.
//! - An edit that breaks off has done whole leaves; made again, it does the rest.

use std::collections::BTreeMap;

use mesh_fabric::state::{self, Condition, Etag, Write};
use mesh_proto::AgentName;
use prost::Message as _;

use super::{CHUNK, Chunk, Error, Records, Seat, TRIES, keys};

/// The most members that one edit may name.
pub const EDIT: usize = 4096;

/// What is to be done with the members that an edit names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Edit {
    /// They are members from now on.
    Add,
    /// They are none.
    Remove,
}

/// What an edit has done.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Edited {
    /// How many were not so before.
    pub changed: u32,
    /// How many members there are now.
    pub total: u32,
    /// Whether it stopped because there would have been more than the bound.
    pub is_full: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Index {
    /// The number of the next new leaf.
    #[prost(uint32, tag = "1")]
    next: u32,
    #[prost(message, repeated, tag = "2")]
    leaves: Vec<Leaf>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Leaf {
    #[prost(uint32, tag = "1")]
    number: u32,
    /// The name of its first member.
    #[prost(string, tag = "2")]
    first: String,
    #[prost(uint32, tag = "3")]
    count: u32,
}

impl Index {
    /// Where a name is, or would be.
    fn place(&self, name: &str) -> usize {
        let after = self
            .leaves
            .partition_point(|leaf| leaf.first.as_str() <= name);
        after.saturating_sub(1)
    }

    fn total(&self) -> u32 {
        self.leaves.iter().map(|leaf| leaf.count).sum()
    }
}

impl Records {
    /// Adds members to a group, or removes some. Those that it names must be [`EDIT`] at most.
    ///
    /// # Errors
    /// [`Error`]; [`Error::Taken`] when others edited the same group each time.
    pub async fn edit_members(
        &self,
        group: &AgentName,
        edit: Edit,
        seats: Vec<Seat>,
        bound: u32,
    ) -> Result<Edited, Error> {
        let named = seats.into_iter().map(|seat| (seat.name(), seat));
        let mut named: BTreeMap<_, _> = named.take(EDIT).collect();
        let mut edited = Edited::default();
        let mut tries = 0;
        loop {
            let (mut index, held) = self.index(group).await?;
            edited.total = index.total();
            let Some(first) = named.keys().next() else {
                return Ok(edited);
            };
            let at = index.place(first);
            let others = match index.leaves.get(at + 1) {
                Some(next) => named.split_off(&next.first),
                None => BTreeMap::new(),
            };
            let old = index.leaves.get(at).cloned();
            let (mut seats, leaf_held) = match &old {
                Some(leaf) => self.leaf(group, leaf.number).await?,
                None => (BTreeMap::new(), None),
            };
            let changed = change(&mut seats, edit, &named);
            if edit == Edit::Add && edited.total.saturating_add(changed) > bound {
                edited.is_full = true;
                return Ok(edited);
            }
            if changed > 0 {
                let writes = index.replace(group, at, (old, leaf_held), seats);
                let value = index.encode_to_vec().into();
                let head = Write::put(keys::members(group, "index"), value, under(held), None);
                let writes = std::iter::once(head).chain(writes).collect();
                match self.store.commit(writes).await {
                    Ok(_) => edited.changed += changed,
                    Err(state::Error::Conflict) if tries < TRIES => {
                        tries += 1;
                        named.extend(others);
                        continue;
                    }
                    Err(state::Error::Conflict) => return Err(Error::Taken),
                    Err(error) => return Err(Error::Store(error)),
                }
            }
            named = others;
        }
    }

    /// The members behind a name, in order, so many at most.
    ///
    /// # Errors
    /// [`Error`]; [`Error::Taken`] when they were edited each time that they were read.
    pub async fn members(
        &self,
        group: &AgentName,
        after: &str,
        limit: usize,
    ) -> Result<Vec<Seat>, Error> {
        'again: for _ in 0..TRIES {
            let (index, _) = self.index(group).await?;
            let mut page = Vec::new();
            for leaf in index.leaves.iter().skip(index.place(after)) {
                let (seats, _) = self.leaf(group, leaf.number).await?;
                let is_as_told = seats.len() == leaf.count as usize
                    && seats.keys().next().is_some_and(|name| *name == leaf.first);
                if !is_as_told {
                    continue 'again;
                }
                let behind = seats
                    .into_iter()
                    .filter(|(name, _)| name.as_str() > after)
                    .map(|(_, seat)| seat);
                page.extend(behind.take(limit - page.len()));
                if page.len() >= limit {
                    break;
                }
            }
            return Ok(page);
        }
        Err(Error::Taken)
    }

    /// How many members a group was given.
    ///
    /// # Errors
    /// [`Error`], but for [`Error::Taken`].
    pub async fn member_count(&self, group: &AgentName) -> Result<u32, Error> {
        Ok(self.index(group).await?.0.total())
    }

    async fn index(&self, group: &AgentName) -> Result<(Index, Option<Etag>), Error> {
        let entry = self.store.get(&keys::members(group, "index")).await;
        match entry.map_err(Error::Store)? {
            None => Ok((Index::default(), None)),
            Some(entry) => {
                let index = Index::decode(entry.value).map_err(|_| Error::Unreadable)?;
                Ok((index, Some(entry.etag)))
            }
        }
    }

    async fn leaf(
        &self,
        group: &AgentName,
        number: u32,
    ) -> Result<(BTreeMap<String, Seat>, Option<Etag>), Error> {
        let entry = self.store.get(&leaf_key(group, number)).await;
        let Some(entry) = entry.map_err(Error::Store)? else {
            return Ok((BTreeMap::new(), None));
        };
        let chunk = Chunk::decode(entry.value).map_err(|_| Error::Unreadable)?;
        let named = chunk.seats.into_iter().map(|seat| (seat.name(), seat));
        Ok((named.collect(), Some(entry.etag)))
    }
}

impl Index {
    /// Puts what a leaf has become in its place: itself, several that share its members evenly, or none.
    fn replace(
        &mut self,
        group: &AgentName,
        at: usize,
        (old, held): (Option<Leaf>, Option<Etag>),
        seats: BTreeMap<String, Seat>,
    ) -> Vec<Write> {
        let (count, pieces) = (seats.len(), seats.len().div_ceil(CHUNK));
        let mut seats = seats.into_iter();
        let (mut leaves, mut writes) = (Vec::new(), Vec::new());
        for piece in 0..pieces {
            let size = (piece + 1) * count / pieces - piece * count / pieces;
            let mine: Vec<_> = seats.by_ref().take(size).collect();
            let (number, condition) = match &old {
                Some(leaf) if piece == 0 => (leaf.number, under(held)),
                _ => {
                    self.next += 1;
                    (self.next, Condition::Any)
                }
            };
            leaves.push(Leaf {
                number,
                first: mine
                    .first()
                    .map(|(name, _)| name.clone())
                    .unwrap_or_default(),
                count: u32::try_from(mine.len()).unwrap_or(u32::MAX),
            });
            let chunk = Chunk {
                seats: mine.into_iter().map(|(_, seat)| seat).collect(),
            };
            let value = chunk.encode_to_vec().into();
            writes.push(Write::put(leaf_key(group, number), value, condition, None));
        }
        if let Some(leaf) = old.as_ref().filter(|_| pieces == 0) {
            writes.push(Write::delete(leaf_key(group, leaf.number), under(held)));
        }
        let end = (at + usize::from(old.is_some())).min(self.leaves.len());
        self.leaves.splice(at.min(end)..end, leaves);
        writes
    }
}

/// Does an edit to the members of one leaf; how many it changed.
fn change(seats: &mut BTreeMap<String, Seat>, edit: Edit, named: &BTreeMap<String, Seat>) -> u32 {
    let before = seats.len();
    match edit {
        Edit::Add => {
            for (name, seat) in named {
                seats.entry(name.clone()).or_insert_with(|| seat.clone());
            }
        }
        Edit::Remove => seats.retain(|name, _| !named.contains_key(name)),
    }
    u32::try_from(before.abs_diff(seats.len())).unwrap_or(u32::MAX)
}

fn under(held: Option<Etag>) -> Condition {
    held.map_or(Condition::Absent, Condition::Etag)
}

fn leaf_key(group: &AgentName, number: u32) -> String {
    keys::members(group, &format!("{number:08}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mesh_fabric::state::{Bounds, Store};
    use proptest::prelude::*;

    use super::*;

    fn seats(numbers: impl IntoIterator<Item = u32>) -> Vec<Seat> {
        let seat = |number| Seat {
            agent: "a".to_owned(),
            context: format!("{number:07}"),
            ..Seat::default()
        };
        numbers.into_iter().map(seat).collect()
    }

    fn records() -> Records {
        Records::new(Store::memory(Bounds::default()), Duration::from_secs(60))
    }

    fn group() -> AgentName {
        "everybody".parse().unwrap()
    }

    async fn all(records: &Records, limit: usize) -> Vec<Seat> {
        let (mut all, mut after) = (Vec::new(), String::new());
        loop {
            let page = records.members(&group(), &after, limit).await.unwrap();
            let Some(last) = page.last() else { return all };
            after = last.name();
            all.extend(page);
        }
    }

    #[tokio::test]
    async fn members_are_there_once_in_order_and_in_leaves_that_are_never_too_large() {
        let records = records();
        let (odd, even) = (
            (0..4000).filter(|n| n % 2 == 1),
            (0..4000).filter(|n| n % 2 == 0),
        );
        for some in [odd.collect::<Vec<_>>(), even.collect()] {
            let edited = records
                .edit_members(&group(), Edit::Add, seats(some.iter().copied().rev()), 4000)
                .await
                .unwrap();
            assert_eq!(edited.changed, 2000);
            let again = records
                .edit_members(&group(), Edit::Add, seats(some), 4000)
                .await
                .unwrap();
            assert_eq!((again.changed, again.total), (0, edited.total));
        }
        assert_eq!(all(&records, 300).await, seats(0..4000));
        let (index, _) = records.index(&group()).await.unwrap();
        assert!(index.leaves.iter().all(|leaf| leaf.count as usize <= CHUNK));
        let full = records
            .edit_members(&group(), Edit::Add, seats([4000]), 4000)
            .await
            .unwrap();
        assert!(full.is_full);
        assert_eq!((full.changed, full.total), (0, 4000));
        let removed = records
            .edit_members(&group(), Edit::Remove, seats(0..4000), 4000)
            .await
            .unwrap();
        assert_eq!((removed.changed, removed.total), (4000, 0));
        assert!(all(&records, 300).await.is_empty());
    }

    #[tokio::test]
    async fn two_that_edit_at_once_lose_nothing_of_each_other() {
        let records = records();
        let add = async |from: u32| {
            for at in 0..20 {
                let some = seats((0..30).map(|n| (at * 30 + n) * 2 + from));
                records
                    .edit_members(&group(), Edit::Add, some, 10_000)
                    .await
                    .unwrap();
                tokio::task::yield_now().await;
            }
        };
        tokio::join!(add(0), add(1));
        assert_eq!(all(&records, 1000).await, seats(0..1200));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn edits_leave_what_a_plain_set_would_hold(
            edits in prop::collection::vec(
                (any::<bool>(), prop::collection::vec(0_u32..2000, 1..700)), 1..8),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let records = records();
                let mut set = std::collections::BTreeSet::new();
                for (adds, numbers) in edits {
                    let edit = if adds { Edit::Add } else { Edit::Remove };
                    let before = set.len();
                    for number in &numbers {
                        if adds { set.insert(*number); } else { set.remove(number); }
                    }
                    let edited = records
                        .edit_members(&group(), edit, seats(numbers), 10_000)
                        .await
                        .unwrap();
                    assert_eq!(edited.changed as usize, before.abs_diff(set.len()));
                    assert_eq!(edited.total as usize, set.len());
                }
                assert_eq!(all(&records, 97).await, seats(set));
            });
        }
    }
}
