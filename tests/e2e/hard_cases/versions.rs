//! Which version a call is of, and what its answers and cards look like then.

use anyhow::{Context as _, Result, ensure};
use mesh_proto::{Binding, Fault};
use mesh_tests::{
    caller::{BINDINGS, Refusal},
    process::Signal,
    recorder::Answer,
    wire::Ask,
};
use serde_json::{Value, json};

use crate::stage::{mesh, odd_agent};

/// A JSON-RPC call in the style of 0.3.
fn old(text: &str) -> Ask {
    let message = json!({
        "kind": "message", "messageId": "m-old", "role": "user",
        "parts": [{"kind": "text", "text": text}],
    });
    let body = json!({
        "jsonrpc": "2.0", "id": 1, "method": "message/send", "params": {"message": message},
    });
    Ask::post("/assistant", "application/json", body.to_string())
}

/// The same in the style of 1.0.
fn new(text: &str) -> Ask {
    let message = json!({"messageId": "m-new", "role": "ROLE_USER", "parts": [{"text": text}]});
    let body = json!({
        "jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": message},
    });
    Ask::post("/assistant", "application/json", body.to_string())
}

#[tokio::test]
async fn case_15_the_style_of_a_call_tells_its_version_where_nothing_is_stated() -> Result<()> {
    let mesh = mesh(1).start().await?;
    let answer = mesh.router().exchange(&old("17*23+4")).await?.json()?;
    ensure!(answer["result"]["kind"] == "task", "{answer}");
    ensure!(
        answer["result"]["status"]["state"] == "completed",
        "{answer}"
    );
    for stated in ["1.0", "1.0.7"] {
        let ask = new("17*23+4").header("a2a-version", stated);
        let answer = mesh.router().exchange(&ask).await?.json()?;
        let state = &answer["result"]["task"]["status"]["state"];
        ensure!(state == "TASK_STATE_COMPLETED", "{stated:?}: {answer}");
    }
    // A call of 1.0 that does not say so passes as it is, and the agent refuses it: to an agent nothing
    // stated is 0.3 (spec 3.6.2), and 0.3 has no such method.
    let reply = mesh.router().exchange(&new("17*23+4")).await?;
    let refusal = Refusal::of(Binding::JsonRpc, &reply)?.context("refused")?;
    refusal.expect(Fault::VersionNotSupported)
}

#[tokio::test]
async fn case_15_a_version_that_nobody_speaks_or_that_the_call_is_not_in_is_refused() -> Result<()>
{
    let mesh = mesh(1).start().await?;
    let cases = [
        new("1+1").header("a2a-version", "9.9"),
        new("1+1").header("a2a-version", "0.3"),
        new("1+1").header("a2a-version", "one"),
    ];
    for ask in cases {
        let reply = mesh.router().exchange(&ask).await?;
        let refusal = Refusal::of(Binding::JsonRpc, &reply)?.context("refused")?;
        refusal.expect(Fault::VersionNotSupported)?;
    }
    let body = r#"{"message":{"messageId":"m","role":"ROLE_USER","parts":[{"text":"1+1"}]}}"#;
    let path = "/assistant/message:send?A2A-Version=9.9";
    let ask = Ask::post(path, "application/json", body);
    let reply = mesh.router().exchange(&ask).await?;
    let refusal = Refusal::of(Binding::Rest, &reply)?.context("refused")?;
    refusal.expect(Fault::VersionNotSupported)?;
    // The header counts before the query.
    let ask = Ask::post(path, "application/json", body).header("a2a-version", "1.0");
    let reply = mesh.router().exchange(&ask).await?;
    ensure!(reply.status == 200, "{}", reply.text());
    Ok(())
}

#[tokio::test]
async fn case_16_an_error_has_the_shape_of_its_callers_version() -> Result<()> {
    let mesh = mesh(1).start().await?;
    let get = |method: &str| {
        let body = json!({
            "jsonrpc": "2.0", "id": 1, "method": method, "params": {"id": "no-such-task"},
        });
        Ask::post("/assistant", "application/json", body.to_string())
    };
    let error = |reply: Value| reply["error"].clone();
    let stated = get("GetTask").header("a2a-version", "1.0");
    let of_1_0 = error(mesh.router().exchange(&stated).await?.json()?);
    ensure!(of_1_0["code"] == -32001, "{of_1_0}");
    ensure!(of_1_0["data"][0]["reason"] == "TASK_NOT_FOUND", "{of_1_0}");
    let of_0_3 = error(mesh.router().exchange(&get("tasks/get")).await?.json()?);
    ensure!(of_0_3["code"] == -32001, "{of_0_3}");
    ensure!(of_0_3.get("data").is_none(), "{of_0_3}");
    let reply = mesh
        .router()
        .exchange(&Ask::get("/assistant/v1/tasks/no-such-task"))
        .await?;
    let body = reply.json()?;
    ensure!(reply.status == 404, "{body}");
    ensure!(body["type"] == "TaskNotFoundError", "{body}");
    ensure!(body.get("error").is_none(), "{body}");
    Ok(())
}

#[tokio::test]
async fn case_18_a_card_shows_neither_the_agents_address_nor_a_signature_that_no_longer_fits()
-> Result<()> {
    let agent = odd_agent().await?;
    let url = agent.url();
    let card = json!({
        "name": "odd", "description": "odd", "version": "1", "skills": [], "x-own": [1.50],
        "capabilities": {}, "defaultInputModes": [], "defaultOutputModes": [],
        "supportedInterfaces": [
            {"url": format!("{url}/deep/rpc"), "protocolBinding": "JSONRPC", "protocolVersion": "1.0"},
        ],
        "signatures": [{"protected": "eyJhbGciOiJFUzI1NiJ9", "signature": "AAAA"}],
    });
    let path = "/.well-known/agent-card.json";
    agent.answer(Answer::whole(path, "application/json", card.to_string()));
    let mesh = mesh(0).other("odd", &url).start().await?;
    // At the agent's own path, and at the root of the host, since it is the only one.
    for path in ["/odd/.well-known/agent-card.json", path] {
        let reply = mesh.router().exchange(&Ask::get(path)).await?;
        let text = reply.text();
        ensure!(!text.contains(&agent.address.to_string()), "{path}: {text}");
        ensure!(!text.contains("signatures"), "{path}: {text}");
        ensure!(text.contains(r#""x-own":[1.5"#), "{path}: {text}");
    }
    Ok(())
}

#[tokio::test]
async fn case_19_each_agent_has_its_card_below_its_path_and_the_root_has_that_of_the_default()
-> Result<()> {
    let mesh = mesh(1)
        .router("--default-agent")
        .router("desk")
        .start()
        .await?;
    let url = mesh.router().url("");
    for (path, name) in [
        ("/assistant/.well-known/agent-card.json", "assistant"),
        ("/desk/.well-known/agent-card.json", "desk"),
        ("/.well-known/agent-card.json", "desk"),
    ] {
        let card = mesh.router().exchange(&Ask::get(path)).await?.json()?;
        ensure!(card["name"] == name, "{path}: {card}");
        let place = card["supportedInterfaces"][0]["url"].as_str();
        ensure!(
            place.is_some_and(|place| place.starts_with(url.trim_end_matches('/'))),
            "{path}: {card}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn case_22_a_list_that_lacks_a_replicas_part_fails_and_is_not_short() -> Result<()> {
    let mut mesh = mesh(2).start().await?;
    for binding in BINDINGS {
        let caller = mesh.router().caller("assistant", binding);
        caller.list(None, "").await??;
    }
    mesh.workers[1].end_by(Signal::Kill).await?;
    for binding in BINDINGS {
        let caller = mesh.router().caller("assistant", binding);
        let refusal = caller.list(None, "").await?.err().context("refused")?;
        refusal.expect(Fault::Unavailable)?;
    }
    Ok(())
}
