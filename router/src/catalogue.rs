//! The agents: their members, their cards, and the one decision that a call needs.
//!
//! # Invariants
//! - A call loads the snapshot once. Snapshots are immutable and replaced whole; a reader never waits.
//! - An endpoint that stays in the roster keeps its connections and its standing through every change.
//! - Last good view for ever: a source that breaks takes nothing away.

mod agent;
pub mod cards;
mod census;
pub mod control;
pub mod explain;
mod notice;
pub mod offer;
mod outlook;
mod pick;
pub mod placed;
pub mod purse;
pub mod scout;
mod view_metrics;
mod vigil;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use mesh_core::{
    slots::Member,
    token::Keys,
    view::{Listed, Pool, Tables, View},
};
use mesh_proto::{
    AgentName,
    mesh::{ViewHash, WorkerId, WorkerState},
};
use mesh_runtime::{
    directory::{MemberEntry, Roster},
    drain::Drain,
    egress::Egress,
};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use tracing::{info, warn};

pub use self::agent::Agent;
use self::{cards::Cards, notice::Bulletin, outlook::Overview};
use crate::{
    meter::Metrics,
    upstream::{Endpoint, Origins},
};

/// See the module.
#[derive(Debug)]
pub struct Catalogue {
    current: Arc<ArcSwap<Snapshot>>,
    keys: Arc<Keys>,
    origins: Origins,
    cards: Cards,
    metrics: Metrics,
    card_metrics: cards::Metrics,
    bulletin: Bulletin,
    purses: purse::Metrics,
    views: view_metrics::Metrics,
    placed: placed::Metrics,
    slow_start: Duration,
    zone: Option<Arc<str>>,
    /// Rung when something was learned that a view is made of.
    stale: Notify,
    build: Mutex<Build>,
    default: Option<AgentName>,
    drain: Drain,
}

/// A member drains if its source says so, or it does.
const fn worse(listed: WorkerState, told: WorkerState) -> WorkerState {
    match (listed, told) {
        (WorkerState::Active, WorkerState::Active) => WorkerState::Active,
        _ => WorkerState::Draining,
    }
}

/// What a catalogue is told.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The agent at the root of the port.
    pub default: Option<AgentName>,
    /// How long a member that comes later is spared.
    pub slow_start: Duration,
    /// The zone that the router runs in, where known.
    pub zone: Option<Arc<str>>,
}

/// What is needed from one build to the next.
#[derive(Debug, Default)]
struct Build {
    tables: Tables,
    roster: Arc<Roster>,
}

/// All agents at one moment.
#[derive(Debug)]
pub struct Snapshot {
    view: ViewHash,
    agents: BTreeMap<AgentName, Arc<Agent>>,
    default: Option<AgentName>,
}

impl Catalogue {
    /// A catalogue without agents; [`Catalogue::follow`] fills it.
    #[must_use]
    pub fn new(
        keys: Arc<Keys>,
        settings: Settings,
        cards: Cards,
        egress: Egress,
        registry: &mut Registry,
        drain: Drain,
    ) -> Arc<Self> {
        let empty = Snapshot {
            view: ViewHash::default(),
            agents: BTreeMap::new(),
            default: None,
        };
        let current = Arc::new(ArcSwap::from_pointee(empty));
        let census = census::Census {
            current: Arc::clone(&current),
            slow_start: settings.slow_start,
        };
        census.register(registry);
        Arc::new(Self {
            current,
            keys,
            origins: Origins::new(egress),
            cards,
            metrics: Metrics::register(registry),
            card_metrics: cards::Metrics::register(registry),
            bulletin: Bulletin::new(registry),
            purses: purse::Metrics::register(registry),
            views: view_metrics::Metrics::register(registry),
            placed: placed::Metrics::register(registry),
            slow_start: settings.slow_start,
            zone: settings.zone,
            stale: Notify::new(),
            build: Mutex::default(),
            default: settings.default,
            drain,
        })
    }

    /// Takes over the first roster, then each that comes, and what scouts learn in between.
    pub fn follow(self: &Arc<Self>, mut rosters: watch::Receiver<Arc<Roster>>) {
        self.rebuild(Some(rosters.borrow_and_update().clone()));
        let catalogue = Arc::clone(self);
        let drain = self.drain.clone();
        self.drain.spawn("catalogue", async move {
            let mut has_source = true;
            loop {
                tokio::select! {
                    () = drain.signaled() => return,
                    () = catalogue.stale.notified() => catalogue.rebuild_aside(None).await,
                    changed = rosters.changed(), if has_source => match changed {
                        Ok(()) => {
                            let roster = rosters.borrow_and_update().clone();
                            catalogue.rebuild_aside(Some(roster)).await;
                        }
                        // The source is gone; its last roster stays.
                        Err(_) => has_source = false,
                    },
                }
            }
        });
    }

    /// All agents as they are now.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Whether there is anything to serve, and every member has been looked at once: before that, a
    /// worker of ours would pass for a third party, and ids minted by it would name no place.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let snapshot = self.current.load();
        let has_members = |agent: &Arc<Agent>| !agent.endpoints.is_empty();
        snapshot.agents.values().any(has_members)
            && snapshot.agents.values().all(|agent| agent.is_known())
    }

    /// The keys of tokens and slots.
    #[must_use]
    pub const fn keys(&self) -> &Arc<Keys> {
        &self.keys
    }

    /// Where origins are shared.
    #[must_use]
    pub const fn origins(&self) -> &Origins {
        &self.origins
    }

    /// How cards are shown, and which are believed.
    #[must_use]
    pub const fn cards(&self) -> &Cards {
        &self.cards
    }

    /// Whether callers may be told of an agent: where trust is required, not before its card verifies.
    #[must_use]
    pub fn is_shown(&self, agent: &Agent) -> bool {
        !self.cards.requires(&agent.name) || agent.card().is_some()
    }

    /// Asks for a new view, since something it is made of has changed.
    pub fn refresh(&self) {
        self.stale.notify_one();
    }

    /// Builds off the workers' threads: a table of a thousand members takes a good part of a second.
    async fn rebuild_aside(self: &Arc<Self>, roster: Option<Arc<Roster>>) {
        let catalogue = Arc::clone(self);
        if mesh_runtime::aside::run(move || catalogue.rebuild(roster))
            .await
            .is_err()
        {
            warn!("building the view failed; the last one stays");
        }
    }

    fn rebuild(self: &Arc<Self>, roster: Option<Arc<Roster>>) {
        let mut build = self.build.lock();
        if let Some(roster) = roster {
            build.roster = roster;
        }
        let roster = Arc::clone(&build.roster);
        let before = self.current.load_full();
        let endpoints = self.endpoints(&roster, &before);
        let listing = roster.agents.iter().map(|agent| {
            let of_agent = endpoints.get(&agent.name);
            let listed = agent.members.iter().filter_map(|member| {
                let endpoint = of_agent?.get(&member.id)?;
                let facts = endpoint.facts();
                Some(Listed {
                    member: Member {
                        id: member.id.clone(),
                        weight: member.weight,
                        zone: member.zone.clone(),
                    },
                    incarnation: endpoint.life(),
                    state: worse(member.state, facts.state),
                })
            });
            (agent.name.clone(), listed.collect())
        });
        let view = match View::build(listing, &mut build.tables) {
            Ok(view) => view,
            Err(error) => {
                warn!(%error, "the roster makes no view; the last one stays");
                return;
            }
        };
        let agents = view
            .pools()
            .map(|pool| self.agent(pool, &endpoints, &before));
        let agents: BTreeMap<_, _> = agents.map(|agent| (agent.name.clone(), agent)).collect();
        let default = match agents.keys().next() {
            Some(only) if agents.len() == 1 => Some(only.clone()),
            Some(_) | None => self.default.clone(),
        };
        if before.view != view.hash() {
            let members: usize = agents.values().map(|agent| agent.endpoints.len()).sum();
            info!(view = %view.hash(), agents = agents.len(), members, "view changed");
        }
        self.forget_departed(&before, &agents);
        let snapshot = Arc::new(Snapshot {
            view: view.hash(),
            agents,
            default,
        });
        self.current.store(Arc::clone(&snapshot));
        self.views.show(&snapshot);
        self.bulletin.publish(&snapshot);
    }

    /// The endpoints of a roster: those that were there already, and new ones with their scouts.
    fn endpoints(
        self: &Arc<Self>,
        roster: &Roster,
        before: &Snapshot,
    ) -> HashMap<AgentName, HashMap<WorkerId, Arc<Endpoint>>> {
        let mut all = HashMap::new();
        for entry in &roster.agents {
            let known = before.agents.get(&entry.name);
            let mut of_agent = HashMap::new();
            for member in &entry.members {
                let stays = known.and_then(|agent| {
                    agent
                        .endpoints
                        .iter()
                        .find(|each| each.id == member.id && *each.base() == member.url)
                });
                let known = stays.map(Arc::clone);
                let Some(endpoint) = known.or_else(|| self.arrive(&entry.name, member)) else {
                    warn!(agent = %entry.name, url = %member.url, "not an http or https URL");
                    continue;
                };
                of_agent.insert(member.id.clone(), endpoint);
            }
            all.insert(entry.name.clone(), of_agent);
        }
        all
    }

    /// A new endpoint, and a scout sent to it.
    fn arrive(self: &Arc<Self>, agent: &AgentName, member: &MemberEntry) -> Option<Arc<Endpoint>> {
        let meter = self.metrics.endpoint(agent, member.id.as_str());
        let (id, url) = (member.id.clone(), member.url.clone());
        let mut endpoint = Endpoint::new(id, url, meter, &self.origins)?;
        if self.cards.requires(agent) {
            endpoint = endpoint.demanding_card();
        }
        if self.current.load().view != ViewHash::default() {
            endpoint.arrive(Instant::now());
        }
        let endpoint = Arc::new(endpoint);
        endpoint.home().house(agent, &endpoint);
        scout::send(self, agent, &endpoint);
        Some(endpoint)
    }

    fn agent(
        &self,
        pool: &Arc<Pool>,
        endpoints: &HashMap<AgentName, HashMap<WorkerId, Arc<Endpoint>>>,
        before: &Snapshot,
    ) -> Arc<Agent> {
        let name = pool.agent().clone();
        let of_agent = endpoints.get(&name);
        let members = pool.members().iter();
        let endpoints = members
            .filter_map(|member| of_agent?.get(&member.id).cloned())
            .collect();
        let (meter, purse) = match before.agents.get(&name) {
            Some(agent) => (Arc::clone(&agent.meter), Arc::clone(&agent.purse)),
            None => (self.metrics.agent(&name), Arc::new(self.purses.purse())),
        };
        Arc::new(Agent {
            name,
            endpoints,
            meter,
            purse,
            overview: Overview::new(),
            slow_start: self.slow_start,
            zone: self.zone.clone(),
            placed: self.placed.clone(),
            pool: Arc::clone(pool),
        })
    }

    fn forget_departed(&self, before: &Snapshot, now: &BTreeMap<AgentName, Arc<Agent>>) {
        for agent in before.agents.values() {
            let staying = now.get(&agent.name);
            for endpoint in &agent.endpoints {
                let stays = staying
                    .is_some_and(|agent| agent.endpoints.iter().any(|each| each.id == endpoint.id));
                if !stays {
                    self.metrics
                        .forget_endpoint(&agent.name, endpoint.id.as_str());
                }
            }
        }
    }
}

impl Snapshot {
    /// An agent by name.
    #[must_use]
    pub fn agent(&self, name: &str) -> Option<&Arc<Agent>> {
        self.agents.get(name)
    }

    /// All agents, by name.
    pub fn agents(&self) -> impl ExactSizeIterator<Item = &Arc<Agent>> {
        self.agents.values()
    }

    /// The agent at the root of the port.
    #[must_use]
    pub fn default_agent(&self) -> Option<&AgentName> {
        self.default.as_ref()
    }

    /// The hash by which routers compare what they see.
    #[must_use]
    pub const fn view(&self) -> ViewHash {
        self.view
    }
}
