//! What stands in a request's path and method.

use anyhow::{Context as _, Result, ensure};
use http::Method;
use mesh_proto::{Binding, Fault, a2a::TaskState};
use mesh_tests::{
    caller::{
        Refusal,
        words::{question, state},
    },
    recorder::Answer,
    wire::{self, Ask},
};
use serde_json::json;

use crate::stage::{mesh, odd_agent};

#[tokio::test]
async fn case_4_json_rpc_is_taken_with_a_slash_at_the_end_and_without() -> Result<()> {
    let mesh = mesh(1).start().await?;
    let body = json!({
        "jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": question("17*23+4"),
    });
    for path in ["/assistant", "/assistant/"] {
        let ask =
            Ask::post(path, "application/json", body.to_string()).header("a2a-version", "1.0");
        let reply = mesh.router().exchange(&ask).await?;
        ensure!(reply.text().contains("395"), "{path}: {}", reply.text());
    }
    Ok(())
}

#[tokio::test]
async fn case_5_a_verb_behind_an_id_is_found_however_it_is_written() -> Result<()> {
    let mesh = mesh(2).start().await?;
    let caller = mesh.router().caller("desk", Binding::Rest);
    for colon in [":", "%3A", "%3a"] {
        let open = caller.send(question("book a desk")).await??;
        let path = format!("/desk/tasks/{}{colon}cancel", open.id);
        let ask = Ask::post(&path, "application/json", "{}").header("a2a-version", "1.0");
        let task = mesh.router().exchange(&ask).await?.json()?;
        ensure!(
            task["status"]["state"] == "TASK_STATE_CANCELED",
            "{path}: {task}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn case_5_ids_and_tenants_that_look_like_paths_reach_the_agent_as_they_were_written()
-> Result<()> {
    let agent = odd_agent().await?;
    let mesh = mesh(0).other("odd", &agent.url()).start().await?;
    for path in [
        "/tasks/a%3Ab%2Fc",
        "/tasks/a:b",
        "/tasks",
        "/my%2Ftenant/tasks/t1",
        "/tasks/tasks",
        "/acme/tasks/t1:cancel",
    ] {
        let upstream = format!("/deep/rest{path}");
        agent.answer(Answer::whole(
            &upstream,
            "application/json",
            r#"{"id":"t1"}"#,
        ));
        let method = if path.ends_with(":cancel") {
            Method::POST
        } else {
            Method::GET
        };
        let ask = Ask::get(&format!("/odd{path}")).method(method);
        let reply = mesh
            .router()
            .exchange(&ask.header("a2a-version", "1.0"))
            .await?;
        ensure!(reply.text() == r#"{"id":"t1"}"#, "{path}: {}", reply.text());
        agent.last(&upstream)?;
    }
    Ok(())
}

#[tokio::test]
async fn case_6_a_subscription_is_taken_by_get_and_by_post_with_a_body_or_none() -> Result<()> {
    let mesh = mesh(2).start().await?;
    let caller = mesh.router().caller("desk", Binding::Rest);
    let open = caller.send(question("book a desk")).await??;
    ensure!(state(&open) == TaskState::InputRequired, "{open:?}");
    let path = format!("/desk/tasks/{}:subscribe", open.id);
    let asks = [
        Ask::get(&path),
        Ask::post(&path, "application/json", "{}"),
        Ask::post(&path, "application/json", "").without("content-type"),
    ];
    for ask in asks {
        let shown = format!("{} with {} bytes", ask.method, ask.body.len());
        let ask = ask.header("a2a-version", "1.0");
        let answer = wire::open(mesh.router().address, &ask).await?;
        let kind = answer.headers().get("content-type").cloned();
        ensure!(
            kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream")),
            "{shown}: {answer:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn case_6_the_verb_of_a_subscription_is_no_part_of_the_tasks_id() -> Result<()> {
    let mesh = mesh(1).start().await?;
    let ask = Ask::get("/assistant/tasks/no-such-task:subscribe").header("a2a-version", "1.0");
    let reply = mesh.router().exchange(&ask).await?;
    let refusal = Refusal::of(Binding::Rest, &reply)?.context("refused")?;
    refusal.expect(Fault::TaskNotFound)?;
    ensure!(!refusal.message.contains(":subscribe"), "{refusal:?}");
    Ok(())
}
