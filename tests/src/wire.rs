//! HTTP by hand: one connection a call, HTTP/1.1 or HTTP/2, every byte under the test's control.
//!
//! # Invariants
//! - Nothing is added to a request but what HTTP itself needs, so that a test can leave things out.

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
};

use anyhow::{Context as _, Result};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::{HeaderMap, Method, Request, Response, StatusCode, header::HOST, response::Parts};
use http_body_util::{BodyExt, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

use crate::eventually::within;

/// Which HTTP a call speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Http {
    /// HTTP/1.1.
    One,
    /// HTTP/2 from the first byte (h2c).
    Two,
}

/// A request before it is sent.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// The headers, without `host`.
    pub headers: Vec<(String, String)>,
    /// The body, in one piece.
    pub body: Bytes,
    /// The HTTP to speak.
    pub http: Http,
    /// The address to come from, where it matters.
    pub from: Option<IpAddr>,
}

impl Ask {
    /// A POST over HTTP/1.1.
    #[must_use]
    pub fn post(path: &str, content_type: &str, body: impl Into<Bytes>) -> Self {
        Self {
            method: Method::POST,
            path: path.to_owned(),
            headers: vec![("content-type".to_owned(), content_type.to_owned())],
            body: body.into(),
            http: Http::One,
            from: None,
        }
    }

    /// A GET over HTTP/1.1.
    #[must_use]
    pub fn get(path: &str) -> Self {
        Self {
            method: Method::GET,
            path: path.to_owned(),
            headers: Vec::new(),
            body: Bytes::new(),
            http: Http::One,
            from: None,
        }
    }

    /// With another method.
    #[must_use]
    pub fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// From this address of the machine's.
    #[must_use]
    pub fn from(mut self, address: IpAddr) -> Self {
        self.from = Some(address);
        self
    }

    /// Over HTTP/2.
    #[must_use]
    pub fn http2(mut self) -> Self {
        self.http = Http::Two;
        self
    }

    /// Without the headers of that name.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self
    }
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// The trailers; for an answer that is only trailers, its headers.
    pub trailers: HeaderMap,
}

impl Reply {
    /// The body as JSON.
    ///
    /// # Errors
    /// When it is something else.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("{}: not JSON: {}", self.status, self.text()))
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header, or nothing.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
}

/// Sends and reads the whole answer.
///
/// # Errors
/// When there is no answer, or it does not end in time.
pub async fn exchange(to: SocketAddr, ask: &Ask) -> Result<Reply> {
    within(&format!("{} {}", ask.method, ask.path), async {
        let (head, body) = open(to, ask).await?.into_parts();
        let whole = body.collect().await.context("the answer broke off")?;
        let trailers = whole
            .trailers()
            .cloned()
            .unwrap_or_else(|| head.headers.clone());
        Ok(Reply {
            status: head.status,
            headers: head.headers,
            body: whole.to_bytes(),
            trailers,
        })
    })
    .await
}

/// Sends and gives back the answer while its body still comes.
///
/// # Errors
/// When there is no answer.
pub async fn open(to: SocketAddr, ask: &Ask) -> Result<Response<Incoming>> {
    let stream = match ask.from {
        None => TcpStream::connect(to).await,
        Some(from) => {
            let socket = match to {
                SocketAddr::V4(_) => TcpSocket::new_v4()?,
                SocketAddr::V6(_) => TcpSocket::new_v6()?,
            };
            socket.bind((from, 0).into())?;
            socket.connect(to).await
        }
    };
    let stream = stream.with_context(|| format!("connecting to {to}"))?;
    stream.set_nodelay(true)?;
    let io = TokioIo::new(stream);
    let body = ask.body.clone();
    // A sized body for HTTP/1.1, so that hyper writes a content-length as clients do.
    let body = http_body_util::Full::new(body).boxed();
    match ask.http {
        Http::One => {
            let request = request(to, ask, body)?;
            let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
            carry(connection);
            Ok(sender.send_request(request).await?)
        }
        Http::Two => {
            let request = request(to, ask, body)?;
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await?;
            carry(connection);
            Ok(sender.send_request(request).await?)
        }
    }
}

/// Sends a request whose body never ends by itself, and reads the answer to it.
///
/// # Errors
/// When there is no answer in time.
pub async fn endless(to: SocketAddr, ask: &Ask, piece: Bytes) -> Result<Parts> {
    within("an answer to a body without an end", async {
        let pieces = stream::repeat_with(move || Ok::<_, Infallible>(Frame::data(piece.clone())));
        let request = request(to, ask, BodyExt::boxed(StreamBody::new(pieces)))?;
        let io = TokioIo::new(TcpStream::connect(to).await?);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
        carry(connection);
        Ok(sender.send_request(request).await?.into_parts().0)
    })
    .await
}

/// Writes bytes as they are and reads until the other side closes.
///
/// # Errors
/// When the other side neither answers nor closes in time.
pub async fn raw(to: SocketAddr, bytes: &[u8]) -> Result<Vec<u8>> {
    within("an answer to raw bytes", async {
        let mut stream = TcpStream::connect(to).await?;
        // The other side may refuse before it has read everything.
        drop(stream.write_all(bytes).await);
        drop(stream.shutdown().await);
        let mut answer = Vec::new();
        // A reset is an answer, too: what came before it is kept.
        drop(stream.read_to_end(&mut answer).await);
        Ok(answer)
    })
    .await
}

/// Puts gRPC's five bytes before a message.
#[must_use]
pub fn frame(message: &impl prost::Message) -> Bytes {
    let length = u32::try_from(message.encoded_len()).unwrap_or(u32::MAX);
    let mut out = BytesMut::with_capacity(5 + message.encoded_len());
    out.extend_from_slice(&[0]);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&message.encode_to_vec());
    out.freeze()
}

/// Takes the whole gRPC messages off the front of `buffer`.
#[must_use]
pub fn unframe(buffer: &mut BytesMut) -> Vec<Bytes> {
    let mut messages = Vec::new();
    while let Some((head, rest)) = buffer.split_first_chunk::<5>() {
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        if rest.len() < length {
            break;
        }
        let mut whole = buffer.split_to(5 + length);
        messages.push(whole.split_off(5).freeze());
    }
    messages
}

fn request(
    to: SocketAddr,
    ask: &Ask,
    body: BoxBody<Bytes, Infallible>,
) -> Result<Request<BoxBody<Bytes, Infallible>>> {
    let mut request = Request::builder().method(ask.method.clone());
    match ask.http {
        Http::One => request = request.uri(&ask.path).header(HOST, to.to_string()),
        Http::Two => request = request.uri(format!("http://{to}{}", ask.path)),
    }
    for (name, value) in &ask.headers {
        request = request.header(name, value);
    }
    Ok(request.body(body)?)
}

fn carry(connection: impl Future<Output = Result<(), hyper::Error>> + Send + 'static) {
    let carrying = async {
        // A broken connection shows at the call that used it.
        drop(connection.await);
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "a test has no drain; it ends with the call"
    )]
    drop(tokio::spawn(carrying));
}
