//! How a process ends: what it has spawned is known, told, waited for, and at last cut.
//!
//! One [`Trigger`] stays with the one who decides, clones of [`Drain`] go to everybody who spawns.
//! Draining has two moments: the *signal* (take nothing new, finish what runs) and, when the grace
//! is over, the *cut* (what still runs is dropped where it stands).
//!
//! # Invariants
//! - Every task has a name, and [`Trigger::drain`] returns only when each has ended or is cut.
//! - The cut comes after the signal, never before it.

use std::{collections::BTreeMap, fmt, future::Future, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The two ends of a fresh drain.
#[must_use]
pub fn channel() -> (Trigger, Drain) {
    let drain = Drain {
        signal: CancellationToken::new(),
        cut: CancellationToken::new(),
        tracker: TaskTracker::new(),
        running: Arc::default(),
    };
    (Trigger(drain.clone()), drain)
}

/// What a task holds that takes part in the drain: a way to spawn, and the news that it begins.
#[derive(Clone)]
pub struct Drain {
    signal: CancellationToken,
    cut: CancellationToken,
    tracker: TaskTracker,
    running: Arc<Mutex<BTreeMap<&'static str, usize>>>,
}

impl Drain {
    /// Runs `future` as a task that the drain knows by `name`. Its value is lost when it is cut.
    ///
    /// A panic in it ends this task alone.
    pub fn spawn<F>(&self, name: &'static str, future: F) -> JoinHandle<Option<F::Output>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let cut = self.cut.clone();
        let running = Running::enter(name, Arc::clone(&self.running));
        self.tracker.spawn(async move {
            let _running = running;
            cut.run_until_cancelled(future).await
        })
    }

    /// Waits for the signal. Cancel safe: nothing is lost when the future is dropped.
    pub async fn signaled(&self) {
        self.signal.cancelled().await;
    }

    /// Whether the signal was given.
    #[must_use]
    pub fn is_signaled(&self) -> bool {
        self.signal.is_cancelled()
    }
}

impl fmt::Debug for Drain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drain")
            .field("signaled", &self.is_signaled())
            .field("running", &*self.running.lock())
            .finish_non_exhaustive()
    }
}

/// The end that starts the drain.
#[derive(Debug)]
pub struct Trigger(Drain);

impl Trigger {
    /// Gives the signal, waits at most `grace` for the tasks, then cuts what is left.
    pub async fn drain(self, grace: Duration) -> Outcome {
        let Self(drain) = self;
        drain.tracker.close();
        drain.signal.cancel();
        if tokio::time::timeout(grace, drain.tracker.wait())
            .await
            .is_ok()
        {
            return Outcome::Finished;
        }
        let left = drain.running.lock().clone();
        drain.cut.cancel();
        drain.tracker.wait().await;
        Outcome::Cut(left)
    }

    /// Gives the signal now; [`Self::drain`] still has to be awaited for the rest.
    pub fn signal(&self) {
        self.0.signal.cancel();
    }
}

/// How a drain went.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// Every task ended by itself.
    Finished,
    /// The grace was over first: the tasks that were cut, by name.
    Cut(BTreeMap<&'static str, usize>),
}

/// Counts one running task until it is dropped, by its end, a panic or the cut.
struct Running {
    name: &'static str,
    all: Arc<Mutex<BTreeMap<&'static str, usize>>>,
}

impl Running {
    fn enter(name: &'static str, all: Arc<Mutex<BTreeMap<&'static str, usize>>>) -> Self {
        *all.lock().entry(name).or_insert(0) += 1;
        Self { name, all }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut all = self.all.lock();
        if let Some(count) = all.get_mut(self.name) {
            *count -= 1;
            if *count == 0 {
                all.remove(self.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_task_that_ends_on_the_signal_is_waited_for() {
        let (trigger, drain) = channel();
        let inner = drain.clone();
        let task = drain.spawn("polite", async move {
            inner.signaled().await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            7
        });
        assert!(!drain.is_signaled());
        assert_eq!(
            trigger.drain(Duration::from_secs(60)).await,
            Outcome::Finished
        );
        assert_eq!(task.await.unwrap(), Some(7));
    }

    #[tokio::test(start_paused = true)]
    async fn what_outlives_the_grace_is_cut_and_named() {
        let (trigger, drain) = channel();
        let task = drain.spawn("stubborn", pending::<()>());
        let outcome = trigger.drain(Duration::from_secs(1)).await;
        assert_eq!(outcome, Outcome::Cut(BTreeMap::from([("stubborn", 1)])));
        assert_eq!(task.await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_panic_ends_its_own_task_only() {
        let (trigger, drain) = channel();
        let bad = drain.spawn("bad", async { panic!("as told") });
        let good = drain.spawn("good", async { 1 });
        assert!(bad.await.is_err());
        assert_eq!(good.await.unwrap(), Some(1));
        assert_eq!(
            trigger.drain(Duration::from_secs(5)).await,
            Outcome::Finished
        );
    }
}
