//! The agents of a run: a model that does what the message says, and a tool that counts its calls.
//!
//! A message reads `TOKEN steps=N wait=MS ask=0|1`: N calls of the tool, each after MS of thought, then
//! perhaps a question, then the answer `TOKEN is done, users=M`, where M is the number of messages in
//! the conversation so far.
//!
//! # Invariants
//! - The model keeps nothing: what it does next follows from the conversation alone, so that a turn that
//!   another worker goes on with takes the same way.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use daca_worker::{
    agent::{Agent, Config},
    model::{Error, Model, Prompt, Reply},
    session::{Entry, ToolCall},
    tools::{Grant, Metrics, Toolbox, mcp},
};
use futures_util::future::BoxFuture;
use rmcp::{
    ErrorData, RoleServer, ServerHandler, ServiceExt as _,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation,
        ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
    },
    service::RequestContext,
};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use crate::history::{History, Token, What};

/// The name of the one agent.
pub(crate) const AGENT: &str = "work";

/// Where the key of a tool's call stands in its `_meta`.
const KEY: &str = "daca/idempotencyKey";

/// What a message asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Wish {
    pub(crate) steps: usize,
    pub(crate) wait: Duration,
    pub(crate) ask: bool,
}

impl Wish {
    pub(crate) fn text(&self, token: &str) -> String {
        let (steps, wait, ask) = (self.steps, self.wait.as_millis(), u8::from(self.ask));
        format!("{token} steps={steps} wait={wait} ask={ask}")
    }

    fn read(text: &str) -> (Token, Self) {
        let mut words = text.split_whitespace();
        let token = Token::from(words.next().unwrap_or_default());
        let mut number = |key: &str| -> u64 {
            let word = words.next().and_then(|word| word.strip_prefix(key));
            word.and_then(|word| word.parse().ok()).unwrap_or(0)
        };
        let wish = Self {
            steps: usize::try_from(number("steps=")).unwrap_or(0),
            wait: Duration::from_millis(number("wait=")),
            ask: number("ask=") == 1,
        };
        (token, wish)
    }
}

/// An agent of one life of one worker.
pub(crate) fn agent(worker: &str, history: &History) -> Agent {
    let yaml = format!("agents: [{{name: {AGENT}, description: works, max_turns: 20}}]");
    let config = daca_worker::config::Config::from_yaml(&yaml).expect("the file is right");
    let config: Config = config.agents.into_iter().next().expect("it names an agent");
    let told = Told {
        worker: worker.to_owned(),
        history: history.clone(),
        busy: Arc::default(),
    };
    let server = mcp::Server::new("tools", inside(told.clone()), Duration::from_secs(20));
    let grant = Grant {
        server: Arc::new(server),
        allow: None,
    };
    let toolbox = Toolbox::new(vec![grant], vec![], vec![], Metrics::default());
    Agent::new(config, Arc::new(Obedient(told)), toolbox)
}

#[derive(Clone, Debug)]
struct Told {
    worker: String,
    history: History,
    busy: Arc<AtomicUsize>,
}

/// One more thought, until it is dropped.
struct Busy<'a>(&'a AtomicUsize);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Does what the message says.
#[derive(Debug)]
struct Obedient(Told);

impl Model for Obedient {
    fn label(&self) -> &'static str {
        "obedient (synthetic, for simulations)"
    }

    fn respond<'a>(
        &'a self,
        prompt: Prompt<'a>,
        deltas: mpsc::Sender<String>,
    ) -> BoxFuture<'a, Result<Reply, Error>> {
        Box::pin(self.think(prompt, deltas))
    }
}

impl Obedient {
    async fn think(
        &self,
        prompt: Prompt<'_>,
        deltas: mpsc::Sender<String>,
    ) -> Result<Reply, Error> {
        let Told {
            worker,
            history,
            busy,
        } = &self.0;
        let running = busy.fetch_add(1, Ordering::Relaxed) + 1;
        let _busy = Busy(busy);
        let mut said: Vec<&str> = Vec::new();
        let (mut mine, mut asked, mut done) = (None, false, 0);
        for item in prompt.items {
            let here = item.task == prompt.task;
            match &item.entry {
                Entry::User { text, .. } => {
                    if said.contains(&text.as_str()) {
                        history.tell(What::Doubled {
                            task: prompt.task.to_owned(),
                            text: text.clone(),
                        });
                    }
                    said.push(text);
                    if here {
                        (mine, done) = (Some(text), 0);
                    }
                }
                Entry::Tool { .. } if here => done += 1,
                Entry::Asked { .. } if here => asked = true,
                Entry::Asked { .. } | Entry::Tool { .. } | Entry::Assistant { .. } => {}
            }
        }
        let (token, wish) = Wish::read(mine.map_or("", String::as_str));
        history.tell(What::Step {
            worker: worker.clone(),
            task: prompt.task.to_owned(),
            token: Arc::clone(&token),
            step: done,
            busy: running,
        });
        tokio::time::sleep(wish.wait).await;
        if done < wish.steps {
            let mut arguments = Map::new();
            arguments.insert("token".to_owned(), json!(&*token));
            arguments.insert("step".to_owned(), json!(done));
            let call = ToolCall {
                id: format!("{token}-{done}"),
                name: "count".to_owned(),
                arguments,
            };
            return Ok(Reply::Calls {
                text: String::new(),
                calls: vec![call],
            });
        }
        if wish.ask && !asked {
            return Ok(Reply::Ask {
                question: format!("{token} wants to know more"),
                pending: vec![],
            });
        }
        let text = format!("{token} is done, users={}", said.len());
        for piece in text.split_inclusive(' ') {
            // A reader that left has dropped the turn.
            deltas.send(piece.to_owned()).await.ok();
            tokio::time::sleep(wish.wait / 8).await;
        }
        Ok(Reply::Answer { text })
    }
}

/// A server of one tool, in this process.
fn inside(told: Told) -> mcp::Launch {
    mcp::Launch::Inside(mcp::Inside(Arc::new(move || {
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        let counter = Counter(told.clone());
        #[expect(
            clippy::disallowed_methods,
            reason = "it ends with its session, and with the host that crashes"
        )]
        tokio::spawn(async move {
            if let Ok(running) = counter.serve(theirs).await {
                // How a session ended is its client's affair.
                running.waiting().await.ok();
            }
        });
        ours
    })))
}

#[derive(Clone, Debug)]
struct Counter(Told);

impl ServerHandler for Counter {
    fn get_info(&self) -> ServerConfig {
        let tools = ServerCapabilities::builder().enable_tools().build();
        let us = Implementation::new("counter", "1");
        ServerConfig::new(tools).with_server_info(us)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let schema = json!({"type": "object"});
        let schema = schema.as_object().cloned().unwrap_or_default();
        let tool = Tool::new("count", "Counts its calls.", Arc::new(schema));
        Ok(ListToolsResult::with_all_items(vec![tool]))
    }

    async fn call_tool(
        &self,
        ask: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let Told {
            worker, history, ..
        } = &self.0;
        let arguments = ask.arguments.unwrap_or_default();
        let token = arguments.get("token").and_then(Value::as_str);
        let step = arguments.get("step").and_then(Value::as_u64);
        let key = context.meta.get(KEY).and_then(Value::as_str);
        history.tell(What::Tool {
            worker: worker.clone(),
            key: key.map(str::to_owned),
            token: Token::from(token.unwrap_or_default()),
            step: usize::try_from(step.unwrap_or(0)).unwrap_or(0),
        });
        let counted = CallToolResult::success(vec![ContentBlock::text("counted")]);
        Ok(counted.into())
    }
}
