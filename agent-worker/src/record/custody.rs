//! What the store keeps of a task beside the task: who moves it on, and how far its turn has come.
//!
//! # Invariants
//! - The encoding says its version. A record of before there were owners, a bare task, is read as one
//!   that nobody owns.
//! - A task at rest has no owner and no progress; with them go the caller's credentials, which an
//!   adopted turn needs to ask other agents in the caller's name.

use bytes::Bytes;
use mesh_proto::{a2a, mesh::Slot};
use prost::Message as _;
use serde::{Deserialize, Serialize};

use crate::session::{CallContext, Item};

/// A task as the store keeps it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// The task.
    pub task: a2a::Task,
    /// Who moves it on.
    pub custody: Custody,
}

/// Who moves a task on, and how far its turn has come.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Custody {
    /// The boot of the worker that runs its turn; empty when it rests.
    pub owner: String,
    /// Whether the owner has let go of it, so that anybody may take it at once.
    pub released: bool,
    /// Grows each time that another life of a worker takes the task.
    pub fence: u64,
    /// The slot that the router placed it by; a worker that gains the slot adopts the task.
    pub slot: Option<Slot>,
    /// How many rounds of model and tools have gone before, over all turns of the task.
    pub step: u32,
    /// The turn under way.
    pub progress: Option<Progress>,
}

/// How far a turn has come.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Progress {
    /// What was remembered in it so far, in this order. It joins the conversation when the task rests.
    #[serde(default)]
    pub items: Vec<Item>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    traceparent: Option<String>,
    #[serde(default)]
    hops: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    authorization: Option<String>,
}

impl Progress {
    /// A turn that has just begun. Credentials are kept only where the agent has somebody to pass them
    /// on to.
    #[must_use]
    pub fn begun(call: &CallContext, delegates: bool) -> Self {
        Self {
            items: Vec::new(),
            traceparent: call.traceparent.clone(),
            hops: call.hops,
            authorization: call.authorization.clone().filter(|_| delegates),
        }
    }

    /// Where the call came from. Its deadline is not kept: whoever waited for it is gone.
    #[must_use]
    pub fn call(&self) -> CallContext {
        CallContext {
            traceparent: self.traceparent.clone(),
            hops: self.hops,
            authorization: self.authorization.clone(),
            ..CallContext::default()
        }
    }
}

/// No field of protobuf begins with a zero byte, so no bare task does.
const MARK: [u8; 2] = [0, 1];

#[derive(Clone, PartialEq, prost::Message)]
struct Stored {
    #[prost(message, optional, tag = "1")]
    task: Option<a2a::Task>,
    #[prost(string, tag = "2")]
    owner: String,
    #[prost(bool, tag = "3")]
    released: bool,
    #[prost(uint64, tag = "4")]
    fence: u64,
    #[prost(uint32, optional, tag = "5")]
    slot: Option<u32>,
    #[prost(uint32, tag = "6")]
    step: u32,
    /// JSON, as conversations are.
    #[prost(bytes = "bytes", tag = "7")]
    progress: Bytes,
}

impl Record {
    /// As the store keeps it; `None` where a part of it cannot be written.
    pub(super) fn encode(&self) -> Option<Bytes> {
        let Custody {
            owner,
            released,
            fence,
            slot,
            step,
            progress,
        } = &self.custody;
        let progress = match progress {
            None => Vec::new(),
            Some(progress) => serde_json::to_vec(progress).ok()?,
        };
        let stored = Stored {
            task: Some(self.task.clone()),
            owner: owner.clone(),
            released: *released,
            fence: *fence,
            slot: slot.map(|slot| u32::from(slot.0)),
            step: *step,
            progress: progress.into(),
        };
        let mut bytes = MARK.to_vec();
        stored.encode(&mut bytes).ok()?;
        Some(bytes.into())
    }

    /// Reads what [`Self::encode`] wrote, or a bare task; `None` where it is neither.
    pub(super) fn decode(value: &Bytes) -> Option<Self> {
        if value.first().is_some_and(|first| *first != MARK[0]) {
            let task = a2a::Task::decode(value.clone()).ok()?;
            return Some(Self {
                task,
                ..Self::default()
            });
        }
        let stored = Stored::decode(value.strip_prefix(&MARK)?).ok()?;
        let progress = match stored.progress.is_empty() {
            true => None,
            false => Some(serde_json::from_slice(&stored.progress).ok()?),
        };
        let slot = stored.slot.map(u16::try_from).transpose().ok()?;
        Some(Self {
            task: stored.task?,
            custody: Custody {
                owner: stored.owner,
                released: stored.released,
                fence: stored.fence,
                slot: slot.map(Slot),
                step: stored.step,
                progress,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;
    use crate::session::Entry;

    #[test]
    fn a_record_is_read_as_it_was_written_and_a_bare_task_as_nobodys() {
        let task = a2a::Task {
            id: "t".to_owned(),
            ..a2a::Task::default()
        };
        let call = CallContext {
            hops: 3,
            authorization: Some("Bearer x".to_owned()),
            ..CallContext::default()
        };
        let mut progress = Progress::begun(&call, true);
        progress.items.push(Item {
            task: "t".to_owned(),
            entry: Entry::User {
                text: "hi".to_owned(),
                fields: Map::new(),
            },
        });
        let record = Record {
            task: task.clone(),
            custody: Custody {
                owner: "boot".to_owned(),
                released: true,
                fence: 7,
                slot: Some(Slot(65_535)),
                step: 2,
                progress: Some(progress),
            },
        };
        assert_eq!(Record::decode(&record.encode().unwrap()), Some(record));
        let bare = Record {
            task: task.clone(),
            custody: Custody::default(),
        };
        assert_eq!(Record::decode(&task.encode_to_vec().into()), Some(bare));
        for wrong in [&[][..], &[0], &[0, 2, 1], &[0, 1, 0xff], &[0xff]] {
            assert_eq!(
                Record::decode(&Bytes::copy_from_slice(wrong)),
                None,
                "{wrong:?}"
            );
        }
    }

    #[test]
    fn credentials_are_kept_only_for_an_agent_that_passes_them_on() {
        let call = CallContext {
            authorization: Some("Bearer x".to_owned()),
            ..CallContext::default()
        };
        assert_eq!(Progress::begun(&call, false).call().authorization, None);
        assert_eq!(Progress::begun(&call, true).call(), call);
    }
}
