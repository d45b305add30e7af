//! Somebody else's agent, as three replicas that share nothing, and routers before them.

use std::sync::Arc;

use parking_lot::Mutex;
use prost::Message as _;
use serde_json::{Value, json};

use crate::{Agent, Answer, Client, Flags, Router, StatusCode, a2a, agent::Seen, client, grpc};

const CARD: &str = r#"{"name":"n","supportedInterfaces":[
    {"url":"http://127.0.0.1:PORT/rpc","protocolBinding":"JSONRPC","protocolVersion":"1.0"},
    {"url":"http://127.0.0.1:PORT/rest","protocolBinding":"HTTP+JSON","protocolVersion":"1.0"},
    {"url":"127.0.0.1:PORT","protocolBinding":"GRPC","protocolVersion":"1.0"}]}"#;

/// An agent's memory: the tasks that it has made, each with its conversation.
#[derive(Default)]
struct Memory {
    number: usize,
    tasks: Vec<(String, String)>,
}

impl Memory {
    fn new(number: usize) -> Arc<Mutex<Self>> {
        let tasks = Vec::new();
        Arc::new(Mutex::new(Self { number, tasks }))
    }

    fn send(&mut self, task: &str, context: &str) -> Option<(String, String)> {
        let count = self.tasks.len();
        if !task.is_empty() {
            return self.get(task);
        }
        let context = match context {
            "" => format!("context/{}-{count}", self.number),
            named => named.to_owned(),
        };
        let task = format!("task {}:{count}", self.number);
        self.tasks.push((task.clone(), context.clone()));
        Some((task, context))
    }

    fn get(&self, task: &str) -> Option<(String, String)> {
        self.tasks.iter().find(|known| known.0 == task).cloned()
    }

    fn answer(&mut self, seen: &Seen) -> Answer {
        if let Some(rpc) = seen.path.strip_prefix("/lf.a2a.v1.A2AService/") {
            return self.answer_grpc(rpc, &seen.body[5..]);
        }
        if let Some(path) = seen.path.strip_prefix("/rest/tasks/") {
            let id = path.split('?').next().unwrap_or(path);
            let found = self.get(&id.replace("%20", " ").replace("%3A", ":"));
            return Answer::Whole("application/json", task(&found.unwrap()).to_string());
        }
        let call: Value = serde_json::from_slice(&seen.body).unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        if seen.path.starts_with("/rest") {
            let message = &call["message"];
            let made = self.send(&text(&message["taskId"]), &text(&message["contextId"]));
            let answer = json!({ "task": task(&made.unwrap()) });
            return Answer::Whole("application/json", answer.to_string());
        }
        let params = &call["params"];
        let (found, is_send) = match call["method"].as_str().unwrap() {
            "SendMessage" => {
                let message = &params["message"];
                let (task, context) = (text(&message["taskId"]), text(&message["contextId"]));
                (self.send(&task, &context), true)
            }
            "SendStreamingMessage" => return Answer::Stream("text/event-stream"),
            _ => (self.get(&text(&params["id"])), false),
        };
        let answer = match found {
            Some(found) if is_send => {
                json!({"jsonrpc": "2.0", "id": 1, "result": {"task": task(&found)}})
            }
            Some(found) => json!({"jsonrpc": "2.0", "id": 1, "result": task(&found)}),
            None => json!({"jsonrpc": "2.0", "id": 1, "error": {"code": -32001, "message": "no"}}),
        };
        Answer::Whole("application/json", answer.to_string())
    }

    fn answer_grpc(&mut self, rpc: &str, message: &[u8]) -> Answer {
        let found = if rpc == "SendMessage" {
            let request = a2a::SendMessageRequest::decode(message).unwrap();
            let message = request.message.unwrap();
            self.send(&message.task_id, &message.context_id)
        } else {
            self.get(&a2a::GetTaskRequest::decode(message).unwrap().id)
        };
        let Some((id, context_id)) = found else {
            let problem = mesh_proto::Problem::new(mesh_proto::Fault::TaskNotFound, "no");
            return Answer::GrpcError(problem);
        };
        let task = a2a::Task {
            id,
            context_id,
            ..a2a::Task::default()
        };
        if rpc != "SendMessage" {
            return Answer::Grpc(grpc::frame(&task));
        }
        let payload = Some(a2a::send_message_response::Payload::Task(task));
        Answer::Grpc(grpc::frame(&a2a::SendMessageResponse { payload }))
    }
}

/// A task with a decoy that has to stay as it is.
fn task((id, context): &(String, String)) -> Value {
    json!({
        "id": id, "contextId": context, "metadata": {"taskId": id},
        "history": [{"messageId": "m", "taskId": id, "contextId": context}],
        "status": {"state": "TASK_STATE_COMPLETED"},
    })
}

/// Three replicas, and as many routers before them as there are texts of configuration to add.
pub(super) struct Mesh {
    pub(super) agents: Vec<Agent>,
    pub(super) routers: Vec<Router>,
    pub(super) clients: Vec<Client>,
}

impl Mesh {
    pub(super) async fn start(replicas: usize, configs: &[&str]) -> Self {
        let mut agents = Vec::new();
        for number in 0..replicas {
            let memory = Memory::new(number);
            let answer = move |seen: &Seen| memory.lock().answer(seen);
            agents.push(Agent::with_card(CARD, answer).await);
        }
        let mut mesh = Self {
            agents,
            routers: Vec::new(),
            clients: Vec::new(),
        };
        for config in configs {
            mesh.add_router(replicas, config).await;
        }
        mesh
    }

    /// A router before the first so many replicas, as `shop` and as `other`.
    pub(super) async fn add_router(&mut self, replicas: usize, config: &str) {
        let urls: Vec<_> = self.agents.iter().take(replicas).map(Agent::url).collect();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("router.toml");
        std::fs::write(&path, config).unwrap();
        let flags = Flags {
            config: Some(path),
            listen: Some("127.0.0.1:0".to_owned()),
            admin: Some("127.0.0.1:0".to_owned()),
            agents: ["shop", "other"]
                .map(|name| format!("{name}={}", urls.join(",")))
                .to_vec(),
            ..Flags::default()
        };
        let router = Router::start(flags.settle().unwrap()).await.unwrap();
        let admin = Client::to(router.addresses().admin.unwrap());
        client::eventually("every member to be known", async || {
            admin.get("/readyz").await.status == StatusCode::OK
        })
        .await;
        let client = Client::to(router.addresses().main);
        self.routers.push(router);
        self.clients.push(client);
    }

    /// The last body that any replica got, and which replica it was.
    pub(super) fn last(&self, part: &str) -> Vec<(usize, Seen)> {
        let agents = self.agents.iter().enumerate();
        let seen = agents.flat_map(|(number, agent)| {
            let seen = agent.seen().into_iter();
            seen.map(move |seen| (number, seen))
        });
        seen.filter(|(_, seen)| {
            let body = String::from_utf8_lossy(&seen.body);
            body.contains(part) || seen.path.contains(part)
        })
        .collect()
    }
}

pub(super) async fn rpc(client: &Client, agent: &str, method: &str, params: Value) -> Value {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let answer = client
        .post(&format!("/{agent}"), body.to_string().as_bytes(), &[])
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    answer.json()
}

pub(super) fn message(id: &str, more: &Value) -> Value {
    let mut message = json!({"messageId": id, "role": "ROLE_USER", "parts": [{"text": "x"}]});
    let more = more.as_object().unwrap().clone();
    message.as_object_mut().unwrap().extend(more);
    json!({ "message": message })
}
