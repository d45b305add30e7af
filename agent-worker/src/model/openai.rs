//! A language model behind the chat-completions interface: the real one, or any server that speaks it
//! (Ollama, vLLM, llama.cpp, a mock).
//!
//! Replies are read leniently: most compatible servers leave out fields that the real one sends.
//!
//! # Invariants
//! - Nothing is retried here: a turn that fails says so, and its caller knows whether to try again.
//! - A reply is bounded in size, and so is the silence before and within it.
//! - The key is sent to the configured server only, and appears in no log and no error.

mod wire;

use std::{collections::BTreeMap, env, fmt, time::Duration};

use async_openai::{Client, config::OpenAIConfig, error::OpenAIError, middleware::ReqwestService};
use futures_util::{Stream, StreamExt, future::BoxFuture};
use http::HeaderValue;
use serde_json::Map;
use tokio::sync::mpsc;

use crate::{
    model::{Error, Model, Prompt, Reply},
    session::ToolCall,
    tls,
};

/// Where the model is.
#[derive(Clone, Default)]
pub struct Settings {
    /// The base of the interface, such as `http://127.0.0.1:11434/v1`. `None` is the real one.
    pub base_url: Option<String>,
    /// The key. Local servers want none.
    pub key: Option<String>,
    /// The model to use where an agent names none.
    pub model: Option<String>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.key.as_ref().map(|_| "(hidden)");
        f.debug_struct("Settings")
            .field("base_url", &self.base_url)
            .field("key", &key)
            .field("model", &self.model)
            .finish()
    }
}

/// What is wrong with the settings.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SettingsError {
    /// The base is no URL.
    #[error("{0:?} is no http or https URL")]
    Base(String),
    /// The key holds characters that no header takes.
    #[error("the key holds characters that HTTP does not allow in a header")]
    Key,
}

impl Settings {
    /// Reads `OPENAI_BASE_URL`, `OPENAI_API_KEY` and `OPENAI_MODEL`; `None` when neither of the first
    /// two is set.
    #[must_use]
    pub fn from_env() -> Option<Self> {
        let read = |name| env::var(name).ok().filter(|value| !value.trim().is_empty());
        let settings = Self {
            base_url: read("OPENAI_BASE_URL"),
            key: read("OPENAI_API_KEY"),
            model: read("OPENAI_MODEL"),
        };
        (settings.base_url.is_some() || settings.key.is_some()).then_some(settings)
    }
}

/// A language model.
#[derive(Debug)]
pub struct OpenAi {
    name: String,
    label: String,
    client: Client<OpenAIConfig>,
}

impl OpenAi {
    /// Prepares a client; nothing is sent yet.
    ///
    /// # Errors
    /// [`SettingsError`] when the settings can't be right.
    pub fn new(settings: &Settings, name: Option<&str>) -> Result<Self, SettingsError> {
        let key = settings.key.as_deref().unwrap_or("none").trim();
        HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| SettingsError::Key)?;
        let mut config = OpenAIConfig::new().with_api_key(key);
        if let Some(base) = &settings.base_url {
            let base = base.trim().trim_end_matches('/');
            let url = url::Url::parse(base).ok();
            url.filter(|url| matches!(url.scheme(), "http" | "https"))
                .ok_or_else(|| SettingsError::Base(base.to_owned()))?;
            config = config.with_api_base(base);
        }
        tls::ensure_crypto();
        let name = name
            .or(settings.model.as_deref())
            .unwrap_or(MODEL)
            .to_owned();
        // The plain service, in place of the default one that retries by itself.
        let client = Client::with_config(config).with_http_service(ReqwestService::default());
        Ok(Self {
            label: format!("{name} (chat completions)"),
            name,
            client,
        })
    }

    async fn complete(
        &self,
        prompt: Prompt<'_>,
        deltas: mpsc::Sender<String>,
    ) -> Result<Reply, Error> {
        let names: BTreeMap<String, &str> = prompt
            .tools
            .iter()
            .map(|tool| (wire::name(&tool.name), tool.name.as_str()))
            .collect();
        let request = wire::request(&self.name, prompt);
        let chat = self.client.chat();
        let opening = chat.create_stream_byot::<_, wire::Chunk>(request);
        let mut chunks = self
            .in_time(opening)
            .await?
            .map_err(|error| self.failed(&error))?;
        let mut reply = wire::Partial::default();
        while let Some(chunk) = self.next(&mut chunks).await? {
            let delta = reply.add(chunk).map_err(|reason| self.unusable(reason))?;
            if !delta.is_empty() {
                // A reader that left has dropped the turn.
                deltas.send(delta).await.ok();
            }
        }
        self.read(reply, &names)
    }

    fn read(&self, reply: wire::Partial, names: &BTreeMap<String, &str>) -> Result<Reply, Error> {
        if reply.is_filtered {
            return Ok(Reply::Fail {
                reason: "the model refused to answer".to_owned(),
            });
        }
        let mut calls = Vec::new();
        for (at, call) in reply.calls.into_values().enumerate() {
            let arguments = match call.arguments.trim() {
                "" => Map::new(),
                text => serde_json::from_str(text).map_err(|_| {
                    self.unusable(format!("the arguments of {} are no JSON object", call.name))
                })?,
            };
            if call.name == wire::ASK {
                let question = arguments
                    .get("question")
                    .and_then(serde_json::Value::as_str);
                let question = question.unwrap_or("What else should I know?").to_owned();
                return Ok(Reply::Ask {
                    question,
                    pending: Vec::new(),
                });
            }
            let id = if call.id.is_empty() {
                format!("call-{at}")
            } else {
                call.id
            };
            let name = names
                .get(&call.name)
                .copied()
                .unwrap_or(&call.name)
                .to_owned();
            calls.push(ToolCall {
                id,
                name,
                arguments,
            });
        }
        if !calls.is_empty() {
            Ok(Reply::Calls {
                text: reply.text,
                calls,
            })
        } else if reply.text.is_empty() {
            Err(self.unusable("it is empty".to_owned()))
        } else {
            Ok(Reply::Answer { text: reply.text })
        }
    }

    async fn next(
        &self,
        chunks: &mut (impl Stream<Item = Result<wire::Chunk, OpenAIError>> + Unpin),
    ) -> Result<Option<wire::Chunk>, Error> {
        match self.in_time(chunks.next()).await? {
            Some(Ok(chunk)) => Ok(Some(chunk)),
            Some(Err(error)) => Err(self.failed(&error)),
            None => Ok(None),
        }
    }

    async fn in_time<T>(&self, work: impl Future<Output = T>) -> Result<T, Error> {
        tokio::time::timeout(SILENCE, work)
            .await
            .map_err(|_| Error::Timeout {
                model: self.name.clone(),
                seconds: SILENCE.as_secs(),
            })
    }

    fn failed(&self, error: &OpenAIError) -> Error {
        let mut reason = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            reason.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        reason.truncate(reason.floor_char_boundary(REASON_BYTES));
        Error::Upstream {
            model: self.name.clone(),
            reason,
        }
    }

    fn unusable(&self, reason: String) -> Error {
        Error::Reply {
            model: self.name.clone(),
            reason,
        }
    }
}

impl Model for OpenAi {
    fn label(&self) -> &str {
        &self.label
    }

    fn respond<'a>(
        &'a self,
        prompt: Prompt<'a>,
        deltas: mpsc::Sender<String>,
    ) -> BoxFuture<'a, Result<Reply, Error>> {
        Box::pin(self.complete(prompt, deltas))
    }
}

/// Used where neither the agent nor the environment names a model.
const MODEL: &str = "gpt-4.1-mini";

/// How long the server may say nothing, before its first word and between two.
const SILENCE: Duration = Duration::from_secs(120);

/// How much of a server's complaint is passed on.
const REASON_BYTES: usize = 300;
