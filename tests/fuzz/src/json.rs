//! The scanner and the rewriter of JSON against serde_json.
//!
//! # Invariants
//! - The second reading of ids here is written from the rules in the scanner's documentation, not
//!   from its code: `null`, `""` and absent are "not set", of a field given twice the last counts,
//!   names count unescaped and in both spellings of ProtoJSON.

use std::fmt;

use bytes::Bytes;
use mesh_proto::{
    Fault, Operation, Version, rewrite,
    rewrite::Direction,
    scan::{self, Ids},
};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};

use crate::{
    ids::{Keep, Mark, Unmark},
    input::Input,
};

/// JSON as far as ids care, members in order and none of them merged.
#[derive(Debug, PartialEq)]
enum Node {
    Null,
    Text(String),
    Object(Vec<(String, Self)>),
    Other,
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Build;

        impl<'de> Visitor<'de> for Build {
            type Value = Node;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_unit<E>(self) -> Result<Node, E> {
                Ok(Node::Null)
            }

            fn visit_str<E>(self, text: &str) -> Result<Node, E> {
                Ok(Node::Text(text.to_owned()))
            }

            fn visit_bool<E>(self, _: bool) -> Result<Node, E> {
                Ok(Node::Other)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Node, E> {
                Ok(Node::Other)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Node, E> {
                Ok(Node::Other)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
                Ok(Node::Other)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Node, A::Error> {
                while all.next_element::<Node>()?.is_some() {}
                Ok(Node::Other)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut all: A) -> Result<Node, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = all.next_entry()? {
                    members.push(member);
                }
                Ok(Node::Object(members))
            }
        }

        deserializer.deserialize_any(Build)
    }
}

/// What serde_json says: a reading, or why there is none.
enum Said {
    Read(Node),
    /// A number beyond a double: the one thing that only serde_json refuses.
    Number,
    Malformed,
}

fn read(body: &[u8]) -> Said {
    match serde_json::from_slice(body) {
        Ok(node) => Said::Read(node),
        Err(error) if error.to_string().contains("number out of range") => Said::Number,
        Err(_) => Said::Malformed,
    }
}

/// A field of the wrong type.
#[derive(Debug)]
struct Wrong;

impl Node {
    /// The last member with one of these names.
    fn last(&self, names: &[&str]) -> &Self {
        let Self::Object(members) = self else {
            return &Self::Null;
        };
        let found = members
            .iter()
            .rev()
            .find(|(key, _)| names.contains(&key.as_str()));
        found.map_or(&Self::Null, |(_, node)| node)
    }

    fn id(&self, names: &[&str]) -> Result<Option<&str>, Wrong> {
        match self.last(names) {
            Self::Null => Ok(None),
            Self::Text(text) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
            Self::Object(_) | Self::Other => Err(Wrong),
        }
    }

    const fn is_object_or_unset(&self) -> bool {
        matches!(self, Self::Null | Self::Object(_))
    }
}

const TASK: [&str; 2] = ["taskId", "task_id"];
const CONTEXT: [&str; 2] = ["contextId", "context_id"];
const MESSAGE: [&str; 2] = ["messageId", "message_id"];

/// The ids of a request's params, as the documentation has them.
fn ids(params: &Node, operation: Operation, version: Version) -> Result<Ids<'_>, Wrong> {
    if !params.is_object_or_unset() {
        return Err(Wrong);
    }
    let own = |id: Option<&str>| id.map(|id| id.to_owned().into());
    let mut ids = Ids {
        tenant: own(params.id(&["tenant"])?),
        ..Ids::default()
    };
    if operation.sends() {
        let message = params.last(&["message"]);
        if !message.is_object_or_unset() {
            return Err(Wrong);
        }
        ids.task_id = own(message.id(&TASK)?);
        ids.context_id = own(message.id(&CONTEXT)?);
        ids.message_id = own(message.id(&MESSAGE)?);
        return Ok(ids);
    }
    let calls_it_id = matches!(
        operation,
        Operation::GetTask | Operation::CancelTask | Operation::SubscribeToTask
    );
    let is_config = matches!(
        operation,
        Operation::GetTaskPushNotificationConfig
            | Operation::ListTaskPushNotificationConfigs
            | Operation::DeleteTaskPushNotificationConfig
    );
    match operation {
        Operation::ListTasks => ids.context_id = own(params.id(&CONTEXT)?),
        Operation::GetExtendedAgentCard => {}
        _ if calls_it_id || (is_config && version == Version::V0_3) => {
            ids.task_id = own(params.id(&["id"])?);
        }
        _ => ids.task_id = own(params.id(&TASK)?),
    }
    Ok(ids)
}

/// The scanner agrees with serde_json on what is JSON, and with the documentation on what is an id.
pub(crate) fn scan(data: &[u8]) {
    let mut input = Input::new(data);
    let operation = input.operation();
    let body = input.rest();
    scan_rest(operation, body);
    scan_rpc(body);
}

fn scan_rest(operation: Operation, body: &[u8]) {
    if body.iter().all(u8::is_ascii_whitespace) {
        assert_eq!(scan::rest_body(operation, body), Ok(Ids::default()));
        return;
    }
    match (scan::rest_body(operation, body), read(body)) {
        (Ok(found), Said::Read(node)) => {
            let expected = ids(&node, operation, Version::V1_0).expect("ids of right types");
            assert_eq!(found, expected);
        }
        (Err(problem), Said::Read(node)) => {
            assert_eq!(problem.fault, Fault::InvalidParams, "{problem}");
            ids(&node, operation, Version::V1_0).expect_err("an id of a wrong type");
        }
        (Err(problem), Said::Malformed) => assert_eq!(problem.fault, Fault::Parse),
        (Ok(_), Said::Malformed) => panic!("serde_json does not take this for JSON"),
        (_, Said::Number) => {}
    }
}

fn scan_rpc(body: &[u8]) {
    let found = scan::json_rpc(body);
    let node = match read(body) {
        Said::Read(node) => node,
        Said::Number => return,
        Said::Malformed => {
            let rejected = found.expect_err("serde_json does not take this for JSON");
            assert_eq!(rejected.problem.fault, Fault::Parse);
            return;
        }
    };
    let method = match node.last(&["method"]) {
        Node::Text(method) => method.as_str(),
        _ => "",
    };
    let is_request = matches!(&node, Node::Object(_))
        && matches!(node.last(&["jsonrpc"]), Node::Text(text) if text == "2.0");
    match found {
        Ok(envelope) => {
            assert!(is_request);
            let known = Operation::from_method(method);
            assert_eq!(known, Some((envelope.operation, envelope.version)));
            let id: Node = serde_json::from_str(envelope.id.as_str()).expect("the id is JSON");
            assert_eq!(&id, node.last(&["id"]));
            let params = node.last(&["params"]);
            let expected = ids(params, envelope.operation, envelope.version);
            assert_eq!(envelope.ids, expected.expect("ids of right types"));
        }
        Err(rejected) => match rejected.problem.fault {
            Fault::Parse => panic!("serde_json takes this for JSON"),
            Fault::InvalidRequest => {}
            Fault::MethodNotFound => assert_eq!(Operation::from_method(method), None),
            _ => {
                let (operation, version) = Operation::from_method(method).expect("a method");
                let params = node.last(&["params"]);
                ids(params, operation, version).expect_err("an id of a wrong type");
            }
        },
    }
}

/// What need not change does not, and what was changed can be changed back.
pub(crate) fn rewrite(data: &[u8]) {
    let mut input = Input::new(data);
    let (dialect, operation, direction) =
        (input.json_dialect(), input.operation(), input.direction());
    let body = Bytes::copy_from_slice(input.rest());
    let Ok(kept) = rewrite::rewrite(dialect, operation, direction, body.clone(), &mut Keep) else {
        // What is no JSON is refused by both.
        assert!(
            !matches!(read(&body), Said::Read(_)),
            "serde_json takes this for JSON"
        );
        return;
    };
    assert!(kept.is_unchanged());
    assert_eq!(kept.into_bytes(), body);
    let there = rewrite::rewrite(dialect, operation, direction, body.clone(), &mut Mark);
    let there = there
        .expect("what was taken once is taken again")
        .into_bytes();
    let is_blank = body.iter().all(u8::is_ascii_whitespace);
    if !is_blank && !matches!(read(&body), Said::Number) {
        assert!(matches!(read(&there), Said::Read(_)), "it is JSON no more");
    }
    if names_another_version(dialect.version, direction, &body) {
        return;
    }
    let back = rewrite::rewrite(dialect, operation, direction, there, &mut Unmark);
    let back = back.expect("what was written is taken").into_bytes();
    // An escape in an id is gone after two changes; without any the bytes are the same.
    if body.contains(&b'\\') {
        if let (Said::Read(before), Said::Read(after)) = (read(&body), read(&back)) {
            assert_eq!(before, after);
        }
    } else {
        assert_eq!(back, body);
    }
}

/// A JSON-RPC request is read by its method's version, and a body in which the method's very name is
/// given twice has none that is sure.
fn names_another_version(_: Version, direction: Direction, body: &[u8]) -> bool {
    direction == Direction::Request
        && body
            .windows(8)
            .filter(|window| window == b"\"method\"")
            .count()
            > 1
}
