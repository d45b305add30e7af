//! Streams and sends that outlive a broken connection.
//!
//! # Invariants
//! - A task is followed to its rest, or to an error: a stream that breaks, or ends while the task
//!   works, is taken up again with `SubscribeToTask` and the id of the last event seen.
//! - No event is given twice, as far as the agent numbers them; what was missed and is no longer held
//!   comes as the whole task instead.
//! - A message goes out a second time only where it provably was not sent, or where the caller says
//!   that this agent knows a message again by its id ([`Resume::resend`]).

use std::time::Duration;

use futures_util::StreamExt as _;
use http::HeaderValue;
use mesh_proto::{
    Fault,
    a2a::{
        GetTaskRequest, SendMessageRequest, SendMessageResponse, StreamResponse,
        SubscribeToTaskRequest, Task, TaskState, TaskStatus, stream_response::Payload,
    },
    mesh,
};
use mesh_runtime::dice;

use crate::{
    client::Client,
    error::{Broken, Cut, Error},
    events::Events,
    options::Call,
};

/// How often and how fast to try again.
#[derive(Clone, Copy, Debug)]
pub struct Resume {
    /// How often in a row a task is asked for without a new event, before it is given up; the task
    /// as a whole is none. Default 10,
    /// which with the pauses is most of a minute.
    pub attempts: u32,
    /// How often a message is sent at most. Default 3.
    pub sends: u32,
    /// The pause after the first failure, at most; each one after it is twice as long. Default 100 ms.
    pub first_pause: Duration,
    /// The longest pause. Default 10 s.
    pub longest_pause: Duration,
    /// Whether to send a message again that may have arrived. Default no: an agent that does not know
    /// messages by their id would do it twice. The workers of this mesh do know them.
    pub resend: bool,
}

impl Default for Resume {
    fn default() -> Self {
        Self {
            attempts: 10,
            sends: 3,
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(10),
            resend: false,
        }
    }
}

impl Resume {
    /// Whether to send a message again, and after which pause.
    fn again(&self, error: &Error, sent: u32) -> Option<Duration> {
        let may = error.is_unsent_on_the_way()
            || error.retry_after().is_some()
            || (self.resend && is_broken(error));
        (may && sent < self.sends).then(|| self.pause(error, sent))
    }

    /// What the agent asks for, or else a random pause that doubles with each failure.
    fn pause(&self, error: &Error, failures: u32) -> Duration {
        if let Some(asked) = error.retry_after() {
            return asked;
        }
        let doubled = 2_u32.saturating_pow(failures.saturating_sub(1).min(16));
        let most = self.first_pause.saturating_mul(doubled);
        // A random half keeps clients apart that lost the same connection.
        most.min(self.longest_pause).mul_f64(0.5 + 0.5 * share())
    }
}

/// What following a task brings.
#[derive(Clone, Debug, PartialEq)]
pub enum Followed {
    /// An event. A [`Payload::Task`] is the whole task as it is, whatever came before.
    Event(Box<StreamResponse>),
    /// The stream broke and was taken up again; what follows goes on from there.
    Resumed,
}

/// A task that is followed over as many streams as it takes.
#[derive(Debug)]
pub struct Follow {
    client: Client,
    call: Call,
    resume: Resume,
    tenant: String,
    task: Option<String>,
    last_event: Option<String>,
    rests: bool,
    /// Failures in a row since the last new event.
    failures: u32,
    at: At,
}

#[derive(Debug)]
enum At {
    Sending(Box<SendMessageRequest>),
    Subscribing,
    On(Box<Events>),
    /// The stream broke with this, or ended too early with nothing.
    Off(Option<Error>),
    Over,
}

impl Follow {
    pub(crate) fn of_message(
        client: Client,
        ask: SendMessageRequest,
        call: Call,
        resume: Resume,
    ) -> Self {
        let tenant = ask.tenant.clone();
        Self::new(client, call, resume, tenant, At::Sending(Box::new(ask)))
    }

    pub(crate) fn of_task(
        client: Client,
        ask: SubscribeToTaskRequest,
        call: Call,
        resume: Resume,
    ) -> Self {
        Self {
            task: Some(ask.id),
            ..Self::new(client, call, resume, ask.tenant, At::Subscribing)
        }
    }

    fn new(client: Client, call: Call, resume: Resume, tenant: String, at: At) -> Self {
        Self {
            client,
            call,
            resume,
            tenant,
            task: None,
            last_event: None,
            rests: false,
            failures: 0,
            at,
        }
    }

    /// What comes next; `None` once the task rests or the agent has answered with a message. After an
    /// error nothing comes.
    pub async fn next(&mut self) -> Option<Result<Followed, Error>> {
        loop {
            let step = match &mut self.at {
                At::Over => return None,
                At::Sending(_) => self.send().await,
                At::Subscribing => self.subscribe(None).await,
                At::On(events) => {
                    let event = events.next().await;
                    let id = events.event_id().map(str::to_owned);
                    self.take(event, id)
                }
                At::Off(_) => self.take_up().await,
            };
            match step {
                Ok(None) => {}
                Ok(Some(followed)) => return Some(Ok(followed)),
                Err(error) => {
                    self.at = At::Over;
                    return Some(Err(error));
                }
            }
        }
    }

    async fn send(&mut self) -> Result<Option<Followed>, Error> {
        let At::Sending(ask) = &self.at else {
            return Ok(None);
        };
        match self
            .client
            .stream(SendMessageRequest::clone(ask), &self.call)
            .await
        {
            Ok(events) => self.at = At::On(Box::new(events)),
            Err(error) => {
                self.failures += 1;
                let pause = self.resume.again(&error, self.failures).ok_or(error)?;
                tokio::time::sleep(pause).await;
            }
        }
        Ok(None)
    }

    /// Takes what a stream gave.
    fn take(
        &mut self,
        event: Option<Result<StreamResponse, Error>>,
        id: Option<String>,
    ) -> Result<Option<Followed>, Error> {
        match event {
            Some(Ok(event)) => {
                let is_news = self.is_news(&event, id.as_deref());
                if is_news {
                    // A stream that shows the task as it is, and no more, is no way on.
                    if !matches!(event.payload, Some(Payload::Task(_))) {
                        self.failures = 0;
                    }
                    self.note(&event);
                    self.last_event = id.or_else(|| self.last_event.take());
                }
                Ok(is_news.then(|| Followed::Event(Box::new(event))))
            }
            Some(Err(error)) if self.task.is_some() && !self.rests && is_passing(&error) => {
                self.at = At::Off(Some(error));
                Ok(None)
            }
            Some(Err(error)) if !self.rests => Err(error),
            None if self.task.is_some() && !self.rests => {
                self.at = At::Off(None);
                Ok(None)
            }
            // All was said; how the connection ended then is nobody's concern.
            Some(Err(_)) | None => {
                self.at = At::Over;
                Ok(None)
            }
        }
    }

    /// Pauses, and takes a broken stream up again.
    async fn take_up(&mut self) -> Result<Option<Followed>, Error> {
        self.failures += 1;
        if let At::Off(broken) = &mut self.at {
            if self.failures > self.resume.attempts {
                let reason = || "the stream ended before the task did, again and again".to_owned();
                let ended = || Cut::MidAnswer { reason: reason() }.into();
                return Err(broken.take().unwrap_or_else(ended));
            }
            let nothing = Error::from(Broken::Short("the task's rest"));
            let pause = self
                .resume
                .pause(broken.as_ref().unwrap_or(&nothing), self.failures);
            tokio::time::sleep(pause).await;
        }
        let asked = self.subscribe(self.last_event.clone()).await;
        match asked {
            Ok(_) => Ok(Some(Followed::Resumed)),
            Err(error) if is_passing(&error) => {
                self.at = At::Off(Some(error));
                Ok(None)
            }
            // A task that has come to its end meanwhile cannot be followed, but read.
            Err(Error::Problem(problem)) if problem.fault == Fault::UnsupportedOperation => {
                let task = self.read().await?;
                let event = StreamResponse {
                    payload: Some(Payload::Task(task)),
                };
                self.note(&event);
                self.at = if self.rests { At::Over } else { At::Off(None) };
                Ok(Some(Followed::Event(Box::new(event))))
            }
            Err(error) => Err(error),
        }
    }

    async fn subscribe(&mut self, last: Option<String>) -> Result<Option<Followed>, Error> {
        let mut call = self.call.clone();
        if let Some(last) = last.and_then(|last| HeaderValue::from_str(&last).ok()) {
            call.headers.insert(mesh::LAST_EVENT_ID, last);
        }
        let ask = SubscribeToTaskRequest {
            tenant: self.tenant.clone(),
            id: self.task.clone().unwrap_or_default(),
        };
        self.at = At::On(Box::new(self.client.subscribe(ask, &call).await?));
        Ok(None)
    }

    async fn read(&self) -> Result<Task, Error> {
        let ask = GetTaskRequest {
            tenant: self.tenant.clone(),
            id: self.task.clone().unwrap_or_default(),
            ..GetTaskRequest::default()
        };
        self.client.get_task(ask, &self.call).await
    }

    /// A task as it was when the stream broke, and what came before that, are no news.
    fn is_news(&self, event: &StreamResponse, id: Option<&str>) -> bool {
        let (Some(id), Some(last)) = (id, self.last_event.as_deref()) else {
            return true;
        };
        let is_task = matches!(event.payload, Some(Payload::Task(_)));
        match (number(id), number(last)) {
            (Some((fence, n)), Some((same, seen))) if fence == same => {
                n > seen || (n == seen && !is_task)
            }
            _ => !is_task || id != last,
        }
    }

    fn note(&mut self, event: &StreamResponse) {
        match &event.payload {
            Some(Payload::Task(task)) => {
                self.task = Some(task.id.clone());
                self.rests = rests(task.status.as_ref());
            }
            Some(Payload::StatusUpdate(update)) => {
                self.task.get_or_insert_with(|| update.task_id.clone());
                self.rests = rests(update.status.as_ref());
            }
            Some(Payload::ArtifactUpdate(update)) => {
                self.task.get_or_insert_with(|| update.task_id.clone());
            }
            Some(Payload::Message(_)) => self.rests = true,
            None => {}
        }
    }
}

/// Sends a message, again where that is safe.
pub(crate) async fn send(
    client: &Client,
    ask: SendMessageRequest,
    call: &Call,
    resume: &Resume,
) -> Result<SendMessageResponse, Error> {
    let mut sent = 0;
    loop {
        let error = match client.send(ask.clone(), call).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        sent += 1;
        let pause = resume.again(&error, sent).ok_or(error)?;
        tokio::time::sleep(pause).await;
    }
}

/// Whether the connection broke, so that nobody knows what became of the request.
const fn is_broken(error: &Error) -> bool {
    matches!(error, Error::Transport(_) | Error::Broken(Broken::Short(_)))
}

/// Whether it may go better the next time.
fn is_passing(error: &Error) -> bool {
    let fault = error.problem().map(|problem| problem.fault);
    is_broken(error)
        || matches!(
            error,
            Error::Broken(Broken::ContentType { status: 500.., .. })
        )
        || matches!(
            fault,
            Some(Fault::Unavailable | Fault::Exhausted | Fault::DeadlineExceeded)
        )
}

fn rests(status: Option<&TaskStatus>) -> bool {
    let state = status.map_or(TaskState::Unspecified, TaskStatus::state);
    !matches!(
        state,
        TaskState::Unspecified | TaskState::Submitted | TaskState::Working
    )
}

/// The two parts of an id that our workers give; what others give is only compared.
fn number(id: &str) -> Option<(&str, u64)> {
    let (fence, n) = id.split_once('-')?;
    Some((fence, n.parse().ok()?))
}

/// A random number from 0 to 1.
fn share() -> f64 {
    let (_, low) = dice::uuid().as_u64_pair();
    let low = u32::try_from(low & u64::from(u32::MAX)).unwrap_or_default();
    f64::from(low) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_are_never_alike() {
        let resume = Resume::default();
        let error = Error::from(Broken::Short("a status"));
        for (failures, most) in [(1, 100), (2, 200), (5, 1600), (8, 10_000), (99, 10_000)] {
            let most = Duration::from_millis(most);
            let pauses: Vec<_> = (0..20).map(|_| resume.pause(&error, failures)).collect();
            assert!(pauses.iter().all(|pause| (most / 2..=most).contains(pause)));
            assert!(pauses.windows(2).any(|two| two[0] != two[1]));
        }
    }

    #[test]
    fn a_message_goes_out_again_only_where_that_is_safe() {
        let careful = Resume::default();
        let bold = Resume {
            resend: true,
            ..careful
        };
        let unsent = Error::from(Cut::Connect {
            authority: String::new(),
            reason: String::new(),
        });
        let broke = Error::from(Cut::Broke {
            authority: String::new(),
            reason: String::new(),
        });
        let refused = Error::Problem(mesh_proto::Problem::new(Fault::InvalidParams, "no"));
        assert!(careful.again(&unsent, 1).is_some());
        assert!(careful.again(&broke, 1).is_none());
        assert!(bold.again(&broke, 1).is_some());
        assert!(bold.again(&broke, bold.sends).is_none());
        assert!(bold.again(&refused, 1).is_none());
    }
}
