//! Streams and caches on the way.

use anyhow::{Result, ensure};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use mesh_tests::{
    recorder::Answer,
    wire::{self, Ask},
};
use serde_json::json;

use crate::stage::{mesh, odd_agent};

#[tokio::test]
async fn case_8_events_keep_their_frames_and_are_neither_compressed_nor_cached() -> Result<()> {
    let agent = odd_agent().await?;
    let events = ": a comment\r\n\r\nid: 1\r\nevent: message\r\ndata: {\"task\":{\"id\":\"t1\",\r\ndata: \"contextId\":\"c1\",\"status\":{\"state\":\"TASK_STATE_WORKING\"}}}\r\n\r\ndata: {\"statusUpdate\":{\"taskId\":\"t1\",\"contextId\":\"c1\",\"status\":{\"state\":\"TASK_STATE_COMPLETED\"}}}\n\n";
    let mut answer = Answer::whole(
        "/deep/rest/message:stream",
        "text/event-stream",
        Bytes::from_static(events.as_bytes()),
    );
    answer
        .headers
        .push(("cache-control", "no-store".to_owned()));
    agent.answer(answer);
    let mesh = mesh(0).other("odd", &agent.url()).start().await?;
    let body = r#"{"message":{"messageId":"m1","role":"ROLE_USER","parts":[{"text":"x"}]}}"#;
    let ask = Ask::post("/odd/message:stream", "application/json", body)
        .header("a2a-version", "1.0")
        .header("accept-encoding", "gzip, br");
    let answer = wire::open(mesh.router().address, &ask).await?;
    let headers = answer.headers().clone();
    ensure!(!headers.contains_key("content-encoding"), "{headers:?}");
    ensure!(
        headers
            .get("cache-control")
            .is_some_and(|value| value == "no-store"),
        "{headers:?}"
    );
    let got = answer.into_body().collect().await?.to_bytes();
    ensure!(got == events, "{got:?}");
    Ok(())
}

#[tokio::test]
async fn case_20_an_extended_card_is_asked_for_each_time_with_the_callers_own_credentials()
-> Result<()> {
    let agent = odd_agent().await?;
    let mesh = mesh(0).other("odd", &agent.url()).start().await?;
    for who in ["alice", "bob"] {
        let card = json!({"name": format!("for {who}")}).to_string();
        agent.answer(Answer::whole(
            "/deep/rest/extendedAgentCard",
            "application/json",
            card,
        ));
        let ask = Ask::get("/odd/extendedAgentCard")
            .header("a2a-version", "1.0")
            .header("authorization", &format!("Bearer {who}"));
        let reply = mesh.router().exchange(&ask).await?;
        ensure!(reply.text().contains(&format!("for {who}")), "{reply:?}");
        let seen = agent.last("/deep/rest/extendedAgentCard")?;
        ensure!(
            seen.headers
                .get("authorization")
                .is_some_and(|value| value == format!("Bearer {who}").as_str()),
            "{seen:?}"
        );
    }
    Ok(())
}
