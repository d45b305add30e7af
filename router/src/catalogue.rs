//! The agents: their members, their cards, and the one decision that a call needs.
//!
//! # Invariants
//! - A call loads the snapshot once. Snapshots are immutable and replaced whole; a reader never waits.
//! - An endpoint that stays in the roster keeps its connections and its standing through every change.
//! - Last good view for ever: a source that breaks takes nothing away.

pub mod cards;
pub mod explain;
pub mod offer;
pub mod scout;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use arc_swap::ArcSwap;
use mesh_core::{
    error::CallError,
    placement::{self, Facts, Placement, Standing},
    slots::Member,
    token::Keys,
    view::{Listed, Pool, Tables, View},
};
use mesh_proto::{
    AgentName, Binding, Dialect,
    card::Card,
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

use self::cards::Cards;
use crate::{
    meter::{AgentMeter, Metrics},
    promise::Promise,
    upstream::{Endpoint, Line, Origins, Written},
};

/// See the module.
#[derive(Debug)]
pub struct Catalogue {
    current: ArcSwap<Snapshot>,
    keys: Arc<Keys>,
    origins: Origins,
    cards: Cards,
    metrics: Metrics,
    card_metrics: cards::Metrics,
    /// Rung when something was learned that a view is made of.
    stale: Notify,
    build: Mutex<Build>,
    default: Option<AgentName>,
    drain: Drain,
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

/// One agent at one moment.
#[derive(Debug)]
pub struct Agent {
    /// Its name in paths.
    pub name: AgentName,
    /// Its replicas, in the order of the pool's members.
    pub endpoints: Vec<Arc<Endpoint>>,
    /// Its counters.
    pub meter: Arc<AgentMeter>,
    pool: Arc<Pool>,
}

impl Catalogue {
    /// A catalogue without agents; [`Catalogue::follow`] fills it.
    #[must_use]
    pub fn new(
        keys: Arc<Keys>,
        default: Option<AgentName>,
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
        Arc::new(Self {
            current: ArcSwap::from_pointee(empty),
            keys,
            origins: Origins::new(egress),
            cards,
            metrics: Metrics::register(registry),
            card_metrics: cards::Metrics::register(registry),
            stale: Notify::new(),
            build: Mutex::default(),
            default,
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
        if tokio::task::spawn_blocking(move || catalogue.rebuild(roster))
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
                    state: facts.state,
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
        self.current.store(Arc::new(Snapshot {
            view: view.hash(),
            agents,
            default,
        }));
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
        let endpoint = Arc::new(endpoint);
        scout::watch(self, agent, &endpoint);
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
        let meter = match before.agents.get(&name) {
            Some(agent) => Arc::clone(&agent.meter),
            None => self.metrics.agent(&name),
        };
        Arc::new(Agent {
            name,
            endpoints,
            meter,
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

    /// The tenant that its card asks for in a binding.
    #[must_use]
    pub fn tenant(&self, binding: Binding) -> Option<String> {
        let card = self.card()?;
        let shown = card
            .interfaces()
            .into_iter()
            .find(|each| each.binding == Some(binding))?;
        shown.tenant.filter(|tenant| !tenant.is_empty())
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
    /// [`CallError`]: nobody can be had.
    pub fn place(
        &self,
        keys: &Keys,
        facts: &Facts<'_>,
        now: Instant,
    ) -> Result<Placement, CallError> {
        let placed = placement::place(&self.pool, keys, facts, |member| self.standing(member, now));
        match placed {
            Err(CallError::AllEjected { .. }) => {
                placement::place(&self.pool, keys, facts, |_| Standing::Usable)
            }
            placed => placed,
        }
    }

    /// Whether the view has what the scouts have learned.
    fn is_known(&self) -> bool {
        let mut members = (0..self.pool.count()).zip(&self.endpoints);
        members.all(|(member, endpoint)| {
            endpoint.is_looked_at() && endpoint.life() == self.pool.incarnation(member)
        })
    }

    fn standing(&self, member: u16, now: Instant) -> Standing {
        match self.endpoints.get(usize::from(member)) {
            None => Standing::Ejected,
            Some(endpoint) if endpoint.is_ejected(now) => Standing::Ejected,
            Some(_) if self.pool.state(member) == WorkerState::Draining => Standing::Draining,
            Some(_) => Standing::Usable,
        }
    }
}
