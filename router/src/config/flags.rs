//! The command line, put over the file and checked with it.
//!
//! # Invariants
//! - An error names the flag and says what would be right.

use std::{
    net::{SocketAddr, ToSocketAddrs as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use mesh_core::token::Keys;
use mesh_fabric::state::Place;
use mesh_proto::AgentName;
use mesh_runtime::directory::{self, Plan, Planned, Spec};
use url::Url;

use super::{AgentsFrom, Error, File, LISTEN, ListenAgent, Settings};
use crate::{
    catalogue::{cards::Cards, control},
    journal,
};

/// What the command line says, each over the file's word.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--config FILE`.
    pub config: Option<PathBuf>,
    /// `--listen HOST:PORT`.
    pub listen: Option<String>,
    /// `--admin HOST:PORT`.
    pub admin: Option<String>,
    /// `--takeover PATH`.
    pub takeover: Option<PathBuf>,
    /// `--agent NAME=URL|SOURCE[,...]`, each; with the next one they replace the file's agents.
    pub agents: Vec<String>,
    /// `--agents-from SOURCE=NAME[,NAME...]`, each.
    pub agents_from: Vec<String>,
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
    /// `--calls-to PLACE`.
    pub calls_to: Option<Place>,
    /// `--control-at PLACE`.
    pub control_at: Option<Place>,
    /// `--threads N`.
    pub threads: Option<usize>,
    /// `--zone NAME`.
    pub zone: Option<String>,
    /// `--kubeconfig FILE`.
    pub kubeconfig: Option<PathBuf>,
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
        let calls = journal::Settings {
            to: self.calls_to.or(file.calls.to),
        };
        let control = control::Settings {
            at: self.control_at.or(file.control.at),
        };
        let mut directory = file.directory;
        directory.kube.kubeconfig = self.kubeconfig.or(directory.kube.kubeconfig);
        let zone = self.zone.map(Arc::from).or(file.zone);
        let listen = self
            .listen
            .or(file.listen)
            .unwrap_or_else(|| LISTEN.to_owned());
        let mut listen_agents = file.listen_agent;
        for given in &self.listen_agents {
            listen_agents.push(listen_agent(given)?);
        }
        let keys = keys(self.keys.or(file.keys), &listen, &listen_agents)?;
        let default_agent = match &self.default_agent {
            Some(given) => Some(agent_name("default-agent", given)?),
            None => file.default_agent,
        };
        let of_flags = Named {
            agents: flag_agents(&self.agents, &self.agents_from)?,
            members: self.members,
        };
        let of_file = Named {
            agents: file_agents(file.agent, file.agents_from)?,
            members: file.members,
        };
        let plan = if of_flags.is_nothing() {
            of_file.plan()?
        } else {
            of_flags.plan()?
        };
        Ok(Settings {
            listen,
            admin: self.admin.or(file.admin),
            takeover: self.takeover.or(file.takeover),
            listen_agents,
            default_agent,
            keys: Arc::new(keys),
            plan,
            directory,
            zone: zone.filter(|zone| !zone.is_empty()),
            threads: self.threads.or(file.threads),
            announce: Duration::from_secs(file.announce_seconds.unwrap_or(0)),
            grace: Duration::from_secs(file.drain_seconds.unwrap_or(30)),
            front,
            cards: Cards::open(file.cards)?,
            net: file.net,
            egress: file.egress,
            dispatch: file.dispatch,
            envelope: file.envelope,
            gather: file.gather,
            stream: file.stream,
            transcode: file.transcode,
            extensions: file.extensions,
            push,
            admission: file.admission,
            calls,
            control,
        })
    }
}

/// The keys of a file; else the development key, which serves loopback only.
///
/// # Errors
/// [`Error`], for a file that can't be read, and for the development key off loopback.
pub fn keys_for(path: Option<PathBuf>, listen: &str) -> Result<Keys, Error> {
    keys(path, &listen.to_owned(), &[])
}

fn keys(
    path: Option<PathBuf>,
    listen: &String,
    listen_agents: &[ListenAgent],
) -> Result<Keys, Error> {
    if let Some(path) = path {
        let keys = read_keys(&path)?;
        if !keys.is_development() {
            return Ok(keys);
        }
    }
    let ports = listen_agents.iter().map(|each| &each.listen);
    let open = std::iter::once(listen)
        .chain(ports)
        .find(|at| !on_loopback(at));
    match open {
        Some(open) => Err(Error::DevelopmentKey {
            listen: open.clone(),
        }),
        None => Ok(Keys::development()),
    }
}

/// The agents of one place: the command line, or the file.
struct Named {
    agents: Vec<Planned>,
    members: Option<PathBuf>,
}

impl Named {
    const fn is_nothing(&self) -> bool {
        self.agents.is_empty() && self.members.is_none()
    }

    fn plan(self) -> Result<Plan, Error> {
        let plan = match self.members {
            Some(_) if !self.agents.is_empty() => return Err(Error::TwoSources),
            Some(path) => Plan::Watched(path),
            None if self.agents.is_empty() => return Err(Error::NoAgent),
            None => Plan::Agents(self.agents),
        };
        plan.check().map_err(Error::Roster)?;
        Ok(plan)
    }
}

fn flag_agents(agents: &[String], agents_from: &[String]) -> Result<Vec<Planned>, Error> {
    let one_by_one = agents.iter().map(|given| agent(given));
    let mut agents = one_by_one.collect::<Result<Vec<_>, _>>()?;
    for given in agents_from {
        let (source, names) = together(given)?;
        for name in names {
            let name = agent_name("agents-from", name.trim())?;
            share(&mut agents, name, &source);
        }
    }
    Ok(agents)
}

fn file_agents(
    agents: Vec<directory::file::Agent>,
    agents_from: Vec<AgentsFrom>,
) -> Result<Vec<Planned>, Error> {
    let one_by_one = agents.into_iter().map(Planned::try_from);
    let mut agents: Vec<_> = one_by_one
        .collect::<Result<_, _>>()
        .map_err(Error::Roster)?;
    for from in agents_from {
        for name in from.names {
            share(&mut agents, name, &from.source);
        }
    }
    Ok(agents)
}

/// Adds a source below whose path each agent is served by its name.
fn share(agents: &mut Vec<Planned>, name: AgentName, source: &Spec) {
    let source = source.below(name.as_str());
    match agents.iter_mut().find(|agent| agent.name == name) {
        Some(known) => known.sources.push(source),
        None => agents.push(Planned {
            sources: vec![source],
            ..Planned::new(name)
        }),
    }
}

fn agent(given: &str) -> Result<Planned, Error> {
    let wrong = |why: String| Error::Flag {
        flag: "agent",
        given: given.to_owned(),
        why,
    };
    let Some((name, from)) = given.split_once('=') else {
        let why = "expected NAME=URL[,URL...] or NAME=SOURCE, as in assistant=kube:daca/workers:http/assistant";
        return Err(wrong(why.to_owned()));
    };
    let mut planned = Planned::new(agent_name("agent", name)?);
    for text in from.split(',') {
        let added = planned.add(text.trim());
        added.map_err(|error| wrong(error.to_string()))?;
    }
    Ok(planned)
}

/// A source and the names of the agents that come from it.
fn together(given: &str) -> Result<(Spec, std::str::Split<'_, char>), Error> {
    let wrong = |why: String| Error::Flag {
        flag: "agents-from",
        given: given.to_owned(),
        why,
    };
    let Some((source, names)) = given.split_once('=') else {
        let why = "expected SOURCE=NAME[,NAME...], as in kube:daca/workers:http=assistant,planner";
        return Err(wrong(why.to_owned()));
    };
    let source = Spec::parse(source).map_err(|error| wrong(error.to_string()))?;
    Ok((source, names.split(',')))
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
        let Plan::Agents(agents) = settings.plan else {
            panic!("agents that are named")
        };
        assert_eq!(agents[0].name.as_str(), "a");
        assert_eq!(agents[0].members.len(), 2);
        assert_eq!(agents[0].members[1].id.as_str(), "http://127.0.0.1:2/a");
    }

    #[test]
    fn agents_come_from_sources_one_by_one_or_together() {
        let given = Flags {
            agents_from: vec!["kube:daca/workers:http=planner,desk".to_owned()],
            zone: Some("z1".to_owned()),
            ..flags(&["assistant=kube:daca/workers:http/assistant,http://127.0.0.1:1"])
        };
        let settings = given.settle().unwrap();
        assert_eq!(settings.zone.as_deref(), Some("z1"));
        let Plan::Agents(agents) = settings.plan else {
            panic!("agents that are named")
        };
        let sources: Vec<_> = agents
            .iter()
            .map(|agent| agent.sources[0].to_string())
            .collect();
        let base = "kube:daca/workers:http";
        let wanted = ["assistant", "planner", "desk"].map(|name| format!("{base}/{name}"));
        assert_eq!(sources, wanted);
        assert_eq!(agents[0].members.len(), 1);
    }

    #[test]
    fn wrong_flags_say_what_would_be_right() {
        for (given, why) in [
            ("a", "NAME=URL"),
            ("tasks=http://x", "reserved"),
            ("a b=http://x", "not allowed"),
            ("a=ftp://x", "http"),
            ("a=dns:workers", "port is missing"),
            (
                "a=kube:daca/workers:http/a,kube:daca/workers:http/b",
                "twice",
            ),
        ] {
            let error = flags(&[given]).settle().unwrap_err();
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            let error = format!("{error}: {cause:?}");
            assert!(error.contains(why), "{given}: {error}");
        }
        assert!(matches!(Flags::default().settle(), Err(Error::NoAgent)));
        for (given, why) in [
            ("kube:daca/workers", "SOURCE=NAME"),
            ("kube:daca=a", "service is missing"),
            ("http://x=a", "dns:, srv: or kube:"),
            ("dns:x:1=tasks", "reserved"),
        ] {
            let given = Flags {
                agents_from: vec![given.to_owned()],
                ..Flags::default()
            };
            let error = given.settle().unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn the_development_key_is_refused_off_loopback() {
        let open = Flags {
            listen: Some("0.0.0.0:0".to_owned()),
            ..flags(&["a=http://127.0.0.1:1"])
        };
        assert!(matches!(open.settle(), Err(Error::DevelopmentKey { .. })));
    }
}
