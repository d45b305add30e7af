//! What the tests here start from.

use std::path::Path;

use anyhow::Result;
use mesh_tests::{
    mesh::Plan,
    recorder::{Answer, Recorder},
};
use serde_json::json;

/// The program under test.
pub(crate) fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_daca-under-test"))
}

/// One router over so many workers with the example agents.
pub(crate) fn mesh(workers: usize) -> Plan {
    Plan::of(program(), workers)
}

/// An agent that is not ours, with JSON-RPC and REST under paths of their own, and gRPC.
pub(crate) async fn odd_agent() -> Result<Recorder> {
    let recorder = Recorder::start().await?;
    let url = recorder.url();
    let card = json!({
        "name": "odd", "description": "odd", "version": "1", "skills": [],
        "capabilities": {"streaming": true, "pushNotifications": true, "extendedAgentCard": true}, "defaultInputModes": [], "defaultOutputModes": [],
        "supportedInterfaces": [
            {"url": format!("{url}/deep/rpc"), "protocolBinding": "JSONRPC", "protocolVersion": "1.0"},
            {"url": format!("{url}/deep/rest"), "protocolBinding": "HTTP+JSON", "protocolVersion": "1.0"},
            {"url": recorder.address.to_string(), "protocolBinding": "GRPC", "protocolVersion": "1.0"},
        ],
    });
    let path = "/.well-known/agent-card.json";
    recorder.answer(Answer::whole(path, "application/json", card.to_string()));
    Ok(recorder)
}
