//! A webhook that works half of the time: of what comes it refuses a quarter, and takes another quarter
//! without saying so. It can be restarted, and remembers what it took.

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use anyhow::{Result, ensure};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::{
    net::TcpListener,
    task::{JoinHandle, JoinSet},
};

/// What refuses for good, until it is told otherwise.
pub(super) const GONE: &str = "/gone";

/// See the module.
pub(super) struct Receiver {
    address: SocketAddr,
    heard: Arc<Mutex<Heard>>,
    accepting: JoinHandle<()>,
}

/// What came.
#[derive(Default)]
pub(super) struct Heard {
    /// What was taken, by its `idempotency-key`: the body, and how often it came.
    pub(super) taken: HashMap<String, (Bytes, usize)>,
    /// Requests without such a key.
    pub(super) nameless: usize,
    /// Requests that were not answered with success.
    pub(super) failed: usize,
    /// Whether [`GONE`] takes what comes.
    pub(super) is_back: bool,
    came: u64,
}

impl Heard {
    /// The final events that were taken of each task, by their keys.
    pub(super) fn ends(&self) -> HashMap<String, Vec<&str>> {
        let mut ends: HashMap<String, Vec<&str>> = HashMap::new();
        for (key, (body, _)) in &self.taken {
            if let Some(task) = ended(body) {
                ends.entry(task).or_default().push(key);
            }
        }
        ends
    }
}

/// The task that an event says is completed.
fn ended(body: &[u8]) -> Option<String> {
    let event: Value = serde_json::from_slice(body).ok()?;
    let of = event.as_object()?.values().next()?;
    let is_end = of["status"]["state"] == "TASK_STATE_COMPLETED";
    let id = of["taskId"].as_str().or_else(|| of["id"].as_str())?;
    is_end.then(|| id.to_owned())
}

impl Receiver {
    pub(super) async fn start(address: SocketAddr) -> Result<Self> {
        let heard = Arc::default();
        let accepting = accept(address, &heard).await?;
        Ok(Self {
            address,
            heard,
            accepting,
        })
    }

    /// Ends all its connections and its listener, and comes back at the same address.
    pub(super) async fn restart(&mut self) -> Result<()> {
        self.accepting.abort();
        let ended = (&mut self.accepting).await;
        ensure!(ended.is_err(), "it had ended before");
        self.accepting = accept(self.address, &self.heard).await?;
        Ok(())
    }

    /// What came until now.
    pub(super) fn heard<T>(&self, look: impl FnOnce(&mut Heard) -> T) -> T {
        look(&mut self.heard.lock())
    }
}

async fn accept(address: SocketAddr, heard: &Arc<Mutex<Heard>>) -> Result<JoinHandle<()>> {
    let listener = TcpListener::bind(address).await?;
    let heard = Arc::clone(heard);
    Ok(tokio::task::spawn(async move {
        // They end with it.
        let mut open = JoinSet::new();
        while let Ok((socket, _)) = listener.accept().await {
            let heard = Arc::clone(&heard);
            let service = service_fn(move |request| answer(request, Arc::clone(&heard)));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(socket), service);
            drop(open.spawn(async move { drop(connection.await) }));
        }
    }))
}

async fn answer(
    request: Request<Incoming>,
    heard: Arc<Mutex<Heard>>,
) -> Result<Response<Full<Bytes>>> {
    let key = request.headers().get("idempotency-key");
    let key = key.and_then(|key| key.to_str().ok()).map(str::to_owned);
    let is_gone = request.uri().path() == GONE;
    let body = request.into_body().collect().await?.to_bytes();
    let mut heard = heard.lock();
    let Some(key) = key else {
        heard.nameless += 1;
        return status(StatusCode::BAD_REQUEST);
    };
    if is_gone && !heard.is_back {
        return status(StatusCode::GONE);
    }
    heard.came += 1;
    let fate = scatter(heard.came) & 3;
    if fate == 0 {
        heard.failed += 1;
        return status(StatusCode::SERVICE_UNAVAILABLE);
    }
    let known = heard.taken.entry(key).or_insert_with(|| (body.clone(), 0));
    ensure!(known.0 == body, "one key and two bodies");
    known.1 += 1;
    if fate == 1 {
        heard.failed += 1;
        anyhow::bail!("taken, and not answered");
    }
    status(StatusCode::NO_CONTENT)
}

fn status(status: StatusCode) -> Result<Response<Full<Bytes>>> {
    Ok(Response::builder().status(status).body(Full::default())?)
}

/// The same for each run, and in no order.
const fn scatter(number: u64) -> u64 {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ (mixed >> 27)) >> 32
}
