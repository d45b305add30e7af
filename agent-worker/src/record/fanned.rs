//! What the store keeps of a fan-out: what is asked of whom, and what each member answered.
//!
//! # Invariants
//! - The members of a task are laid out once; whoever lays them out a second time changes nothing.
//! - What a member answered is written once and stays: a report that comes again changes nothing.

use std::collections::BTreeMap;

use mesh_fabric::state::{self, Condition, Write};
use mesh_proto::a2a;
use prost::Message as _;

use super::{Error, Records, TRIES, TaskKey, keys};

/// How many members one message on the bus, and one record of the store, is about.
pub const CHUNK: usize = 256;

/// How many chunks are laid out in one commit.
const COMMIT: usize = 16;

/// What is asked of a group in one task.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Head {
    /// How many members are asked.
    #[prost(uint32, tag = "1")]
    pub members: u32,
    /// When it is over, in Unix milliseconds.
    #[prost(uint64, tag = "2")]
    pub until: u64,
    /// Whether every chunk is on the bus.
    #[prost(bool, tag = "3")]
    pub is_published: bool,
    /// What each is asked.
    #[prost(message, optional, tag = "4")]
    pub message: Option<a2a::Message>,
    /// How much of an answer is kept, in bytes.
    #[prost(uint32, tag = "5")]
    pub keep: u32,
}

/// At most [`CHUNK`] members of a task.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Chunk {
    /// The members, in their order.
    #[prost(message, repeated, tag = "1")]
    pub seats: Vec<Seat>,
}

/// A member and what became of it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Seat {
    /// The agent.
    #[prost(string, tag = "1")]
    pub agent: String,
    /// The context that it is asked in; empty for one of its own.
    #[prost(string, tag = "2")]
    pub context: String,
    /// Its task, once it is known.
    #[prost(string, tag = "3")]
    pub task: String,
    /// How it ended.
    #[prost(enumeration = "End", tag = "4")]
    pub end: i32,
    /// What it answered, or why it did not.
    #[prost(string, tag = "5")]
    pub text: String,
}

/// How a member ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq, prost::Enumeration)]
#[repr(i32)]
pub enum End {
    /// It has not.
    Open = 0,
    /// With an answer.
    Answered = 1,
    /// Without one.
    Failed = 2,
}

impl Seat {
    /// Its name within the group: the agent, with the context where there is one.
    #[must_use]
    pub fn name(&self) -> String {
        if self.context.is_empty() {
            self.agent.clone()
        } else {
            format!("{}/{}", self.agent, self.context)
        }
    }
}

impl Records {
    /// What a task asks of its group, if it was laid out.
    ///
    /// # Errors
    /// [`Error`], but for [`Error::Taken`].
    pub async fn fan_out(&self, key: &TaskKey) -> Result<Option<Head>, Error> {
        let entry = self.store.get(&keys::fan_out(key, "head")).await;
        let entry = entry.map_err(Error::Store)?;
        let read = entry.map(|entry| Head::decode(entry.value));
        read.transpose().map_err(|_| Error::Unreadable)
    }

    /// Lays some members of a task out, as its chunks from this number on, before any of them is asked.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn lay_out(&self, key: &TaskKey, from: u32, chunks: &[Chunk]) -> Result<(), Error> {
        let kept = Some(self.retention);
        let numbered: Vec<_> = (from..).zip(chunks).collect();
        for several in numbered.chunks(COMMIT) {
            let write = |(number, chunk): &(u32, &Chunk)| {
                let value = chunk.encode_to_vec().into();
                Write::put(chunk_key(key, *number), value, Condition::Absent, kept)
            };
            let writes: Vec<_> = several.iter().map(write).collect();
            match self.store.commit(writes.clone()).await {
                Err(state::Error::Conflict) => self.lay_out_singly(writes).await?,
                laid => {
                    laid.map_err(Error::Store)?;
                }
            }
        }
        Ok(())
    }

    /// Lays out what an owner before this one has not.
    async fn lay_out_singly(&self, writes: Vec<Write>) -> Result<(), Error> {
        for write in writes {
            match self.store.commit(vec![write]).await {
                Ok(_) | Err(state::Error::Conflict) => {}
                Err(error) => return Err(Error::Store(error)),
            }
        }
        Ok(())
    }

    /// Notes how far the asking has come.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn note_fan_out(&self, key: &TaskKey, head: &Head) -> Result<(), Error> {
        let value = head.encode_to_vec().into();
        let at = keys::fan_out(key, "head");
        let kept = Some(self.retention);
        let put = self.store.put(&at, value, Condition::Any, kept).await;
        put.map(|_| ()).map_err(Error::Store)
    }

    /// One chunk of a task's members.
    ///
    /// # Errors
    /// [`Error`], but for [`Error::Taken`].
    pub async fn chunk(&self, key: &TaskKey, number: u32) -> Result<Option<Chunk>, Error> {
        let entry = self.store.get(&chunk_key(key, number)).await;
        let entry = entry.map_err(Error::Store)?;
        let read = entry.map(|entry| Chunk::decode(entry.value));
        read.transpose().map_err(|_| Error::Unreadable)
    }

    /// Notes what became of members of a chunk, by their place in it.
    ///
    /// # Errors
    /// [`Error`]; [`Error::Taken`] when others wrote each time.
    pub async fn report(
        &self,
        key: &TaskKey,
        number: u32,
        news: &BTreeMap<usize, Seat>,
    ) -> Result<(), Error> {
        let at = chunk_key(key, number);
        for _ in 0..TRIES {
            let entry = self.store.get(&at).await.map_err(Error::Store)?;
            let Some(entry) = entry else { return Ok(()) };
            let mut chunk = Chunk::decode(entry.value).map_err(|_| Error::Unreadable)?;
            for (place, seat) in news {
                if let Some(held) = chunk.seats.get_mut(*place)
                    && held.end() == End::Open
                {
                    held.clone_from(seat);
                }
            }
            let value = chunk.encode_to_vec().into();
            let condition = Condition::Etag(entry.etag);
            let kept = Some(self.retention);
            match self.store.put(&at, value, condition, kept).await {
                Ok(_) => return Ok(()),
                Err(state::Error::Conflict) => {}
                Err(error) => return Err(Error::Store(error)),
            }
        }
        Err(Error::Taken)
    }
}

fn chunk_key(key: &TaskKey, number: u32) -> String {
    keys::fan_out(key, &format!("{number:08}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mesh_fabric::state::{Bounds, Store};

    use super::*;
    use crate::record::Scope;

    fn key() -> TaskKey {
        let scope = Scope {
            agent: "all".parse().unwrap(),
            tenant: String::new(),
            principal: String::new(),
        };
        let id = "t".to_owned();
        TaskKey { scope, id }
    }

    fn seat(end: End, text: &str) -> Seat {
        Seat {
            agent: "a".to_owned(),
            end: end.into(),
            text: text.to_owned(),
            ..Seat::default()
        }
    }

    #[tokio::test]
    async fn what_a_member_answered_stays_whoever_reports_or_lays_out_again() {
        let records = Records::new(Store::memory(Bounds::default()), Duration::from_secs(60));
        let laid = Chunk {
            seats: vec![seat(End::Open, ""), seat(End::Open, "")],
        };
        let head = Head {
            members: 2,
            ..Head::default()
        };
        let chunks = std::slice::from_ref(&laid);
        records.lay_out(&key(), 0, chunks).await.unwrap();
        records.note_fan_out(&key(), &head).await.unwrap();
        let first = BTreeMap::from([(1, seat(End::Answered, "yes"))]);
        records.report(&key(), 0, &first).await.unwrap();
        let second = BTreeMap::from([(0, seat(End::Failed, "no")), (1, seat(End::Failed, "no"))]);
        records.report(&key(), 0, &second).await.unwrap();
        records.lay_out(&key(), 0, chunks).await.unwrap();
        records.note_fan_out(&key(), &head).await.unwrap();
        let held = records.chunk(&key(), 0).await.unwrap().unwrap();
        let texts: Vec<_> = held.seats.iter().map(|seat| seat.text.as_str()).collect();
        assert_eq!(texts, ["no", "yes"]);
        assert_eq!(records.fan_out(&key()).await.unwrap(), Some(head));
    }
}
