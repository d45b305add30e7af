//! One call from the moment it is due to its verdict.
//!
//! # Invariants
//! - A call is done only when the answer is its task, and that task has not failed; a refusal for want
//!   of room is one of its own, since it is what an overloaded endpoint ought to say.
//! - A stream is done when it has told its task's rest; that it ends before is a failure, unless the
//!   load says that streams are taken up again, and then once.

use std::{borrow::Cow, future::Future, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use mesh_proto::{
    Binding, Fault, Operation, Problem,
    a2a::{self, TaskState, send_message_response, stream_response::Payload},
    grpc, mesh, pivot, sse,
};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    aim::{Aim, Letter},
    line::{Answered, GIVEN_UP, Lines, Reason, reason},
};

/// The most that is read of one answer, and of one event.
const ANSWER_BYTES: usize = 16 << 20;

/// Tasks that later reads ask for.
const KNOWN_TASKS: usize = 256;

/// What became of a call.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    /// The answer is the task.
    Done,
    /// Refused for want of room.
    Refused,
    /// Not within its deadline.
    Late,
    /// Anything else, for this reason.
    Failed(Cow<'static, str>),
}

/// A call's end.
#[derive(Clone, Debug)]
pub(super) struct Ended {
    pub(super) verdict: Verdict,
    /// From when it was due.
    pub(super) took: Duration,
    /// To the first event of a stream.
    pub(super) first: Option<Duration>,
    /// Whether its stream was taken up again.
    pub(super) resumed: bool,
}

impl Verdict {
    pub(super) const fn failed(reason: &'static str) -> Self {
        Self::Failed(Cow::Borrowed(reason))
    }

    /// Why there is no answer: the connection, or that none was free.
    fn unsent(reason: Reason) -> Self {
        match reason {
            reason if reason == GIVEN_UP => Self::Late,
            reason => Self::Failed(reason),
        }
    }
}

impl Ended {
    pub(super) const fn of(verdict: Verdict) -> Self {
        Self {
            verdict,
            took: Duration::ZERO,
            first: None,
            resumed: false,
        }
    }
}

/// The calls of one aim.
#[derive(Debug)]
pub(super) struct Call {
    aim: Aim,
    lines: Arc<Lines>,
    send: Letter,
    stream: Letter,
    deadline: Option<Duration>,
    resume: bool,
    tasks: Mutex<Tasks>,
}

/// Ids of tasks that were answered, the latest.
#[derive(Debug, Default)]
struct Tasks {
    ids: Vec<String>,
    turn: usize,
}

/// What is known of a stream's task.
#[derive(Debug, Default)]
struct Followed {
    task: Option<String>,
    last_event: Option<String>,
    state: TaskState,
    first: Option<Instant>,
}

impl Call {
    pub(super) fn new(
        aim: &Aim,
        lines: Arc<Lines>,
        text: &str,
        deadline: Option<Duration>,
        resume: bool,
    ) -> Self {
        Self {
            send: Letter::new(aim, Operation::SendMessage, text),
            stream: Letter::new(aim, Operation::SendStreamingMessage, text),
            aim: aim.clone(),
            lines,
            deadline,
            resume,
            tasks: Mutex::default(),
        }
    }

    /// Makes one call, from the moment it is due.
    pub(super) async fn run(&self, operation: Operation, due: Instant) -> Ended {
        let mut followed = Followed::default();
        let mut resumed = false;
        let call = async {
            match operation {
                Operation::SendStreamingMessage => {
                    self.follow(due, &mut followed, &mut resumed).await
                }
                Operation::GetTask => self.read(due).await,
                _ => self.say(due).await,
            }
        };
        let verdict = match self.deadline {
            Some(deadline) => within(due + deadline, call).await,
            None => call.await,
        };
        Ended {
            verdict,
            took: due.elapsed(),
            first: followed.first.map(|first| first - due),
            resumed,
        }
    }

    /// What is left for a call that was due then.
    fn left(&self, due: Instant) -> Option<Duration> {
        Some(self.deadline?.saturating_sub(due.elapsed()))
    }

    async fn say(&self, due: Instant) -> Verdict {
        let request = self.send.write(&self.aim, self.left(due));
        match self.lines.send(request).await {
            Ok(answered) => self.whole(Operation::SendMessage, answered).await,
            Err(reason) => Verdict::unsent(reason),
        }
    }

    /// Reads a task that an earlier call made; where there is none yet, makes one.
    async fn read(&self, due: Instant) -> Verdict {
        let known = self.tasks.lock().next();
        match known {
            Some(id) => self.read_task(id, due).await,
            None => self.say(due).await,
        }
    }

    async fn read_task(&self, id: String, due: Instant) -> Verdict {
        let request = pivot::Request::GetTask(a2a::GetTaskRequest {
            id,
            ..Default::default()
        });
        let Some(request) = self.aim.about(&request, self.left(due)) else {
            return Verdict::failed("the task's id has no form in this binding");
        };
        match self.lines.send(request).await {
            Ok(answered) => self.whole(Operation::GetTask, answered).await,
            Err(reason) => Verdict::unsent(reason),
        }
    }

    async fn whole(&self, operation: Operation, answered: Answered) -> Verdict {
        let Answered { response, hold } = answered;
        let (head, body) = response.into_parts();
        if is_refusal_of_grpc(&head.headers) {
            // Its head is all of it. Not decoded: refusals come by the ten thousand.
            return Verdict::Refused;
        }
        let Ok(collected) = Limited::new(body, ANSWER_BYTES).collect().await else {
            return Verdict::failed("the answer broke off");
        };
        self.lines.give_back(hold);
        if head.status == StatusCode::TOO_MANY_REQUESTS {
            return Verdict::Refused;
        }
        let trailers = collected.trailers().cloned();
        let body = self.bare(collected.to_bytes());
        let trailers = trailers.as_ref();
        let dialect = self.aim.dialect();
        let read = pivot::decode_response(
            dialect,
            operation,
            head.status,
            &head.headers,
            trailers,
            &body,
        );
        match read {
            Ok(pivot::Response::Task(task)) => self.judge(&task),
            Ok(pivot::Response::Sent(sent)) => match sent.payload {
                Some(send_message_response::Payload::Task(task)) => self.judge(&task),
                Some(send_message_response::Payload::Message(_)) => Verdict::Done,
                None => Verdict::failed("an empty answer"),
            },
            Ok(_) => Verdict::failed("another operation's answer"),
            Err(problem) => verdict_of(&problem),
        }
    }

    /// The message in the frame of gRPC.
    fn bare(&self, body: Bytes) -> Bytes {
        if self.aim.binding != Binding::Grpc {
            return body;
        }
        let mut reader = grpc::Reader::new(ANSWER_BYTES);
        reader.feed(&body);
        match reader.next_frame() {
            Ok(Some(frame)) => frame.message,
            Ok(None) | Err(_) => Bytes::new(),
        }
    }

    fn judge(&self, task: &a2a::Task) -> Verdict {
        self.tasks.lock().keep(&task.id);
        let status = task.status.as_ref();
        state_verdict(status.map_or(TaskState::Unspecified, a2a::TaskStatus::state))
    }

    async fn follow(&self, due: Instant, known: &mut Followed, resumed: &mut bool) -> Verdict {
        let request = self.stream.write(&self.aim, self.left(due));
        let operation = Operation::SendStreamingMessage;
        let ended = match self.lines.send(request).await {
            Ok(answered) => self.events(operation, answered, known).await,
            Err(reason) => Err(Verdict::unsent(reason)),
        };
        let cut = match ended {
            Ok(()) if is_rest(known.state) => return self.remember(known),
            Ok(()) => Verdict::failed("the stream ended before its task"),
            Err(verdict) => verdict,
        };
        let Some(task) = known.task.clone().filter(|_| self.resume) else {
            return cut;
        };
        *resumed = true;
        self.take_up(task, due, known).await
    }

    /// Follows a task whose stream ended before it; one that is over by now is read.
    async fn take_up(&self, id: String, due: Instant, known: &mut Followed) -> Verdict {
        let subscribe = pivot::Request::SubscribeToTask(a2a::SubscribeToTaskRequest {
            id: id.clone(),
            ..Default::default()
        });
        let Some(mut request) = self.aim.about(&subscribe, self.left(due)) else {
            return Verdict::failed("the task's id has no form in this binding");
        };
        let last = known.last_event.as_deref();
        if let Some(Ok(last)) = last.map(HeaderValue::from_str) {
            request.headers_mut().insert(mesh::LAST_EVENT_ID, last);
        }
        let answered = match self.lines.send(request).await {
            Ok(answered) => answered,
            Err(reason) => return Verdict::unsent(reason),
        };
        let ended = self
            .events(Operation::SubscribeToTask, answered, known)
            .await;
        match ended {
            Ok(()) if is_rest(known.state) => self.remember(known),
            Ok(()) => Verdict::failed("the stream ended before its task, twice"),
            Err(Verdict::Failed(why)) if why.starts_with(OVER) => self.read_task(id, due).await,
            Err(verdict) => verdict,
        }
    }

    fn remember(&self, known: &Followed) -> Verdict {
        if let Some(task) = &known.task {
            self.tasks.lock().keep(task);
        }
        state_verdict(known.state)
    }

    /// Reads a stream to its end; what it told is in `known`.
    async fn events(
        &self,
        operation: Operation,
        answered: Answered,
        known: &mut Followed,
    ) -> Result<(), Verdict> {
        let streams = match self.aim.binding {
            Binding::Grpc => !grpc::has_status(answered.response.headers()),
            Binding::JsonRpc | Binding::Rest => is_sse(answered.response.headers()),
        };
        if !streams {
            return Err(self.whole(operation, answered).await);
        }
        let Answered { response, hold } = answered;
        let headers = response.headers().clone();
        let trailers = self.pieces(operation, response, known).await?;
        self.lines.give_back(hold);
        match self.aim.binding {
            Binding::Grpc => {
                let status = trailers.unwrap_or_default();
                if !grpc::has_status(&status) && !grpc::has_status(&headers) {
                    return Err(Verdict::failed("the stream ended without a status"));
                }
                grpc::problem(&status).map_or(Ok(()), |problem| Err(verdict_of(&problem)))
            }
            Binding::JsonRpc | Binding::Rest => Ok(()),
        }
    }

    async fn pieces(
        &self,
        operation: Operation,
        response: Response<Incoming>,
        known: &mut Followed,
    ) -> Result<Option<HeaderMap>, Verdict> {
        let mut body = response.into_body();
        let mut frames = grpc::Reader::new(ANSWER_BYTES);
        let mut lines = sse::Reader::new(ANSWER_BYTES);
        let mut trailers = None;
        while let Some(piece) = body.frame().await {
            let piece = piece.map_err(|error| Verdict::Failed(reason(&error)))?;
            let data = match piece.into_data() {
                Ok(data) => data,
                Err(other) => {
                    trailers = other.into_trailers().ok();
                    continue;
                }
            };
            known.first.get_or_insert_with(Instant::now);
            if self.aim.binding == Binding::Grpc {
                frames.feed(&data);
                while let Some(frame) = frames.next_frame().map_err(|p| verdict_of(&p))? {
                    self.event(operation, &frame.message, known)?;
                }
            } else {
                let fed = lines.feed(&data);
                fed.map_err(|_| Verdict::failed("an event over the bound"))?;
                while let Some(event) = lines.next_event() {
                    self.event(operation, &event.data, known)?;
                    known.last_event = event.id.or_else(|| known.last_event.take());
                }
            }
        }
        Ok(trailers)
    }

    fn event(
        &self,
        operation: Operation,
        data: &[u8],
        known: &mut Followed,
    ) -> Result<(), Verdict> {
        let event = pivot::decode_event(self.aim.dialect(), operation, data);
        let (task, status) = match event.map_err(|p| verdict_of(&p))?.payload {
            Some(Payload::Task(task)) => (task.id, task.status),
            Some(Payload::StatusUpdate(update)) => (update.task_id, update.status),
            Some(Payload::Message(_)) => {
                known.state = TaskState::Completed;
                return Ok(());
            }
            Some(Payload::ArtifactUpdate(_)) | None => return Ok(()),
        };
        known.task.get_or_insert(task);
        if let Some(status) = status {
            known.state = status.state();
        }
        Ok(())
    }
}

impl Tasks {
    fn keep(&mut self, id: &str) {
        if self.ids.len() < KNOWN_TASKS {
            self.ids.push(id.to_owned());
        } else {
            self.turn = (self.turn + 1) % KNOWN_TASKS;
            if let Some(place) = self.ids.get_mut(self.turn) {
                id.clone_into(place);
            }
        }
    }

    fn next(&mut self) -> Option<String> {
        self.turn = (self.turn + 1) % self.ids.len().max(1);
        self.ids.get(self.turn).cloned()
    }
}

const OVER: &str = "UNSUPPORTED_OPERATION";

async fn within(until: Instant, call: impl Future<Output = Verdict>) -> Verdict {
    let call = pin!(call);
    tokio::time::timeout_at(until, call)
        .await
        .unwrap_or(Verdict::Late)
}

fn is_sse(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
}

fn is_refusal_of_grpc(headers: &HeaderMap) -> bool {
    let status = headers.get("grpc-status").map(HeaderValue::as_bytes);
    status == Some(b"8".as_slice())
}

fn verdict_of(problem: &Problem) -> Verdict {
    match problem.fault {
        Fault::Exhausted => Verdict::Refused,
        Fault::DeadlineExceeded => Verdict::Late,
        fault => {
            let reason = fault.row().reason;
            Verdict::Failed(format!("{reason}: {}", problem.message).into())
        }
    }
}

const fn is_rest(state: TaskState) -> bool {
    !matches!(
        state,
        TaskState::Unspecified | TaskState::Submitted | TaskState::Working
    )
}

const fn state_verdict(state: TaskState) -> Verdict {
    match state {
        TaskState::Completed | TaskState::InputRequired | TaskState::AuthRequired => Verdict::Done,
        TaskState::Failed => Verdict::failed("the task failed"),
        TaskState::Canceled => Verdict::failed("the task was canceled"),
        TaskState::Rejected => Verdict::failed("the task was rejected"),
        TaskState::Unspecified | TaskState::Submitted | TaskState::Working => {
            Verdict::failed("the answer is a task that is not over")
        }
    }
}
