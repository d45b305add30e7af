//! What a sidecar does beside state and messages: it calls output bindings, and reads secrets (and
//! settings: `configuration`).
//!
//! # Invariants
//! - A call is made once: whether a binding may be called again, only who calls it knows.
//! - What a secret says is in no error and in no `Debug`.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    future::Future,
    time::Duration,
};

use bytes::Bytes;
use dapr::dapr::proto::runtime::v1::{GetSecretRequest, InvokeBindingRequest};
use tonic::{Code, Request, Response, Status, metadata::MetadataValue};

use super::{LOOK, Settings, Sidecar, Stub, Unusable};

/// How long a call may take. Longer than one of state: behind a binding is somebody else's service.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// The largest answer of a binding that is read, in bytes.
const ANSWER_BYTES: usize = 4 << 20;

/// How much of the sidecar's complaint is passed on, in bytes.
const REASON_BYTES: usize = 500;

/// A sidecar's bindings and secrets. Clones use the same connections.
#[derive(Clone, Debug)]
pub struct Blocks {
    pub(super) sidecar: Sidecar,
    settings: Settings,
}

/// A call of an output binding.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Invocation {
    /// The component.
    pub binding: String,
    /// What it is to do: `create`, `get`, or what else its type knows.
    pub operation: String,
    /// What is sent.
    pub data: Vec<u8>,
    /// What goes beside it; what it means is the component's own.
    pub metadata: BTreeMap<String, String>,
    /// The trace that the call belongs to, as its W3C header.
    pub traceparent: Option<String>,
}

/// What a binding answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    /// What came back; of many operations nothing does.
    pub data: Bytes,
    /// What came beside it.
    pub metadata: BTreeMap<String, String>,
}

/// Why the sidecar did not do it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{reason}")]
pub struct Failed {
    /// What it says, cut.
    pub reason: String,
    /// Whether it may have been done nevertheless.
    pub in_doubt: bool,
}

/// The values of a secret by their keys; most stores have one, under the secret's own name.
#[derive(Clone, Eq, PartialEq)]
pub struct Secret(BTreeMap<String, String>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Secret").field(&self.0.keys()).finish()
    }
}

impl Secret {
    /// The value of a key; of the only one, where none is named.
    #[must_use]
    pub fn value(&self, key: Option<&str>) -> Option<&str> {
        let value = match key {
            Some(key) => self.0.get(key),
            None if self.0.len() == 1 => self.0.values().next(),
            None => None,
        };
        value.map(String::as_str)
    }

    /// The names of its keys.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl Blocks {
    /// Those of a sidecar, which is connected to when it is used first. Instead of
    /// [`Settings::deadline`], which is one of state, [`DEADLINE`] is used.
    ///
    /// # Errors
    /// [`Unusable::Address`].
    pub fn new(settings: Settings) -> Result<Self, Unusable> {
        let settings = Settings {
            deadline: DEADLINE,
            ..settings
        };
        let sidecar = Sidecar::new(&settings)?;
        Ok(Self { sidecar, settings })
    }

    /// Waits until the sidecar is up, and has these components.
    ///
    /// # Errors
    /// [`Unusable::Silent`], [`Unusable::Component`].
    pub async fn ready(&self, components: &BTreeSet<String>) -> Result<(), Unusable> {
        let there = self.sidecar.components(&self.settings, components);
        there.await.map(|_| ())
    }

    /// Calls an output binding, within so much time.
    ///
    /// # Errors
    /// [`Failed`], with what the sidecar says.
    ///
    /// # Cancel safety
    /// A call that was dropped may have been made.
    pub async fn invoke(&self, call: Invocation, within: Duration) -> Result<Answer, Failed> {
        let mut request = Request::new(InvokeBindingRequest {
            name: call.binding,
            data: call.data,
            metadata: call.metadata.into_iter().collect(),
            operation: call.operation,
        });
        let trace = call.traceparent.as_deref().map(MetadataValue::try_from);
        if let Some(Ok(trace)) = trace {
            request.metadata_mut().insert("traceparent", trace);
        }
        let invoke = self.sidecar.call(async move |stub: Stub| {
            let mut stub = stub.max_decoding_message_size(ANSWER_BYTES);
            stub.invoke_binding(request).await
        });
        let answer = match tokio::time::timeout(within, invoke).await {
            Ok(answer) => answer.map_err(|status| failed(&status))?,
            Err(_) => return Err(failed(&Status::deadline_exceeded("no answer in time"))),
        };
        Ok(Answer {
            data: answer.data.into(),
            metadata: answer.metadata.into_iter().collect(),
        })
    }

    /// Reads a secret. A sidecar that does not answer is waited for, for [`Settings::patience`].
    ///
    /// # Errors
    /// [`Failed`]: there is no such store, or no such secret in it, or no sidecar.
    pub async fn secret(&self, store: &str, name: &str) -> Result<Secret, Failed> {
        let request = GetSecretRequest {
            store_name: store.to_owned(),
            key: name.to_owned(),
            metadata: HashMap::new(),
        };
        let asked = self.patiently(|mut stub: Stub| {
            let request = request.clone();
            async move { stub.get_secret(request).await }
        });
        Ok(Secret(asked.await?.data.into_iter().collect()))
    }

    /// Asks a sidecar, which is waited for, for [`Settings::patience`].
    pub(super) async fn patiently<T, F>(&self, ask: impl Fn(Stub) -> F) -> Result<T, Failed>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let begun = tokio::time::Instant::now();
        loop {
            match self.sidecar.call(&ask).await {
                Ok(answer) => return Ok(answer),
                Err(status)
                    if status.code() == Code::Unavailable
                        && begun.elapsed() < self.settings.patience =>
                {
                    tokio::time::sleep(LOOK).await;
                }
                Err(status) => return Err(failed(&status)),
            }
        }
    }
}

pub(super) fn failed(status: &Status) -> Failed {
    let mut reason = status.message().to_owned();
    reason.truncate(reason.floor_char_boundary(REASON_BYTES));
    Failed {
        reason,
        in_doubt: matches!(
            status.code(),
            Code::DeadlineExceeded | Code::Unavailable | Code::Cancelled | Code::Unknown
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_of_one_value_needs_no_key_and_shows_none_of_its_values() {
        let one = Secret(BTreeMap::from([("key".to_owned(), "hush".to_owned())]));
        assert_eq!(one.value(None), Some("hush"));
        assert_eq!(one.value(Some("other")), None);
        let mut two = one;
        two.0.insert("more".to_owned(), "hush".to_owned());
        assert_eq!(two.value(None), None);
        assert_eq!(two.value(Some("more")), Some("hush"));
        assert!(!format!("{two:?}").contains("hush"));
    }
}
