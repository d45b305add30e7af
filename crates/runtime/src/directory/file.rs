//! A roster in a TOML file that is read again when it changes.
//!
//! The content is compared, not the time stamp: editors, `mv` and mounted config maps all differ in
//! what they do to the latter, and the file is small.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use mesh_proto::{AgentName, mesh::WorkerId};
use tokio::sync::watch;
use tracing::{info, warn};

use super::{AgentEntry, Error, MemberEntry, Metrics, Roster, parse_url};
use crate::drain::Drain;

/// The `[[agent]]` tables of a file. Tables of other names belong to others and are left alone.
#[derive(Clone, Debug, Default, serde::Deserialize, serde::Serialize)]
pub struct Format {
    /// One table per agent.
    #[serde(default)]
    pub agent: Vec<Agent>,
}

/// One `[[agent]]` table: `urls` for the short form, `members` for the long, or both.
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
    /// Its share relative to others, default 1; 0 takes no new work.
    #[serde(default = "one")]
    pub weight: u8,
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

    /// Checks tables that were read as part of something bigger.
    ///
    /// # Errors
    /// [`Error`], naming what is wrong.
    pub fn roster(self) -> Result<Roster, Error> {
        let agents = self.agent.into_iter().map(entry);
        let roster = Roster {
            agents: agents.collect::<Result<_, _>>()?,
        };
        roster.check()?;
        Ok(roster)
    }
}

fn entry(agent: Agent) -> Result<AgentEntry, Error> {
    let short = agent.urls.iter().map(|url| MemberEntry::from_url(url));
    let long = agent.members.iter().map(|member| {
        Ok(MemberEntry {
            id: WorkerId::new(member.id.as_ref().unwrap_or(&member.url)),
            url: parse_url(&member.url)?,
            zone: member.zone.as_deref().map(Arc::from),
            weight: member.weight,
        })
    });
    Ok(AgentEntry {
        members: short.chain(long).collect::<Result<_, Error>>()?,
        name: agent.name,
    })
}

/// Reads `path` now, and again `every` so often until the drain is signaled.
///
/// Later faults are counted and logged once per content, and the last good roster stays.
///
/// # Errors
/// [`Error`], when the first reading fails: a mesh must not start from a broken file.
pub async fn file(
    path: PathBuf,
    every: Duration,
    metrics: Metrics,
    drain: &Drain,
) -> Result<watch::Receiver<Arc<Roster>>, Error> {
    let seen = read(&path).await?;
    let roster = Arc::new(Format::parse(&seen)?);
    metrics.updates.inc();
    let (sender, receiver) = watch::channel(roster);
    let source = Source {
        path,
        seen: Some(seen),
        metrics,
        sender,
    };
    drain.spawn("directory", source.follow(every, drain.clone()));
    Ok(receiver)
}

struct Source {
    path: PathBuf,
    /// The content that was judged last; `None` after it could not be read.
    seen: Option<String>,
    metrics: Metrics,
    sender: watch::Sender<Arc<Roster>>,
}

impl Source {
    async fn follow(mut self, every: Duration, drain: Drain) {
        let mut tick = tokio::time::interval(every.max(Duration::from_millis(1)));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = drain.signaled() => return,
                _ = tick.tick() => self.look().await,
            }
        }
    }

    async fn look(&mut self) {
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
        if self.seen.as_ref() == Some(&text) {
            return;
        }
        match Format::parse(&text) {
            Ok(roster) => self.take(roster),
            Err(error) => self.refuse(&error),
        }
        self.seen = Some(text);
    }

    fn take(&self, roster: Roster) {
        let changed = self.sender.send_if_modified(|current| {
            let differs = **current != roster;
            if differs {
                *current = Arc::new(roster);
            }
            differs
        });
        if changed {
            self.metrics.updates.inc();
            info!(path = %self.path.display(), agents = self.sender.borrow().agents.len(), "roster taken over");
        }
    }

    fn refuse(&self, error: &Error) {
        self.metrics.refused.inc();
        let cause = std::error::Error::source(error).map(ToString::to_string);
        warn!(path = %self.path.display(), %error, cause, "roster refused, the last good one stays");
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
    use super::*;
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
            members = [{ id = "w2", url = "https://two", zone = "z", weight = 3 }, { url = "http://three" }]
        "#,
        )
        .unwrap();
        let members = &roster.agents[0].members;
        assert_eq!(members[0], MemberEntry::from_url("http://one:1").unwrap());
        assert_eq!(members[1].id, WorkerId::new("w2"));
        assert_eq!(members[1].zone.as_deref(), Some("z"));
        assert_eq!((members[1].weight, members[2].weight), (3, 1));
        assert_eq!(members[2].id, WorkerId::new("http://three"));
        assert!(Format::parse("[[agent]]\nname = 'a'\nurl = 'http://x'").is_err());
        assert!(Format::parse("[[agent]]\nname = 'tasks'\nurls = ['http://x']").is_err());
    }

    #[tokio::test]
    async fn a_broken_or_emptied_file_leaves_the_last_good_roster() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agents.toml");
        let (_trigger, drain) = drain::channel();
        let metrics = Metrics::default();
        let every = Duration::from_millis(5);
        assert!(
            file(path.clone(), every, metrics.clone(), &drain)
                .await
                .is_err()
        );
        std::fs::write(&path, ONE).unwrap();
        let mut roster = file(path.clone(), every, metrics.clone(), &drain)
            .await
            .unwrap();
        assert_eq!(roster.borrow_and_update().agents[0].members.len(), 2);

        let refusals = async |wanted: u64| {
            while metrics.refused.get() < wanted {
                tokio::task::yield_now().await;
            }
        };
        std::fs::write(&path, "[[agent]").unwrap();
        refusals(1).await;
        std::fs::write(&path, "").unwrap();
        refusals(2).await;
        std::fs::remove_file(&path).unwrap();
        refusals(3).await;
        assert!(!roster.has_changed().unwrap());

        let replaced = dir.path().join("next.toml");
        std::fs::write(
            &replaced,
            ONE.replace(", \"http://127.0.0.1:9002/base\"", ""),
        )
        .unwrap();
        std::fs::rename(&replaced, &path).unwrap();
        roster.changed().await.unwrap();
        assert_eq!(roster.borrow().agents[0].members.len(), 1);
        assert_eq!(metrics.refused.get(), 3);
    }
}
