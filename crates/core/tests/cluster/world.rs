//! Workers that come, go, restart and drain, routers that learn of it late and each in its own order, and
//! clients that call through any of them. One seed is one history.
//!
//! # Invariants
//! - What is true stands in the workers and is changed here only; a router gets it by messages.
//! - A worker that a call reaches answers if its process runs. Nothing else is simulated of it: which
//!   of two takers of a task wins is the store's business.

use std::collections::BTreeMap;

use mesh_core::{
    placement::{Placement, Reason},
    slots::Member,
    view::Pool,
};
use mesh_proto::mesh::{Incarnation, Load, WorkerId, WorkerState};

use super::{
    dice::Dice,
    invariants::{Broken, Memory, moves},
    router::{Call, Fact, Flaw, Router},
};

const NAMES: usize = 12;
const CONTEXTS: usize = 12;
const TASKS_MOST: usize = 16;

/// A worker, as it is.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) boot: u32,
    pub(crate) runs: bool,
    member: Member,
    state: WorkerState,
}

/// A task that a client knows.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) id: String,
    /// The life that its token names; 0 where the router had not heard of any.
    pub(crate) named: Incarnation,
    /// Who made it.
    pub(crate) maker: (WorkerId, u32),
    /// Who has it now.
    pub(crate) holder: (WorkerId, u32),
}

/// How often what happened, so that no invariant holds for want of a case.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) placed: u64,
    pub(crate) pinned: u64,
    pub(crate) orphaned: u64,
    pub(crate) late: u64,
    pub(crate) refused: u64,
    pub(crate) failed_over: u64,
    pub(crate) moved: u64,
}

impl Tally {
    pub(crate) const fn add(&mut self, other: &Self) {
        self.placed += other.placed;
        self.pinned += other.pinned;
        self.orphaned += other.orphaned;
        self.late += other.late;
        self.refused += other.refused;
        self.failed_over += other.failed_over;
        self.moved += other.moved;
    }
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) dice: Dice,
    pub(crate) workers: BTreeMap<WorkerId, Worker>,
    /// The last boot of every name that ever ran: a name that comes back lives another life.
    boots: BTreeMap<WorkerId, u32>,
    pub(crate) routers: Vec<Router>,
    pub(crate) tasks: Vec<Task>,
    pub(crate) memory: Memory,
    pub(crate) tally: Tally,
    version: u64,
    messages: u64,
}

impl World {
    pub(crate) fn new(seed: u64, flaw: Flaw) -> Self {
        let mut dice = Dice::new(seed);
        let routers = 2 + dice.below(3);
        let mut world = Self {
            workers: BTreeMap::new(),
            boots: BTreeMap::new(),
            routers: (0..routers).map(|_| Router::new(flaw)).collect(),
            tasks: Vec::new(),
            memory: Memory::default(),
            tally: Tally::default(),
            version: 0,
            messages: 0,
            dice,
        };
        for _ in 0..world.dice.below(NAMES) {
            world.join();
        }
        world
    }

    /// One thing happens.
    pub(crate) fn step(&mut self) -> Result<(), Broken> {
        match self.dice.below(100) {
            0..3 => self.join(),
            3..5 => self.leave(),
            5..7 => self.kill(),
            7..10 => self.restart(),
            10..14 => self.change(),
            14..40 => self.deliver()?,
            40..50 => self.hear()?,
            50..54 => self.suspect(),
            54..60 => self.report(),
            60..70 => self.converse()?,
            70..80 => self.send()?,
            _ => self.poll()?,
        }
        Ok(())
    }

    /// Nothing changes any more, and what is under way arrives: every dead worker is taken off the
    /// list, and every router hears everybody.
    pub(crate) fn settle(&mut self) -> Result<(), Broken> {
        let dead = self.workers.iter().filter(|(_, worker)| !worker.runs);
        let dead: Vec<WorkerId> = dead.map(|(id, _)| id.clone()).collect();
        for id in dead {
            self.workers.remove(&id);
            self.tell(&id);
        }
        for at in 0..self.routers.len() {
            while !self.routers[at].inbox.is_empty() {
                let place = self.dice.below(self.routers[at].inbox.len());
                self.learn(at, place)?;
            }
            for (id, worker) in &self.workers {
                self.routers[at].hear(id, worker.boot);
            }
            self.routers[at].loads.clear();
        }
        Ok(())
    }

    fn join(&mut self) {
        let id = WorkerId::new(&format!("worker-{}", self.dice.below(NAMES)));
        if self.workers.contains_key(&id) {
            return;
        }
        let boot = self.boots.entry(id.clone()).or_default();
        *boot += 1;
        let zone = self.dice.one(&[None, Some("a"), Some("b")]);
        let worker = Worker {
            boot: *boot,
            runs: true,
            member: Member {
                zone: zone.copied().flatten().map(Into::into),
                ..Member::new(id.clone())
            },
            state: WorkerState::Active,
        };
        self.workers.insert(id.clone(), worker);
        self.tell(&id);
    }

    fn leave(&mut self) {
        if let Some(id) = self.anyone() {
            self.workers.remove(&id);
            self.tell(&id);
        }
    }

    fn kill(&mut self) {
        if let Some(worker) = self.anyone().and_then(|id| self.workers.get_mut(&id)) {
            worker.runs = false;
        }
    }

    fn restart(&mut self) {
        let Some(id) = self.anyone() else { return };
        let boot = self.boots.entry(id.clone()).or_default();
        *boot += 1;
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.boot = *boot;
            worker.runs = true;
        }
    }

    fn change(&mut self) {
        let Some(id) = self.anyone() else { return };
        let roll = self.dice.below(10);
        if let Some(worker) = self.workers.get_mut(&id) {
            match roll {
                0..4 => worker.state = WorkerState::Draining,
                4..8 => worker.state = WorkerState::Active,
                8 => worker.member.weight = 2,
                _ => worker.member.weight = 1,
            }
            self.tell(&id);
        }
    }

    fn anyone(&mut self) -> Option<WorkerId> {
        let place = self.dice.below(self.workers.len());
        self.workers.keys().nth(place).cloned()
    }

    /// The source says how a member stands now, to every router, at once for none.
    fn tell(&mut self, id: &WorkerId) {
        self.version += 1;
        let worker = self.workers.get(id);
        let fact = Fact {
            version: self.version,
            id: id.clone(),
            listed: worker.map(|worker| (worker.member.clone(), worker.state)),
        };
        for router in &mut self.routers {
            router.inbox.push(fact.clone());
        }
    }

    fn deliver(&mut self) -> Result<(), Broken> {
        let at = self.dice.below(self.routers.len());
        let place = self.dice.below(self.routers[at].inbox.len());
        self.learn(at, place)
    }

    fn learn(&mut self, at: usize, place: usize) -> Result<(), Broken> {
        let before = self.memory.look(&self.routers[at])?;
        self.routers[at].learn(place);
        let after = self.memory.look(&self.routers[at])?;
        self.tally.moved += moves(&before, &after)?;
        Ok(())
    }

    fn hear(&mut self) -> Result<(), Broken> {
        let at = self.dice.below(self.routers.len());
        if let Some(id) = self.anyone()
            && let Some(worker) = self.workers.get(&id).filter(|worker| worker.runs)
        {
            self.routers[at].hear(&id, worker.boot);
            self.memory.look(&self.routers[at])?;
        }
        Ok(())
    }

    fn suspect(&mut self) {
        let at = self.dice.below(self.routers.len());
        if let Some(id) = self.anyone() {
            self.routers[at].ejected.insert(id);
        }
    }

    fn report(&mut self) {
        let at = self.dice.below(self.routers.len());
        let Some(id) = self.anyone() else { return };
        let state = match self.dice.percent(10) {
            true => WorkerState::Draining,
            false => WorkerState::Active,
        };
        let load = Load {
            in_flight: u32::try_from(self.dice.below(24)).unwrap(),
            capacity: 20,
            state,
        };
        self.routers[at].loads.insert(id, load);
    }

    /// A client goes on with a context that it named.
    fn converse(&mut self) -> Result<(), Broken> {
        let context = format!("context-{}", self.dice.below(CONTEXTS));
        self.call(Call::context(&context))
    }

    /// A client begins anew.
    fn send(&mut self) -> Result<(), Broken> {
        self.messages += 1;
        let message = format!("message-{}", self.messages);
        self.call(Call::message(&message))
    }

    /// Places a call that may make a task, and makes it at the first candidate that runs.
    fn call(&mut self, call: Call<'_>) -> Result<(), Broken> {
        let at = self.dice.below(self.routers.len());
        let router = &self.routers[at];
        let pool = router.pool();
        let placed = router.place(call);
        self.memory.place(router, call, &placed)?;
        let Ok(placement) = placed else {
            self.tally.refused += 1;
            return Ok(());
        };
        self.tally.placed += 1;
        let Some((member, id)) = self.reach(at, &pool, &placement).last().cloned() else {
            return Ok(());
        };
        let Some(worker) = self.workers.get(&id).filter(|worker| worker.runs) else {
            return Ok(());
        };
        let slot = placement.slot.unwrap_or_default();
        let router = &self.routers[at];
        let life = (id, worker.boot);
        let task = Task {
            id: router.mint(&pool, member, slot, &self.tasks.len().to_string()),
            named: pool.incarnation(member),
            maker: life.clone(),
            holder: life,
        };
        if self.tasks.len() >= TASKS_MOST {
            let place = self.dice.below(TASKS_MOST);
            self.tasks.swap_remove(place);
        }
        self.tasks.push(task);
        Ok(())
    }

    /// Tries the candidates one after the other, up to the first whose process runs. Who does not
    /// answer is ejected.
    fn reach(&mut self, at: usize, pool: &Pool, placement: &Placement) -> Vec<(u16, WorkerId)> {
        let mut tried = Vec::new();
        for member in placement.candidates.iter().copied() {
            let id = Router::name(pool, member);
            let runs = self.workers.get(&id).is_some_and(|worker| worker.runs);
            tried.push((member, id.clone()));
            if runs {
                break;
            }
            self.routers[at].ejected.insert(id);
            self.tally.failed_over += 1;
        }
        tried
    }

    /// A client asks for a task that it knows.
    fn poll(&mut self) -> Result<(), Broken> {
        let at = self.dice.below(self.routers.len());
        let which = self.dice.below(self.tasks.len());
        self.ask(at, which)
    }

    /// Asks one router for one task, and follows the call to where it ends.
    pub(crate) fn ask(&mut self, at: usize, which: usize) -> Result<(), Broken> {
        let Some(task) = self.tasks.get(which) else {
            return Ok(());
        };
        let router = &self.routers[at];
        let pool = router.pool();
        let placed = router.place(Call::poll(&task.id));
        let Ok(placement) = placed else {
            self.tally.refused += 1;
            return Ok(());
        };
        self.memory.route(router, task, &placement, &self.workers)?;
        let orphaned = matches!(placement.reason, Reason::Orphan { .. });
        let tried = self.reach(at, &pool, &placement);
        let position = tried.len() - 1;
        let Some((_, id)) = tried.last() else {
            return Ok(());
        };
        let Some(worker) = self.workers.get(id).filter(|worker| worker.runs) else {
            return Ok(());
        };
        let life = (id.clone(), worker.boot);
        let adopts = placement.is_orphan_at(position);
        let task = &mut self.tasks[which];
        self.tally.orphaned += u64::from(orphaned);
        if life == task.holder {
            self.tally.pinned += u64::from(!orphaned);
        } else if adopts {
            task.holder = life;
        } else if life == task.maker {
            // It lives and gave the task away: it knows to whom, and says so.
            self.tally.late += 1;
        } else {
            self.tally.late += 1;
            let heard = self.routers[at].heard(id);
            Memory::only_late(heard, &life, &self.tasks[which])?;
        }
        Ok(())
    }
}
