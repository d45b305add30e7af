//! What workers of ours are told of the mesh: who else is there, and who is gone.
//!
//! One teller per process. What it has still to tell is only the latest: news that came before are
//! void. What a worker did not take is told again, ever more slowly, while it stands.
//!
//! # Invariants
//! - No queue: a teller holds one piece of news, however many have come.
//! - What all workers are told alike is written once; a worker's own is only which member it is.
//! - At most [`AT_ONCE`] workers are told at the same time.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::Full;
use mesh_proto::{
    AgentName, json,
    mesh::{GONE_MAX, MemberNotice, VIEW_PATH, ViewHash},
};
use parking_lot::Mutex;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use tokio::sync::{Semaphore, watch};
use tracing::debug;

use super::{Catalogue, Snapshot};
use crate::upstream::origin::{Origin, Wire};

/// How long more news may follow before they are told: one host's end is the end of several workers.
const SETTLE: Duration = Duration::from_millis(10);
/// The pause before a notice that was not taken is told again; doubles up to [`SLOWEST`].
const FIRST: Duration = Duration::from_millis(50);
const SLOWEST: Duration = Duration::from_secs(5);
/// How long a worker may take to take a notice.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often at most a worker that goes by another router's view is told ours again: two routers that
/// see different things must not talk it to death.
const INSIST: Duration = Duration::from_secs(5);
const AT_ONCE: usize = 32;

/// See the module.
#[derive(Debug)]
pub(super) struct Bulletin {
    news: watch::Sender<Arc<News>>,
    gone: Mutex<VecDeque<Arc<str>>>,
    telling: Semaphore,
    metrics: Metrics,
}

/// What is told of one moment.
#[derive(Debug, Default)]
struct News {
    view: ViewHash,
    /// The members of each agent, as they stand in a notice.
    pools: BTreeMap<AgentName, Arc<str>>,
    gone: Vec<Arc<str>>,
}

/// How a boot was found to be over.
#[derive(Clone, Copy, Debug)]
pub(super) enum How {
    /// Its port refuses connections.
    Refused,
    /// Another one answers in its place.
    Replaced,
}

impl Bulletin {
    pub(super) fn new(registry: &mut Registry) -> Self {
        Self {
            news: watch::Sender::new(Arc::default()),
            gone: Mutex::default(),
            telling: Semaphore::new(AT_ONCE),
            metrics: Metrics::register(registry),
        }
    }

    /// Tells of a new view, where it says anything new.
    pub(super) fn publish(&self, snapshot: &Snapshot) {
        let pools = snapshot.agents().filter_map(|agent| {
            let has_ours = agent
                .endpoints
                .iter()
                .any(|each| each.facts().boot.is_some());
            has_ours.then(|| (agent.name.clone(), members(agent)))
        });
        let pools: BTreeMap<_, _> = pools.collect();
        self.news.send_if_modified(|news| {
            if news.view == snapshot.view() && news.pools == pools {
                return false;
            }
            *news = Arc::new(News {
                view: snapshot.view(),
                pools,
                gone: news.gone.clone(),
            });
            true
        });
    }

    /// Tells that a boot is over.
    pub(super) fn bury(&self, boot: &str, how: How) {
        match how {
            How::Refused => self.metrics.refused.inc(),
            How::Replaced => self.metrics.replaced.inc(),
        };
        let mut gone = self.gone.lock();
        if gone.iter().any(|each| **each == *boot) {
            return;
        }
        if gone.len() >= GONE_MAX {
            gone.pop_front();
        }
        gone.push_back(Arc::from(boot));
        self.tell_gone(gone.iter().cloned().collect());
    }

    /// Takes a boot back that was heard of after all.
    pub(super) fn revive(&self, boot: &str) {
        let mut gone = self.gone.lock();
        let before = gone.len();
        gone.retain(|each| **each != *boot);
        if gone.len() != before {
            self.tell_gone(gone.iter().cloned().collect());
        }
    }

    fn tell_gone(&self, gone: Vec<Arc<str>>) {
        self.news.send_modify(|news| {
            *news = Arc::new(News {
                view: news.view,
                pools: news.pools.clone(),
                gone,
            });
        });
    }

    /// Takes note of the view by which a worker goes; one that says nothing may go by ours.
    pub(super) fn compare(&self, origin: &Origin, view: &str) {
        let is_other = !view.is_empty() && view != self.news.borrow().view.to_string();
        origin.health().stray(is_other);
    }
}

/// Tells a process of ours what there is to tell, as long as it lives here.
pub(super) fn tell(catalogue: &Arc<Catalogue>, origin: &Arc<Origin>) {
    let (weak, origin) = (Arc::downgrade(catalogue), Arc::downgrade(origin));
    let news = catalogue.bulletin.news.subscribe();
    let drain = catalogue.drain.clone();
    catalogue.drain.spawn("notices", async move {
        tokio::select! {
            () = drain.signaled() => {}
            () = keep_telling(weak, origin, news) => {}
        }
    });
}

async fn keep_telling(
    catalogue: Weak<Catalogue>,
    origin: Weak<Origin>,
    mut news: watch::Receiver<Arc<News>>,
) {
    let mut pause = FIRST;
    loop {
        tokio::time::sleep(SETTLE).await;
        let now = news.borrow_and_update().clone();
        let was_taken = {
            let (Some(catalogue), Some(origin)) = (catalogue.upgrade(), origin.upgrade()) else {
                return;
            };
            post(&catalogue.bulletin, &origin, &now).await
        };
        pause = if was_taken {
            FIRST
        } else {
            pause.saturating_mul(2).min(SLOWEST)
        };
        loop {
            let patience = if was_taken { INSIST } else { pause };
            match tokio::time::timeout(patience, news.changed()).await {
                Ok(Ok(())) => break,
                Ok(Err(_)) => return,
                Err(_) => match origin.upgrade() {
                    None => return,
                    Some(origin) if was_taken && !origin.health().is_stray() => {}
                    Some(_) => break,
                },
            }
        }
    }
}

/// Posts the news to one worker. True where there is nothing more to do about them.
async fn post(bulletin: &Bulletin, origin: &Arc<Origin>, news: &News) -> bool {
    let Some(body) = write(origin, news) else {
        return true;
    };
    let request = Request::builder()
        .method(Method::POST)
        .uri(VIEW_PATH)
        .header(header::HOST, origin.target().authority())
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body)));
    let (Ok(request), Ok(_permit)) = (request, bulletin.telling.acquire().await) else {
        return true;
    };
    let sent = tokio::time::timeout(PATIENCE, origin.send(Wire::H1, request)).await;
    let status = sent.ok().and_then(Result::ok).map(|answer| answer.status());
    let was_taken = status.is_some_and(|status| status.is_success());
    bulletin.metrics.told(was_taken);
    if !was_taken {
        debug!(target = %origin.target(), ?status, "a worker did not take the view");
    }
    // One that knows no views, or can't read this one, will not take it the next time either.
    was_taken || status.is_some_and(is_final)
}

fn is_final(status: StatusCode) -> bool {
    status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS
}

/// A notice for one worker; `None` where it has no agent of the news.
fn write(origin: &Origin, news: &News) -> Option<String> {
    let quoted = |text: &str| String::from_utf8_lossy(&json::to_bytes(&text)).into_owned();
    let mut body = format!(r#"{{"view":"{}","agents":["#, news.view);
    let mut written = Vec::new();
    for (agent, endpoint) in origin.residents() {
        let Some(members) = news.pools.get(&agent) else {
            continue;
        };
        if written.contains(&agent) {
            continue;
        }
        let comma = if written.is_empty() { "" } else { "," };
        let you = quoted(endpoint.id.as_str());
        let agent_text = quoted(agent.as_str());
        let pool = format!(r#"{comma}{{"agent":{agent_text},"you":{you},"members":{members}}}"#);
        body.push_str(&pool);
        written.push(agent);
    }
    if written.is_empty() {
        return None;
    }
    let gone: Vec<&str> = news.gone.iter().map(AsRef::as_ref).collect();
    let gone = String::from_utf8_lossy(&json::to_bytes(&gone)).into_owned();
    body.push_str(&format!(r#"],"gone":{gone}}}"#));
    Some(body)
}

/// The members of an agent, as they stand in a notice.
fn members(agent: &super::Agent) -> Arc<str> {
    let all = agent.pool.members().iter().zip(&agent.endpoints);
    let all: Vec<MemberNotice> = (0_u16..)
        .zip(all)
        .map(|(place, (member, endpoint))| {
            let facts = endpoint.facts();
            MemberNotice {
                id: member.id.to_string(),
                url: endpoint.base().to_string(),
                weight: member.weight,
                zone: member.zone.as_deref().map(str::to_owned),
                boot: facts.boot.as_deref().unwrap_or_default().to_owned(),
                state: agent.pool.state(place),
            }
        })
        .collect();
    Arc::from(String::from_utf8_lossy(&json::to_bytes(&all)))
}

/// The families of this module.
#[derive(Clone, Debug)]
struct Metrics {
    taken: Counter,
    failed: Counter,
    refused: Counter,
    replaced: Counter,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct OutcomeLabels {
    outcome: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct GoneLabels {
    sign: &'static str,
}

impl Metrics {
    fn register(registry: &mut Registry) -> Self {
        let notices = Family::<OutcomeLabels, Counter>::default();
        let help = "Views told to workers of ours, by whether they took them";
        registry.register("mesh_notices", help, notices.clone());
        let gone = Family::<GoneLabels, Counter>::default();
        let help = "Lives of workers found to be over, by what showed it";
        registry.register("mesh_workers_gone", help, gone.clone());
        let notice = |outcome| notices.get_or_create_owned(&OutcomeLabels { outcome });
        let sign = |sign| gone.get_or_create_owned(&GoneLabels { sign });
        Self {
            taken: notice("taken"),
            failed: notice("failed"),
            refused: sign("refused"),
            replaced: sign("replaced"),
        }
    }

    fn told(&self, was_taken: bool) {
        if was_taken {
            self.taken.inc();
        } else {
            self.failed.inc();
        }
    }
}
