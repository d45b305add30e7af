//! JSON-RPC envelopes: requests, answers and errors as they come, and as they are written again.
//!
//! # Invariants
//! - An answer of ours carries the caller's id as it stood in the request, and is read back alike.

use mesh_proto::{Fault, Problem, a2a, jsonrpc, scan};
use serde_json::Value;

/// Any bytes as a request and as an answer.
pub(crate) fn envelope(data: &[u8]) {
    let id = match scan::json_rpc(data) {
        Ok(envelope) => envelope.id,
        Err(rejected) => {
            // The refusal itself is an answer that its caller can read.
            let written = jsonrpc::error(&rejected.id, &rejected.problem);
            let read = jsonrpc::response::<Value>(&written).expect_err("an error is an error");
            assert_eq!(read.fault, rejected.problem.fault);
            rejected.id
        }
    };
    let written = jsonrpc::result(&id, &a2a::Task::default());
    let read: a2a::Task = jsonrpc::response(&written).expect("an answer of ours is read");
    assert_eq!(read, a2a::Task::default());
    let text = std::str::from_utf8(&written).expect("JSON is UTF-8");
    assert!(text.contains(&format!("\"id\":{}", id.as_str())), "{text}");
    match jsonrpc::response::<a2a::SendMessageResponse>(data) {
        Ok(answer) => {
            let again = jsonrpc::result(&id, &answer);
            // A value that JSON has no word for is the one thing that can't be written again.
            if let Ok(read) = jsonrpc::response::<a2a::SendMessageResponse>(&again) {
                assert_eq!(read, answer);
            }
        }
        Err(problem) => survives(&id, &problem),
    }
    if let Err(problem) = jsonrpc::params::<a2a::SendMessageRequest>(data) {
        survives(&id, &problem);
    }
}

/// An error that is passed on means the same.
fn survives(id: &jsonrpc::RawId, problem: &Problem) {
    let again = jsonrpc::response::<Value>(&jsonrpc::error(id, problem));
    let again = again.expect_err("an error is an error");
    assert_eq!(again.fault, problem.fault);
    assert_eq!(again.message, problem.message);
    assert_ne!(again.fault.row().reason, "", "{:?}", Fault::ALL);
}
