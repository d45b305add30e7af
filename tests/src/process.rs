//! One child process of a test: started, listened to, stopped.
//!
//! # Invariants
//! - A process never outlives its handle, nor do the children that it started in its group.
//! - Everything that it printed is kept and shown with the test that failed, in the order of coming.

use std::{
    collections::VecDeque,
    io::Write as _,
    path::Path,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use parking_lot::Mutex;
use rustix::process::{Pid, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader},
    process::{Child, Command},
    sync::Notify,
};

use crate::eventually::{PATIENCE, eventually};

/// How many lines of a process are kept; the oldest go first.
const KEPT_LINES: usize = 20_000;

/// How many looks at 50 ms a supervisor gets to end its own: longer than its own patience with them.
const TURNS_TO_END: u32 = 400;

/// A running program with its output.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    group: u32,
    supervises: bool,
    output: Arc<Output>,
}

#[derive(Debug, Default)]
struct Output {
    lines: Mutex<VecDeque<String>>,
    more: Notify,
}

/// What a process prints.
#[derive(Clone, Debug)]
pub struct Printed(Arc<Output>);

impl Printed {
    /// The lines so far.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.0.lines.lock().iter().cloned().collect()
    }
}

/// The signals that tests send.
#[derive(Clone, Copy, Debug)]
pub enum Signal {
    /// A request to end well.
    Term,
    /// What Ctrl-C sends.
    Int,
    /// The end, at once.
    Kill,
    /// The end of a stop; see [`Process::stop`].
    Cont,
}

impl From<Signal> for rustix::process::Signal {
    fn from(signal: Signal) -> Self {
        match signal {
            Signal::Term => Self::TERM,
            Signal::Int => Self::INT,
            Signal::Kill => Self::KILL,
            Signal::Cont => Self::CONT,
        }
    }
}

impl Process {
    /// Starts `command` as `name`. Its output is read from here on.
    ///
    /// # Errors
    /// When the program can't be started.
    pub fn start(name: &str, mut command: Command) -> Result<Self> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command
            .spawn()
            .with_context(|| format!("starting {name}: {:?}", command.as_std()))?;
        let output = Arc::new(Output::default());
        let stdout = child.stdout.take().context("its output is piped")?;
        let stderr = child.stderr.take().context("its errors are piped")?;
        keep_lines(stdout, &output);
        keep_lines(stderr, &output);
        Ok(Self {
            name: name.to_owned(),
            group: child.id().context("it has just started")?,
            child,
            supervises: false,
            output,
        })
    }

    /// Marks a process that has started others: it is given time to end them before it is killed.
    #[must_use]
    pub const fn supervisor(mut self) -> Self {
        self.supervises = true;
        self
    }

    /// Waits for a line that `wanted` makes something of.
    ///
    /// # Errors
    /// When the process ends first, or takes longer than [`PATIENCE`].
    pub async fn line<T>(&mut self, wanted: impl Fn(&str) -> Option<T>) -> Result<T> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let more = self.output.more.notified();
            if let Some(found) = self
                .output
                .lines
                .lock()
                .iter()
                .find_map(|line| wanted(line))
            {
                return Ok(found);
            }
            tokio::select! {
                () = more => {}
                status = self.child.wait() => {
                    // What it said last may still be on its way through the pipe.
                    tokio::task::yield_now().await;
                    let found = self.output.lines.lock().iter().find_map(|line| wanted(line));
                    match found {
                        Some(found) => return Ok(found),
                        None => bail!("{} ended with {} too early", self.name, status?),
                    }
                }
                () = tokio::time::sleep_until(deadline) => {
                    bail!("{} did not say it within {} s", self.name, PATIENCE.as_secs())
                }
            }
        }
    }

    /// What it prints, for whoever outlives it.
    #[must_use]
    pub fn printed(&self) -> Printed {
        Printed(Arc::clone(&self.output))
    }

    /// Its process id, as long as it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Everything that it has said so far.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.output.lines.lock().iter().cloned().collect()
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// When the system can't say.
    pub fn is_alive(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Sends a signal to this process alone.
    ///
    /// # Errors
    /// When it has ended, or `kill` can't be run.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let id = self.child.id().and_then(pid);
        let id = id.with_context(|| format!("{} has ended", self.name))?;
        Ok(kill_process(id, signal.into())?)
    }

    /// Stops it where it stands, its connections with it, and waits until it does: on a busy machine its
    /// threads run on for a while after the signal was sent.
    ///
    /// # Errors
    /// When it has ended, or takes longer than [`PATIENCE`].
    pub async fn stop(&self) -> Result<()> {
        let id = self.child.id().and_then(pid);
        let id = id.with_context(|| format!("{} has ended", self.name))?;
        kill_process(id, rustix::process::Signal::STOP)?;
        eventually("all its threads to stand", async || {
            let stopped = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG;
            Ok(waitid(WaitId::Pid(id), stopped)?)
        })
        .await?;
        Ok(())
    }

    /// Stops it where it stands, and lets it go on after a pause, whatever the caller waits for then.
    ///
    /// # Errors
    /// As [`Self::signal`].
    #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
    pub fn freeze(&self, pause: Duration) -> Result<()> {
        let id = self.child.id().and_then(pid);
        let id = id.with_context(|| format!("{} has ended", self.name))?;
        kill_process(id, rustix::process::Signal::STOP)?;
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            // Whoever was killed meanwhile needs no waking.
            kill_process(id, Signal::Cont.into()).ok();
        });
        Ok(())
    }

    /// Waits for its end, for as long as it takes.
    ///
    /// # Errors
    /// When the system can't say.
    pub async fn gone(&mut self) -> Result<ExitStatus> {
        Ok(self.child.wait().await?)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it takes longer than [`PATIENCE`].
    pub async fn end(&mut self) -> Result<ExitStatus> {
        match tokio::time::timeout(PATIENCE, self.child.wait()).await {
            Ok(status) => Ok(status?),
            Err(_) => bail!("{} did not end within {} s", self.name, PATIENCE.as_secs()),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.supervises && self.signal(Signal::Term).is_ok() {
            for _ in 0..TURNS_TO_END {
                if !self.is_alive().unwrap_or(false) {
                    break;
                }
                std::thread::park_timeout(Duration::from_millis(50));
            }
        }
        if let Some(group) = pid(self.group) {
            // The whole group. An error means that all are gone already.
            kill_process_group(group, Signal::Kill.into()).ok();
        }
        // Through the print macro, which the test harness captures and shows for failed tests only.
        let mut out = format!("--- {}\n", self.name);
        for line in self.output.lines.lock().iter() {
            out.push_str(line);
            out.push('\n');
        }
        #[expect(clippy::print_stdout, reason = "captured by the test harness")]
        {
            print!("{out}");
        }
    }
}

/// Runs a program to its end and gives its output, whatever its exit status.
///
/// # Errors
/// When it can't be started or takes longer than ten times [`PATIENCE`].
pub async fn run(mut command: Command) -> Result<std::process::Output> {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let what = format!("{:?}", command.as_std());
    match tokio::time::timeout(PATIENCE * 10, command.output()).await {
        Ok(output) => output.with_context(|| format!("running {what}")),
        Err(_) => bail!("hung: {what}"),
    }
}

/// Says something that the test harness does not capture.
pub fn say(line: &str) {
    // A closed terminal is no reason to fail.
    drop(writeln!(std::io::stderr(), "{line}"));
}

/// The program under test: the product's own `main`, built with the tests.
#[must_use]
pub fn daca(program: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_remove("OPENAI_API_KEY")
        .env_remove("OPENAI_BASE_URL");
    command
}

fn pid(id: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(id).ok()?)
}

fn keep_lines(pipe: impl AsyncRead + Unpin + Send + 'static, output: &Arc<Output>) {
    let output = Arc::clone(output);
    let reading = async move {
        let mut lines = BufReader::new(pipe).split(b'\n');
        // A read error is the pipe's end.
        while let Ok(Some(line)) = lines.next_segment().await {
            let mut kept = output.lines.lock();
            if kept.len() == KEPT_LINES {
                kept.pop_front();
            }
            kept.push_back(String::from_utf8_lossy(&line).into_owned());
            drop(kept);
            output.more.notify_waiters();
        }
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "a test has no drain; it ends with the pipe"
    )]
    drop(tokio::spawn(reading));
}
