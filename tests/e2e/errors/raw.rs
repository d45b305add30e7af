//! Bytes that are hardly HTTP, and requests that never end.

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use mesh_tests::wire::{self, Ask};

use super::scene;

#[tokio::test]
async fn what_is_not_http_is_answered_or_closed_and_harms_nobody() -> Result<()> {
    let (mut mesh, _) = scene().await?;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let with = |more: &[u8]| [preface.as_slice(), more].concat();
    let header = format!(
        "GET /assistant HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n",
        "y".repeat(1 << 20)
    );
    let cases: [(&str, Vec<u8>); 10] = [
        ("nothing", Vec::new()),
        ("one byte", b"G".to_vec()),
        ("noise", (0..=255).cycle().take(4096).collect()),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec()),
        ("half a request", b"POST /assistant HTTP/1.1\r\nhost: x\r\ncontent-le".to_vec()),
        ("half a body", b"POST /assistant HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{".to_vec()),
        ("two lengths", b"POST /assistant HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{}".to_vec()),
        ("a megabyte of header", header.into_bytes()),
        ("HTTP/2 and then noise", with(&[0xa5; 64])),
        ("a frame of 16 MiB", with(b"\xff\xff\xff\x00\x00\x00\x00\x00\x01")),
    ];
    for (name, bytes) in cases {
        for address in [mesh.routers[0].address, mesh.workers[0].address] {
            wire::raw(address, &bytes)
                .await
                .with_context(|| name.to_owned())?;
        }
        for node in mesh.routers.iter_mut().chain(&mut mesh.workers) {
            node.is_well()
                .await
                .with_context(|| format!("after {name}"))?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_body_without_an_end_is_refused_when_it_passes_the_bound() -> Result<()> {
    let (mut mesh, _) = scene().await?;
    let ask = Ask::post("/assistant", "application/json", "").header("a2a-version", "1.0");
    let piece = Bytes::from(vec![b' '; 64 << 10]);
    let head = wire::endless(mesh.routers[0].address, &ask, piece).await?;
    ensure!(head.status == 413 || head.status == 200, "{}", head.status);
    mesh.routers[0].is_well().await
}
