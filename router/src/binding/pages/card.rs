//! An agent's card with the router in place of the agent, in every binding that the router carries.
//!
//! # Invariants
//! - A rewritten card never shows an upstream's address: each place carries the router's public base.
//! - What is offered is what is carried: all dialects, but for 0.3 over gRPC where nothing in the call
//!   could tell which agent is meant.

use http::{Method, Response};
use mesh_core::error::CallError;
use mesh_proto::{
    Binding, Fault, Operation, Problem, Version,
    card::{Card, Interface, Wording},
};

use super::{Base, Caller, Door, Front, To, fresh::Document};
use crate::{
    binding::rest,
    call::{Body, Keys},
    catalogue::{Agent, cards::Mode, offer},
};

const JSON: &str = "application/json";

/// Whether a path below an agent is its card: `well-known` of 1.0 and 0.3, and that of 0.2.
pub(in crate::binding) fn card_path(below: &str) -> Option<CardPath> {
    matches!(
        below,
        "/.well-known/agent-card.json" | "/.well-known/agent.json"
    )
    .then_some(CardPath)
}

/// A path that is a card's.
#[derive(Clone, Copy, Debug)]
pub(in crate::binding) struct CardPath;

/// How callers who came by one way name an agent.
#[derive(Clone, Debug)]
pub(super) struct Way {
    /// The URL of JSON-RPC and HTTP+JSON.
    http: String,
    /// `host:port` of gRPC.
    grpc: String,
    /// The tenant's first segment by which a gRPC call names the agent; `None` where the port does.
    named: Option<String>,
    /// Whether a gRPC call that names nobody reaches this agent.
    is_default: bool,
    /// Whether the agent's own tenants are told: not where another agent may take the call.
    tells_tenants: bool,
}

impl Front {
    /// An agent's card as its callers are to read it.
    pub(in crate::binding) fn card(
        &self,
        to: &To,
        _path: CardPath,
        caller: &Caller,
    ) -> Response<Body> {
        if !matches!(caller.method, Method::GET | Method::HEAD) {
            let message = format!("a card is read by GET, not {}", caller.method);
            return rest::failure(&Problem::new(Fault::MethodNotFound, message));
        }
        let name = match to {
            To::Agent(name) => Ok(name.clone()),
            // Of several agents with a skill, the one by whom a call without ids would be taken.
            To::Skill(skill) => {
                self.agent_with(skill, Operation::GetExtendedAgentCard, &Keys::default())
            }
        };
        let name = match name {
            Ok(name) => name,
            Err(error) => return rest::failure(&error.answer()),
        };
        let snapshot = self.catalogue.snapshot();
        let Some(agent) = snapshot.agent(name.as_str()) else {
            return rest::failure(&CallError::no_such_agent(name.as_str()).answer());
        };
        let (Some(card), Some(written)) = (agent.card(), agent.written()) else {
            let message = format!("the card of agent {} can't be read at present", agent.name);
            return rest::failure(&Problem::new(Fault::Unavailable, message));
        };
        let cards = self.catalogue.cards();
        let document = match cards.mode(&agent.name) {
            Mode::Preserve => Document {
                tag: written.tag.clone(),
                ..Document::of(JSON, written.bytes.clone(), None)
            },
            Mode::Strip | Mode::ReSign => {
                let way = match to {
                    To::Agent(_) => self.way(agent, caller),
                    To::Skill(skill) => Way::by_skill(&self.base(caller), &skill.path()),
                };
                let told = way.told(agent, &card, Wording::Both);
                Document::of(JSON, cards.sealed(&agent.name, &told), self.varies_by())
            }
        };
        let document = Document {
            modified: Some(written.modified.max(cards.since())),
            keep: written.keep,
            ..document
        };
        document.answer(caller)
    }

    /// The public part of the key by which this router signs cards.
    pub(super) fn key_set(&self, caller: &Caller) -> Response<Body> {
        match self.catalogue.cards().key_set() {
            Some(keys) => Document::of("application/jwk-set+json", keys, None).answer(caller),
            None => rest::failure(&Problem::new(
                Fault::MethodNotFound,
                "this router signs no cards",
            )),
        }
    }

    /// How this caller names the agent.
    pub(super) fn way(&self, agent: &Agent, caller: &Caller) -> Way {
        let base = self.base(caller);
        match &caller.door {
            Door::Agent(_) => Way::alone(base),
            Door::Main => {
                let snapshot = self.catalogue.snapshot();
                let is_default = snapshot.default_agent() == Some(&agent.name);
                Way::among(&base, agent.name.as_str(), is_default)
            }
        }
    }
}

impl Way {
    /// Of an agent with a port of its own.
    fn alone(base: Base) -> Self {
        Self {
            http: base.http,
            grpc: base.grpc,
            named: None,
            is_default: true,
            tells_tenants: true,
        }
    }

    /// Of one among others.
    fn among(base: &Base, name: &str, is_default: bool) -> Self {
        Self {
            http: format!("{}/{name}", base.http),
            grpc: base.grpc.clone(),
            named: Some(name.to_owned()),
            is_default,
            tells_tenants: true,
        }
    }

    /// Of whichever agent has a skill.
    fn by_skill(base: &Base, path: &str) -> Self {
        Self {
            tells_tenants: false,
            ..Self::among(base, path, false)
        }
    }

    /// A card that tells of this way only.
    pub(super) fn told(&self, agent: &Agent, card: &Card, wording: Wording) -> Card {
        let offers = offer::offers(card).into_iter();
        let places: Vec<Interface> = offers.filter_map(|offer| self.place(offer)).collect();
        card.listening_at(&places, wording)
            .or_named(agent.name.as_str())
    }

    fn place(&self, mut offer: offer::Offer) -> Option<Interface> {
        let dialect = offer.dialect;
        offer.tenant = offer.tenant.filter(|_| self.tells_tenants);
        let (url, tenant) = match (dialect.binding, dialect.version) {
            (Binding::JsonRpc | Binding::Rest, _) => (&self.http, offer.tenant),
            // 0.3 has no tenant by which a call on the port of all agents could name this one.
            (Binding::Grpc, Version::V0_3) if !self.is_default => return None,
            (Binding::Grpc, Version::V0_3) => (&self.grpc, None),
            (Binding::Grpc, Version::V1_0) => (&self.grpc, self.grpc_tenant(offer.tenant)),
        };
        Some(Interface {
            binding: Some(dialect.binding),
            version: Some(dialect.version),
            url: url.clone(),
            tenant,
        })
    }

    /// What a gRPC client sends as tenant so that the router finds the agent: its name, and behind it
    /// the agent's own tenant. An agent whose own tenant is its name (another mesh) needs it said once
    /// only.
    fn grpc_tenant(&self, own: Option<String>) -> Option<String> {
        match (&self.named, own) {
            (None, own) => own,
            (Some(name), Some(own)) if own != *name => Some(format!("{name}/{own}")),
            (Some(name), _) => Some(name.clone()),
        }
    }
}
