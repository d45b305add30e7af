//! Who is in the mesh: rosters from outside sources, read and never agreed upon.
//!
//! A source gives a [`watch::Receiver`] that always holds the last good [`Roster`].
//!
//! # Invariants
//! - A roster that was good once is kept until a better one comes: an unreadable or emptied source
//!   never empties the mesh.
//! - The receiver never closes before the drain is signaled; `changed()` simply stays pending.

use std::{collections::BTreeSet, sync::Arc};

use mesh_proto::{AgentName, mesh::WorkerId};
use prometheus_client::{metrics::counter::Counter, registry::Registry};
use tokio::sync::watch;
use url::Url;

use crate::drain::Drain;

pub mod file;
pub use file::file;

/// All agents and where each is served.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Roster {
    /// In the order of the source.
    pub agents: Vec<AgentEntry>,
}

/// One agent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AgentEntry {
    /// Its name in paths.
    pub name: AgentName,
    /// Its replicas.
    pub members: Vec<MemberEntry>,
}

/// One replica of an agent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MemberEntry {
    /// The stable name that decides its slots.
    pub id: WorkerId,
    /// Its base URL.
    pub url: Url,
    /// The zone that it runs in, where known.
    pub zone: Option<Arc<str>>,
    /// Its share relative to others; 0 takes no new work.
    pub weight: u8,
}

impl MemberEntry {
    /// A member as a command line names it: the URL as written is its id, its weight 1.
    ///
    /// # Errors
    /// [`Error::Url`], when it is no http or https URL.
    pub fn from_url(text: &str) -> Result<Self, Error> {
        Ok(Self {
            id: WorkerId::new(text),
            url: parse_url(text)?,
            zone: None,
            weight: 1,
        })
    }
}

impl Roster {
    /// Refuses what no router could serve.
    ///
    /// # Errors
    /// [`Error`]: no agent, an agent without members, a name or an id given twice.
    pub fn check(&self) -> Result<(), Error> {
        if self.agents.is_empty() {
            return Err(Error::Empty);
        }
        let mut names = BTreeSet::new();
        for agent in &self.agents {
            if !names.insert(&agent.name) {
                return Err(Error::AgentTwice(agent.name.clone()));
            }
            if agent.members.is_empty() {
                return Err(Error::NoMember(agent.name.clone()));
            }
            let mut ids = BTreeSet::new();
            for member in &agent.members {
                if !ids.insert(&member.id) {
                    return Err(Error::MemberTwice {
                        agent: agent.name.clone(),
                        id: member.id.clone(),
                    });
                }
            }
        }
        Ok(())
    }
}

/// What is wrong with a roster.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: std::path::PathBuf,
        /// What the operating system says.
        #[source]
        source: std::io::Error,
    },
    /// The file is no roster in TOML.
    #[error("not a list of agents")]
    Toml(#[from] toml::de::Error),
    /// There is no agent in it.
    #[error("no agent is named")]
    Empty,
    /// An agent without a member.
    #[error("agent {0} has no members")]
    NoMember(AgentName),
    /// An agent named twice.
    #[error("agent {0} is named twice")]
    AgentTwice(AgentName),
    /// A member named twice in one agent.
    #[error("agent {agent} names member {id} twice")]
    MemberTwice {
        /// The agent.
        agent: AgentName,
        /// The member.
        id: WorkerId,
    },
    /// Something else than an http or https URL.
    #[error("{0:?} is not an http or https URL")]
    Url(String),
}

/// What the sources of a process count.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    updates: Counter,
    refused: Counter,
}

impl Metrics {
    /// Registers the series, at zero.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "mesh_directory_updates",
            "Rosters taken over from a source, the first included",
            metrics.updates.clone(),
        );
        registry.register(
            "mesh_directory_refused",
            "Rosters refused as unreadable, wrong or empty; the last good one stays",
            metrics.refused.clone(),
        );
        metrics
    }
}

/// A roster that never changes.
#[must_use]
pub fn fixed(roster: Roster, drain: &Drain) -> watch::Receiver<Arc<Roster>> {
    let (sender, receiver) = watch::channel(Arc::new(roster));
    let until = drain.clone();
    // Holds the sending end, so that a waiting receiver stays pending instead of spinning on "closed".
    drain.spawn("directory", async move {
        until.signaled().await;
        drop(sender);
    });
    receiver
}

fn parse_url(text: &str) -> Result<Url, Error> {
    Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or_else(|| Error::Url(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(name: &str, urls: &[&str]) -> AgentEntry {
        AgentEntry {
            name: AgentName::parse(name).unwrap(),
            members: urls
                .iter()
                .map(|url| MemberEntry::from_url(url).unwrap())
                .collect(),
        }
    }

    #[test]
    fn a_roster_that_cannot_be_served_is_refused() {
        let check = |agents| Roster { agents }.check();
        assert!(check(vec![agent("a", &["http://x:1"])]).is_ok());
        assert!(matches!(check(vec![]), Err(Error::Empty)));
        assert!(matches!(
            check(vec![agent("a", &[])]),
            Err(Error::NoMember(_))
        ));
        let twice = vec![agent("a", &["http://x"]), agent("a", &["http://y"])];
        assert!(matches!(check(twice), Err(Error::AgentTwice(_))));
        let same = vec![agent("a", &["http://x", "http://x"])];
        assert!(matches!(check(same), Err(Error::MemberTwice { .. })));
        assert!(MemberEntry::from_url("ftp://x").is_err());
        assert!(MemberEntry::from_url("localhost:80").is_err());
    }

    #[tokio::test]
    async fn a_fixed_roster_stays_open_until_the_drain() {
        let (trigger, drain) = crate::drain::channel();
        let mut receiver = fixed(Roster::default(), &drain);
        assert!(receiver.has_changed().is_ok());
        trigger.signal();
        assert!(receiver.changed().await.is_err());
    }
}
