//! The agents as a list of models.
//!
//! # Invariants
//! - A model's id is its agent's name; what its card says of itself is there for people.

use mesh_proto::card::Card;
use serde_json::{Value, json};

use crate::{
    binding::{Caller, Door, Front},
    catalogue::Agent,
};

impl Front {
    pub(super) fn models(&self, caller: &Caller) -> Value {
        let snapshot = self.catalogue.snapshot();
        let agents = snapshot.agents().filter(|agent| match &caller.door {
            Door::Main => true,
            Door::Agent(own) => agent.name == *own,
        });
        let data: Vec<Value> = agents.map(|agent| model(agent)).collect();
        json!({"object": "list", "data": data})
    }
}

pub(super) fn model(agent: &Agent) -> Value {
    let card = agent.card();
    let provider = card.as_ref().and_then(|card| card.fields().get("provider"));
    let owner = provider.and_then(|provider| provider.get("organization"));
    json!({
        // Cards tell no time of birth.
        "id": agent.name.as_str(), "object": "model", "created": 0,
        "owned_by": owner.and_then(Value::as_str).unwrap_or("daca-mesh"),
        "description": card.as_ref().and_then(|card| card.description()),
    })
}

/// Whether a card says that its agent streams. What it does not say, it does not offer (spec 4.4.3).
pub(super) fn says_that_it_streams(card: &Card) -> bool {
    let capabilities = card.fields().get("capabilities");
    let streaming = capabilities.and_then(|all| all.get("streaming"));
    streaming.and_then(Value::as_bool) == Some(true)
}
