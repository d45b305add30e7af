//! To agents: one replica of one agent, what is known of it, and the lines on which it listens.
//!
//! # Invariants
//! - Nothing here chooses among replicas; that is `dispatch`.

pub mod envelope;
pub mod line;
pub mod origin;
pub mod page;
pub mod transcode;

use std::{
    collections::HashMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use arc_swap::ArcSwap;
use mesh_proto::{
    card::Card,
    mesh::{Incarnation, WorkerId, WorkerReport, WorkerState},
};
use mesh_runtime::egress::{Egress, Target};
use parking_lot::Mutex;
use tokio::time::Instant;
use url::Url;

use self::{
    origin::{Origin, Unanswered},
    page::PAGE_BYTES,
};
use crate::{meter::EndpointMeter, promise::Promise};

pub use line::Line;
pub use page::{Page, Written, report};

/// One replica of one agent.
#[derive(Debug)]
pub struct Endpoint {
    /// Its stable name, which decides its slots.
    pub id: WorkerId,
    /// Its counters.
    pub meter: EndpointMeter,
    base: Url,
    home: Arc<Origin>,
    facts: ArcSwap<Facts>,
    looked_at: AtomicBool,
    demands_card: bool,
}

/// What is known of an endpoint besides its URL; replaced whole.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Its card, once one could be read.
    pub card: Option<Arc<Card>>,
    /// The same as it was written.
    pub written: Option<Arc<Written>>,
    /// Where it listens: by its card, else by that of a replica, else JSON-RPC at the configured URL.
    pub lines: Arc<[Line]>,
    /// What its card promises.
    pub promise: Arc<Promise>,
    /// The replica's card by which it is taken to listen, while its own can't be read.
    lent: Option<Arc<Card>>,
    /// Its boot id, once it has shown itself to be a worker of ours.
    pub boot: Option<Arc<str>>,
    /// Whether it takes new work.
    pub state: WorkerState,
    /// The store that it shares with others of ours, by its own word.
    pub store: Option<Arc<str>>,
}

/// Origins by address, shared by all endpoints that live there.
#[derive(Debug, Default)]
pub struct Origins {
    egress: Egress,
    known: Mutex<HashMap<Target, Weak<Origin>>>,
}

/// Why a page could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No answer.
    #[error("no answer")]
    Unanswered(#[from] Unanswered),
    /// An answer other than 200.
    #[error("answered with status {0}")]
    Status(u16),
    /// The page broke off or was over the bound.
    #[error("broke off, or was longer than {PAGE_BYTES} bytes")]
    Page,
    /// The path can't be asked for.
    #[error("is not a path")]
    Path(#[from] http::Error),
}

impl Origins {
    /// No origins yet; connections will be opened by this egress.
    #[must_use]
    pub fn new(egress: Egress) -> Self {
        Self {
            egress,
            known: Mutex::default(),
        }
    }

    /// The origin at an address, made if there is none.
    pub fn at(&self, target: &Target) -> Arc<Origin> {
        let mut all = self.known.lock();
        if let Some(origin) = all.get(target).and_then(Weak::upgrade) {
            return origin;
        }
        // An address that nobody uses any more leaves a dead entry; sweep when one is added.
        all.retain(|_, origin| origin.strong_count() > 0);
        let origin = Arc::new(Origin::new(target.clone(), self.egress.clone()));
        all.insert(target.clone(), Arc::downgrade(&origin));
        origin
    }
}

impl Endpoint {
    /// An endpoint of which only the URL is known: `None` when the URL has no host, or is not
    /// http or https.
    pub fn new(id: WorkerId, base: Url, meter: EndpointMeter, origins: &Origins) -> Option<Self> {
        let home = origins.at(&Target::try_from(&base).ok()?);
        let facts = Facts {
            lines: Arc::from([Line::bare(&base, &home)]),
            ..Facts::default()
        };
        Some(Self {
            id,
            meter,
            base,
            home,
            facts: ArcSwap::from_pointee(facts),
            looked_at: AtomicBool::new(false),
            demands_card: false,
        })
    }

    /// The configured URL.
    #[must_use]
    pub const fn base(&self) -> &Url {
        &self.base
    }

    /// What is known now.
    #[must_use]
    pub fn facts(&self) -> Arc<Facts> {
        self.facts.load_full()
    }

    /// Its incarnation: 0 for a third party, or for one not heard of yet.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        let facts = self.facts.load();
        facts
            .boot
            .as_deref()
            .map_or_else(Incarnation::default, |boot| {
                mesh_core::token::incarnation(&self.id, boot)
            })
    }

    /// What tokens call it: its incarnation, or for a third party the life that lasts as long as it is
    /// listed. 0 while nobody has looked which of the two it is.
    #[must_use]
    pub fn life(&self) -> Incarnation {
        match self.third_party() {
            Some(life) => life,
            None => self.incarnation(),
        }
    }

    /// The life of a third party; unset for a worker of ours, and while nobody has looked.
    #[must_use]
    pub fn third_party(&self) -> Option<Incarnation> {
        let is_one = self.is_looked_at() && self.facts.load().boot.is_none();
        is_one.then(|| mesh_core::token::third_party(&self.id))
    }

    /// Notes that a scout has been here, whatever it found. True for the first time.
    pub fn look_at(&self) -> bool {
        !self.looked_at.swap(true, Ordering::Relaxed)
    }

    /// Whether a scout has been here.
    #[must_use]
    pub fn is_looked_at(&self) -> bool {
        self.looked_at.load(Ordering::Relaxed)
    }

    /// Whether its home origin failed too recently to be tried.
    #[must_use]
    pub fn is_ejected(&self, now: Instant) -> bool {
        self.home.is_ejected(now)
    }

    /// The origin at the configured URL.
    #[must_use]
    pub const fn home(&self) -> &Arc<Origin> {
        &self.home
    }

    /// The same endpoint with no line taken for granted: neither the bare one nor those of a replica's
    /// card, but only what its own card gives.
    #[must_use]
    pub fn demanding_card(mut self) -> Self {
        self.demands_card = true;
        self.facts = ArcSwap::default();
        self
    }

    /// Takes over a card. True if it says anything else than the one known; one that was only signed
    /// anew does not.
    pub fn learn_card(&self, card: &Card, mut written: Written, origins: &Origins) -> bool {
        let known = self.facts.load_full();
        let earlier = known.written.as_deref();
        let is_new = earlier.is_none_or(|earlier| match (&earlier.tag, &written.tag) {
            (Some(old), Some(new)) => old != new,
            _ => earlier.bytes != written.bytes,
        });
        if let Some(earlier) = earlier.filter(|_| !is_new) {
            if (&earlier.bytes, earlier.keep) == (&written.bytes, written.keep) {
                return false;
            }
            written.modified = earlier.modified.min(written.modified);
        }
        let lines = Line::all(card, &self.base, &self.home, origins);
        let promise = Arc::new(Promise::of(card));
        let (card, written) = (Arc::new(card.clone()), Arc::new(written));
        self.facts.rcu(|known| Facts {
            card: Some(Arc::clone(&card)),
            written: Some(Arc::clone(&written)),
            lines: Arc::clone(&lines),
            promise: Arc::clone(&promise),
            lent: None,
            ..(**known).clone()
        });
        is_new
    }

    /// Takes a replica's card for its own as far as lines go, until its own can be read.
    pub fn lend_card(&self, card: &Arc<Card>, origins: &Origins) {
        let known = self.facts.load();
        let has_it = known
            .lent
            .as_ref()
            .is_some_and(|lent| Arc::ptr_eq(lent, card));
        if known.card.is_some() || has_it || self.demands_card {
            return;
        }
        let lines = Line::all(card, &self.base, &self.home, origins);
        self.facts.rcu(|known| match known.card {
            Some(_) => (**known).clone(),
            None => Facts {
                lent: Some(Arc::clone(card)),
                lines: Arc::clone(&lines),
                ..(**known).clone()
            },
        });
    }

    /// Takes over a worker's report. True if a view would change by it.
    pub fn learn_report(&self, report: &WorkerReport) -> bool {
        let known = self.facts.load_full();
        let is_new = known.state != report.state;
        if is_new || known.store.as_deref().unwrap_or_default() != report.store {
            let store = Some(report.store.as_str()).filter(|store| !store.is_empty());
            let store: Option<Arc<str>> = store.map(Arc::from);
            self.facts.rcu(|known| Facts {
                state: report.state,
                store: store.clone(),
                ..(**known).clone()
            });
        }
        self.learn_boot(&report.boot) || is_new
    }

    /// Takes over a boot id. True if it is new.
    pub fn learn_boot(&self, boot: &str) -> bool {
        if self.facts.load().boot.as_deref() == Some(boot) {
            return false;
        }
        let boot: Arc<str> = Arc::from(boot);
        self.facts.rcu(|known| Facts {
            boot: Some(Arc::clone(&boot)),
            ..(**known).clone()
        });
        true
    }
}
