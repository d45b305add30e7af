//! An agent that speaks one dialect, a router before it, and clients of any: all of them by the pivot,
//! whose own correctness is shown elsewhere.

use std::sync::Arc;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use mesh_proto::{rest, scan, sse};
use parking_lot::Mutex;

use super::{
    Agent, Answer, Binding, Client, Dialect, Event, Flags, Operation, Problem, RawId, Request,
    Response, Router, Seen, StatusCode, a2a, client, grpc, pivot,
};

/// See the module.
pub(super) struct Peer {
    pub(super) agent: Agent,
    pub(super) client: Client,
    pub(super) admin: Client,
    pub(super) dialect: Dialect,
    _others: Vec<Agent>,
    _router: Router,
}

impl Peer {
    /// An agent whose answers are made from what it understood; `more` is added to its interface.
    pub(super) async fn start(
        dialect: Dialect,
        more: &str,
        answer: impl Fn(Request) -> Result<Response, Problem> + Send + Sync + 'static,
    ) -> Self {
        let agent = Agent::with_card(&card(dialect, more), move |seen| {
            let (id, request) = understood(dialect, seen);
            let outcome = answer(request);
            Answer::Wire(pivot::encode_response(dialect, Some(&id), outcome.as_ref()))
        })
        .await;
        Self::before(dialect, agent, Vec::new()).await
    }

    /// An agent that answers with streams, which the test writes.
    pub(super) async fn streaming(dialect: Dialect) -> Self {
        let agent = Agent::with_card(&card(dialect, ""), move |_| {
            Answer::Stream(match dialect.binding {
                Binding::Grpc => "application/grpc",
                Binding::JsonRpc | Binding::Rest => "text/event-stream",
            })
        })
        .await;
        Self::before(dialect, agent, Vec::new()).await
    }

    /// Two replicas that share nothing: each knows the tasks that it made.
    pub(super) async fn pool(dialect: Dialect) -> Self {
        let mut replicas = Vec::new();
        for number in 0..2 {
            let made = Arc::new(Mutex::new(Vec::<a2a::Task>::new()));
            let agent = Agent::with_card(&card(dialect, ""), move |seen| {
                let (id, request) = understood(dialect, seen);
                let outcome = remember(&mut made.lock(), number, request);
                Answer::Wire(pivot::encode_response(dialect, Some(&id), outcome.as_ref()))
            })
            .await;
            replicas.push(agent);
        }
        let first = replicas.remove(0);
        Self::before(dialect, first, replicas).await
    }

    async fn before(dialect: Dialect, agent: Agent, others: Vec<Agent>) -> Self {
        let mut urls = vec![agent.url()];
        urls.extend(others.iter().map(Agent::url));
        let flags = Flags {
            listen: Some("127.0.0.1:0".to_owned()),
            admin: Some("127.0.0.1:0".to_owned()),
            agents: vec![format!("a={}", urls.join(","))],
            ..Flags::default()
        };
        let router = Router::start(flags.settle().unwrap()).await.unwrap();
        let admin = Client::to(router.addresses().admin.unwrap());
        client::eventually("every member to be known", async || {
            admin.get("/readyz").await.status == StatusCode::OK
        })
        .await;
        Self {
            client: Client::to(router.addresses().main),
            admin,
            agent,
            dialect,
            _others: others,
            _router: router,
        }
    }

    /// The calls that the agent got, without looks at its card.
    pub(super) fn calls(&self) -> Vec<Seen> {
        let seen = self.agent.seen().into_iter();
        seen.filter(|seen| seen.method != http::Method::GET || seen.path.contains("/tasks"))
            .collect()
    }

    /// What the agent was asked last.
    pub(super) fn last_request(&self) -> Request {
        understood(self.dialect, &self.calls().pop().unwrap()).1
    }

    /// Opens a stream whose first event is this.
    pub(super) async fn open(&self, client: Dialect, request: &Request, first: &Event) -> Listener {
        let opening = listen(&self.client, client, request);
        let (opened, ()) = futures_util::future::join(opening, self.write(first)).await;
        opened
    }

    pub(super) async fn write(&self, event: &Event) {
        let event = pivot::encode_event(self.dialect, Some(&RawId::number(7)), Ok(event));
        self.agent.write(event).await;
    }

    /// Says within the stream, or by its trailers, what is wrong.
    pub(super) async fn complain(&self, problem: &Problem) {
        if self.dialect.binding == Binding::Grpc {
            let trailers = grpc::trailers_in(self.dialect.version, problem);
            self.agent.write_trailers(trailers).await;
            return;
        }
        let event = pivot::encode_event(self.dialect, Some(&RawId::number(7)), Err(problem));
        self.agent.write(event).await;
        self.end().await;
    }

    /// Ends the stream well.
    pub(super) async fn end(&self) {
        match self.dialect.binding {
            Binding::Grpc => self.agent.write_trailers(grpc::success()).await,
            Binding::JsonRpc | Binding::Rest => self.agent.end_stream(),
        }
    }
}

/// The card of an agent that speaks one dialect.
fn card(dialect: Dialect, more: &str) -> String {
    let url = match dialect.binding {
        Binding::JsonRpc => "http://127.0.0.1:PORT/rpc",
        Binding::Rest => "http://127.0.0.1:PORT/rest",
        Binding::Grpc => "127.0.0.1:PORT",
    };
    let (binding, version) = (dialect.binding, dialect.version);
    format!(
        r#"{{"name":"n","supportedInterfaces":[{{"url":"{url}","protocolBinding":"{binding}","protocolVersion":"{version}"{more}}}]}}"#
    )
}

/// What a request says in a dialect.
fn understood(dialect: Dialect, seen: &Seen) -> (RawId, Request) {
    let (id, operation, path, body) = match dialect.binding {
        Binding::JsonRpc => {
            let envelope = scan::json_rpc(&seen.body).unwrap();
            (
                envelope.id,
                envelope.operation,
                String::new(),
                seen.body.clone(),
            )
        }
        Binding::Rest => {
            let path = seen.path.strip_prefix("/rest").unwrap();
            let (bare, query) = path.split_once('?').unwrap_or((path, ""));
            let route = rest::route(&seen.method, bare, Some(query)).unwrap();
            let body = seen.body.clone();
            (RawId::null(), route.operation, path.to_owned(), body)
        }
        Binding::Grpc => {
            let operation = grpc_operation(&seen.path);
            let path = seen.path.clone();
            (RawId::null(), operation, path, seen.body.slice(5..))
        }
    };
    let request = pivot::decode_request(dialect, operation, &seen.method, &path, &body);
    (
        id,
        request.unwrap_or_else(|problem| panic!("{dialect}: {problem}")),
    )
}

fn grpc_operation(path: &str) -> Operation {
    grpc::route(path).unwrap().0
}

fn remember(
    made: &mut Vec<a2a::Task>,
    number: usize,
    request: Request,
) -> Result<Response, Problem> {
    let id = match request {
        Request::SendMessage(_) => {
            let mut task = super::task(a2a::TaskState::Completed);
            task.id = format!("task {number}:{}", made.len());
            task.context_id = format!("context/{number}-{}", made.len());
            made.push(task.clone());
            let payload = Some(a2a::send_message_response::Payload::Task(task));
            return Ok(Response::Sent(a2a::SendMessageResponse { payload }));
        }
        Request::GetTask(request) => request.id,
        other => panic!("{other:?}"),
    };
    let found = made.iter().find(|task| task.id == id).cloned();
    let gone = || Problem::new(super::Fault::TaskNotFound, format!("no task {id}"));
    found.map(Response::Task).ok_or_else(gone)
}

/// Calls; the answer is still to be read.
pub(super) async fn call(
    client: &Client,
    dialect: Dialect,
    request: &Request,
) -> http::Response<Incoming> {
    let wire = pivot::encode_request(dialect, &RawId::number(7), request).unwrap();
    client.call(dialect.binding, "/a", wire, &[]).await
}

/// Calls, and reads the answer.
pub(super) async fn ask(
    client: &Client,
    dialect: Dialect,
    request: &Request,
) -> Result<Response, Problem> {
    let answer = call(client, dialect, request).await;
    said(dialect, request.operation(), answer).await
}

/// Reads an answer.
pub(super) async fn said(
    dialect: Dialect,
    operation: Operation,
    answer: http::Response<Incoming>,
) -> Result<Response, Problem> {
    let (head, body) = answer.into_parts();
    let body = body.collect().await.unwrap();
    let trailers = body.trailers().cloned();
    let mut bytes = body.to_bytes();
    if dialect.binding == Binding::Grpc {
        bytes = bytes.slice(5.min(bytes.len())..);
    }
    let trailers = trailers.as_ref();
    pivot::decode_response(
        dialect,
        operation,
        head.status,
        &head.headers,
        trailers,
        &bytes,
    )
}

/// The media type of an answer.
pub(super) fn kind(answer: &http::Response<Incoming>) -> &str {
    let kind = &answer.headers()[http::header::CONTENT_TYPE];
    kind.to_str().unwrap().split(';').next().unwrap()
}

/// Calls for a stream.
pub(super) async fn listen(client: &Client, dialect: Dialect, request: &Request) -> Listener {
    let mut listener = Listener::of(dialect, call(client, dialect, request).await);
    listener.operation = request.operation();
    listener
}

/// A client that reads a stream.
pub(super) struct Listener {
    dialect: Dialect,
    operation: Operation,
    body: Incoming,
    held: Vec<u8>,
    events: sse::Reader,
    messages: grpc::Reader,
}

/// What it hears.
#[derive(Debug, PartialEq)]
pub(super) enum Heard {
    Event(Box<Event>),
    Problem(Problem),
    /// The end, as an end should be.
    End,
    /// The connection was cut.
    Cut,
}

impl Heard {
    pub(super) fn event(event: Event) -> Self {
        Self::Event(Box::new(event))
    }
}

impl Listener {
    pub(super) fn of(dialect: Dialect, answer: http::Response<Incoming>) -> Self {
        Self {
            dialect,
            operation: Operation::SendStreamingMessage,
            body: answer.into_body(),
            held: Vec::new(),
            events: sse::Reader::new(1 << 20),
            messages: grpc::Reader::new(1 << 20),
        }
    }

    /// Exactly so many bytes as they stand on the wire.
    pub(super) async fn raw(&mut self, count: usize) -> Vec<u8> {
        while self.held.len() < count {
            let frame = self.body.frame().await.unwrap().unwrap();
            self.held.extend_from_slice(&frame.into_data().unwrap());
        }
        let rest = self.held.split_off(count);
        self.feed(&rest);
        std::mem::take(&mut self.held)
    }

    pub(super) async fn next(&mut self) -> Heard {
        loop {
            let data = match self.dialect.binding {
                Binding::Grpc => {
                    let frame = self.messages.next_frame().unwrap();
                    frame.map(|frame| frame.message)
                }
                Binding::JsonRpc | Binding::Rest => {
                    self.events.next_event().map(|event| event.data)
                }
            };
            if let Some(data) = data {
                return match pivot::decode_event(self.dialect, self.operation, &data) {
                    Ok(event) => Heard::event(event),
                    Err(problem) => Heard::Problem(problem),
                };
            }
            match self.body.frame().await {
                // An end without a status is none over gRPC.
                None if self.dialect.binding == Binding::Grpc => return Heard::Cut,
                None => return Heard::End,
                Some(Err(_)) => return Heard::Cut,
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.feed(&data),
                    Err(frame) => {
                        let trailers = frame.into_trailers().unwrap();
                        let problem = grpc::problem_in(self.dialect.version, &trailers);
                        return problem.map_or(Heard::End, Heard::Problem);
                    }
                },
            }
        }
    }

    fn feed(&mut self, data: &[u8]) {
        match self.dialect.binding {
            Binding::Grpc => self.messages.feed(data),
            Binding::JsonRpc | Binding::Rest => self.events.feed(data).unwrap(),
        }
    }
}
