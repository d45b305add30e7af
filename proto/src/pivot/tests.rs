//! What is written in a dialect is read back as the same, and what cannot be written says so.

use http::HeaderMap;

use super::*;

const ID: &str = "\"q\"";

fn dialects() -> impl Iterator<Item = Dialect> {
    Binding::ALL
        .into_iter()
        .map(|binding| Dialect::new(binding, Version::V1_0))
}

/// The bare body: without the frame of gRPC.
fn bare(dialect: Dialect, body: &Bytes) -> Bytes {
    match dialect.binding {
        Binding::Grpc => body.slice(body.len().min(5)..),
        Binding::JsonRpc | Binding::Rest => body.clone(),
    }
}

fn there_and_back(dialect: Dialect, request: &Request) -> Result<Request, Problem> {
    let id = RawId::parse(ID).unwrap();
    let wire = encode_request(dialect, &id, request)?;
    let operation = request.operation();
    let body = bare(dialect, &wire.body);
    decode_request(dialect, operation, &wire.method, &wire.path, &body)
}

fn answered(
    dialect: Dialect,
    operation: Operation,
    outcome: Result<&Response, &Problem>,
) -> Result<Response, Problem> {
    let wire = encode_response(dialect, None, outcome);
    let body = bare(dialect, &wire.body);
    let trailers = wire.trailers.as_ref();
    let headers = HeaderMap::new();
    decode_response(dialect, operation, wire.status, &headers, trailers, &body)
}

#[test]
fn a_request_an_answer_and_a_problem_come_back_in_every_binding() {
    let ask = Request::GetTask(a2a::GetTaskRequest {
        tenant: "acme".into(),
        id: "a/b:c".into(),
        history_length: Some(0),
    });
    let task = Response::Task(a2a::Task {
        id: "a/b:c".into(),
        ..Default::default()
    });
    let gone = Problem::new(Fault::TaskNotFound, "no such task").with("task", "a/b:c");
    for dialect in dialects() {
        assert_eq!(
            there_and_back(dialect, &ask).as_ref(),
            Ok(&ask),
            "{dialect}"
        );
        let read = answered(dialect, Operation::GetTask, Ok(&task));
        assert_eq!(read.as_ref(), Ok(&task), "{dialect}");
        let read = answered(dialect, Operation::GetTask, Err(&gone));
        assert_eq!(read.as_ref(), Err(&gone), "{dialect}");
    }
}
