//! The mesh of a run: real routers and real workers, each a host of the simulation.
//!
//! # Invariants
//! - A host is what a machine is: what it holds in memory is gone when it crashes, and only the store
//!   and the rosters outlive it.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use daca_router::{Router, call::Keys, catalogue::Catalogue, config::Flags};
use daca_worker::{
    app::{Settings, Worker},
    task::Limits,
};
use mesh_fabric::{
    bus::{self, Transit},
    state::{Bounds, Faults, Store},
};
use mesh_proto::{AgentName, Operation, mesh::WorkerId};
use mesh_runtime::directory::{AgentEntry, MemberEntry, Plan as Members, Roster};
use prometheus_client::registry::Registry;
use tokio::sync::{Notify, watch};
use turmoil::{Builder, Sim};

use crate::{
    agent::{self, AGENT},
    client::{ROUTER_PORT, Speaker},
    history::{History, Places, What},
    plan::{Act, Plan},
};

const WORKER_PORT: u16 = 9000;

/// How finely time passes. A message takes one of these at least.
const TICK: Duration = Duration::from_millis(10);

/// How often a router shows where it would send calls, and of how many contexts.
const LOOK_EVERY: Duration = Duration::from_millis(700);
const CONTEXTS: usize = 400;

/// How soon a process that could not start is started again.
const START_AGAIN: Duration = Duration::from_millis(500);

/// Everything of a run.
pub(crate) struct Mesh {
    pub(crate) sim: Sim<'static>,
    pub(crate) history: History,
    pub(crate) routers: Vec<RouterHost>,
    pub(crate) workers: Vec<WorkerHost>,
}

pub(crate) struct RouterHost {
    pub(crate) name: String,
    roster: watch::Sender<Arc<Roster>>,
    members: Vec<bool>,
}

pub(crate) struct WorkerHost {
    pub(crate) name: String,
    /// What the worker has of the store.
    faults: Faults,
    stop: Arc<Notify>,
}

impl Mesh {
    pub(crate) fn new(plan: &Plan) -> Self {
        let history = History::default();
        let mut sim = Builder::new()
            .rng_seed(plan.seed)
            .epoch(std::time::UNIX_EPOCH + Duration::from_secs(1_800_000_000))
            .simulation_duration(Duration::from_secs(3600))
            .tick_duration(TICK)
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(Duration::from_millis(40))
            .tcp_capacity(1024)
            .enable_random_order()
            .build();
        let store = Store::shared(Bounds::default());
        let workers = (0..plan.workers)
            .map(|number| worker(&mut sim, number, plan.capacity, &store, &history))
            .collect();
        let routers = (0..plan.routers)
            .map(|number| router(&mut sim, number, plan.workers, &history))
            .collect();
        for (number, script) in plan.clients.iter().enumerate() {
            let speaker = Speaker::new(script.clone(), history.clone());
            sim.client(format!("client-{number}"), async move {
                speaker.speak().await;
                Ok(())
            });
        }
        Self {
            sim,
            history,
            routers,
            workers,
        }
    }

    /// Does one thing to the mesh.
    pub(crate) fn act(&mut self, act: Act) {
        self.history.tell(What::Fault(act));
        match act {
            Act::Crash { worker } => self.sim.crash(self.workers[worker].name.as_str()),
            Act::Start { worker } => self.sim.bounce(self.workers[worker].name.as_str()),
            Act::Drain { worker } => self.workers[worker].stop.notify_one(),
            Act::CrashRouter { router } => {
                self.sim.crash(self.routers[router].name.as_str());
            }
            Act::StartRouter { router } => self.sim.bounce(self.routers[router].name.as_str()),
            Act::Part { router, worker } => {
                let (router, worker) = self.pair(router, worker);
                self.sim.hold(router, worker);
            }
            Act::Join { router, worker } => {
                let (router, worker) = self.pair(router, worker);
                self.sim.release(router, worker);
            }
            Act::Mute { router, worker } => {
                let (router, worker) = self.pair(router, worker);
                self.sim.partition_oneway(worker, router);
            }
            Act::Unmute { router, worker } => {
                let (router, worker) = self.pair(router, worker);
                self.sim.repair_oneway(worker, router);
            }
            Act::Freeze { worker } => {
                self.workers[worker].faults.hold(true);
                for router in 0..self.routers.len() {
                    let (router, worker) = self.pair(router, worker);
                    self.sim.hold(router, worker);
                }
            }
            Act::Thaw { worker } => {
                self.workers[worker].faults.hold(false);
                for router in 0..self.routers.len() {
                    let (router, worker) = self.pair(router, worker);
                    self.sim.release(router, worker);
                }
            }
            Act::StoreDown | Act::StoreUp => {
                for worker in &self.workers {
                    worker.faults.down(act == Act::StoreDown);
                }
            }
            Act::Tell {
                router,
                worker,
                member,
            } => {
                let host = &mut self.routers[router];
                host.members[worker] = member;
                host.roster.send_replace(Arc::new(roster(&host.members)));
            }
        }
    }

    fn pair(&self, router: usize, worker: usize) -> (String, String) {
        (
            self.routers[router].name.clone(),
            self.workers[worker].name.clone(),
        )
    }
}

fn worker(
    sim: &mut Sim<'static>,
    number: usize,
    capacity: usize,
    store: &Store,
    history: &History,
) -> WorkerHost {
    let name = format!("worker-{number}");
    let (stop, faults) = (Arc::new(Notify::new()), Faults::default());
    let (told, store, history) = (
        Arc::clone(&stop),
        faults.over(store.clone()),
        history.clone(),
    );
    let called = name.clone();
    sim.host(name.as_str(), move || {
        let (told, store, history) = (Arc::clone(&told), store.clone(), history.clone());
        let agent = agent::agent(&called, &history);
        async move {
            let settings = Settings {
                listen: format!("0.0.0.0:{WORKER_PORT}"),
                grace: Duration::from_secs(15),
                limits: Limits {
                    capacity: u32::try_from(capacity).expect("a small number"),
                },
                ..Settings::default()
            };
            // Whoever watches over a real process starts it again when it ended with an error.
            let worker = loop {
                let (store, settings, agents) =
                    (store.clone(), settings.clone(), vec![agent.clone()]);
                let bus = Transit::memory(bus::Bounds::default());
                let started = Worker::start_on(store, bus, settings, agents, Registry::default());
                match Box::pin(started).await {
                    Ok(worker) => break worker,
                    Err(_) => tokio::time::sleep(START_AGAIN).await,
                }
            };
            told.notified().await;
            worker.drain().await;
            Ok(())
        }
    });
    WorkerHost { name, faults, stop }
}

fn router(sim: &mut Sim<'static>, number: usize, workers: usize, history: &History) -> RouterHost {
    let name = format!("router-{number}");
    let members = vec![true; workers];
    let (sender, receiver) = watch::channel(Arc::new(roster(&members)));
    let history = history.clone();
    sim.host(name.as_str(), move || {
        let (receiver, history) = (receiver.clone(), history.clone());
        async move {
            let flags = Flags {
                listen: Some("127.0.0.1:0".to_owned()),
                agents: vec![format!("{AGENT}=http://nowhere:1")],
                ..Flags::default()
            };
            let mut settings = flags.settle()?;
            settings.listen = format!("0.0.0.0:{ROUTER_PORT}");
            settings.plan = Members::Told(receiver);
            let router = Box::pin(Router::start(settings)).await?;
            // It runs until its host crashes, and shows meanwhile what it would do.
            let mut shown = None;
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                if let Some(now) = places(number, router.catalogue())
                    && shown.as_ref() != Some(&now)
                {
                    shown = Some(now.clone());
                    history.tell(What::Places(now));
                }
            }
        }
    });
    RouterHost {
        name,
        roster: sender,
        members,
    }
}

/// Where a router would send calls now.
fn places(router: usize, catalogue: &Catalogue) -> Option<Places> {
    let agent = AgentName::parse(AGENT).expect("the name is one");
    let mut places = Places {
        router,
        view: catalogue.snapshot().view().to_string(),
        usable: BTreeSet::new(),
        first: Vec::with_capacity(CONTEXTS),
    };
    for number in 0..CONTEXTS {
        let keys = Keys {
            context: Some(format!("context-{number}").into()),
            ..Keys::default()
        };
        let explained = catalogue
            .explain(&agent, Operation::SendMessage, &keys)
            .ok()?;
        for candidate in &explained.candidates {
            if candidate.standing == "usable" {
                places.usable.insert(candidate.id.clone());
            }
        }
        places
            .first
            .push(explained.candidates.into_iter().next()?.id);
    }
    Some(places)
}

fn roster(members: &[bool]) -> Roster {
    let members = members.iter().enumerate().filter(|(_, member)| **member);
    let members = members.map(|(number, _)| {
        let url = format!("http://worker-{number}:{WORKER_PORT}");
        let mut entry = MemberEntry::from_url(&url).expect("the URL is one");
        entry.id = WorkerId::new(&format!("worker-{number}"));
        entry
    });
    Roster {
        agents: vec![AgentEntry {
            name: AgentName::parse(AGENT).expect("the name is one"),
            members: members.collect(),
        }],
    }
}
