//! MCP servers as sources of tools: child processes over stdio, and streamable HTTP.
//!
//! A server is shared by all agents of the worker that name it: one child per worker. It is started
//! when it is first needed and started again when it is needed and gone.
//!
//! # Invariants
//! - A child gets the few environment variables that a program needs and those of its own
//!   configuration: the worker's keys stay in the worker.
//! - A call is repeated after a broken connection only where the server says that the tool reads only
//!   or may be repeated; otherwise it may have been done, and the model is told.
//! - No start right after a failed start: a server that can't start costs its callers a
//!   sentence, not a process each.

mod config;

use std::{
    env,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rmcp::{
    ClientHandler, RoleClient, ServiceError, ServiceExt,
    model::{
        CallToolRequestParams, CallToolResult, ClientCapabilities, ClientConfig, ContentBlock,
        Implementation, MetaObject, RequestMetaObject, Tool,
    },
    service::{ClientInitializeError, NotificationContext, Peer, RunningService},
    transport::{
        StreamableHttpClientTransport, TokioChildProcess,
        streamable_http_client::StreamableHttpClientTransportConfig,
    },
};
use serde_json::{Map, Value};
use tokio::{process::Command, sync::Mutex, time::Instant};

pub use self::config::{Config, ConfigError, Inside, Launch};
use crate::{
    session::{CallContext, Ending, ToolKind, ToolOutput, ToolSpec},
    tls,
};

/// Why a server's tools can't be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program could not be started.
    #[error("the tools of {server} can't be started: {reason}")]
    Start {
        /// The server's name in the configuration.
        server: String,
        /// The system's reason.
        reason: String,
    },
    /// It started, or answered, but did not open a session.
    #[error("the tools of {server} did not open a session: {reason}")]
    Open {
        /// The server's name in the configuration.
        server: String,
        /// What it said.
        reason: String,
    },
    /// It did not open a session in time.
    #[error("the tools of {server} did not open a session within {} s", OPEN.as_secs())]
    Late {
        /// The server's name in the configuration.
        server: String,
    },
    /// It failed a moment ago.
    #[error("the tools of {server} failed a moment ago and rest for {} s", REST.as_secs())]
    Resting {
        /// The server's name in the configuration.
        server: String,
    },
}

/// One MCP server, running or not.
#[derive(Debug)]
pub struct Server {
    name: String,
    launch: Launch,
    timeout: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Idle,
    Live(Arc<Live>),
    Failed(Instant),
}

/// An open session with the tools that it offered.
#[derive(Debug)]
struct Live {
    session: RunningService<RoleClient, Listener>,
    tools: Arc<[ToolSpec]>,
    repeatable: Vec<String>,
}

/// Hears that the list of tools has changed; nothing else is offered to a server.
#[derive(Clone, Debug, Default)]
struct Listener {
    stale: Arc<AtomicBool>,
}

impl ClientHandler for Listener {
    fn get_info(&self) -> ClientConfig {
        let us = Implementation::new("daca-worker", env!("CARGO_PKG_VERSION"));
        ClientConfig::new(ClientCapabilities::default(), us)
    }

    async fn on_tool_list_changed(&self, _context: NotificationContext<RoleClient>) {
        self.stale.store(true, Ordering::Relaxed);
    }
}

impl Server {
    /// Describes a server; nothing is started yet.
    #[must_use]
    pub fn new(name: &str, launch: Launch, timeout: Duration) -> Self {
        Self {
            name: name.to_owned(),
            launch,
            timeout,
            state: Mutex::new(State::Idle),
        }
    }

    /// Its name in the configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it offers, from the cache of the open session; opens one if there is none.
    ///
    /// # Errors
    /// [`Error`] when there is no session to be had.
    pub async fn tools(&self) -> Result<Arc<[ToolSpec]>, Error> {
        Ok(Arc::clone(&self.live().await?.tools))
    }

    /// Whether it offers a tool now.
    pub async fn has(&self, tool: &str) -> bool {
        self.tools()
            .await
            .is_ok_and(|tools| tools.iter().any(|spec| spec.name == tool))
    }

    /// Calls a tool. What goes wrong is an output, too.
    ///
    /// # Cancel safety
    /// Dropping the future tells the server that nobody waits any more.
    pub async fn call(
        &self,
        tool: &str,
        arguments: Map<String, Value>,
        context: &CallContext,
    ) -> ToolOutput {
        let mut ask = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
        let mut meta = MetaObject::default();
        if let Some(traceparent) = &context.traceparent {
            meta.set_traceparent(traceparent);
        }
        if !context.key.is_empty() {
            let key = Value::String(context.key.clone());
            meta.insert(IDEMPOTENCY_KEY.to_owned(), key);
        }
        if !meta.is_empty() {
            ask.meta = Some(RequestMetaObject::from(meta));
        }
        let (within, work) = (context.within(self.timeout), self.attempts(ask));
        match tokio::time::timeout(within, work).await {
            Ok(output) => output,
            Err(_) => ToolOutput::failed(format!(
                "{tool} gave no answer within {} s",
                within.as_secs()
            )),
        }
    }

    /// Ends the session and the child, if there is one.
    pub async fn close(&self) {
        *self.state.lock().await = State::Idle;
    }

    async fn attempts(&self, ask: CallToolRequestParams) -> ToolOutput {
        for last in [false, true] {
            let live = match self.live().await {
                Ok(live) => live,
                Err(error) => return ToolOutput::failed(error.to_string()),
            };
            let error = match live.session.call_tool(ask.clone()).await {
                Ok(result) => return output(result),
                Err(error) => error,
            };
            let unsent = matches!(error, ServiceError::TransportSend(_));
            let broken = unsent || matches!(error, ServiceError::TransportClosed);
            if broken {
                self.forget(&live).await;
            }
            let again = unsent || live.repeatable.iter().any(|tool| **tool == ask.name);
            if last || !broken || !again {
                return ToolOutput::failed(said(&error));
            }
        }
        // The second round always returns; the compiler can't see it.
        ToolOutput::failed("the tool was not called".to_owned())
    }

    /// Drops a session that is known to be broken, unless another caller has replaced it already.
    async fn forget(&self, broken: &Arc<Live>) {
        let mut state = self.state.lock().await;
        if matches!(&*state, State::Live(live) if Arc::ptr_eq(live, broken)) {
            *state = State::Idle;
        }
    }

    /// The open session, or a new one. Callers queue on the lock while one of them opens it.
    async fn live(&self) -> Result<Arc<Live>, Error> {
        let mut state = self.state.lock().await;
        match &*state {
            State::Live(live) if !live.session.is_closed() && !live.is_stale() => {
                return Ok(Arc::clone(live));
            }
            State::Failed(at) if at.elapsed() < REST => {
                return Err(Error::Resting {
                    server: self.name.clone(),
                });
            }
            State::Live(_) | State::Failed(_) | State::Idle => {}
        }
        // Set first: a caller that is cancelled while it opens leaves no half-open session behind.
        *state = State::Idle;
        match Box::pin(tokio::time::timeout(OPEN, self.open())).await {
            Ok(Ok(live)) => {
                let live = Arc::new(live);
                *state = State::Live(Arc::clone(&live));
                tracing::info!(server = %self.name, tools = live.tools.len(), "tools ready");
                Ok(live)
            }
            failed => {
                let late = || Error::Late {
                    server: self.name.clone(),
                };
                let error =
                    failed.map_or_else(|_| late(), |opened| opened.err().unwrap_or_else(late));
                tracing::warn!(server = %self.name, %error, "tools not ready");
                *state = State::Failed(Instant::now());
                Err(error)
            }
        }
    }

    async fn open(&self) -> Result<Live, Error> {
        let listener = Listener::default();
        let opened = match &self.launch {
            Launch::Child {
                program,
                arguments,
                environment,
            } => {
                let mut command = Command::new(program);
                // A group of its own: Ctrl-C on the worker must not end the tools of turns that finish.
                // The end of its stdin ends the child, however the worker ends.
                command
                    .process_group(0)
                    .args(arguments)
                    .env_clear()
                    .stderr(Stdio::inherit())
                    .kill_on_drop(true);
                command.envs(
                    PASSED_ON
                        .iter()
                        .filter_map(|key| Some((key, env::var_os(key)?))),
                );
                command.envs(environment);
                let child = TokioChildProcess::new(command).map_err(|error| Error::Start {
                    server: self.name.clone(),
                    reason: error.to_string(),
                })?;
                listener.serve(child).await
            }
            Launch::Http { url, headers } => {
                tls::ensure_crypto();
                let mut config = StreamableHttpClientTransportConfig::with_uri(url.as_str());
                config = config.custom_headers(headers.clone());
                listener
                    .serve(StreamableHttpClientTransport::from_config(config))
                    .await
            }
            Launch::Inside(Inside(open)) => listener.serve(open()).await,
        };
        let session = opened.map_err(|error: ClientInitializeError| Error::Open {
            server: self.name.clone(),
            reason: chain(&error),
        })?;
        let listed = list(session.peer()).await.map_err(|error| Error::Open {
            server: self.name.clone(),
            reason: said(&error),
        })?;
        let repeatable = listed.iter().filter(|tool| is_repeatable(tool));
        let repeatable = repeatable.map(|tool| tool.name.to_string()).collect();
        let tools = listed
            .iter()
            .take(TOOLS)
            .filter_map(|tool| self.spec(tool))
            .collect();
        Ok(Live {
            session,
            tools,
            repeatable,
        })
    }

    fn spec(&self, tool: &Tool) -> Option<ToolSpec> {
        let input = tool.input_schema.as_ref();
        if serde_json::to_vec(input).map_or(usize::MAX, |bytes| bytes.len()) > SCHEMA_BYTES {
            tracing::warn!(server = %self.name, tool = %tool.name, "schema over its bound, left out");
            return None;
        }
        Some(ToolSpec {
            name: tool.name.to_string(),
            description: tool.description.as_deref().unwrap_or_default().to_owned(),
            input: input.clone(),
            kind: ToolKind::Tool,
        })
    }
}

impl Live {
    fn is_stale(&self) -> bool {
        self.session.service().stale.load(Ordering::Relaxed)
    }
}

async fn list(peer: &Peer<RoleClient>) -> Result<Vec<Tool>, ServiceError> {
    peer.list_all_tools().await
}

fn is_repeatable(tool: &Tool) -> bool {
    tool.annotations.as_ref().is_some_and(|hints| {
        hints.read_only_hint.unwrap_or(false) || hints.idempotent_hint.unwrap_or(false)
    })
}

fn output(result: CallToolResult) -> ToolOutput {
    let texts: Vec<&str> = result.content.iter().map(shown).collect();
    let ending = if result.is_error.unwrap_or(false) {
        Ending::Failed
    } else {
        Ending::Done
    };
    ToolOutput {
        text: texts.join("\n"),
        structured: result.structured_content,
        ending,
    }
}

/// What a model can read of a block; what is no text is named.
fn shown(block: &ContentBlock) -> &str {
    match block {
        ContentBlock::Text(text) => &text.text,
        ContentBlock::Image(_) => "[an image]",
        ContentBlock::Audio(_) => "[a recording]",
        ContentBlock::ResourceLink(link) => &link.uri,
        _ => "[a resource]",
    }
}

fn said(error: &ServiceError) -> String {
    match error {
        ServiceError::McpError(error) => error.message.to_string(),
        other => chain(other),
    }
}

/// An error and its causes in one line, cut to what a model should read.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text.truncate(text.floor_char_boundary(500));
    text
}

/// Where a call says its [`CallContext::key`], by which a server can tell a repeated call.
const IDEMPOTENCY_KEY: &str = "daca/idempotencyKey";

/// How long a server may take to open a session: a script that installs itself is slow.
const OPEN: Duration = Duration::from_secs(30);

/// How long a server that could not start is left alone.
const REST: Duration = Duration::from_secs(2);

/// The most tools that are taken from one server; the rest is left out.
const TOOLS: usize = 128;

/// The largest schema that a tool may have: it goes into every prompt.
const SCHEMA_BYTES: usize = 65_536;

/// What a program needs to find itself, and no secret of ours.
const PASSED_ON: [&str; 12] = [
    "HOME",
    "LANG",
    "LC_ALL",
    "LOGNAME",
    "PATH",
    "RUST_LOG",
    "SHELL",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TERM",
    "TMPDIR",
    "USER",
];
