//! To agents: one replica of one agent, what is known of it, and the lines on which it listens.
//!
//! # Invariants
//! - Nothing here chooses among replicas; that is `dispatch`.

pub mod envelope;
pub mod health;
pub mod invoked;
pub mod line;
pub mod origin;
pub mod page;
pub mod transcode;

use std::{
    collections::HashMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use mesh_proto::{
    card::Card,
    mesh::{Incarnation, Load, WorkerId, WorkerReport, WorkerState},
};
use mesh_runtime::{
    egress::{Egress, Target},
    sidecar::{App, Sidecar},
};
use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};
use url::Url;

use self::{
    health::Ejection,
    invoked::Invoked,
    origin::{Origin, Unanswered},
    page::PAGE_BYTES,
};
use crate::{meter::EndpointMeter, promise::Promise};

pub use line::Line;
pub use page::{Page, Written, report};

/// Failures in a row after which an endpoint is ejected (Envoy's default).
const STREAK: u32 = 5;

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
    /// Failures in a row, and what they led to. Connections are its origin's affair.
    streak: AtomicU32,
    ejection: Ejection,
    born: Instant,
    /// Milliseconds after `born` at which it came among others that were there already; 0 for never.
    came: AtomicU64,
    /// Rung when its card may have changed.
    card_wanted: Arc<Notify>,
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
    known: Mutex<HashMap<Address, Weak<Origin>>>,
}

/// An app behind the sidecar is an origin of its own: that one is gone says nothing of the next.
type Address = (Target, Option<App>);

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
    /// The path is one that the sidecar would read otherwise.
    #[error("is a path that a sidecar does not take as it is")]
    Unspeakable,
    /// The sidecar answered that it could not reach the agent, or had no answer of it.
    #[error("the sidecar did not reach it")]
    NotReached,
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
        self.known(target.clone(), None)
    }

    /// The origin of an agent's URL. `None` when it has no host, or is not of a kind that is called; and
    /// of an app, where the environment says nothing usable of the sidecar.
    fn home(&self, url: &Url) -> Option<Arc<Origin>> {
        let Some(app) = App::of(url) else {
            return Some(self.at(&Target::try_from(url).ok()?));
        };
        let (target, invoked) = Invoked::through(&Sidecar::of_environment().ok()?, app)?;
        Some(self.known(target, Some(invoked)))
    }

    fn known(&self, target: Target, invoked: Option<Arc<Invoked>>) -> Arc<Origin> {
        let app = invoked.as_ref().map(|invoked| invoked.app.clone());
        let address = (target, app);
        let mut all = self.known.lock();
        if let Some(origin) = all.get(&address).and_then(Weak::upgrade) {
            return origin;
        }
        // An address that nobody uses any more leaves a dead entry; sweep when one is added.
        all.retain(|_, origin| origin.strong_count() > 0);
        let target = address.0.clone();
        let origin = Arc::new(Origin::new(target, invoked, self.egress.clone()));
        all.insert(address, Arc::downgrade(&origin));
        origin
    }
}

impl Endpoint {
    /// An endpoint of which only the URL is known: `None` when the URL has no host, or is not one of
    /// http, https and a sidecar's app.
    pub fn new(id: WorkerId, base: Url, meter: EndpointMeter, origins: &Origins) -> Option<Self> {
        let home = origins.home(&base)?;
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
            streak: AtomicU32::new(0),
            ejection: Ejection::default(),
            born: Instant::now(),
            came: AtomicU64::new(0),
            card_wanted: Arc::default(),
        })
    }

    /// The configured URL.
    #[must_use]
    pub const fn base(&self) -> &Url {
        &self.base
    }

    /// Whether it is reached through the sidecar. Whose workers those are is not ours to know: the
    /// sidecar takes any replica, so none is told from another.
    #[must_use]
    pub fn is_invoked(&self) -> bool {
        self.home.invoked().is_some()
    }

    /// Whether there are pages to be read of it: a sidecar that speaks gRPC to its app takes none there.
    #[must_use]
    pub fn has_pages(&self) -> bool {
        self.home.invoked().is_none_or(|it| !it.app.speaks_grpc)
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

    /// Whether it, or its home origin, failed too recently to be tried.
    #[must_use]
    pub fn is_ejected(&self, now: Instant) -> bool {
        self.home.health().is_ejected(now)
            || self
                .ejection
                .lasts(now.saturating_duration_since(self.born))
    }

    /// Notes a failure of its own. True if that ejects it.
    pub fn struck(&self, now: Instant) -> bool {
        let streak = self.streak.fetch_add(1, Ordering::Relaxed) + 1;
        // After the first ejection each failure is the trial's.
        streak >= STREAK
            && self
                .ejection
                .begin(now.saturating_duration_since(self.born))
    }

    /// Notes that it served.
    pub fn settled(&self) {
        if self.streak.load(Ordering::Relaxed) != 0 {
            self.streak.store(0, Ordering::Relaxed);
            self.ejection.end();
        }
    }

    /// Notes that it came among others that were there already: it is given new work by and by.
    pub fn arrive(&self, now: Instant) {
        let since = now.saturating_duration_since(self.born).as_millis();
        let since = u64::try_from(since).unwrap_or(u64::MAX);
        self.came.store(since.max(1), Ordering::Relaxed);
    }

    /// The share of new work that it is given after it came, of 2^16; all of it after `within`.
    #[must_use]
    pub fn ramp(&self, now: Instant, within: Duration) -> u16 {
        let came = self.came.load(Ordering::Relaxed);
        if came == 0 || within.is_zero() {
            return u16::MAX;
        }
        let since = now.saturating_duration_since(self.born + Duration::from_millis(came));
        let share = since.as_millis().saturating_mul(1 << 16) / within.as_millis().max(1);
        u16::try_from(share).unwrap_or(u16::MAX)
    }

    /// Whether what it stores can be gone on with by others.
    #[must_use]
    pub fn shares_its_store(&self) -> bool {
        self.facts.load().store.is_some()
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
        self.home.health().report(Load::from(report));
        self.learn_boot(&report.boot) || is_new
    }

    /// Takes over how busy its process says that it is. True if a view would change by it.
    pub fn learn_load(&self, load: Load) -> bool {
        self.home.health().report(load);
        self.learn_state(load.state)
    }

    /// Takes over whether it takes new work. True if a view would change by it.
    pub fn learn_state(&self, state: WorkerState) -> bool {
        if self.facts.load().state == state {
            return false;
        }
        self.facts.rcu(|known| Facts {
            state,
            ..(**known).clone()
        });
        true
    }

    /// Asks for its card to be read again: it may have changed.
    pub fn want_card(&self) {
        self.card_wanted.notify_one();
    }

    /// What is rung by [`Self::want_card`]; who holds it does not hold the endpoint.
    #[must_use]
    pub const fn card_wanted(&self) -> &Arc<Notify> {
        &self.card_wanted
    }

    /// How busy its process said last that it is; unset where it never did.
    #[must_use]
    pub fn load(&self) -> Option<Load> {
        self.home.health().load()
    }

    /// Takes over a boot id. True if it is new.
    pub fn learn_boot(&self, boot: &str) -> bool {
        if self.facts.load().boot.as_deref() == Some(boot) {
            return false;
        }
        let boot: Arc<str> = Arc::from(boot);
        if self.facts.load().boot.is_some() {
            // Another life is as cold as another worker, and its card may be another.
            self.arrive(Instant::now());
            self.want_card();
        }
        self.facts.rcu(|known| Facts {
            boot: Some(Arc::clone(&boot)),
            ..(**known).clone()
        });
        true
    }
}
