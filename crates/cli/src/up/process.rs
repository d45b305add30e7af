//! One process of the mesh: this program again, in another role, or a sidecar.
//!
//! # Invariants
//! - It is a process group of its own, so that a Ctrl-C at the terminal reaches `up` alone, which
//!   then ends the others in order.
//! - It is killed when dropped, and ends itself when `up` is killed: no way out leaves it behind. Only a
//!   sidecar, which is not ours, outlives an `up` that is killed by SIGKILL.
//! - Signals go to the one pid that was started here, and only while it is known to run.

use std::{
    fs::{File, OpenOptions},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{Child, Command},
    time::Instant,
};

use crate::role;

/// A process and its log, which holds what it prints and what it logs.
pub(super) struct Process {
    pub(super) name: String,
    pub(super) pid: u32,
    child: Child,
    log: PathBuf,
    /// Where in the log this process began: a kept folder has older lines in it.
    from: u64,
}

impl Process {
    /// This program with other arguments, to be run.
    pub(super) fn role(arguments: &[String]) -> anyhow::Result<Command> {
        let exe = std::env::current_exe().context("can't find this program")?;
        let mut command = Command::new(exe);
        command.args(arguments);
        Ok(command)
    }

    /// Starts a program.
    pub(super) fn run(name: &str, mut command: Command, log: &Path) -> anyhow::Result<Self> {
        let open =
            || -> std::io::Result<File> { OpenOptions::new().create(true).append(true).open(log) };
        let file = open().with_context(|| format!("can't write {}", log.display()))?;
        let from = file.metadata().map_or(0, |meta| meta.len());
        let child = command
            .env(role::PARENT, std::process::id().to_string())
            .stdin(Stdio::null())
            .stdout(file.try_clone().context("can't share the log")?)
            .stderr(file)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("can't start {name}"))?;
        Ok(Self {
            name: name.to_owned(),
            pid: child.id().context("it ended at once")?,
            child,
            log: log.to_owned(),
            from,
        })
    }

    /// Waits for the line `<what> ready on <URL> ...` and gives its URL.
    pub(super) async fn ready(&mut self, what: &str, limit: Duration) -> anyhow::Result<String> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(url) = ready_url(&self.said(), what) {
                return Ok(url.to_owned());
            }
            self.check()?;
            if Instant::now() >= deadline {
                bail!(
                    "{} is not ready after {} s\n{}",
                    self.name,
                    limit.as_secs(),
                    self.tail()
                );
            }
            tokio::time::sleep(super::LOOK).await;
        }
    }

    /// How it ended, if it did.
    pub(super) fn ended(&mut self) -> Option<String> {
        self.child.try_wait().ok().flatten().map(describe)
    }

    /// Fails if it ended, with the last lines that it left.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        match self.ended() {
            Some(how) => bail!("{} ended ({how})\n{}", self.name, self.tail()),
            None => Ok(()),
        }
    }

    fn terminate(&mut self) {
        // Not after it was waited for: its pid may be somebody else's by then.
        if self.ended().is_none()
            && let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw)
        {
            // It may end in this very moment; then there is nothing left to ask.
            kill_process(pid, Signal::TERM).unwrap_or_default();
        }
    }

    fn said(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        let from = usize::try_from(self.from).unwrap_or(0).min(bytes.len());
        String::from_utf8_lossy(&bytes[from..]).into_owned()
    }

    /// The last lines of its log, indented.
    pub(super) fn tail(&self) -> String {
        let said = self.said();
        let lines: Vec<&str> = said.lines().collect();
        let last = &lines[lines.len().saturating_sub(TAIL)..];
        let indented: Vec<String> = last.iter().map(|line| format!("  | {line}")).collect();
        indented.join("\n")
    }
}

/// Asks processes to end, all at once, and kills those that have not after the grace.
pub(super) async fn stop(mut processes: Vec<&mut Process>, grace: Duration) {
    for process in &mut processes {
        process.terminate();
    }
    let deadline = Instant::now() + grace;
    for process in processes {
        let waited = tokio::time::timeout_at(deadline, process.child.wait()).await;
        if waited.is_err() {
            // kill() waits, too; it fails only where nothing is left to kill.
            drop(process.child.kill().await);
        }
    }
}

fn ready_url<'a>(said: &'a str, what: &str) -> Option<&'a str> {
    let start = format!("{what} ready on ");
    // The last line may be only half written.
    said.split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
        .find_map(|line| line.strip_prefix(&start))
        .and_then(|rest| rest.split_whitespace().next())
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}{}", name(signal)),
        (None, None) => "for no reason that the system tells".to_owned(),
    }
}

const fn name(signal: i32) -> &'static str {
    match signal {
        6 => " SIGABRT",
        9 => " SIGKILL",
        11 => " SIGSEGV",
        15 => " SIGTERM",
        _ => "",
    }
}

/// How many lines of a log are shown after a failure.
const TAIL: usize = 15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ready_line_is_read_only_when_it_is_whole() {
        let said = "noise\nworker ready on http://127.0.0.1:40123 (agents: a, b)\n";
        assert_eq!(ready_url(said, "worker"), Some("http://127.0.0.1:40123"));
        assert_eq!(ready_url(said, "router"), None);
        assert_eq!(
            ready_url("router ready on http://127.0.0.1:80", "router"),
            None
        );
    }

    #[test]
    fn the_way_a_process_ended_is_told() {
        assert_eq!(describe(ExitStatus::from_raw(9)), "signal 9 SIGKILL");
        assert_eq!(describe(ExitStatus::from_raw(3 << 8)), "exit code 3");
    }

    #[tokio::test]
    async fn a_process_that_ends_too_early_shows_its_last_words() {
        let dir = std::env::temp_dir().join(format!("daca-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir_all(&dir).unwrap();
        // The test binary takes other arguments than `daca`, and says so.
        let arguments = ["--no-such-flag".to_owned()];
        let command = Process::role(&arguments).unwrap();
        let mut process = Process::run("router", command, &dir.join("router.log")).unwrap();
        let error = process
            .ready("router", Duration::from_secs(30))
            .await
            .unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("router ended (exit code"), "{text}");
        assert!(text.contains("no-such-flag"), "{text}");
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
