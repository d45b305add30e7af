//! Who else is there, as the routers tell it: whose slots are whose, and which workers are gone.
//!
//! Routers post a [`ViewNotice`] at [`VIEW_PATH`](mesh_proto::mesh::VIEW_PATH); what it says is put
//! together here, and whoever needs it reads or awaits [`Seen`].
//!
//! # Invariants
//! - The tables are the router's own, from the same members by the same code, so that a worker and the
//!   routers agree on whose a slot is without a word between them.
//! - A boot that one router held to be gone stays gone: another router that has not noticed yet does
//!   not bring it back. Of the members, the latest notice counts.
//! - That somebody is gone is seen at once; tables are computed after that, one at a time, off the
//!   threads that answer calls. A notice that a later one has overtaken costs no table.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::Arc,
};

use mesh_core::{
    slots::Member,
    token,
    view::{self, Listed, Pool, Tables, View},
};
use mesh_proto::{
    AgentName,
    mesh::{Incarnation, MemberNotice, PoolNotice, Slot, ViewNotice, WorkerId, WorkerState},
};
use mesh_runtime::aside;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use tracing::{info, warn};

/// How many gone boots are remembered; the oldest are forgotten first. By then their leases have
/// long run out.
const GONE_KEPT: usize = 1024;

/// Takes notices in and shows what they come to. Clones are the same.
#[derive(Clone, Debug)]
pub struct Views(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    seen: watch::Sender<Arc<Seen>>,
    /// The latest notice has the highest.
    tickets: Mutex<u64>,
    tables: Mutex<Tables>,
    /// One build at a time.
    bench: Arc<Semaphore>,
}

impl Default for Views {
    fn default() -> Self {
        Self(Arc::new(Inner {
            seen: watch::Sender::default(),
            tickets: Mutex::default(),
            tables: Mutex::default(),
            bench: Arc::new(Semaphore::new(1)),
        }))
    }
}

impl Views {
    /// Takes a notice in. What is gone is seen when the future is first polled; it is ready when the
    /// tables are seen, too. Dropping it leaves the tables as they were, or lets them be built.
    ///
    /// # Errors
    /// [`view::Error`], where the notice contradicts itself; its members are then not taken.
    pub async fn publish(&self, notice: ViewNotice) -> Result<(), view::Error> {
        let ticket = {
            let mut tickets = self.0.tickets.lock();
            *tickets += 1;
            *tickets
        };
        self.mourn(&notice.gone);
        let Ok(place) = Arc::clone(&self.0.bench).acquire_owned().await else {
            return Ok(());
        };
        if self.is_overtaken(ticket) || self.0.seen.borrow().rosters.are_of(&notice) {
            return Ok(());
        }
        let views = self.clone();
        let built = aside::run(move || {
            let _place = place;
            views.build(notice)
        });
        built.await.unwrap_or_else(|error| {
            warn!(%error, "a view could not be built");
            Ok(())
        })
    }

    /// What is seen now, and each change of it.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<Seen>> {
        self.0.seen.subscribe()
    }

    /// What is seen now.
    #[must_use]
    pub fn now(&self) -> Arc<Seen> {
        Arc::clone(&self.0.seen.borrow())
    }

    fn mourn(&self, boots: &[String]) {
        self.0.seen.send_if_modified(|seen| {
            let Some(gone) = seen.gone.with(boots) else {
                return false;
            };
            *seen = Arc::new(Seen {
                rosters: Arc::clone(&seen.rosters),
                gone: Arc::new(gone),
            });
            true
        });
    }

    fn is_overtaken(&self, ticket: u64) -> bool {
        *self.0.tickets.lock() != ticket
    }

    fn build(&self, notice: ViewNotice) -> Result<(), view::Error> {
        let rosters = Arc::new(Rosters::build(notice, &mut self.0.tables.lock())?);
        info!(view = rosters.notice.view, "view");
        self.0.seen.send_modify(|seen| {
            *seen = Arc::new(Seen {
                rosters,
                gone: Arc::clone(&seen.gone),
            });
        });
        Ok(())
    }
}

/// What the routers have told, all in all. Empty before the first notice.
#[derive(Debug, Default)]
pub struct Seen {
    rosters: Arc<Rosters>,
    gone: Arc<Gone>,
}

impl Seen {
    /// The hash of the latest view, as the router gave it; empty before the first notice.
    #[must_use]
    pub fn view(&self) -> &str {
        &self.rosters.notice.view
    }

    /// Whose a slot is: the first of its preferences that takes new work and is not gone; where there
    /// is none, the next by score. `None` where the agent's members are not known or all are out.
    #[must_use]
    pub fn owner(&self, agent: &str, slot: Slot) -> Option<&MemberNotice> {
        let roster = self.rosters.of(agent)?;
        roster.member(roster.owner(slot, &self.gone)?)
    }

    /// The same without the worker of this boot: who has the slot once that one is gone.
    #[must_use]
    pub fn owner_but(&self, agent: &str, slot: Slot, boot: &str) -> Option<&MemberNotice> {
        let gone = self.gone.with(&[boot.to_owned()]);
        let roster = self.rosters.of(agent)?;
        roster.member(roster.owner(slot, gone.as_ref().unwrap_or(&self.gone))?)
    }

    /// Whether a slot is this worker's own.
    #[must_use]
    pub fn is_mine(&self, agent: &str, slot: Slot) -> bool {
        let owner = |roster: &Roster| {
            roster
                .you
                .is_some_and(|you| roster.owner(slot, &self.gone) == Some(you))
        };
        self.rosters.of(agent).is_some_and(owner)
    }

    /// Whether a router held a life of a worker to be over.
    #[must_use]
    pub fn is_gone(&self, boot: &str) -> bool {
        self.gone.boots.contains(boot)
    }

    /// The boots that are gone, the longest known first.
    pub fn gone(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.gone.order.iter().map(|boot| &**boot)
    }

    /// Whether a life of a worker is listed now.
    #[must_use]
    pub fn knows(&self, boot: &str) -> bool {
        self.rosters.boots.contains_key(boot)
    }

    /// Whether an agent's members are known, each with its life, and this life is none of them: no router
    /// of that view could send it anything.
    #[must_use]
    pub fn has_left(&self, agent: &str, boot: &str) -> bool {
        self.rosters.of(agent).is_some_and(|roster| {
            let mut boots = roster.members.iter().map(|member| &*member.boot);
            !roster.members.is_empty() && boots.all(|known| !known.is_empty() && known != boot)
        })
    }

    /// Where a worker is, by its present life.
    #[must_use]
    pub fn url_of(&self, boot: &str) -> Option<&str> {
        self.rosters.boots.get(boot).map(|url| &**url)
    }
}

/// The members of the latest notice, with their tables.
#[derive(Debug, Default)]
struct Rosters {
    notice: ViewNotice,
    /// In the order of the notice's agents.
    agents: BTreeMap<String, Roster>,
    /// Boot to URL.
    boots: BTreeMap<String, String>,
}

impl Rosters {
    fn build(mut notice: ViewNotice, tables: &mut Tables) -> Result<Self, view::Error> {
        notice.gone.clear();
        let named = |agent: &str| AgentName::parse(agent).ok();
        let listing = notice.agents.iter().filter_map(|told| {
            Some((
                named(&told.agent)?,
                told.members.iter().map(listed).collect(),
            ))
        });
        let view = View::build(listing, tables)?;
        let mut rosters = Self {
            notice,
            ..Self::default()
        };
        for told in &rosters.notice.agents {
            let Some(pool) = view.pool(&told.agent) else {
                warn!(
                    agent = told.agent,
                    "a router names an agent that can have no such name"
                );
                continue;
            };
            for member in told.members.iter().filter(|member| !member.boot.is_empty()) {
                rosters
                    .boots
                    .insert(member.boot.clone(), member.url.clone());
            }
            let roster = Roster::new(told, Arc::clone(pool));
            rosters.agents.insert(told.agent.clone(), roster);
        }
        Ok(rosters)
    }

    /// Whether these are the members that a notice tells.
    fn are_of(&self, notice: &ViewNotice) -> bool {
        self.notice.view == notice.view && self.notice.agents == notice.agents
    }

    fn of(&self, agent: &str) -> Option<&Roster> {
        self.agents.get(agent)
    }
}

/// One agent's members.
#[derive(Debug)]
struct Roster {
    pool: Arc<Pool>,
    /// In the order of the pool's indices.
    members: Vec<MemberNotice>,
    you: Option<u16>,
}

impl Roster {
    fn new(told: &PoolNotice, pool: Arc<Pool>) -> Self {
        let mut members = told.members.clone();
        members.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        members.dedup_by(|later, first| later.id == first.id);
        Self {
            you: pool.position(&WorkerId::new(&told.you)),
            pool,
            members,
        }
    }

    fn member(&self, member: u16) -> Option<&MemberNotice> {
        self.members.get(usize::from(member))
    }

    /// A member without a boot is a third party or has not been heard yet: it adopts nothing.
    fn takes(&self, member: u16, gone: &Gone) -> bool {
        self.member(member).is_some_and(|member| {
            member.state == WorkerState::Active
                && !member.boot.is_empty()
                && !gone.boots.contains(member.boot.as_str())
        })
    }

    fn owner(&self, slot: Slot, gone: &Gone) -> Option<u16> {
        let takes = |member: u16| self.takes(member, gone);
        let preferred = self
            .pool
            .preference(slot)
            .iter()
            .copied()
            .find(|m| takes(*m));
        preferred.or_else(|| self.pool.table()?.best(slot, takes))
    }
}

/// The boots that are over.
#[derive(Debug, Default)]
struct Gone {
    boots: HashSet<Arc<str>>,
    order: VecDeque<Arc<str>>,
}

impl Gone {
    /// With these, too; `None` where all were known.
    fn with(&self, boots: &[String]) -> Option<Self> {
        let mut new = boots
            .iter()
            .filter(|boot| !self.boots.contains(boot.as_str()))
            .peekable();
        new.peek()?;
        let mut gone = Self {
            boots: self.boots.clone(),
            order: self.order.clone(),
        };
        for boot in new {
            let boot: Arc<str> = Arc::from(boot.as_str());
            if gone.boots.insert(Arc::clone(&boot)) {
                gone.order.push_back(boot);
            }
            if gone.order.len() > GONE_KEPT
                && let Some(oldest) = gone.order.pop_front()
            {
                gone.boots.remove(&oldest);
            }
        }
        Some(gone)
    }
}

fn listed(told: &MemberNotice) -> Listed {
    let id = WorkerId::new(&told.id);
    Listed {
        incarnation: if told.boot.is_empty() {
            Incarnation::default()
        } else {
            token::incarnation(&id, &told.boot)
        },
        member: Member {
            id,
            weight: told.weight,
            zone: told.zone.as_deref().map(Arc::from),
        },
        state: told.state,
    }
}

#[cfg(test)]
mod tests;
