//! One attempt at a time: the first candidate, then whom the table in `retry` names.
//!
//! # Invariants
//! - A request that may have been seen is sent again only where doing it twice is the same as once: a
//!   Send is not idempotent (spec 3.3), but to our own workers, who know a message by its id.
//! - No attempt outlives the caller's deadline; one that is given up is dropped, and with it its stream.
//! - An attempt that could not connect ejects the origin before the next candidate is tried.
//! - A look-up (a task id that names no place) asks one member after the other and takes the first
//!   that knows the task; it is bounded by the candidates that placement gave.

mod absent;
mod acquaint;
pub mod lookup;
mod missed;
mod onward;
mod resume;
mod retry;

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, Response};
use mesh_core::{error::CallError, placement::Reason};
use mesh_proto::{Fault, Problem, mesh};
use serde::Deserialize;
use tokio::time::Instant;
use tracing::{debug, warn};

use self::{
    absent::Absent,
    lookup::Answer,
    missed::{Chain, Missed, Stopped, fails, refusal_of, sent},
    onward::outgoing,
    retry::{Failed, Nature, Next, TRIES, Tries, Whose},
};
use crate::{
    call::Ask,
    catalogue::Catalogue,
    passage::{Candidate, Passage},
    promise::extensions,
    upstream::{
        self, Endpoint, Line,
        envelope::{self, Addresses, Envelope, Needed, Reach},
        origin::{Carried, Unanswered},
        transcode::{self, Incoming, Transcoding},
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
    /// Seconds over which a worker that comes after the others, or comes back, is given its share of new
    /// work: less of it than of the rest, while its caches are cold. 0 gives it all at once. Default 10.
    pub slow_start_seconds: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            answer_seconds: 30,
            slow_start_seconds: 10,
        }
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
    absent: Absent,
}

impl Dispatch {
    /// Sends calls to the endpoints of this catalogue.
    #[must_use]
    pub fn new(
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
            absent: Absent::new(),
        }
    }

    /// Tries the candidates until one answers, by the table in `retry`.
    ///
    /// # Errors
    /// The first failure's [`CallError`], where nobody answered.
    pub async fn run(&self, ask: &Ask, passage: &Passage) -> Result<Answer, CallError> {
        let envelope = self.open(ask, passage)?;
        let envelope = envelope.as_ref();
        if passage.reason == Reason::ForeignTask {
            return self.look_up(ask, passage, envelope).await;
        }
        self.pursue(ask, passage, envelope, Tries::of(&passage.candidates))
            .await
    }

    /// The same for these tries.
    async fn pursue(
        &self,
        ask: &Ask,
        passage: &Passage,
        envelope: Option<&Envelope>,
        mut tries: Tries<'_>,
    ) -> Result<Answer, CallError> {
        let nature = Nature::new(ask.operation, &ask.keys, passage.reason);
        let mut candidate = tries.first();
        let mut first = None;
        let purse = passage.agent.purse();
        purse.earn(Instant::now());
        for _ in 0..TRIES {
            let Some(tried) = candidate.take() else {
                break;
            };
            let attempt = Box::pin(self.attempt(ask, passage, &tried, envelope));
            let missed = match attempt.await {
                Ok(answer) => return Ok(answer),
                Err(missed) => *missed,
            };
            let Some(failed) = missed.failed else {
                return missed.answer;
            };
            let next = nature.next(failed, missed.whose);
            let owner = match missed.owner.as_deref() {
                Some(boot) if next == Next::Owner => self.owner(ask, passage, boot, &tries).await,
                _ => None,
            };
            // A worker's own words say more than that another could not be reached.
            match &first {
                Some(Ok(_)) => {}
                Some(Err(_)) if missed.answer.is_err() => {}
                Some(Err(_)) | None => first = Some(missed.answer),
            }
            candidate = tries.after(&tried, failed, next, owner);
            if candidate.is_some() && !purse.pay(failed, Instant::now()) {
                break;
            }
        }
        let agent = ask.agent.clone();
        first.unwrap_or(Err(CallError::NoMember { agent }))
    }

    /// Asks one member after the other for a task that names no place.
    async fn look_up(
        &self,
        ask: &Ask,
        passage: &Passage,
        envelope: Option<&Envelope>,
    ) -> Result<Answer, CallError> {
        let agent = ask.agent.clone();
        if self.absent.knows(ask, Instant::now()) {
            return Err(CallError::ForeignTask { agent });
        }
        let mut last = Err(CallError::NoMember { agent });
        let mut were_all_asked = true;
        for candidate in &passage.candidates {
            match Box::pin(self.attempt(ask, passage, candidate, envelope)).await {
                Ok(answer) => {
                    let answer = answer.settled(ask.dialect.binding).await;
                    if !answer.is_unknown_task() {
                        return Ok(answer);
                    }
                    last = Ok(answer);
                }
                Err(missed) if missed.failed.is_none() => return missed.answer,
                // It knows who has it.
                Err(missed) if missed.failed == Some(Failed::Misplaced) => {
                    let tries = Tries::of(std::slice::from_ref(candidate));
                    return self.pursue(ask, passage, envelope, tries).await;
                }
                // A member that knows nothing of the task still says more than one that is gone.
                Err(missed) => {
                    were_all_asked = false;
                    if last.is_err() {
                        last = missed.answer;
                    }
                }
            }
        }
        if were_all_asked {
            self.absent.note(ask, Instant::now());
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
    ) -> Result<Answer, Box<Missed>> {
        let endpoint = &candidate.endpoint;
        if ask.operation.sends() {
            acquaint::with(endpoint, passage.deadline).await;
        }
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
        let headers = self.headers(ask, passage, candidate, &line);
        let outgoing = outgoing(ask, &line, transcoding.as_ref(), envelope, headers)?;
        endpoint.meter.attempts.inc();
        let until = self.until(ask, passage);
        let whose = whose_is(endpoint);
        let nature = Nature::new(ask.operation, &ask.keys, passage.reason);
        // Who waits at a frozen worker of ours may as well ask another; others wait on.
        let may_leave = whose == Whose::Ours && nature.may_be_repeated(whose);
        let running = line.origin().health().begin(ask.operation.sends());
        let begun = Instant::now();
        let mut answered = match sent(&line, outgoing, until, may_leave).await {
            Ok(mut answered) => {
                answered.body_mut().counted(running);
                answered
            }
            Err(error) => return Err(self.missed(ask, endpoint, &line, whose, &error)),
        };
        self.judge(ask, endpoint, &line, whose, (&answered, begun));
        self.learn(endpoint, answered.headers_mut());
        // Who was not known before may have shown itself by its answer.
        let whose = whose_is(endpoint);
        let status = answered.status();
        let refused = match whose {
            Whose::Ours => refusal_of(answered.headers_mut(), status),
            Whose::Theirs => None,
        };
        let mut answer = match transcoding {
            None => Answer::new(Arc::clone(endpoint), answered),
            Some(transcoding) => {
                let translated = Box::pin(translated(transcoding, answered, until)).await?;
                Answer::translated(Arc::clone(endpoint), translated)
            }
        };
        answer.check(ask.dialect.binding)?;
        if let Some(envelope) = envelope {
            answer.seal(envelope);
        }
        match refused {
            None => Ok(answer),
            Some((failed, owner)) => Err(Box::new(Missed {
                failed: Some(failed),
                whose,
                answer: match failed {
                    // It says to routers where the task is; a caller has nothing of it.
                    Failed::Misplaced => Err(CallError::UpstreamReset),
                    _ => Ok(answer),
                },
                owner,
            })),
        }
    }

    /// What an answer says of who gave it.
    fn judge(
        &self,
        ask: &Ask,
        endpoint: &Endpoint,
        line: &Line,
        whose: Whose,
        (answered, begun): (&Response<Carried>, Instant),
    ) {
        let (health, now) = (line.origin().health(), Instant::now());
        health.readmit();
        // A blocking send waits for the model: that says nothing of its process.
        if !ask.operation.sends() {
            health.answered(now.saturating_duration_since(begun), now);
        }
        let is_failure = whose == Whose::Theirs && fails(answered);
        if is_failure && endpoint.struck(now) {
            warn!(endpoint = %endpoint.id, "endpoint ejected: it failed several times in a row");
        } else if !is_failure {
            endpoint.settled();
        }
    }

    /// When an attempt is given up: what the caller set, or what a call without work in it may take.
    fn until(&self, ask: &Ask, passage: &Passage) -> Option<Instant> {
        let waits_for_work = ask.operation.sends() || ask.operation.streams();
        let patience = Duration::from_secs(self.settings.answer_seconds);
        let patience = (!waits_for_work).then(|| Instant::now() + patience);
        match (patience, passage.deadline) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    /// Takes in what a worker of ours says of itself with each answer.
    fn learn(&self, endpoint: &Endpoint, headers: &mut HeaderMap) {
        let mut changed = false;
        if endpoint.is_invoked() {
            return;
        }
        if let Some(boot) = headers.remove(mesh::BOOT)
            && let Ok(boot) = boot.to_str()
        {
            changed |= endpoint.learn_boot(boot);
        }
        if let Some(load) = headers.remove(mesh::LOAD)
            && let Some(load) = load.to_str().ok().and_then(mesh::Load::parse)
        {
            changed |= endpoint.learn_load(load);
        }
        if changed {
            self.catalogue.refresh();
        }
    }

    fn missed(
        &self,
        ask: &Ask,
        endpoint: &Endpoint,
        line: &Line,
        whose: Whose,
        error: &Stopped,
    ) -> Box<Missed> {
        let health = line.origin().health();
        let (failed, error) = match error {
            Stopped::Late => (None, CallError::Deadline),
            Stopped::Silenced => {
                debug!(endpoint = %endpoint.id, "nothing is heard of the worker any more");
                (Some(Failed::Broken), CallError::UpstreamReset)
            }
            Stopped::Upstream(upstream::Error::Unanswered(Unanswered::Unsent(reason))) => {
                endpoint.meter.unsent.inc();
                if reason.is_of_the_host() && health.eject(Instant::now()) {
                    warn!(endpoint = %endpoint.id, error = %Chain(reason), "endpoint ejected");
                }
                (Some(Failed::Unsent), CallError::Connect)
            }
            Stopped::Upstream(upstream::Error::Unanswered(Unanswered::Sent(error))) => {
                debug!(endpoint = %endpoint.id, error = %Chain(error), "connection broke");
                if endpoint.struck(Instant::now()) {
                    warn!(endpoint = %endpoint.id, "endpoint ejected: its connections broke");
                }
                (Some(Failed::Broken), CallError::UpstreamReset)
            }
            Stopped::Upstream(upstream::Error::NotReached) => {
                if endpoint.struck(Instant::now()) {
                    warn!(endpoint = %endpoint.id, "endpoint ejected: the sidecar did not reach it");
                }
                (Some(Failed::Broken), CallError::UpstreamReset)
            }
            Stopped::Upstream(upstream::Error::Path(_) | upstream::Error::Unspeakable) => {
                let problem = Problem::new(Fault::InvalidRequest, "the path is not one");
                let problem = problem.with("path", &*ask.path);
                (None, CallError::BadRequest(problem))
            }
            Stopped::Upstream(upstream::Error::Status(_) | upstream::Error::Page) => {
                (None, CallError::UpstreamReset)
            }
        };
        Box::new(Missed {
            failed,
            whose,
            answer: Err(error),
            owner: None,
        })
    }
}

/// Whether an endpoint is a worker of ours, as far as it has shown itself.
fn whose_is(endpoint: &Endpoint) -> Whose {
    if endpoint.incarnation() == mesh::Incarnation::default() {
        Whose::Theirs
    } else {
        Whose::Ours
    }
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
