//! What of a source is believed, and when: one judge over every source.
//!
//! The first sight is taken at once. Later ones are gathered for a moment, additions too: a scale-up of
//! a hundred pods is a hundred events, and each change of view costs a table. The moment begins with the
//! first change and is not drawn out by later ones.
//!
//! # Invariants
//! - The last good roster stays for ever: nothing but a better one replaces it.
//! - No agent ever loses its last member to a source that names none.
//! - A loss of more than half of an agent's members at once is believed at second sight only: the source
//!   is asked for another look, and that look must say so too. Until then what disappeared stays, and
//!   what is new is added beside it.
//! - [`Judge`] reads no clock: time comes in.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use mesh_proto::{AgentName, mesh::WorkerId};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{info, warn};

use super::{AgentEntry, Metrics, Roster, Settings, sight::Sights};
use crate::drain::Drain;

/// Which rosters to take over, given what a source sees.
#[derive(Debug)]
pub(super) struct Judge {
    /// How long after a doubtful sight the source is asked for another look.
    second_sight: Duration,
    taken: Option<Arc<Roster>>,
    doubts: BTreeMap<AgentName, Doubt>,
}

/// A loss that is not believed yet.
#[derive(Debug)]
enum Doubt {
    /// Until when the source may take it back by itself.
    Since { due: Duration },
    /// It was asked to look again, when this was its latest look.
    Asked { look: u64 },
    /// It names no member: no second sight helps.
    Empty,
}

/// What follows from a sight.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Verdict {
    /// The roster to take over, if it differs from the one before.
    pub(super) roster: Option<Arc<Roster>>,
    /// Agents whose loss came into doubt with this sight.
    pub(super) held: u64,
    /// Agents that were left without any member with this sight.
    pub(super) empty: u64,
}

impl Judge {
    pub(super) const fn new(second_sight: Duration) -> Self {
        Self {
            second_sight,
            taken: None,
            doubts: BTreeMap::new(),
        }
    }

    /// Weighs what a source sees at `now`, from its look of this number.
    pub(super) fn weigh(&mut self, seen: &Arc<Roster>, look: u64, now: Duration) -> Verdict {
        let mut verdict = Verdict::default();
        let Some(taken) = self.taken.clone() else {
            self.taken = Some(Arc::clone(seen));
            verdict.roster = Some(Arc::clone(seen));
            return verdict;
        };
        let mut agents = Vec::with_capacity(seen.agents.len());
        for after in &seen.agents {
            let before = taken.agents.iter().find(|each| each.name == after.name);
            agents.push(match before {
                None => after.clone(),
                Some(before) => self.settle(before, after, (look, now), &mut verdict),
            });
        }
        let is_named = |name: &AgentName| seen.agents.iter().any(|each| each.name == *name);
        for before in taken.agents.iter().filter(|each| !is_named(&each.name)) {
            // An agent that is named no more has lost all it had; unlike one that is named without a
            // member, it may go.
            if !self.is_believed(&before.name, (look, now), &mut verdict) {
                agents.push(before.clone());
            }
        }
        let roster = Roster { agents };
        if *taken != roster {
            let roster = Arc::new(roster);
            self.taken = Some(Arc::clone(&roster));
            verdict.roster = Some(roster);
        }
        verdict
    }

    /// Whether the time has come to ask for another look; `look` is the number of the latest.
    pub(super) fn is_to_ask(&mut self, look: u64, now: Duration) -> bool {
        let mut is_due = false;
        for doubt in self.doubts.values_mut() {
            if matches!(doubt, Doubt::Since { due } if *due <= now) {
                *doubt = Doubt::Asked { look };
                is_due = true;
            }
        }
        is_due
    }

    /// When to ask next.
    pub(super) fn due(&self) -> Option<Duration> {
        let due = self.doubts.values().filter_map(|doubt| match doubt {
            Doubt::Since { due } => Some(*due),
            Doubt::Asked { .. } | Doubt::Empty => None,
        });
        due.min()
    }

    fn settle(
        &mut self,
        before: &AgentEntry,
        after: &AgentEntry,
        at: (u64, Duration),
        verdict: &mut Verdict,
    ) -> AgentEntry {
        if after.members.is_empty() && !before.members.is_empty() {
            if !matches!(self.doubts.get(&before.name), Some(Doubt::Empty)) {
                verdict.empty += 1;
                self.doubts.insert(before.name.clone(), Doubt::Empty);
            }
            return before.clone();
        }
        let is_there = |id: &WorkerId| after.members.iter().any(|member| member.id == *id);
        let gone = before.members.iter().filter(|each| !is_there(&each.id));
        let is_shrink = gone.clone().count() * 2 > before.members.len();
        if !is_shrink {
            self.doubts.remove(&before.name);
            return after.clone();
        }
        if self.is_believed(&before.name, at, verdict) {
            return after.clone();
        }
        let mut kept = after.clone();
        kept.members.extend(gone.cloned());
        kept
    }

    /// Whether the loss of an agent's members has been seen a second time.
    fn is_believed(
        &mut self,
        agent: &AgentName,
        (look, now): (u64, Duration),
        verdict: &mut Verdict,
    ) -> bool {
        match self.doubts.get(agent) {
            Some(Doubt::Asked { look: asked }) if look > *asked => {
                self.doubts.remove(agent);
                return true;
            }
            Some(Doubt::Asked { .. } | Doubt::Since { .. }) => {}
            Some(Doubt::Empty) | None => {
                verdict.held += 1;
                let due = now + self.second_sight;
                self.doubts.insert(agent.clone(), Doubt::Since { due });
            }
        }
        false
    }
}

/// Judges a source until the drain is signaled; `take` gets each roster that is to be taken over.
pub(super) async fn follow(
    mut sights: Sights,
    settings: Settings,
    metrics: Metrics,
    take: impl Fn(Arc<Roster>) + Send,
    drain: Drain,
) {
    let mut judge = Judge::new(settings.second_sight);
    let started = Instant::now();
    loop {
        let due = judge.due().map(|due| started + due);
        tokio::select! {
            () = drain.signaled() => return,
            changed = sights.latest.changed() => if changed.is_err() {
                // The source has ended, which it does with the drain.
                return drain.signaled().await;
            },
            () = sleep_until(due.unwrap_or(started)), if due.is_some() => {
                let look = sights.latest.borrow().as_ref().map_or(0, |sight| sight.look);
                if judge.is_to_ask(look, started.elapsed()) {
                    sights.ask();
                }
                continue;
            }
        }
        if judge.taken.is_some() {
            tokio::select! {
                () = drain.signaled() => return,
                () = sleep(settings.debounce) => {}
            }
        }
        let Some(sight) = sights.latest.borrow_and_update().clone() else {
            continue;
        };
        let verdict = judge.weigh(&sight.roster, sight.look, started.elapsed());
        metrics.held.inc_by(verdict.held);
        metrics.empty.inc_by(verdict.empty);
        if verdict.held + verdict.empty > 0 {
            warn!(
                "most members of an agent have disappeared at once; they stay until a second look"
            );
        }
        if let Some(roster) = verdict.roster {
            metrics.updates.inc();
            let members: usize = roster.agents.iter().map(|each| each.members.len()).sum();
            let (source, agents) = (&sights.source, roster.agents.len());
            info!(%source, agents, members, "roster taken over");
            take(roster);
        }
    }
}

#[cfg(test)]
mod tests;
