//! Why a call would go where: what `daca route explain` prints.
//!
//! # Invariants
//! - It asks the very function that places calls; it has no opinion of its own.

use mesh_core::error::CallError;
use mesh_proto::{AgentName, Operation};
use serde::Serialize;
use tokio::time::Instant;

use super::{Catalogue, outlook::Outlook};
use crate::call::Keys;

/// Where a call would go, and why.
#[derive(Debug, Serialize)]
pub struct Explained {
    /// The agent asked about.
    pub agent: AgentName,
    /// The operation supposed.
    pub operation: &'static str,
    /// The slot of its ids.
    pub slot: Option<u16>,
    /// The rule that decided, as one word.
    pub rule: &'static str,
    /// The same as a sentence.
    pub reason: String,
    /// Whom it would be tried on, in order.
    pub candidates: Vec<Explanation>,
    /// The view by which it was decided, to compare routers.
    pub view: String,
}

/// One candidate.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// The member's stable name.
    pub id: String,
    /// `usable`, `draining` or `ejected`.
    pub standing: &'static str,
    /// Its incarnation in hex, for a worker of ours.
    pub incarnation: Option<String>,
    /// Whether it would be asked to adopt a task whose worker is gone.
    pub orphan: bool,
}

impl Catalogue {
    /// Explains a call with these ids.
    ///
    /// # Errors
    /// The [`CallError`] that the call itself would meet.
    pub fn explain(
        &self,
        agent: &AgentName,
        operation: Operation,
        keys: &Keys,
    ) -> Result<Explained, CallError> {
        let snapshot = self.snapshot();
        let known = snapshot.agent(agent.as_str());
        let known = known.ok_or_else(|| CallError::no_such_agent(agent.as_str()))?;
        let now = Instant::now();
        let facts = keys.facts(agent, operation);
        let (placement, order) = known.place(&self.keys, &facts, now)?;
        let outlook = Outlook::of(known, now, self.slow_start);
        let candidates = order.iter().enumerate().filter_map(|(position, member)| {
            let endpoint = known.endpoints.get(usize::from(*member))?;
            let incarnation = endpoint.incarnation();
            Some(Explanation {
                id: endpoint.id.to_string(),
                standing: outlook.standing(*member).label(),
                incarnation: (incarnation.0 != 0).then(|| format!("{:08x}", incarnation.0)),
                orphan: placement.is_orphan_at(position),
            })
        });
        Ok(Explained {
            agent: agent.clone(),
            operation: operation.name(),
            slot: placement.slot.map(|slot| slot.0),
            rule: placement.reason.label(),
            reason: placement.reason.to_string(),
            candidates: candidates.collect(),
            view: snapshot.view().to_string(),
        })
    }
}
