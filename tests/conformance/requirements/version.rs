//! Versions and extensions (spec 3.6, 4.6).

use anyhow::{Result, ensure};
use mesh_proto::{
    Binding, Fault, Operation,
    a2a::{self, send_message_response::Payload},
};
use mesh_tests::{
    caller::{
        Caller, Refusal, Said,
        words::{question, said},
    },
    wire::Ask,
};
use serde_json::json;

use super::{refused_with, requirements};
use crate::{
    Requirement,
    Scope::{Every, Http, Only},
    subject::Subject,
};

pub(super) fn all() -> Vec<Requirement> {
    requirements! {
        "3.6.2", Every, "a version that nobody speaks is refused" => unknown;
        "3.6", Every, "a patch number does not matter" => patch;
        "3.6.1", Http, "the version may stand in the query" => in_query;
        "3.6.2", Only(Binding::JsonRpc), "without a version, a method of 1.0 is refused" => without;
        "3.6.2", Only(Binding::JsonRpc), "without a version, a method of 0.3 is one of 0.3" => old;
        "4.6", Every, "an extension that nobody knows is ignored" => extension;
        "5.7", Http, "a member that nobody knows is ignored" => member;
    }
}

async fn with_version(at: &Subject, version: &str) -> Result<Said<a2a::SendMessageResponse>> {
    let caller = at.caller();
    let mut ask = caller.ask(Operation::SendMessage, &question("what is 1+1"), "")?;
    ask = ask.without("a2a-version").header("a2a-version", version);
    caller.said(&at.exchange(&ask).await?)
}

async fn unknown(at: &Subject) -> Result<()> {
    refused_with(with_version(at, "9.9").await?, Fault::VersionNotSupported)
}

async fn patch(at: &Subject) -> Result<()> {
    with_version(at, "1.0.7").await??;
    Ok(())
}

async fn in_query(at: &Subject) -> Result<()> {
    let caller = at.caller();
    let mut ask = caller.ask(Operation::SendMessage, &question("what is 1+1"), "")?;
    ask = ask.without("a2a-version");
    ask.path.push_str("?A2A-Version=1.0");
    let said: Said<a2a::SendMessageResponse> = caller.said(&at.exchange(&ask).await?)?;
    ensure!(matches!(said?.payload, Some(Payload::Task(_))));
    Ok(())
}

async fn without(at: &Subject) -> Result<()> {
    let caller = at.caller();
    let ask = caller.ask(Operation::SendMessage, &question("what is 1+1"), "")?;
    let reply = at.exchange(&ask.without("a2a-version")).await?;
    refused_with(
        caller.said::<a2a::SendMessageResponse>(&reply)?,
        Fault::VersionNotSupported,
    )
}

/// A call of 0.3, by hand.
async fn legacy(
    at: &Subject,
    method: &str,
    params: serde_json::Value,
) -> Result<serde_json::Value> {
    let body = json!({"jsonrpc": "2.0", "id": 3, "method": method, "params": params});
    let ask = Ask::post("", "application/json", body.to_string());
    let answer = at.raw(ask).await?.json()?;
    let refusal = Refusal::of_json_rpc(&answer)?;
    ensure!(refusal.is_none(), "{method}: {refusal:?}");
    Ok(answer["result"].clone())
}

async fn old(at: &Subject) -> Result<()> {
    let message = json!({
        "kind": "message",
        "messageId": super::fresh("old"),
        "role": "user",
        "parts": [{"kind": "text", "text": "what is 17*23+4"}],
    });
    let params = json!({"message": message, "configuration": {"blocking": true}});
    let task = legacy(at, "message/send", params).await?;
    ensure!(
        task["kind"] == "task" && task["status"]["state"] == "completed",
        "{task}"
    );
    let read = legacy(at, "tasks/get", json!({"id": task["id"]})).await?;
    ensure!(
        read["id"] == task["id"] && read["contextId"] == task["contextId"],
        "{read}"
    );
    // The same task, as 1.0 tells of it.
    let id = task["id"].as_str().unwrap_or_default();
    let read = at.caller().get(id).await??;
    ensure!(said(&read) == "395", "{read:?}");
    Ok(())
}

async fn extension(at: &Subject) -> Result<()> {
    let caller: Caller = at.caller().clone();
    let caller = caller.with("a2a-extensions", "https://extensions.example/unknown/v1");
    caller.send(question("what is 1+1")).await??;
    Ok(())
}

async fn member(at: &Subject) -> Result<()> {
    let caller = at.caller();
    let mut request = serde_json::to_value(question("what is 1+1"))?;
    request["unheardOf"] = json!({"deep": [1, {"contextId": "not a context"}]});
    request["message"]["unheardOf"] = json!("x");
    let (path, body) = if at.binding() == Binding::Rest {
        ("/message:send", request)
    } else {
        let method = Operation::SendMessage.name();
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": request});
        ("", call)
    };
    let ask = Ask::post(path, "application/json", body.to_string()).header("a2a-version", "1.0");
    let said: Said<a2a::SendMessageResponse> = caller.said(&at.raw(ask).await?)?;
    ensure!(matches!(said?.payload, Some(Payload::Task(_))));
    Ok(())
}
