//! What a router is told: a TOML file, the command line over it, and both checked into [`Settings`].
//!
//! # Invariants
//! - Everything that flags can say, the file can say; a flag wins over the file.
//! - What is checked here is not checked again: `app` only wires.
//! - The development key serves loopback only.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use mesh_core::token::{self, Keys};
use mesh_proto::AgentName;
use mesh_runtime::{
    directory::{self, Plan, Spec},
    egress, net,
};
use serde::Deserialize;

use crate::{
    admission, binding,
    catalogue::{
        cards::{self, Cards},
        control,
    },
    dispatch, gather, journal,
    promise::extensions,
    stream,
    upstream::{envelope, transcode},
    webhook,
};

pub mod flags;
pub use flags::Flags;

/// Where a router listens when nobody says.
pub const LISTEN: &str = "127.0.0.1:8080";

/// A router's file. Every field may be left out; `deploy/local/router.toml` shows all of them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    /// `HOST:PORT` for all agents, in all bindings. Port 0 takes a free one. Default `127.0.0.1:8080`.
    pub listen: Option<String>,
    /// `HOST:PORT` for `/healthz`, `/readyz` and `/metrics`. Unset: none.
    pub admin: Option<String>,
    /// Where a router passes its ports to the next one: the path of a Unix socket, the same for both.
    /// Unset: the ports end with the router.
    pub takeover: Option<PathBuf>,
    /// The agent at the root of the port. Unset: the only one, where there is one only.
    pub default_agent: Option<AgentName>,
    /// A TOML file with token keys and the slot secret. Unset: a built-in development key, refused
    /// where `listen` is off loopback. All routers of a mesh need the same.
    pub keys: Option<PathBuf>,
    /// A TOML file with the agents, watched: a change takes effect without a restart. Excludes
    /// `agent` and `agents_from`. A file that is not there yet is waited for.
    pub members: Option<PathBuf>,
    /// The agents, each with its members or where they come from.
    pub agent: Vec<directory::file::Agent>,
    /// Agents that come from one source together.
    pub agents_from: Vec<AgentsFrom>,
    /// The zone that the router runs in: reads that anybody can answer stay in it. Unset: unknown.
    pub zone: Option<Arc<str>>,
    /// How sources of members are followed.
    pub directory: directory::Settings,
    /// Ports of single agents.
    pub listen_agent: Vec<ListenAgent>,
    /// Threads that carry calls. Default: one per core. Read by the process, not by the router.
    pub threads: Option<usize>,
    /// Seconds after SIGTERM in which new connections are still taken while `/readyz` says no, for load
    /// balancers that need time to notice. Default 0.
    pub announce_seconds: Option<u64>,
    /// Seconds that calls may still take after that. Default 30.
    pub drain_seconds: Option<u64>,
    /// How the router is met from outside: `public_url`, bounds of bodies, web pages.
    pub front: binding::Settings,
    /// How cards are shown and which are believed.
    pub cards: cards::Settings,
    /// Bounds of connections.
    pub net: net::Settings,
    /// Connections to agents.
    pub egress: egress::Settings,
    /// Bounds of one attempt.
    pub dispatch: dispatch::Settings,
    /// Ids of other people's agents: whose are left alone, and bounds.
    pub envelope: envelope::Settings,
    /// Bounds of a list over several members.
    pub gather: gather::Settings,
    /// How streams are kept.
    pub stream: stream::Settings,
    /// Bounds of what is put into another dialect.
    pub transcode: transcode::Settings,
    /// Which extensions callers may use: `allow`, `deny`.
    pub extensions: extensions::Settings,
    /// Notifications of agents to webhooks: whose go through the relay, and where they may lead.
    pub push: webhook::Settings,
    /// Bounds of all calls together.
    pub admission: admission::Settings,
    /// Records of calls: where they go.
    pub calls: journal::Settings,
    /// Control events: where they are heard.
    pub control: control::Settings,
}

/// Agents that the same workers serve, each below a path of its own name.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentsFrom {
    /// Where the workers come from, and the path above the agents' names, if any.
    pub source: Spec,
    /// The agents.
    pub names: Vec<AgentName>,
}

/// A port of one agent's own.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenAgent {
    /// The agent.
    pub name: AgentName,
    /// `HOST:PORT`.
    pub listen: String,
}

/// Everything that a router needs, checked.
#[derive(Debug)]
pub struct Settings {
    /// The main port.
    pub listen: String,
    /// The admin port.
    pub admin: Option<String>,
    /// See [`File::takeover`].
    pub takeover: Option<PathBuf>,
    /// Ports of single agents.
    pub listen_agents: Vec<ListenAgent>,
    /// The agent at the root.
    pub default_agent: Option<AgentName>,
    /// Keys of tokens and slots.
    pub keys: Arc<Keys>,
    /// Where the agents come from.
    pub plan: Plan,
    /// See [`File::directory`].
    pub directory: directory::Settings,
    /// See [`File::zone`].
    pub zone: Option<Arc<str>>,
    /// Worker threads.
    pub threads: Option<usize>,
    /// How long it serves as ever after it has said that it leaves.
    pub announce: Duration,
    /// How long a drain may take after that.
    pub grace: Duration,
    /// See [`File::front`].
    pub front: binding::Settings,
    /// See [`File::cards`]; its keys are read.
    pub cards: Cards,
    /// See [`File::net`].
    pub net: net::Settings,
    /// See [`File::egress`].
    pub egress: egress::Settings,
    /// See [`File::dispatch`].
    pub dispatch: dispatch::Settings,
    /// See [`File::envelope`].
    pub envelope: envelope::Settings,
    /// See [`File::gather`].
    pub gather: gather::Settings,
    /// See [`File::stream`].
    pub stream: stream::Settings,
    /// See [`File::transcode`].
    pub transcode: transcode::Settings,
    /// See [`File::extensions`].
    pub extensions: extensions::Settings,
    /// See [`File::push`].
    pub push: webhook::Settings,
    /// See [`File::admission`].
    pub admission: admission::Settings,
    /// See [`File::calls`].
    pub calls: journal::Settings,
    /// See [`File::control`].
    pub control: control::Settings,
}

/// Why a router can't start as told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file can't be read.
    #[error("can't read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The configuration is not what [`File`] describes.
    #[error("{path} is not a router's configuration")]
    Format {
        /// Which.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// The keys file is wrong.
    #[error("{path} is not a keys file")]
    Keys {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: token::Error,
    },
    /// Cards can't be handled as told.
    #[error("[cards] is not usable")]
    Cards(#[from] cards::Error),
    /// Off loopback without keys.
    #[error(
        "{listen} is not on loopback: give --keys FILE, the same on every router of the mesh (the \
         built-in development key is public)"
    )]
    DevelopmentKey {
        /// The address.
        listen: String,
    },
    /// A flag that is not what it should be.
    #[error("--{flag} {given}: {why}")]
    Flag {
        /// Its name.
        flag: &'static str,
        /// What was given.
        given: String,
        /// What is wrong.
        why: String,
    },
    /// No agent at all.
    #[error(
        "no agent: give --agent NAME=URL[,URL...], --agents-from SOURCE=NAME[,NAME...], --members FILE \
         or a --config with one of them"
    )]
    NoAgent,
    /// Two sources.
    #[error("agents come either from a watched members file or are given one by one, not both")]
    TwoSources,
    /// The agents don't make a roster.
    #[error("the agents are not usable")]
    Roster(#[source] directory::Error),
}

impl File {
    /// Reads a configuration.
    ///
    /// # Errors
    /// [`Error::Read`] or [`Error::Format`].
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::Read {
            path: path.to_owned(),
            source,
        })?;
        toml::from_str(&text).map_err(|source| Error::Format {
            path: path.to_owned(),
            source: Box::new(source),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_file_is_read_whole() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/local/router.toml");
        let file = File::read(&path).unwrap();
        assert_eq!(file.agent.len(), 1);
    }
}
