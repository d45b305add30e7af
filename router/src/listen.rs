//! The ports: each accepts connections under the drain and hands requests to the bindings.
//!
//! # Invariants
//! - Bytes are told apart by what they are (h1 or h2 by their first bytes), never by the port.
//! - A port of one agent's own serves that agent and nothing else.

use std::sync::Arc;

use mesh_runtime::{
    drain::Drain,
    net::{self, Listener},
};

use crate::binding::{Door, Front};

/// Serves one port until the drain is signaled.
pub async fn serve(
    listener: Listener,
    settings: net::Settings,
    drain: Drain,
    front: Arc<Front>,
    door: Door,
) {
    net::serve(listener, settings, drain, move |request, peer| {
        let (front, door) = (Arc::clone(&front), door.clone());
        async move { front.answer(request, peer.addr, door).await }
    })
    .await;
}
