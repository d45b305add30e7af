//! Bodies made with ids at their places and decoys everywhere else: what comes out must be the body
//! that would have been made with the new ids, byte for byte.

mod made;
mod old;
mod places;
mod webhook;
mod wire;

use std::borrow::Cow;

use http::Method;
use proptest::prelude::*;

use super::*;
use crate::{Fault, grpc, scan, sse};
use made::{Json, Rng, Wire};
use places::Kind;

/// Puts a mark in front of ids, by their kind.
pub(super) struct Wrap;

/// Takes it off again.
pub(super) struct Unwrap;

impl IdMap for Wrap {
    fn task<'a>(&mut self, id: &'a str) -> Option<Cow<'a, str>> {
        Some(Cow::Owned(format!("z1t.{id}")))
    }

    fn context<'a>(&mut self, id: &'a str) -> Option<Cow<'a, str>> {
        Some(Cow::Owned(format!("z1c.{id}")))
    }
}

impl IdMap for Unwrap {
    fn task<'a>(&mut self, id: &'a str) -> Option<Cow<'a, str>> {
        id.strip_prefix("z1t.").map(Cow::Borrowed)
    }

    fn context<'a>(&mut self, id: &'a str) -> Option<Cow<'a, str>> {
        id.strip_prefix("z1c.").map(Cow::Borrowed)
    }
}

fn wrapped(kind: Kind, id: &str) -> String {
    let mut wrap = Wrap;
    let new = match kind {
        Kind::Task => wrap.task(id),
        Kind::Context => wrap.context(id),
    };
    new.unwrap().into_owned()
}

fn as_it_is(_: Kind, id: &str) -> String {
    id.to_owned()
}

const RPC: Dialect = Dialect::new(Binding::JsonRpc, Version::V1_0);
const RPC_0_3: Dialect = Dialect::new(Binding::JsonRpc, Version::V0_3);
const REST: Dialect = Dialect::new(Binding::Rest, Version::V1_0);
const REST_0_3: Dialect = Dialect::new(Binding::Rest, Version::V0_3);
const GRPC: Dialect = Dialect::new(Binding::Grpc, Version::V1_0);
const GRPC_0_3: Dialect = Dialect::new(Binding::Grpc, Version::V0_3);
const JSON: [Dialect; 4] = [RPC, REST, RPC_0_3, REST_0_3];

/// An operation that a version has.
fn operation(rng: &mut Rng, version: Version) -> Operation {
    loop {
        let operation = rng.pick(&Operation::ALL);
        if operation.method(version).is_some() {
            return operation;
        }
    }
}

fn direction(rng: &mut Rng, operation: Operation) -> Direction {
    match rng.below(2) {
        0 => Direction::Request,
        _ if operation.streams() => Direction::Event,
        _ => Direction::Reply,
    }
}

/// What any reader of JSON would see; `None` where it is none.
fn parsed(text: &[u8]) -> serde_json::Value {
    serde_json::from_slice(text).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn random_json_comes_out_identical_but_for_the_ids(seed: u64) {
        let mut rng = Rng::new(seed);
        let dialect = rng.pick(&JSON);
        let operation = operation(&mut rng, dialect.version);
        let direction = direction(&mut rng, operation);
        let made = Json::body(&mut rng, dialect, operation, direction);
        let plain = Bytes::from(made.render(&as_it_is));
        let expected = Bytes::from(made.render(&wrapped));
        let there = rewrite(dialect, operation, direction, plain.clone(), &mut Wrap).unwrap();
        prop_assert_eq!(there.len(), expected.len());
        let there = there.into_bytes();
        prop_assert_eq!(&there, &expected);
        parsed(&there);
        let back = rewrite(dialect, operation, direction, there, &mut Unwrap).unwrap();
        prop_assert_eq!(&back.into_bytes(), &plain);
        let again = rewrite(dialect, operation, direction, plain.clone(), &mut Unwrap).unwrap();
        prop_assert!(again.is_unchanged());
        prop_assert_eq!(again.into_bytes().as_ptr(), plain.as_ptr());
    }

    #[test]
    fn random_protobuf_comes_out_identical_but_for_ids_and_lengths(seed: u64) {
        let mut rng = Rng::new(seed);
        let dialect = rng.pick(&[GRPC, GRPC_0_3]);
        let operation = operation(&mut rng, dialect.version);
        let direction = direction(&mut rng, operation);
        let made = Wire::body(&mut rng, dialect.version, operation, direction);
        let plain = Bytes::from(made.render(&as_it_is));
        let expected = Bytes::from(made.render(&wrapped));
        let there = rewrite(dialect, operation, direction, plain.clone(), &mut Wrap).unwrap();
        let there = there.into_bytes();
        prop_assert_eq!(&there, &expected);
        let back = rewrite(dialect, operation, direction, there, &mut Unwrap).unwrap();
        prop_assert_eq!(&back.into_bytes(), &plain);
    }

    #[test]
    fn random_events_keep_their_frames(seed: u64, cut in 0_usize..4_000) {
        let mut rng = Rng::new(seed);
        let dialect = rng.pick(&JSON);
        let operation = Operation::SendStreamingMessage;
        let end = ["\n", "\r\n", "\r"][rng.below(3)];
        let (mut plain, mut expected) = (Vec::new(), Vec::new());
        for _ in 0..rng.below(4) {
            let made = Json::body(&mut rng, dialect, operation, Direction::Event);
            let frame = made::Frame::around(&mut rng, end);
            frame.render(&made.render(&as_it_is), &mut plain);
            frame.render(&made.render(&wrapped), &mut expected);
        }
        let (head, tail) = plain.split_at(cut.min(plain.len()));
        let mut events = Events::new(1 << 20);
        let mut out = Vec::new();
        for piece in [head, tail] {
            events.feed(piece);
            while let Some(piece) = events.next_piece().unwrap() {
                let new = event(dialect, operation, piece, &mut Wrap).unwrap();
                out.extend_from_slice(&new.into_bytes());
            }
        }
        out.extend_from_slice(&events.rest());
        prop_assert_eq!(String::from_utf8(out), String::from_utf8(expected));
    }
}

proptest! {
    #[test]
    fn scanner_and_rewriter_agree_on_where_ids_stand(seed: u64) {
        let mut rng = Rng::new(seed);
        let version = rng.pick(&Version::ALL);
        let operation = operation(&mut rng, version);
        let rpc = Dialect::new(Binding::JsonRpc, version);
        let json = Json::body(&mut rng, rpc, operation, Direction::Request);
        let json = Bytes::from(json.render(&as_it_is));
        let new = rewrite(rpc, operation, Direction::Request, json.clone(), &mut Wrap);
        let new = new.unwrap().into_bytes();
        let before = scan::json_rpc(&json).unwrap().ids;
        let after = scan::json_rpc(&new).unwrap().ids;
        agree(&before, &after)?;
        let rest = Dialect::new(Binding::Rest, version);
        let json = Json::body(&mut rng, rest, operation, Direction::Request);
        let json = Bytes::from(json.render(&as_it_is));
        let new = rewrite(rest, operation, Direction::Request, json.clone(), &mut Wrap);
        let new = new.unwrap().into_bytes();
        let before = scan::rest_body_in(version, operation, &json).unwrap();
        let after = scan::rest_body_in(version, operation, &new).unwrap();
        agree(&before, &after)?;
        let grpc = Dialect::new(Binding::Grpc, version);
        let wire = Wire::body(&mut rng, version, operation, Direction::Request);
        let wire = Bytes::from(wire.render(&as_it_is));
        let new = rewrite(grpc, operation, Direction::Request, wire.clone(), &mut Wrap);
        let new = new.unwrap().into_bytes();
        let before = scan::protobuf_in(version, operation, &wire).unwrap();
        let after = scan::protobuf_in(version, operation, &new).unwrap();
        agree(&before, &after)?;
    }

    #[test]
    fn whatever_is_taken_as_json_is_json(body: Vec<u8>, text in "[\\[\\]{}\",:0-9a-z \\\\]{0,40}") {
        for body in [Bytes::from(body), Bytes::from(text)] {
            for operation in Operation::ALL {
                let taken = rewrite(REST, operation, Direction::Reply, body.clone(), &mut Wrap);
                let is_blank = body.iter().all(u8::is_ascii_whitespace);
                if let Ok(new) = taken && !is_blank {
                    let read = serde_json::from_slice::<serde::de::IgnoredAny>(&new.into_bytes());
                    prop_assert!(read.is_ok(), "{:?}", body);
                }
                let wire = rewrite(GRPC, operation, Direction::Reply, body.clone(), &mut Wrap);
                if let Ok(new) = wire {
                    let new = new.into_bytes();
                    let back = rewrite(GRPC, operation, Direction::Reply, new, &mut Unwrap);
                    prop_assert!(back.is_ok());
                }
            }
        }
    }
}

fn agree(before: &scan::Ids<'_>, after: &scan::Ids<'_>) -> Result<(), TestCaseError> {
    let task = before.task_id.as_deref().map(|id| wrapped(Kind::Task, id));
    let context = before.context_id.as_deref();
    let context = context.map(|id| wrapped(Kind::Context, id));
    prop_assert_eq!(after.task_id.as_deref(), task.as_deref());
    prop_assert_eq!(after.context_id.as_deref(), context.as_deref());
    prop_assert_eq!(&after.message_id, &before.message_id);
    prop_assert_eq!(&after.tenant, &before.tenant);
    Ok(())
}

/// Every case: dialect, operation, direction, what comes, what goes.
fn check(dialect: Dialect, operation: Operation, direction: Direction, from: &str, to: &str) {
    let body = Bytes::copy_from_slice(from.as_bytes());
    let new = rewrite(dialect, operation, direction, body, &mut Wrap).unwrap();
    assert_eq!(std::str::from_utf8(&new.into_bytes()).unwrap(), to);
}

#[test]
fn what_only_looks_like_an_id_is_content() {
    let text = r#"{"jsonrpc":"2.0","id":"id","contextId":"c","params":{"id":"p","taskId":"p",
        "message":{"messageId":"m","metadata":{"taskId":"x","contextId":"x"},"task":{"id":"x"},
        "parts":[{"data":{"taskId":"x","contextId":"x","id":"x"}}],"taskId":7,"contextId":null,
        "referenceTaskIds":{"taskId":"x"}}},"result":{"id":"x"}}"#;
    check(RPC, Operation::SendMessage, Direction::Request, text, text);
    let text = r#"{"error":{"data":[{"metadata":{"taskId":"x"}}]},"id":"x","params":{"id":"x"}}"#;
    check(RPC, Operation::GetTask, Direction::Reply, text, text);
    let text = r#"{"artifacts":[{"artifactId":"x","metadata":{"taskId":"x"}}],"taskId":"x"}"#;
    check(REST, Operation::GetTask, Direction::Reply, text, text);
}

#[test]
fn escaped_names_and_ids_are_read_and_ids_written_plainly() {
    check(
        RPC,
        Operation::SendMessage,
        Direction::Request,
        "{\"params\" :{\"mess\\u0061ge\":\t{\"context\\u0049d\" : \"a\\u0062\\n\\\"\",\"task_id\":\"\\/\"} } }",
        "{\"params\" :{\"mess\\u0061ge\":\t{\"context\\u0049d\" : \"z1c.ab\\n\\\"\",\"task_id\":\"z1t./\"} } }",
    );
}

#[test]
fn a_configuration_is_asked_for_by_its_task_and_keeps_its_own_id() {
    let operation = Operation::GetTaskPushNotificationConfig;
    let from = r#"{"jsonrpc":"2.0","method":"GetTaskPushNotificationConfig","params":{"id":"x","taskId":"t"}}"#;
    let to = r#"{"jsonrpc":"2.0","method":"GetTaskPushNotificationConfig","params":{"id":"x","taskId":"z1t.t"}}"#;
    check(RPC, operation, Direction::Request, from, to);
    let from =
        r#"{"jsonrpc":"2.0","method":"tasks/pushNotificationConfig/get","params":{"id":"t"}}"#;
    let to =
        r#"{"jsonrpc":"2.0","method":"tasks/pushNotificationConfig/get","params":{"id":"z1t.t"}}"#;
    // The method's name counts, not what a header may say.
    check(RPC, operation, Direction::Request, from, to);
}

#[test]
fn ids_after_megabytes_of_a_file_are_found_and_the_file_is_not_copied() {
    let file = "QUJD".repeat(5 << 18);
    let body = format!(r#"{{"message":{{"parts":[{{"raw":"{file}"}}],"taskId":"t"}}}}"#);
    let body = Bytes::from(body);
    let new = rewrite(
        REST,
        Operation::SendMessage,
        Direction::Request,
        body.clone(),
        &mut Wrap,
    );
    let new = new.unwrap();
    assert_eq!(new.parts().len(), 3);
    assert_eq!(new.parts()[0].as_ptr(), body.as_ptr());
    assert_eq!(new.parts()[1], "z1t.t");
}

#[test]
fn what_is_no_body_is_said_to_be_none() {
    for (dialect, body) in [
        (RPC, "{"),
        (REST, "nul"),
        (REST, "{\"id\":\"\u{1}\"}"),
        (GRPC, "\u{1a}x"),
    ] {
        let body = Bytes::copy_from_slice(body.as_bytes());
        let refused = rewrite(
            dialect,
            Operation::GetTask,
            Direction::Reply,
            body,
            &mut Wrap,
        );
        assert_eq!(refused.unwrap_err().fault, Fault::Parse, "{dialect}");
    }
    let deep = Bytes::from("[".repeat(200));
    assert!(rewrite(REST, Operation::GetTask, Direction::Reply, deep, &mut Wrap).is_err());
}

#[test]
fn a_path_changes_in_its_task_and_a_list_in_its_conversation() {
    for (method, operation, from, to) in [
        (
            Method::GET,
            Operation::GetTask,
            "/tasks/t?historyLength=2",
            Some("/tasks/z1t.t?historyLength=2"),
        ),
        (
            Method::GET,
            Operation::GetTask,
            "/ten%2Fant/tasks/a%3Ab/",
            Some("/ten%2Fant/tasks/z1t.a%3Ab/"),
        ),
        (
            Method::POST,
            Operation::CancelTask,
            "/tasks/t:cancel",
            Some("/tasks/z1t.t:cancel"),
        ),
        (
            Method::POST,
            Operation::CancelTask,
            "/tasks/a:b%3Acancel",
            Some("/tasks/z1t.a%3Ab%3Acancel"),
        ),
        (
            Method::GET,
            Operation::SubscribeToTask,
            "/v1/tasks/t%3asubscribe",
            Some("/v1/tasks/z1t.t%3asubscribe"),
        ),
        (
            Method::GET,
            Operation::GetTask,
            "/tasks/tasks/t",
            Some("/tasks/tasks/z1t.t"),
        ),
        (
            Method::DELETE,
            Operation::DeleteTaskPushNotificationConfig,
            "/tasks/t/pushNotificationConfigs/t",
            Some("/tasks/z1t.t/pushNotificationConfigs/t"),
        ),
        (Method::POST, Operation::SendMessage, "/message:send", None),
        (
            Method::GET,
            Operation::ListTasks,
            "/tasks?pageSize=1&contextId=a+b%26&tenant=c",
            Some("/tasks?pageSize=1&contextId=z1c.a%20b%26&tenant=c"),
        ),
        (
            Method::GET,
            Operation::ListTasks,
            "/tasks?contextId=&pageToken=t",
            None,
        ),
        (Method::GET, Operation::ListTasks, "/tasks", None),
    ] {
        let new = path(&method, operation, from, &mut Wrap);
        assert_eq!(new.as_deref(), to, "{from}");
        if let Some(new) = new {
            let (path, query) = new
                .split_once('?')
                .map_or((&*new, None), |(p, q)| (p, Some(q)));
            let route = crate::rest::route(&method, path, query).unwrap();
            let id = route.task_id.or(route.context_id).unwrap();
            assert!(id.starts_with("z1"), "{id}");
        }
    }
}

#[test]
fn an_event_over_the_bound_is_an_error_and_a_comment_is_not_held_back() {
    let mut events = Events::new(16);
    events.feed(b": ping\n");
    assert_eq!(
        events.next_piece(),
        Ok(Some(Bytes::from_static(b": ping\n")))
    );
    events.feed(b"\r\n\r");
    assert_eq!(events.next_piece(), Ok(Some(Bytes::from_static(b"\r\n"))));
    assert_eq!(events.next_piece(), Ok(Some(Bytes::from_static(b"\r"))));
    assert_eq!(events.next_piece(), Ok(None));
    events.feed(b"\ndata: x");
    assert_eq!(events.next_piece(), Ok(Some(Bytes::from_static(b"\n"))));
    assert_eq!(events.next_piece(), Ok(None));
    events.feed(&[b'x'; 10]);
    assert_eq!(events.next_piece(), Err(TooLong { limit: 16 }));
}

#[test]
fn what_the_writer_of_events_writes_is_rewritten_whole() {
    let data = b"{\"task\":{\"id\":\"t\",\n\"contextId\":\"c\"}}";
    let piece = sse::write(&sse::Event::of_data(data));
    let mut events = Events::new(1 << 10);
    events.feed(&piece);
    let piece = events.next_piece().unwrap().unwrap();
    let new = event(REST, Operation::SubscribeToTask, piece, &mut Wrap).unwrap();
    let expected = "data: {\"task\":{\"id\":\"z1t.t\",\ndata: \"contextId\":\"z1c.c\"}}\n\n";
    assert_eq!(new.into_bytes(), expected);
}

#[test]
fn a_reply_that_prost_wrote_is_read_by_prost_again() {
    let task = crate::a2a::Task {
        id: "t".to_owned(),
        context_id: "c".to_owned(),
        history: vec![crate::a2a::Message {
            reference_task_ids: vec!["u".repeat(130), String::new()],
            ..Default::default()
        }],
        ..Default::default()
    };
    let mut reader = grpc::Reader::new(1 << 20);
    reader.feed(&grpc::frame(&task));
    let frame = reader.next_frame().unwrap().unwrap();
    let new = rewrite(
        GRPC,
        Operation::GetTask,
        Direction::Reply,
        frame.message,
        &mut Wrap,
    );
    let read: crate::a2a::Task = prost::Message::decode(new.unwrap().into_bytes()).unwrap();
    assert_eq!((&*read.id, &*read.context_id), ("z1t.t", "z1c.c"));
    let references = &read.history[0].reference_task_ids;
    assert_eq!(references[0], format!("z1t.{}", "u".repeat(130)));
    assert_eq!(references[1], "");
}
