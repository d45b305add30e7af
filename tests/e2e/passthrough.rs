//! What a client sends reaches the agent as it was sent, and what the agent answers comes back as it
//! was answered, byte for byte, piece by piece, whatever is in it.

use crate::stage::{mesh, odd_agent};
use anyhow::{Result, ensure};
use bytes::{BufMut as _, Bytes, BytesMut};
use http_body_util::BodyExt as _;
use mesh_tests::{
    eventually::within,
    recorder::{Answer, Recorder},
    wire::{self, Ask},
};

/// Spaces, an order and fields that no encoder of ours would write.
const ODD: &str = "{ \"params\" : {\"message\":{\"parts\":[{\"text\":\"\\u0041 \\/ é\"}],\
    \"role\":\"ROLE_USER\",\"messageId\":\"m1\",\"x-unknown\":[1.50,1e3,null]} ,\"hope\":{} },\
    \"method\":\"SendMessage\",\n\t\"id\":\"odd \\u2603\",\"jsonrpc\":\"2.0\"}";

const ODD_ANSWER: &str = "{\"id\" : \"odd\",\"jsonrpc\":\"2.0\",  \"result\":{\"task\":{\"id\":\"t1\",\
    \"contextId\":\"c1\",\"status\":{\"state\":\"TASK_STATE_COMPLETED\",\"later\":1.0},\"extra\":{}}}}";

/// Line ends of all kinds, comments, ids, an event in two lines.
const ODD_EVENTS: [&str; 3] = [
    ": hello\r\n\r\nid: 7\r\ndata: {\"task\":{\"id\":\"t1\",\"contextId\":\"c1\",\"status\":{\"state\":\"TASK_STATE_WORKING\"}}}\r\n\r\n",
    "data: {\"statusUpdate\":\ndata:  {\"taskId\":\"t1\",\"contextId\":\"c1\",\"status\":{\"state\":\"TASK_STATE_WORKING\"}}}\n\n: ping\n\n",
    "event: message\ndata: {\"statusUpdate\":{\"taskId\":\"t1\",\"contextId\":\"c1\",\"status\":{\"state\":\"TASK_STATE_COMPLETED\"}}}\n\n",
];

#[tokio::test]
async fn json_rpc_passes_as_it_is() -> Result<()> {
    let agent = odd_agent().await?;
    agent.answer(Answer::whole(
        "/deep/rpc",
        "application/json; charset=utf-8",
        ODD_ANSWER,
    ));
    let mesh = mesh(0).other("odd", &agent.url()).start().await?;
    let ask = Ask::post("/odd?A2A-Version=1.0&x=%20", "application/json", ODD)
        .header("authorization", "Bearer of-somebody")
        .header("a2a-extensions", "https://example.org/ext/1")
        .header("x-mine", "kept")
        .header("daca-boot", "a lie")
        .header("a2a-affinity", "z1d.a-lie");
    let reply = mesh.router().exchange(&ask).await?;
    ensure!(reply.text() == ODD_ANSWER, "{}", reply.text());
    ensure!(
        reply.header("content-type") == "application/json; charset=utf-8",
        "{reply:?}"
    );
    let seen = agent.last("/deep/rpc")?;
    ensure!(seen.body == ODD, "{seen:?}");
    ensure!(seen.path.contains("x=%20"), "{}", seen.path);
    for (name, value) in [
        ("authorization", "Bearer of-somebody"),
        ("a2a-extensions", "https://example.org/ext/1"),
        ("x-mine", "kept"),
        // Stated in the query only, where not every agent looks.
        ("a2a-version", "1.0"),
    ] {
        ensure!(
            seen.headers.get(name).is_some_and(|kept| kept == value),
            "{name}: {seen:?}"
        );
    }
    for name in ["daca-boot", "a2a-affinity"] {
        let lie = seen.headers.get(name).and_then(|value| value.to_str().ok());
        ensure!(
            !lie.unwrap_or_default().contains("lie"),
            "{name} came from outside: {seen:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn events_pass_as_they_are_and_as_they_come() -> Result<()> {
    let agent = odd_agent().await?;
    agent.answer(Answer {
        pieces: ODD_EVENTS
            .iter()
            .map(|piece| Bytes::from_static(piece.as_bytes()))
            .collect(),
        ..Answer::whole("/deep/rest/message:stream", "text/event-stream", "")
    });
    let mesh = mesh(0).other("odd", &agent.url()).start().await?;
    let body = r#"{"message":{"messageId":"m1","role":"ROLE_USER","parts":[{"text":"x"}]}}"#;
    let ask = Ask::post("/odd/message:stream", "application/a2a+json", body);
    let answer = wire::open(mesh.router().address, &ask.header("a2a-version", "1.0")).await?;
    let mut body = answer.into_body();
    let mut got = BytesMut::new();
    for (number, piece) in ODD_EVENTS.iter().enumerate() {
        if number > 0 {
            agent.let_go();
        }
        // The agent holds the next piece back until this one has come through.
        let expected = got.len() + piece.len();
        within("a piece of the stream", async {
            while got.len() < expected {
                let frame = body.frame().await.transpose()?;
                let data = frame.and_then(|frame| frame.into_data().ok());
                got.extend_from_slice(&data.unwrap_or_default());
            }
            Ok(())
        })
        .await?;
    }
    within("the end of the stream", async {
        while let Some(frame) = body.frame().await {
            got.extend_from_slice(&frame?.into_data().unwrap_or_default());
        }
        Ok(())
    })
    .await?;
    ensure!(
        got == ODD_EVENTS.concat(),
        "{}",
        String::from_utf8_lossy(&got)
    );
    Ok(())
}

#[tokio::test]
async fn grpc_passes_with_unknown_fields_metadata_and_trailers() -> Result<()> {
    let agent = odd_agent().await?;
    let path = "/lf.a2a.v1.A2AService/GetTask";
    // Field 2 is the id; 1999 is nobody's.
    let message = b"\x12\x02t1\xfa\x7c\x03odd";
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len())?);
    frame.extend_from_slice(message);
    let frame = frame.freeze();
    agent.answer(Answer {
        pieces: Vec::new(),
        trailers: vec![
            ("grpc-status", "5"),
            ("grpc-message", "nobody%27s task"),
            ("grpc-status-details-bin", "CAUSAW9kZA"),
            ("x-trailer", "kept"),
        ],
        ..Answer::whole(path, "application/grpc+proto", "")
    });
    let mesh = mesh(0).other("odd", &agent.url()).start().await?;
    let ask = Ask::post(path, "application/grpc+proto", frame.clone())
        .header("te", "trailers")
        .header("a2a-agent", "odd")
        .header("a2a-version", "1.0")
        .header("grpc-timeout", "20S")
        .header("x-meta-bin", "AAEC")
        .http2();
    let reply = mesh.router().exchange(&ask).await?;
    for (name, value) in [
        ("grpc-status", "5"),
        ("grpc-message", "nobody%27s task"),
        ("grpc-status-details-bin", "CAUSAW9kZA"),
        ("x-trailer", "kept"),
    ] {
        ensure!(
            reply.trailers.get(name).is_some_and(|kept| kept == value),
            "{name}: {reply:?}"
        );
    }
    let seen = agent.last(path)?;
    ensure!(seen.body == frame, "{seen:?}");
    ensure!(
        seen.headers
            .get("x-meta-bin")
            .is_some_and(|kept| kept == "AAEC"),
        "{seen:?}"
    );
    Ok(())
}

#[tokio::test]
async fn an_agent_without_a_readable_card_is_passed_through_as_json_rpc() -> Result<()> {
    let agent = Recorder::start().await?;
    agent.answer(Answer::whole("/plain", "application/json", ODD_ANSWER));
    let url = format!("{}/plain", agent.url());
    let mesh = mesh(0).other("plain", &url).start().await?;
    let ask = Ask::post("/plain", "application/json", ODD).header("a2a-version", "1.0");
    let reply = mesh.router().exchange(&ask).await?;
    ensure!(reply.text() == ODD_ANSWER, "{}", reply.text());
    ensure!(agent.last("/plain")?.body == ODD, "as it was sent");
    let listed = mesh.router().exchange(&Ask::get("/agents")).await?.text();
    ensure!(listed.contains("plain"), "{listed}");
    Ok(())
}
