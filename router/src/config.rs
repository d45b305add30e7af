//! What a router is told: a TOML file, the command line over it, and both checked into [`Settings`].
//!
//! # Invariants
//! - Everything that flags can say, the file can say; a flag wins over the file.
//! - What is checked here is not checked again: `app` only wires.
//! - The development key serves loopback only.

use std::{
    net::{SocketAddr, ToSocketAddrs as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use mesh_core::token::{self, Keys};
use mesh_proto::AgentName;
use mesh_runtime::{
    directory::{self, MemberEntry, Roster},
    egress, net,
};
use serde::Deserialize;
use url::Url;

use crate::{
    admission, binding,
    catalogue::cards::{self, Cards},
    dispatch, gather,
    promise::extensions,
    upstream::{envelope, transcode},
    webhook,
};

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
    /// The agent at the root of the port. Unset: the only one, where there is one only.
    pub default_agent: Option<AgentName>,
    /// A TOML file with token keys and the slot secret. Unset: a built-in development key, refused
    /// where `listen` is off loopback. All routers of a mesh need the same.
    pub keys: Option<PathBuf>,
    /// A TOML file with the agents, watched: a change takes effect without a restart. Excludes
    /// `agent`. A file that is not there yet is waited for.
    pub members: Option<PathBuf>,
    /// The agents, where they never change.
    pub agent: Vec<directory::file::Agent>,
    /// Ports of single agents.
    pub listen_agent: Vec<ListenAgent>,
    /// Threads that carry calls. Default: one per core. Read by the process, not by the router.
    pub threads: Option<usize>,
    /// Seconds that calls may still take after SIGTERM. Default 30.
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
    /// Bounds of what is put into another dialect.
    pub transcode: transcode::Settings,
    /// Which extensions callers may use: `allow`, `deny`.
    pub extensions: extensions::Settings,
    /// Notifications of agents to webhooks: whose go through the relay, and where they may lead.
    pub push: webhook::Settings,
    /// Bounds of all calls together.
    pub admission: admission::Settings,
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

/// What the command line says, each over the file's word.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--config FILE`.
    pub config: Option<PathBuf>,
    /// `--listen HOST:PORT`.
    pub listen: Option<String>,
    /// `--admin HOST:PORT`.
    pub admin: Option<String>,
    /// `--agent NAME=URL[,URL...]`, each; together they replace the file's agents.
    pub agents: Vec<String>,
    /// `--members FILE`.
    pub members: Option<PathBuf>,
    /// `--default-agent NAME`.
    pub default_agent: Option<String>,
    /// `--listen-agent NAME=HOST:PORT`, each.
    pub listen_agents: Vec<String>,
    /// `--keys FILE`.
    pub keys: Option<PathBuf>,
    /// `--public-url URL`.
    pub public_url: Option<String>,
    /// `--relay-url URL`.
    pub relay_url: Option<String>,
    /// `--push-allow CIDR`, each beside the file's.
    pub push_allow: Vec<String>,
    /// `--threads N`.
    pub threads: Option<usize>,
}

/// Everything that a router needs, checked.
#[derive(Debug)]
pub struct Settings {
    /// The main port.
    pub listen: String,
    /// The admin port.
    pub admin: Option<String>,
    /// Ports of single agents.
    pub listen_agents: Vec<ListenAgent>,
    /// The agent at the root.
    pub default_agent: Option<AgentName>,
    /// Keys of tokens and slots.
    pub keys: Arc<Keys>,
    /// Where the agents come from.
    pub source: Source,
    /// Worker threads.
    pub threads: Option<usize>,
    /// How long a drain may take.
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
    /// See [`File::transcode`].
    pub transcode: transcode::Settings,
    /// See [`File::extensions`].
    pub extensions: extensions::Settings,
    /// See [`File::push`].
    pub push: webhook::Settings,
    /// See [`File::admission`].
    pub admission: admission::Settings,
}

/// Where the agents come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// Named once.
    Fixed(Roster),
    /// A watched file.
    Watched(PathBuf),
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
    #[error("no agent: give --agent NAME=URL[,URL...], --members FILE or a --config with either")]
    NoAgent,
    /// Two sources.
    #[error("agents come either from a watched members file or are given one by one, not both")]
    TwoSources,
    /// The agents don't make a roster.
    #[error("the agents are not usable")]
    Roster(#[source] directory::Error),
}

impl Flags {
    /// Reads the file, puts the flags over it and checks the whole.
    ///
    /// # Errors
    /// [`Error`], which names the flag or file.
    pub fn settle(self) -> Result<Settings, Error> {
        let file = match &self.config {
            Some(path) => File::read(path)?,
            None => File::default(),
        };
        let mut front = file.front;
        if let Some(url) = &self.public_url {
            front.public_url = Some(http_url("public-url", url)?);
        }
        let mut push = file.push;
        if let Some(url) = &self.relay_url {
            push.relay_url = Some(http_url("relay-url", url)?);
        }
        for given in &self.push_allow {
            push.allow.push(network(given)?);
        }
        let listen = self
            .listen
            .or(file.listen)
            .unwrap_or_else(|| LISTEN.to_owned());
        let mut listen_agents = file.listen_agent;
        for given in &self.listen_agents {
            listen_agents.push(listen_agent(given)?);
        }
        let keys = self.keys.or(file.keys);
        let keys = match keys {
            Some(path) => read_keys(&path)?,
            None => Keys::development(),
        };
        if keys.is_development() {
            let ports = listen_agents.iter().map(|each| &each.listen);
            if let Some(open) = std::iter::once(&listen)
                .chain(ports)
                .find(|at| !on_loopback(at))
            {
                return Err(Error::DevelopmentKey {
                    listen: open.clone(),
                });
            }
        }
        let default_agent = match &self.default_agent {
            Some(given) => Some(agent_name("default-agent", given)?),
            None => file.default_agent,
        };
        Ok(Settings {
            listen,
            admin: self.admin.or(file.admin),
            listen_agents,
            default_agent,
            keys: Arc::new(keys),
            source: source(&self.agents, self.members, file.agent, file.members)?,
            threads: self.threads.or(file.threads),
            grace: Duration::from_secs(file.drain_seconds.unwrap_or(30)),
            front,
            cards: Cards::open(file.cards)?,
            net: file.net,
            egress: file.egress,
            dispatch: file.dispatch,
            envelope: file.envelope,
            gather: file.gather,
            transcode: file.transcode,
            extensions: file.extensions,
            push,
            admission: file.admission,
        })
    }
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

fn source(
    flags: &[String],
    flag_members: Option<PathBuf>,
    file: Vec<directory::file::Agent>,
    file_members: Option<PathBuf>,
) -> Result<Source, Error> {
    let source = if flags.is_empty() && flag_members.is_none() {
        match file_members {
            Some(_) if !file.is_empty() => return Err(Error::TwoSources),
            Some(path) => Source::Watched(path),
            None if file.is_empty() => return Err(Error::NoAgent),
            None => {
                let format = directory::file::Format { agent: file };
                Source::Fixed(format.roster().map_err(Error::Roster)?)
            }
        }
    } else {
        match flag_members {
            Some(_) if !flags.is_empty() => return Err(Error::TwoSources),
            Some(path) => Source::Watched(path),
            None => {
                let agents = flags
                    .iter()
                    .map(|given| agent(given))
                    .collect::<Result<_, _>>()?;
                Source::Fixed(Roster { agents })
            }
        }
    };
    if let Source::Fixed(roster) = &source {
        roster.check().map_err(Error::Roster)?;
    }
    Ok(source)
}

fn agent(given: &str) -> Result<directory::AgentEntry, Error> {
    let wrong = |why: String| Error::Flag {
        flag: "agent",
        given: given.to_owned(),
        why,
    };
    let Some((name, urls)) = given.split_once('=') else {
        return Err(wrong("expected NAME=URL[,URL...]".to_owned()));
    };
    let name = agent_name("agent", name)?;
    let members = urls
        .split(',')
        .map(|url| MemberEntry::from_url(url.trim()).map_err(|error| wrong(error.to_string())))
        .collect::<Result<_, _>>()?;
    Ok(directory::AgentEntry { name, members })
}

fn listen_agent(given: &str) -> Result<ListenAgent, Error> {
    let Some((name, listen)) = given.split_once('=') else {
        let why = "expected NAME=HOST:PORT".to_owned();
        return Err(Error::Flag {
            flag: "listen-agent",
            given: given.to_owned(),
            why,
        });
    };
    Ok(ListenAgent {
        name: agent_name("listen-agent", name)?,
        listen: listen.to_owned(),
    })
}

fn agent_name(flag: &'static str, given: &str) -> Result<AgentName, Error> {
    AgentName::parse(given).map_err(|invalid| Error::Flag {
        flag,
        given: given.to_owned(),
        why: format!("the agent's name {invalid}"),
    })
}

fn network(given: &str) -> Result<ipnet::IpNet, Error> {
    given.parse().map_err(|_| Error::Flag {
        flag: "push-allow",
        given: given.to_owned(),
        why: "expected a network as 10.0.0.0/8".to_owned(),
    })
}

fn http_url(flag: &'static str, given: &str) -> Result<Url, Error> {
    Url::parse(given)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or_else(|| Error::Flag {
            flag,
            given: given.to_owned(),
            why: "expected an http or https URL".to_owned(),
        })
}

fn read_keys(path: &Path) -> Result<Keys, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })?;
    Keys::parse(&text).map_err(|source| Error::Keys {
        path: path.to_owned(),
        source,
    })
}

/// Whether every address that a listener would bind is this machine's own.
fn on_loopback(listen: &str) -> bool {
    match listen.to_socket_addrs() {
        Ok(mut addresses) => addresses.all(|address: SocketAddr| address.ip().is_loopback()),
        // What does not resolve does not bind either, and says so better.
        Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(agents: &[&str]) -> Flags {
        Flags {
            agents: agents.iter().map(|&each| each.to_owned()).collect(),
            ..Flags::default()
        }
    }

    #[test]
    fn an_agent_on_the_command_line_is_a_name_and_its_replicas() {
        let settings = flags(&["a=http://127.0.0.1:1/a,http://127.0.0.1:2/a"])
            .settle()
            .unwrap();
        let Source::Fixed(roster) = settings.source else {
            panic!("a fixed roster")
        };
        assert_eq!(roster.agents[0].name.as_str(), "a");
        assert_eq!(roster.agents[0].members.len(), 2);
        assert_eq!(
            roster.agents[0].members[1].id.as_str(),
            "http://127.0.0.1:2/a"
        );
    }

    #[test]
    fn wrong_flags_say_what_would_be_right() {
        for (given, why) in [
            ("a", "NAME=URL"),
            ("tasks=http://x", "reserved"),
            ("a b=http://x", "not allowed"),
            ("a=ftp://x", "http"),
        ] {
            let error = flags(&[given]).settle().unwrap_err().to_string();
            assert!(error.contains(why), "{given}: {error}");
        }
        assert!(matches!(Flags::default().settle(), Err(Error::NoAgent)));
    }

    #[test]
    fn the_development_key_is_refused_off_loopback() {
        let open = Flags {
            listen: Some("0.0.0.0:0".to_owned()),
            ..flags(&["a=http://127.0.0.1:1"])
        };
        assert!(matches!(open.settle(), Err(Error::DevelopmentKey { .. })));
    }

    #[test]
    fn the_example_file_is_read_whole() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/local/router.toml");
        let file = File::read(&path).unwrap();
        assert_eq!(file.agent.len(), 1);
    }
}
