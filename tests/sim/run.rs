//! A run from its seed to its verdict: faults first, then none, with every invariant looked at all the
//! way.
//!
//! # Invariants
//! - Each run has a thread of its own, with dice of its own: nothing of one run is left for the next.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
};

use mesh_runtime::flaw;
use parking_lot::Mutex;

use crate::{
    history::What,
    invariants::{self, Invariant},
    mesh::Mesh,
    plan::{HEAL, Options, Plan, SAFETY},
};

/// How a run went.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    pub(crate) seed: u64,
    /// The fingerprint of everything that happened.
    pub(crate) hash: u64,
    /// Everything that happened, a line each.
    pub(crate) lines: Vec<String>,
    /// What was broken.
    pub(crate) broken: Option<String>,
}

/// The number of a task decides where tokio lists it, and so in which order tasks are dropped with their
/// runtime: no list has more rows than this.
const ROWS: u64 = 64;

/// One run at a time: tokio numbers the tasks of all threads together.
static ALONE: Mutex<()> = Mutex::new(());

/// Runs one seed.
pub(crate) fn run(seed: u64, options: Options) -> Verdict {
    let _alone = ALONE.lock();
    // A thread's own dice and the keys of its hash tables begin anew with the thread.
    let thread = std::thread::Builder::new()
        .name(format!("seed-{seed}"))
        .stack_size(8 << 20)
        .spawn(move || {
            fastrand::seed(seed);
            flaw::put(options.flaw);
            align_tasks();
            play(&Plan::of(seed, options))
        });
    let thread = thread.expect("a thread can be had");
    thread.join().unwrap_or_else(|panic| Verdict {
        seed,
        hash: 0,
        lines: Vec::new(),
        broken: Some(format!("the harness panicked: {}", words(&*panic))),
    })
}

/// Has the next task be numbered as it would be in a process that has done nothing yet, but for whole
/// rows.
fn align_tasks() {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.expect("a runtime can be had");
    loop {
        let number = runtime.spawn(async {}).id().to_string();
        if number.parse::<u64>().is_ok_and(|number| number % ROWS == 0) {
            return;
        }
    }
}

fn play(plan: &Plan) -> Verdict {
    let mut mesh = Mesh::new(plan);
    let mut invariants = invariants::all(plan);
    let played = catch_unwind(AssertUnwindSafe(|| steps(plan, &mut mesh, &mut invariants)));
    let broken = match played {
        Ok(Ok(())) => None,
        Ok(Err(broken)) => Some(broken),
        Err(panic) => Some(format!("a panic: {}", words(&*panic))),
    };
    Verdict {
        seed: plan.seed,
        hash: mesh.history.hash(),
        lines: mesh.history.lines(),
        broken,
    }
}

fn steps(
    plan: &Plan,
    mesh: &mut Mesh,
    invariants: &mut [Box<dyn Invariant>],
) -> Result<(), String> {
    let mut acts = plan.acts.iter().peekable();
    let mut seen = 0;
    let mut calm = false;
    loop {
        let now = mesh.sim.elapsed();
        mesh.history.clock(now);
        while let Some((_, act)) = acts.next_if(|(at, _)| *at <= now) {
            mesh.act(*act);
        }
        if !calm && now >= SAFETY {
            calm = true;
            mesh.history.tell(What::Calm);
        }
        let done = mesh
            .sim
            .step()
            .map_err(|error| format!("a host failed: {error}"))?;
        let news = mesh.history.since(seen);
        seen += news.len();
        for invariant in &mut *invariants {
            for entry in &news {
                let judged = invariant.look(entry);
                judged.map_err(|broken| format!("{}: {broken}", invariant.name()))?;
            }
        }
        if (done && calm) || now >= SAFETY + HEAL {
            break;
        }
    }
    for invariant in invariants {
        let judged = invariant.end();
        judged.map_err(|broken| format!("{}: {broken}", invariant.name()))?;
    }
    Ok(())
}

fn words(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "without words".to_owned())
}
