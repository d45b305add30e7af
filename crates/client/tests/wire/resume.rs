//! Tasks that are followed over streams that break, and messages that are sent again.

use std::{sync::Arc, time::Duration};

use http::header;
use mesh_client::{Binding, Call, Client, Error, Follow, Followed, Options, Resume};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::{agent::spawn, script::ask, word};

/// A server that answers one request per connection, in the words of its script, and closes.
struct Scripted {
    url: String,
    /// The requests as they came.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    async fn start(script: &[String]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let (script, heard) = (script.to_vec(), Arc::clone(&asked));
        spawn(async move {
            for answer in script {
                let (mut socket, _) = listener.accept().await.unwrap();
                let request = hear(&mut socket).await;
                heard.lock().push(request);
                socket.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Self { url, asked }
    }

    fn client(&self) -> Client {
        Client::direct(Binding::Rest, &self.url, Options::default()).unwrap()
    }

    fn follow(&self, resume: Resume) -> Follow {
        self.client().follow(ask("hello"), Call::default(), resume)
    }

    /// The first lines of the requests.
    fn lines(&self) -> Vec<String> {
        let asked = self.asked.lock();
        let line = |request: &String| request.lines().next().unwrap_or_default().to_owned();
        asked.iter().map(line).collect()
    }
}

/// Reads a request whole, its head in small letters.
async fn hear(socket: &mut TcpStream) -> String {
    let mut request = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let read = socket.read(&mut piece).await.unwrap();
        request.extend_from_slice(&piece[..read]);
        let text = String::from_utf8_lossy(&request).to_ascii_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
            return text;
        }
    }
}

fn quick() -> Resume {
    Resume {
        first_pause: Duration::from_millis(1),
        ..Resume::default()
    }
}

/// A stream of these events, which breaks after them or ends well.
fn stream(events: &[(&str, &str)], ends: bool) -> String {
    let mut answer = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                      connection: close\r\ntransfer-encoding: chunked\r\n\r\n"
        .to_owned();
    for (id, data) in events {
        let event = format!("id: {id}\ndata: {data}\n\n");
        answer.push_str(&format!("{:x}\r\n{event}\r\n", event.len()));
    }
    if ends {
        answer.push_str("0\r\n\r\n");
    }
    answer
}

fn whole(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\n\
         {headers}content-length: {length}\r\n\r\n{body}"
    )
}

fn task(state: &str) -> String {
    format!(r#"{{"id":"t","contextId":"c","status":{{"state":"TASK_STATE_{state}"}}}}"#)
}

fn snapshot(state: &str) -> String {
    format!(r#"{{"task":{}}}"#, task(state))
}

fn text(text: &str) -> String {
    format!(
        r#"{{"artifactUpdate":{{"taskId":"t","contextId":"c","artifact":{{"artifactId":"a","parts":[{{"text":"{text}"}}]}}}}}}"#
    )
}

const DONE: &str =
    r#"{"statusUpdate":{"taskId":"t","contextId":"c","status":{"state":"TASK_STATE_COMPLETED"}}}"#;

/// All that following brings, as short words.
async fn words(mut follow: Follow) -> (Vec<String>, Option<Error>) {
    let mut words = Vec::new();
    while let Some(followed) = follow.next().await {
        match followed {
            Ok(Followed::Event(event)) => words.push(word(&event)),
            Ok(Followed::Resumed) => words.push("(resumed)".to_owned()),
            Err(error) => {
                assert!(follow.next().await.is_none());
                return (words, Some(error));
            }
        }
    }
    (words, None)
}

const ALL: [&str; 5] = ["task t", "one", "(resumed)", "two", "TASK_STATE_COMPLETED"];

#[tokio::test]
async fn a_stream_that_breaks_goes_on_after_the_last_event_seen() {
    let (begun, one, two) = (snapshot("WORKING"), text("one"), text("two"));
    for ends in [false, true] {
        let server = Scripted::start(&[
            stream(&[("1-0", &begun), ("1-1", &one)], ends),
            stream(&[("1-2", &two), ("1-3", DONE)], true),
        ])
        .await;
        let (words, error) = words(server.follow(quick())).await;
        assert_eq!(words, ALL);
        assert!(error.is_none(), "{error:?}");
        assert_eq!(
            server.lines(),
            [
                "post /message:stream http/1.1",
                "post /tasks/t:subscribe http/1.1"
            ]
        );
        assert!(server.asked.lock()[1].contains("\r\nlast-event-id: 1-1\r\n"));
    }
}

#[tokio::test]
async fn what_was_seen_before_is_not_given_again() {
    let (begun, one, two) = (snapshot("WORKING"), text("one"), text("two"));
    let server = Scripted::start(&[
        stream(&[("1-0", &begun), ("1-1", &one)], false),
        stream(&[("1-1", &begun), ("1-2", &two)], false),
        stream(&[("1-1", &one), ("1-2", &begun), ("1-3", DONE)], true),
    ])
    .await;
    let (words, error) = words(server.follow(quick())).await;
    let expected = [
        "task t",
        "one",
        "(resumed)",
        "two",
        "(resumed)",
        "TASK_STATE_COMPLETED",
    ];
    assert_eq!(words, expected);
    assert!(error.is_none(), "{error:?}");
}

#[tokio::test]
async fn an_agent_that_is_away_for_a_while_is_waited_for() {
    let (begun, one, two) = (snapshot("WORKING"), text("one"), text("two"));
    let away = r#"{"error":{"code":503,"status":"UNAVAILABLE","message":"soon"}}"#;
    let server = Scripted::start(&[
        stream(&[("1-0", &begun), ("1-1", &one)], false),
        whole("503 Service Unavailable", "retry-after: 0\r\n", away),
        String::new(),
        stream(&[("1-2", &two), ("1-3", DONE)], true),
    ])
    .await;
    let (words, error) = words(server.follow(quick())).await;
    assert_eq!(words, ALL);
    assert!(error.is_none(), "{error:?}");
}

#[tokio::test]
async fn a_task_that_ended_meanwhile_is_read() {
    let refused = r#"{"error":{"code":400,"status":"FAILED_PRECONDITION","message":"over",
        "details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo",
        "reason":"UNSUPPORTED_OPERATION","domain":"a2a-protocol.org"}]}}"#;
    let begun = snapshot("WORKING");
    let server = Scripted::start(&[
        stream(&[("1-0", &begun)], false),
        whole("400 Bad Request", "", refused),
        whole("200 OK", "", &task("COMPLETED")),
    ])
    .await;
    let (words, error) = words(server.follow(quick())).await;
    assert_eq!(words, ["task t", "task t"]);
    assert!(error.is_none(), "{error:?}");
    assert_eq!(server.lines()[2], "get /tasks/t http/1.1");
}

#[tokio::test]
async fn a_stream_that_never_comes_back_ends_with_what_broke_it() {
    let begun = snapshot("WORKING");
    let mut script = vec![stream(&[("1-0", &begun)], false)];
    script.extend((0..3).map(|_| String::new()));
    let server = Scripted::start(&script).await;
    let resume = Resume {
        attempts: 3,
        ..quick()
    };
    let (words, error) = words(server.follow(resume)).await;
    assert_eq!(words, ["task t"]);
    assert!(matches!(error, Some(Error::Transport(_))), "{error:?}");
    assert_eq!(server.lines().len(), 4);
}

#[tokio::test]
async fn a_message_that_may_have_arrived_goes_out_again_only_where_that_is_allowed() {
    let answer = whole(
        "200 OK",
        "",
        &format!(r#"{{"task":{}}}"#, task("COMPLETED")),
    );
    let server = Scripted::start(&[String::new(), String::new(), answer]).await;
    let client = server.client();
    let refused = client.send_with(ask("x"), &Call::default(), &quick()).await;
    assert!(refused.is_err());
    assert_eq!(server.lines().len(), 1);
    let bold = Resume {
        resend: true,
        ..quick()
    };
    let message = ask("x");
    let sent = client
        .send_with(message.clone(), &Call::default(), &bold)
        .await;
    assert!(sent.is_ok());
    let asked = server.asked.lock();
    let id = message.message.unwrap().message_id.to_ascii_lowercase();
    assert!(asked[1].contains(&id) && asked[2].contains(&id));
}

#[tokio::test]
async fn who_says_when_to_come_again_is_asked_again_then() {
    let busy = r#"{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","message":"full"}}"#;
    let answer = whole(
        "200 OK",
        "",
        &format!(r#"{{"task":{}}}"#, task("COMPLETED")),
    );
    let later = format!("{}: 0\r\n", header::RETRY_AFTER);
    let server = Scripted::start(&[
        whole("429 Too Many Requests", &later, busy),
        answer,
        whole("429 Too Many Requests", "", busy),
    ])
    .await;
    let client = server.client();
    let sent = client.send_with(ask("x"), &Call::default(), &quick()).await;
    assert!(sent.is_ok());
    let refused = client.send_with(ask("x"), &Call::default(), &quick()).await;
    assert!(refused.is_err(), "it did not say when");
    assert_eq!(server.lines().len(), 3);
}

#[tokio::test]
async fn an_answers_deadline_is_told_and_a_streams_is_not() {
    let answer = whole(
        "200 OK",
        "",
        &format!(r#"{{"task":{}}}"#, task("COMPLETED")),
    );
    let server = Scripted::start(&[answer, stream(&[("1-0", &snapshot("COMPLETED"))], true)]).await;
    let call = Call {
        answer_timeout: Some(Duration::from_secs(30)),
        ..Call::default()
    };
    server.client().send(ask("x"), &call).await.unwrap();
    server.client().stream(ask("x"), &call).await.unwrap();
    let asked = server.asked.lock();
    assert!(asked[0].contains("\r\ndaca-timeout: 30000\r\n"));
    assert!(!asked[1].contains("daca-timeout"));
}
