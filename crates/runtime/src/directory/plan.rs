//! Which agents there are, and where the members of each come from.
//!
//! # Invariants
//! - Either a watched file says all of it, or the plan names every agent.
//! - What is watched is watched once, however many agents share it.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

use mesh_proto::AgentName;
use tokio::sync::watch;

use super::{
    AgentEntry, Error, Feed, MemberEntry, Metrics, Roster, Settings, Spec, dns, file,
    sight::{self, Share, Sights},
};
use crate::drain::Drain;

/// See the module.
#[derive(Clone, Debug)]
pub enum Plan {
    /// Named one by one.
    Agents(Vec<Planned>),
    /// Whatever a watched file says. It need not be there yet.
    Watched(PathBuf),
    /// Whatever the process itself says that runs the router: taken as it comes, without a judge.
    Told(watch::Receiver<Arc<Roster>>),
}

/// One agent of a plan.
#[derive(Clone, Debug)]
pub struct Planned {
    /// Its name in paths.
    pub name: AgentName,
    /// Members that never change.
    pub members: Vec<MemberEntry>,
    /// Where others come from.
    pub sources: Vec<Spec>,
}

impl Planned {
    /// An agent of which only the name is known.
    #[must_use]
    pub const fn new(name: AgentName) -> Self {
        Self {
            name,
            members: Vec::new(),
            sources: Vec::new(),
        }
    }

    /// Adds a member's URL or a source.
    ///
    /// # Errors
    /// [`Error`], when it is neither.
    pub fn add(&mut self, text: &str) -> Result<(), Error> {
        if Spec::is_meant(text) {
            self.sources.push(Spec::parse(text)?);
        } else {
            self.members.push(MemberEntry::from_url(text)?);
        }
        Ok(())
    }
}

impl Plan {
    /// A roster that never changes.
    #[must_use]
    pub fn fixed(roster: Roster) -> Self {
        let planned = roster.agents.into_iter().map(|agent| Planned {
            name: agent.name,
            members: agent.members,
            sources: Vec::new(),
        });
        Self::Agents(planned.collect())
    }

    /// Refuses what no router could serve.
    ///
    /// # Errors
    /// [`Error`]: no agent, one without members and sources, a name, an id or a source given twice.
    pub fn check(&self) -> Result<(), Error> {
        let Self::Agents(planned) = self else {
            return Ok(());
        };
        let (mut fixed, mut named) = (Roster::default(), BTreeSet::new());
        for agent in planned {
            if !named.insert(&agent.name) {
                return Err(Error::AgentTwice(agent.name.clone()));
            }
            let mut feeds = BTreeSet::new();
            if let Some(twice) = agent.sources.iter().find(|each| !feeds.insert(&each.feed)) {
                let (agent, feed) = (agent.name.clone(), twice.feed.clone());
                return Err(Error::SourceTwice { agent, feed });
            }
            if agent.sources.is_empty() || !agent.members.is_empty() {
                let (name, members) = (agent.name.clone(), agent.members.clone());
                fixed.agents.push(AgentEntry { name, members });
            }
        }
        if fixed.agents.is_empty() && !planned.is_empty() {
            return Ok(());
        }
        fixed.check()
    }

    /// What never changes, every agent named, and what is to be followed.
    pub(super) fn sources(self) -> (Roster, Sources) {
        let mut sources = Sources::default();
        let planned = match self {
            Self::Agents(planned) => planned,
            Self::Watched(path) => {
                sources.file = Some(path);
                return (Roster::default(), sources);
            }
            Self::Told(roster) => return (roster.borrow().as_ref().clone(), sources),
        };
        let mut fixed = Roster::default();
        for agent in planned {
            for source in agent.sources {
                sources.add(&agent.name, source);
            }
            let (name, members) = (agent.name, agent.members);
            fixed.agents.push(AgentEntry { name, members });
        }
        (fixed, sources)
    }
}

/// What is to be followed: each feed with those who share it.
#[derive(Debug, Default)]
pub(super) struct Sources {
    file: Option<PathBuf>,
    feeds: Vec<(Feed, Vec<Share>)>,
}

impl Sources {
    fn add(&mut self, agent: &AgentName, source: Spec) {
        let share = Share {
            agent: agent.clone(),
            is_https: source.is_https,
            path: source.path,
        };
        match self.feeds.iter_mut().find(|each| each.0 == source.feed) {
            Some((_, shares)) => shares.push(share),
            None => self.feeds.push((source.feed, vec![share])),
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        usize::from(self.file.is_some()) + self.feeds.len()
    }

    /// Starts every source.
    ///
    /// # Errors
    /// [`Error`], where one can't ever be followed.
    pub(super) async fn start(
        self,
        settings: &Settings,
        metrics: &Metrics,
        drain: &Drain,
    ) -> Result<Vec<Sights>, Error> {
        let mut all = Vec::with_capacity(self.len());
        if let Some(path) = self.file {
            let touch = metrics.touch(format!("file:{}", path.display()));
            let (teller, sights) = sight::channel(touch);
            let refused = metrics.refused.clone();
            let source = file::Source::open(path, refused, teller).await?;
            drain.spawn(
                "directory",
                source.follow(settings.file_every, drain.clone()),
            );
            all.push(sights);
        }
        let mut ways = Ways::default();
        for (feed, shares) in self.feeds {
            let (teller, sights) = sight::channel(metrics.touch(feed.to_string()));
            ways.start(feed, shares, teller, (settings, drain)).await?;
            all.push(sights);
        }
        Ok(all)
    }
}

/// What sources of one kind share, made when the first one needs it.
#[derive(Default)]
struct Ways {
    resolver: Option<hickory_resolver::TokioResolver>,
    #[cfg(feature = "kubernetes")]
    server: Option<super::kube::Server>,
}

impl Ways {
    async fn start(
        &mut self,
        feed: Feed,
        shares: Vec<Share>,
        teller: sight::Teller,
        (settings, drain): (&Settings, &Drain),
    ) -> Result<(), Error> {
        match &feed {
            Feed::Dns { .. } | Feed::Srv { .. } => {
                let resolver = match &self.resolver {
                    Some(known) => known.clone(),
                    None => self.resolver.insert(dns::resolver(&settings.dns)?).clone(),
                };
                let source = dns::Source::new(resolver, settings.dns.clone(), feed, shares, teller);
                drain.spawn("directory", source.follow(drain.clone()));
                Ok(())
            }
            #[cfg(feature = "kubernetes")]
            Feed::Kube {
                namespace,
                service,
                port,
            } => {
                let server = match &self.server {
                    Some(known) => known.clone(),
                    None => {
                        // Reading a kubeconfig takes much room on the stack, for a moment.
                        let found = Box::pin(super::kube::Server::find(&settings.kube));
                        self.server.insert(found.await?).clone()
                    }
                };
                let at = (&**namespace, &**service, port.clone());
                let source = super::kube::Source::new(&server, &settings.kube, at, shares, teller)?;
                drain.spawn("directory", source.follow(drain.clone()));
                Ok(())
            }
            #[cfg(not(feature = "kubernetes"))]
            Feed::Kube { .. } => {
                drop((shares, teller));
                Err(Error::WithoutKubernetes(feed))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(name: &str, from: &[&str]) -> Planned {
        let mut planned = Planned::new(AgentName::parse(name).unwrap());
        for text in from {
            planned.add(text).unwrap();
        }
        planned
    }

    #[test]
    fn agents_that_differ_in_path_and_scheme_share_one_watch() {
        let plan = Plan::Agents(vec![
            planned("a", &["kube:daca/workers:http/a", "http://x:1"]),
            planned("b", &["kube+https:daca/workers:http/b"]),
            planned("c", &["kube:daca/workers:http", "dns:c.example:80"]),
        ]);
        plan.check().unwrap();
        let (fixed, sources) = plan.sources();
        let members: Vec<_> = fixed.agents.iter().map(|each| each.members.len()).collect();
        assert_eq!(members, [1, 0, 0]);
        let shares: Vec<_> = sources.feeds.iter().map(|each| each.1.len()).collect();
        assert_eq!(shares, [3, 1]);
    }

    #[test]
    fn a_plan_that_cannot_be_served_is_refused() {
        let check = |agents| Plan::Agents(agents).check();
        assert!(matches!(check(vec![]), Err(Error::Empty)));
        let nothing = planned("a", &[]);
        assert!(matches!(check(vec![nothing]), Err(Error::NoMember(_))));
        let twice = vec![planned("a", &["dns:x:1"]), planned("a", &["http://x"])];
        assert!(matches!(check(twice), Err(Error::AgentTwice(_))));
        let same = vec![planned("a", &["dns:x:1/p", "dns:x:1/q"])];
        assert!(matches!(check(same), Err(Error::SourceTwice { .. })));
        let ids = vec![planned("a", &["http://x", "http://x"])];
        assert!(matches!(check(ids), Err(Error::MemberTwice { .. })));
        assert!(check(vec![planned("a", &["dns:x:1"])]).is_ok());
        let mut agent = planned("a", &[]);
        assert!(agent.add("consul:x").is_err());
        assert!(agent.add("dns:x").is_err());
    }
}
