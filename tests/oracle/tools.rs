//! The tool that the agents call: an MCP server over HTTP, in the test's own process, which writes down
//! under which key each call came, and takes a moment for each.
//!
//! # Invariants
//! - It outlives every worker and forgets nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use anyhow::Result;
use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

/// How the call's key is named among its `_meta`.
const KEY: &str = "daca/idempotencyKey";

/// See the module.
pub(crate) struct Tools {
    address: SocketAddr,
    calls: Arc<Mutex<Vec<Call>>>,
    accepting: JoinHandle<()>,
}

/// One call.
#[derive(Clone, Debug)]
struct Call {
    key: String,
    of: String,
}

impl Tools {
    pub(crate) async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let calls = Arc::default();
        Ok(Self {
            address: listener.local_addr()?,
            accepting: spawn(accept(listener, Arc::clone(&calls))),
            calls,
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// What is wrong with the calls: each of so many words was counted under one key, and no key was of two
    /// words.
    pub(crate) fn judge(&self, wanted: usize) -> Vec<String> {
        let (by_word, by_key) = self.sorted();
        let all = format!("{} words were counted, of {wanted}", by_word.len());
        let all = (by_word.len() < wanted).then_some(all);
        let words = by_word
            .iter()
            .filter(|(_, keys)| keys.len() != 1 || keys.contains(""))
            .map(|(word, keys)| format!("{word} was counted under the keys {keys:?}"));
        let keys = by_key
            .iter()
            .filter(|(_, words)| words.len() != 1)
            .map(|(key, words)| format!("key {key:?} is of the words {words:?}"));
        all.into_iter().chain(words).chain(keys).collect()
    }

    pub(crate) fn report(&self) -> String {
        let all = self.calls.lock().len();
        let (words, _) = self.sorted();
        let repeated = all - words.len();
        format!("tool calls {all}, of them {repeated} repeated, each under the key of the first\n")
    }

    fn sorted(&self) -> (Groups, Groups) {
        let (mut words, mut keys) = (Groups::new(), Groups::new());
        for Call { key, of } in self.calls.lock().iter() {
            words.entry(of.clone()).or_default().insert(key.clone());
            keys.entry(key.clone()).or_default().insert(of.clone());
        }
        (words, keys)
    }
}

type Groups = BTreeMap<String, BTreeSet<String>>;

impl Drop for Tools {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, calls: Arc<Mutex<Vec<Call>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let calls = Arc::clone(&calls);
        drop(spawn(async move {
            let service = service_fn(move |request| answer(request, Arc::clone(&calls)));
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            // A worker that is killed hangs up.
            drop(connection.await);
        }));
    }
}

async fn answer(
    request: Request<Incoming>,
    calls: Arc<Mutex<Vec<Call>>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await;
    let body = body.map(http_body_util::Collected::to_bytes);
    let asked: Value = body
        .ok()
        .and_then(|body| serde_json::from_slice(&body).ok())
        .unwrap_or_default();
    let result = match asked["method"].as_str() {
        Some("initialize") => json!({
            "protocolVersion": asked["params"]["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "tally", "version": "1"},
        }),
        Some("tools/list") => json!({"tools": [{
            "name": "count",
            "description": "Counts a word.",
            "inputSchema": {
                "type": "object",
                "properties": {"of": {"type": "string", "description": "the word to count"}},
                "required": ["of"],
            },
        }]}),
        Some("tools/call") => count(&asked["params"], &calls).await,
        Some("ping") => json!({}),
        // A notification, or the wish for a stream of our own.
        Some(_) => return Ok(status(StatusCode::ACCEPTED)),
        None => return Ok(status(StatusCode::METHOD_NOT_ALLOWED)),
    };
    let answer = json!({"jsonrpc": "2.0", "id": asked["id"], "result": result}).to_string();
    let mut response = Response::new(Full::from(answer));
    let kind = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

async fn count(params: &Value, calls: &Mutex<Vec<Call>>) -> Value {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let call = Call {
        key: text(&params["_meta"][KEY]),
        of: text(&params["arguments"]["of"]),
    };
    // Between a fifth of a second and a whole one, the same for the same word.
    let share = call.of.bytes().map(u64::from).sum::<u64>() % 5;
    let said = format!("{} counted", call.of);
    calls.lock().push(call);
    tokio::time::sleep(Duration::from_millis(200 + 200 * share)).await;
    json!({"content": [{"type": "text", "text": said}]})
}

fn status(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
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
