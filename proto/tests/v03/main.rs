//! 0.3 as its SDKs speak it, and what comes back of what goes out.

#![expect(
    clippy::unwrap_used,
    reason = "a test that meets what it did not expect is to fail"
)]

mod errors;
mod fixture;
mod loose;
mod made;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use mesh_proto::{
    Binding, Dialect, Fault, Operation, Problem, Version, a2a, grpc,
    jsonrpc::RawId,
    pivot::{Event, Request, Response},
    sse, v03,
};
use proptest::prelude::*;

const RPC: Dialect = Dialect::new(Binding::JsonRpc, Version::V0_3);
const REST: Dialect = Dialect::new(Binding::Rest, Version::V0_3);
const GRPC: Dialect = Dialect::new(Binding::Grpc, Version::V0_3);
const DIALECTS: [Dialect; 3] = [RPC, REST, GRPC];

fn id() -> RawId {
    RawId::string("q-1")
}

/// The message in a frame of gRPC, or the data of an event, or a body as it is.
fn bare(binding: Binding, is_event: bool, wire: &Bytes) -> Bytes {
    match binding {
        Binding::Grpc => {
            let mut reader = grpc::Reader::new(1 << 24);
            reader.feed(wire);
            let frame = reader.next_frame().unwrap();
            frame.map(|frame| frame.message).unwrap_or_default()
        }
        Binding::JsonRpc | Binding::Rest if is_event => {
            let mut reader = sse::Reader::new(1 << 24);
            reader.feed(wire).unwrap();
            reader.next_event().unwrap().data
        }
        Binding::JsonRpc | Binding::Rest => wire.clone(),
    }
}

fn read_request(dialect: Dialect, request: &Request) -> Result<Request, Problem> {
    let wire = v03::encode_request(dialect, &id(), request)?;
    let body = bare(dialect.binding, false, &wire.body);
    let operation = request.operation();
    v03::decode_request(dialect, operation, &wire.method, &wire.path, &body)
}

fn read_response(
    dialect: Dialect,
    operation: Operation,
    outcome: Result<&Response, &Problem>,
) -> Result<Response, Problem> {
    let wire = v03::encode_response(dialect, Some(&id()), outcome);
    let body = bare(dialect.binding, false, &wire.body);
    let trailers = wire.trailers.as_ref();
    let headers = HeaderMap::new();
    v03::decode_response(dialect, operation, wire.status, &headers, trailers, &body)
}

fn read_event(dialect: Dialect, outcome: Result<&Event, &Problem>) -> Result<Event, Problem> {
    let wire = v03::encode_event(dialect, Some(&id()), outcome);
    let data = bare(dialect.binding, true, &wire);
    v03::decode_event(dialect, Operation::SendStreamingMessage, &data)
}

/// What a call of 1.0 is once it has been through a dialect of 0.3.
fn through(dialect: Dialect, request: &Request) -> Request {
    read_request(dialect, request).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn requests_of_1_0_come_back_from_every_dialect(request in made::request()) {
        for dialect in DIALECTS {
            prop_assert_eq!(&read_request(dialect, &request), &Ok(request.clone()), "{}", dialect);
        }
    }

    #[test]
    fn answers_of_1_0_come_back_from_every_dialect((operation, response) in made::response()) {
        for dialect in DIALECTS {
            let back = read_response(dialect, operation, Ok(&response));
            prop_assert_eq!(&back, &Ok(response.clone()), "{}", dialect);
        }
    }

    #[test]
    fn events_of_1_0_come_back_from_every_dialect(event in made::event()) {
        for dialect in DIALECTS {
            let back = read_event(dialect, Ok(&event));
            prop_assert_eq!(&back, &Ok(event.clone()), "{}", dialect);
        }
    }

    #[test]
    fn a_push_of_0_3_is_the_task_that_the_event_is_about(event in made::event()) {
        use mesh_proto::a2a::stream_response::Payload;
        let pushed = v03::push_of_1_0(&event);
        let payload = event.payload.unwrap();
        if matches!(payload, Payload::Message(_)) {
            prop_assert!(pushed.is_err());
        } else {
            let body = pushed.unwrap();
            let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
            prop_assert_eq!(&value["kind"], "task");
            let Some(Payload::Task(read)) = v03::push_to_1_0(&body).unwrap().payload else {
                return Err(TestCaseError::fail("a push is no task"));
            };
            match payload {
                Payload::Task(task) => prop_assert_eq!(read, task),
                Payload::StatusUpdate(update) => {
                    prop_assert_eq!((read.id, read.context_id), (update.task_id, update.context_id));
                    prop_assert_eq!((read.status, read.metadata), (update.status, update.metadata));
                }
                Payload::ArtifactUpdate(update) => {
                    prop_assert_eq!((read.id, read.context_id), (update.task_id, update.context_id));
                    prop_assert_eq!(read.artifacts.first(), update.artifact.as_ref());
                }
                Payload::Message(_) => {}
            }
        }
    }

    #[test]
    fn what_goes_from_one_binding_to_another_and_back_is_the_same_bytes(
        request in made::request(), event in made::event(),
    ) {
        for here in DIALECTS {
            for there in DIALECTS {
                let first = v03::encode_request(here, &id(), &through(here, &request));
                let back = through(there, &through(here, &request));
                prop_assert_eq!(v03::encode_request(here, &id(), &back), first);
                let first = v03::encode_event(here, None, Ok(&event));
                let back = read_event(there, Ok(&event));
                prop_assert_eq!(v03::encode_event(here, None, back.as_ref()), first);
            }
        }
    }

    #[test]
    fn references_and_metadata_that_only_json_rpc_has_come_back_from_there(
        message in made::message(), references in prop::collection::vec("[a-z]{1,5}", 0..3), metadata in made::metadata(),
    ) {
        let message = a2a::Message { reference_task_ids: references, ..message };
        let event = Event { payload: Some(a2a::stream_response::Payload::Message(message)) };
        prop_assert_eq!(&read_event(RPC, Ok(&event)), &Ok(event));
        let cancel = a2a::CancelTaskRequest { id: "t".to_owned(), metadata, ..Default::default() };
        let cancel = Request::CancelTask(cancel);
        prop_assert_eq!(&read_request(RPC, &cancel), &Ok(cancel));
    }

    #[test]
    fn no_bytes_make_a_reader_panic(body: Vec<u8>, text in "[\\[\\]{}\",:0-9a-z \\\\]{0,60}", path in "/v1/\\PC{0,20}") {
        for body in [body.as_slice(), text.as_bytes()] {
            for dialect in DIALECTS {
                for operation in Operation::ALL {
                    drop(v03::decode_request(dialect, operation, &Method::GET, &path, body));
                    drop(v03::decode_request(dialect, operation, &Method::POST, "/v1/message:send", body));
                    for status in [StatusCode::OK, StatusCode::NOT_FOUND] {
                        let headers = grpc::success();
                        drop(v03::decode_response(dialect, operation, status, &headers, None, body));
                    }
                    drop(v03::decode_event(dialect, operation, body));
                    drop(v03::push_to_1_0(body));
                }
            }
        }
    }
}

#[test]
fn a_list_of_tasks_is_refused_everywhere() {
    let request = Request::ListTasks(a2a::ListTasksRequest::default());
    for dialect in DIALECTS {
        let refused = v03::encode_request(dialect, &id(), &request).unwrap_err();
        assert_eq!(refused.fault, Fault::UnsupportedOperation);
        let answer = Response::Tasks(a2a::ListTasksResponse::default());
        let back = read_response(dialect, Operation::GetTask, Ok(&answer)).unwrap_err();
        assert_eq!(back.fault, Fault::UnsupportedOperation);
    }
}

#[test]
fn an_id_that_cannot_stand_in_a_path_is_refused_there_and_goes_elsewhere() {
    for odd in ["", ".", "..", "x:cancel"] {
        let request = Request::GetTask(a2a::GetTaskRequest {
            id: odd.to_owned(),
            ..Default::default()
        });
        let refused = v03::encode_request(REST, &id(), &request).unwrap_err();
        assert_eq!(refused.fault, Fault::InvalidParams, "{odd}");
        assert_eq!(read_request(RPC, &request), Ok(request), "{odd}");
    }
    let request = Request::GetTask(a2a::GetTaskRequest {
        id: "a/b c:d".to_owned(),
        ..Default::default()
    });
    for dialect in DIALECTS {
        assert_eq!(
            read_request(dialect, &request),
            Ok(request.clone()),
            "{dialect}"
        );
    }
}
