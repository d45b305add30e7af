//! Cards and calls beyond them.

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use mesh_proto::{AgentName, Dialect, a2a, grpc};
use mesh_runtime::telemetry::Traceparent;

use super::*;
use crate::{call::Keys, refusal::farewell};

fn promise(capabilities: &str) -> Promise {
    let card = format!(r#"{{"name":"n","capabilities":{capabilities}}}"#);
    Promise::of(&Card::parse(card.as_bytes()).unwrap())
}

fn ask(dialect: Dialect, operation: Operation, body: impl Into<Bytes>) -> Ask {
    Ask {
        agent: AgentName::parse("a").unwrap(),
        dialect,
        operation,
        keys: Keys::default(),
        method: Method::POST,
        path: match (dialect.binding, operation) {
            (Binding::Rest, Operation::SendMessage) => "/message:send".into(),
            _ => Box::default(),
        },
        headers: HeaderMap::new(),
        body: body.into(),
        plain: None,
        hops: 1,
        trace: Traceparent::root(),
        farewell: farewell(dialect, None),
    }
}

const JSON_RPC: Dialect = Dialect::new(Binding::JsonRpc, Version::V1_0);
const REST: Dialect = Dialect::new(Binding::Rest, Version::V1_0);
const GRPC: Dialect = Dialect::new(Binding::Grpc, Version::V1_0);

fn fault(promise: &Promise, ask: &Ask) -> Option<Fault> {
    promise.check(ask).err().map(|error| error.answer().fault)
}

#[test]
fn what_a_card_does_not_offer_is_refused_and_what_it_offers_passes() {
    use Operation as O;
    let nothing = promise("{}");
    let all = promise(r#"{"streaming":true,"pushNotifications":true,"extendedAgentCard":true}"#);
    for (operation, expected) in [
        (O::SendMessage, None),
        (O::SendStreamingMessage, Some(Fault::UnsupportedOperation)),
        (O::SubscribeToTask, Some(Fault::UnsupportedOperation)),
        (O::GetTask, None),
        (O::ListTasks, None),
        (O::CancelTask, None),
        (
            O::CreateTaskPushNotificationConfig,
            Some(Fault::PushNotificationNotSupported),
        ),
        (
            O::GetTaskPushNotificationConfig,
            Some(Fault::PushNotificationNotSupported),
        ),
        (
            O::ListTaskPushNotificationConfigs,
            Some(Fault::PushNotificationNotSupported),
        ),
        (
            O::DeleteTaskPushNotificationConfig,
            Some(Fault::PushNotificationNotSupported),
        ),
        (O::GetExtendedAgentCard, Some(Fault::UnsupportedOperation)),
    ] {
        let ask = ask(JSON_RPC, operation, "{}");
        assert_eq!(fault(&nothing, &ask), expected, "{operation:?}");
        assert_eq!(fault(&all, &ask), None, "{operation:?}");
        assert_eq!(fault(&Promise::default(), &ask), None, "{operation:?}");
    }
}

#[test]
fn a_card_without_capabilities_and_one_of_0_3_are_read_for_what_they_say() {
    let silent = Promise::of(&Card::parse(b"{\"name\":\"n\"}").unwrap());
    assert_eq!(silent, Promise::default());
    let of_0_3 =
        br#"{"capabilities":{"streaming":"yes"},"supportsAuthenticatedExtendedCard":true}"#;
    let of_0_3 = Promise::of(&Card::parse(of_0_3).unwrap());
    let extended = ask(JSON_RPC, Operation::GetExtendedAgentCard, "{}");
    assert_eq!(fault(&of_0_3, &extended), None);
    let stream = ask(JSON_RPC, Operation::SendStreamingMessage, "{}");
    assert_eq!(
        fault(&of_0_3, &stream),
        Some(Fault::UnsupportedOperation),
        "only `true` is an offer"
    );
}

#[test]
fn a_push_configuration_within_a_send_is_found_in_every_binding() {
    let nothing = promise("{}");
    let push = Some(Fault::PushNotificationNotSupported);
    let text =
        r#"{"messageId":"m","role":"ROLE_USER","parts":[{"text":"taskPushNotificationConfig"}]}"#;
    let with = format!(
        r#"{{"message":{text},"configuration":{{"taskPushNotificationConfig":{{"url":"https://x.example"}}}}}}"#
    );
    let without = format!(r#"{{"message":{text}}}"#);
    let rpc = |params: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{params}}}"#)
    };
    let send = Operation::SendMessage;
    assert_eq!(fault(&nothing, &ask(JSON_RPC, send, rpc(&with))), push);
    assert_eq!(fault(&nothing, &ask(JSON_RPC, send, rpc(&without))), None);
    assert_eq!(fault(&nothing, &ask(REST, send, with)), push);
    assert_eq!(fault(&nothing, &ask(REST, send, without)), None);
    let mut request = a2a::SendMessageRequest {
        configuration: Some(a2a::SendMessageConfiguration {
            task_push_notification_config: Some(a2a::TaskPushNotificationConfig::default()),
            ..Default::default()
        }),
        ..Default::default()
    };
    assert_eq!(
        fault(&nothing, &ask(GRPC, send, grpc::frame(&request))),
        push
    );
    request.configuration = Some(a2a::SendMessageConfiguration::default());
    assert_eq!(
        fault(&nothing, &ask(GRPC, send, grpc::frame(&request))),
        None
    );
}

#[test]
fn a_required_extension_has_to_be_declared_and_is_named_where_it_is_not() {
    let promise = promise(
        r#"{"extensions":[{"uri":"urn:a","required":true},{"uri":"urn:b"},{"required":true}]}"#,
    );
    let mut ask = ask(JSON_RPC, Operation::GetTask, "{}");
    let problem = promise.check(&ask).unwrap_err().answer();
    assert_eq!(problem.fault, Fault::ExtensionSupportRequired);
    assert_eq!(
        problem.metadata.get("extension").map(String::as_str),
        Some("urn:a")
    );
    for name in ["a2a-extensions", "x-a2a-extensions"] {
        let declared = HeaderValue::from_static("urn:unknown, urn:a");
        ask.headers = HeaderMap::from_iter([(HeaderName::from_static(name), declared)]);
        assert!(promise.check(&ask).is_ok());
    }
}
