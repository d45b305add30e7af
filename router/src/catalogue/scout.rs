//! One scout per endpoint: reads its card and, from a worker of ours, its report.
//!
//! A card is asked for again when the time is over for which its agent gave it (RFC 9111, within
//! bounds of ours), with the agent's own tag and date, so that an unchanged one costs a short answer.
//!
//! Who says that it may have changed ([`Endpoint::want_card`]) has it asked for at once.
//!
//! # Invariants
//! - A card that can't be read stops nothing; it is asked for again, ever more slowly, for ever. The
//!   last good one stays meanwhile.
//! - A scout ends with its endpoint: it holds it weakly.
//! - What an ejected origin's scout gets an answer to readmits it.
//! - A card that is wrong, or not to be believed, is told of once, not each time it is read.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use mesh_card::{
    Bounds, Cache, Freshness, Storage, Validators, entity,
    lint::{self, Severity},
};
use mesh_proto::{AgentName, card::Card, mesh::WORKER_PATH};
use mesh_runtime::clock;
use tokio::{sync::Notify, time::Instant};
use tracing::{debug, info, warn};

use super::{Catalogue, cards::Reading, vigil};
use crate::upstream::{self, Endpoint, Page, Written};

/// Where cards are, newest place first.
const CARD_PATHS: [&str; 2] = ["/.well-known/agent-card.json", "/.well-known/agent.json"];
/// How soon an unread card is asked for again; doubles up to [`SLOWEST`].
const FIRST: Duration = Duration::from_millis(100);
const SLOWEST: Duration = Duration::from_secs(15);
/// A card is asked for again at the latest after five minutes, and one whose agent says nothing after
/// one: a new address must be seen. For how long it may be stale does not matter: the last good card
/// stays until there is another.
const BOUNDS: Bounds = Bounds {
    least: Duration::from_secs(5),
    most: Duration::from_mins(5),
    unsaid: Duration::from_mins(1),
    stale_unsaid: Duration::ZERO,
    stale_most: Duration::ZERO,
};
/// The shortest time between two questions for a card that is said to have changed.
const GAP: Duration = Duration::from_secs(1);
/// Findings of one card that are told one by one.
const TOLD: usize = 5;

/// Sends a scout to an endpoint.
pub(super) fn send(catalogue: &Arc<Catalogue>, agent: &AgentName, endpoint: &Arc<Endpoint>) {
    let scout = Scout {
        catalogue: Arc::downgrade(catalogue),
        endpoint: Arc::downgrade(endpoint),
        agent: agent.clone(),
        pause: FIRST,
        held: None,
        refused: None,
        due: Instant::now(),
        asked: None,
        wanted: Arc::clone(endpoint.card_wanted()),
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
    /// Where the card was read last, and what it is asked for again with.
    held: Option<(&'static str, Validators)>,
    /// The tag of the card that was refused last.
    refused: Option<Option<HeaderValue>>,
    /// When the card is to be asked for, and when it was last.
    due: Instant,
    asked: Option<Instant>,
    /// Rung when it may have changed.
    wanted: Arc<Notify>,
}

impl Scout {
    async fn run(mut self) {
        while let (Some(catalogue), Some(endpoint)) =
            (self.catalogue.upgrade(), self.endpoint.upgrade())
        {
            let reported = self.read_report(&catalogue, &endpoint).await;
            if Instant::now() >= self.due && endpoint.has_pages() {
                self.read_card(&catalogue, &endpoint).await;
            }
            if endpoint.look_at() {
                catalogue.refresh();
            }
            if !endpoint.has_pages() {
                return;
            }
            let has_card = endpoint.facts().card.is_some();
            drop((catalogue, endpoint));
            let pause = match (has_card, reported) {
                (false, _) => self.slower(),
                (true, true) => vigil::ASK_EVERY,
                // A third party has nothing to report; its card is all there is to wait for.
                (true, false) => self
                    .due
                    .saturating_duration_since(Instant::now())
                    .clamp(vigil::ASK_EVERY, SLOWEST),
            };
            self.rest(pause).await;
        }
    }

    /// Waits for so long, or until somebody says that the card may have changed.
    async fn rest(&mut self, pause: Duration) {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.wanted.notified() => {
                if let Some(asked) = self.asked {
                    tokio::time::sleep_until(asked + GAP).await;
                }
                self.due = Instant::now();
            }
        }
    }

    fn slower(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = pause.saturating_mul(2).min(SLOWEST);
        pause
    }

    /// True for a worker of ours, also while it can't be reached. One that is watched is heard there.
    async fn read_report(&self, catalogue: &Arc<Catalogue>, endpoint: &Endpoint) -> bool {
        let home = endpoint.home();
        if endpoint.is_invoked() {
            return false;
        }
        if home.health().is_watched() && endpoint.facts().boot.is_some() {
            return true;
        }
        let page = endpoint.page(Page::AtRoot(WORKER_PATH)).await;
        if !matches!(page, Err(upstream::Error::Unanswered(_))) {
            home.health().readmit();
        }
        match page.ok().as_deref().and_then(upstream::report) {
            Some(report) => {
                if endpoint.learn_report(&report) {
                    debug!(endpoint = %endpoint.id, boot = %report.boot, "worker reported");
                    catalogue.refresh();
                }
                vigil::begin(catalogue, home, &report.boot);
                true
            }
            None => endpoint.facts().boot.is_some(),
        }
    }

    /// Asks for the card, where it was last and then at its other place.
    async fn read_card(&mut self, catalogue: &Catalogue, endpoint: &Endpoint) {
        self.asked = Some(Instant::now());
        let held = self.held.as_ref().map(|(path, _)| *path);
        let others = CARD_PATHS.into_iter().filter(|path| Some(*path) != held);
        let mut outcome = Reading::Failed;
        for path in held.into_iter().chain(others) {
            outcome = self.read_at(path, catalogue, endpoint).await;
            if outcome != Reading::Failed {
                break;
            }
        }
        catalogue.card_metrics.read(&self.agent, outcome);
        if outcome != Reading::Failed {
            return;
        }
        if endpoint.facts().card.is_some() {
            debug!(agent = %self.agent, endpoint = %endpoint.id, "card can't be read; the last one stays");
        } else if self.pause == FIRST {
            info!(
                agent = %self.agent, endpoint = %endpoint.id,
                "card can't be read; calls pass as JSON-RPC, the card is asked for again"
            );
        }
    }

    async fn read_at(
        &mut self,
        path: &'static str,
        catalogue: &Catalogue,
        endpoint: &Endpoint,
    ) -> Reading {
        let known = self.held.as_ref().filter(|(held, _)| *held == path);
        let known = known.map(|(_, validators)| validators.clone());
        let conditions = known.clone().unwrap_or_default();
        let Ok(answer) = endpoint
            .ask(Page::Below(path), conditions.conditions())
            .await
        else {
            return Reading::Failed;
        };
        let (head, page) = answer.into_parts();
        let now = clock::unix_millis() / 1000;
        let freshness = Freshness::of(&head.headers, Cache::Shared, now, &BOUNDS);
        let reading = match (head.status, &known) {
            (StatusCode::NOT_MODIFIED, Some(_)) => Reading::Unchanged,
            (StatusCode::OK, _) => self.take(&page, &head.headers, &freshness, catalogue, endpoint),
            _ => return Reading::Failed,
        };
        // One that was refused is asked for whole: an agent that is signed anew keeps its tag.
        if matches!(reading, Reading::New | Reading::Unchanged) {
            let validators = freshness.revalidate_with;
            self.held = Some((path, validators.or(&known.unwrap_or_default())));
            self.pause = FIRST;
        }
        self.due = Instant::now() + freshness.fresh_for;
        reading
    }

    /// Takes over a card, if it is one and may be believed.
    fn take(
        &mut self,
        page: &Bytes,
        headers: &HeaderMap,
        freshness: &Freshness,
        catalogue: &Catalogue,
        endpoint: &Endpoint,
    ) -> Reading {
        let tag = entity::tag(page);
        let readable = match catalogue.cards.readable(&self.agent, page) {
            Ok(readable) => readable,
            Err(refused) => {
                if self.refused.as_ref() != Some(&tag) {
                    warn!(
                        agent = %self.agent, endpoint = %endpoint.id, %refused,
                        "card is not believed, and the agent not used by it"
                    );
                    self.refused = Some(tag);
                }
                return Reading::Refused;
            }
        };
        let Ok(card) = Card::parse(&readable) else {
            return Reading::Failed;
        };
        let said = headers.get(header::LAST_MODIFIED);
        let keep = (freshness.storage == Storage::Shared).then_some(freshness.fresh_for);
        let written = Written {
            bytes: page.clone(),
            tag,
            modified: said.and_then(seconds).unwrap_or_else(now_seconds),
            keep,
        };
        if !endpoint.learn_card(&card, written, catalogue.origins()) {
            return Reading::Unchanged;
        }
        info!(agent = %self.agent, endpoint = %endpoint.id, "card read");
        self.tell_findings(page, catalogue, endpoint);
        Reading::New
    }

    /// What is wrong with a new card, for whoever can mend it.
    fn tell_findings(&self, page: &Bytes, catalogue: &Catalogue, endpoint: &Endpoint) {
        let mut findings = lint::lint(page);
        findings.retain(|finding| finding.severity == Severity::Error);
        catalogue
            .card_metrics
            .found(&self.agent, findings.len() as u64);
        for finding in findings.iter().take(TOLD) {
            warn!(
                agent = %self.agent, endpoint = %endpoint.id, at = finding.pointer,
                "the card is wrong: {}", finding.words
            );
        }
    }
}

/// The seconds since 1970 of a date.
fn seconds(value: &HeaderValue) -> Option<u64> {
    let time = httpdate::parse_http_date(value.to_str().ok()?).ok()?;
    let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(since.as_secs())
}

fn now_seconds() -> u64 {
    clock::unix_millis() / 1000
}
