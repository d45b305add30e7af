//! What agents read of the Dapr sidecar's configuration while they run: the settings that their
//! instructions name, `${config:STORE/KEY}`.
//!
//! # Invariants
//! - A worker starts with all of them or not at all.
//! - A setting that can't be read any more, or is gone, stays what it was.
//! - A change is seen when the store tells of it, and within [`LOOK`] where it does not.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use mesh_fabric::dapr::{Blocks, Changes};
use mesh_runtime::drain::Drain;
use parking_lot::Mutex;
use tracing::{debug, info, warn};

use super::{Error, Roster, Surroundings, beside};
use crate::agent::{Agent, Wording};

/// How often settings are read whose store tells nothing. A store may lose a change between two
/// subscriptions, and Redis tells of none unless it is asked to (`notify-keyspace-events`).
const LOOK: Duration = Duration::from_secs(30);

/// How long a subscription that broke is left alone.
const PAUSE: Duration = Duration::from_secs(1);

/// The settings that a worker's agents follow.
#[derive(Debug)]
pub(super) struct Live {
    blocks: Blocks,
    /// The keys of each store.
    stores: BTreeMap<String, BTreeSet<String>>,
    wordings: Vec<Arc<Wording>>,
    /// By what the file names them.
    known: Mutex<BTreeMap<String, String>>,
}

impl Live {
    /// Those of agents; `None` where they name none.
    pub(super) fn of(agents: &[Agent], around: &Surroundings) -> Result<Option<Arc<Self>>, Error> {
        let wordings = agents.iter().map(|agent| Arc::clone(&agent.wording));
        let wordings: Vec<_> = wordings
            .filter(|one| one.named().next().is_some())
            .collect();
        let mut stores = BTreeMap::<_, BTreeSet<_>>::new();
        let mut first = None;
        for named in wordings.iter().flat_map(|wording| wording.named()) {
            let place = named.strip_prefix("config:").unwrap_or_default();
            let (store, key) = match place.split_once('/') {
                Some((store, key)) if !store.is_empty() && !key.is_empty() => (store, key),
                _ => return Err(refused(named, "it must be config:STORE/KEY")),
            };
            stores
                .entry(store.to_owned())
                .or_default()
                .insert(key.to_owned());
            first.get_or_insert(named);
        }
        let Some(first) = first else { return Ok(None) };
        let blocks = beside::open(&format!("the setting ${{{first}}}"), around)?;
        Ok(Some(Arc::new(Self {
            blocks,
            stores,
            known: Mutex::default(),
            wordings: wordings.clone(),
        })))
    }

    /// Reads all of them.
    async fn read_all(&self) -> Result<(), Error> {
        for (store, keys) in &self.stores {
            let name = |key: &String| format!("config:{store}/{key}");
            let read = self.blocks.settings(store, keys).await;
            let read = read.map_err(|error| {
                let first = keys.first().map(name).unwrap_or_default();
                refused(&first, &error.to_string())
            })?;
            if let Some(missing) = keys.iter().find(|key| !read.contains_key(*key)) {
                return Err(refused(&name(missing), "the store has no such key"));
            }
            self.learn(store, read);
        }
        Ok(())
    }

    fn learn(&self, store: &str, read: BTreeMap<String, String>) {
        let mut known = self.known.lock();
        let named = |(key, value)| (format!("config:{store}/{key}"), value);
        known.extend(read.into_iter().map(named));
        let said = self.wordings.iter().filter(|wording| wording.say(&known));
        let changed = said.count();
        drop(known);
        if changed > 0 {
            info!(
                store,
                "the instructions of {changed} agents are as the configuration has them"
            );
        }
    }

    /// Reads one store's; what is not to be had stays as it was.
    async fn read_again(&self, store: &str, keys: &BTreeSet<String>) {
        let read = match self.blocks.settings(store, keys).await {
            Ok(read) => read,
            Err(error) => {
                warn!(%error, store, "settings can't be read; they stay as they were");
                return;
            }
        };
        if let Some(gone) = keys.iter().find(|key| !read.contains_key(*key)) {
            warn!(store, key = gone, "a setting is gone; it stays as it was");
        }
        self.learn(store, read);
    }

    /// Reads one store's as they change, for ever.
    async fn follow(&self, store: &str, keys: &BTreeSet<String>) {
        loop {
            let mut changes = match self.blocks.changes(store, keys).await {
                Ok(changes) => Some(changes),
                Err(error) => {
                    debug!(%error, store, "changes of the configuration are looked for now and then");
                    None
                }
            };
            let mut goes_on = true;
            while goes_on {
                // After the subscription: nothing is missed in between.
                self.read_again(store, keys).await;
                goes_on = match tokio::time::timeout(LOOK, next(&mut changes)).await {
                    Ok(told) => told,
                    // Subscribed to anew, where nothing would tell otherwise.
                    Err(_) => changes.is_some(),
                };
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Waits for a change; whether there may be more.
async fn next(changes: &mut Option<Changes>) -> bool {
    match changes {
        Some(changes) => changes.next().await.is_some(),
        None => std::future::pending().await,
    }
}

fn refused(named: &str, reason: &str) -> Error {
    Error::Setting {
        named: named.to_owned(),
        reason: reason.to_owned(),
    }
}

impl Roster {
    /// Reads the settings that the agents' instructions name; not at all, where they name none.
    ///
    /// # Errors
    /// [`Error::Setting`], where one is not to be had.
    pub(super) async fn is_told(&self) -> Result<(), Error> {
        match &self.live {
            Some(live) => live.read_all().await,
            None => Ok(()),
        }
    }

    /// Follows those settings until the drain.
    pub fn follow(&self, drain: &Drain) {
        let Some(live) = &self.live else { return };
        for (store, keys) in &live.stores {
            let (live, store, keys) = (Arc::clone(live), store.clone(), keys.clone());
            let end = drain.clone();
            drain.spawn("configuration", async move {
                tokio::select! {
                    () = end.signaled() => {}
                    () = live.follow(&store, &keys) => {}
                }
            });
        }
    }
}
