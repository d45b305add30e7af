//! What is written in a dialect is read back as the same, through whichever other dialect it went; what
//! cannot be written says so.

mod damage;
pub(crate) mod made;
mod odd;

use http::HeaderMap;
use proptest::prelude::*;

use super::*;
use made::{Content, Maker};

const DIALECTS: [Dialect; 3] = [
    Dialect::new(Binding::JsonRpc, Version::V1_0),
    Dialect::new(Binding::Rest, Version::V1_0),
    Dialect::new(Binding::Grpc, Version::V1_0),
];

/// The bare body: without the frame of gRPC.
fn bare(dialect: Dialect, body: &Bytes) -> Bytes {
    match dialect.binding {
        Binding::Grpc => body.slice(body.len().min(5)..),
        Binding::JsonRpc | Binding::Rest => body.clone(),
    }
}

/// What the other side of the wire reads.
pub(crate) fn asked(dialect: Dialect, request: &Request) -> Result<Request, Problem> {
    let wire = encode_request(dialect, &RawId::string("q"), request)?;
    let operation = request.operation();
    let body = bare(dialect, &wire.body);
    decode_request(dialect, operation, &wire.method, &wire.path, &body)
}

/// What the other side of the wire reads.
pub(crate) fn answered(
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

/// What the other side of the wire reads; a problem ends a stream of gRPC in its trailers.
pub(crate) fn streamed(
    dialect: Dialect,
    outcome: Result<&Event, &Problem>,
) -> Result<Event, Problem> {
    let operation = Operation::SendStreamingMessage;
    let framed = encode_event(dialect, Some(&RawId::number(7)), outcome);
    if dialect.binding == Binding::Grpc {
        return match outcome {
            Ok(_) => decode_event(dialect, operation, &bare(dialect, &framed)),
            Err(problem) => {
                assert!(framed.is_empty());
                Err(crate::grpc::problem(&crate::grpc::trailers(problem)).unwrap())
            }
        };
    }
    let mut reader = crate::sse::Reader::new(1 << 20);
    reader.feed(&framed).unwrap();
    let event = reader.next_event().unwrap();
    assert_eq!(reader.next_event(), None);
    decode_event(dialect, operation, &event.data)
}

/// Whether a call has a path in HTTP+JSON, said once more and in another way.
fn stands_in_a_path(request: &Request) -> bool {
    let tenant = request.tenant();
    let ids = match request {
        Request::GetTask(request) => vec![&request.id],
        Request::CancelTask(request) => vec![&request.id],
        Request::SubscribeToTask(request) => vec![&request.id],
        Request::CreateTaskPushNotificationConfig(request) => vec![&request.task_id],
        Request::ListTaskPushNotificationConfigs(request) => vec![&request.task_id],
        Request::GetTaskPushNotificationConfig(request) => vec![&request.task_id, &request.id],
        Request::DeleteTaskPushNotificationConfig(request) => vec![&request.task_id, &request.id],
        // Below `/tasks` these look like a task of that name.
        Request::ListTasks(_) | Request::GetExtendedAgentCard(_) if tenant == "tasks" => {
            return false;
        }
        _ => Vec::new(),
    };
    let is_verb = |id: &str| id.ends_with(":cancel") || id.ends_with(":subscribe");
    let fits = |id: &&String| !matches!(id.as_str(), "" | "." | "..");
    !matches!(tenant, "v1" | "." | "..")
        && ids.iter().all(fits)
        && !matches!(request, Request::GetTask(request) if is_verb(&request.id))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_request_is_the_same_through_any_two_dialects(seed: u64) {
        let mut maker = Maker::new(seed, Content::Any);
        let operation = maker.rng().pick(&Operation::ALL);
        let request = maker.request(operation);
        prop_assert_eq!(request.operation(), operation);
        for there in DIALECTS {
            let read = asked(there, &request);
            if there.binding == Binding::Rest && !stands_in_a_path(&request) {
                prop_assert_eq!(read.map_err(|problem| problem.fault), Err(Fault::InvalidParams));
                continue;
            }
            let read = read.unwrap();
            prop_assert_eq!(&read, &request, "{}", there);
            for back in DIALECTS {
                if back.binding != Binding::Rest || stands_in_a_path(&request) {
                    let again = asked(back, &read).and_then(|read| asked(there, &read));
                    prop_assert_eq!(again.as_ref(), Ok(&request), "{} and {}", there, back);
                }
            }
        }
    }

    #[test]
    fn an_answer_is_the_same_through_any_two_dialects(seed: u64) {
        let mut maker = Maker::new(seed, Content::Any);
        let operation = maker.rng().pick(&Operation::ALL);
        let response = maker.response(operation);
        for there in DIALECTS {
            for back in DIALECTS {
                let read = answered(there, operation, Ok(&response)).unwrap();
                prop_assert_eq!(&read, &response, "{}", there);
                let read = answered(back, operation, Ok(&read)).unwrap();
                let again = answered(there, operation, Ok(&read));
                prop_assert_eq!(again.as_ref(), Ok(&response), "{} and {}", there, back);
            }
        }
    }

    #[test]
    fn an_event_is_the_same_through_any_two_dialects(seed: u64) {
        let event = Maker::new(seed, Content::Any).event();
        for there in DIALECTS {
            for back in DIALECTS {
                let read = streamed(there, Ok(&event)).unwrap();
                let read = streamed(back, Ok(&read)).unwrap();
                prop_assert_eq!(streamed(there, Ok(&read)), Ok(event.clone()), "{} and {}", there, back);
            }
        }
    }

    #[test]
    fn a_problem_keeps_its_words_and_facts_through_any_two_dialects(seed: u64) {
        let mut maker = Maker::new(seed, Content::Any);
        let operation = maker.rng().pick(&Operation::ALL);
        let problem = maker.problem();
        for there in DIALECTS {
            for back in DIALECTS {
                let read = answered(there, operation, Err(&problem)).unwrap_err();
                prop_assert_eq!(&read, &problem, "{}", there);
                let read = answered(back, operation, Err(&read)).unwrap_err();
                let again = answered(there, operation, Err(&read));
                prop_assert_eq!(again.as_ref(), Err(&problem), "{} and {}", there, back);
                let read = streamed(there, Err(&problem)).unwrap_err();
                prop_assert_eq!(streamed(back, Err(&read)), Err(problem.clone()));
            }
        }
    }

    #[test]
    fn an_agents_own_error_keeps_its_name_and_facts(seed: u64) {
        let mut maker = Maker::new(seed, Content::Any);
        let mut problem = maker.problem();
        problem.origin = Some(Box::new(maker.origin()));
        for there in DIALECTS {
            for back in DIALECTS {
                let read = answered(there, Operation::GetTask, Err(&problem)).unwrap_err();
                let read = answered(back, Operation::GetTask, Err(&read)).unwrap_err();
                prop_assert_eq!(&read.origin, &problem.origin);
                prop_assert_eq!(&read.metadata, &problem.metadata);
                prop_assert_eq!(&read.message, &problem.message);
            }
        }
    }

    #[test]
    fn json_is_read_however_it_is_spelled(seed: u64) {
        let mut maker = Maker::new(seed, Content::Any);
        let operation = maker.rng().pick(&Operation::ALL);
        let made = maker.dynamic(made::request_name(operation));
        let wire = made.encode_to_vec();
        let rpc = Dialect::new(Binding::JsonRpc, Version::V1_0);
        let grpc = Dialect::new(Binding::Grpc, Version::V1_0);
        let expected = decode_request(grpc, operation, &Method::POST, "", &wire).unwrap();
        let params = odd::spelled(maker.rng(), &made);
        let body = serde_json::json!({"id": 1, "params": params, "jsonrpc": "2.0", "x": {}});
        let body = serde_json::to_vec(&body).unwrap();
        let read = decode_request(rpc, operation, &Method::POST, "", &body);
        prop_assert_eq!(read, Ok(expected));
        let made = maker.dynamic("StreamResponse");
        let expected = decode_event(grpc, operation, &made.encode_to_vec()).unwrap();
        let data = serde_json::to_vec(&odd::spelled(maker.rng(), &made)).unwrap();
        let rest = Dialect::new(Binding::Rest, Version::V1_0);
        prop_assert_eq!(decode_event(rest, operation, &data), Ok(expected));
    }
}

const RPC: Dialect = DIALECTS[0];
const REST: Dialect = DIALECTS[1];
const GRPC_1_0: Dialect = DIALECTS[2];

fn read(
    dialect: Dialect,
    operation: Operation,
    status: u16,
    body: &str,
) -> Result<Response, Problem> {
    let status = StatusCode::from_u16(status).unwrap();
    let headers = HeaderMap::new();
    decode_response(dialect, operation, status, &headers, None, body.as_bytes())
}

#[test]
fn params_may_be_absent_and_a_tenant_may_be_put_in_place() {
    for body in [
        r#"{"jsonrpc":"2.0","id":1,"method":"GetExtendedAgentCard"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"GetExtendedAgentCard","params":null}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"GetExtendedAgentCard","params":{}}"#,
    ] {
        let operation = Operation::GetExtendedAgentCard;
        let request = decode_request(RPC, operation, &Method::POST, "", body.as_bytes());
        let mut request = request.unwrap();
        assert_eq!(request.tenant(), "");
        request.set_tenant("acme");
        assert_eq!(request.tenant(), "acme");
        let wire = encode_request(REST, &RawId::null(), &request).unwrap();
        assert_eq!(
            (wire.method, wire.path.as_str()),
            (Method::GET, "/acme/extendedAgentCard")
        );
        assert_eq!((wire.content_type, wire.body), (None, Bytes::new()));
    }
}

#[test]
fn what_the_body_cannot_be_is_told_from_what_it_should_not_be() {
    let ask = |dialect, body: &[u8]| {
        let path = "/message:send";
        let read = decode_request(dialect, Operation::SendMessage, &Method::POST, path, body);
        read.unwrap_err().fault
    };
    assert_eq!(ask(RPC, b"{"), Fault::Parse);
    assert_eq!(ask(RPC, br#"{"params":[]}"#), Fault::InvalidParams);
    assert_eq!(
        ask(RPC, br#"{"params":{"message":7}}"#),
        Fault::InvalidParams
    );
    assert_eq!(ask(REST, b"{"), Fault::Parse);
    assert_eq!(ask(REST, br#"{"message":7}"#), Fault::InvalidParams);
    assert_eq!(ask(GRPC_1_0, b"\xff"), Fault::Parse);
    let path = "/tasks/t";
    let other = decode_request(REST, Operation::CancelTask, &Method::GET, path, b"");
    assert_eq!(other.unwrap_err().fault, Fault::MethodNotFound);
    let older = decode_request(REST, Operation::GetTask, &Method::GET, "/v1/tasks/t", b"");
    assert_eq!(older.unwrap_err().fault, Fault::MethodNotFound);
}

#[test]
fn what_json_cannot_hold_is_the_callers_fault_in_a_request_and_the_agents_in_an_answer() {
    let not_a_number = prost_types::Value {
        kind: Some(prost_types::value::Kind::NumberValue(f64::NAN)),
    };
    let metadata = Some(prost_types::Struct {
        fields: [("x".to_owned(), not_a_number)].into(),
    });
    let cancel = Request::CancelTask(a2a::CancelTaskRequest {
        id: "t".into(),
        metadata: metadata.clone(),
        ..Default::default()
    });
    let task = a2a::Task {
        id: "t".into(),
        metadata,
        ..Default::default()
    };
    for dialect in [RPC, REST] {
        let fault = asked(dialect, &cancel).unwrap_err().fault;
        assert_eq!(fault, Fault::InvalidParams, "{dialect}");
        let answer = Response::Task(task.clone());
        let fault = answered(dialect, Operation::CancelTask, Ok(&answer))
            .unwrap_err()
            .fault;
        assert_eq!(fault, Fault::InvalidAgentResponse, "{dialect}");
        let payload = a2a::stream_response::Payload::Task(task.clone());
        let event = Event {
            payload: Some(payload),
        };
        let fault = streamed(dialect, Ok(&event)).unwrap_err().fault;
        assert_eq!(fault, Fault::InvalidAgentResponse, "{dialect}");
    }
}

#[test]
fn an_answer_that_is_none_is_told_by_its_status() {
    let fault = |dialect, status, body| {
        read(dialect, Operation::SendMessage, status, body)
            .unwrap_err()
            .fault
    };
    for dialect in [RPC, REST] {
        assert_eq!(fault(dialect, 200, "<html>"), Fault::InvalidAgentResponse);
        assert_eq!(fault(dialect, 200, "{}"), Fault::InvalidAgentResponse);
        assert_eq!(fault(dialect, 401, "<html>"), Fault::Unauthenticated);
        assert_eq!(fault(dialect, 429, ""), Fault::Exhausted);
        assert_eq!(fault(dialect, 502, "<html>"), Fault::Unavailable);
        assert_eq!(
            fault(dialect, 504, r#"{"error":"late"}"#),
            Fault::DeadlineExceeded
        );
    }
    assert_eq!(fault(RPC, 404, "<html>"), Fault::InvalidAgentResponse);
    assert_eq!(
        fault(RPC, 200, r#"{"result":{}}"#),
        Fault::InvalidAgentResponse
    );
    assert_eq!(fault(GRPC_1_0, 200, ""), Fault::InvalidAgentResponse);
    assert_eq!(fault(GRPC_1_0, 503, ""), Fault::Unavailable);
    let told = read(
        REST,
        Operation::GetTask,
        404,
        r#"{"detail":"no such thing"}"#,
    )
    .unwrap_err();
    assert_eq!(
        (told.fault, told.message.as_str()),
        (Fault::TaskNotFound, "no such thing")
    );
}

#[test]
fn an_error_answers_even_with_a_status_of_its_own() {
    let body = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32006,"message":"odd"}}"#;
    let problem = read(RPC, Operation::GetTask, 500, body).unwrap_err();
    let expected = Problem::new(Fault::InvalidAgentResponse, "odd");
    assert_eq!(problem, expected);
}

#[test]
fn where_json_rpc_has_one_code_for_many_errors_the_status_tells_more() {
    let fault = |status, code| {
        let body =
            format!(r#"{{"jsonrpc":"2.0","id":1,"error":{{"code":{code},"message":"no"}}}}"#);
        read(RPC, Operation::GetTask, status, &body)
            .unwrap_err()
            .fault
    };
    assert_eq!(fault(200, -32603), Fault::Internal);
    assert_eq!(fault(401, -32603), Fault::Unauthenticated);
    assert_eq!(fault(429, -32603), Fault::Exhausted);
    assert_eq!(fault(413, -32600), Fault::TooLarge);
    assert_eq!(fault(413, -32603), Fault::Internal);
    assert_eq!(fault(400, -32600), Fault::InvalidRequest);
    assert_eq!(fault(401, -32001), Fault::TaskNotFound);
}

#[test]
fn a_status_without_a_body_stands_in_the_head() {
    let problem = Problem::new(Fault::TaskNotFound, "gone").with("task", "t");
    let (status, head) = (StatusCode::OK, crate::grpc::trailers(&problem));
    let read = decode_response(GRPC_1_0, Operation::GetTask, status, &head, None, b"");
    assert_eq!(read, Err(problem));
}

#[test]
fn a_deletion_is_answered_with_whatever_means_nothing() {
    let operation = Operation::DeleteTaskPushNotificationConfig;
    for body in ["", "null", "{}", " \n"] {
        assert_eq!(
            read(REST, operation, 200, body),
            Ok(Response::Deleted),
            "{body}"
        );
    }
    assert_eq!(read(REST, operation, 204, ""), Ok(Response::Deleted));
    for result in ["null", "{}", "true"] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#);
        assert_eq!(
            read(RPC, operation, 200, &body),
            Ok(Response::Deleted),
            "{body}"
        );
    }
    assert_eq!(
        read(REST, operation, 503, "").unwrap_err().fault,
        Fault::Unavailable
    );
}

#[test]
fn one_answer_in_place_of_a_stream_is_an_answer_to_a_send() {
    let body = r#"{"jsonrpc":"2.0","id":1,"result":{"task":{"id":"t"}}}"#;
    let read = read(RPC, Operation::SendStreamingMessage, 200, body).unwrap();
    assert!(matches!(read, Response::Sent(_)), "{read:?}");
}

#[test]
fn an_error_in_a_stream_is_told_from_an_event_of_a_kind_to_come() {
    let operation = Operation::SendStreamingMessage;
    let event = |dialect, data: &str| decode_event(dialect, operation, data.as_bytes());
    let unknown = Ok(Event { payload: None });
    assert_eq!(event(REST, r#"{"thoughtUpdate":{"taskId":"t"}}"#), unknown);
    assert_eq!(event(RPC, r#"{"result":{"thoughtUpdate":{}}}"#), unknown);
    let late = event(REST, r#"{"error":{"code":504,"message":"late"}}"#);
    assert_eq!(late, Err(Problem::new(Fault::DeadlineExceeded, "late")));
    let broken = event(REST, r#"{"task":7}"#).unwrap_err();
    assert_eq!(broken.fault, Fault::InvalidAgentResponse);
}

#[test]
fn free_form_data_of_an_error_is_kept_as_facts() {
    let told = |data: &str| {
        let body = format!(r#"{{"error":{{"code":-32602,"message":"no","data":{data}}}}}"#);
        let problem = read(RPC, Operation::GetTask, 200, &body).unwrap_err();
        assert_eq!(problem.fault, Fault::InvalidParams);
        let there = answered(GRPC_1_0, Operation::GetTask, Err(&problem)).unwrap_err();
        assert_eq!(there, problem);
        problem.metadata.into_iter().collect::<Vec<_>>()
    };
    let fact = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(told("null"), []);
    assert_eq!(told(r#""why""#), [fact("data", "why")]);
    assert_eq!(
        told(r#"{"field":"x","at":[1,2]}"#),
        [fact("at", "[1,2]"), fact("field", "x")]
    );
    assert_eq!(
        told(r#"[{"loc":["id"]}]"#),
        [fact("data", r#"[{"loc":["id"]}]"#)]
    );
    let long = format!("\"{}\"", "x".repeat(5000));
    assert_eq!(told(&long), []);
}

#[test]
fn a_status_too_long_for_a_header_loses_facts_then_its_end_but_never_its_fault() {
    let mut problem = Problem::new(Fault::TaskNotFound, "é".repeat(50_000));
    problem = problem.with("big", "x".repeat(50_000));
    problem.origin = Some(Box::new(crate::error::Origin {
        reason: "y".repeat(50_000),
        domain: String::new(),
    }));
    let trailers = crate::grpc::trailers(&problem);
    let length: usize = trailers.values().map(http::HeaderValue::len).sum();
    assert!(length < 8_000, "{length}");
    let read = crate::grpc::problem(&trailers).unwrap();
    assert_eq!(read.fault, Fault::TaskNotFound);
    assert_eq!(read.message, "é".repeat(512));
}
