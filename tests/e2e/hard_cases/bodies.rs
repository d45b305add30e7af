//! What stands in a request's body, and where.

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use mesh_proto::{
    Binding, Fault,
    a2a::{self, TaskState},
};
use mesh_tests::{
    caller::{
        BINDINGS, Refusal,
        words::{follow_up, question, said, state},
    },
    recorder::Answer,
    wire::Ask,
};
use serde_json::{Value, json};

use crate::stage::{mesh, odd_agent};

/// A megabyte and a half of a file, as text.
fn picture() -> String {
    BASE64_STANDARD.encode(vec![7_u8; 1_500_000])
}

#[tokio::test]
async fn case_1_ids_behind_megabytes_of_a_file_still_find_the_task() -> Result<()> {
    let mesh = mesh(3).start().await?;
    let caller = mesh.router().caller("desk", Binding::JsonRpc);
    let open = caller.send(question("book a desk")).await??;
    ensure!(state(&open) == TaskState::InputRequired, "{open:?}");
    // Written by hand, so that the ids stand after the file, which JSON lets them.
    let params = format!(
        r#"{{"message":{{"parts":[{{"raw":"{}","mediaType":"image/png"}},{{"text":"berlin"}}],"role":"ROLE_USER","messageId":"m-late","contextId":{:?},"taskId":{:?}}}}}"#,
        picture(),
        open.context_id,
        open.id
    );
    let body = format!(r#"{{"params":{params},"method":"SendMessage","id":1,"jsonrpc":"2.0"}}"#);
    let ask = Ask::post("/desk", "application/json", body).header("a2a-version", "1.0");
    let answer = mesh.router().exchange(&ask).await?.json()?;
    let task = answer["result"]["task"]["id"].as_str();
    ensure!(task == Some(open.id.as_str()), "{answer}");
    Ok(())
}

#[tokio::test]
async fn case_1_a_body_over_the_bound_is_refused_in_each_binding() -> Result<()> {
    let config = tempfile::Builder::new().suffix(".toml").tempfile()?;
    std::fs::write(config.path(), "[front.body]\nbody_bytes = 100000\n")?;
    let mesh = mesh(1)
        .router("--config")
        .router(config.path())
        .start()
        .await?;
    for binding in BINDINGS {
        let caller = mesh.router().caller("assistant", binding);
        let long = question(&"long ".repeat(50_000));
        let refusal = caller.send(long).await?.err().context("refused")?;
        refusal.expect(Fault::TooLarge)?;
        let task = caller.send(question("1+1")).await??;
        ensure!(said(&task).contains("2"), "{binding}: {task:?}");
    }
    Ok(())
}

#[tokio::test]
async fn case_2_escaped_snake_cased_doubled_and_null_keys_are_read_as_the_agent_reads_them()
-> Result<()> {
    let mesh = mesh(3).start().await?;
    let caller = mesh.router().caller("desk", Binding::JsonRpc);
    let open = caller.send(question("book a desk")).await??;
    let (task, context) = (&open.id, &open.context_id);
    let message = |id: &str, ids: &str| {
        format!(
            r#"{{"message":{{"messageId":{id:?},"role":"ROLE_USER","parts":[{{"text":"berlin"}}],{ids}}}}}"#
        )
    };
    let get = |params: String| ("GetTask", params);
    let cases = [
        get(format!(r#"{{"id":{task:?}}}"#)),
        get(format!(r#"{{"\u0069d":{task:?},"historyLength":null}}"#)),
        get(format!(r#"{{"id":"no-such-task","id":{task:?}}}"#)),
        get(format!(r#"{{"tenant":null,"id":{task:?}}}"#)),
        get(format!(r#"{{"tenant":"","id":{task:?}}}"#)),
        (
            "SendMessage",
            message(
                "m-odd-1",
                &format!(r#""task_id":{task:?},"context_id":{context:?}"#),
            ),
        ),
        (
            "SendMessage",
            message(
                "m-odd-2",
                &format!(r#""task\u0049d":{task:?},"contextId":null"#),
            ),
        ),
    ];
    for (method, params) in cases {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
        let ask = Ask::post("/desk", "application/json", body).header("a2a-version", "1.0");
        let answer = mesh.router().exchange(&ask).await?.json()?;
        let result = &answer["result"];
        let found = result["id"]
            .as_str()
            .or_else(|| result["task"]["id"].as_str());
        ensure!(found == Some(task.as_str()), "{params}: {answer}");
    }
    Ok(())
}

#[tokio::test]
async fn case_2_the_callers_json_rpc_id_comes_back_as_it_was_written() -> Result<()> {
    let mesh = mesh(1).start().await?;
    for id in ["7", "1.50", "-3", r#""text""#, r#""\u2603""#, "null"] {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"GetTask","params":{{"id":"no-such-task"}}}}"#
        );
        let ask = Ask::post("/assistant", "application/json", body).header("a2a-version", "1.0");
        let answer = mesh.router().exchange(&ask).await?.json()?;
        let sent: Value = serde_json::from_str(id)?;
        ensure!(answer["id"] == sent, "{id}: {answer}");
        ensure!(answer["error"]["code"] == -32001, "{id}: {answer}");
    }
    Ok(())
}

#[tokio::test]
async fn case_2_a_call_without_params_is_a_call_with_none() -> Result<()> {
    let mesh = mesh(1).start().await?;
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "GetExtendedAgentCard"});
    let ask =
        Ask::post("/assistant", "application/json", body.to_string()).header("a2a-version", "1.0");
    let reply = mesh.router().exchange(&ask).await?;
    // The example agents have no second card; what matters is that the call got as far as to be told.
    let refusal = Refusal::of(Binding::JsonRpc, &reply)?.context("refused")?;
    ensure!(
        refusal.expect(Fault::UnsupportedOperation).is_ok()
            || refusal
                .expect(Fault::ExtendedAgentCardNotConfigured)
                .is_ok(),
        "{refusal:?}"
    );
    Ok(())
}

#[tokio::test]
async fn case_3_a_batch_is_refused_and_reaches_no_agent() -> Result<()> {
    let agent = odd_agent().await?;
    agent.answer(Answer::whole("/deep/rpc", "application/json", "{}"));
    let mesh = mesh(0).other("odd", &agent.url()).start().await?;
    let one = json!({"jsonrpc": "2.0", "id": 1, "method": "GetTask", "params": {"id": "t"}});
    let batch = json!([one, one]).to_string();
    let ask = Ask::post("/odd", "application/json", batch).header("a2a-version", "1.0");
    let reply = mesh.router().exchange(&ask).await?;
    let refusal = Refusal::of(Binding::JsonRpc, &reply)?.context("refused")?;
    refusal.expect(Fault::InvalidRequest)?;
    ensure!(
        agent.last("/deep/rpc").is_err(),
        "the batch reached the agent"
    );
    Ok(())
}

#[tokio::test]
async fn case_14_the_webhook_of_an_agent_with_one_replica_passes_as_the_client_wrote_it()
-> Result<()> {
    let agent = odd_agent().await?;
    let config = r#"{"url" : "https://hook.example/a?b=c","token":"t","taskId":"t1"}"#;
    agent.answer(Answer::whole(
        "/deep/rest/tasks/t1/pushNotificationConfigs",
        "application/json",
        config,
    ));
    let mesh = mesh(0).other("odd", &agent.url()).start().await?;
    let path = "/odd/tasks/t1/pushNotificationConfigs";
    let ask = Ask::post(path, "application/json", config).header("a2a-version", "1.0");
    let reply = mesh.router().exchange(&ask).await?;
    ensure!(reply.text() == config, "{}", reply.text());
    let seen = agent.last("/deep/rest/tasks/t1/pushNotificationConfigs")?;
    ensure!(seen.body == config, "{seen:?}");
    Ok(())
}

#[tokio::test]
async fn case_17_json_by_either_name_is_taken_and_what_is_no_json_is_not() -> Result<()> {
    let mesh = mesh(1).start().await?;
    let body = serde_json::to_string(&question("17*23+4"))?;
    for kind in [
        "application/json",
        "application/a2a+json",
        "application/json; charset=utf-8",
    ] {
        let ask = Ask::post("/assistant/message:send", kind, body.clone());
        let reply = mesh
            .router()
            .exchange(&ask.header("a2a-version", "1.0"))
            .await?;
        ensure!(reply.text().contains("395"), "{kind}: {}", reply.text());
    }
    for kind in ["text/plain", "application/xml", "multipart/form-data"] {
        let ask = Ask::post("/assistant/message:send", kind, body.clone());
        let reply = mesh
            .router()
            .exchange(&ask.header("a2a-version", "1.0"))
            .await?;
        let refusal = Refusal::of(Binding::Rest, &reply)?.context("refused")?;
        refusal.expect(Fault::ContentTypeNotSupported)?;
    }
    Ok(())
}

#[tokio::test]
async fn case_21_what_passes_in_one_binding_loses_nothing() -> Result<()> {
    let agent = odd_agent().await?;
    let answer = r#"{"task":{"zeta":1,"id":"t1","big":12345678901234567890,"n":1.0,"status":{"state":"TASK_STATE_COMPLETED"},"alpha":{"b":2,"a":1}}}"#;
    agent.answer(Answer::whole(
        "/deep/rest/message:send",
        "application/json",
        answer,
    ));
    let mesh = mesh(0).other("odd", &agent.url()).start().await?;
    let mut request = serde_json::to_value(question("x"))?;
    request["later"] = json!({"fields": [1, 2]});
    request["metadata"] = json!({"precise": 9_007_199_254_740_993_u64});
    let body = request.to_string();
    let ask = Ask::post("/odd/message:send", "application/json", body.clone());
    let reply = mesh
        .router()
        .exchange(&ask.header("a2a-version", "1.0"))
        .await?;
    ensure!(reply.text() == answer, "{}", reply.text());
    ensure!(agent.last("/deep/rest/message:send")?.body == body);
    Ok(())
}

#[tokio::test]
async fn case_2_a_task_and_another_tasks_context_are_refused_by_the_agent_not_guessed_at()
-> Result<()> {
    let mesh = mesh(3).start().await?;
    for binding in BINDINGS {
        let caller = mesh.router().caller("desk", binding);
        let first = caller.send(question("book a desk")).await??;
        let second = caller.send(question("book a desk")).await??;
        let mixed = a2a::Task {
            context_id: second.context_id,
            ..first
        };
        let refusal = caller.send(follow_up("berlin", &mixed)).await?.err();
        refusal.context("refused")?.expect(Fault::InvalidParams)?;
    }
    Ok(())
}
