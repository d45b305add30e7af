//! An agent of somebody else's: the official Rust SDK, A2A 1.0, one binding, one replica.
//!
//! Usage: `a2a-lf-agent --binding jsonrpc|rest|grpc [--name NAME]`. Prints one line when its ports are
//! open: `ready http=PORT grpc=PORT`. Its card is on the HTTP port whatever the binding. What it does
//! with a message is what `../../../python/agent.py` says at its top, as far as the matrix asks for it.
//!
//! # Invariants
//! - Nothing of ours is in it; the SDK's own server answers every call.

use std::{sync::Arc, time::Duration};

use a2a::{
    AgentCapabilities, AgentCard, AgentInterface, AgentSkill, Artifact, Message, Part, Role,
    StreamResponse, Task, TaskArtifactUpdateEvent, TaskState, TaskStatus, TaskStatusUpdateEvent,
};
use a2a_pb::proto::a2a_service_server::A2aServiceServer;
use a2a_server::{
    AgentExecutor, DefaultRequestHandler, ExecutorContext, InMemoryTaskStore, StaticAgentCard,
    agent_card::agent_card_router, jsonrpc::jsonrpc_router, rest::rest_router,
};
use futures::{StreamExt as _, stream, stream::BoxStream};
use tokio::net::TcpListener;

/// What a step of the work waits for, and what it then says.
type Step = (Duration, StreamResponse);

const AT_ONCE: Duration = Duration::ZERO;

/// Sums, waits and bookings.
struct Steward;

/// One task at work: it names itself in every event.
struct Work {
    task: String,
    context: String,
    steps: Vec<Step>,
}

impl Work {
    fn say(&mut self, after: Duration, event: StreamResponse) {
        self.steps.push((after, event));
    }

    fn state(&mut self, state: TaskState, words: Option<&str>) {
        let message = words.map(|words| Message {
            task_id: Some(self.task.clone()),
            context_id: Some(self.context.clone()),
            ..Message::new(Role::Agent, vec![Part::text(words)])
        });
        let update = TaskStatusUpdateEvent {
            task_id: self.task.clone(),
            context_id: self.context.clone(),
            status: TaskStatus {
                state,
                message,
                timestamp: None,
            },
            metadata: None,
        };
        self.say(AT_ONCE, StreamResponse::StatusUpdate(update));
    }

    fn piece(&mut self, after: Duration, parts: Vec<Part>, first: bool, last: bool) {
        let artifact = Artifact {
            artifact_id: "answer".to_owned(),
            name: Some("answer".to_owned()),
            description: None,
            parts,
            metadata: None,
            extensions: None,
        };
        let update = TaskArtifactUpdateEvent {
            task_id: self.task.clone(),
            context_id: self.context.clone(),
            artifact,
            append: Some(!first),
            last_chunk: Some(last),
            metadata: None,
        };
        self.say(after, StreamResponse::ArtifactUpdate(update));
    }

    fn answer(&mut self, parts: Vec<Part>) {
        self.piece(AT_ONCE, parts, true, true);
        self.state(TaskState::Completed, None);
    }

    fn wait(&mut self, seconds: f64) {
        let pieces = ((seconds * 4.0).round() as u32).clamp(2, 10);
        let pause = Duration::from_secs_f64(seconds / f64::from(pieces));
        for piece in 0..pieces {
            let text = Part::text(format!("tick {piece} "));
            self.piece(pause, vec![text], piece == 0, piece + 1 == pieces);
        }
        self.state(TaskState::Completed, None);
    }
}

impl AgentExecutor for Steward {
    fn execute(
        &self,
        context: ExecutorContext,
    ) -> BoxStream<'static, Result<StreamResponse, a2a::A2AError>> {
        let Some(message) = context.message.clone() else {
            return stream::empty().boxed();
        };
        let mut work = Work {
            task: context.task_id.clone(),
            context: context.context_id.clone(),
            steps: Vec::new(),
        };
        if context.stored_task.is_none() {
            let task = Task {
                id: work.task.clone(),
                context_id: work.context.clone(),
                status: TaskStatus {
                    state: TaskState::Submitted,
                    message: None,
                    timestamp: None,
                },
                artifacts: None,
                history: Some(vec![message.clone()]),
                metadata: None,
            };
            work.say(AT_ONCE, StreamResponse::Task(task));
        }
        work.state(TaskState::Working, Some("working on it"));
        decide(&mut work, &context, &message);
        stream::iter(work.steps)
            .then(|(pause, event)| async move {
                tokio::time::sleep(pause).await;
                Ok(stamped(event))
            })
            .boxed()
    }

    fn cancel(
        &self,
        context: ExecutorContext,
    ) -> BoxStream<'static, Result<StreamResponse, a2a::A2AError>> {
        let mut work = Work {
            task: context.task_id,
            context: context.context_id,
            steps: Vec::new(),
        };
        work.state(TaskState::Canceled, None);
        stream::iter(work.steps)
            .map(|(_, event)| Ok(stamped(event)))
            .boxed()
    }
}

fn decide(work: &mut Work, context: &ExecutorContext, message: &Message) {
    let text = message.text().unwrap_or_default();
    let waits = |task: &Task| task.status.state == TaskState::InputRequired;
    if context.stored_task.as_ref().is_some_and(waits) {
        work.answer(vec![Part::text(format!("table booked: {text}"))]);
    } else if text.contains("return these") {
        work.answer(message.parts.iter().skip(1).cloned().collect());
    } else if text.contains("fail now") {
        work.state(TaskState::Failed, Some("failed as told"));
    } else if text.contains("book") {
        work.state(TaskState::InputRequired, Some("for how many people?"));
    } else if let Some(seconds) = seconds(text) {
        work.wait(seconds);
    } else if let Some(sum) = text.strip_prefix("what is ").and_then(sum) {
        work.answer(vec![Part::text(sum.to_string())]);
    } else {
        work.answer(vec![Part::text(text)]);
    }
}

/// The time of a state is when it is reached, not when it is planned.
fn stamped(mut event: StreamResponse) -> StreamResponse {
    let now = Some(chrono::Utc::now());
    match &mut event {
        StreamResponse::Task(task) => task.status.timestamp = now,
        StreamResponse::StatusUpdate(update) => update.status.timestamp = now,
        StreamResponse::Message(_) | StreamResponse::ArtifactUpdate(_) => {}
    }
    event
}

fn seconds(text: &str) -> Option<f64> {
    let (_, rest) = text.split_once("wait ")?;
    rest.split_once(" second")?.0.parse().ok()
}

/// Sums of products.
fn sum(text: &str) -> Option<i64> {
    let product = |text: &str| {
        text.split('*')
            .map(|factor| factor.trim().parse::<i64>().ok())
            .product::<Option<i64>>()
    };
    text.trim_end_matches('?').split('+').map(product).sum()
}

fn card(name: &str, binding: &str, http: u16, grpc: u16) -> AgentCard {
    let interface = match binding {
        "rest" => AgentInterface::new(
            format!("http://127.0.0.1:{http}/a2a/rest"),
            a2a::TRANSPORT_PROTOCOL_HTTP_JSON,
        ),
        "grpc" => {
            AgentInterface::new(format!("127.0.0.1:{grpc}"), a2a::TRANSPORT_PROTOCOL_GRPC)
        }
        _ => AgentInterface::new(
            format!("http://127.0.0.1:{http}/a2a/jsonrpc"),
            a2a::TRANSPORT_PROTOCOL_JSONRPC,
        ),
    };
    let modes = vec!["text/plain".to_owned()];
    AgentCard {
        name: name.to_owned(),
        description: "Sums, waits and bookings, on the Rust SDK.".to_owned(),
        version: "1.0.0".to_owned(),
        supported_interfaces: vec![interface],
        capabilities: AgentCapabilities {
            streaming: Some(true),
            push_notifications: Some(false),
            ..AgentCapabilities::default()
        },
        default_input_modes: modes.clone(),
        default_output_modes: modes,
        skills: vec![AgentSkill {
            id: "steward".to_owned(),
            name: "Steward".to_owned(),
            description: "Sums, waits and bookings.".to_owned(),
            tags: vec!["sum".to_owned(), "wait".to_owned(), "book".to_owned()],
            examples: None,
            input_modes: None,
            output_modes: None,
            security_requirements: None,
        }],
        provider: None,
        documentation_url: None,
        icon_url: None,
        security_schemes: None,
        security_requirements: None,
        signatures: None,
    }
}

/// The value of `--NAME VALUE` on the command line.
fn flag(name: &str) -> Option<String> {
    let mut arguments = std::env::args();
    arguments.find(|argument| argument == name)?;
    arguments.next()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let binding = flag("--binding").ok_or("which --binding?")?;
    let name = flag("--name").unwrap_or_else(|| "steward".to_owned());
    let http = TcpListener::bind("127.0.0.1:0").await?;
    let grpc = TcpListener::bind("127.0.0.1:0").await?;
    let ports = (http.local_addr()?.port(), grpc.local_addr()?.port());

    let card = card(&name, &binding, ports.0, ports.1);
    let desk = Arc::new(
        DefaultRequestHandler::new(Steward, InMemoryTaskStore::new())
            .with_capabilities(card.capabilities.clone()),
    );
    let mut app = agent_card_router(Arc::new(StaticAgentCard::new(card)));
    match binding.as_str() {
        "jsonrpc" => app = app.nest("/a2a/jsonrpc", jsonrpc_router(Arc::clone(&desk))),
        "rest" => app = app.nest("/a2a/rest", rest_router(Arc::clone(&desk))),
        "grpc" => {}
        other => return Err(format!("{other} is no binding").into()),
    }
    println!("ready http={} grpc={}", ports.0, ports.1);
    let serving = async { axum::serve(http, app).await };
    if binding == "grpc" {
        let service = A2aServiceServer::new(a2a_grpc::GrpcHandler::new(desk));
        let incoming = stream::unfold(grpc, |grpc| async {
            let accepted = grpc.accept().await.map(|(socket, _)| socket);
            Some((accepted, grpc))
        });
        let calls = tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming(incoming);
        tokio::select! {
            ended = serving => ended?,
            ended = calls => ended?,
            ended = tokio::signal::ctrl_c() => ended?,
        }
    } else {
        tokio::select! {
            ended = serving => ended?,
            ended = tokio::signal::ctrl_c() => ended?,
        }
    }
    Ok(())
}
