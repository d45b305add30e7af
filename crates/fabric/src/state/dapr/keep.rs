//! Reads and conditional writes of single keys by the sidecar: all that is asked of a component.
//!
//! # Invariants
//! - Each write is under the component's own etag of what was read, first write wins.
//! - Whether a write that was not acknowledged happened is looked for, not guessed from its error:
//!   `state.redis` says "etag mismatch" also of a connection that broke after the write.

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;
use dapr::dapr::proto::{
    common::v1::{
        Etag, StateItem, StateOptions,
        state_options::{StateConcurrency, StateConsistency},
    },
    runtime::v1::{
        DeleteStateRequest, GetBulkStateRequest, GetBulkStateResponse, GetStateRequest,
        SaveStateRequest,
    },
};
use tonic::{Code, Status};

use crate::dapr::{Sidecar, Stub};

/// How many keys are read by one call, and how many of them side by side.
const TOGETHER: (usize, i32) = (32, 16);

/// What the component has of a key.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Kept {
    /// The bytes; none for a key that is not there.
    pub(super) bytes: Bytes,
    /// The component's etag of them; empty for a key that is not there.
    pub(super) base: String,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Written {
    /// It happened.
    Done,
    /// Somebody else wrote first, and it did not happen.
    Lost,
}

/// A state component behind a sidecar.
#[derive(Debug)]
pub(super) struct Keep {
    sidecar: Sidecar,
    store: String,
}

impl Keep {
    pub(super) const fn new(sidecar: Sidecar, store: String) -> Self {
        Self { sidecar, store }
    }

    /// Reads a key.
    pub(super) async fn read(&self, key: &str) -> Result<Kept, Status> {
        let request = GetStateRequest {
            store_name: self.store.clone(),
            key: told(key),
            consistency: StateConsistency::ConsistencyStrong.into(),
            metadata: HashMap::default(),
        };
        let read = self
            .sidecar
            .call(async move |mut stub: Stub| stub.get_state(request).await);
        let read = read.await?;
        Ok(Kept {
            bytes: read.data.into(),
            base: read.etag,
        })
    }

    /// Reads keys, in their order.
    pub(super) async fn read_all(&self, keys: &[String]) -> Result<Vec<Kept>, Status> {
        let mut all = Vec::with_capacity(keys.len());
        for chunk in keys.chunks(TOGETHER.0) {
            match self.read_chunk(chunk).await {
                Ok(kept) => all.extend(kept),
                // Together they are more than one answer may be.
                Err(status) if is_size(&status) => {
                    for key in chunk {
                        all.push(self.read(key).await?);
                    }
                }
                Err(status) => return Err(status),
            }
        }
        Ok(all)
    }

    async fn read_chunk(&self, keys: &[String]) -> Result<Vec<Kept>, Status> {
        if let [key] = keys {
            return Ok(vec![self.read(key).await?]);
        }
        let request = GetBulkStateRequest {
            store_name: self.store.clone(),
            keys: keys.iter().map(|key| told(key)).collect(),
            parallelism: TOGETHER.1,
            metadata: HashMap::default(),
        };
        let read = self
            .sidecar
            .call(async move |mut stub: Stub| stub.get_bulk_state(request).await);
        let GetBulkStateResponse { items } = read.await?;
        let mut by_key = HashMap::new();
        for item in items {
            if !item.error.is_empty() {
                return Err(Status::unavailable(item.error));
            }
            let kept = Kept {
                bytes: item.data.into(),
                base: item.etag,
            };
            by_key.insert(item.key, kept);
        }
        // One that is left out was not answered for, which is not that it is absent.
        let kept = keys.iter().map(|key| {
            let kept = by_key.remove(&told(key));
            kept.ok_or_else(|| Status::internal("the sidecar left out a key"))
        });
        kept.collect()
    }

    /// Writes a key if it still is as it was read under `base`. `bytes` must be like no others.
    pub(super) async fn write(
        &self,
        key: &str,
        bytes: Vec<u8>,
        base: &str,
        ttl: Option<Duration>,
    ) -> Result<Written, Status> {
        let bytes = Bytes::from(bytes);
        let request = self.save(key, &bytes, base, ttl);
        let put = self
            .sidecar
            .call(async move |mut stub: Stub| stub.save_state(request).await);
        let Err(status) = put.await else {
            return Ok(Written::Done);
        };
        if is_size(&status) {
            return Err(status);
        }
        let now = self.read(key).await?;
        match status.code() {
            _ if now.bytes == bytes => {
                // `state.redis` sets the time to live by a command after the write, which may be what
                // failed. If this fails too, a value lives at most as long as the one before it would.
                let again = self.save(key, &bytes, &now.base, ttl);
                let put = self
                    .sidecar
                    .call(async move |mut stub: Stub| stub.save_state(again).await);
                if let Err(status) = put.await {
                    tracing::debug!(key, %status, "a time to live could not be said again");
                }
                Ok(Written::Done)
            }
            _ if now.base == base => Err(status),
            // It was answered, and by a refusal: without an etag `state.redis` has no better word.
            Code::Aborted | Code::FailedPrecondition => Ok(Written::Lost),
            Code::Internal if base.is_empty() => Ok(Written::Lost),
            _ => Err(status),
        }
    }

    fn save(
        &self,
        key: &str,
        bytes: &Bytes,
        base: &str,
        ttl: Option<Duration>,
    ) -> SaveStateRequest {
        // -1 takes back the time to live that an earlier value had.
        let seconds = ttl.map_or(-1, |ttl| {
            i32::try_from(ttl.as_secs().saturating_add(1)).unwrap_or(i32::MAX)
        });
        let etag = (!base.is_empty()).then(|| Etag {
            value: base.to_owned(),
        });
        SaveStateRequest {
            store_name: self.store.clone(),
            states: vec![StateItem {
                key: told(key),
                value: bytes.to_vec(),
                etag,
                metadata: [("ttlInSeconds".to_owned(), seconds.to_string())].into(),
                options: Some(StateOptions {
                    concurrency: StateConcurrency::ConcurrencyFirstWrite.into(),
                    consistency: StateConsistency::ConsistencyStrong.into(),
                }),
            }],
        }
    }

    /// Removes a key that will not be written again.
    pub(super) async fn forget(&self, key: &str) -> Result<(), Status> {
        let request = DeleteStateRequest {
            store_name: self.store.clone(),
            key: told(key),
            ..DeleteStateRequest::default()
        };
        let put = self
            .sidecar
            .call(async move |mut stub: Stub| stub.delete_state(request).await);
        put.await
    }
}

/// Whether something is larger than the sidecar or this client takes.
pub(super) fn is_size(status: &Status) -> bool {
    matches!(status.code(), Code::ResourceExhausted | Code::OutOfRange)
}

/// A key as the sidecar takes it: `||` is its own.
fn told(key: &str) -> String {
    key.replace('~', "~0").replace('|', "~1")
}
