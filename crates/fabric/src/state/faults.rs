//! A store with faults that can be switched on: for tests, and to rehearse what a worker does without one.
//!
//! # Invariants
//! - What was refused was not done: a write that failed by a fault is not in the store.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::{Entry, Error, Etag, StateStore, Store, Write};

/// The switches. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Switches>);

#[derive(Debug, Default)]
struct Switches {
    down: AtomicBool,
    held: watch::Sender<bool>,
    slow: AtomicU64,
    late: AtomicU64,
}

#[derive(Debug)]
struct Faulty {
    store: Store,
    faults: Faults,
}

#[derive(Debug, thiserror::Error)]
#[error("switched off")]
struct SwitchedOff;

impl Faults {
    /// The same store, under these switches.
    #[must_use]
    pub fn over(&self, store: Store) -> Store {
        Store::of(Faulty {
            store,
            faults: self.clone(),
        })
    }

    /// Whether each call fails as [`Error::Unavailable`].
    pub fn down(&self, down: bool) {
        self.0.down.store(down, Ordering::Release);
    }

    /// Whether each call waits until nothing is held any more: what a process sees of its store that stands
    /// still itself.
    pub fn hold(&self, held: bool) {
        self.0.held.send_replace(held);
    }

    /// How long each call takes before anything is done.
    pub fn slow(&self, by: Duration) {
        set(&self.0.slow, by);
    }

    /// How long each commit keeps who asked for it waiting after it was done.
    pub fn late(&self, by: Duration) {
        set(&self.0.late, by);
    }

    async fn meet(&self) -> Result<(), Error> {
        pause(&self.0.slow).await;
        let mut held = self.0.held.subscribe();
        // Its sender is ours: it is never gone.
        held.wait_for(|held| !held).await.ok();
        if self.0.down.load(Ordering::Acquire) {
            return Err(Error::Unavailable(Arc::new(SwitchedOff)));
        }
        Ok(())
    }
}

impl StateStore for Faulty {
    fn is_durable(&self) -> bool {
        self.store.is_durable()
    }

    fn get(&self, key: String) -> BoxFuture<'_, Result<Option<Entry>, Error>> {
        Box::pin(async move {
            self.faults.meet().await?;
            self.store.get(&key).await
        })
    }

    fn commit(&self, writes: Vec<Write>) -> BoxFuture<'_, Result<Vec<Etag>, Error>> {
        Box::pin(async move {
            self.faults.meet().await?;
            let done = self.store.commit(writes).await;
            pause(&self.faults.0.late).await;
            done
        })
    }

    fn list(
        &self,
        prefix: String,
        after: Option<String>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Entry>, Error>> {
        Box::pin(async move {
            self.faults.meet().await?;
            self.store.list(&prefix, after.as_deref(), limit).await
        })
    }
}

fn set(pause: &AtomicU64, by: Duration) {
    let millis = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
    pause.store(millis, Ordering::Release);
}

async fn pause(by: &AtomicU64) {
    let millis = by.load(Ordering::Acquire);
    if millis > 0 {
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }
}
