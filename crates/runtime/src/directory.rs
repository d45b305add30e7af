//! Who is in the mesh: rosters from outside sources, read and never agreed upon.
//!
//! A [`Plan`] says where each agent's members come from: named once, from a watched file ([`mod@file`]),
//! from DNS (`dns`), from the EndpointSlices of Kubernetes (`kube`). [`Directory`] follows them all. A
//! source tells what it sees (`sight`), a judge decides what of that is believed (`steady`), and what is
//! believed of all sources makes one [`Roster`].
//!
//! # Invariants
//! - A roster that was good once is kept until a better one comes: an unreadable or emptied source
//!   never empties the mesh.
//! - The receiver of rosters never closes before the drain is signaled; `changed()` simply stays pending.
//! - Agents that differ only in path and scheme share one watch.

use std::{collections::BTreeSet, sync::Arc};

use mesh_core::slots::WEIGHT_MAX;
use mesh_proto::{
    AgentName,
    mesh::{WorkerId, WorkerState},
};
use parking_lot::Mutex;
use tokio::sync::watch;
use url::Url;

use crate::{drain::Drain, sidecar::App};

mod dns;
pub mod file;
#[cfg(feature = "kubernetes")]
mod kube;
mod metrics;
mod plan;
pub mod settings;
mod sight;
mod spec;
mod steady;

pub use metrics::Metrics;
pub use plan::{Plan, Planned};
pub use settings::Settings;
pub use spec::{Feed, Port, Spec, Unreadable};

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
    /// Its share relative to others, up to [`WEIGHT_MAX`]; 0 takes no new work.
    pub weight: u8,
    /// Whether it takes new work, as far as the source knows.
    pub state: WorkerState,
}

impl MemberEntry {
    /// A member as a command line names it: the URL as written is its id, its weight 1.
    ///
    /// # Errors
    /// [`Error::Url`], when it is no http or https URL, and no app of a Dapr sidecar.
    pub fn from_url(text: &str) -> Result<Self, Error> {
        Ok(Self {
            id: WorkerId::new(text),
            url: parse_url(text)?,
            zone: None,
            weight: 1,
            state: WorkerState::Active,
        })
    }
}

impl Roster {
    /// Refuses what no router could serve.
    ///
    /// # Errors
    /// [`Error`]: no agent, an agent without members, a name or an id given twice, a weight too high.
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
                let id = member.id.clone();
                if !ids.insert(&member.id) {
                    let agent = agent.name.clone();
                    return Err(Error::MemberTwice { agent, id });
                }
                if member.weight > WEIGHT_MAX {
                    let weight = member.weight;
                    return Err(Error::Weight { id, weight });
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
    /// A share beyond what a table can give.
    #[error("member {id} has weight {weight}; a weight is 0 to {WEIGHT_MAX}")]
    Weight {
        /// The member.
        id: WorkerId,
        /// What was given.
        weight: u8,
    },
    /// Something else than a URL of those.
    #[error("{0:?} is not an http or https URL, nor dapr://APP-ID")]
    Url(String),
    /// Something that is neither a URL nor a source.
    #[error(transparent)]
    Source(#[from] Unreadable),
    /// A source that is to give the same agent members twice.
    #[error("agent {agent} has its members from {feed} twice")]
    SourceTwice {
        /// The agent.
        agent: AgentName,
        /// What is watched.
        feed: Feed,
    },
    /// Sources in a file that is watched itself.
    #[error("agent {0} has sources; they belong in the configuration, not in a members file")]
    SourceInMembers(AgentName),
    /// The system's DNS configuration can't be used.
    #[error("can't look names up: {0}")]
    Resolver(String),
    /// There is no way to an API server.
    #[error("no Kubernetes API server is known ({0}); give --kubeconfig FILE")]
    Kubeconfig(String),
    /// This program was built without it.
    #[error("{0} needs a program that is built with the feature `kubernetes`")]
    WithoutKubernetes(Feed),
}

/// All sources of a process, followed.
#[derive(Debug)]
pub struct Directory {
    rosters: watch::Receiver<Arc<Roster>>,
    board: Arc<Board>,
}

/// What is believed of each source.
#[derive(Debug)]
struct Board {
    fixed: Roster,
    /// By the sources' places in the plan; `None` before the first sight.
    parts: Mutex<Vec<Option<Arc<Roster>>>>,
    sender: watch::Sender<Arc<Roster>>,
}

impl Directory {
    /// Begins to follow the sources. They need not be there yet: [`Directory::is_complete`].
    ///
    /// # Errors
    /// [`Error`], where a source can't ever be followed as it is told, or a file that is there is wrong.
    pub async fn open(
        plan: Plan,
        settings: &Settings,
        metrics: &Metrics,
        drain: &Drain,
    ) -> Result<Self, Error> {
        plan.check()?;
        let told = match &plan {
            Plan::Told(rosters) => Some(rosters.clone()),
            Plan::Agents(_) | Plan::Watched(_) => None,
        };
        let (fixed, sources) = plan.sources();
        let board = Board::new(fixed, sources.len());
        let directory = Self {
            rosters: told.unwrap_or_else(|| board.sender.subscribe()),
            board: Arc::new(board),
        };
        let following = sources.start(settings, metrics, drain).await?;
        for (place, sights) in following.into_iter().enumerate() {
            let board = Arc::clone(&directory.board);
            let take = move |roster| board.put(place, roster);
            let (settings, metrics) = (settings.clone(), metrics.clone());
            let judging = steady::follow(sights, settings, metrics, take, drain.clone());
            drain.spawn("directory", judging);
        }
        let (board, until) = (Arc::clone(&directory.board), drain.clone());
        // Holds the sending end, so that a waiting receiver stays pending instead of spinning on "closed".
        drain.spawn("directory", async move {
            until.signaled().await;
            drop(board);
        });
        Ok(directory)
    }

    /// The roster of all sources together, as it is and as it becomes. An agent whose source has not
    /// been seen yet is in it without members.
    #[must_use]
    pub fn rosters(&self) -> watch::Receiver<Arc<Roster>> {
        self.rosters.clone()
    }

    /// Whether each source has been seen once.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.board.parts.lock().iter().all(Option::is_some)
    }
}

impl Board {
    fn new(fixed: Roster, sources: usize) -> Self {
        let (sender, _) = watch::channel(Arc::new(fixed.clone()));
        let parts = Mutex::new(vec![None; sources]);
        Self {
            fixed,
            parts,
            sender,
        }
    }

    /// Takes over what is believed of one source.
    fn put(&self, place: usize, roster: Arc<Roster>) {
        let mut parts = self.parts.lock();
        if let Some(part) = parts.get_mut(place) {
            *part = Some(roster);
        }
        // Sent under the lock, so that the latest parts make the latest roster.
        let all = self.together(&parts);
        self.sender.send_if_modified(|current| {
            let differs = **current != all;
            if differs {
                *current = Arc::new(all);
            }
            differs
        });
    }

    /// The fixed members first, then those of each source; of two members of one name the first.
    fn together(&self, parts: &[Option<Arc<Roster>>]) -> Roster {
        let mut all = self.fixed.clone();
        for entry in parts.iter().flatten().flat_map(|part| &part.agents) {
            let Some(known) = all.agents.iter_mut().find(|each| each.name == entry.name) else {
                all.agents.push(entry.clone());
                continue;
            };
            for member in &entry.members {
                if known.members.iter().all(|each| each.id != member.id) {
                    known.members.push(member.clone());
                }
            }
        }
        all
    }
}

fn parse_url(text: &str) -> Result<Url, Error> {
    Url::parse(text)
        .ok()
        .filter(|url| match url.scheme() {
            "http" | "https" => url.has_host(),
            _ => App::of(url).is_some(),
        })
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
        assert!(MemberEntry::from_url("dapr://desk/x").is_ok());
        assert!(MemberEntry::from_url("dapr://desk:80").is_err());
        assert!(MemberEntry::from_url("localhost:80").is_err());
    }

    #[tokio::test]
    async fn a_fixed_roster_is_complete_and_stays_open_until_the_drain() {
        let (trigger, drain) = crate::drain::channel();
        let plan = Plan::fixed(Roster {
            agents: vec![agent("a", &["http://x:1"])],
        });
        let metrics = Metrics::default();
        let directory = Directory::open(plan, &Settings::default(), &metrics, &drain).await;
        let directory = directory.unwrap();
        assert!(directory.is_complete());
        let mut rosters = directory.rosters();
        drop(directory);
        assert_eq!(rosters.borrow_and_update().agents.len(), 1);
        assert!(!rosters.has_changed().unwrap());
        trigger.signal();
        assert!(rosters.changed().await.is_err());
    }

    #[test]
    fn a_roster_is_made_of_all_sources_and_of_two_namesakes_the_first_counts() {
        let fixed = Roster {
            agents: vec![agent("a", &["http://x:1"]), agent("b", &[])],
        };
        let board = Board::new(fixed, 2);
        let part = |agents| Arc::new(Roster { agents });
        let mut other = agent("b", &["http://y:2"]);
        other.members[0].weight = 5;
        board.put(
            1,
            part(vec![agent("a", &["http://x:1", "http://x:3"]), other]),
        );
        assert!(board.parts.lock()[0].is_none());
        board.put(0, part(vec![agent("b", &["http://y:2"])]));
        let wanted = vec![
            agent("a", &["http://x:1", "http://x:3"]),
            agent("b", &["http://y:2"]),
        ];
        assert_eq!(board.sender.borrow().agents, wanted);
    }
}
