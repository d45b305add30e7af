//! Messages that the Python SDK made with its own types, each with what its own converters make of it in
//! 1.0: `../fixtures/v03.json`, written by `../v03_fixtures.py`.

#![expect(
    clippy::string_slice,
    reason = "a test that meets what it did not expect is to fail"
)]

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use http::{Method, StatusCode};
use mesh_proto::{
    Binding, Dialect, Operation, Version, grpc,
    pivot::{Request, Response},
    v03,
};
use prost::Message as _;
use serde::Deserialize;
use serde_json::Value;

use super::{GRPC, bare, id};

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
        let text = include_str!("../fixtures/v03.json");
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

#[test]
fn the_fixtures_are_what_the_installed_python_sdk_makes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let parts =
        std::env::var_os("DACA_PARTS").map_or_else(|| folder.join("../.parts"), PathBuf::from);
    let python = parts.join("python/bin/python");
    if !python.exists() {
        let wanted = std::env::var_os("DACA_REQUIRE_PARTS").is_some_and(|value| value == "1");
        assert!(!wanted, "{} is missing: run .ci/parts", python.display());
        return;
    }
    let output = Command::new(python)
        .arg(folder.join("tests/v03_fixtures.py"))
        .arg("/dev/stdout")
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    let text = String::from_utf8(output.stdout).unwrap();
    // The script's own last line says how many there are.
    let cases = text.rsplit_once("]\n").map_or("", |(cases, _)| cases);
    let made: Vec<Value> = serde_json::from_str(&format!("{cases}]")).unwrap();
    let committed: Vec<Value> = serde_json::from_str(include_str!("../fixtures/v03.json")).unwrap();
    assert_eq!(made, committed, "run v03_fixtures.py again");
}
