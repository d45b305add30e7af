//! A router is replaced by the next one: no connection is refused, no call fails.
//!
//! The clients here are strict: each tells of the first call that it could not finish, and sends again
//! only what HTTP itself says was never sent.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use bytes::Bytes;
use futures_util::future::try_join_all;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use mesh_proto::{Binding, Operation};
use mesh_tests::{
    caller::{BINDINGS, Caller, words::question},
    eventually::eventually,
    model::Model,
};
use tokio::{net::TcpStream, try_join};

use crate::stage::mesh;

/// How many calls each client makes before, between and after the restarts, at least.
const CALLS: u64 = 25;

#[tokio::test]
async fn no_call_fails_while_routers_follow_each_other() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let plan = mesh(1)
        .router("--takeover")
        .router(folder.path().join("takeover"));
    let mut mesh = plan.start().await?;
    let address = mesh.router().address;
    let load = Load::default();
    let clients = try_join_all((0..CLIENTS).map(|number| load.client(number, address)));
    let restarts = async {
        for generation in 1..=3 {
            load.goes_on().await?;
            let next = plan.start_router(generation, &mesh.workers).await?;
            ensure!(next.address == address, "{} became {address}", next.address);
            let mut before = std::mem::replace(&mut mesh.routers[0], next);
            let status = before.process.end().await?;
            ensure!(status.success(), "{status}");
        }
        load.goes_on().await?;
        load.over.store(true, Ordering::Relaxed);
        Ok(())
    };
    try_join!(clients, restarts)?;
    Ok(())
}

#[tokio::test]
async fn a_stream_runs_to_its_end_while_the_next_router_takes_new_calls() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let model = Model::start().await?;
    let plan = mesh(1)
        .environment("OPENAI_BASE_URL", model.base_url())
        .router("--takeover")
        .router(folder.path().join("takeover"));
    let mut mesh = plan.start().await?;
    for (generation, binding) in BINDINGS.into_iter().enumerate() {
        let name = format!("takeover-{generation}");
        let caller = mesh.router().caller("assistant", binding);
        let mut events = caller.stream(question(&format!("hold {name}"))).await??;
        ensure!(events.event().await?.is_some(), "the stream begins");
        model.is_asked(&format!("hold {name}")).await?;
        let next = plan.start_router(generation + 1, &mesh.workers).await?;
        let mut before = std::mem::replace(&mut mesh.routers[0], next);
        // By the same address, and so by the next one.
        caller.send(question("while the other drains")).await??;
        ensure!(
            before.process.is_alive()?,
            "{binding}: it has a stream left"
        );
        model.release(&name);
        let words = events.words().await?;
        let last = words.last().map(String::as_str);
        ensure!(last == Some("completed"), "{binding}: {words:?}");
        drop(events);
        let status = before.process.end().await?;
        ensure!(status.success(), "{binding}: {status}");
    }
    Ok(())
}

/// Clients that call one after the other until it is over.
#[derive(Default)]
struct Load {
    finished: [AtomicU64; CLIENTS],
    over: AtomicBool,
}

const CLIENTS: usize = 9;

impl Load {
    /// A third each: a connection per call, HTTP/1.1 kept alive, HTTP/2.
    async fn client(&self, number: usize, to: SocketAddr) -> Result<()> {
        let binding = match number % 3 {
            2 => Binding::Grpc,
            _ => Binding::JsonRpc,
        };
        let caller = Caller::new(to, "assistant", binding);
        let mut kept = None;
        while !self.over.load(Ordering::Relaxed) {
            let ask = caller.ask(Operation::SendMessage, &question("17+4"), "/message:send")?;
            let uri = match binding {
                Binding::Grpc => format!("http://{to}{}", ask.path),
                _ => ask.path,
            };
            let mut request = Request::post(uri).header(header::HOST, to.to_string());
            for (name, value) in &ask.headers {
                request = request.header(name, value);
            }
            let mut next = request.body(Full::new(ask.body))?;
            let response = loop {
                let mut line = match kept.take() {
                    Some(line) => line,
                    None => Line::open(to, binding).await?,
                };
                match line.send(next).await {
                    Ok(response) => {
                        kept = (!number.is_multiple_of(3)).then_some(line);
                        break response;
                    }
                    Err(mut failed) => {
                        let unsent = failed.take_message();
                        let error = failed.into_error();
                        next = unsent.ok_or_else(|| anyhow!(error).context("a call failed"))?;
                    }
                }
            };
            is_good(response)
                .await
                .with_context(|| format!("client {number}"))?;
            self.finished[number].fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Waits until each client has finished some more calls.
    async fn goes_on(&self) -> Result<()> {
        let count = |each: &AtomicU64| each.load(Ordering::Relaxed);
        let before: Vec<u64> = self.finished.iter().map(count).collect();
        eventually("calls of every client", || async {
            let mut both = self.finished.iter().map(count).zip(&before);
            Ok(both
                .all(|(now, before)| now >= before + CALLS)
                .then_some(()))
        })
        .await
    }
}

async fn is_good(response: Response<Incoming>) -> Result<()> {
    let (head, body) = response.into_parts();
    let body = body.collect().await.context("an answer broke off")?;
    ensure!(head.status == StatusCode::OK, "{}", head.status);
    if let Some(trailers) = body.trailers() {
        let status = trailers.get("grpc-status");
        ensure!(status.is_some_and(|status| status == "0"), "{trailers:?}");
    }
    let body = body.to_bytes();
    let text = String::from_utf8_lossy(&body);
    ensure!(text.contains("21"), "{text}");
    Ok(())
}

/// A connection.
enum Line {
    One(http1::SendRequest<Full<Bytes>>),
    Two(http2::SendRequest<Full<Bytes>>),
}

type Failed = TrySendError<Request<Full<Bytes>>>;

impl Line {
    #[expect(clippy::disallowed_methods, reason = "a test's client is in no drain")]
    async fn open(to: SocketAddr, binding: Binding) -> Result<Self> {
        let socket = TcpStream::connect(to).await.context("refused")?;
        let io = TokioIo::new(socket);
        if binding == Binding::Grpc {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
            tokio::spawn(connection);
            return Ok(Self::Two(sender));
        }
        let (sender, connection) = http1::handshake(io).await?;
        tokio::spawn(connection);
        Ok(Self::One(sender))
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Failed> {
        match self {
            Self::One(sender) => {
                // An answer's end is heard a moment later than its last byte.
                sender.ready().await.ok();
                sender.try_send_request(request).await
            }
            Self::Two(sender) => {
                sender.ready().await.ok();
                sender.try_send_request(request).await
            }
        }
    }
}
