//! What befalls the workers, drawn from a seed, and how soon their tasks went on.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, ensure};
use mesh_runtime::clock;
use mesh_tests::{
    load,
    mesh::{Mesh, Node, Plan},
    process::Signal,
    wire::{self, Ask},
};
use tempfile::{NamedTempFile, TempDir};
use tokio::time::Instant;

use crate::{AGENT, WORKERS};

/// Longer than the lease, so that some of the frozen wake up and find their tasks gone.
const FREEZE: (u64, u64) = (500, 7000);
/// Between two faults.
const PAUSE: (u64, u64) = (500, 1800);
/// So many live at least.
const FEWEST: usize = 4;
const FOR_EVER: Duration = Duration::from_secs(3600);

/// A sequence of chances that a seed repeats (SplitMix64; Steele et al., OOPSLA 2014).
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    pub(crate) fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to - from)
    }
}

/// What befell a worker.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Fault {
    Killed,
    Frozen,
    Drained,
}

/// When something befell a worker.
#[derive(Clone, Copy, Debug)]
struct Befell {
    fault: Fault,
    /// The second of the day.
    at: f64,
    /// For how many seconds.
    lasts: f64,
    /// Whether another worker was frozen then: it may be the very heir, or hold the store's lock.
    among_frozen: bool,
}

/// The mesh, and what befell it.
pub(crate) struct Stage {
    plan: Plan,
    mesh: Mesh,
    started: usize,
    /// Those that frozen workers wake up after.
    asleep: Vec<(Instant, String)>,
    boots: BTreeMap<String, String>,
    /// By boot: what befell it, in order.
    befell: BTreeMap<String, Vec<Befell>>,
    dead: Vec<Node>,
    _files: (NamedTempFile, TempDir),
}

impl Stage {
    pub(crate) const fn new(plan: Plan, mesh: Mesh, files: (NamedTempFile, TempDir)) -> Self {
        Self {
            plan,
            mesh,
            started: WORKERS,
            asleep: Vec::new(),
            boots: BTreeMap::new(),
            befell: BTreeMap::new(),
            dead: Vec::new(),
            _files: files,
        }
    }

    /// The agent at each router.
    pub(crate) fn urls(&self) -> Vec<String> {
        let routers = self.mesh.routers.iter();
        routers.map(|router| router.url(AGENT)).collect()
    }

    /// Does harm for so long, and then lets all wake up.
    pub(crate) async fn rage(&mut self, dice: &mut Dice, how_long: Duration) -> Result<()> {
        let until = Instant::now() + how_long;
        while Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(dice.between(PAUSE.0, PAUSE.1))).await;
            self.wake(Instant::now());
            let awake: Vec<usize> = (0..self.mesh.workers.len())
                .filter(|number| !self.is_asleep(*number))
                .collect();
            let victim = awake[usize::try_from(dice.below(awake.len() as u64))?];
            match dice.below(10) {
                0..4 => self.kill(victim).await?,
                4..7 if awake.len() > FEWEST => {
                    let pause = Duration::from_millis(dice.between(FREEZE.0, FREEZE.1));
                    self.freeze(victim, pause).await?;
                }
                4..9 => self.drain(victim).await?,
                _ if self.mesh.workers.len() < WORKERS + 2 => self.join().await?,
                _ => self.drain(victim).await?,
            }
        }
        while let Some(last) = self.asleep.iter().map(|(until, _)| *until).max() {
            tokio::time::sleep_until(last).await;
            self.wake(Instant::now());
        }
        Ok(())
    }

    async fn kill(&mut self, victim: usize) -> Result<()> {
        self.befalls(victim, Fault::Killed, FOR_EVER).await?;
        let mut dead = self.mesh.workers.remove(victim);
        dead.process.signal(Signal::Kill)?;
        dead.process.end().await?;
        self.dead.push(dead);
        self.join().await
    }

    async fn freeze(&mut self, victim: usize, pause: Duration) -> Result<()> {
        self.befalls(victim, Fault::Frozen, pause).await?;
        let worker = &self.mesh.workers[victim];
        // By itself: who holds the store's lock while frozen would else keep those from starting for whom
        // this loop waits.
        worker.process.freeze(pause)?;
        self.asleep
            .push((Instant::now() + pause, worker.address.to_string()));
        Ok(())
    }

    async fn drain(&mut self, victim: usize) -> Result<()> {
        self.befalls(victim, Fault::Drained, FOR_EVER).await?;
        let mut leaving = self.mesh.workers.remove(victim);
        self.join().await?;
        let status = leaving.end_by(Signal::Term).await?;
        ensure!(status.success(), "a drained worker ended with {status}");
        self.dead.push(leaving);
        Ok(())
    }

    /// A new worker comes, and the routers are told who is there.
    async fn join(&mut self) -> Result<()> {
        let worker = self.plan.start_worker(self.started).await?;
        self.started += 1;
        self.mesh.workers.push(worker);
        self.mesh.tell_members(&[AGENT.to_owned()])
    }

    /// Forgets those that are awake again.
    fn wake(&mut self, now: Instant) {
        self.asleep.retain(|(until, _)| *until > now);
    }

    fn is_asleep(&self, number: usize) -> bool {
        let address = self.mesh.workers[number].address.to_string();
        self.asleep.iter().any(|(_, asleep)| *asleep == address)
    }

    /// Notes a fault just before it is done, by the worker's boot.
    async fn befalls(&mut self, victim: usize, fault: Fault, lasts: Duration) -> Result<()> {
        let address = self.mesh.workers[victim].address;
        let key = address.to_string();
        if !self.boots.contains_key(&key) {
            let reply = wire::exchange(address, &Ask::get("/-/worker")).await?;
            let boot = reply.json()?["boot"].as_str().map(str::to_owned);
            self.boots.insert(key.clone(), boot.context("a boot")?);
        }
        let since = Duration::from_millis(clock::unix_millis());
        let befell = Befell {
            fault,
            at: since.as_secs_f64() % DAY,
            lasts: lasts.as_secs_f64(),
            among_frozen: !self.asleep.is_empty(),
        };
        let boot = self.boots[&key].clone();
        self.befell.entry(boot).or_default().push(befell);
        Ok(())
    }

    /// How long after what befell their worker tasks were adopted, by the logs.
    pub(crate) fn recoveries(&self) -> Recoveries {
        let mut recoveries = Recoveries::default();
        for befell in self.befell.values().flatten() {
            *recoveries.faults.entry(befell.fault).or_default() += 1;
        }
        for worker in self.mesh.workers.iter().chain(&self.dead) {
            for line in worker.process.log() {
                let Some((second, boot)) = adoption(&line) else {
                    continue;
                };
                let befell = self.befell.get(boot).into_iter().flatten();
                // The last before it; a midnight between the two is half a day away at most.
                let since = befell.map(|befell| ((second - befell.at).rem_euclid(DAY), befell));
                let nearest = since.min_by(|one, other| one.0.total_cmp(&other.0));
                // What is adopted from one that woke up again is another story.
                match nearest.filter(|(took, befell)| *took < befell.lasts) {
                    Some((_, befell)) if befell.among_frozen => recoveries.among_frozen += 1,
                    Some((took, befell)) => {
                        recoveries.took.entry(befell.fault).or_default().push(took);
                    }
                    None => recoveries.awake += 1,
                }
            }
        }
        for took in recoveries.took.values_mut() {
            took.sort_by(f64::total_cmp);
        }
        recoveries
    }

    /// Checks that whoever is left runs and answers.
    pub(crate) async fn are_well(&mut self) -> Result<()> {
        let routers = self.mesh.routers.iter_mut();
        for node in routers.chain(&mut self.mesh.workers) {
            node.is_well().await?;
        }
        Ok(())
    }
}

const DAY: f64 = 86_400.0;

/// The second of the day and the boot of a line that tells of an adoption.
fn adoption(line: &str) -> Option<(f64, &str)> {
    line.contains("a task is adopted").then_some(())?;
    let time = line.split('T').nth(1)?.split('Z').next()?;
    let second = time.split(':').try_fold(0.0, |sum, part| {
        Some(sum * 60.0 + part.parse::<f64>().ok()?)
    })?;
    let boot = line.split("from=\"").nth(1)?.split('"').next()?;
    Some((second, boot))
}

/// See [`Stage::recoveries`]: seconds, sorted.
#[derive(Debug, Default)]
pub(crate) struct Recoveries {
    faults: BTreeMap<Fault, usize>,
    took: BTreeMap<Fault, Vec<f64>>,
    /// Adopted while a third worker was frozen.
    among_frozen: usize,
    /// Adopted from a worker that ran.
    awake: usize,
}

impl Recoveries {
    pub(crate) fn report(&self) -> String {
        let mut report = String::new();
        for (fault, count) in &self.faults {
            let took = self.took.get(fault).map_or(&[][..], Vec::as_slice);
            report += &format!(
                "{fault:?} {count} workers, of whom {} tasks were adopted after p50 {:.3} s, p99 {:.3} s, \
                 most {:.3} s\n",
                took.len(),
                share(took, 0.5),
                share(took, 0.99),
                share(took, 1.0)
            );
        }
        report += &format!(
            "beside these, {} tasks were adopted while a third worker was frozen, and {} of workers that \
             ran: what a router could not reach, or woke up\n",
            self.among_frozen, self.awake
        );
        report
    }

    /// Whether tasks went on in time: a killed worker's within a second, a frozen one's within its lease
    /// and the time between two looks for leases. Of a whole run that is asked of 99 in 100; of a short
    /// one, which sees few, of half.
    ///
    /// Where nothing at all was adopted, nothing was shown.
    pub(crate) fn judge(&self, lease: Duration) -> Vec<String> {
        if self.took.is_empty() {
            return vec!["no task was adopted from anybody".to_owned()];
        }
        let bounds = [
            (Fault::Killed, 1.0),
            (Fault::Frozen, lease.as_secs_f64() * 4.0 / 3.0 + 1.0),
        ];
        let late = bounds.iter().filter_map(|(fault, bound)| {
            let of = if load::is_long() { 0.99 } else { 0.5 };
            let took = share(self.took.get(fault)?, of);
            (took > *bound).then(|| {
                format!("{fault:?} workers' tasks were adopted after {took:.3} s, not {bound:.3} s")
            })
        });
        late.collect()
    }
}

/// The value below which this share of sorted ones is.
fn share(sorted: &[f64], share: f64) -> f64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index into a list of some thousands"
    )]
    let index = ((sorted.len() as f64 * share).ceil() as usize).saturating_sub(1);
    sorted.get(index).copied().unwrap_or_default()
}
