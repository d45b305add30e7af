//! The store behind a Dapr sidecar: whatever its state component is, as long as it has etags.
//!
//! A component is asked for two things only: to read a key, and to write one if it still is as it was
//! read (`dapr/keep.rs`). Dapr's transactions are not used: those of `state.redis` do not roll back when
//! a later etag does not match. A commit of several keys is made of single writes, in the manner of
//! Percolator (Peng and Dabek, "Large-scale incremental processing using distributed transactions and
//! notifications", OSDI 2010), with one record per commit in place of a primary key:
//!
//! 1. In the order of the keys each gets an *intent* beside its content: the commit's number and the
//!    content to be. The condition is judged on what is under it.
//! 2. The commit's *record* is written as done, first write wins. This one write decides.
//! 3. The intents become the content, and the record goes.
//!
//! Who reads an intent looks for the record: done, so the new content counts; none or aborted, so the old
//! one does. A writer that meets an undecided intent waits for it [`PATIENCE`] by its own clock, then
//! writes the record as aborted, first write wins. A reader waits for nobody.
//!
//! What is left when the writer dies: before 2, intents that count for nothing and that the next writer
//! clears; after 2, intents that count, which the next reader or writer makes the content. In no place is
//! half a commit seen. A dead writer's record stays until a reader meets one of its intents.
//!
//! # Invariants
//! - Our etags are random numbers in the cell: none comes back, whatever the component's do.
//! - No record goes while an intent of its commit is there.
//! - A deletion leaves a cell that says so for [`SHADE`], so that the component's etag starts anew only
//!   when nobody can hold an old one.
//! - What expires does so by our own clock, and is the component's to remove [`SHADE`] later.
//!   `state.redis` sets that time by a second command: a value without a time to live that is written
//!   between the two commands of another's write may be given the other's.
//! - A commit is tried for [`Settings::deadline`]. When it is `Unavailable` it may have happened, or do
//!   so when the sidecar comes back: a writer that repeats it then under its old etag meets a conflict.

use std::{sync::Arc, time::Duration};

use futures_util::future::{BoxFuture, join_all};
use tokio::time::Instant;
use tonic::Status;

use self::{
    cell::{Cell, Intent, Unreadable, Version},
    keep::{Keep, Kept, Written},
    record::Record,
    shelf::{Named, Refused},
};
use super::{Entry, Error, Etag, StateStore, Write, now};
use crate::dapr::{Settings, Sidecar, Unusable};

mod cell;
mod commit;
mod keep;
mod record;
mod shelf;

pub use shelf::Shelf;

/// How long a writer waits for another's commit before it ends it.
const PATIENCE: Duration = Duration::from_secs(2);

/// How much longer than it counts for us something is kept by the component.
const SHADE: Duration = Duration::from_secs(24 * 3600);

/// How long it is waited before something is looked at or tried again.
const PAUSE: Duration = Duration::from_millis(10);

/// How many keys of a list are read together.
const PAGE: usize = 32;

/// See the module.
#[derive(Debug)]
pub(super) struct Dapr {
    keep: Keep,
    shelves: Vec<Shelf>,
    deadline: Duration,
    is_durable: bool,
}

/// A key as it is now.
#[derive(Debug)]
struct Seen {
    now: Option<Version>,
    base: String,
    /// The commit that has announced something and is not decided.
    undecided: Option<i64>,
}

impl Dapr {
    /// A store on the sidecar, as soon as that is up.
    pub(super) async fn open(settings: &Settings, shelves: Vec<Shelf>) -> Result<Self, Unusable> {
        let sidecar = Sidecar::new(settings)?;
        let name = &settings.store;
        let names = [name.clone()].into();
        let there = sidecar.components(settings, &names).await?;
        let (kind, can) = there
            .get(name)
            .map(|each| (each.kind.as_str(), each.capabilities.as_slice()))
            .unwrap_or_default();
        if !kind.starts_with("state.") {
            return Err(Unusable::Lacking(format!(
                "component {name:?} is {kind}, which is no state store"
            )));
        }
        if !can.iter().any(|each| each == "ETAG") {
            return Err(Unusable::Lacking(format!(
                "component {name:?} ({kind}) has no etags, without which two workers may own one task"
            )));
        }
        Ok(Self {
            is_durable: kind != "state.in-memory",
            keep: Keep::new(sidecar, settings.store.clone()),
            shelves,
            deadline: settings.deadline,
        })
    }

    /// A key as it is now, with what decided commits make of it.
    async fn see(&self, key: &str) -> Result<Seen, Error> {
        let kept = self.keep.read(&cell_of(key)).await?;
        self.settle(key, kept).await
    }

    async fn settle(&self, key: &str, mut kept: Kept) -> Result<Seen, Error> {
        loop {
            let cell = Cell::decode(kept.bytes)?;
            let base = kept.base;
            let Some(intent) = cell.intent else {
                let now = cell.now;
                return Ok(Seen {
                    now,
                    base,
                    undecided: None,
                });
            };
            match self.record(intent.commit).await? {
                Some(Record::Done(keys)) => {
                    // Whoever made it may be gone.
                    self.carry_out(intent.commit, &keys).await;
                    let now = Some(intent.next);
                    return Ok(Seen {
                        now,
                        base,
                        undecided: None,
                    });
                }
                Some(Record::Aborted) => {
                    let now = cell.now;
                    return Ok(Seen {
                        now,
                        base,
                        undecided: None,
                    });
                }
                // Undecided, if it still is there: the record may have gone because the intent has.
                None => kept = self.keep.read(&cell_of(key)).await?,
            }
            if kept.base == base {
                let undecided = Some(intent.commit);
                return Ok(Seen {
                    now: cell.now,
                    base,
                    undecided,
                });
            }
        }
    }

    /// A key on which no commit is undecided.
    async fn see_free(&self, key: &str) -> Result<Seen, Error> {
        let mut met = None;
        loop {
            let seen = self.see(key).await?;
            let Some(commit) = seen.undecided else {
                return Ok(seen);
            };
            match met {
                Some((same, since)) if same == commit => {
                    if Instant::now() - since > PATIENCE {
                        self.decide(commit, Record::Aborted).await?;
                    }
                }
                _ => met = Some((commit, Instant::now())),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn record(&self, commit: i64) -> Result<Option<Record>, Error> {
        let kept = self.keep.read(&record_of(commit)).await?;
        if kept.bytes.is_empty() {
            return Ok(None);
        }
        Record::decode(&kept.bytes)
            .map(Some)
            .ok_or_else(|| Unreadable.into())
    }

    /// Writes how a commit ended, unless somebody has. Says whether it was this.
    async fn decide(&self, commit: i64, record: Record) -> Result<Written, Error> {
        // Nobody waits a day for a commit. What is done must be known as long as an intent is there.
        let ttl = matches!(record, Record::Aborted).then_some(SHADE);
        let name = record_of(commit);
        let put = self.keep.write(&name, record.encode(), "", ttl);
        Ok(put.await?)
    }

    /// Makes the intents of a commit that is done the content. What fails here is done by the next who
    /// meets it.
    async fn carry_out(&self, commit: i64, keys: &[String]) {
        let each = keys.iter().map(|key| self.clear(key, commit, true));
        let cleared: Result<Vec<()>, Error> = join_all(each).await.into_iter().collect();
        if cleared.is_ok() && self.keep.forget(&record_of(commit)).await.is_ok() {
            return;
        }
        tracing::debug!(commit, "a commit is done, and its record stays for now");
    }

    /// Takes the intent of a commit from a key: it becomes the content, or is nothing.
    async fn clear(&self, key: &str, commit: i64, is_done: bool) -> Result<(), Error> {
        loop {
            let Kept { bytes, base } = self.keep.read(&cell_of(key)).await?;
            let cell = Cell::decode(bytes)?;
            let Some(intent) = cell.intent.filter(|intent| intent.commit == commit) else {
                return Ok(());
            };
            let now = if is_done { Some(intent.next) } else { cell.now };
            // With no content either, a cell that says that there is none.
            let now = now.unwrap_or_else(|| Version::gone(intent.commit));
            if self.write(key, Some(now), None, &base).await? == Written::Done {
                return Ok(());
            }
        }
    }

    async fn write(
        &self,
        key: &str,
        content: Option<Version>,
        intent: Option<Intent>,
        base: &str,
    ) -> Result<Written, Error> {
        let ttl = if intent.is_some() {
            None
        } else {
            content.as_ref().and_then(Version::kept_for)
        };
        let cell = Cell {
            now: content,
            intent,
        };
        Ok(self
            .keep
            .write(&cell_of(key), cell.encode(), base, ttl)
            .await?)
    }

    /// Takes off the shelves what is deleted; what fails here a list does later.
    async fn take_off(&self, gone: Vec<Named>) {
        for each in gone {
            let Some(shelf) = Shelf::of(&self.shelves, &each.key) else {
                continue;
            };
            if let Err(error) =
                shelf::take_off(&self.keep, shelf, std::slice::from_ref(&each)).await
            {
                tracing::debug!(shelf, %error, "a deleted key stays on its shelf for now");
            }
        }
    }

    /// Takes off a full shelf what has long been gone.
    async fn tidy(&self, shelf: &str) -> Result<(), Error> {
        let mut stale = shelf::names(&self.keep, shelf).await?;
        stale.retain(|each| each.is_stale(now()));
        let mut gone = Vec::new();
        for named in stale {
            let seen = self.see(&named.key).await?;
            if seen.undecided.is_none() && is_long_gone(seen.now.as_ref()) {
                gone.push(named);
            }
        }
        Ok(shelf::take_off(&self.keep, shelf, &gone).await?)
    }

    async fn page(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<Entry>, Error> {
        let Some(shelf) = Shelf::of(&self.shelves, prefix) else {
            return Err(Error::Unavailable(Arc::new(NoShelf(prefix.to_owned()))));
        };
        let mut names = shelf::names(&self.keep, shelf).await?;
        names.retain(|each| each.key.starts_with(prefix) && each.key.as_str() > after);
        names.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        let (mut found, mut stale) = (Vec::new(), Vec::new());
        for chunk in names.chunks(PAGE) {
            if found.len() >= limit {
                break;
            }
            let keys: Vec<_> = chunk.iter().map(|each| cell_of(&each.key)).collect();
            let kept = self.keep.read_all(&keys).await?;
            for (named, kept) in chunk.iter().zip(kept) {
                let seen = self.settle(&named.key, kept).await?;
                let is_gone = seen.undecided.is_none() && is_long_gone(seen.now.as_ref());
                match entry(&named.key, seen.now) {
                    Some(entry) => found.push(entry),
                    None if is_gone && named.is_stale(now()) => stale.push(named.clone()),
                    None => {}
                }
            }
        }
        found.truncate(limit);
        if let Err(error) = shelf::take_off(&self.keep, shelf, &stale).await {
            tracing::debug!(shelf, %error, "stale keys stay on their shelf for now");
        }
        Ok(found)
    }
}

impl StateStore for Dapr {
    fn is_durable(&self) -> bool {
        self.is_durable
    }

    fn get(&self, key: String) -> BoxFuture<'_, Result<Option<Entry>, Error>> {
        Box::pin(async move {
            let seen = self.see(&key).await?;
            Ok(entry(&key, seen.now))
        })
    }

    fn commit(&self, writes: Vec<Write>) -> BoxFuture<'_, Result<Vec<Etag>, Error>> {
        Box::pin(self.all(writes))
    }

    fn list(
        &self,
        prefix: String,
        after: Option<String>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Entry>, Error>> {
        Box::pin(async move { self.page(&prefix, &after.unwrap_or_default(), limit).await })
    }
}

fn entry(key: &str, version: Option<Version>) -> Option<Entry> {
    let version = version.filter(|version| version.lives(now()))?;
    Some(Entry {
        key: key.to_owned(),
        etag: Etag(version.etag),
        value: version.value?,
    })
}

/// Whether no writer can be about to go on from this content under its mark: what has just expired may
/// have lived when a writer read it.
fn is_long_gone(version: Option<&Version>) -> bool {
    version.is_none_or(|version| !version.lives(now().saturating_sub(shelf::STALE)))
}

fn cell_of(key: &str) -> String {
    format!("s/{key}")
}

fn record_of(commit: i64) -> String {
    format!("x/{commit}")
}

/// A number that nobody has.
fn fresh() -> i64 {
    let (high, low) = mesh_runtime::dice::uuid().as_u64_pair();
    (high ^ low.rotate_left(32)).cast_signed()
}

#[derive(Debug, thiserror::Error)]
#[error("the keys of {0:?} are on no shelf, so a sidecar cannot list them")]
struct NoShelf(String);

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        if keep::is_size(&status) {
            return Self::Size;
        }
        Self::Unavailable(Arc::new(status))
    }
}

impl From<Unreadable> for Error {
    fn from(error: Unreadable) -> Self {
        Self::Unavailable(Arc::new(error))
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Sidecar(status) => status.into(),
            refused => Self::Unavailable(Arc::new(refused)),
        }
    }
}
