//! 0.3 as the Python SDK speaks it, and what comes back of what goes out.
//!
//! `fixtures/v03.json` holds messages that `v03_fixtures.py` made with the SDK's own types, each with
//! what the SDK's own converters make of it in 1.0.

#![expect(
    clippy::unwrap_used,
    clippy::string_slice,
    reason = "a test that meets what it did not expect is to fail"
)]

#[path = "v03/made.rs"]
mod made;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use mesh_proto::{
    Binding, Dialect, Fault, Operation, Problem, Version, a2a, grpc, json,
    jsonrpc::RawId,
    pivot::{Event, Request, Response},
    sse, v03,
};
use proptest::prelude::*;
use prost::Message as _;
use serde::Deserialize;
use serde_json::Value;

const RPC: Dialect = Dialect::new(Binding::JsonRpc, Version::V0_3);
const REST: Dialect = Dialect::new(Binding::Rest, Version::V0_3);
const GRPC: Dialect = Dialect::new(Binding::Grpc, Version::V0_3);
const DIALECTS: [Dialect; 3] = [RPC, REST, GRPC];

#[derive(Deserialize)]
struct Case {
    name: String,
    binding: String,
    operation: String,
    direction: String,
    body: Value,
    pivot: Value,
    method: Option<String>,
    path: Option<String>,
}

impl Case {
    fn all() -> Vec<Self> {
        let text = include_str!("fixtures/v03.json");
        serde_json::from_str(text).unwrap()
    }

    fn dialect(&self) -> Dialect {
        let binding = Binding::ALL
            .into_iter()
            .find(|binding| binding.label() == self.binding);
        Dialect::new(binding.unwrap(), Version::V0_3)
    }

    fn operation(&self) -> Operation {
        Operation::from_rpc(&self.operation).unwrap()
    }

    fn label(&self) -> String {
        format!("{} {} {}", self.binding, self.direction, self.name)
    }

    fn bytes(&self) -> Vec<u8> {
        match &self.body {
            Value::String(hex) => (0..hex.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
                .collect(),
            Value::Null => Vec::new(),
            body => serde_json::to_vec(body).unwrap(),
        }
    }

    fn pivot<T: serde::de::DeserializeOwned>(&self) -> T {
        serde_json::from_value(self.pivot.clone()).unwrap()
    }

    fn request(&self) -> Request {
        match self.operation() {
            Operation::SendMessage => Request::SendMessage(self.pivot()),
            Operation::SendStreamingMessage => Request::SendStreamingMessage(self.pivot()),
            Operation::GetTask => Request::GetTask(self.pivot()),
            Operation::ListTasks => Request::ListTasks(self.pivot()),
            Operation::CancelTask => Request::CancelTask(self.pivot()),
            Operation::SubscribeToTask => Request::SubscribeToTask(self.pivot()),
            Operation::CreateTaskPushNotificationConfig => {
                Request::CreateTaskPushNotificationConfig(self.pivot())
            }
            Operation::GetTaskPushNotificationConfig => {
                Request::GetTaskPushNotificationConfig(self.pivot())
            }
            Operation::ListTaskPushNotificationConfigs => {
                Request::ListTaskPushNotificationConfigs(self.pivot())
            }
            Operation::DeleteTaskPushNotificationConfig => {
                Request::DeleteTaskPushNotificationConfig(self.pivot())
            }
            Operation::GetExtendedAgentCard => Request::GetExtendedAgentCard(self.pivot()),
        }
    }

    fn response(&self) -> Response {
        match self.operation() {
            Operation::SendMessage => Response::Sent(self.pivot()),
            Operation::GetTask | Operation::CancelTask => Response::Task(self.pivot()),
            Operation::ListTaskPushNotificationConfigs => Response::Configs(self.pivot()),
            Operation::DeleteTaskPushNotificationConfig => Response::Deleted,
            Operation::GetExtendedAgentCard => Response::Card(Box::new(self.pivot())),
            _ => Response::Config(self.pivot()),
        }
    }
}

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

#[test]
fn what_the_python_sdk_writes_is_read_as_the_python_sdk_reads_it() {
    for case in Case::all() {
        let (dialect, operation, label) = (case.dialect(), case.operation(), case.label());
        let body = case.bytes();
        match case.direction.as_str() {
            "request" => {
                let method: Method = case.method.as_deref().unwrap_or("POST").parse().unwrap();
                let path = case.path.as_deref().unwrap_or_default();
                let read = v03::decode_request(dialect, operation, &method, path, &body);
                assert_eq!(read.as_ref(), Ok(&case.request()), "{label}");
            }
            "reply" => {
                let (status, headers) = (StatusCode::OK, grpc::success());
                let read = v03::decode_response(dialect, operation, status, &headers, None, &body);
                assert_eq!(read, Ok(case.response()), "{label}");
            }
            _ => {
                let read = v03::decode_event(dialect, operation, &body);
                assert_eq!(read, Ok(case.pivot()), "{label}");
            }
        }
    }
}

#[test]
fn what_is_written_is_what_the_python_sdk_writes() {
    for case in Case::all() {
        let (dialect, label) = (case.dialect(), case.label());
        let is_event = case.direction == "event";
        let written = match case.direction.as_str() {
            "request" => {
                let wire = v03::encode_request(dialect, &id(), &case.request()).unwrap();
                if let (Some(method), Some(path)) = (&case.method, &case.path) {
                    assert_eq!((wire.method.as_str(), &wire.path), (method.as_str(), path));
                }
                wire.body
            }
            "reply" => v03::encode_response(dialect, Some(&id()), Ok(&case.response())).body,
            _ => v03::encode_event(dialect, Some(&id()), Ok(&case.pivot())),
        };
        let written = bare(dialect.binding, is_event, &written);
        if dialect == GRPC && case.operation() == Operation::GetExtendedAgentCard {
            // An empty value of a map may be written or not.
            let card = |bytes: &[u8]| mesh_proto::a2a_v03::AgentCard::decode(bytes);
            assert_eq!(card(&written), card(&case.bytes()), "{label}");
            continue;
        }
        if dialect.binding == Binding::Grpc || written.is_empty() {
            assert_eq!(written, case.bytes(), "{label}");
            continue;
        }
        let written: Value = serde_json::from_slice(&written).unwrap();
        // Absent params are an empty object.
        let mut theirs = case.body.clone();
        if theirs.get("method").is_some() && theirs.get("params").is_none() {
            theirs["params"] = serde_json::json!({});
        }
        assert_eq!(as_doubles(written), as_doubles(theirs), "{label}");
    }
}

/// The same with every number as a double: `1` and `1.0` are one number.
fn as_doubles(value: Value) -> Value {
    match value {
        Value::Number(number) => Value::from(number.as_f64().unwrap()),
        Value::Array(values) => values.into_iter().map(as_doubles).collect(),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| (name, as_doubles(value)))
            .collect(),
        other => other,
    }
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
                }
            }
        }
    }
}

#[test]
fn an_error_looks_as_the_servers_of_0_3_write_it() {
    let mut looks = String::new();
    for fault in Fault::ALL {
        let problem = Problem::new(fault, "what is wrong");
        for dialect in DIALECTS {
            let wire = v03::encode_response(dialect, Some(&id()), Err(&problem));
            let header = |name| {
                let trailers = wire.trailers.as_ref()?;
                Some(trailers.get(name)?.to_str().unwrap().to_owned())
            };
            let line = match header("grpc-status") {
                Some(status) => format!("{status} {}", header("grpc-message").unwrap()),
                None => format!(
                    "{} {}",
                    wire.status.as_u16(),
                    String::from_utf8_lossy(&wire.body)
                ),
            };
            looks.push_str(&format!("{} {}\n", dialect.binding.label(), line));
            assert_eq!(header("grpc-status-details-bin"), None);
        }
    }
    expect_test::expect_file!["fixtures/v03_errors.txt"].assert_eq(&looks);
}

#[test]
fn an_error_comes_back_as_far_as_0_3_has_a_word_for_it() {
    for fault in Fault::ALL {
        let problem = Problem::new(fault, "what is wrong");
        for dialect in DIALECTS {
            let back = read_response(dialect, Operation::GetTask, Err(&problem)).unwrap_err();
            assert_eq!(back.message, problem.message, "{dialect}");
            // What came with 1.0 has no code.
            let is_new = matches!(
                fault,
                Fault::ExtensionSupportRequired | Fault::VersionNotSupported
            );
            // gRPC has one status for both of these.
            let is_shared = fault == Fault::TooLarge && dialect == GRPC;
            let is_lost = is_shared || (is_new && dialect == RPC);
            if !is_lost {
                assert_eq!(back.fault, fault, "{dialect}");
            }
        }
    }
}

#[test]
fn an_error_within_a_stream_is_told_from_an_event() {
    let problem = Problem::new(Fault::TaskNotFound, "no task t");
    for dialect in [RPC, REST] {
        assert_eq!(
            read_event(dialect, Err(&problem)),
            Err(problem.clone()),
            "{dialect}"
        );
    }
    assert_eq!(v03::encode_event(GRPC, None, Err(&problem)), Bytes::new());
    let trailers = grpc::trailers_in(Version::V0_3, &problem);
    assert_eq!(grpc::problem_in(Version::V0_3, &trailers), Some(problem));
    let foreign = br#"{"error":{"code":404,"status":"NOT_FOUND","message":"gone"}}"#;
    let read = v03::decode_event(REST, Operation::SubscribeToTask, foreign);
    assert_eq!(read.unwrap_err().fault, Fault::TaskNotFound);
    for no_event in [&b"{}"[..], b"[]", b"null", b"{\"kind\":\"else\"}", b"x"] {
        for dialect in [RPC, REST] {
            let read = v03::decode_event(dialect, Operation::SubscribeToTask, no_event);
            assert_eq!(
                read.unwrap_err().fault,
                Fault::InvalidAgentResponse,
                "{no_event:?}"
            );
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

fn sent(dialect: Dialect, body: &str) -> Result<a2a::SendMessageRequest, Fault> {
    let path = "/v1/message:send";
    let body = body.as_bytes();
    match v03::decode_request(dialect, Operation::SendMessage, &Method::POST, path, body) {
        Ok(Request::SendMessage(request)) => Ok(request),
        Ok(other) => panic!("{other:?}"),
        Err(problem) => Err(problem.fault),
    }
}

#[test]
fn a_send_waits_unless_it_says_that_it_does_not() {
    let waits = |dialect, body: &str| {
        let configuration = sent(dialect, body).unwrap().configuration;
        !configuration.unwrap_or_default().return_immediately
    };
    assert!(waits(RPC, r#"{"params":{"message":{}}}"#));
    assert!(waits(RPC, r#"{"params":{"configuration":{}}}"#));
    assert!(waits(
        RPC,
        r#"{"params":{"configuration":{"blocking":null}}}"#
    ));
    assert!(!waits(
        RPC,
        r#"{"params":{"configuration":{"blocking":false}}}"#
    ));
    // Protobuf can't tell "not said" from "no": what is there without `blocking` does not wait.
    assert!(waits(REST, r#"{"message":{}}"#));
    assert!(waits(
        REST,
        r#"{"message":{},"configuration":{"blocking":true}}"#
    ));
    assert!(!waits(
        REST,
        r#"{"message":{},"configuration":{"historyLength":3}}"#
    ));
}

#[test]
fn kinds_are_known_by_their_fields_where_they_are_not_named() {
    let read = |result: &str| {
        let data = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#);
        let event = v03::decode_event(RPC, Operation::SubscribeToTask, data.as_bytes());
        let payload = event.unwrap().payload.unwrap();
        json::to_bytes(&Event {
            payload: Some(payload),
        })
    };
    for (result, member) in [
        (r#"{"id":"t","status":{"state":"working"}}"#, "task"),
        (
            r#"{"messageId":"m","role":"agent","parts":[{"text":"x"}]}"#,
            "message",
        ),
        (
            r#"{"taskId":"t","final":false,"status":{"state":"working"}}"#,
            "statusUpdate",
        ),
        (
            r#"{"taskId":"t","artifact":{"artifactId":"a","parts":[]}}"#,
            "artifactUpdate",
        ),
    ] {
        let written: Value = serde_json::from_slice(&read(result)).unwrap();
        assert!(written.get(member).is_some(), "{written}");
    }
}

#[test]
fn what_the_go_sdk_writes_over_http_json_is_read() {
    let body = r#"{"message":{"kind":"message","message_id":"m","context_id":"c","role":"user",
        "parts":[{"kind":"file","file":{"bytes":"aGk=","mime_type":"text/plain"}}]},
        "configuration":{"blocking":false}}"#;
    let request = sent(REST, body).unwrap();
    let message = request.message.unwrap();
    assert_eq!((&*message.message_id, &*message.context_id), ("m", "c"));
    let raw = a2a::part::Content::Raw(Bytes::from_static(b"hi"));
    assert_eq!(message.parts[0].content, Some(raw));
    assert!(request.configuration.unwrap().return_immediately);

    let read = |operation, body: &str| {
        let (status, headers) = (StatusCode::OK, HeaderMap::new());
        v03::decode_response(REST, operation, status, &headers, None, body.as_bytes())
    };
    let task = r#"{"kind":"task","id":"t","context_id":"c","status":{"state":"input-required"}}"#;
    let Ok(Response::Task(read_task)) = read(Operation::GetTask, task) else {
        panic!("no task");
    };
    assert_eq!(
        (read_task.status.unwrap().state, &*read_task.context_id),
        (6, "c")
    );
    assert!(matches!(
        read(Operation::SendMessage, task),
        Ok(Response::Sent(_))
    ));
    let configs = r#"[{"task_id":"t","push_notification_config":{"id":"p","url":"u"}}]"#;
    for (body, count) in [(configs, 1), ("[]", 0), ("null", 0), ("{}", 0)] {
        let list = read(Operation::ListTaskPushNotificationConfigs, body);
        let Ok(Response::Configs(list)) = list else {
            panic!("{list:?}");
        };
        assert_eq!(list.configs.len(), count, "{body}");
    }
}

#[test]
fn a_push_configuration_is_read_in_every_form_in_which_it_is_made() {
    let (method, path) = (Method::POST, "/v1/tasks/t/pushNotificationConfigs");
    let operation = Operation::CreateTaskPushNotificationConfig;
    for body in [
        r#"{"parent":"tasks/t","configId":"p","config":{"name":"tasks/t/pushNotificationConfigs/p","pushNotificationConfig":{"id":"p","url":"u"}}}"#,
        r#"{"parent":"tasks/t","config_id":"p","config":{"push_notification_config":{"url":"u"}}}"#,
        r#"{"name":"tasks/t/pushNotificationConfigs/p","pushNotificationConfig":{"url":"u"}}"#,
        r#"{"task_id":"t","push_notification_config":{"id":"p","url":"u"}}"#,
        r#"{"id":"p","url":"u"}"#,
    ] {
        let read = v03::decode_request(REST, operation, &method, path, body.as_bytes());
        let config = a2a::TaskPushNotificationConfig {
            id: "p".to_owned(),
            task_id: "t".to_owned(),
            url: "u".to_owned(),
            ..Default::default()
        };
        let expected = Request::CreateTaskPushNotificationConfig(config);
        assert_eq!(read, Ok(expected), "{body}");
    }
    let read = v03::decode_request(REST, operation, &method, path, b"{}");
    assert_eq!(read.unwrap_err().fault, Fault::InvalidParams);
}

#[test]
fn a_deletion_may_be_answered_in_every_way_in_which_nothing_is_said() {
    let operation = Operation::DeleteTaskPushNotificationConfig;
    let read = |dialect, status, body: &str| {
        let headers = HeaderMap::new();
        v03::decode_response(dialect, operation, status, &headers, None, body.as_bytes())
    };
    let (ok, empty) = (StatusCode::OK, StatusCode::NO_CONTENT);
    for (dialect, status, body) in [
        (RPC, ok, r#"{"jsonrpc":"2.0","id":1,"result":null}"#),
        (RPC, ok, r#"{"jsonrpc":"2.0","id":1}"#),
        (REST, ok, "{}"),
        (REST, ok, ""),
        (REST, empty, ""),
    ] {
        assert_eq!(
            read(dialect, status, body),
            Ok(Response::Deleted),
            "{dialect} {body}"
        );
    }
    let failed = read(
        RPC,
        ok,
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32001,"message":"x"}}"#,
    );
    assert_eq!(failed.unwrap_err().fault, Fault::TaskNotFound);
    assert_eq!(
        read(RPC, ok, "<html>").unwrap_err().fault,
        Fault::InvalidAgentResponse
    );
    let gone = read(RPC, StatusCode::SERVICE_UNAVAILABLE, "<html>");
    assert_eq!(gone.unwrap_err().fault, Fault::Unavailable);
}

#[test]
fn a_file_over_grpc_is_read_as_base64_only_where_it_is_base64() {
    use mesh_proto::a2a_v03 as old;
    let read = |bytes: &'static [u8]| {
        let file = old::FilePart {
            file: Some(old::file_part::File::FileWithBytes(Bytes::from_static(
                bytes,
            ))),
            ..Default::default()
        };
        let part = old::Part {
            part: Some(old::part::Part::File(file)),
            metadata: None,
        };
        let message = old::Message {
            content: vec![part],
            ..Default::default()
        };
        let event = old::StreamResponse {
            payload: Some(old::stream_response::Payload::Msg(message)),
        };
        let event = v03::decode_event(GRPC, Operation::SubscribeToTask, &event.encode_to_vec());
        let payload = event.unwrap().payload;
        let Some(a2a::stream_response::Payload::Message(message)) = payload else {
            panic!("{payload:?}");
        };
        let Some(a2a::part::Content::Raw(raw)) = message.parts[0].content.clone() else {
            panic!("no bytes");
        };
        raw
    };
    assert_eq!(read(b"aGVsbG8="), &b"hello"[..]);
    assert_eq!(read(b"\x89PNG\r\n"), &b"\x89PNG\r\n"[..]);
    assert_eq!(read(b"plain text"), &b"plain text"[..]);
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
