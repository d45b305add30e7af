//! One agent at one moment: its members, its card, and where a call of its goes.
//!
//! # Invariants
//! - Immutable, like the snapshot that it is of; what changes by the second is in its endpoints.

use std::{sync::Arc, time::Duration};

use mesh_core::{
    error::CallError,
    placement::{self, Facts, Placement, Reason, Standing},
    token::Keys,
    view::Pool,
};
use mesh_proto::{AgentName, Binding, Dialect, card::Card};
use tokio::time::Instant;

use super::{
    outlook::{Outlook, Overview},
    pick, placed,
    purse::Purse,
};
use crate::{
    meter::AgentMeter,
    promise::Promise,
    upstream::{Endpoint, Line, Origins, Written},
};

/// One agent at one moment.
#[derive(Debug)]
pub struct Agent {
    /// Its name in paths.
    pub name: AgentName,
    /// Its replicas, in the order of the pool's members.
    pub endpoints: Vec<Arc<Endpoint>>,
    /// Its counters.
    pub meter: Arc<AgentMeter>,
    pub(super) purse: Arc<Purse>,
    pub(super) overview: Overview,
    pub(super) slow_start: Duration,
    pub(super) zone: Option<Arc<str>>,
    pub(super) placed: placed::Metrics,
    pub(super) pool: Arc<Pool>,
}

impl Agent {
    /// Its card: that of the first member from whom one could be read.
    #[must_use]
    pub fn card(&self) -> Option<Arc<Card>> {
        self.endpoints
            .iter()
            .find_map(|endpoint| endpoint.facts().card.clone())
    }

    /// The same card as the agent wrote it.
    #[must_use]
    pub fn written(&self) -> Option<Arc<Written>> {
        self.endpoints
            .iter()
            .find_map(|endpoint| endpoint.facts().written.clone())
    }

    /// What its card promises; nothing where none could be read.
    #[must_use]
    pub fn promise(&self) -> Option<Arc<Promise>> {
        self.endpoints.iter().find_map(|endpoint| {
            let facts = endpoint.facts();
            facts.card.is_some().then(|| Arc::clone(&facts.promise))
        })
    }

    /// The tenant that its card asks for in a binding; where there is no card to read, its URL.
    #[must_use]
    pub fn tenant(&self, binding: Binding) -> Option<String> {
        let Some(card) = self.card() else {
            let of = |endpoint: &Arc<Endpoint>| {
                let facts = endpoint.facts();
                let line = facts.lines.iter().find(|line| line.binding == binding)?;
                line.tenant.as_deref().map(str::to_owned)
            };
            return self.endpoints.iter().find_map(of);
        };
        let shown = card
            .interfaces()
            .into_iter()
            .find(|each| each.binding == Some(binding))?;
        shown.tenant.filter(|tenant| !tenant.is_empty())
    }

    /// What its calls may spend on trying again.
    #[must_use]
    pub fn purse(&self) -> &Purse {
        &self.purse
    }

    /// The replica that is in this life.
    #[must_use]
    pub fn living(&self, boot: &str) -> Option<&Arc<Endpoint>> {
        let mut all = self.endpoints.iter();
        all.find(|endpoint| endpoint.facts().boot.as_deref() == Some(boot))
    }

    /// Members that can be tried now.
    #[must_use]
    pub fn reachable(&self) -> usize {
        let now = Instant::now();
        self.endpoints
            .iter()
            .filter(|endpoint| !endpoint.is_ejected(now))
            .count()
    }

    /// Where an endpoint takes a call of this dialect, in its own or in another: by its own card, else by
    /// that of a replica, else, where no card could be read at all, JSON-RPC at the configured URL.
    #[must_use]
    pub fn line(&self, endpoint: &Endpoint, dialect: Dialect, origins: &Origins) -> Option<Line> {
        let mut facts = endpoint.facts();
        if facts.card.is_none()
            && let Some(card) = self.card()
        {
            endpoint.lend_card(&card, origins);
            facts = endpoint.facts();
        }
        Line::choose(&facts.lines, dialect).cloned()
    }

    /// Places a call. Where everybody seems gone, nobody is taken for gone: what this router
    /// believes of its members must not be what fails a call that one of them would take.
    ///
    /// # Errors
    /// [`CallError`]: nobody can be had, or everybody is full.
    pub fn place(
        &self,
        keys: &Keys,
        facts: &Facts<'_>,
        now: Instant,
    ) -> Result<(Placement, Vec<u16>), CallError> {
        let outlook = Outlook::of(self, now, self.slow_start);
        let placed = placement::place(&self.pool, keys, facts, |member| outlook.standing(member));
        let placed = match placed {
            Err(CallError::AllEjected { .. }) => {
                placement::place(&self.pool, keys, facts, |_| Standing::Usable)
            }
            placed => placed,
        }?;
        let (order, spilled) = if pick::may_move(&placed, facts.operation.sends()) {
            let picked = pick::pick(&placed, &outlook, &self.name)?;
            (picked.order, picked.spilled)
        } else if placed.reason == Reason::Any {
            (pick::cheaper(&placed, &outlook), false)
        } else {
            (placed.candidates.to_vec(), false)
        };
        self.placed.count(placed.reason, spilled);
        Ok((placed, order))
    }

    /// Whether the view has what the scouts have learned.
    pub(super) fn is_known(&self) -> bool {
        let mut members = (0..self.pool.count()).zip(&self.endpoints);
        members.all(|(member, endpoint)| {
            endpoint.is_looked_at() && endpoint.life() == self.pool.incarnation(member)
        })
    }
}
