//! What the sidecar brings in batches to the program's own port ([`Inlet`]), instead of by a stream, one
//! event at a time: where a component reads batches from its broker, this carries a multiple.
//!
//! `GET /dapr/subscribe` tells the sidecar at its start what there is to bring, `POST
//! /-/bus/COMPONENT/TOPIC` is one batch.
//!
//! # Invariants
//! - A batch is answered once each of its events is done, and says of each whether it is: those that a
//!   subscriber left undone are to be brought again.
//! - While nobody subscribes to what was brought, it waits for a moment, and then is to be brought again.
//! - What the sidecar was not told of at its start comes by a stream.
//! - At most [`HELD`] batches of at most [`BYTES`] are held; others wait unread.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tracing::{debug, warn};

use super::{
    super::{Arrivals, Topic},
    Shared,
    event::{self, Event, Read},
    inbox::{Answer, Came, Inbox},
};

/// Where the sidecar asks what there is to bring.
const LIST: &str = "/dapr/subscribe";

/// Where it brings it.
const BATCHES: &str = "/-/bus/";

/// The most events of a batch, and how long the sidecar waits for more of them, in milliseconds.
const BATCH: (usize, u32) = (100, 20);

/// The largest batch: as many messages of Kafka's own default bound (1 MiB), with room to spare.
const BYTES: usize = 128 << 20;

/// The most batches that are held at once; a sidecar has one for each component.
const HELD: usize = 16;

/// How long a batch waits for a subscriber.
const SUBSCRIBER_WITHIN: Duration = Duration::from_secs(5);

/// After which time without a question it is likely that the sidecar does not know the port.
const ASKED_WITHIN: Duration = Duration::from_mins(1);

type Name = (String, Topic);

/// Which component and topic are brought here.
#[derive(Debug)]
pub(super) struct Callbacks {
    desk: Mutex<Desk>,
    changed: Notify,
    turns: Semaphore,
}

impl Default for Callbacks {
    fn default() -> Self {
        Self {
            desk: Mutex::default(),
            changed: Notify::new(),
            turns: Semaphore::new(HELD),
        }
    }
}

#[derive(Debug, Default)]
struct Desk {
    /// Whether the sidecar has been told.
    is_told: bool,
    /// The subscriber of each, while there is one.
    lines: BTreeMap<Name, Option<mpsc::Sender<Came>>>,
}

/// Takes the place for a subscriber, if the sidecar brings that here, or can still be told to.
pub(super) fn open(
    shared: &Arc<Shared>,
    name: &Name,
    in_flight: usize,
) -> Option<Box<dyn Arrivals>> {
    let callbacks = &shared.callbacks;
    let (came, arrivals) = mpsc::channel(1);
    {
        let mut desk = callbacks.desk.lock();
        if desk.is_told && !desk.lines.contains_key(name) {
            warn!(topic = %name.1, "the sidecar has asked already what it is to bring; this comes by a stream");
            return None;
        }
        desk.lines.insert(name.clone(), Some(came));
    }
    callbacks.changed.notify_waiters();
    callbacks.doubt(shared);
    let ending = Ending(Arc::clone(shared), name.clone());
    Some(Box::new(Inbox::new(arrivals, in_flight, ending)))
}

/// The subscriber's end.
struct Ending(Arc<Shared>, Name);

impl Drop for Ending {
    fn drop(&mut self) {
        let Self(shared, name) = self;
        shared
            .callbacks
            .desk
            .lock()
            .lines
            .insert(name.clone(), None);
        shared.streams.leave(name);
    }
}

impl Callbacks {
    /// Says so, when the sidecar does not ask.
    fn doubt(&self, shared: &Arc<Shared>) {
        if self.desk.lock().is_told {
            return;
        }
        let weak = Arc::downgrade(shared);
        let doubting = async move {
            tokio::time::sleep(ASKED_WITHIN).await;
            if let Some(shared) = weak.upgrade()
                && !shared.callbacks.desk.lock().is_told
            {
                warn!(
                    "the sidecar has not asked what it is to bring in batches: nothing comes while its \
                     --app-port is not this program's port, or its --app-protocol not http"
                );
            }
        };
        drop(shared.drain.spawn("bus doubt", doubting));
    }

    /// The subscriber of what was brought; waits for one for a moment.
    async fn line(&self, name: &Name) -> Option<mpsc::Sender<Came>> {
        let line = async {
            loop {
                let changed = self.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if let Some(line) = self.desk.lock().lines.get(name).cloned().flatten() {
                    return line;
                }
                changed.await;
            }
        };
        tokio::time::timeout(SUBSCRIBER_WITHIN, line).await.ok()
    }
}

/// The program's side of batches: whoever has a port hands in what comes to it.
#[derive(Clone, Debug)]
pub struct Inlet(pub(super) Arc<Shared>);

/// What the sidecar is told to bring, as it wants it told.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    pubsubname: String,
    topic: String,
    route: String,
    bulk_subscribe: BulkSubscribe,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BulkSubscribe {
    enabled: bool,
    max_messages_count: usize,
    max_await_duration_ms: u32,
}

#[derive(Deserialize)]
struct Batch {
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "entryId")]
    id: String,
    event: Map<String, Value>,
}

#[derive(Serialize)]
struct Answered {
    statuses: Vec<Status>,
}

#[derive(Serialize)]
struct Status {
    #[serde(rename = "entryId")]
    id: String,
    status: &'static str,
}

const DONE: &str = "SUCCESS";
const AGAIN: &str = "RETRY";

impl Inlet {
    /// Whether a path is one of its own.
    #[must_use]
    pub fn takes(path: &str) -> bool {
        path == LIST || path.starts_with(BATCHES)
    }

    /// Answers the sidecar. Whether it is the sidecar, the caller knows.
    pub async fn answer<B>(&self, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (head, body) = request.into_parts();
        let path = head.uri.path();
        match (&head.method, path.strip_prefix(BATCHES)) {
            (&Method::GET, None) if path == LIST => json(StatusCode::OK, self.list()),
            (&Method::POST, Some(name)) => {
                let Some(name) = name.split_once('/').and_then(|(component, topic)| {
                    Some((component.to_owned(), topic.parse::<Topic>().ok()?))
                }) else {
                    return refuse(
                        StatusCode::BAD_REQUEST,
                        "the path names no component and topic",
                    );
                };
                // Never closed. Read in its turn, so that what is held is bounded.
                let _turn = self.0.callbacks.turns.acquire().await;
                match Limited::new(body, BYTES).collect().await {
                    Ok(body) => self.take(&name, &body.to_bytes()).await,
                    Err(error) => refuse(StatusCode::PAYLOAD_TOO_LARGE, &error.to_string()),
                }
            }
            _ => {
                let text = "the sidecar asks with GET and brings with POST";
                refuse(StatusCode::METHOD_NOT_ALLOWED, text)
            }
        }
    }

    fn list(&self) -> Vec<u8> {
        let mut desk = self.0.callbacks.desk.lock();
        desk.is_told = true;
        let listed = |(component, topic): &Name| Listed {
            pubsubname: component.clone(),
            topic: topic.to_string(),
            route: format!("{BATCHES}{component}/{topic}"),
            bulk_subscribe: BulkSubscribe {
                enabled: true,
                max_messages_count: BATCH.0,
                max_await_duration_ms: BATCH.1,
            },
        };
        let listed: Vec<_> = desk.lines.keys().map(listed).collect();
        serde_json::to_vec(&listed).unwrap_or_default()
    }

    async fn take(&self, name: &Name, body: &[u8]) -> Response<Full<Bytes>> {
        let batch: Batch = match serde_json::from_slice(body) {
            Ok(batch) => batch,
            Err(error) => {
                warn!(topic = %name.1, %error, "the sidecar brought something that is no batch");
                return refuse(StatusCode::BAD_REQUEST, &error.to_string());
            }
        };
        let Some(line) = self.0.callbacks.line(name).await else {
            return refuse(
                StatusCode::SERVICE_UNAVAILABLE,
                "nobody subscribes to it now",
            );
        };
        let mut waited = Vec::with_capacity(batch.entries.len());
        for Entry { id, event } in batch.entries {
            waited.push((id, hand_in(&line, &name.1, event).await));
        }
        let mut statuses = Vec::with_capacity(waited.len());
        for (id, done) in waited {
            let is_done = match done {
                Handed::Over => true,
                Handed::In(done) => done.await.is_ok(),
            };
            let status = if is_done { DONE } else { AGAIN };
            statuses.push(Status { id, status });
        }
        json(
            StatusCode::OK,
            serde_json::to_vec(&Answered { statuses }).unwrap_or_default(),
        )
    }
}

enum Handed {
    /// Nobody has to do it.
    Over,
    /// It is done when this says so, and not when it is dropped.
    In(oneshot::Receiver<()>),
}

async fn hand_in(line: &mpsc::Sender<Came>, topic: &Topic, event: Map<String, Value>) -> Handed {
    let event = match Event::try_from(event) {
        Ok(event) => event,
        Err(error) => {
            // Others' doing, and no better the next time.
            warn!(%topic, %error, "an event whose data is no base64 was let go");
            return Handed::Over;
        }
    };
    let (_, Read::Message(message, expires)) = event::decode(topic, event) else {
        return Handed::Over;
    };
    let (done, is_done) = oneshot::channel();
    let came = Came {
        message,
        expires,
        attempt: 1,
        answer: Some(Answer::Batch(done)),
    };
    if line.send(came).await.is_err() {
        debug!(%topic, "the subscriber left while a batch was handed in");
    }
    Handed::In(is_done)
}

fn json(status: StatusCode, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn refuse(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    json(
        status,
        serde_json::json!({ "error": text })
            .to_string()
            .into_bytes(),
    )
}

#[cfg(test)]
mod tests;
