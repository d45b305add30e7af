//! How the members of an agent stand at this moment, as a choice among them takes it.
//!
//! # Invariants
//! - What is asked of all members is found out at most every [`FRESH`], not per call.
//! - At most [`MOST`] percent of a pool are left out for what this router believes of them, but always
//!   one may be; beyond that the first by index are left out and the others tried. Who is over is out in
//!   any case: that is no belief.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use mesh_core::placement::Standing;
use mesh_proto::mesh::{Load, WorkerState};
use tokio::time::Instant;

use super::Agent;

/// How old what is known of all members may be.
const FRESH: Duration = Duration::from_millis(20);
/// How many percent of a pool may be ejected (Envoy: 10, here less sure of the rest).
const MOST: usize = 30;

/// What holds for all members together; found out anew now and then.
#[derive(Debug)]
pub(super) struct Overview {
    born: Instant,
    /// When it was found out, in microseconds after `born`, plus one; 0 for never.
    at: AtomicU64,
    /// The mean of the reported tasks, as bits, and below it from which index on ejections count no more.
    found: AtomicU64,
}

impl Overview {
    pub(super) fn new() -> Self {
        Self {
            born: Instant::now(),
            at: AtomicU64::new(0),
            found: AtomicU64::new(0),
        }
    }
}

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outlook<'a> {
    agent: &'a Agent,
    now: Instant,
    slow_start: Duration,
    mean: f32,
    /// Ejections of members from here on are passed over.
    until: u16,
}

impl<'a> Outlook<'a> {
    pub(super) fn of(agent: &'a Agent, now: Instant, slow_start: Duration) -> Self {
        let (mean, until) = look(agent, now);
        Self {
            agent,
            now,
            slow_start,
            mean,
            until,
        }
    }

    /// What the router thinks of a member.
    pub(super) fn standing(&self, member: u16) -> Standing {
        let Some(endpoint) = self.agent.endpoints.get(usize::from(member)) else {
            return Standing::Ejected;
        };
        let is_over = endpoint.home().health().is_over();
        if is_over || (member < self.until && endpoint.is_ejected(self.now)) {
            Standing::Ejected
        } else if self.agent.pool.state(member) == WorkerState::Draining {
            Standing::Draining
        } else {
            Standing::Usable
        }
    }

    /// What a member reported; unset where it never did.
    pub(super) fn load(&self, member: u16) -> Option<Load> {
        self.agent.endpoints.get(usize::from(member))?.load()
    }

    /// Whether a member has as much as it takes.
    pub(super) fn is_full(&self, member: u16) -> bool {
        let endpoint = self.agent.endpoints.get(usize::from(member));
        endpoint.is_some_and(|each| each.home().health().is_full(self.now))
    }

    /// The keys that a member takes already after it came: those whose hash is below.
    pub(super) fn ramp(&self, member: u16) -> u16 {
        let endpoint = self.agent.endpoints.get(usize::from(member));
        endpoint.map_or(u16::MAX, |each| each.ramp(self.now, self.slow_start))
    }

    /// What a read costs at a member.
    pub(super) fn cost(&self, member: u16) -> f64 {
        let endpoint = self.agent.endpoints.get(usize::from(member));
        endpoint.map_or(f64::MAX, |each| each.home().health().cost())
    }

    /// Any member.
    pub(super) fn draw(&self) -> u16 {
        fastrand::u16(..self.agent.pool.count().max(1))
    }

    /// Whether a member is in this router's zone, or nobody knows where that is.
    pub(super) fn is_near(&self, member: u16) -> bool {
        let members = self.agent.pool.members();
        let zone = members
            .get(usize::from(member))
            .and_then(|each| each.zone.as_deref());
        self.agent.zone.is_none() || zone == self.agent.zone.as_deref()
    }

    /// The mean of what members reported.
    pub(super) const fn mean(&self) -> f32 {
        self.mean
    }
}

fn look(agent: &Agent, now: Instant) -> (f32, u16) {
    let overview = &agent.overview;
    let since = now.saturating_duration_since(overview.born);
    let since = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
    let at = overview.at.load(Ordering::Relaxed);
    let fresh = u64::try_from(FRESH.as_micros()).unwrap_or(u64::MAX);
    if at != 0 && since < at.saturating_add(fresh) {
        let found = overview.found.load(Ordering::Relaxed);
        let mean = f32::from_bits(u32::try_from(found >> 32).unwrap_or_default());
        return (mean, u16::try_from(found & 0xffff).unwrap_or(u16::MAX));
    }
    overview
        .at
        .store(since.saturating_add(1), Ordering::Relaxed);
    let (mean, until) = found(agent, now);
    let word = u64::from(mean.to_bits()) << 32 | u64::from(until);
    overview.found.store(word, Ordering::Relaxed);
    (mean, until)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of tasks, and a mean of them"
)]
fn found(agent: &Agent, now: Instant) -> (f32, u16) {
    let (mut sum, mut reporting) = (0_u64, 0_u64);
    let (mut left, mut until) = (most(agent.endpoints.len()), u16::MAX);
    for (member, endpoint) in (0_u16..).zip(&agent.endpoints) {
        if endpoint.home().health().is_over() {
            continue;
        }
        if let Some(load) = endpoint.load() {
            sum += u64::from(load.in_flight);
            reporting += 1;
        }
        if until == u16::MAX && endpoint.is_ejected(now) {
            match left.checked_sub(1) {
                Some(rest) => left = rest,
                None => until = member,
            }
        }
    }
    (sum as f32 / reporting.max(1) as f32, until)
}

/// How many members of so many may be ejected.
const fn most(members: usize) -> usize {
    let share = members * MOST / 100;
    if share == 0 { 1 } else { share }
}
