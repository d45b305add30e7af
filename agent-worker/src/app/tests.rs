//! A whole worker in this process, spoken to over its port in all three bindings.

mod bindings;
mod control;
mod inputs;
mod push;
mod resume;
mod stored;
mod tasks;
mod wrong;

use futures_util::future::BoxFuture;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use mesh_proto::a2a::{
    Message, Part, Role, SendMessageConfiguration, SendMessageRequest, TaskState, part::Content,
};
use serde_json::{Value, json};
use tokio::{net::TcpStream, sync::mpsc};

use super::*;
use crate::{
    agent::Config,
    model::{self, Model, Prompt, Reply},
    session::Entry,
    tools::Toolbox,
};

/// Does what the message says: `say X`, `ask X`, `fail X`, `panic`, `wait` for ever, `flood N`,
/// `count` what it remembers.
#[derive(Debug)]
struct Obedient;

impl Model for Obedient {
    fn label(&self) -> &'static str {
        "obedient (no LLM)"
    }

    fn respond<'a>(
        &'a self,
        prompt: Prompt<'a>,
        deltas: mpsc::Sender<String>,
    ) -> BoxFuture<'a, Result<Reply, model::Error>> {
        Box::pin(async move {
            let said = prompt
                .items
                .iter()
                .rev()
                .find_map(|item| match &item.entry {
                    Entry::User { text, .. } => Some(text.as_str()),
                    Entry::Assistant { .. } | Entry::Asked { .. } | Entry::Tool { .. } => None,
                });
            let said = said.unwrap_or_default();
            let (word, rest) = said.split_once(' ').unwrap_or((said, ""));
            let rest = rest.to_owned();
            Ok(match word {
                "say" => Reply::Answer { text: rest },
                "ask" => Reply::Ask {
                    question: rest,
                    pending: Vec::new(),
                },
                "fail" => Reply::Fail { reason: rest },
                "panic" => panic!("as told"),
                "wait" => std::future::pending().await,
                "flood" => {
                    let pieces: usize = rest.parse().unwrap_or_default();
                    for _ in 0..pieces {
                        deltas.send("x".to_owned()).await.ok();
                    }
                    Reply::Answer {
                        text: "x".repeat(pieces),
                    }
                }
                "count" => Reply::Answer {
                    text: prompt.items.len().to_string(),
                },
                _ => Reply::Answer {
                    text: format!("heard {said}"),
                },
            })
        })
    }
}

fn agent(name: &str) -> Agent {
    offered_in(name, &["jsonrpc", "rest", "grpc"])
}

fn offered_in(name: &str, bindings: &[&str]) -> Agent {
    let config: Config = serde_json::from_value(json!({
        "name": name,
        "description": "does as it is told",
        "bindings": bindings,
    }))
    .unwrap();
    Agent::new(config, Arc::new(Obedient), Toolbox::default())
}

async fn worker(settings: Settings, names: &[&str]) -> Worker {
    let agents = names.iter().map(|name| agent(name)).collect();
    Worker::start(settings, agents, Registry::default())
        .await
        .unwrap()
}

/// A worker with one agent, `a`.
async fn one() -> Worker {
    worker(Settings::default(), &["a"]).await
}

fn message(text: &str) -> Message {
    Message {
        message_id: uuid::Uuid::new_v4().to_string(),
        role: Role::User.into(),
        parts: vec![Part {
            content: Some(Content::Text(text.to_owned())),
            ..Part::default()
        }],
        ..Message::default()
    }
}

fn send(text: &str) -> SendMessageRequest {
    SendMessageRequest {
        message: Some(message(text)),
        ..SendMessageRequest::default()
    }
}

/// A send that does not wait for the task.
fn send_now(text: &str) -> SendMessageRequest {
    SendMessageRequest {
        configuration: Some(SendMessageConfiguration {
            return_immediately: true,
            ..SendMessageConfiguration::default()
        }),
        ..send(text)
    }
}

/// What came back over HTTP.
struct Answer {
    status: u16,
    headers: http::HeaderMap,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.body))
    }

    /// The data of its events.
    fn events(&self) -> Vec<Value> {
        let data = self
            .body
            .lines()
            .filter_map(|line| line.strip_prefix("data: "));
        data.map(|data| serde_json::from_str(data).unwrap())
            .collect()
    }
}

fn request(method: &str, path: &str) -> http::request::Builder {
    http::Request::builder()
        .method(method)
        .uri(path)
        .header("host", "worker.example:80")
        .header("a2a-version", "1.0")
        .header("content-type", "application/json")
}

/// A connection's sending half; the connection runs as long as the test.
async fn connect(worker: &Worker) -> http1::SendRequest<Full<bytes::Bytes>> {
    speak(TcpStream::connect(worker.local_addr()).await.unwrap()).await
}

#[expect(clippy::disallowed_methods, reason = "a test's client is in no drain")]
async fn speak(socket: TcpStream) -> http1::SendRequest<Full<bytes::Bytes>> {
    let (send, connection) = http1::handshake(TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    send
}

async fn exchange(
    worker: &Worker,
    request: http::request::Builder,
    body: impl Into<bytes::Bytes>,
) -> Answer {
    let socket = TcpStream::connect(worker.local_addr()).await.unwrap();
    exchange_over(socket, request, body).await
}

async fn exchange_over(
    socket: TcpStream,
    request: http::request::Builder,
    body: impl Into<bytes::Bytes>,
) -> Answer {
    let request = request.body(Full::new(body.into())).unwrap();
    let response = speak(socket).await.send_request(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer {
        status: head.status.as_u16(),
        headers: head.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}

async fn get(worker: &Worker, path: &str) -> Answer {
    exchange(worker, request("GET", path), "").await
}

/// A JSON-RPC call to agent `a`; the whole envelope of the answer.
async fn rpc(worker: &Worker, method: &str, params: &impl serde::Serialize) -> Value {
    rpc_as(worker, request("POST", "/a"), method, params)
        .await
        .json()
}

async fn rpc_as(
    worker: &Worker,
    request: http::request::Builder,
    method: &str,
    params: &impl serde::Serialize,
) -> Answer {
    let body = json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params});
    exchange(worker, request, body.to_string()).await
}

/// The state of a task in an answer.
fn state(task: &Value) -> &str {
    task["status"]["state"].as_str().unwrap_or("none")
}

/// Reads a task until it is in a state. A test that waits in vain is ended by its own harness.
async fn until(worker: &Worker, id: &str, wanted: TaskState) -> Value {
    loop {
        let task = rpc(worker, "GetTask", &json!({"id": id})).await["result"].clone();
        if state(&task) == wanted.as_str_name() {
            return task;
        }
        tokio::task::yield_now().await;
    }
}
