//! As much of Kafka's protocol as makes topics: a metadata request (v4) that asks for them.

use anyhow::{Context as _, Result, bail};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const METADATA: (i16, i16) = (3, 4);

/// Asks for topics, which makes those that are missing; how many of them have leaders already.
pub(super) async fn ask_for(socket: &mut TcpStream, topics: &[String]) -> Result<usize> {
    let mut asked = BytesMut::new();
    asked.put_i16(METADATA.0);
    asked.put_i16(METADATA.1);
    asked.put_i32(1);
    put(&mut asked, "test")?;
    asked.put_i32(i32::try_from(topics.len())?);
    for topic in topics {
        put(&mut asked, topic)?;
    }
    // It may make them.
    asked.put_u8(1);
    socket.write_i32(i32::try_from(asked.len())?).await?;
    socket.write_all(&asked).await?;
    let length = usize::try_from(socket.read_i32().await?)?;
    let mut answer = vec![0; length];
    socket.read_exact(&mut answer).await?;
    ready(Bytes::from(answer)).context("kafka's answer ends too early")
}

fn put(to: &mut BytesMut, text: &str) -> Result<()> {
    to.put_i16(i16::try_from(text.len())?);
    to.put_slice(text.as_bytes());
    Ok(())
}

/// The topics of an answer that can be published to.
fn ready(mut answer: Bytes) -> Result<usize> {
    // What it answers, and for how long it throttles.
    skip(&mut answer, 8)?;
    for _ in 0..answer.try_get_i32()? {
        skip(&mut answer, 4)?;
        text(&mut answer)?;
        skip(&mut answer, 4)?;
        text(&mut answer)?;
    }
    text(&mut answer)?;
    skip(&mut answer, 4)?;
    let mut ready = 0;
    for _ in 0..answer.try_get_i32()? {
        let mut is_ready = answer.try_get_i16()? == 0;
        text(&mut answer)?;
        skip(&mut answer, 1)?;
        for _ in 0..answer.try_get_i32()? {
            is_ready &= answer.try_get_i16()? == 0;
            skip(&mut answer, 8)?;
            for _ in 0..2 {
                let replicas = usize::try_from(answer.try_get_i32()?)?;
                skip(&mut answer, replicas * 4)?;
            }
        }
        ready += usize::from(is_ready);
    }
    Ok(ready)
}

fn text(answer: &mut Bytes) -> Result<()> {
    // None is -1 long.
    let length = usize::try_from(answer.try_get_i16()?).unwrap_or(0);
    skip(answer, length)
}

fn skip(answer: &mut Bytes, bytes: usize) -> Result<()> {
    if answer.remaining() < bytes {
        bail!("{bytes} bytes are not there");
    }
    answer.advance(bytes);
    Ok(())
}
