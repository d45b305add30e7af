//! What passes between a source and the one who judges it: what it sees, and the wish that it look again.
//!
//! # Invariants
//! - Only the latest sight is kept: a reader that is slow misses steps, never the outcome.
//! - A look has a number, and a sight that comes from a look of its own has a higher one than all before.
//!   Whoever doubts a sight waits for one of a later look.

use std::sync::Arc;

use mesh_proto::{
    AgentName,
    mesh::{WorkerId, WorkerState},
};
use tokio::sync::{Notify, watch};
use url::Url;

use super::{AgentEntry, MemberEntry, Roster, metrics::Touch};

/// All that a source sees at one moment.
#[derive(Clone, Debug)]
pub(super) struct Sight {
    /// The agents and members.
    pub(super) roster: Arc<Roster>,
    /// Which look it comes from.
    pub(super) look: u64,
}

/// The source's end.
#[derive(Debug)]
pub(super) struct Teller {
    sender: watch::Sender<Option<Sight>>,
    again: Arc<Notify>,
    look: u64,
    /// Whether it is in touch.
    pub(super) touch: Touch,
}

/// The judge's end.
#[derive(Debug)]
pub(super) struct Sights {
    /// The latest one, if there was any.
    pub(super) latest: watch::Receiver<Option<Sight>>,
    again: Arc<Notify>,
    /// What is watched, as it is configured.
    pub(super) source: Arc<str>,
}

/// The two ends of a source that has seen nothing yet.
pub(super) fn channel(touch: Touch) -> (Teller, Sights) {
    let (sender, latest) = watch::channel(None);
    let again = Arc::new(Notify::new());
    let source = Arc::clone(touch.source());
    let teller = Teller {
        sender,
        again: Arc::clone(&again),
        look: 0,
        touch,
    };
    let sights = Sights {
        latest,
        again,
        source,
    };
    (teller, sights)
}

impl Teller {
    /// Tells what a whole look of its own has shown, changed or not.
    pub(super) fn looked(&mut self, roster: Roster) {
        self.look += 1;
        self.tell(roster);
        self.touch.keep();
    }

    /// Tells what has become of the last look since.
    pub(super) fn tell(&self, roster: Roster) {
        let (roster, look) = (Arc::new(roster), self.look);
        self.sender.send_replace(Some(Sight { roster, look }));
    }

    /// Waits for the wish that it look again. A wish from before is not lost.
    pub(super) async fn asked(&self) {
        self.again.notified().await;
    }
}

impl Sights {
    /// Asks the source to look again.
    pub(super) fn ask(&self) {
        self.again.notify_one();
    }
}

/// One process that a source found; it may serve several agents.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Peer {
    /// Its stable name.
    pub(super) id: WorkerId,
    /// A name or an address, an IPv6 one in brackets.
    pub(super) host: String,
    /// Where it listens.
    pub(super) port: u16,
    /// Where it runs, if known.
    pub(super) zone: Option<Arc<str>>,
    /// Its share.
    pub(super) weight: u8,
    /// Whether it takes new work.
    pub(super) state: WorkerState,
}

/// One agent of those that share a source.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Share {
    /// The agent.
    pub(super) agent: AgentName,
    /// Whether it is called over TLS.
    pub(super) is_https: bool,
    /// Below which path each peer serves it.
    pub(super) path: String,
}

/// The roster that peers make for the agents that they serve. Peers that make no URL are left out.
pub(super) fn roster(peers: &[Peer], shares: &[Share]) -> Roster {
    let of_agent = |share: &Share| AgentEntry {
        name: share.agent.clone(),
        members: peers.iter().filter_map(|peer| peer.member(share)).collect(),
    };
    Roster {
        agents: shares.iter().map(of_agent).collect(),
    }
}

impl Peer {
    fn member(&self, share: &Share) -> Option<MemberEntry> {
        let scheme = if share.is_https { "https" } else { "http" };
        let (host, port, path) = (&self.host, self.port, &share.path);
        Some(MemberEntry {
            id: self.id.clone(),
            url: Url::parse(&format!("{scheme}://{host}:{port}{path}")).ok()?,
            zone: self.zone.clone(),
            weight: self.weight,
            state: self.state,
        })
    }
}
