//! An answer in pieces: the agent's events in, `chat.completion.chunk` objects out.
//!
//! # Invariants
//! - The head waits for the agent's first event, so that a task that fails at once is an error with
//!   a status, and so that the head names conversation and task.
//! - `[DONE]` follows only the end of a task (or a message). Whatever else ends the stream is an error
//!   object, and then nothing.
//! - At most the bound is held of one event, and at most the bound is said in all.
//! - Every event that comes lets something go down, be it a comment: the client's silence limits
//!   see what the agent's stream shows.

use std::fmt;

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use mesh_proto::{a2a, json, rest, sse};
use serde_json::{Value, json};

use super::{
    Stamp,
    failure::Failure,
    request::Place,
    talk::{Ending, Heard, Said, Talk},
    usage,
};
use crate::call::{Body, Broken};

/// A stream under way.
pub(super) struct Chunks {
    body: Body,
    reader: sse::Reader,
    limit: usize,
    writer: Writer,
    talk: Talk,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    /// The task goes on.
    Open,
    /// All is said; the agent's stream is read to its end, so that it ends well for the agent, too.
    Said,
    /// Nothing follows.
    Over,
}

/// Writes the objects of one stream.
#[derive(Debug)]
struct Writer {
    stamp: Stamp,
    with_usage: bool,
    is_begun: bool,
}

impl fmt::Debug for Chunks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunks")
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}

/// Answers with a stream, once its first event is there.
pub(super) async fn respond(mut chunks: Chunks) -> Result<Response<Body>, Failure> {
    let mut first = BytesMut::new();
    while first.is_empty() && chunks.stage == Stage::Open {
        first = chunks.step().await?;
    }
    let place = chunks.talk.place().clone();
    let frames = stream::unfold((Some(first), chunks), |(held, mut chunks)| async move {
        if let Some(first) = held {
            return Some((Ok::<_, Broken>(Frame::data(first.freeze())), (None, chunks)));
        }
        let piece = chunks.next().await?;
        Some((Ok(Frame::data(piece)), (None, chunks)))
    });
    Ok(head(&place, StreamBody::new(frames).boxed_unsync()))
}

/// The head of a stream, with its body.
pub(super) fn head(place: &Place, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static("text/event-stream; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    place.tell(headers);
    response
}

/// An answer that came in one piece, as a stream.
pub(super) fn written(stamp: &Stamp, place: &Place, said: &Said, with_usage: bool) -> Bytes {
    let mut out = BytesMut::new();
    let mut writer = Writer {
        stamp: stamp.clone(),
        with_usage,
        is_begun: false,
    };
    writer.begin(place, &mut out);
    if !said.content.is_empty() {
        writer.say(&Heard::Content(said.content.clone()), &mut out);
    }
    writer.end(said.ending, place, &mut out);
    out.freeze()
}

impl Chunks {
    pub(super) fn new(
        body: Body,
        limit: usize,
        stamp: Stamp,
        talk: Talk,
        with_usage: bool,
    ) -> Self {
        Self {
            body,
            reader: sse::Reader::new(limit),
            limit,
            writer: Writer {
                stamp,
                with_usage,
                is_begun: false,
            },
            talk,
            stage: Stage::Open,
        }
    }

    /// The next piece to go down; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            match self.stage {
                Stage::Over => return None,
                Stage::Said => {
                    // What follows the end of a task says nothing to a chat.
                    if !matches!(self.body.frame().await, Some(Ok(_))) {
                        self.stage = Stage::Over;
                    }
                }
                Stage::Open => match self.step().await {
                    Ok(out) if out.is_empty() => {}
                    Ok(out) => return Some(out.freeze()),
                    Err(failure) => {
                        self.stage = Stage::Over;
                        return Some(event(&failure.to_json()));
                    }
                },
            }
        }
    }

    /// Reads one frame of the agent's stream and writes what it comes to.
    async fn step(&mut self) -> Result<BytesMut, Failure> {
        let mut out = BytesMut::new();
        let frame = match self.body.frame().await {
            Some(Ok(frame)) => frame,
            Some(Err(Broken)) => return Err(Failure::broken()),
            None => return Err(Failure::unfinished(self.talk.place().clone())),
        };
        let Ok(data) = frame.into_data() else {
            return Ok(out);
        };
        self.reader.feed(&data).map_err(|_| Failure::broken())?;
        while let Some(event) = self.reader.next_event() {
            if self.stage != Stage::Open {
                break;
            }
            if let Err(failure) = self.hear(&event.data, &mut out) {
                if !self.writer.is_begun {
                    return Err(failure);
                }
                // What was said before goes down before the error does.
                out.extend_from_slice(&self::event(&failure.to_json()));
                self.stage = Stage::Over;
            }
        }
        if out.is_empty() && self.writer.is_begun && self.reader.is_boundary() {
            out.extend_from_slice(&sse::comment("working"));
        }
        Ok(out)
    }

    fn hear(&mut self, data: &[u8], out: &mut BytesMut) -> Result<(), Failure> {
        let event: a2a::StreamResponse =
            json::from_slice(data).map_err(|_| Failure::not_understood())?;
        let Some(payload) = event.payload else {
            return Err(in_stream(data));
        };
        let turn = self.talk.hear(payload)?;
        if self.talk.bytes() > self.limit {
            return Err(Failure::broken());
        }
        self.writer.begin(self.talk.place(), out);
        for heard in &turn.heard {
            self.writer.say(heard, out);
        }
        if let Some(ending) = turn.ending {
            self.writer.end(ending, self.talk.place(), out);
            let waits = self.talk.place().state.as_deref().is_some_and(|state| {
                let state = a2a::TaskState::from_str_name(state);
                state == Some(a2a::TaskState::AuthRequired)
            });
            // An agent may keep its stream open while it waits for a credential (spec 7.6.1); a chat
            // client has to be let go.
            self.stage = if waits { Stage::Over } else { Stage::Said };
        }
        Ok(())
    }
}

/// An error that stands in the agent's stream in place of an event.
fn in_stream(data: &[u8]) -> Failure {
    let is_error =
        serde_json::from_slice::<Value>(data).is_ok_and(|data| data["error"].is_object());
    if is_error {
        let problem = rest::problem(StatusCode::INTERNAL_SERVER_ERROR, data);
        Failure::answered(&problem)
    } else {
        Failure::not_understood()
    }
}

impl Writer {
    /// The first chunk says who speaks, and where.
    fn begin(&mut self, place: &Place, out: &mut BytesMut) {
        if !std::mem::replace(&mut self.is_begun, true) {
            let delta = json!({"role": "assistant", "content": ""});
            self.chunk(&delta, None, Some(place), out);
        }
    }

    fn say(&self, heard: &Heard, out: &mut BytesMut) {
        let delta = match heard {
            Heard::Content(text) => json!({"content": text}),
            Heard::Progress(text) => json!({"reasoning_content": text}),
        };
        self.chunk(&delta, None, None, out);
    }

    /// The last words. The message's own `a2a` comes here, once: a client that puts the deltas
    /// together gets the same message as from a whole answer.
    fn end(&self, ending: Ending, place: &Place, out: &mut BytesMut) {
        self.chunk(&json!({"a2a": place}), Some(ending), Some(place), out);
        if self.with_usage {
            let mut chunk = self.empty();
            chunk["usage"] = usage();
            out.extend_from_slice(&event(&chunk));
        }
        out.extend_from_slice(&sse::write(&sse::Event::of_data(b"[DONE]")));
    }

    fn chunk(
        &self,
        delta: &Value,
        ending: Option<Ending>,
        place: Option<&Place>,
        out: &mut BytesMut,
    ) {
        let mut chunk = self.empty();
        chunk["choices"] = json!([{
            "index": 0, "delta": delta, "logprobs": null,
            "finish_reason": ending.map(Ending::as_str),
        }]);
        if let Some(place) = place {
            chunk["a2a"] = json!(place);
        }
        if self.with_usage {
            chunk["usage"] = Value::Null;
        }
        out.extend_from_slice(&event(&chunk));
    }

    fn empty(&self) -> Value {
        json!({
            "id": self.stamp.id, "object": "chat.completion.chunk", "created": self.stamp.created,
            "model": self.stamp.model.as_str(), "choices": [],
        })
    }
}

fn event(data: &Value) -> Bytes {
    sse::write(&sse::Event::of_data(&json::to_bytes(data)))
}
