//! A roster in a TOML file that is read again when it changes.
//!
//! The content is compared, not the time stamp: editors, `mv` and mounted config maps all differ in
//! what they do to the latter, and the file is small.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use mesh_proto::{
    AgentName,
    mesh::{WorkerId, WorkerState},
};
use prometheus_client::metrics::counter::Counter;
use tracing::{info, warn};

use super::{AgentEntry, Error, MemberEntry, Planned, Roster, Spec, parse_url, sight::Teller};
use crate::drain::Drain;

/// The `[[agent]]` tables of a file. Tables of other names belong to others and are left alone.
#[derive(Clone, Debug, Default, serde::Deserialize, serde::Serialize)]
pub struct Format {
    /// One table per agent.
    #[serde(default)]
    pub agent: Vec<Agent>,
}

/// One `[[agent]]` table: `urls` for the short form, `members` for the long, `sources` for members that
/// come and go, or all of them.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct Agent {
    /// The name in paths.
    pub name: AgentName,
    /// Base URLs of replicas; the text of each is the member's id, its weight 1.
    #[serde(default)]
    pub urls: Vec<String>,
    /// Replicas with more to say than a URL.
    #[serde(default)]
    pub members: Vec<Member>,
    /// Where replicas are found: `dns:`, `srv:`, `kube:`. Not in a watched file.
    #[serde(default)]
    pub sources: Vec<Spec>,
}

/// One entry of `members`.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// The stable name that decides its slots. Default: the URL as written.
    pub id: Option<String>,
    /// The base URL.
    pub url: String,
    /// The zone that it runs in. Default: unknown.
    pub zone: Option<String>,
    /// Its share relative to others, 0 to 8, default 1; 0 takes no new work.
    #[serde(default = "one")]
    pub weight: u8,
    /// `active` (the default), or `draining`: it finishes what it holds and takes nothing new.
    #[serde(default)]
    pub state: WorkerState,
}

const fn one() -> u8 {
    1
}

impl Format {
    /// Reads and checks a roster.
    ///
    /// # Errors
    /// [`Error`], naming what is wrong.
    pub fn parse(text: &str) -> Result<Roster, Error> {
        Self::roster(toml::from_str(text)?)
    }

    fn roster(self) -> Result<Roster, Error> {
        let agents = self.agent.into_iter().map(|agent| {
            let planned = Planned::try_from(agent)?;
            if !planned.sources.is_empty() {
                return Err(Error::SourceInMembers(planned.name));
            }
            let (name, members) = (planned.name, planned.members);
            Ok(AgentEntry { name, members })
        });
        let roster = Roster {
            agents: agents.collect::<Result<_, _>>()?,
        };
        roster.check()?;
        Ok(roster)
    }
}

impl TryFrom<Agent> for Planned {
    type Error = Error;

    fn try_from(agent: Agent) -> Result<Self, Error> {
        let short = agent.urls.iter().map(|url| MemberEntry::from_url(url));
        let long = agent.members.iter().map(|member| {
            Ok(MemberEntry {
                id: WorkerId::new(member.id.as_ref().unwrap_or(&member.url)),
                url: parse_url(&member.url)?,
                zone: member.zone.as_deref().map(Arc::from),
                weight: member.weight,
                state: member.state,
            })
        });
        Ok(Self {
            members: short.chain(long).collect::<Result<_, Error>>()?,
            name: agent.name,
            sources: agent.sources,
        })
    }
}

/// A file that is read again and again.
pub(super) struct Source {
    path: PathBuf,
    /// The content that was judged last; `None` while it can't be read.
    seen: Option<String>,
    /// Whether the content that was judged last is a roster.
    is_good: bool,
    refused: Counter,
    teller: Teller,
}

impl Source {
    /// Reads a file that is there; one that is not is waited for, since in a cluster it may be mounted
    /// after the process has started.
    ///
    /// # Errors
    /// [`Error`], when what is there is wrong: a mesh must not start from a broken file.
    pub(super) async fn open(
        path: PathBuf,
        refused: Counter,
        teller: Teller,
    ) -> Result<Self, Error> {
        let mut source = Self {
            path,
            seen: None,
            is_good: false,
            refused,
            teller,
        };
        if !source.path.exists() {
            info!(path = %source.path.display(), "the members file is not there yet; waiting for it");
            return Ok(source);
        }
        let text = read(&source.path).await?;
        let roster = Format::parse(&text)?;
        source.take(text, roster);
        Ok(source)
    }

    /// Reads it until the drain is signaled. Later faults are counted and logged once per content, and
    /// the last good roster stays.
    pub(super) async fn follow(mut self, every: Duration, drain: Drain) {
        let mut tick = tokio::time::interval(every.max(Duration::from_millis(1)));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let is_asked = tokio::select! {
                () = drain.signaled() => return,
                () = self.teller.asked() => true,
                _ = tick.tick() => false,
            };
            self.look(is_asked).await;
        }
    }

    async fn look(&mut self, is_asked: bool) {
        let text = match read(&self.path).await {
            Ok(text) => text,
            Err(error) => {
                // Once per outage, not four times a second.
                if self.seen.take().is_some() {
                    self.refuse(&error);
                }
                return;
            }
        };
        if self.seen.as_ref() == Some(&text) && !(is_asked && self.is_good) {
            if self.is_good {
                self.teller.touch.keep();
            }
            return;
        }
        match Format::parse(&text) {
            Ok(roster) => self.take(text, roster),
            Err(error) => {
                self.seen = Some(text);
                self.refuse(&error);
            }
        }
    }

    fn take(&mut self, text: String, roster: Roster) {
        self.seen = Some(text);
        self.is_good = true;
        self.teller.looked(roster);
    }

    fn refuse(&mut self, error: &Error) {
        self.is_good = false;
        self.refused.inc();
        let cause = std::error::Error::source(error).map(ToString::to_string);
        warn!(path = %self.path.display(), %error, cause, "roster refused, the last good one stays");
        self.teller.touch.lose(error);
    }
}

async fn read(path: &Path) -> Result<String, Error> {
    tokio::fs::read_to_string(path)
        .await
        .map_err(|source| Error::Read {
            path: path.to_owned(),
            source,
        })
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Directory, Metrics, Plan, Settings},
        *,
    };
    use crate::drain;

    const ONE: &str = r#"
        [[agent]]
        name = "assistant"
        urls = ["http://127.0.0.1:9001", "http://127.0.0.1:9002/base"]
    "#;

    #[test]
    fn both_forms_of_a_member_are_read() {
        let roster = Format::parse(
            r#"
            [[agent]]
            name = "a"
            urls = ["http://one:1"]
            members = [
                { id = "w2", url = "https://two", zone = "z", weight = 3, state = "draining" },
                { url = "http://three" },
            ]
        "#,
        )
        .unwrap();
        let members = &roster.agents[0].members;
        assert_eq!(members[0], MemberEntry::from_url("http://one:1").unwrap());
        assert_eq!(members[1].id, WorkerId::new("w2"));
        assert_eq!(members[1].zone.as_deref(), Some("z"));
        assert_eq!((members[1].weight, members[2].weight), (3, 1));
        let states = [members[1].state, members[2].state];
        assert_eq!(states, [WorkerState::Draining, WorkerState::Active]);
        assert_eq!(members[2].id, WorkerId::new("http://three"));
        assert!(Format::parse("[[agent]]\nname = 'a'\nurl = 'http://x'").is_err());
        let heavy = "[[agent]]\nname = 'a'\nmembers = [{ url = 'http://x', weight = 9 }]";
        let error = Format::parse(heavy).unwrap_err().to_string();
        assert!(error.contains("0 to 8"), "{error}");
        assert!(Format::parse("[[agent]]\nname = 'tasks'\nurls = ['http://x']").is_err());
    }

    #[test]
    fn a_members_file_names_no_sources() {
        let text = "[[agent]]\nname = 'a'\nsources = ['dns:x:80']";
        assert!(matches!(
            Format::parse(text),
            Err(Error::SourceInMembers(_))
        ));
        let error = Format::parse("[[agent]]\nname = 'a'\nsources = ['dns:x']").unwrap_err();
        assert!(matches!(error, Error::Toml(_)));
    }

    /// A file that is followed, and what is told of it.
    struct Followed {
        path: PathBuf,
        metrics: Metrics,
        directory: Directory,
        rosters: tokio::sync::watch::Receiver<Arc<Roster>>,
        _trigger: drain::Trigger,
    }

    async fn followed(path: PathBuf) -> Result<Followed, Error> {
        let (trigger, drain) = drain::channel();
        let settings = Settings {
            debounce: Duration::ZERO,
            second_sight: Duration::ZERO,
            file_every: Duration::from_millis(5),
            ..Settings::default()
        };
        let metrics = Metrics::default();
        let plan = Plan::Watched(path.clone());
        let directory = Directory::open(plan, &settings, &metrics, &drain).await?;
        Ok(Followed {
            path,
            metrics,
            rosters: directory.rosters(),
            directory,
            _trigger: trigger,
        })
    }

    impl Followed {
        async fn members(&mut self, wanted: usize) {
            let has = |roster: &Arc<Roster>| {
                roster
                    .agents
                    .iter()
                    .map(|each| each.members.len())
                    .sum::<usize>()
                    == wanted
            };
            self.rosters.wait_for(has).await.unwrap();
        }

        async fn refusals(&self, wanted: u64) {
            while self.metrics.refused.get() < wanted {
                tokio::task::yield_now().await;
            }
        }
    }

    #[tokio::test]
    async fn a_broken_or_emptied_file_leaves_the_last_good_roster() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agents.toml");
        std::fs::write(&path, "[[agent]").unwrap();
        assert!(followed(path.clone()).await.is_err());
        std::fs::write(&path, ONE).unwrap();
        let mut source = followed(path.clone()).await.unwrap();
        source.members(2).await;

        std::fs::write(&path, "[[agent]").unwrap();
        source.refusals(1).await;
        std::fs::write(&path, "").unwrap();
        source.refusals(2).await;
        std::fs::remove_file(&path).unwrap();
        source.refusals(3).await;
        source.members(2).await;

        let replaced = dir.path().join("next.toml");
        let rest = ONE.replace(", \"http://127.0.0.1:9002/base\"", "");
        std::fs::write(&replaced, rest).unwrap();
        std::fs::rename(&replaced, &path).unwrap();
        source.members(1).await;
        assert_eq!(source.metrics.refused.get(), 3);
    }

    #[tokio::test]
    async fn a_file_that_comes_late_is_waited_for_and_its_losses_are_seen_twice() {
        let dir = tempfile::tempdir().unwrap();
        let mut source = followed(dir.path().join("agents.toml")).await.unwrap();
        assert!(!source.directory.is_complete());
        std::fs::write(&source.path, ONE).unwrap();
        source.members(2).await;
        assert!(source.directory.is_complete());
        let other = ONE.replace("9001", "9003").replace("9002", "9004");
        std::fs::write(&source.path, other).unwrap();
        source.members(4).await;
        source.members(2).await;
        assert_eq!(source.metrics.held.get(), 1);
    }
}
