//! Listeners against real sockets: protocols told apart, limits, drain.

use http_body_util::{BodyExt as _, Empty, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::*;
use crate::drain::{self, Outcome, Trigger};

async fn served(settings: Settings) -> (SocketAddr, Trigger, Metrics) {
    let metrics = Metrics::default();
    let listener = Listener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .counted(metrics.clone());
    let addr = listener.local_addr();
    let (trigger, drain) = drain::channel();
    drain.spawn(
        "listener",
        serve(
            listener,
            settings,
            drain.clone(),
            |request, _peer| async move {
                assert_ne!(request.uri().path(), "/panic", "as told");
                let text = format!("{:?} {}", request.version(), request.uri().path());
                Response::new(Full::new(Bytes::from(text)))
            },
        ),
    );
    (addr, trigger, metrics)
}

/// One HTTP/1 exchange, raw: everything that comes back until the server closes.
async fn raw(addr: SocketAddr, request: &[u8]) -> String {
    let mut socket = TcpStream::connect(addr).await.unwrap();
    socket.write_all(request).await.unwrap();
    let mut all = Vec::new();
    socket.read_to_end(&mut all).await.unwrap();
    String::from_utf8_lossy(&all).into_owned()
}

async fn h2_client(addr: SocketAddr) -> http2::SendRequest<Empty<Bytes>> {
    h2_client_on(TcpStream::connect(addr).await.unwrap()).await
}

#[expect(clippy::disallowed_methods, reason = "a test's client is in no drain")]
async fn h2_client_on(socket: TcpStream) -> http2::SendRequest<Empty<Bytes>> {
    let io = TokioIo::new(socket);
    let (send, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    send
}

fn get(uri: String) -> Request<Empty<Bytes>> {
    Request::get(uri).body(Empty::new()).unwrap()
}

#[tokio::test]
async fn http_1_and_http_2_are_served_on_one_port() {
    let (addr, trigger, metrics) = served(Settings::default()).await;
    let answer = raw(
        addr,
        b"GET /one HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert!(answer.ends_with("HTTP/1.1 /one"), "{answer}");

    let mut client = h2_client(addr).await;
    let response = client
        .send_request(get(format!("http://{addr}/two")))
        .await
        .unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "HTTP/2.0 /two");
    drop(client);
    assert_eq!(
        trigger.drain(Duration::from_secs(5)).await,
        Outcome::Finished
    );
    assert_eq!((metrics.accepted.get(), metrics.open.get()), (2, 0));
}

#[tokio::test]
async fn a_panic_is_one_calls_500_and_its_connection_lives_on() {
    let (addr, _trigger, metrics) = served(Settings::default()).await;
    let mut client = h2_client(addr).await;
    for _ in 0..2 {
        let panicked = client.send_request(get(format!("http://{addr}/panic")));
        let fine = client
            .clone()
            .send_request(get(format!("http://{addr}/fine")));
        let (panicked, fine) = tokio::join!(panicked, fine);
        assert_eq!(panicked.unwrap().status(), 500);
        assert_eq!(fine.unwrap().status(), 200);
    }
    assert_eq!(metrics.panics.get(), 2);
    let answer = raw(
        addr,
        b"GET /panic HTTP/1.1\r\nhost: x\r\n\r\nGET /fine HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 500"), "{answer}");
    assert!(answer.ends_with("/fine"), "{answer}");
}

#[tokio::test]
async fn a_client_that_says_nothing_or_half_a_head_is_closed() {
    let (addr, _trigger, metrics) = served(Settings {
        first_bytes_within: Duration::from_millis(50),
        header_read_timeout: Duration::from_millis(50),
        ..Settings::default()
    })
    .await;
    assert_eq!(raw(addr, b"").await, "");
    assert_eq!(metrics.silent.get(), 1);
    // Half a preface is no head either.
    assert_eq!(raw(addr, b"PRI * HT").await, "");
    assert_eq!(metrics.silent.get(), 2);
    let answer = raw(addr, b"GET / HTTP/1.1\r\nhost:").await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 408"),
        "{answer}"
    );
}

#[tokio::test]
async fn one_connection_over_the_cap_is_closed_at_once() {
    let (addr, _trigger, metrics) = served(Settings {
        max_connections: 1,
        ..Settings::default()
    })
    .await;
    let mut first = TcpStream::connect(addr).await.unwrap();
    first
        .write_all(b"GET /kept HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let mut start = [0; 12];
    first.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");
    assert_eq!(raw(addr, b"").await, "");
    assert_eq!(metrics.over_cap.get(), 1);
}

#[tokio::test]
async fn a_drain_lets_a_running_call_finish_and_closes_idle_connections() {
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr();
    let (trigger, drain) = drain::channel();
    let (begun, wait_begun) = tokio::sync::oneshot::channel();
    let (go, wait_go) = tokio::sync::oneshot::channel::<()>();
    let once = Arc::new(parking_lot::Mutex::new(Some((begun, wait_go))));
    drain.spawn(
        "listener",
        serve(
            listener,
            Settings {
                drain_linger: Duration::ZERO,
                ..Settings::default()
            },
            drain.clone(),
            move |_request, _peer| {
                let once = once.lock().take();
                async move {
                    if let Some((begun, wait_go)) = once {
                        begun.send(()).unwrap();
                        wait_go.await.unwrap();
                    }
                    Response::new(Full::new(Bytes::from_static(b"done")))
                }
            },
        ),
    );
    let (mut client, idle) = (h2_client(addr).await, h2_client(addr).await);
    let call = client.send_request(get(format!("http://{addr}/")));
    let drained = async {
        wait_begun.await.unwrap();
        trigger.signal();
        go.send(()).unwrap();
        trigger.drain(Duration::from_secs(5)).await
    };
    let (response, outcome) = tokio::join!(call, drained);
    assert_eq!(response.unwrap().status(), 200);
    assert_eq!(outcome, Outcome::Finished);
    assert!(TcpStream::connect(addr).await.is_err());
    drop(idle);
}

#[tokio::test]
async fn a_request_of_http_1_1_names_one_host() {
    let (addr, _trigger, _metrics) = served(Settings::default()).await;
    for hosts in ["", "host: x\r\nhost: x\r\n", "host: x\r\nHost: y\r\n"] {
        // The test asks for no end of the connection: the refusal brings it.
        let answer = raw(addr, format!("GET / HTTP/1.1\r\n{hosts}\r\n").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{hosts:?}: {answer}");
    }
    let answer = raw(addr, b"GET /old HTTP/1.0\r\n\r\n").await;
    assert!(answer.ends_with("/old"), "{answer}");
}

#[tokio::test]
async fn a_body_with_two_lengths_is_read_in_one_way_only() {
    let (addr, _trigger, _metrics) = served(Settings::default()).await;
    let two = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd";
    let answer = raw(addr, two.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
}

/// Writes one request and reads its answer, as far as its body tells that it is whole.
async fn exchange(socket: &mut TcpStream, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(path.as_bytes()) {
        let read = socket.read_buf(&mut answer).await.unwrap();
        let text = String::from_utf8_lossy(&answer);
        assert_ne!(read, 0, "closed after {text:?}");
    }
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_drain_answers_an_idle_http_1_connection_once_more_and_then_closes_it() {
    let (addr, trigger, _metrics) = served(Settings {
        drain_linger: Duration::from_secs(600),
        ..Settings::default()
    })
    .await;
    let mut kept = TcpStream::connect(addr).await.unwrap();
    let answer = exchange(&mut kept, "/before").await;
    assert!(!answer.contains("connection: close"), "{answer}");
    trigger.signal();
    let answer = exchange(&mut kept, "/after").await;
    assert!(answer.contains("connection: close"), "{answer}");
    assert_eq!(kept.read(&mut [0]).await.unwrap(), 0);
    let outcome = trigger.drain(Duration::from_secs(60)).await;
    assert_eq!(outcome, Outcome::Finished);
}

#[tokio::test]
async fn a_drain_closes_connections_that_stay_idle_for_longer_than_the_linger() {
    let (addr, trigger, _metrics) = served(Settings {
        drain_linger: Duration::from_millis(50),
        ..Settings::default()
    })
    .await;
    let mut kept = TcpStream::connect(addr).await.unwrap();
    exchange(&mut kept, "/before").await;
    let mut silent = TcpStream::connect(addr).await.unwrap();
    let outcome = trigger.drain(Duration::from_secs(60)).await;
    assert_eq!(outcome, Outcome::Finished);
    assert_eq!(kept.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(silent.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_drain_serves_those_that_had_connected_and_not_said_anything() {
    let (addr, trigger, metrics) = served(Settings {
        drain_linger: Duration::from_secs(600),
        ..Settings::default()
    })
    .await;
    let mut accepted = TcpStream::connect(addr).await.unwrap();
    let second = TcpStream::connect(addr).await.unwrap();
    while metrics.open.get() < 2 {
        tokio::task::yield_now().await;
    }
    // Without a pause in which the listener could run: these two wait in the kernel's queue.
    let queue = [(); 2].map(|()| {
        let socket = std::net::TcpStream::connect(addr).unwrap();
        socket.set_nonblocking(true).unwrap();
        TcpStream::from_std(socket).unwrap()
    });
    trigger.signal();
    let [mut queued, late] = queue;
    let answer = exchange(&mut queued, "/queued").await;
    assert!(answer.contains("connection: close"), "{answer}");
    let answer = exchange(&mut accepted, "/accepted").await;
    assert!(answer.contains("connection: close"), "{answer}");
    for socket in [second, late] {
        let mut client = h2_client_on(socket).await;
        let request = get(format!("http://{addr}/http2"));
        assert_eq!(client.send_request(request).await.unwrap().status(), 200);
    }
    assert!(TcpStream::connect(addr).await.is_err());
    let outcome = trigger.drain(Duration::from_secs(60)).await;
    assert_eq!(outcome, Outcome::Finished);
}

#[tokio::test]
async fn a_drain_gives_an_http_2_client_that_has_just_come_time_for_its_call() {
    let (addr, trigger, metrics) = served(Settings {
        drain_linger: Duration::from_secs(600),
        ..Settings::default()
    })
    .await;
    let mut client = h2_client(addr).await;
    while metrics.open.get() < 1 {
        tokio::task::yield_now().await;
    }
    trigger.signal();
    // Long enough for GOAWAY to come, if it were sent: the listener is closed in the same moment.
    while TcpStream::connect(addr).await.is_ok() {}
    client.ready().await.unwrap();
    let request = get(format!("http://{addr}/once"));
    assert_eq!(client.send_request(request).await.unwrap().status(), 200);
    // The client holds on to it; GOAWAY has ended it all the same.
    let outcome = trigger.drain(Duration::from_secs(60)).await;
    assert_eq!(outcome, Outcome::Finished);
}

#[tokio::test]
async fn a_head_over_the_bound_is_refused() {
    let (addr, _trigger, _metrics) = served(Settings::default()).await;
    let long = format!(
        "GET / HTTP/1.1\r\nhost: x\r\nlong: {}\r\n\r\n",
        "x".repeat(70_000)
    );
    let answer = raw(addr, long.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    let io = TokioIo::new(TcpStream::connect(addr).await.unwrap());
    let (mut send, connection) = http1::handshake(io).await.unwrap();
    let request = Request::get("/ok")
        .header("host", "x")
        .body(Empty::<Bytes>::new())
        .unwrap();
    let (response, _) = tokio::join!(
        async {
            let response = send.send_request(request).await.unwrap();
            drop(send);
            response
        },
        connection
    );
    assert_eq!(response.status(), 200);
}
