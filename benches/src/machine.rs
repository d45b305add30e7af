//! On what a measurement ran, and what it cost: from `/proc`, so empty elsewhere.
//!
//! # Invariants
//! - What can't be read is left out, never guessed.

use std::{collections::BTreeMap, fs};

use serde::{Deserialize, Serialize};

/// The machine of a report: figures without it say nothing.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Machine {
    /// The processor's own name.
    pub processor: String,
    /// How many of its threads this process may use.
    pub cores: usize,
    /// The kernel.
    pub kernel: String,
    /// Gibibytes of memory.
    pub memory_gib: u64,
    /// Processes that wanted to run, over the last minute before the measurement: whether the machine
    /// was its own.
    pub load: String,
}

impl Machine {
    /// This machine, now.
    #[must_use]
    pub fn here() -> Self {
        let cpus = read("/proc/cpuinfo");
        let memory = read("/proc/meminfo");
        let kib: u64 = field(&memory, "MemTotal").and_then(number).unwrap_or(0);
        Self {
            processor: field(&cpus, "model name").unwrap_or_default().to_owned(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            memory_gib: kib >> 20,
            load: read("/proc/loadavg")
                .split(' ')
                .next()
                .unwrap_or_default()
                .to_owned(),
        }
    }
}

/// The processor time that a process has taken so far, in seconds; `None` where it is gone.
#[must_use]
pub fn processor_seconds(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program, in brackets, may hold anything.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(UTIME);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some((f64::from(user) + f64::from(system)) / TICKS)
}

/// What each of these processes, and this one as `load`, has taken so far.
pub(crate) fn costs_of(watched: &[(String, u32)]) -> BTreeMap<String, f64> {
    let own = ("load".to_owned(), std::process::id());
    let all = watched.iter().chain(std::iter::once(&own));
    let mut costs = BTreeMap::new();
    for (name, pid) in all {
        if let Some(seconds) = processor_seconds(*pid) {
            *costs.entry(name.clone()).or_default() += seconds;
        }
    }
    costs
}

/// What they took since then.
pub(crate) fn spent_since(
    before: &BTreeMap<String, f64>,
    watched: &[(String, u32)],
) -> BTreeMap<String, f64> {
    let now = costs_of(watched);
    now.into_iter()
        .map(|(name, seconds)| {
            let earlier = before.get(&name).copied().unwrap_or(seconds);
            (name, seconds - earlier)
        })
        .collect()
}

/// Fields between the name and `utime` (proc(5)).
const UTIME: usize = 11;
/// The unit of these fields: a constant of the kernel's interface (`USER_HZ`), whatever its real clock.
const TICKS: f64 = 100.0;

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_once(':').map(|(_, value)| value.trim())
}

fn number(text: &str) -> Option<u64> {
    text.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn this_machine_and_this_process_are_there() {
        let here = Machine::here();
        assert!(here.cores > 0 && !here.kernel.is_empty(), "{here:?}");
        assert!(processor_seconds(std::process::id()).is_some());
        assert!(processor_seconds(u32::MAX).is_none());
    }
}
