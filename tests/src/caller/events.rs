//! The events of a stream, one by one, in any binding.
//!
//! # Invariants
//! - An event is given when it is whole, so a test can tell a stream from an answer that was held back.

use std::collections::VecDeque;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::BytesMut;
use http::{HeaderMap, Response, response::Parts};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use mesh_proto::{Binding, a2a};
use prost::Message as _;
use serde_json::Value;

use super::{Refusal, Said, words};
use crate::{
    eventually::within,
    wire::{self, Reply},
};

/// What a stream brings.
pub type Event = a2a::stream_response::Payload;

/// A stream that is open.
#[derive(Debug)]
pub struct Events {
    binding: Binding,
    head: Parts,
    body: Incoming,
    buffer: BytesMut,
    ready: VecDeque<Said<Event>>,
    end: Option<HeaderMap>,
    keep_alives: usize,
}

impl Events {
    /// Takes over a stream's answer; a refusal before the first event is told apart.
    ///
    /// # Errors
    /// When the answer is not what the binding says of streams.
    pub async fn open(binding: Binding, answer: Response<Incoming>) -> Result<Said<Self>> {
        let (head, body) = answer.into_parts();
        let kind = head
            .headers
            .get("content-type")
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned();
        let streams = match binding {
            Binding::Grpc => kind.starts_with("application/grpc"),
            Binding::JsonRpc | Binding::Rest => kind.starts_with("text/event-stream"),
        };
        let only_trailers = head.headers.contains_key("grpc-status");
        if streams && !only_trailers {
            return Ok(Ok(Self {
                binding,
                head,
                body,
                buffer: BytesMut::new(),
                ready: VecDeque::new(),
                end: None,
                keep_alives: 0,
            }));
        }
        let body = within("an error", async { Ok(body.collect().await?.to_bytes()) }).await?;
        let trailers = head.headers.clone();
        let reply = Reply {
            status: head.status,
            headers: head.headers,
            body,
            trailers,
        };
        match Refusal::of(binding, &reply)? {
            Some(refusal) => Ok(Err(refusal)),
            None => bail!("neither a stream nor an error: {kind} {}", reply.text()),
        }
    }

    /// The answer's headers.
    #[must_use]
    pub const fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// How many keep-alive comments came so far.
    #[must_use]
    pub const fn keep_alives(&self) -> usize {
        self.keep_alives
    }

    /// The next event; `None` at the end of a stream that ended well.
    ///
    /// # Errors
    /// When the stream breaks, ends badly, or is silent for too long. A refusal inside the stream
    /// is an error, too: use [`Events::next`] to tell it apart.
    pub async fn event(&mut self) -> Result<Option<Event>> {
        match self.next().await? {
            Some(Ok(event)) => Ok(Some(event)),
            Some(Err(refusal)) => bail!("refused in the stream: {refusal:?}"),
            None => Ok(None),
        }
    }

    /// The next event or the error that ends the stream.
    ///
    /// # Errors
    /// When the stream breaks, or is silent for too long.
    pub async fn next(&mut self) -> Result<Option<Said<Event>>> {
        within("the next event", async {
            loop {
                if let Some(event) = self.ready.pop_front() {
                    return Ok(Some(event));
                }
                if self.end.is_some() {
                    return Ok(None);
                }
                match self.body.frame().await {
                    Some(frame) => match frame.context("the stream broke")?.into_data() {
                        Ok(data) => {
                            self.buffer.extend_from_slice(&data);
                            self.take()?;
                        }
                        Err(frame) => self.close(frame.into_trailers().unwrap_or_default())?,
                    },
                    None => self.close(HeaderMap::new())?,
                }
            }
        })
        .await
    }

    /// All that is left, to the end.
    ///
    /// # Errors
    /// As [`Events::event`].
    pub async fn rest(&mut self) -> Result<Vec<Event>> {
        let mut events = Vec::new();
        while let Some(event) = self.event().await? {
            events.push(event);
        }
        Ok(events)
    }

    /// All that is left, each event as a word: see [`words::word`].
    ///
    /// # Errors
    /// As [`Events::event`].
    pub async fn words(&mut self) -> Result<Vec<String>> {
        Ok(self.rest().await?.iter().map(words::word).collect())
    }

    fn take(&mut self) -> Result<()> {
        if self.binding == Binding::Grpc {
            for message in wire::unframe(&mut self.buffer) {
                let event = a2a::StreamResponse::decode(message)?;
                self.ready
                    .push_back(Ok(event.payload.context("an empty event")?));
            }
            return Ok(());
        }
        while let Some(event) = split_event(&mut self.buffer) {
            match data(&event) {
                Some(data) => self.ready.push_back(self.read(&data)?),
                None => self.keep_alives += 1,
            }
        }
        Ok(())
    }

    fn read(&self, data: &str) -> Result<Said<Event>> {
        let mut value: Value = serde_json::from_str(data)
            .with_context(|| format!("an event that is not JSON: {data}"))?;
        if self.binding == Binding::JsonRpc {
            if let Some(refusal) = Refusal::of_json_rpc(&value)? {
                return Ok(Err(refusal));
            }
            value = value["result"].take();
        } else if value.get("error").is_some() {
            return Ok(Err(Refusal::of_rest(&value)?));
        }
        let event: a2a::StreamResponse = serde_json::from_value(value)?;
        Ok(Ok(event
            .payload
            .with_context(|| format!("an empty event: {data}"))?))
    }

    fn close(&mut self, trailers: HeaderMap) -> Result<()> {
        let left = String::from_utf8_lossy(&self.buffer).into_owned();
        ensure!(
            left.trim().is_empty(),
            "the stream ended inside an event: {left:?}"
        );
        if self.binding == Binding::Grpc {
            let status = self.head.status;
            let headers = self.head.headers.clone();
            let body = bytes::Bytes::new();
            let reply = Reply {
                status,
                headers,
                body,
                trailers: trailers.clone(),
            };
            if let Some(refusal) = Refusal::of(Binding::Grpc, &reply)? {
                self.ready.push_back(Err(refusal));
            }
        }
        self.end = Some(trailers);
        Ok(())
    }
}

/// Cuts one event off: up to the blank line, whatever the line ends.
fn split_event(buffer: &mut BytesMut) -> Option<String> {
    let ends: [&[u8]; 3] = [b"\r\n\r\n", b"\n\n", b"\r\r"];
    let (at, length) = ends
        .iter()
        .filter_map(|end| {
            buffer
                .windows(end.len())
                .position(|window| window == *end)
                .map(|at| (at, end.len()))
        })
        .min()?;
    let event = buffer.split_to(at + length);
    Some(String::from_utf8_lossy(&event).into_owned())
}

/// The data lines of an event, joined; `None` for a comment.
fn data(event: &str) -> Option<String> {
    let lines: Vec<&str> = event
        .lines()
        .filter_map(|line| line.strip_prefix("data:"))
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}
