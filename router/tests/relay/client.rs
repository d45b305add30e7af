//! A client without opinions: bytes in, bytes out.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use mesh_proto::{Binding, pivot::WireRequest};
use tokio::net::TcpStream;

#[derive(Clone)]
pub(crate) struct Client {
    to: SocketAddr,
}

/// A whole answer; of gRPC, head and trailers together.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Whether the head said that nothing follows it.
    pub(crate) is_head_alone: bool,
    body: Bytes,
}

impl Answered {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }

    /// Everything that could be read in it, head and body.
    pub(crate) fn text_lossy(&self) -> String {
        format!("{:?} {}", self.headers, String::from_utf8_lossy(&self.body))
    }

    pub(crate) const fn bytes(&self) -> &Bytes {
        &self.body
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// An answer that is being read.
pub(crate) struct Stream {
    body: Incoming,
    held: Vec<u8>,
}

impl Client {
    pub(crate) const fn to(address: SocketAddr) -> Self {
        Self { to: address }
    }

    pub(crate) fn address(&self) -> String {
        self.to.to_string()
    }

    pub(crate) async fn get(&self, path: &str) -> Answered {
        self.get_with(path, &[]).await
    }

    pub(crate) async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answered {
        whole(self.h1(Request::get(path), headers, Bytes::new()).await).await
    }

    pub(crate) async fn head(&self, path: &str) -> Answered {
        whole(self.h1(Request::head(path), &[], Bytes::new()).await).await
    }

    pub(crate) async fn post(&self, path: &str, body: &[u8], headers: &[(&str, &str)]) -> Answered {
        let body = Bytes::copy_from_slice(body);
        whole(self.h1(json_post(path), headers, body).await).await
    }

    pub(crate) async fn stream(&self, path: &str, body: &[u8], headers: &[(&str, &str)]) -> Stream {
        let body = Bytes::copy_from_slice(body);
        let response = self.h1(json_post(path), headers, body).await;
        Stream {
            body: response.into_body(),
            held: Vec::new(),
        }
    }

    pub(crate) async fn grpc(
        &self,
        path: &str,
        frame: Bytes,
        headers: &[(&str, &str)],
    ) -> Answered {
        let io = TokioIo::new(TcpStream::connect(self.to).await.unwrap());
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::task::spawn(connection);
        let mut request = Request::post(format!("http://{}{path}", self.to))
            .header(header::CONTENT_TYPE, "application/grpc")
            .header(header::TE, "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        whole(
            sender
                .send_request(request.body(Full::new(frame)).unwrap())
                .await
                .unwrap(),
        )
        .await
    }

    /// Whatever a codec wrote, to the agent at this path; the answer is still to be read.
    pub(crate) async fn call(
        &self,
        binding: Binding,
        at: &str,
        wire: WireRequest,
        headers: &[(&str, &str)],
    ) -> Response<Incoming> {
        let mut request = match binding {
            Binding::Grpc => Request::builder().uri(format!("http://{}{}", self.to, wire.path)),
            Binding::JsonRpc | Binding::Rest => {
                Request::builder().uri(format!("{at}{}", wire.path))
            }
        };
        request = request.method(wire.method);
        if let Some(kind) = wire.content_type {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        if binding != Binding::Grpc {
            return self.h1(request, headers, wire.body).await;
        }
        let io = TokioIo::new(TcpStream::connect(self.to).await.unwrap());
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::task::spawn(connection);
        request = request.header(header::TE, "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(wire.body)).unwrap();
        sender.send_request(request).await.unwrap()
    }

    async fn h1(
        &self,
        mut request: http::request::Builder,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Response<Incoming> {
        let io = TokioIo::new(TcpStream::connect(self.to).await.unwrap());
        let (mut sender, connection) = http1::handshake(io).await.unwrap();
        tokio::task::spawn(connection);
        request = request.header(header::HOST, self.to.to_string());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        sender
            .send_request(request.body(Full::new(body)).unwrap())
            .await
            .unwrap()
    }
}

impl Stream {
    /// Exactly so many bytes, as soon as they are there.
    pub(crate) async fn read(&mut self, count: usize) -> Vec<u8> {
        while self.held.len() < count {
            let frame = self.body.frame().await.unwrap().unwrap();
            self.held.extend_from_slice(&frame.into_data().unwrap());
        }
        let rest = self.held.split_off(count);
        std::mem::replace(&mut self.held, rest)
    }

    /// What comes until the end; an error where the connection is cut.
    pub(crate) async fn rest(mut self) -> Result<Vec<u8>, hyper::Error> {
        let tail = self.body.collect().await?.to_bytes();
        self.held.extend_from_slice(&tail);
        Ok(self.held)
    }
}

/// A SendMessage over JSON-RPC.
pub(crate) fn send_message(message: &str, context: Option<&str>) -> String {
    let context = context
        .map(|id| format!(r#","contextId":"{id}""#))
        .unwrap_or_default();
    format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{{"message":{{"messageId":"{message}","role":"ROLE_USER","parts":[{{"text":"x"}}]{context}}}}}}}"#
    )
}

/// Waits for a condition, and says which one never came.
pub(crate) async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(20), async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "waited in vain for {what}");
}

fn json_post(path: &str) -> http::request::Builder {
    Request::post(path).header(header::CONTENT_TYPE, "application/json")
}

async fn whole(response: Response<Incoming>) -> Answered {
    let is_head_alone = http_body::Body::is_end_stream(response.body());
    let (parts, body) = response.into_parts();
    let collected = body.collect().await.unwrap();
    let mut headers = parts.headers;
    if let Some(trailers) = collected.trailers() {
        headers.extend(trailers.clone());
    }
    Answered {
        is_head_alone,
        status: parts.status,
        headers,
        body: collected.to_bytes(),
    }
}
