//! A run as its seed has it: who is there, what clients say, which faults come and when.
//!
//! # Invariants
//! - Everything follows from the seed; nothing here looks at a clock or at other dice.
//! - Each fault is over, and what it took is back, before [`SAFETY`] ends.
//! - No fault takes both routers or every worker at once: what is judged is what the mesh does about
//!   a fault that it can do something about.

use std::time::Duration;

use fastrand::Rng;
use mesh_client::Binding;
use mesh_runtime::flaw::Flaw;

use crate::{
    agent::Wish,
    client::{Mode, Script, Turn},
    history::Token,
};

/// How long faults come.
pub(crate) const SAFETY: Duration = Duration::from_secs(20);

/// How long everything may then take to be well: the lease of a lost worker, and the longest turn.
pub(crate) const HEAL: Duration = Duration::from_secs(45);

/// More turns at once than all clients ask for together.
pub(crate) const AMPLE: usize = 64;

/// A run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// Turns that a worker takes at once.
    pub(crate) capacity: usize,
    pub(crate) routers: usize,
    pub(crate) workers: usize,
    pub(crate) clients: Vec<Script>,
    /// In the order of their times.
    pub(crate) acts: Vec<(Duration, Act)>,
}

/// Something that is done to the mesh.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Act {
    /// A worker's process is gone.
    Crash { worker: usize },
    /// A worker starts, by the name that it had.
    Start { worker: usize },
    /// A worker is told to end, as by SIGTERM.
    Drain { worker: usize },
    /// A router's process is gone.
    CrashRouter { router: usize },
    /// It starts.
    StartRouter { router: usize },
    /// Nothing passes between a router and a worker; what was sent comes later, as TCP has it.
    Part { router: usize, worker: usize },
    /// It passes again.
    Join { router: usize, worker: usize },
    /// What a worker says to a router is lost; what the router says arrives.
    Mute { router: usize, worker: usize },
    /// It is heard again.
    Unmute { router: usize, worker: usize },
    /// Nothing passes between a worker and anybody, its store included.
    Freeze { worker: usize },
    /// It goes on.
    Thaw { worker: usize },
    /// The store refuses everybody.
    StoreDown,
    /// It answers.
    StoreUp,
    /// A router learns that a worker is a member, or is none.
    Tell {
        router: usize,
        worker: usize,
        member: bool,
    },
}

/// What the harness is told besides the seed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Options {
    /// Whether faults come at all.
    pub(crate) faults: bool,
    /// A fault of the mesh's own that is put back.
    pub(crate) flaw: Option<Flaw>,
}

impl Plan {
    pub(crate) fn of(seed: u64, options: Options) -> Self {
        let mut dice = Rng::with_seed(seed);
        let (routers, workers) = (2, dice.usize(3..=4));
        let clients = (0..dice.usize(6..=10))
            .map(|client| script(client, routers, &mut dice))
            .collect();
        let acts = if options.faults {
            let flavour = FLAVOURS[dice.usize(0..FLAVOURS.len())];
            Faults::new(routers, workers, flavour).draw(&mut dice)
        } else {
            Vec::new()
        };
        let capacity = if dice.u8(0..5) == 0 { 3 } else { AMPLE };
        Self {
            seed,
            capacity,
            routers,
            workers,
            clients,
            acts,
        }
    }
}

fn script(client: usize, routers: usize, dice: &mut Rng) -> Script {
    let conversations = (0..dice.usize(2..=4))
        .map(|conversation| {
            (0..dice.usize(1..=3))
                .map(|turn| Turn {
                    token: Token::from(format!("c{client}-{conversation}-{turn}")),
                    mode: [Mode::Blocking, Mode::Polling, Mode::Streaming][dice.usize(0..3)],
                    binding: Binding::ALL[dice.usize(0..3)],
                    router: dice.usize(0..routers),
                    wish: Wish {
                        steps: dice.usize(0..=3),
                        wait: Duration::from_millis(dice.u64(10..=600)),
                        ask: dice.u8(0..6) == 0,
                    },
                    pause: Duration::from_millis(dice.u64(0..=1500)),
                })
                .collect()
        })
        .collect();
    Script {
        begin: Duration::from_millis(dice.u64(500..=3000)),
        conversations,
        routers,
    }
}

/// A kind of fault, and what is taken by it meanwhile.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Crash,
    Drain,
    Freeze,
    Part,
    Mute,
    Leave,
    Router,
    Store,
}

/// Which faults come together: everything, or little enough that the rest must go smoothly.
const FLAVOURS: &[&[Kind]] = &[
    &[
        Kind::Crash,
        Kind::Crash,
        Kind::Drain,
        Kind::Freeze,
        Kind::Part,
        Kind::Mute,
        Kind::Leave,
        Kind::Router,
        Kind::Store,
    ],
    &[Kind::Crash, Kind::Leave],
    &[Kind::Drain, Kind::Leave],
    &[Kind::Freeze, Kind::Part, Kind::Mute, Kind::Router],
];

/// How long a drain takes at most: to start the worker's next life before that would be to kill this one.
const DRAINED: Duration = Duration::from_secs(6);

/// How long until every router knows that a worker is back, with the lag of its roster.
const SEEN: Duration = Duration::from_millis(2500);

/// Draws faults, and knows until when each part of the mesh is taken by one.
struct Faults {
    kinds: &'static [Kind],
    /// Until when a worker is away or cut off.
    workers: Vec<Duration>,
    routers: Vec<Duration>,
    store: Duration,
    acts: Vec<(Duration, Act)>,
}

impl Faults {
    fn new(routers: usize, workers: usize, kinds: &'static [Kind]) -> Self {
        Self {
            kinds,
            workers: vec![Duration::ZERO; workers],
            routers: vec![Duration::ZERO; routers],
            store: Duration::ZERO,
            acts: Vec::new(),
        }
    }

    fn draw(mut self, dice: &mut Rng) -> Vec<(Duration, Act)> {
        let mut at = Duration::from_millis(dice.u64(1500..=4000));
        while at + Duration::from_secs(3) < SAFETY {
            self.one(at, dice);
            at += Duration::from_millis(dice.u64(300..=3500));
        }
        self.acts.sort_by_key(|(at, _)| *at);
        self.acts
    }

    fn one(&mut self, at: Duration, dice: &mut Rng) {
        let worker = dice.usize(0..self.workers.len());
        let router = dice.usize(0..self.routers.len());
        let kind = self.kinds[dice.usize(0..self.kinds.len())];
        let lasts = Duration::from_millis(dice.u64(200..=8000));
        let lasts = match kind {
            Kind::Drain => lasts.max(DRAINED),
            _ => lasts,
        };
        let until = (at + lasts).min(SAFETY - Duration::from_millis(500));
        if kind == Kind::Drain && until < at + DRAINED {
            return;
        }
        // One worker at least stays untouched, and so does one router.
        let free = |of: &[Duration], which: usize| {
            of[which] < at && of.iter().filter(|until| **until < at).count() > 1
        };
        let taken = match kind {
            Kind::Router if free(&self.routers, router) => &mut self.routers[router],
            Kind::Store if self.store < at => &mut self.store,
            Kind::Router | Kind::Store => return,
            _ if free(&self.workers, worker) => &mut self.workers[worker],
            _ => return,
        };
        *taken = until + SEEN;
        let acts = match kind {
            Kind::Crash => (Act::Crash { worker }, Act::Start { worker }),
            Kind::Drain => (Act::Drain { worker }, Act::Start { worker }),
            Kind::Freeze => (Act::Freeze { worker }, Act::Thaw { worker }),
            Kind::Part => (Act::Part { router, worker }, Act::Join { router, worker }),
            Kind::Mute => (Act::Mute { router, worker }, Act::Unmute { router, worker }),
            Kind::Router => (Act::CrashRouter { router }, Act::StartRouter { router }),
            Kind::Store => (Act::StoreDown, Act::StoreUp),
            Kind::Leave => return self.leave(worker, at, until, dice),
        };
        self.acts.push((at, acts.0));
        self.acts.push((until, acts.1));
        // A worker that is gone may be taken off the roster, too.
        if matches!(kind, Kind::Crash | Kind::Drain) && dice.bool() {
            self.leave(worker, at, until, dice);
        }
    }

    /// A worker leaves the roster and comes back, seen by each router in its own time, but in this order.
    fn leave(&mut self, worker: usize, at: Duration, until: Duration, dice: &mut Rng) {
        for router in 0..self.routers.len() {
            let mut seen = Duration::ZERO;
            for (from, member) in [(at, false), (until, true)] {
                let lag = Duration::from_millis(dice.u64(0..=1500));
                let from = (from + lag).min(SAFETY - Duration::from_millis(100));
                let from = from.max(seen);
                seen = from;
                self.acts.push((
                    from,
                    Act::Tell {
                        router,
                        worker,
                        member,
                    },
                ));
            }
        }
    }
}
