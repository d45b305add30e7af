//! A scripted model: a chat-completions server that the test holds by the hand.
//!
//! It gives what no real model would: an answer that starts and then waits for the test to let it
//! go on, so that a task runs for exactly as long as the test wants, with no pause guessed.
//!
//! What it does with the last message of a request:
//! - `hold KEY`: streams one word, waits for [`Model::release`] of KEY, streams the rest;
//! - `wait N seconds`: streams a word each quarter of a second, for that long;
//! - anything else comes back as `echo: ...`.
//!
//! # Invariants
//! - Only what the documentation of chat completions says every server sends, streamed or whole.

use std::{collections::BTreeSet, convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Result;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream, stream::BoxStream};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

use crate::eventually::eventually;

type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>;

/// The server, until it is dropped.
#[derive(Debug)]
pub struct Model {
    address: SocketAddr,
    script: Arc<Script>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct Script {
    released: watch::Sender<BTreeSet<String>>,
    asked: Mutex<Vec<Value>>,
}

impl Model {
    /// Starts on a free port.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let script = Arc::new(Script {
            released: watch::Sender::new(BTreeSet::new()),
            asked: Mutex::default(),
        });
        let accepting = spawn(accept(listener, Arc::clone(&script)));
        Ok(Self {
            address,
            script,
            accepting,
        })
    }

    /// What to set `OPENAI_BASE_URL` to.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Lets every `hold KEY` go on, those to come included.
    pub fn release(&self, key: &str) {
        self.script.released.send_modify(|released| {
            released.insert(key.to_owned());
        });
    }

    /// The requests so far, in order.
    #[must_use]
    pub fn asked(&self) -> Vec<Value> {
        self.script.asked.lock().clone()
    }

    /// Waits until a request with `text` in its last message has come.
    ///
    /// # Errors
    /// When none comes.
    pub async fn is_asked(&self, text: &str) -> Result<()> {
        eventually(&format!("the model is asked for {text:?}"), || async {
            Ok(self
                .asked()
                .iter()
                .any(|ask| last_text(ask).contains(text))
                .then_some(()))
        })
        .await
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, script: Arc<Script>) {
    while let Ok((stream, _)) = listener.accept().await {
        drop(spawn(serve(stream, Arc::clone(&script))));
    }
}

async fn serve(stream: TcpStream, script: Arc<Script>) {
    let service = service_fn(move |request| answer(request, Arc::clone(&script)));
    let connection =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // A caller that hangs up is what some tests want.
    drop(connection.await);
}

async fn answer(
    request: Request<Incoming>,
    script: Arc<Script>,
) -> Result<Response<Body>, hyper::Error> {
    let body = request.into_body().collect().await?.to_bytes();
    let Ok(ask) = serde_json::from_slice::<Value>(&body) else {
        let mut refused = Response::new(Full::new(Bytes::from("not JSON")).boxed_unsync());
        *refused.status_mut() = http::StatusCode::BAD_REQUEST;
        return Ok(refused);
    };
    let text = last_text(&ask);
    let streamed = ask["stream"] == true;
    script.asked.lock().push(ask);
    let pieces = pieces(&text, script.released.subscribe());
    if !streamed {
        let whole: String = pieces.collect::<Vec<_>>().await.concat();
        let body = Bytes::from(whole_answer(&whole).to_string());
        let mut response = Response::new(Full::new(body).boxed_unsync());
        set_type(&mut response, "application/json");
        return Ok(response);
    }
    let events = pieces
        .map(|piece| chunk(&json!({ "content": piece }), &Value::Null))
        .chain(stream::iter([
            chunk(&json!({}), &json!("stop")),
            "data: [DONE]\n\n".to_owned(),
        ]))
        .map(|event| Ok::<_, Infallible>(Frame::data(Bytes::from(event))));
    let mut response = Response::new(StreamBody::new(events).boxed_unsync());
    set_type(&mut response, "text/event-stream");
    Ok(response)
}

/// What is said, piece by piece, as the script has it.
fn pieces(
    text: &str,
    mut released: watch::Receiver<BTreeSet<String>>,
) -> BoxStream<'static, String> {
    let mut words = text.split_whitespace();
    let _ = words.by_ref().find(|word| matches!(*word, "hold" | "wait"));
    let argument = words.next().unwrap_or_default().to_owned();
    if text.contains("hold ") {
        let rest = async move {
            // The sender lives as long as the server does.
            drop(released.wait_for(|keys| keys.contains(&argument)).await);
            format!("released {argument}")
        };
        return stream::iter(["holding ".to_owned()])
            .chain(stream::once(rest))
            .boxed();
    }
    if let Ok(seconds) = argument.parse::<u32>() {
        return stream::iter(0..seconds.saturating_mul(4))
            .then(|tick| async move {
                tokio::time::sleep(Duration::from_millis(250)).await;
                format!("tick {tick} ")
            })
            .boxed();
    }
    stream::iter([format!("echo: {text}")]).boxed()
}

fn last_text(ask: &Value) -> String {
    let last = ask["messages"]
        .as_array()
        .and_then(|messages| messages.last());
    match last.map(|message| &message["content"]) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => parts
            .iter()
            .filter_map(|part| part["text"].as_str())
            .collect(),
        _ => String::new(),
    }
}

fn chunk(delta: &Value, finish: &Value) -> String {
    let chunk = json!({
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "scripted",
        "choices": [{ "index": 0, "delta": delta, "finish_reason": finish }],
    });
    format!("data: {chunk}\n\n")
}

fn whole_answer(text: &str) -> Value {
    json!({
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "scripted",
        "choices": [{
            "index": 0,
            "message": { "role": "assistant", "content": text, "refusal": null },
            "finish_reason": "stop",
        }],
        "usage": { "prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2 },
    })
}

fn set_type(response: &mut Response<Body>, kind: &'static str) {
    let value = http::HeaderValue::from_static(kind);
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, value);
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test has no drain; the task ends with its socket"
)]
fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    tokio::spawn(future)
}
