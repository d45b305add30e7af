//! One attempt at a time: the first candidate, then the next one where nothing was sent.
//!
//! # Invariants
//! - A request that may have been seen is never sent again: a Send is not idempotent (spec 3.3).
//! - An attempt that could not connect ejects the origin before the next candidate is tried.
//! - A look-up (a task id that names no place) asks one member after the other and takes the first
//!   that knows the task; it is bounded by the candidates that placement gave.

pub mod lookup;

use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, Response};
use mesh_core::{
    error::{CallError, Retry},
    placement::Reason,
    token::{Keys, Kind, Route},
};
use mesh_proto::{Binding, Fault, Problem, grpc, mesh};
use serde::Deserialize;
use tokio::time::Instant;
use tracing::{debug, warn};

use self::lookup::Answer;
use crate::{
    call::Ask,
    catalogue::Catalogue,
    passage::{Candidate, Passage},
    promise::extensions,
    upstream::{
        self, Endpoint, Line,
        envelope::{self, Addresses, Envelope, Needed, Reach},
        origin::{Carried, Unanswered},
        transcode::{self, Incoming, Outgoing, Transcoding},
    },
    webhook::{self, Webhooks},
};

/// Bounds of one attempt.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Seconds that a call other than a send or a subscription may wait for its answer's head.
    /// A send has no such bound: it waits for the agent's work (spec 3.1.1). Default 30.
    pub answer_seconds: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { answer_seconds: 30 }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Dispatch {
    settings: Settings,
    envelopes: envelope::Settings,
    transcoding: transcode::Settings,
    extensions: extensions::Settings,
    webhooks: Arc<Webhooks>,
    catalogue: Arc<Catalogue>,
}

impl Dispatch {
    /// Sends calls to the endpoints of this catalogue.
    #[must_use]
    pub const fn new(
        settings: Settings,
        envelopes: envelope::Settings,
        transcoding: transcode::Settings,
        extensions: extensions::Settings,
        webhooks: Arc<Webhooks>,
        catalogue: Arc<Catalogue>,
    ) -> Self {
        Self {
            settings,
            envelopes,
            transcoding,
            extensions,
            webhooks,
            catalogue,
        }
    }

    /// Tries the candidates in order until one answers.
    ///
    /// # Errors
    /// The last candidate's [`CallError`]; or the first one's that may have seen the request.
    pub async fn run(&self, ask: &Ask, passage: &Passage) -> Result<Answer, CallError> {
        let agent = ask.agent.clone();
        let mut last = Err(CallError::NoMember { agent });
        let envelope = self.open(ask, passage)?;
        let envelope = envelope.as_ref();
        for candidate in &passage.candidates {
            match self.attempt(ask, passage, candidate, envelope).await {
                Ok(answer) if passage.reason == Reason::ForeignTask => {
                    let answer = answer.settled(ask.dialect.binding).await;
                    if !answer.is_unknown_task() {
                        return Ok(answer);
                    }
                    last = Ok(answer);
                }
                Ok(answer) => return Ok(answer),
                Err(error) if error.retry() == Retry::Always => {
                    // A member that knows nothing of the task still says more than one that is gone.
                    if last.is_err() {
                        last = Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        last
    }

    /// Opens the ids of a call to somebody else's replicas.
    fn open(&self, ask: &Ask, passage: &Passage) -> Result<Option<Envelope>, CallError> {
        let mut candidates = passage.candidates.iter();
        // Of a call by skill also the ids of an agent's only replica must tell whose they are.
        let is_one_of_many = passage.agent.endpoints.len() > 1 || ask.keys.skill.is_some();
        let reaches = is_one_of_many
            && candidates.any(|each| each.endpoint.third_party().is_some())
            && !self.envelopes.plain.contains(&ask.agent);
        let reach = if reaches { Reach::All } else { Reach::Echo };
        let keys = self.catalogue.keys();
        let addresses = Addresses {
            webhooks: &self.webhooks,
            needed: self.needed(ask, passage),
        };
        Envelope::open(ask, keys, reach, &self.envelopes, &addresses)
    }

    /// Whether somebody would tell a webhook of the call in words that its owner does not speak.
    fn needed(&self, ask: &Ask, passage: &Passage) -> Needed {
        let origins = self.catalogue.origins();
        let is_other = |candidate: &Candidate| {
            let line = passage
                .agent
                .line(&candidate.endpoint, ask.dialect, origins);
            let version = ask.dialect.version;
            line.is_some_and(|line| line.dialect(version).version != version)
        };
        if webhook::gives(ask.operation) && passage.candidates.iter().any(is_other) {
            Needed::Yes
        } else {
            Needed::No
        }
    }

    async fn attempt(
        &self,
        ask: &Ask,
        passage: &Passage,
        candidate: &Candidate,
        envelope: Option<&Envelope>,
    ) -> Result<Answer, CallError> {
        let endpoint = &candidate.endpoint;
        let line = passage
            .agent
            .line(endpoint, ask.dialect, self.catalogue.origins());
        let line = line.ok_or(CallError::BindingNotOffered {
            binding: ask.dialect.binding,
        })?;
        let life = endpoint.third_party();
        let envelope = envelope.map(|each| each.towards(life, ask)).transpose()?;
        let envelope = envelope.as_deref();
        let transcoding = Transcoding::between(ask, &line, self.transcoding);
        if let Some(transcoding) = &transcoding {
            let (client, agent) = transcoding.dialects();
            passage.agent.meter.transcoded(client, agent);
        }
        let headers = self.headers(ask, passage, candidate);
        let Outgoing {
            method,
            path,
            headers,
            body,
        } = outgoing(ask, &line, transcoding.as_ref(), envelope, headers)?;
        endpoint.meter.attempts.inc();
        let until = self.patience(ask).map(|patience| Instant::now() + patience);
        let sent = line.send(method, &path, headers, body);
        let answered = match until {
            None => sent.await,
            Some(until) => match tokio::time::timeout_at(until, sent).await {
                Ok(answered) => answered,
                Err(_) => return Err(CallError::Deadline),
            },
        };
        let answered = answered.map_err(|error| self.fault(ask, endpoint, &line, &error))?;
        line.origin().readmit();
        let mut answer = match transcoding {
            None => Answer::new(Arc::clone(endpoint), answered),
            Some(transcoding) => {
                let translated = Box::pin(translated(transcoding, answered, until)).await?;
                Answer::translated(Arc::clone(endpoint), translated)
            }
        };
        self.learn_boot(endpoint, &mut answer.headers);
        answer.check(ask.dialect.binding)?;
        if let Some(envelope) = envelope {
            answer.seal(envelope);
        }
        Ok(answer)
    }

    /// What the upstream gets: the caller's headers, our hop and span, and for our own workers the
    /// route to put in front of new ids.
    fn headers(&self, ask: &Ask, passage: &Passage, candidate: &Candidate) -> HeaderMap {
        let mut headers = ask.headers.clone();
        self.extensions.filter(&mut headers);
        headers.insert(mesh::HOPS, HeaderValue::from(ask.hops));
        if let Ok(trace) = HeaderValue::from_str(&ask.trace.to_string()) {
            headers.insert(mesh::TRACEPARENT, trace);
        }
        let incarnation = candidate.endpoint.incarnation();
        if incarnation == mesh::Incarnation::default() {
            return headers;
        }
        if candidate.orphan {
            headers.insert(mesh::ORPHAN, HeaderValue::from_static("1"));
        }
        if let Ok(view) = HeaderValue::from_str(&passage.view.to_string()) {
            headers.insert(mesh::VIEW, view);
        }
        let Some(slot) = passage.slot else {
            return headers;
        };
        headers.insert(mesh::SLOT, HeaderValue::from(slot.0));
        if ask.operation.sends() {
            let route = Route {
                cell: mesh::Cell::default(),
                slot,
                incarnation,
                kind: Kind::Native,
                minted_hour: mesh_runtime::clock::hour(),
            };
            let keys: &Keys = self.catalogue.keys();
            let sealed = keys.seal(route, ask.agent.as_str(), ask.keys.tenant.as_deref());
            if let Ok(affinity) = HeaderValue::from_str(&sealed) {
                headers.insert(mesh::AFFINITY, affinity);
            }
        }
        headers
    }

    fn patience(&self, ask: &Ask) -> Option<Duration> {
        let waits_for_work = ask.operation.sends() || ask.operation.streams();
        (!waits_for_work).then(|| Duration::from_secs(self.settings.answer_seconds))
    }

    fn learn_boot(&self, endpoint: &Endpoint, headers: &mut HeaderMap) {
        let Some(boot) = headers.remove(mesh::BOOT) else {
            return;
        };
        if let Ok(boot) = boot.to_str()
            && endpoint.learn_boot(boot)
        {
            self.catalogue.refresh();
        }
    }

    fn fault(
        &self,
        ask: &Ask,
        endpoint: &Endpoint,
        line: &Line,
        error: &upstream::Error,
    ) -> CallError {
        match error {
            upstream::Error::Unanswered(Unanswered::Unsent(reason)) => {
                endpoint.meter.unsent.inc();
                if line.origin().eject(Instant::now()) {
                    warn!(endpoint = %endpoint.id, error = %Chain(reason), "endpoint ejected");
                }
                CallError::Connect
            }
            upstream::Error::Unanswered(Unanswered::Sent(error)) => {
                debug!(endpoint = %endpoint.id, error = %Chain(error), "connection broke");
                CallError::UpstreamReset
            }
            upstream::Error::Path(_) => CallError::BadRequest(
                Problem::new(Fault::InvalidRequest, "the path is not one").with("path", &*ask.path),
            ),
            upstream::Error::Status(_) | upstream::Error::Page => CallError::UpstreamReset,
        }
    }
}

/// What goes down a line: the call as it came, with its ids opened, or in the line's own dialect.
fn outgoing(
    ask: &Ask,
    line: &Line,
    transcoding: Option<&Transcoding>,
    envelope: Option<&Envelope>,
    mut headers: HeaderMap,
) -> Result<Outgoing, CallError> {
    if let Some(transcoding) = transcoding {
        return transcoding.request(ask, envelope, line.tenant.as_deref(), headers);
    }
    let (mut below, mut body) = (&*ask.path, ask.body.clone());
    if let Some(envelope) = envelope {
        envelope.adapt(&mut headers);
        below = envelope.path.as_deref().unwrap_or(below);
        body = envelope.body.clone().unwrap_or(body);
    }
    let path = match ask.dialect.binding {
        Binding::Grpc => {
            let path = grpc::path_of(ask.operation, ask.dialect.version);
            Cow::Borrowed(path.unwrap_or_default())
        }
        Binding::JsonRpc | Binding::Rest => Cow::Owned(below.to_owned()),
    };
    Ok(Outgoing {
        method: ask.method.clone(),
        path,
        headers,
        body,
    })
}

/// An answer in the client's dialect, if it comes in time.
async fn translated(
    transcoding: Transcoding,
    answered: Response<Carried>,
    until: Option<Instant>,
) -> Result<Incoming, CallError> {
    let answer = transcoding.answer(answered);
    match until {
        None => answer.await,
        Some(until) => tokio::time::timeout_at(until, answer)
            .await
            .unwrap_or(Err(CallError::Deadline)),
    }
}

/// An error with all its causes, on one line.
struct Chain<'a>(&'a (dyn std::error::Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
