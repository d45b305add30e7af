//! The error table as it stands on the wire: each fault in each dialect, beside its golden file, and read
//! back from there. `UPDATE_GOLDENS=1` writes the files anew; the change is then to be read.

use std::{collections::BTreeMap, fs, path::PathBuf};

use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use mesh_proto::{
    Binding, Dialect, Fault, Operation, Problem, Version, grpc,
    jsonrpc::RawId,
    pivot::{self, WireResponse},
    sse,
};
use prost::Message;

/// `google.rpc.Status`, written down once more.
#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

/// `google.rpc.ErrorInfo`, written down once more.
#[derive(Clone, PartialEq, Message)]
struct ErrorInfo {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(string, tag = "2")]
    domain: String,
    #[prost(btree_map = "string, string", tag = "3")]
    metadata: BTreeMap<String, String>,
}

fn dialects() -> impl Iterator<Item = Dialect> {
    Version::ALL
        .into_iter()
        .flat_map(|version| Binding::ALL.map(|binding| Dialect::new(binding, version)))
}

/// A problem with words that have to be escaped somewhere, and a fact.
fn problem(fault: Fault) -> Problem {
    let message = format!("{fault:?}: \"naïve\" 100%");
    Problem::new(fault, message).with("taskId", "t/1")
}

fn section(dialect: Dialect, fault: Fault) -> String {
    let (problem, id) = (problem(fault), RawId::number(7));
    let wire = pivot::encode_response(dialect, Some(&id), Err(&problem));
    let event = pivot::encode_event(dialect, Some(&id), Err(&problem));
    let mut text = format!(
        "=== {fault:?}\n{}\ncontent-type: {}\n",
        wire.status, wire.content_type
    );
    match &wire.trailers {
        Some(trailers) => {
            assert!(wire.body.is_empty(), "a failed call has no message");
            assert!(event.is_empty(), "a problem ends a stream in its trailers");
            write_trailers(&mut text, trailers);
        }
        None => {
            let body = std::str::from_utf8(&wire.body).expect("JSON is text");
            let event = std::str::from_utf8(&event).expect("an event is text");
            text += &format!("{body}\nin a stream:\n{}\n", event.trim_end());
        }
    }
    let read = read_back(dialect, &wire);
    text += &format!("read back as: {:?}\n\n", read.fault);
    text
}

fn write_trailers(text: &mut String, trailers: &HeaderMap) {
    let mut names: Vec<_> = trailers.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    for name in names {
        let value = trailers[name].to_str().expect("a trailer is text");
        if !name.ends_with("-bin") {
            *text += &format!("{name}: {value}\n");
            continue;
        }
        let bytes = BASE64_STANDARD_NO_PAD.decode(value).expect("base64");
        let status = Status::decode(bytes.as_slice()).expect("protobuf");
        *text += &format!(
            "{name}:\n  code: {}\n  message: {}\n",
            status.code, status.message
        );
        for any in status.details {
            let info = ErrorInfo::decode(any.value.as_slice()).expect("protobuf");
            let (kind, reason, domain) = (any.type_url, info.reason, info.domain);
            *text += &format!("  {kind}:\n    reason: {reason}\n    domain: {domain}\n");
            *text += &format!("    metadata: {:?}\n", info.metadata);
        }
    }
}

fn read_back(dialect: Dialect, wire: &WireResponse) -> Problem {
    let trailers = wire.trailers.as_ref();
    let head = HeaderMap::new();
    let operation = Operation::GetTask;
    pivot::decode_response(dialect, operation, wire.status, &head, trailers, &wire.body)
        .expect_err("a problem")
}

/// The problem that a stream ends with, as the other side reads it.
fn read_event(dialect: Dialect, framed: &Bytes) -> Problem {
    let mut reader = sse::Reader::new(1 << 16);
    reader.feed(framed).expect("a short event");
    let event = reader.next_event().expect("an event");
    let operation = Operation::SubscribeToTask;
    pivot::decode_event(dialect, operation, &event.data).expect_err("a problem")
}

#[test]
fn every_error_looks_in_every_dialect_as_its_golden_file_says() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/errors");
    let is_update = std::env::var_os("UPDATE_GOLDENS").is_some_and(|value| value == "1");
    for dialect in dialects() {
        let name = format!("{}-{}.txt", dialect.binding.label(), dialect.version);
        let path = folder.join(&name);
        let written: String = Fault::ALL.map(|fault| section(dialect, fault)).concat();
        if is_update {
            fs::write(&path, &written).unwrap();
        }
        let golden = fs::read_to_string(&path).unwrap_or_default();
        for (written, golden) in written.split("=== ").zip(golden.split("=== ")) {
            assert_eq!(
                written, golden,
                "in {name}; UPDATE_GOLDENS=1 writes it anew"
            );
        }
        assert_eq!(
            written.len(),
            golden.len(),
            "{name} has too little or too much"
        );
    }
}

#[test]
fn every_error_of_1_0_is_read_back_whole_from_every_binding() {
    for binding in Binding::ALL {
        let dialect = Dialect::new(binding, Version::V1_0);
        for fault in Fault::ALL {
            let problem = problem(fault);
            let wire = pivot::encode_response(dialect, None, Err(&problem));
            assert_eq!(read_back(dialect, &wire), problem, "{dialect}");
            if binding != Binding::Grpc {
                let framed = pivot::encode_event(dialect, None, Err(&problem));
                assert_eq!(read_event(dialect, &framed), problem, "{dialect}");
            }
        }
    }
}

#[test]
fn every_error_of_0_3_is_read_back_but_for_those_that_0_3_cannot_tell_apart() {
    for binding in Binding::ALL {
        let dialect = Dialect::new(binding, Version::V0_3);
        for fault in Fault::ALL {
            let expected = match (binding, fault) {
                // 0.3 ends at code -32007, and a code is all that its JSON-RPC has.
                (
                    Binding::JsonRpc,
                    Fault::ExtensionSupportRequired | Fault::VersionNotSupported,
                ) => Fault::Internal,
                // Two limits have one status, and neither has a name in 0.3.
                (Binding::Grpc, Fault::TooLarge) => Fault::Exhausted,
                _ => fault,
            };
            let problem = problem(fault);
            let wire = pivot::encode_response(dialect, None, Err(&problem));
            let read = read_back(dialect, &wire);
            assert_eq!(read.fault, expected, "{dialect}");
            assert_eq!(read.message, problem.message, "{dialect}");
            // The facts of an error have no place in 0.3 that all its clients leave alone.
            assert!(read.metadata.is_empty(), "{dialect}: {read:?}");
        }
    }
}

#[test]
fn the_details_of_a_grpc_status_survive_json_rpc_and_back() {
    let info = ErrorInfo {
        reason: "QUOTA_OF_THE_MOON".into(),
        domain: "agent.example".into(),
        metadata: [("left".to_owned(), "0".to_owned())].into(),
    };
    let foreign = Status {
        code: 8,
        message: "come back".into(),
        details: vec![prost_types::Any {
            type_url: "type.googleapis.com/google.rpc.ErrorInfo".into(),
            value: info.encode_to_vec(),
        }],
    };
    let details = BASE64_STANDARD_NO_PAD.encode(foreign.encode_to_vec());
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("8"));
    trailers.insert("grpc-message", HeaderValue::from_static("come back"));
    trailers.insert("grpc-status-details-bin", details.parse().unwrap());
    let wire = WireResponse {
        status: http::StatusCode::OK,
        content_type: "application/grpc",
        body: Bytes::new(),
        trailers: Some(trailers.clone()),
    };
    let grpc = Dialect::new(Binding::Grpc, Version::V1_0);
    let rpc = Dialect::new(Binding::JsonRpc, Version::V1_0);
    let rest = Dialect::new(Binding::Rest, Version::V1_0);
    let first = read_back(grpc, &wire);
    assert_eq!(first.fault, Fault::Exhausted);
    for other in [rpc, rest] {
        let there = pivot::encode_response(other, None, Err(&first));
        let read = read_back(other, &there);
        let back = pivot::encode_response(grpc, None, Err(&read))
            .trailers
            .unwrap();
        let bytes = BASE64_STANDARD_NO_PAD
            .decode(&back["grpc-status-details-bin"])
            .unwrap();
        let status = Status::decode(bytes.as_slice()).unwrap();
        assert_eq!(status, foreign, "{other}");
        assert_eq!(back["grpc-message"], trailers["grpc-message"]);
    }
    assert_eq!(grpc::problem(&trailers), Some(first));
}
