//! Who is asked in one task: the members of the file and those that owners have named, those of them that
//! have a skill, so many of these by lot.
//!
//! # Invariants
//! - Who is asked is settled before anybody is: it is laid out in the store first, in chunks of [`CHUNK`].
//! - The lot depends on the task and the member alone, so whoever draws it again draws the same.
//! - A member whose card can't be read is asked: it is told apart by failing, not by being left out.

use std::{
    collections::{BTreeSet, BinaryHeap, HashMap},
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use mesh_client::{Options, discovery::fetch_card};
use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::debug;

use super::{Config, Error, Inner, MEMBERS};
use crate::record::{CHUNK, Chunk, Records, Seat, TaskKey, digest};

/// How many members are read from the store at once.
const PAGE: usize = 4096;

/// How many chunks are laid out in one go.
const GO: usize = 16;

/// How many cards are read at once, how many answers are remembered, and for how long.
const CARDS: usize = 16;
const OFFERS: usize = 4096;
const FRESH: Duration = Duration::from_secs(60);

/// Which agents have which skills, as their cards said lately.
#[derive(Debug, Default)]
pub(super) struct Offers(Mutex<HashMap<(String, String), (Instant, bool)>>);

/// What is laid out so far.
struct Laid<'a> {
    records: &'a Records,
    key: &'a TaskKey,
    open: Vec<Seat>,
    chunks: u32,
    members: u32,
}

/// Members as they were drawn: those with the lowest lots.
struct Lot<'a> {
    task: &'a str,
    size: usize,
    drawn: BinaryHeap<(String, String, String)>,
}

impl Inner {
    /// Lays out who is asked in a task; how many these are.
    pub(super) async fn lay_out(&self, key: &TaskKey, config: &Config) -> Result<u32, Error> {
        let mut laid = Laid::new(&self.records, key);
        let mut lot = config.sample.map(|size| Lot::new(&key.id, size.get()));
        let fixed: Vec<_> = config.members.iter().map(super::Member::seat).collect();
        let names: BTreeSet<_> = fixed.iter().map(Seat::name).collect();
        let mut seats = fixed;
        let mut after = Some(String::new()).filter(|_| !config.owners.is_empty());
        loop {
            let some = self.with_skill(seats, config.skill.as_deref()).await;
            match &mut lot {
                Some(lot) => some.into_iter().for_each(|seat| lot.draw(seat)),
                None => laid.take(some).await?,
            }
            let Some(last) = after else { break };
            let page = self.records.members(&key.scope.agent, &last, PAGE).await?;
            after = page.last().filter(|_| page.len() == PAGE).map(Seat::name);
            seats = page;
            seats.retain(|seat| !names.contains(&seat.name()));
        }
        if let Some(lot) = lot {
            laid.take(lot.drawn()).await?;
        }
        let members = laid.end().await?;
        if members == 0 {
            let skill = config.skill.as_ref();
            let which = skill.map(|skill| format!(" that have the skill {skill:?}"));
            return Err(Error::Nobody(which.unwrap_or_default()));
        }
        Ok(members)
    }

    /// Those whose cards have a skill.
    async fn with_skill(&self, mut seats: Vec<Seat>, skill: Option<&str>) -> Vec<Seat> {
        let Some(skill) = skill else { return seats };
        let agents: BTreeSet<_> = seats.iter().map(|seat| seat.agent.clone()).collect();
        let looks = stream::iter(agents).map(|agent| async move {
            let offers = self.offers(&agent, skill).await;
            (agent, offers)
        });
        let offers: HashMap<_, _> = looks.buffer_unordered(CARDS).collect().await;
        seats.retain(|seat| offers.get(&seat.agent).copied().unwrap_or(true));
        seats
    }

    async fn offers(&self, agent: &str, skill: &str) -> bool {
        let about = (agent.to_owned(), skill.to_owned());
        let known = self.offers.0.lock().get(&about).copied();
        if let Some((at, offers)) = known.filter(|(at, _)| at.elapsed() < FRESH) {
            debug!(
                agent,
                skill,
                offers,
                seconds = at.elapsed().as_secs(),
                "known"
            );
            return offers;
        }
        let router = self.settings.router.as_deref().unwrap_or_default();
        let url = format!("{}/{agent}", router.trim_end_matches('/'));
        match fetch_card(&url, &Options::default()).await {
            Ok(card) => {
                let offers = card.has_skill(skill);
                let mut all = self.offers.0.lock();
                if all.len() >= OFFERS {
                    all.clear();
                }
                all.insert(about, (Instant::now(), offers));
                offers
            }
            Err(error) => {
                debug!(agent, %error, "a member's card can't be read");
                true
            }
        }
    }
}

impl<'a> Laid<'a> {
    const fn new(records: &'a Records, key: &'a TaskKey) -> Self {
        Self {
            records,
            key,
            open: Vec::new(),
            chunks: 0,
            members: 0,
        }
    }

    async fn take(&mut self, seats: Vec<Seat>) -> Result<(), Error> {
        self.open.extend(seats);
        let whole = self.open.len() / (CHUNK * GO) * (CHUNK * GO);
        let rest = self.open.split_off(whole);
        let seats = std::mem::replace(&mut self.open, rest);
        self.put(seats).await
    }

    async fn end(mut self) -> Result<u32, Error> {
        let seats = std::mem::take(&mut self.open);
        self.put(seats).await?;
        Ok(self.members)
    }

    async fn put(&mut self, mut seats: Vec<Seat>) -> Result<(), Error> {
        // The store bounds what a group is given, the file what it has; both together are bounded here.
        seats.truncate(MEMBERS.saturating_sub(self.members as usize));
        let chunk = |seats: &[Seat]| Chunk {
            seats: seats.to_vec(),
        };
        let chunks: Vec<_> = seats.chunks(CHUNK).map(chunk).collect();
        self.records.lay_out(self.key, self.chunks, &chunks).await?;
        self.chunks += u32::try_from(chunks.len()).unwrap_or(u32::MAX);
        self.members += u32::try_from(seats.len()).unwrap_or(u32::MAX);
        Ok(())
    }
}

impl<'a> Lot<'a> {
    fn new(task: &'a str, size: u32) -> Self {
        Self {
            task,
            size: usize::try_from(size).unwrap_or(usize::MAX),
            drawn: BinaryHeap::new(),
        }
    }

    fn draw(&mut self, seat: Seat) {
        let lot = digest(format!("{}/{}", self.task, seat.name()).as_bytes());
        self.drawn.push((lot, seat.agent, seat.context));
        if self.drawn.len() > self.size {
            self.drawn.pop();
        }
    }

    fn drawn(self) -> Vec<Seat> {
        let seat = |(_, agent, context)| Seat {
            agent,
            context,
            ..Seat::default()
        };
        self.drawn.into_iter().map(seat).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(task: &str, size: u32, members: impl IntoIterator<Item = u32>) -> BTreeSet<String> {
        let mut lot = Lot::new(task, size);
        for number in members {
            lot.draw(Seat {
                agent: format!("m{number}"),
                ..Seat::default()
            });
        }
        lot.drawn().iter().map(Seat::name).collect()
    }

    #[test]
    fn a_lot_is_the_same_in_any_order_and_another_for_another_task() {
        let forth = drawn("t", 10, 0..1000);
        assert_eq!(forth.len(), 10);
        assert_eq!(forth, drawn("t", 10, (0..1000).rev()));
        assert_ne!(forth, drawn("u", 10, 0..1000));
        assert_eq!(drawn("t", 10, 0..7).len(), 7, "no more than there are");
    }

    #[test]
    fn every_member_is_drawn_about_as_often() {
        let mut counts = HashMap::<String, u32>::new();
        for task in 0..2000 {
            for name in drawn(&format!("t{task}"), 5, 0..20) {
                *counts.entry(name).or_default() += 1;
            }
        }
        // 500 each on average, of a binomial with a standard deviation of 19.
        assert!(
            counts.values().all(|count| (400..600).contains(count)),
            "{counts:?}"
        );
    }
}
