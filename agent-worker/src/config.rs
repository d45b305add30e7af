//! The agents file: which agents a worker runs, with which models and tools.
//!
//! It bundles the pieces' own descriptions, checks what only shows when they come together, and puts
//! the agents together. Without a file there are three example agents.
//!
//! # Invariants
//! - A worker starts with all agents of its file or not at all: a wrong name is an error that says
//!   where it stands.
//! - One MCP server per description, shared by the agents that name it.

mod beside;
mod language;
mod live;
mod secrets;

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use mesh_fabric::dapr::{self, Blocks};
use serde::{Deserialize, Serialize};

#[cfg(feature = "openai")]
use crate::model::openai;
use crate::{
    agent::{self, Agent, Choice},
    delegate::Delegate,
    model::{Model, rules::Rules, scripted::Echo},
    tools::{Grant, Metrics, Toolbox, form::Form, mcp},
};

pub use language::LanguageModel;
use live::Live;

/// An agents file.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// MCP servers by name. `builtin` exists without an entry.
    #[serde(default)]
    pub servers: BTreeMap<String, mcp::Config>,
    /// The language model. Default: the one that the environment names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub openai: Option<LanguageModel>,
    /// The agents.
    pub agents: Vec<agent::Config>,
}

/// What is around the agents of a worker.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The base URL of a router for delegations; `None` when there is none.
    pub router: Option<String>,
    /// The program and arguments of the built-in MCP server.
    pub builtin: Vec<OsString>,
    /// Where the built-in server keeps its notes unless the file says so; workers that share the path
    /// share the notes. `None`: each worker's notes are gone with it.
    pub notes: Option<PathBuf>,
    /// The Dapr sidecar beside the worker; `None` when there is none.
    pub sidecar: Option<dapr::Settings>,
    /// The language model that the environment names.
    #[cfg(feature = "openai")]
    pub openai: Option<openai::Settings>,
}

/// A worker's agents, ready for turns.
#[derive(Debug)]
pub struct Roster {
    /// The agents in the order of the file.
    pub agents: Vec<Agent>,
    servers: Vec<Arc<mcp::Server>>,
    /// The sidecar, where something is wanted of it, and the output bindings that it must have.
    blocks: Option<Blocks>,
    outputs: BTreeSet<String>,
    /// What changes while they run.
    live: Option<Arc<Live>>,
}

/// What is wrong with an agents file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It can't be read.
    #[error("the agents file {path} can't be read", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// It is not what an agents file looks like. The text names the line.
    #[error("the agents file is wrong: {0}")]
    Parse(String),
    /// There is nobody in it.
    #[error("the agents file has no agent")]
    Empty,
    /// Two agents of one name.
    #[error("there are two agents {0}")]
    Twice(String),
    /// An agent that is offered in no binding.
    #[error("agent {0} has an empty list of bindings, so nobody could call it")]
    NoBinding(String),
    /// A server that nobody described.
    #[error("agent {agent} uses the tools of {server}, which is no server of the file")]
    NoServer {
        /// The agent.
        agent: String,
        /// The name.
        server: String,
    },
    /// A group that can't be one.
    #[error("agent {agent} is no group: {reason}")]
    Group {
        /// The agent.
        agent: String,
        /// What is wrong.
        reason: String,
    },
    /// A form that is filed with no tool.
    #[error("form {form} is filed with {tool:?}, which is not `server.tool`")]
    NoTool {
        /// The form.
        form: String,
        /// What it says.
        tool: String,
    },
    /// A server is described wrong.
    #[error("server {server} is described wrong")]
    Server {
        /// Its name.
        server: String,
        /// What is wrong.
        source: mcp::ConfigError,
    },
    /// A language model can't be reached as described.
    #[error("agent {agent} has no language model: {reason}")]
    Model {
        /// The agent.
        agent: String,
        /// Why.
        reason: String,
    },
    /// The sidecar can't give what the file wants of it.
    #[error("the agents file wants {wanted} of a Dapr sidecar, and {reason}")]
    Sidecar {
        /// What is wanted.
        wanted: String,
        /// Why it is not to be had.
        reason: String,
    },
    /// A secret is not to be had.
    #[error("the secret ${{{named}}} is not to be had: {reason}")]
    Secret {
        /// It, as the file names it.
        named: String,
        /// Why.
        reason: String,
    },
    /// A setting is not to be had.
    #[error("the setting ${{{named}}} is not to be had: {reason}")]
    Setting {
        /// It, as the file names it.
        named: String,
        /// Why.
        reason: String,
    },
    /// An output binding is described wrong.
    #[error("agent {agent} has an output with no binding, or one with no operation")]
    Output {
        /// The agent.
        agent: String,
    },
    /// Two agents that take events of one binding.
    #[error("the input {0:?} is without a name, or there twice")]
    Input(String),
    /// The path of this program is unknown, and with it the built-in server.
    #[error("the path of this program is unknown")]
    Executable(#[source] io::Error),
}

impl Surroundings {
    /// What the process finds: its own program as the built-in server, a language model in the
    /// environment.
    ///
    /// # Errors
    /// [`Error::Executable`] when the system does not say what program this is.
    pub fn of_process(router: Option<String>) -> Result<Self, Error> {
        let program = std::env::current_exe().map_err(Error::Executable)?;
        Ok(Self {
            router,
            builtin: vec![program.into(), "mcp".into()],
            notes: None,
            sidecar: dapr::is_beside().then(dapr::Settings::default),
            #[cfg(feature = "openai")]
            openai: openai::Settings::from_env(),
        })
    }
}

impl Config {
    /// Reads a file, TOML by its ending and YAML otherwise; the example agents without one.
    ///
    /// # Errors
    /// [`Error`], naming the line or the name that is wrong.
    pub fn load(path: Option<&Path>) -> Result<Self, Error> {
        let Some(path) = path else {
            return Self::built_in();
        };
        let text = std::fs::read_to_string(path).map_err(|source| Error::Read {
            path: path.to_owned(),
            source,
        })?;
        if path.extension().is_some_and(|ending| ending == "toml") {
            Self::from_toml(&text)
        } else {
            Self::from_yaml(&text)
        }
    }

    /// The three example agents.
    ///
    /// # Errors
    /// None but those of a broken build: a test reads the same text.
    pub fn built_in() -> Result<Self, Error> {
        Self::from_yaml(BUILT_IN)
    }

    /// Reads YAML.
    ///
    /// # Errors
    /// [`Error`], naming the line or the name that is wrong.
    pub fn from_yaml(text: &str) -> Result<Self, Error> {
        let config: Self =
            serde_saphyr::from_str(text).map_err(|error| Error::Parse(error.to_string()))?;
        config.checked()
    }

    /// Reads TOML.
    ///
    /// # Errors
    /// [`Error`], naming the line or the name that is wrong.
    pub fn from_toml(text: &str) -> Result<Self, Error> {
        let config: Self = toml::from_str(text).map_err(|error| Error::Parse(error.to_string()))?;
        config.checked()
    }

    /// Puts the agents together. Nothing is started: servers start when they are needed.
    ///
    /// # Errors
    /// [`Error`] for a server or a model that can't be had as described.
    pub fn roster(&self, around: &Surroundings, metrics: &Metrics) -> Result<Roster, Error> {
        let mut servers = BTreeMap::new();
        for (name, config) in self.with_builtin(around) {
            let wrong = |source| Error::Server {
                server: name.clone(),
                source,
            };
            let launch = config.launch(&around.builtin).map_err(wrong)?;
            let server = Arc::new(mcp::Server::new(&name, launch, config.timeout()));
            servers.insert(name, server);
        }
        let around = &language::told(self, around);
        let blocks = beside::of(self, around)?;
        let mut agents = Vec::new();
        for config in &self.agents {
            let model = model(config, around)?;
            let mut toolbox = toolbox(config, &servers, around, metrics)?;
            if let Some(blocks) = &blocks {
                let outputs = config.outputs.iter();
                toolbox = toolbox.with_outlets(outputs.flat_map(|each| each.outlets(blocks)));
            }
            let owners = owners(config)?;
            agents.push(Agent::new(config.clone(), model, toolbox).owned_by(&owners));
        }
        Ok(Roster {
            live: Live::of(&agents, around)?,
            agents,
            servers: servers.into_values().collect(),
            outputs: beside::outputs(self).map(str::to_owned).collect(),
            blocks,
        })
    }

    /// The described servers and the built-in one, as far as an agent uses them.
    fn with_builtin(&self, around: &Surroundings) -> BTreeMap<String, mcp::Config> {
        let mut servers = self.servers.clone();
        let ours = servers.entry(BUILTIN.to_owned()).or_default();
        if ours.is_builtin() && ours.notes.is_none() {
            ours.notes.clone_from(&around.notes);
        }
        let used: BTreeSet<&str> = self.agents.iter().flat_map(servers_of).collect();
        servers.retain(|name, _| used.contains(name.as_str()));
        servers
    }

    fn checked(self) -> Result<Self, Error> {
        if self.agents.is_empty() {
            return Err(Error::Empty);
        }
        let (mut names, mut inputs) = (BTreeSet::new(), BTreeSet::new());
        for agent in &self.agents {
            if !names.insert(&agent.name) {
                return Err(Error::Twice(agent.name.to_string()));
            }
            if agent.bindings.is_empty() {
                return Err(Error::NoBinding(agent.name.to_string()));
            }
            if let Some(group) = &agent.group {
                let name = || agent.name.to_string();
                let wrong = |reason| Error::Group {
                    agent: name(),
                    reason,
                };
                group.check(&agent.name).map_err(wrong)?;
            }
            for input in &agent.inputs {
                if input.binding.is_empty() || !inputs.insert(&input.binding) {
                    return Err(Error::Input(input.binding.clone()));
                }
            }
            if agent.outputs.iter().any(beside::is_wrong) {
                let agent = agent.name.to_string();
                return Err(Error::Output { agent });
            }
            for form in &agent.forms {
                if form.file_with.split_once('.').is_none() {
                    let (form, tool) = (form.name.clone(), form.file_with.clone());
                    return Err(Error::NoTool { form, tool });
                }
            }
            for server in servers_of(agent) {
                if server != BUILTIN && !self.servers.contains_key(server) {
                    let agent = agent.name.to_string();
                    return Err(Error::NoServer {
                        agent,
                        server: server.to_owned(),
                    });
                }
            }
        }
        Ok(self)
    }
}

impl Roster {
    /// Opens the sessions of all servers, so that the first message does not wait for them. A server
    /// that fails is logged by itself, and tried again when it is needed.
    pub async fn warm(&self) {
        futures_util::future::join_all(
            self.servers
                .iter()
                .map(|server| async { server.tools().await.is_ok() }),
        )
        .await;
    }

    /// Ends the sessions and the children.
    pub async fn close(&self) {
        for server in &self.servers {
            server.close().await;
        }
    }
}

fn servers_of(agent: &agent::Config) -> impl Iterator<Item = &str> {
    let tools = agent.tools.iter().map(String::as_str);
    let filed = agent.forms.iter().map(|form| form.file_with.as_str());
    tools
        .chain(filed)
        .map(|tool| tool.split_once('.').map_or(tool, |(server, _)| server))
}

fn toolbox(
    config: &agent::Config,
    servers: &BTreeMap<String, Arc<mcp::Server>>,
    around: &Surroundings,
    metrics: &Metrics,
) -> Result<Toolbox, Error> {
    let server = |name: &str| {
        servers.get(name).cloned().ok_or_else(|| Error::NoServer {
            agent: config.name.to_string(),
            server: name.to_owned(),
        })
    };
    let mut grants: Vec<(&str, Option<BTreeSet<String>>)> = Vec::new();
    for tool in &config.tools {
        let (name, only) = tool
            .split_once('.')
            .map_or((tool.as_str(), None), |(s, t)| (s, Some(t)));
        let at = grants.iter().position(|(granted, _)| *granted == name);
        match (at, only) {
            (None, only) => grants.push((name, only.map(|tool| BTreeSet::from([tool.to_owned()])))),
            (Some(at), None) => grants[at].1 = None,
            (Some(at), Some(tool)) => {
                if let Some(allow) = &mut grants[at].1 {
                    allow.insert(tool.to_owned());
                }
            }
        }
    }
    let grants = grants.into_iter().map(|(name, allow)| {
        Ok(Grant {
            server: server(name)?,
            allow,
        })
    });
    let grants = grants.collect::<Result<_, Error>>()?;
    let mut forms = Vec::new();
    for form in &config.forms {
        let (name, tool) = form
            .file_with
            .split_once('.')
            .unwrap_or((&form.file_with, ""));
        forms.push(Arc::new(Form::new(
            form.clone(),
            server(name)?,
            tool.to_owned(),
        )));
    }
    let delegate = |d: &crate::delegate::Config| Delegate::new(d.clone(), around.router.as_deref());
    let delegates = config
        .delegates
        .iter()
        .map(|d| Arc::new(delegate(d)))
        .collect();
    Ok(Toolbox::new(grants, forms, delegates, metrics.clone()))
}

fn model(config: &agent::Config, around: &Surroundings) -> Result<Arc<dyn Model>, Error> {
    Ok(match &config.model {
        Choice::Auto => match language_model(around, None) {
            Some(model) => model.map_err(|reason| no_model(config, reason))?,
            None => Arc::new(Rules),
        },
        Choice::Rules => Arc::new(Rules),
        Choice::OpenAi(name) => language_model(around, name.as_deref())
            .unwrap_or_else(|| Err(ABSENT.to_owned()))
            .map_err(|reason| no_model(config, reason))?,
        Choice::Echo => Arc::new(Echo),
        Choice::Work(work) => Arc::new(*work),
    })
}

/// The tokens of a group's owners.
fn owners(config: &agent::Config) -> Result<Vec<String>, Error> {
    let names = config.group.iter().flat_map(|group| &group.owners);
    let token = |name: &String| {
        let held = std::env::var(name)
            .ok()
            .filter(|token| !token.trim().is_empty());
        held.ok_or_else(|| Error::Group {
            agent: config.name.to_string(),
            reason: format!("the token of an owner is not in the environment, as {name}"),
        })
    };
    names.map(token).collect()
}

fn no_model(config: &agent::Config, reason: String) -> Error {
    Error::Model {
        agent: config.name.to_string(),
        reason,
    }
}

/// The language model of the environment; `None` when it names none.
#[cfg(feature = "openai")]
fn language_model(
    around: &Surroundings,
    name: Option<&str>,
) -> Option<Result<Arc<dyn Model>, String>> {
    let settings = around.openai.as_ref()?;
    Some(match openai::OpenAi::new(settings, name) {
        Ok(model) => Ok(Arc::new(model)),
        Err(error) => Err(error.to_string()),
    })
}

/// Language models are left out of this build.
#[cfg(not(feature = "openai"))]
fn language_model(_: &Surroundings, _: Option<&str>) -> Option<Result<Arc<dyn Model>, String>> {
    None
}

#[cfg(feature = "openai")]
const ABSENT: &str = "set OPENAI_API_KEY or OPENAI_BASE_URL";
#[cfg(not(feature = "openai"))]
const ABSENT: &str = "this build leaves language models out (cargo feature `openai`)";

/// The name of the server that comes with us.
const BUILTIN: &str = "builtin";

const BUILT_IN: &str = include_str!("../../deploy/local/agents.yaml");

#[cfg(test)]
mod tests;
