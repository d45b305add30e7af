//! The writer's side: what is written, in which order, and what is tried again.
//!
//! # Invariants
//! - Each try of one commit writes the same contents, so that one of which nothing was heard is known
//!   again.
//! - Of several keys none is tried anew before the end of the try before is known.

use std::sync::Arc;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::{
    super::{Change, Error, Etag, Write, expiry, now},
    Dapr, PAUSE, Seen,
    cell::{Intent, Version},
    fresh,
    keep::Written,
    record::Record,
    shelf::{self, Named, Refused, Shelf},
};

/// Why a step of a commit did not happen.
#[derive(Debug)]
enum Stop {
    /// A condition does not hold.
    Conflict,
    /// Another one ended this commit; it may be tried anew.
    Aborted,
    /// The sidecar, or what is behind it.
    Failed(Error),
}

/// A write with the content that it makes, the same in each try.
#[derive(Debug)]
struct Planned {
    write: Write,
    next: Version,
}
impl Dapr {
    /// Judges a write on what is there, and puts on the shelf what is about to be there.
    async fn prepare(&self, planned: &Planned, seen: &Seen) -> Result<(), Stop> {
        let Planned { write, next } = planned;
        let live = seen.now.as_ref().filter(|version| version.lives(now()));
        let etag = live.map(|version| Etag(version.etag));
        write.condition.check(etag).map_err(|_| Stop::Conflict)?;
        let Some(shelf) = Shelf::of(&self.shelves, &write.key) else {
            return Ok(());
        };
        let stays = live.is_some_and(|live| live.mark == next.mark);
        if next.value.is_none() || stays {
            return Ok(());
        }
        let put = || shelf::put(&self.keep, shelf, &write.key, next.mark, now());
        match put().await {
            Err(Refused::Full(_)) => {
                self.tidy(shelf).await?;
                put().await?;
            }
            put => put?,
        }
        Ok(())
    }

    /// The content that a write makes of a key, on the shelf by the mark of the one before, if that lives.
    fn next(planned: &Planned, seen: &Seen) -> Version {
        let live = seen.now.as_ref().filter(|version| version.lives(now()));
        let mark = live.map_or(planned.next.mark, |version| version.mark);
        Version {
            mark,
            ..planned.next.clone()
        }
    }

    async fn one(&self, planned: &Planned) -> Result<Vec<Named>, Stop> {
        let key = &planned.write.key;
        loop {
            let seen = self.see_free(key).await?;
            if seen
                .now
                .as_ref()
                .is_some_and(|now| now.etag == planned.next.etag)
            {
                // An earlier try, of which nothing was heard.
                return Ok(Vec::new());
            }
            let next = Self::next(planned, &seen);
            let with_mark = Planned {
                write: planned.write.clone(),
                next,
            };
            self.prepare(&with_mark, &seen).await?;
            let next = with_mark.next;
            let is_nothing = next.value.is_none() && seen.base.is_empty();
            let gone = named(key, &next);
            if is_nothing || self.write(key, Some(next), None, &seen.base).await? == Written::Done {
                return Ok(gone.into_iter().collect());
            }
        }
    }

    async fn several(&self, commit: i64, plan: &[Planned]) -> Result<Vec<Named>, Stop> {
        let mut announced = Vec::with_capacity(plan.len());
        let made = self.announce(commit, plan, &mut announced).await;
        let keys: Vec<_> = plan.iter().map(|each| each.write.key.clone()).collect();
        let decided = match made {
            Ok(gone) => match self.decide(commit, Record::Done(keys.clone())).await {
                Ok(Written::Done) => Ok(gone),
                Ok(Written::Lost) => Err(Stop::Aborted),
                // Not known. If it can be aborted, it was not done.
                Err(error) => match self.is_done_after_all(commit).await? {
                    true => Ok(gone),
                    false => Err(Stop::Failed(error)),
                },
            },
            Err(stop) => Err(stop),
        };
        match decided {
            Ok(gone) => {
                self.carry_out(commit, &keys).await;
                Ok(gone)
            }
            Err(stop) => {
                let each = announced.iter().map(|key| self.clear(key, commit, false));
                join_all(each).await;
                Err(stop)
            }
        }
    }

    async fn announce(
        &self,
        commit: i64,
        plan: &[Planned],
        announced: &mut Vec<String>,
    ) -> Result<Vec<Named>, Stop> {
        let mut gone = Vec::new();
        for planned in plan {
            let key = &planned.write.key;
            loop {
                let seen = self.see_free(key).await?;
                let next = Self::next(planned, &seen);
                let with_mark = Planned {
                    write: planned.write.clone(),
                    next,
                };
                self.prepare(&with_mark, &seen).await?;
                let next = with_mark.next;
                let of_shelf = named(key, &next);
                let intent = Some(Intent { commit, next });
                // Before it is written: what is not heard of may have happened.
                announced.push(key.clone());
                if self.write(key, seen.now, intent, &seen.base).await? == Written::Done {
                    gone.extend(of_shelf);
                    break;
                }
            }
        }
        Ok(gone)
    }

    /// Ends a commit of which it is not known whether it was done, and says whether it was.
    async fn is_done_after_all(&self, commit: i64) -> Result<bool, Stop> {
        if self.decide(commit, Record::Aborted).await? == Written::Done {
            return Ok(false);
        }
        Ok(matches!(self.record(commit).await?, Some(Record::Done(_))))
    }

    pub(super) async fn all(&self, writes: Vec<Write>) -> Result<Vec<Etag>, Error> {
        let plan: Vec<_> = writes.into_iter().map(Planned::new).collect();
        let etags = plan.iter().map(|each| Etag(each.next.etag)).collect();
        let mut plan = plan;
        plan.sort_by(|one, other| one.write.key.cmp(&other.write.key));
        let begun = Instant::now();
        let mut unsure = None;
        loop {
            let tried = match &plan[..] {
                [] => Ok(Vec::new()),
                [planned] => self.one(planned).await,
                several => self.again(several, &mut unsure).await,
            };
            let error = match tried {
                Ok(gone) => {
                    self.take_off(gone).await;
                    return Ok(etags);
                }
                Err(Stop::Conflict) => return Err(Error::Conflict),
                Err(Stop::Failed(Error::Size)) => return Err(Error::Size),
                Err(Stop::Aborted) => Error::Unavailable(Arc::new(Crowded)),
                Err(Stop::Failed(error)) => error,
            };
            if begun.elapsed() > self.deadline {
                return Err(error);
            }
            tokio::time::sleep(PAUSE * 5).await;
        }
    }

    /// A try of several writes, after the end of the one before, if that is not known.
    async fn again(&self, plan: &[Planned], unsure: &mut Option<i64>) -> Result<Vec<Named>, Stop> {
        if let Some(commit) = *unsure
            && self.is_done_after_all(commit).await?
        {
            return Ok(Vec::new());
        }
        let commit = fresh();
        *unsure = Some(commit);
        let tried = self.several(commit, plan).await;
        if let Err(Stop::Aborted | Stop::Conflict) = tried {
            *unsure = None;
        }
        tried
    }
}

impl Planned {
    fn new(write: Write) -> Self {
        let etag = fresh();
        let next = match &write.change {
            Change::Put { value, ttl } => Version {
                etag,
                expires: expiry(*ttl, now()),
                mark: fresh(),
                value: Some(value.clone()),
            },
            Change::Delete => Version::gone(etag),
        };
        Self { write, next }
    }
}
/// The entry on the shelf of what a deletion has removed.
fn named(key: &str, next: &Version) -> Option<Named> {
    next.value.is_none().then(|| Named {
        key: key.to_owned(),
        mark: next.mark,
        since: 0,
    })
}

#[derive(Debug, thiserror::Error)]
#[error("others have ended this commit again and again")]
struct Crowded;

impl<E: Into<Error>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}
