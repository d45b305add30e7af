//! The shapes of each binding: envelopes, paths, media types, errors (spec 5, 9, 10, 11).

use anyhow::{Result, ensure};
use http::{Method, StatusCode};
use mesh_proto::{
    Binding, Fault, Operation,
    a2a::{self, send_message_response::Payload},
};
use mesh_tests::{
    caller::{
        Refusal, Said,
        words::{at_once, question},
    },
    wire::Ask,
};
use serde_json::{Value, json};

use super::{fresh, requirements};
use crate::{
    Requirement,
    Scope::{Every, Http, Only},
    subject::Subject,
};

const JSON_RPC: crate::Scope = Only(Binding::JsonRpc);
const REST: crate::Scope = Only(Binding::Rest);
const GRPC: crate::Scope = Only(Binding::Grpc);

pub(super) fn all() -> Vec<Requirement> {
    requirements! {
        "9.5", JSON_RPC, "a body that is no JSON is a parse error, with no id" => no_json;
        "9.1", JSON_RPC, "a body that is no request is an invalid one" => no_request;
        "9.1", JSON_RPC, "a batch is refused" => batch;
        "9.1", JSON_RPC, "another JSON-RPC is refused" => other_rpc;
        "9.1", JSON_RPC, "an unknown method is not found" => no_method;
        "9.1", JSON_RPC, "wrong parameters are invalid" => wrong_params;
        "9.1", JSON_RPC, "an answer has the id of its request, as it was" => ids;
        "9.1", JSON_RPC, "a slash after the address changes nothing" => slash;
        "5.5", JSON_RPC, "the order and the spelling of keys do not matter" => keys;
        "11.3", REST, "a path that is not there is not found" => no_path;
        "11.3", REST, "a body that is no JSON is refused" => no_json_rest;
        "11.3.2", REST, "an id and a verb may be escaped" => escaped;
        "11.4", REST, "a delete or a get of nobody's is not found" => nobodys;
        "11.2", Http, "A2A's own media type is taken" => media_type;
        "11.2", Http, "another media type is refused" => other_type;
        "10.6", GRPC, "a method that is not there is unimplemented" => no_rpc;
        "5.4", Every, "an error has the number and the reason of the table" => table;
    }
}

async fn rpc(at: &Subject, body: impl Into<String>) -> Result<Value> {
    let ask = Ask::post("", "application/json", body.into()).header("a2a-version", "1.0");
    at.raw(ask).await?.json()
}

fn code(answer: &Value, expected: i64) -> Result<()> {
    ensure!(
        answer["error"]["code"] == expected,
        "not {expected}: {answer}"
    );
    Ok(())
}

async fn no_json(at: &Subject) -> Result<()> {
    let answer = rpc(at, "{\"jsonrpc\": ").await?;
    ensure!(answer.get("id").is_some_and(Value::is_null), "{answer}");
    code(&answer, -32700)
}

async fn no_request(at: &Subject) -> Result<()> {
    code(&rpc(at, "17").await?, -32600)
}

async fn batch(at: &Subject) -> Result<()> {
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "GetTask", "params": {"id": "x"}});
    code(&rpc(at, json!([call, call]).to_string()).await?, -32600)
}

async fn other_rpc(at: &Subject) -> Result<()> {
    let call = json!({"jsonrpc": "1.0", "id": 1, "method": "GetTask", "params": {"id": "x"}});
    code(&rpc(at, call.to_string()).await?, -32600)
}

async fn no_method(at: &Subject) -> Result<()> {
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "NoSuchMethod", "params": {}});
    code(&rpc(at, call.to_string()).await?, -32601)
}

async fn wrong_params(at: &Subject) -> Result<()> {
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "GetTask", "params": {"id": [1]}});
    code(&rpc(at, call.to_string()).await?, -32602)
}

async fn ids(at: &Subject) -> Result<()> {
    for id in [json!(7), json!("seven"), json!("\u{1f5ff} \"\\"), json!(0)] {
        let params = json!({"id": fresh("nobody's")});
        let call = json!({"jsonrpc": "2.0", "id": id, "method": "GetTask", "params": params});
        let answer = rpc(at, call.to_string()).await?;
        ensure!(answer["id"] == id, "{id}: {answer}");
        code(&answer, -32001)?;
    }
    Ok(())
}

async fn slash(at: &Subject) -> Result<()> {
    let params = json!({"id": fresh("nobody's")});
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "GetTask", "params": params});
    let ask = Ask::post("/", "application/json", call.to_string()).header("a2a-version", "1.0");
    code(&at.raw(ask).await?.json()?, -32001)
}

async fn keys(at: &Subject) -> Result<()> {
    let made = at.caller().send(question("what is 1+1")).await??;
    // The proto's own name, an escape in a key, and the method after its parameters.
    let call = format!(
        "{{\"params\":{{\"\\u0069d\":{:?},\"history_length\":0}},\"id\":1,\"method\":\"GetTask\",\
         \"jsonrpc\":\"2.0\"}}",
        made.id
    );
    let answer = rpc(at, call).await?;
    ensure!(answer["result"]["id"] == made.id.as_str(), "{answer}");
    Ok(())
}

async fn no_path(at: &Subject) -> Result<()> {
    let reply = at
        .raw(Ask::get("/no/such/path").header("a2a-version", "1.0"))
        .await?;
    ensure!(reply.status == StatusCode::NOT_FOUND, "{}", reply.status);
    Ok(())
}

async fn no_json_rest(at: &Subject) -> Result<()> {
    let ask = Ask::post("/message:send", "application/json", "{\"message\": ");
    let reply = at.raw(ask.header("a2a-version", "1.0")).await?;
    ensure!(
        reply.status == StatusCode::BAD_REQUEST,
        "{}: {}",
        reply.status,
        reply.text()
    );
    Ok(())
}

async fn escaped(at: &Subject) -> Result<()> {
    let made = at
        .caller()
        .send(at_once(question("wait 60 seconds")))
        .await??;
    let path = format!("/tasks/{}%3Acancel", made.id.replace('-', "%2D"));
    let ask = Ask::post(&path, "application/json", "{}").header("a2a-version", "1.0");
    let reply = at.raw(ask).await?;
    ensure!(
        reply.status == StatusCode::OK,
        "{}: {}",
        reply.status,
        reply.text()
    );
    ensure!(reply.json()?["id"] == made.id.as_str(), "{}", reply.text());
    Ok(())
}

async fn nobodys(at: &Subject) -> Result<()> {
    let path = format!("/tasks/{}/pushNotificationConfigs/x", fresh("nobody's"));
    for method in [Method::GET, Method::DELETE] {
        let ask = Ask::get(&path)
            .method(method.clone())
            .header("a2a-version", "1.0");
        let reply = at.raw(ask).await?;
        ensure!(
            reply.status == StatusCode::NOT_FOUND,
            "{method}: {}",
            reply.status
        );
    }
    Ok(())
}

/// A send with this media type on its body.
async fn sent_as(at: &Subject, kind: &str) -> Result<Said<a2a::SendMessageResponse>> {
    let caller = at.caller();
    let ask = caller.ask(Operation::SendMessage, &question("what is 1+1"), "")?;
    let ask = ask.without("content-type").header("content-type", kind);
    caller.said(&at.exchange(&ask).await?)
}

async fn media_type(at: &Subject) -> Result<()> {
    let said = sent_as(at, "application/a2a+json").await??;
    ensure!(matches!(said.payload, Some(Payload::Task(_))));
    Ok(())
}

async fn other_type(at: &Subject) -> Result<()> {
    let said = sent_as(at, "text/plain").await?;
    ensure!(said.is_err(), "{said:?}");
    Ok(())
}

async fn no_rpc(at: &Subject) -> Result<()> {
    let request = a2a::GetTaskRequest::default();
    let mut ask = at.caller().ask(Operation::GetTask, &request, "")?;
    ask.path = "/lf.a2a.v1.A2AService/NoSuchMethod".to_owned();
    let reply = at.exchange(&ask).await?;
    let refusal = Refusal::of(Binding::Grpc, &reply)?;
    let number = refusal.as_ref().map(|refusal| refusal.number);
    // 12 is UNIMPLEMENTED.
    ensure!(number == Some(12), "{refusal:?}");
    Ok(())
}

async fn table(at: &Subject) -> Result<()> {
    let refusal = super::refused(at.caller().get(&fresh("nobody's")).await?)?;
    refusal.expect(Fault::TaskNotFound)?;
    // Everywhere but over JSON-RPC, where it only should.
    ensure!(refusal.reason == "TASK_NOT_FOUND", "{refusal:?}");
    Ok(())
}
