//! Who is asked: the agent itself, or two routers before its replicas, taken in turn.

use std::{
    net::SocketAddr,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
};

use anyhow::Result;
use mesh_proto::Binding;
use mesh_tests::{
    caller::Caller,
    mesh::{Mesh, Plan},
    parts::agent::ForeignAgent,
    wire::{self, Ask, Reply},
};

/// Where the requirements are tried.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Place {
    /// At the agent itself.
    Direct,
    /// Behind two routers, over one replica.
    One,
    /// Behind two routers, over three replicas.
    Three,
}

impl Place {
    /// All of them, in the order of the table.
    pub(crate) const ALL: [Self; 3] = [Self::Direct, Self::One, Self::Three];

    /// Its name in the table.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Direct => "directly",
            Self::One => "N = 1",
            Self::Three => "N = 3",
        }
    }

    const fn replicas(self) -> usize {
        match self {
            Self::Direct | Self::One => 1,
            Self::Three => 3,
        }
    }
}

/// The agents of a place, and what is before them.
pub(crate) struct Stage {
    agents: Vec<ForeignAgent>,
    mesh: Option<Mesh>,
}

impl Stage {
    /// Starts everything.
    pub(crate) async fn start(python: &Path, place: Place) -> Result<Self> {
        let flags = ["--everything", "--compat"];
        let mut agents = Vec::new();
        for number in 0..place.replicas() {
            let name = format!("steward {number}");
            agents.push(ForeignAgent::start_with(python, &name, &flags).await?);
        }
        let mut mesh = None;
        if place != Place::Direct {
            let urls: Vec<String> = agents.iter().map(ForeignAgent::url).collect();
            let program = Path::new(env!("CARGO_BIN_EXE_daca-under-test"));
            let plan = Plan::of(program, 0)
                .routers(2)
                .other("steward", &urls.join(","));
            mesh = Some(plan.start().await?);
        }
        Ok(Self { agents, mesh })
    }

    /// It as callers of a binding meet it.
    pub(crate) fn subject(&self, binding: Binding) -> Subject {
        let doors = match &self.mesh {
            Some(mesh) => mesh
                .routers
                .iter()
                .map(|router| Door {
                    caller: router.caller("steward", binding),
                    to: router.address,
                    base: match binding {
                        Binding::JsonRpc | Binding::Rest => "/steward",
                        Binding::Grpc => "",
                    },
                    card: "/steward/.well-known/agent-card.json",
                })
                .collect(),
            None => self
                .agents
                .iter()
                .map(|agent| {
                    let (to, base) = match binding {
                        Binding::JsonRpc => (agent.http, "/a2a/jsonrpc"),
                        Binding::Rest => (agent.http, "/a2a/rest"),
                        Binding::Grpc => (agent.grpc, ""),
                    };
                    Door {
                        caller: Caller::new(to, base.trim_start_matches('/'), binding),
                        to,
                        base,
                        card: "/.well-known/agent-card.json",
                    }
                })
                .collect(),
        };
        Subject {
            doors,
            cards: self.agents.iter().map(|agent| agent.http).collect(),
            routed: self.mesh.is_some(),
            binding,
            turn: AtomicUsize::new(0),
        }
    }
}

/// One way in.
struct Door {
    caller: Caller,
    to: SocketAddr,
    base: &'static str,
    card: &'static str,
}

/// Who is asked, in one binding.
pub(crate) struct Subject {
    doors: Vec<Door>,
    cards: Vec<SocketAddr>,
    routed: bool,
    binding: Binding,
    turn: AtomicUsize,
}

impl Subject {
    /// The binding that is spoken.
    pub(crate) const fn binding(&self) -> Binding {
        self.binding
    }

    /// A caller through the next door.
    pub(crate) fn caller(&self) -> &Caller {
        &self.door().caller
    }

    /// Sends a request as it is, below the agent's base, through the next door.
    pub(crate) async fn raw(&self, mut ask: Ask) -> Result<Reply> {
        let door = self.door();
        ask.path = format!("{}{}", door.base, ask.path);
        wire::exchange(door.to, &ask).await
    }

    /// Sends a request that [`Caller::ask`] made, changed by hand.
    pub(crate) async fn exchange(&self, ask: &Ask) -> Result<Reply> {
        wire::exchange(self.door().to, ask).await
    }

    /// Where the next request would go.
    pub(crate) fn next(&self) -> SocketAddr {
        self.door().to
    }

    /// Reads the card through the next door.
    pub(crate) async fn card(&self) -> Result<Reply> {
        self.card_of(self.door(), |ask| ask).await
    }

    /// Reads the card through the first door, always: a card that is kept is one address's, and the
    /// routers here have one each.
    pub(crate) async fn kept_card(&self, change: impl FnOnce(Ask) -> Ask) -> Result<Reply> {
        self.card_of(&self.doors[0], change).await
    }

    async fn card_of(&self, door: &Door, change: impl FnOnce(Ask) -> Ask) -> Result<Reply> {
        // Directly, gRPC has a port of its own, and the card is not there.
        let to = if self.routed { door.to } else { self.cards[0] };
        wire::exchange(to, &change(Ask::get(door.card))).await
    }

    fn door(&self) -> &Door {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        &self.doors[turn % self.doors.len()]
    }
}
