//! Addresses of webhooks: replaced where they stand, in every shape that the versions have for them.

use super::*;

/// Puts another address in place of a webhook's and leaves ids alone.
struct Elsewhere(Vec<String>);

impl IdMap for Elsewhere {
    fn task<'a>(&mut self, _: &'a str) -> Option<Cow<'a, str>> {
        None
    }

    fn context<'a>(&mut self, _: &'a str) -> Option<Cow<'a, str>> {
        None
    }

    fn webhook<'a>(&mut self, url: &'a str) -> Option<Cow<'a, str>> {
        self.0.push(url.to_owned());
        Some(Cow::Borrowed("https://relay/x"))
    }
}

#[test]
fn the_address_of_a_webhook_is_replaced_where_it_stands_and_nowhere_else() {
    use Operation::{
        CreateTaskPushNotificationConfig as Create, GetTaskPushNotificationConfig as Get,
        ListTaskPushNotificationConfigs as List, SendMessage as Send,
    };
    let request = Direction::Request;
    let reply = Direction::Reply;
    for (dialect, operation, direction, body) in [
        (
            RPC,
            Create,
            request,
            r#"{"params":{"taskId":"t","url": "U","metadata":{"url":"x"}}}"#,
        ),
        (
            RPC,
            Create,
            reply,
            r#"{"result":{"id":"c", "url":"U","token":"url"}}"#,
        ),
        (
            RPC,
            Send,
            request,
            r#"{"params":{"message":{"parts":[{"url":"x"}]},"configuration":{"taskPushNotificationConfig":{"url":"U"}}}}"#,
        ),
        (
            REST,
            List,
            reply,
            r#"{"configs":[{"url":"U"},{"url":"U"}]}"#,
        ),
        (REST, Create, request, r#"{"\u0075rl":"U"}"#),
        (
            RPC_0_3,
            Create,
            request,
            r#"{"params":{"taskId":"t","pushNotificationConfig":{"url":"U","id":"c"}}}"#,
        ),
        (
            RPC_0_3,
            Send,
            request,
            r#"{"params":{"configuration":{"pushNotificationConfig":{"url":"U"}}}}"#,
        ),
        (
            RPC_0_3,
            List,
            reply,
            r#"{"result":[{"pushNotificationConfig":{"url":"U"}}]}"#,
        ),
        (
            REST_0_3,
            Send,
            request,
            r#"{"configuration":{"pushNotification":{"url":"U"}}}"#,
        ),
        (
            REST_0_3,
            Get,
            reply,
            r#"{"name":"tasks/t/pushNotificationConfigs/c","pushNotificationConfig":{"url":"U"}}"#,
        ),
    ] {
        let mut map = Elsewhere(Vec::new());
        let given = Bytes::from(body.replace('U', "https://hook/\\u00e4"));
        let new = rewrite(dialect, operation, direction, given, &mut map).unwrap();
        let expected = body.replace('U', "https://relay/x");
        assert_eq!(new.into_bytes(), expected, "{body}");
        assert!(
            map.0.iter().all(|url| url == "https://hook/\u{e4}"),
            "{:?}",
            map.0
        );
        assert_eq!(map.0.len(), body.matches('U').count(), "{body}");
    }
}

#[test]
fn the_address_of_a_webhook_is_replaced_in_protobuf() {
    use prost::Message as _;
    let config = |url: &str| crate::a2a::TaskPushNotificationConfig {
        task_id: "t".to_owned(),
        url: url.to_owned(),
        token: "https://hook".to_owned(),
        ..Default::default()
    };
    let send = |url: &str| crate::a2a::SendMessageRequest {
        configuration: Some(crate::a2a::SendMessageConfiguration {
            task_push_notification_config: Some(config(url)),
            ..Default::default()
        }),
        ..Default::default()
    };
    let new = |operation, body: Vec<u8>| {
        let mut map = Elsewhere(Vec::new());
        let request = Direction::Request;
        let new = rewrite(GRPC, operation, request, Bytes::from(body), &mut map).unwrap();
        new.into_bytes()
    };
    let create = Operation::CreateTaskPushNotificationConfig;
    assert_eq!(
        new(create, config("https://hook").encode_to_vec()),
        config("https://relay/x").encode_to_vec()
    );
    assert_eq!(
        new(Operation::SendMessage, send("https://hook").encode_to_vec()),
        send("https://relay/x").encode_to_vec()
    );
}

#[test]
fn the_address_of_a_webhook_is_replaced_in_protobuf_of_0_3() {
    use crate::a2a_v03 as old;
    use prost::Message as _;
    let push = |url: &str| {
        Some(old::PushNotificationConfig {
            id: "https://hook".to_owned(),
            url: url.to_owned(),
            ..Default::default()
        })
    };
    let create = |url: &str| old::CreateTaskPushNotificationConfigRequest {
        config_id: "\n\u{1}x".to_owned(),
        config: Some(old::TaskPushNotificationConfig {
            push_notification_config: push(url),
            ..Default::default()
        }),
        ..Default::default()
    };
    let send = |url: &str| old::SendMessageRequest {
        configuration: Some(old::SendMessageConfiguration {
            push_notification: push(url),
            ..Default::default()
        }),
        ..Default::default()
    };
    let new = |operation, body: Vec<u8>| {
        let mut map = Elsewhere(Vec::new());
        let request = Direction::Request;
        let new = rewrite(GRPC_0_3, operation, request, Bytes::from(body), &mut map).unwrap();
        new.into_bytes()
    };
    let (there, here) = ("https://hook", "https://relay/x");
    assert_eq!(
        new(
            Operation::CreateTaskPushNotificationConfig,
            create(there).encode_to_vec()
        ),
        create(here).encode_to_vec()
    );
    assert_eq!(
        new(Operation::SendMessage, send(there).encode_to_vec()),
        send(here).encode_to_vec()
    );
    let list = old::ListTaskPushNotificationConfigRequest {
        parent: "tasks/t".to_owned(),
        page_size: 7,
        page_token: "https://hook".to_owned(),
    };
    let list = list.encode_to_vec();
    assert_eq!(
        new(Operation::ListTaskPushNotificationConfigs, list.clone()),
        list
    );
}
