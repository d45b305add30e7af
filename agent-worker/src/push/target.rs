//! The webhooks' hosts: how many pushes each has under way, and which are left alone for a while.
//!
//! # Invariants
//! - At most [`KNOWN`] hosts are known; one that has nothing under way and works is forgotten first.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;
use url::Url;

use super::FAILURES;

/// How many hosts are known.
const KNOWN: usize = 10_000;

/// How long a host that failed is left alone at first, and at most.
const ALONE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));

/// See the module.
#[derive(Debug)]
pub(super) struct Targets {
    at_once: usize,
    known: Arc<Mutex<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    all: HashMap<String, Target>,
    busy: usize,
}

#[derive(Debug, Default)]
struct Target {
    busy: usize,
    failures: u32,
    /// When it last took something.
    worked: Option<Instant>,
    /// Set while it is taken for dead.
    alone_until: Option<Instant>,
    /// Whether one looks if it works again.
    is_probed: bool,
    /// How often one looked in vain.
    in_vain: u32,
}

/// A place among the pushes that are under way.
#[derive(Debug)]
pub(super) struct Seat {
    known: Arc<Mutex<Known>>,
    target: String,
}

/// The host of a URL, with its port.
pub(super) fn of(url: &str) -> String {
    let parsed = Url::parse(url).ok();
    let host = parsed.as_ref().and_then(|url| {
        let host = url.host_str()?;
        Some(format!("{host}:{}", url.port_or_known_default()?))
    });
    host.unwrap_or_default()
}

impl Targets {
    pub(super) fn new(at_once: usize) -> Self {
        Self {
            at_once: at_once.max(2),
            known: Arc::default(),
        }
    }

    /// A place for a push to a host; none where the host is left alone, or has half of the places while
    /// others have some.
    pub(super) fn enter(&self, target: &str) -> Option<Seat> {
        let now = Instant::now();
        let mut known = self.known.lock();
        let others = known.busy > known.all.get(target).map_or(0, |target| target.busy);
        known.make_room();
        let one = known.all.entry(target.to_owned()).or_default();
        if one.alone_until.is_some_and(|until| now < until) {
            return None;
        }
        if one.busy >= self.at_once / 2 && others {
            return None;
        }
        one.busy += 1;
        if one.alone_until.is_some() {
            // One looks whether it works again; the others wait for what it finds.
            one.alone_until = Some(now + ALONE.1);
            one.is_probed = true;
        }
        known.busy += 1;
        Some(Seat {
            known: Arc::clone(&self.known),
            target: target.to_owned(),
        })
    }

    pub(super) fn works(&self, target: &str) {
        if let Some(one) = self.known.lock().all.get_mut(target) {
            one.failures = 0;
            one.worked = Some(Instant::now());
            one.alone_until = None;
            one.is_probed = false;
            one.in_vain = 0;
        }
    }

    pub(super) fn fails(&self, target: &str) {
        if let Some(one) = self.known.lock().all.get_mut(target) {
            let now = Instant::now();
            one.failures = one.failures.saturating_add(1);
            let pause = if one.alone_until.is_some() {
                // What was under way when it was found dead says nothing new.
                if !std::mem::take(&mut one.is_probed) {
                    return;
                }
                one.in_vain = one.in_vain.saturating_add(1);
                let doubled = 2_u32.saturating_pow(one.in_vain.min(8));
                ALONE.0.saturating_mul(doubled).min(ALONE.1)
            } else {
                // Of many at a time some fail in a row at a host that takes every other one. To leave that
                // alone would send the rest to later rounds unsent, and after enough of them to the dead.
                let has_worked = |at: Instant| now.saturating_duration_since(at) < ALONE.0;
                if one.failures < FAILURES || one.worked.is_some_and(has_worked) {
                    return;
                }
                ALONE.0
            };
            one.alone_until = Some(now + pause);
        }
    }
}

impl Known {
    fn make_room(&mut self) {
        if self.all.len() < KNOWN {
            return;
        }
        let idle = |target: &Target| target.busy == 0 && target.failures < FAILURES;
        self.all.retain(|_, target| !idle(target));
        if self.all.len() >= KNOWN {
            self.all.retain(|_, target| target.busy > 0);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut known = self.known.lock();
        known.busy = known.busy.saturating_sub(1);
        if let Some(one) = known.all.get_mut(&self.target) {
            one.busy = one.busy.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "hook.test:443";

    fn sat(targets: &Targets) -> Seat {
        targets.enter(HOST).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_takes_some_is_not_left_alone_for_those_that_it_does_not() {
        let targets = Targets::new(128);
        for _ in 0..20 {
            drop(sat(&targets));
            targets.works(HOST);
            tokio::time::advance(ALONE.0 / 4).await;
            for _ in 0..2 * FAILURES {
                drop(sat(&targets));
                targets.fails(HOST);
            }
        }
        tokio::time::advance(ALONE.0).await;
        drop(sat(&targets));
        targets.fails(HOST);
        assert!(targets.enter(HOST).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_under_way_when_a_host_died_makes_it_be_left_alone_no_longer() {
        let targets = Targets::new(128);
        let under_way: Vec<_> = (0..60).map(|_| sat(&targets)).collect();
        under_way.iter().for_each(|_| targets.fails(HOST));
        assert!(targets.enter(HOST).is_none());
        tokio::time::advance(ALONE.0).await;
        drop(sat(&targets));
        // Only one looks, and if in vain the next does so after twice the time.
        assert!(targets.enter(HOST).is_none());
        targets.fails(HOST);
        tokio::time::advance(ALONE.0).await;
        assert!(targets.enter(HOST).is_none());
        tokio::time::advance(ALONE.0).await;
        drop(sat(&targets));
        targets.works(HOST);
        drop((sat(&targets), sat(&targets)));
    }
}
