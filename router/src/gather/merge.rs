//! Several members' lists made one: the latest status first, each task once.
//!
//! It asks for pages and is fed with them; who fetches them, and how, is none of its business.
//!
//! # Invariants
//! - A task is taken only while the head of every part is known: no part can hold a later one.
//! - A member's own order is kept, so that a part that is not quite sorted loses nothing.
//! - Of a task that several members report the copy with the latest status is shown, once on a page;
//!   copies that are alike are never shown on two pages.
//! - Nothing is held but one page of each member and the page that is made.

use std::{
    cmp::Reverse,
    collections::{HashMap, VecDeque},
};

use mesh_proto::a2a::{ListTasksResponse, Task};
use xxhash_rust::xxh3;

use super::cursor::{Cursor, Place};

/// The page when a client names no size, and the largest (spec 3.1.4).
pub(super) const PAGE: usize = 50;
pub(super) const LARGEST_PAGE: usize = 100;

/// How often members are asked for more in one call. Twice is enough for those that fill their pages;
/// what has come by then is the page, if it is a short one.
const ROUNDS: usize = 16;

/// See the module.
#[derive(Debug)]
pub(super) struct Merge {
    parts: Vec<Part>,
    size: usize,
    page: Vec<Task>,
    /// Where on the page a task is, by its id.
    shown: HashMap<String, usize>,
    repeats: u32,
    rounds: usize,
}

/// A page that is needed before the merge can go on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Wanted {
    /// Whose.
    pub(super) source: u64,
    /// Its own token; empty for its first page.
    pub(super) token: String,
    /// How many tasks to ask for.
    pub(super) size: usize,
}

/// A page as a client gets it.
#[derive(Debug)]
pub(super) struct Merged {
    /// Its tasks.
    pub(super) tasks: Vec<Task>,
    /// Where the list goes on; `None` at its end.
    pub(super) next: Option<Cursor>,
    /// How many tasks there are in all, those left out that are known to be repeats.
    pub(super) total: i32,
}

/// Why a member's answers make no list.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum Error {
    /// Its pages are empty and go on for ever.
    #[error("a member's pages lead nowhere")]
    Endless,
    /// Its token is longer than one that could be kept.
    #[error("a member's page token is too long")]
    Token,
}

/// One member's part.
#[derive(Debug)]
struct Part {
    source: u64,
    /// What is left of the page at hand.
    left: VecDeque<Task>,
    /// That page's token, how much of it is behind, and the hash of the last task that is.
    token: String,
    taken: usize,
    last: u32,
    /// The page after it.
    next: Next,
    total: u32,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Next {
    /// The page named by `token` has not been read.
    Unread,
    /// It has; this one follows.
    Follows(String),
    /// It has, and it is the last.
    End,
}

impl Merge {
    /// A list from its beginning, over these members.
    pub(super) fn begin(sources: impl IntoIterator<Item = u64>, size: usize) -> Self {
        let places = sources.into_iter().map(|source| Place {
            source,
            ..Place::default()
        });
        let places = places.collect();
        let repeats = 0;
        Self::resume(Cursor { places, repeats }, |_| true, size)
    }

    /// A list that goes on. A member that is gone takes its part with it.
    pub(super) fn resume(cursor: Cursor, is_there: impl Fn(u64) -> bool, size: usize) -> Self {
        let places = cursor.places.into_iter();
        let parts = places.filter(|place| is_there(place.source)).map(Part::at);
        Self {
            parts: parts.collect(),
            size,
            page: Vec::with_capacity(size.min(LARGEST_PAGE)),
            shown: HashMap::new(),
            repeats: cursor.repeats,
            rounds: 0,
        }
    }

    /// The pages without which nothing more can be taken; none when the page is made.
    pub(super) fn wanted(&mut self) -> Vec<Wanted> {
        if self.page.len() >= self.size || self.rounds == ROUNDS {
            return Vec::new();
        }
        self.rounds += 1;
        let parts = self.parts.iter().filter(|part| part.is_hungry());
        parts.map(|part| part.wanted(self.size)).collect()
    }

    /// Takes a page that was wanted.
    ///
    /// # Errors
    /// [`Error`].
    pub(super) fn feed(&mut self, source: u64, answer: ListTasksResponse) -> Result<(), Error> {
        match self.parts.iter_mut().find(|part| part.source == source) {
            Some(part) => part.feed(answer),
            None => Ok(()),
        }
    }

    /// Takes tasks as far as the pages at hand allow. Anew, a page may be wanted.
    pub(super) fn advance(&mut self) {
        while self.page.len() < self.size && !self.parts.iter().any(Part::is_hungry) {
            let heads = self.parts.iter().enumerate();
            let heads =
                heads.filter_map(|(number, part)| Some((order(part.left.front()?), number)));
            let Some((_, first)) = heads.min() else {
                return;
            };
            let Some(task) = self.parts.get_mut(first).and_then(Part::take) else {
                return;
            };
            self.take_copies(&task);
            self.show(task);
        }
    }

    /// The page, made when nothing is wanted any more.
    ///
    /// # Errors
    /// [`Error::Endless`].
    pub(super) fn finish(self) -> Result<Merged, Error> {
        let total = self
            .parts
            .iter()
            .map(|part| u64::from(part.total))
            .sum::<u64>();
        let total = total.saturating_sub(u64::from(self.repeats));
        let ended = self.parts.iter().all(Part::has_ended);
        if self.page.is_empty() && !ended {
            return Err(Error::Endless);
        }
        let places = || self.parts.into_iter().map(Part::place).collect();
        Ok(Merged {
            tasks: self.page,
            next: (!ended).then(|| Cursor {
                places: places(),
                repeats: self.repeats,
            }),
            total: i32::try_from(total).unwrap_or(i32::MAX),
        })
    }

    /// Copies that stand at the head of other parts go with the task; one that stands further back is
    /// older, and is met on its own.
    fn take_copies(&mut self, task: &Task) {
        for part in &mut self.parts {
            let is_copy = |head: &Task| head.id == task.id && order(head) == order(task);
            if part.left.front().is_some_and(is_copy) {
                part.take();
                self.repeats = self.repeats.saturating_add(1);
            }
        }
    }

    fn show(&mut self, task: Task) {
        let known = self.shown.get(&task.id).copied();
        match known.and_then(|at| self.page.get_mut(at)) {
            Some(there) => {
                self.repeats = self.repeats.saturating_add(1);
                if changed(&task) > changed(there) {
                    *there = task;
                }
            }
            None => {
                self.shown.insert(task.id.clone(), self.page.len());
                self.page.push(task);
            }
        }
    }
}

impl Part {
    fn at(place: Place) -> Self {
        Self {
            source: place.source,
            left: VecDeque::new(),
            taken: usize::try_from(place.shown).unwrap_or(usize::MAX),
            token: place.token,
            last: place.last,
            next: if place.ended { Next::End } else { Next::Unread },
            total: place.total,
        }
    }

    fn is_hungry(&self) -> bool {
        self.left.is_empty() && self.next != Next::End
    }

    fn has_ended(&self) -> bool {
        self.left.is_empty() && self.next == Next::End
    }

    fn wanted(&self, size: usize) -> Wanted {
        let (token, shown) = match &self.next {
            Next::Follows(next) => (next, 0),
            Next::Unread | Next::End => (&self.token, self.taken),
        };
        Wanted {
            source: self.source,
            token: token.clone(),
            size: shown.saturating_add(size).min(LARGEST_PAGE),
        }
    }

    fn feed(&mut self, answer: ListTasksResponse) -> Result<(), Error> {
        if answer.next_page_token.len() > super::cursor::TOKEN_BYTES {
            return Err(Error::Token);
        }
        if let Next::Follows(token) = &mut self.next {
            self.token = std::mem::take(token);
            (self.taken, self.last) = (0, 0);
        }
        let count = u32::try_from(answer.tasks.len()).unwrap_or(u32::MAX);
        self.total = u32::try_from(answer.total_size).unwrap_or(0).max(count);
        self.left = answer.tasks.into();
        self.next = match answer.next_page_token {
            next if next.is_empty() => Next::End,
            next => Next::Follows(next),
        };
        let behind = self.behind();
        self.left.drain(..behind);
        self.taken = behind;
        Ok(())
    }

    /// How much of the page has been shown. The last task that was tells it best: what stands before it
    /// may have been moved to the front or deleted since. If it was itself, one less is behind.
    fn behind(&self) -> usize {
        if self.taken == 0 {
            return 0;
        }
        let last = self.left.iter().position(|task| hash(task) == self.last);
        match last {
            Some(at) => at + 1,
            None => (self.taken - 1).min(self.left.len()),
        }
    }

    fn take(&mut self) -> Option<Task> {
        let task = self.left.pop_front()?;
        self.taken += 1;
        self.last = hash(&task);
        Some(task)
    }

    fn place(self) -> Place {
        let ended = self.has_ended();
        let (token, shown, last) = match self.next {
            _ if ended => (String::new(), 0, 0),
            Next::Follows(next) if self.left.is_empty() => (next, 0, 0),
            Next::Follows(_) | Next::Unread | Next::End => (self.token, self.taken, self.last),
        };
        Place {
            source: self.source,
            token,
            shown: u32::try_from(shown).unwrap_or(u32::MAX),
            last,
            ended,
            total: self.total,
        }
    }
}

/// The order of a list: the latest first, tasks of one moment by their ids.
fn order(task: &Task) -> (Reverse<(i64, i32)>, &str) {
    (Reverse(changed(task)), &task.id)
}

fn changed(task: &Task) -> (i64, i32) {
    let time = task
        .status
        .as_ref()
        .and_then(|status| status.timestamp.as_ref());
    time.map(|time| (time.seconds, time.nanos))
        .unwrap_or_default()
}

/// 32 bits are enough to tell a task from the hundred beside it.
fn hash(task: &Task) -> u32 {
    u32::try_from(xxh3::xxh3_64(task.id.as_bytes()) >> 32).unwrap_or_default()
}

#[cfg(test)]
mod tests;
