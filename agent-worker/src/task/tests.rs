//! Workers over one store, in one process, by one clock that stands still unless it is told: what
//! becomes of their tasks when they crash, freeze, come back and drain.

mod crash;
mod drain;
mod frozen;
mod messages;
mod store;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use mesh_fabric::state::{Bounds, Faults, Store};
use mesh_proto::{
    AgentName, Problem,
    a2a::{self, Message, Part, Role, TaskState, part::Content},
    mesh::{MemberNotice, PoolNotice, Slot, ViewNotice},
};
use mesh_runtime::drain as ends;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream},
    sync::{mpsc, watch},
    time::Instant,
};

use super::{Begun, Counts, Ledger, Limits, Membership, Metrics, Start, WhenDown};
use crate::{
    agent::{Agent, Config},
    model::{self, Model, Prompt, Reply},
    record::{Records, Scope, TaskKey},
    session::{CallContext, Entry, ToolCall},
    tools::{self, Grant, Toolbox, mcp},
    view::Views,
};

const LEASE: Duration = Duration::from_secs(15);

/// Calls a tool in each of the first `rounds` rounds, then answers; asks back who says "ask"; waits at gates that a test opens.
#[derive(Debug)]
struct Stepper {
    rounds: usize,
    /// How many steps may be taken, by all workers together; a step is the model's beginning.
    gate: watch::Sender<usize>,
    /// The conversations that it was shown: who asked, and how many items.
    asked: Mutex<Vec<usize>>,
}

impl Stepper {
    fn new(rounds: usize) -> Arc<Self> {
        Arc::new(Self {
            rounds,
            gate: watch::Sender::new(0),
            asked: Mutex::default(),
        })
    }

    fn open(&self, steps: usize) {
        self.gate.send_replace(steps);
    }
}

impl Model for Stepper {
    fn label(&self) -> &'static str {
        "stepper (no LLM)"
    }

    fn respond<'a>(
        &'a self,
        prompt: Prompt<'a>,
        deltas: mpsc::Sender<String>,
    ) -> BoxFuture<'a, Result<Reply, model::Error>> {
        Box::pin(async move {
            let mine = |item: &&crate::session::Item| item.task == prompt.task;
            let of_task: Vec<_> = prompt.items.iter().filter(mine).collect();
            let step = of_task
                .iter()
                .filter(|item| matches!(&item.entry, Entry::Assistant { calls, .. } if !calls.is_empty()))
                .count();
            self.asked.lock().push(of_task.len());
            deltas.send(format!("step {step}, ")).await.ok();
            deltas.send("".to_owned()).await.ok();
            let mut gate = self.gate.subscribe();
            gate.wait_for(|open| *open > step).await.ok();
            let wants_to_be_asked = |item: &&crate::session::Item| matches!(&item.entry, Entry::User { text, .. } if text == "ask");
            if of_task.last().is_some_and(wants_to_be_asked) {
                return Ok(Reply::Ask {
                    question: "what?".to_owned(),
                    pending: Vec::new(),
                });
            }
            if step < self.rounds {
                let call = |n: usize| ToolCall {
                    id: format!("{step}/{n}"),
                    name: "count".to_owned(),
                    arguments: serde_json::Map::new(),
                };
                return Ok(Reply::Calls {
                    text: String::new(),
                    calls: vec![call(0), call(1)],
                });
            }
            Ok(Reply::Answer {
                text: format!("done after {step}"),
            })
        })
    }
}

/// An MCP server of one tool, `count`, that notes under which keys it was called.
struct Counter {
    calls: Arc<Mutex<Vec<String>>>,
    answers: Arc<watch::Sender<usize>>,
}

impl Counter {
    async fn serve(self, stream: DuplexStream) {
        let (read, mut write) = tokio::io::split(stream);
        let mut lines = BufReader::new(read).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let asked: Value = serde_json::from_str(&line).unwrap();
            if asked.get("id").is_none() {
                continue;
            }
            let mut answer = self.answer(&asked).await;
            answer["jsonrpc"] = json!("2.0");
            answer["id"] = asked["id"].clone();
            if write
                .write_all(format!("{answer}\n").as_bytes())
                .await
                .is_err()
            {
                return;
            }
        }
    }

    async fn answer(&self, asked: &Value) -> Value {
        match asked["method"].as_str().unwrap_or_default() {
            "initialize" => json!({"result": {
                "protocolVersion": asked["params"]["protocolVersion"],
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "counter", "version": "1"},
            }}),
            "tools/list" => json!({"result": {"tools": [
                {"name": "count", "description": "counts", "inputSchema": {"type": "object"}},
            ]}}),
            "tools/call" => {
                let key = &asked["params"]["_meta"]["daca/idempotencyKey"];
                let before = {
                    let mut calls = self.calls.lock();
                    calls.push(key.as_str().unwrap_or_default().to_owned());
                    calls.len()
                };
                let mut answers = self.answers.subscribe();
                answers.wait_for(|open| *open >= before).await.ok();
                json!({"result": {"content": [{"type": "text", "text": "counted"}]}})
            }
            _ => json!({"error": {"code": -32601, "message": "no such method"}}),
        }
    }
}

/// A mesh in one process.
struct World {
    store: Store,
    tools: (ends::Trigger, ends::Drain),
    model: Arc<Stepper>,
    /// The keys that tools were called under, in order.
    calls: Arc<Mutex<Vec<String>>>,
    /// How many calls may be answered.
    answers: Arc<watch::Sender<usize>>,
}

/// One life of a worker.
struct Life {
    boot: String,
    /// Of its way to the store.
    faults: Faults,
    ledger: Ledger,
    views: Views,
    calls: ends::Trigger,
    lease: ends::Trigger,
    agent: Agent,
    counts: Counts,
}

impl World {
    fn new(rounds: usize) -> Self {
        let start = Instant::now();
        let clock = move || i64::try_from(start.elapsed().as_millis()).unwrap_or(i64::MAX);
        Self {
            store: Store::shared_by(Bounds::default(), clock),
            tools: ends::channel(),
            model: Stepper::new(rounds),
            calls: Arc::default(),
            answers: Arc::new(watch::Sender::new(usize::MAX)),
        }
    }

    fn agent(&self) -> Agent {
        let config: Config = serde_json::from_value(json!({
            "name": "a",
            "description": "counts",
        }))
        .unwrap();
        let model: Arc<dyn Model> = self.model.clone();
        let (calls, answers) = (Arc::clone(&self.calls), Arc::clone(&self.answers));
        let drain = self.tools.1.clone();
        let open = move || {
            let (ours, theirs) = tokio::io::duplex(1 << 16);
            let counter = Counter {
                calls: Arc::clone(&calls),
                answers: Arc::clone(&answers),
            };
            drain.spawn("tools", counter.serve(theirs));
            ours
        };
        let inside = mcp::Launch::Inside(mcp::Inside(Arc::new(open)));
        let server = mcp::Server::new("counter", inside, Duration::from_secs(3600));
        let grant = Grant {
            server: Arc::new(server),
            allow: None,
        };
        let toolbox = Toolbox::new(vec![grant], vec![], vec![], tools::Metrics::default());
        Agent::new(config, model, toolbox)
    }

    async fn worker(&self, boot: &str) -> Life {
        self.worker_with(boot, WhenDown::Refuse).await
    }

    async fn worker_with(&self, boot: &str, when_down: WhenDown) -> Life {
        let faults = Faults::default();
        let (calls, drain) = ends::channel();
        let (lease, lease_drain) = ends::channel();
        let (views, agent, counts) = (Views::default(), self.agent(), Counts::default());
        let membership = Membership::new(
            boot.to_owned(),
            vec![agent.clone()],
            views.clone(),
            counts.clone(),
        )
        .when_down(when_down);
        let store = faults.over(self.store.clone());
        let records = Records::new(store, Duration::from_secs(7 * 24 * 3600));
        let (limits, metrics) = (Limits::default(), Metrics::default());
        let ledger = Ledger::among(membership, records, limits, metrics, drain);
        ledger.hold_lease(LEASE, &lease_drain).await.unwrap();
        Life {
            boot: boot.to_owned(),
            faults,
            ledger,
            views,
            calls,
            lease,
            agent,
            counts,
        }
    }

    fn records(&self) -> Records {
        Records::new(self.store.clone(), Duration::from_secs(7 * 24 * 3600))
    }

    async fn stored(&self, id: &str) -> crate::record::Record {
        self.records().task(&key(id)).await.unwrap().unwrap().0
    }

    /// Lets everything run that can, without any time passing that somebody waits for.
    async fn settle(&self) {
        for _ in 0..400 {
            tokio::task::yield_now().await;
        }
    }

    /// The keys of the tool calls, without repetitions, and how often each was used.
    fn keys(&self) -> BTreeMap<String, usize> {
        let mut keys = BTreeMap::new();
        for key in &*self.calls.lock() {
            *keys.entry(key.clone()).or_default() += 1;
        }
        keys
    }

    /// Holds a finished task to what must be true of each, whatever happened on the way.
    async fn check_done(&self, id: &str, rounds: usize) {
        let record = self.stored(id).await;
        assert_eq!(state(&record.task), TaskState::Completed, "{record:?}");
        assert_eq!(record.custody.owner, "");
        assert_eq!(record.custody.progress, None);
        let artifact = text(&record.task.artifacts[0].parts);
        assert_eq!(artifact, format!("done after {rounds}"));
        assert_eq!(record.task.artifacts.len(), 1);
        let (records, scope) = (self.records(), scope());
        let said = records.conversation(&scope, &record.task.context_id);
        let said = said.await.unwrap();
        // The message, a reply with two calls and two answers for each round, the answer.
        assert_eq!(said.len(), 2 + 3 * rounds, "{said:?}");
        let expected: Vec<String> = (0..rounds)
            .flat_map(|step| [format!("{id}:{step}:0"), format!("{id}:{step}:1")])
            .collect();
        assert_eq!(self.keys().into_keys().collect::<Vec<_>>(), expected);
    }
}

impl Life {
    /// Ends it as SIGKILL does: nothing of it runs any more, and it says nothing.
    async fn kill(self) {
        self.faults.down(true);
        self.lease.drain(Duration::ZERO).await;
        self.calls.drain(Duration::ZERO).await;
    }

    /// Tells it that these lives are gone, and that these are there.
    async fn tell(&self, there: &[&Self], gone: &[&str]) {
        let member = |life: &&Self| MemberNotice {
            id: life.boot.clone(),
            url: "http://127.0.0.1:9".to_owned(),
            weight: 1,
            boot: life.boot.clone(),
            ..MemberNotice::default()
        };
        let notice = ViewNotice {
            view: there.iter().map(|life| life.boot.as_str()).collect(),
            agents: vec![PoolNotice {
                agent: "a".to_owned(),
                you: self.boot.clone(),
                members: there.iter().map(member).collect(),
            }],
            gone: gone.iter().map(ToString::to_string).collect(),
        };
        self.views.publish(notice).await.unwrap();
    }

    async fn send(&self, message: Message, orphan: bool) -> Result<Begun, Problem> {
        self.ledger
            .start(Start {
                agent: self.agent.clone(),
                scope: scope(),
                message,
                affinity: None,
                call: CallContext::default(),
                slot: Some(Slot(7)),
                orphan,
                follow: false,
                hook: None,
            })
            .await
    }

    /// Begins a task; its id.
    async fn begin(&self, id: &str) -> String {
        self.send(message(id, "go"), false).await.unwrap().now().id
    }
}

fn scope() -> Scope {
    Scope {
        agent: AgentName::parse("a").unwrap(),
        tenant: String::new(),
        principal: String::new(),
    }
}

fn key(id: &str) -> TaskKey {
    TaskKey {
        scope: scope(),
        id: id.to_owned(),
    }
}

fn message(id: &str, text: &str) -> Message {
    Message {
        message_id: id.to_owned(),
        role: Role::User.into(),
        parts: vec![Part {
            content: Some(Content::Text(text.to_owned())),
            ..Part::default()
        }],
        ..Message::default()
    }
}

/// What somebody says to a task that has asked.
fn answer(id: &str, task: &str) -> Message {
    Message {
        task_id: task.to_owned(),
        ..message(id, "go")
    }
}

fn state(task: &a2a::Task) -> TaskState {
    task.status.as_ref().unwrap().state()
}

fn text(parts: &[Part]) -> String {
    let texts = parts.iter().filter_map(|part| match &part.content {
        Some(Content::Text(text)) => Some(text.as_str()),
        _ => None,
    });
    texts.collect()
}

fn owner(problem: &Problem) -> Option<&str> {
    problem.metadata.get(mesh_proto::mesh::OWNER).map(|v| &**v)
}
