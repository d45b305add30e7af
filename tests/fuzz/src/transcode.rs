//! The pivot and the 0.3 translation: what was read from one dialect is written in another and read
//! back as the same.
//!
//! # Invariants
//! - Between the bindings of 1.0 nothing is lost. Into 0.3 some things are (its page says which), so
//!   there the second round must lose nothing that the first had left.

use http::{HeaderMap, HeaderValue, StatusCode};
use mesh_proto::{
    Binding, Dialect, Fault, Operation, Problem, Version,
    jsonrpc::RawId,
    pivot::{self, Event, Request, Response},
    sse,
};

use crate::input::Input;

/// Something that a dialect said.
#[derive(Clone, Debug)]
enum Said {
    Ask(Request),
    Answer(Response),
    Event(Event),
}

/// Which of them.
#[derive(Clone, Copy)]
enum Kind {
    Ask,
    Answer,
    Event,
}

/// Any bytes as something said in 1.0.
pub(crate) fn from_1_0(data: &[u8]) {
    transcode(data, Version::V1_0);
}

/// Any bytes as something said in 0.3.
pub(crate) fn from_0_3(data: &[u8]) {
    transcode(data, Version::V0_3);
}

fn transcode(data: &[u8], version: Version) {
    let mut input = Input::new(data);
    let binding = input.pick(&[Binding::JsonRpc, Binding::Rest, Binding::Grpc]);
    let from = Dialect::new(binding, version);
    let operation = input.operation();
    let kind = input.pick(&[Kind::Ask, Kind::Answer, Kind::Event]);
    let method = input.method();
    let rest = input.rest();
    let said = match kind {
        Kind::Ask => {
            // The request line's path is the first line.
            let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(0);
            let (line, body) = rest.split_at(end);
            let Ok(path) = std::str::from_utf8(line) else {
                return;
            };
            let body = body.strip_prefix(b"\n").unwrap_or(body);
            pivot::decode_request(from, operation, &method, path, body).map(Said::Ask)
        }
        Kind::Answer => answer(from, operation, StatusCode::OK, rest).map(Said::Answer),
        Kind::Event => pivot::decode_event(from, operation, rest).map(Said::Event),
    };
    let said = match said {
        Ok(said) => said,
        Err(problem) => return refused(operation, &problem),
    };
    for to in [Version::V1_0, Version::V0_3] {
        for binding in Binding::ALL {
            let to = Dialect::new(binding, to);
            let Some(once) = round(to, operation, &said) else {
                continue;
            };
            if to.version == Version::V1_0 {
                assert_eq!(shown(&once), shown(&said), "{from} to {to}");
            } else if let Some(twice) = round(to, operation, &once) {
                assert_eq!(shown(&twice), shown(&once), "{from} to {to}");
            }
        }
    }
}

/// As text, since a double that is no number is not equal to itself.
fn shown(said: &Said) -> String {
    format!("{said:?}")
}

/// Writes something in a dialect and reads it back. `None` where the dialect can't say it.
fn round(dialect: Dialect, operation: Operation, said: &Said) -> Option<Said> {
    let id = RawId::number(1);
    let read = match said {
        Said::Ask(request) => {
            let wire = pivot::encode_request(dialect, &id, request).ok()?;
            let body = bare(dialect, &wire.body);
            let operation = request.operation();
            let read = pivot::decode_request(dialect, operation, &wire.method, &wire.path, body);
            read.map(Said::Ask)
        }
        Said::Answer(response) => {
            let wire = pivot::encode_response(dialect, Some(&id), Ok(response));
            let body = bare(dialect, &wire.body);
            answer(dialect, operation, wire.status, body).map(Said::Answer)
        }
        Said::Event(event) => {
            let wire = pivot::encode_event(dialect, Some(&id), Ok(event));
            let data = match dialect.binding {
                Binding::Grpc => bare(dialect, &wire).to_vec(),
                Binding::JsonRpc | Binding::Rest => {
                    let mut reader = sse::Reader::new(1 << 22);
                    reader.feed(&wire).expect("the bound is far");
                    reader
                        .next_event()
                        .expect("an event is written")
                        .data
                        .to_vec()
                }
            };
            pivot::decode_event(dialect, operation, &data).map(Said::Event)
        }
    };
    match read {
        Ok(read) => Some(read),
        // What has no form there is told as an error, or is nested deeper than that reader goes.
        Err(problem) => {
            let fair = [
                Fault::InvalidAgentResponse,
                Fault::Parse,
                Fault::InvalidParams,
                Fault::UnsupportedOperation,
                Fault::MethodNotFound,
            ];
            assert!(fair.contains(&problem.fault), "{dialect}: {problem}");
            None
        }
    }
}

fn answer(
    dialect: Dialect,
    operation: Operation,
    status: StatusCode,
    body: &[u8],
) -> Result<Response, Problem> {
    let trailers = HeaderMap::from_iter([(
        http::HeaderName::from_static("grpc-status"),
        HeaderValue::from_static("0"),
    )]);
    let trailers = (dialect.binding == Binding::Grpc).then_some(&trailers);
    pivot::decode_response(
        dialect,
        operation,
        status,
        &HeaderMap::new(),
        trailers,
        body,
    )
}

/// Without the frame of gRPC.
fn bare(dialect: Dialect, body: &[u8]) -> &[u8] {
    match dialect.binding {
        Binding::Grpc => body.get(5..).unwrap_or_default(),
        Binding::JsonRpc | Binding::Rest => body,
    }
}

/// A refusal can be told in every dialect of 1.0, and means the same there.
fn refused(operation: Operation, problem: &Problem) {
    for binding in [Binding::JsonRpc, Binding::Rest] {
        let dialect = Dialect::new(binding, Version::V1_0);
        let wire = pivot::encode_response(dialect, Some(&RawId::null()), Err(problem));
        let read = answer(dialect, operation, wire.status, &wire.body);
        let read = read.expect_err("an error is an error");
        assert_eq!(
            (read.fault, &read.message),
            (problem.fault, &problem.message)
        );
    }
}
