//! One scout per endpoint: reads its card and, from a worker of ours, its report.
//!
//! # Invariants
//! - A card that can't be read stops nothing; it is asked for again, ever more slowly, for ever.
//! - A scout ends with its endpoint: it holds it weakly.
//! - What an ejected origin's scout gets an answer to readmits it.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use mesh_proto::{AgentName, card::Card, mesh::WORKER_PATH};
use tokio::time::Instant;
use tracing::{debug, info};

use super::Catalogue;
use crate::upstream::{self, Endpoint, Page};

/// Where cards are, newest place first.
const CARD_PATHS: [&str; 2] = ["/.well-known/agent-card.json", "/.well-known/agent.json"];
/// How soon an unread card is asked for again; doubles up to [`SLOWEST`].
const FIRST: Duration = Duration::from_millis(100);
const SLOWEST: Duration = Duration::from_secs(15);
/// How often a worker's report is read. A report costs one small GET.
const REPORT_EVERY: Duration = Duration::from_secs(2);
/// How often a card that was read is read again.
const CARD_EVERY: Duration = Duration::from_secs(60);

/// Sends a scout to an endpoint.
pub(super) fn watch(catalogue: &Arc<Catalogue>, agent: &AgentName, endpoint: &Arc<Endpoint>) {
    let scout = Scout {
        catalogue: Arc::downgrade(catalogue),
        endpoint: Arc::downgrade(endpoint),
        agent: agent.clone(),
        pause: FIRST,
        card_due: Instant::now(),
    };
    let drain = catalogue.drain.clone();
    catalogue.drain.spawn("scout", async move {
        tokio::select! {
            () = drain.signaled() => {}
            () = scout.run() => {}
        }
    });
}

struct Scout {
    catalogue: Weak<Catalogue>,
    endpoint: Weak<Endpoint>,
    agent: AgentName,
    pause: Duration,
    card_due: Instant,
}

impl Scout {
    async fn run(mut self) {
        while let (Some(catalogue), Some(endpoint)) =
            (self.catalogue.upgrade(), self.endpoint.upgrade())
        {
            let reported = self.read_report(&catalogue, &endpoint).await;
            if Instant::now() >= self.card_due {
                self.read_card(&catalogue, &endpoint).await;
            }
            if endpoint.look_at() {
                catalogue.refresh();
            }
            let has_card = endpoint.facts().card.is_some();
            drop((catalogue, endpoint));
            let pause = match (has_card, reported) {
                (false, _) => self.slower(),
                (true, true) => REPORT_EVERY,
                // A third party has nothing to report; its card is all there is to wait for.
                (true, false) => SLOWEST,
            };
            tokio::time::sleep(pause).await;
        }
    }

    fn slower(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = pause.saturating_mul(2).min(SLOWEST);
        pause
    }

    /// True for a worker of ours, also while it can't be reached.
    async fn read_report(&self, catalogue: &Catalogue, endpoint: &Endpoint) -> bool {
        let page = endpoint.page(Page::AtRoot(WORKER_PATH)).await;
        if !matches!(page, Err(upstream::Error::Unanswered(_))) {
            endpoint.home().readmit();
        }
        match page.ok().as_deref().and_then(upstream::report) {
            Some(report) => {
                if endpoint.learn_report(&report) {
                    debug!(endpoint = %endpoint.id, boot = %report.boot, "worker reported");
                    catalogue.refresh();
                }
                true
            }
            None => endpoint.facts().boot.is_some(),
        }
    }

    async fn read_card(&mut self, catalogue: &Catalogue, endpoint: &Endpoint) {
        for path in CARD_PATHS {
            let Ok(page) = endpoint.page(Page::Below(path)).await else {
                continue;
            };
            let Ok(card) = Card::parse(&page) else {
                continue;
            };
            self.card_due = Instant::now() + CARD_EVERY;
            self.pause = FIRST;
            if endpoint.learn_card(&card, catalogue.origins()) {
                info!(agent = %self.agent, endpoint = %endpoint.id, "card read");
            }
            return;
        }
        if endpoint.facts().card.is_none() && self.pause == FIRST {
            info!(
                agent = %self.agent, endpoint = %endpoint.id,
                "card can't be read; calls pass as JSON-RPC, the card is asked for again"
            );
        }
    }
}
