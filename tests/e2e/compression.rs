//! Compressed requests are placed by the ids inside them, and a bomb costs no more than the bound.

use std::io::Write as _;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use mesh_proto::{
    Binding, Fault, Operation,
    a2a::{SendMessageResponse, send_message_response::Payload},
};
use mesh_tests::{
    caller::{
        Refusal,
        words::{in_context, question, said},
    },
    recorder::{Answer, Recorder},
    wire::Ask,
};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use crate::{affinity::places, stage::mesh};

#[tokio::test]
async fn a_compressed_request_is_answered_by_the_worker_that_has_its_context() -> Result<()> {
    let mesh = mesh(3).start().await?;
    let caller = mesh.router().caller("assistant", Binding::JsonRpc);
    for number in 0..6 {
        let plain = caller
            .send(in_context("1+1", &format!("squeezed-{number}")))
            .await??;
        let request = in_context("20+3", &plain.context_id);
        let mut ask = caller.ask(Operation::SendMessage, &request, "")?;
        ask.body = gzip(&ask.body)?;
        let reply = mesh
            .router()
            .exchange(&ask.header("content-encoding", "gzip"))
            .await?;
        let answer = caller.said::<SendMessageResponse>(&reply)??;
        let Some(Payload::Task(task)) = answer.payload else {
            anyhow::bail!("{}", reply.text());
        };
        ensure!(said(&task).contains("23"), "{}", said(&task));
        let places = places(&mesh).await?;
        ensure!(
            places.get(&plain.id) == places.get(&task.id),
            "{} moved",
            plain.context_id
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_body_goes_on_compressed_as_it_came_to_where_its_ids_say() -> Result<()> {
    let mut agents = Vec::new();
    for _ in 0..3 {
        let agent = Recorder::start().await?;
        agent.answer(Answer::whole("/", "application/json", "{}"));
        agents.push(agent);
    }
    let urls: Vec<String> = agents.iter().map(Recorder::url).collect();
    let mesh = mesh(0).other("odd", &urls.join(",")).start().await?;
    let caller = mesh.router().caller("odd", Binding::JsonRpc);
    for number in 0..6 {
        let request = in_context("1+1", &format!("squeezed-{number}"));
        let plain = caller.ask(Operation::SendMessage, &request, "")?;
        mesh.router().exchange(&plain).await?;
        let owner = agents.iter().find(|agent| holds(agent, &plain.body));
        let owner = owner.with_context(|| format!("nobody got the request of {number}"))?;
        for (encoding, squeeze) in ENCODINGS {
            let mut ask = plain.clone().header("content-encoding", encoding);
            ask.body = squeeze(&plain.body)?;
            mesh.router().exchange(&ask).await?;
            ensure!(
                holds(owner, &ask.body),
                "{encoding}: {number} went elsewhere, or changed"
            );
        }
    }
    Ok(())
}

/// Whether the last call that came to an agent has this body.
fn holds(agent: &Recorder, body: &Bytes) -> bool {
    agent.last("/").is_ok_and(|seen| seen.body == body)
}

#[tokio::test]
async fn a_body_that_inflates_without_end_is_refused_as_too_large() -> Result<()> {
    let mut mesh = mesh(1).start().await?;
    let zeros = Bytes::from(vec![b' '; 64 << 20]);
    for (encoding, squeeze) in [ENCODINGS[0], ENCODINGS[2]] {
        let bomb = squeeze(&zeros)?;
        ensure!(
            bomb.len() < 1 << 20,
            "{encoding}: a bomb is small: {}",
            bomb.len()
        );
        let ask = Ask::post("/assistant", "application/json", bomb)
            .header("a2a-version", "1.0")
            .header("content-encoding", encoding);
        let reply = mesh.router().exchange(&ask).await?;
        let refusal = Refusal::of(Binding::JsonRpc, &reply)?;
        refusal
            .with_context(|| reply.text())?
            .expect(Fault::TooLarge)?;
    }
    mesh.routers[0].is_well().await
}

#[tokio::test]
async fn what_does_not_inflate_or_is_not_known_is_refused() -> Result<()> {
    let mut mesh = mesh(1).start().await?;
    let caller = mesh.router().caller("assistant", Binding::JsonRpc);
    for encoding in ["gzip", "br", "zstd", "deflate", "lzw"] {
        let ask = caller.ask(Operation::SendMessage, &question("1+1"), "")?;
        let reply = mesh
            .router()
            .exchange(&ask.header("content-encoding", encoding))
            .await?;
        let refusal = Refusal::of(Binding::JsonRpc, &reply)?;
        ensure!(
            refusal.is_some(),
            "{encoding}: plain JSON passed for it: {}",
            reply.text()
        );
    }
    mesh.routers[0].is_well().await
}

type Squeeze = fn(&Bytes) -> Result<Bytes>;

const ENCODINGS: [(&str, Squeeze); 3] = [("gzip", gzip), ("br", brotli), ("zstd", zstd)];

fn gzip(plain: &Bytes) -> Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain)?;
    Ok(encoder.finish()?.into())
}

fn zstd(plain: &Bytes) -> Result<Bytes> {
    Ok(compress_to_vec(plain.as_ref(), CompressionLevel::Fastest).into())
}

/// A brotli stream (RFC 7932) of one uncompressed meta-block: the workspace has no encoder, and a
/// decoder must take this form like any other.
fn brotli(plain: &Bytes) -> Result<Bytes> {
    let length = u32::from(u16::try_from(plain.len()).context("one block holds 64 KiB")?);
    // From the lowest bit: a window of 64 KiB (0), not the last block (0), four nibbles of length
    // (00), the length less one (16 bits), uncompressed (1).
    let head = ((length - 1) << 4) | (1 << 20);
    let mut out = head.to_le_bytes()[..3].to_vec();
    out.extend_from_slice(plain);
    // The last block, empty.
    out.push(0b11);
    Ok(out.into())
}
