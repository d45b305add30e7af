//! Clients of every dialect before agents that speak one dialect each.

mod peer;
mod streams;

use std::collections::BTreeMap;

use http::StatusCode;
use mesh_proto::{
    Binding, Dialect, Fault, Operation, Problem, Version, a2a, grpc,
    jsonrpc::RawId,
    pivot::{self, Event, Request, Response},
};

use crate::{Agent, Answer, Client, Flags, Router, agent::Seen, client};
use peer::{Peer, ask, said};

/// Every dialect that is spoken here.
fn all() -> impl Iterator<Item = Dialect> {
    Version::ALL.into_iter().flat_map(|version| {
        let bindings = Binding::ALL.into_iter();
        bindings.map(move |binding| Dialect::new(binding, version))
    })
}

fn message(text: &str) -> a2a::Message {
    let mut message = a2a::Message {
        message_id: "m 1".to_owned(),
        parts: vec![a2a::Part {
            content: Some(a2a::part::Content::Text(text.to_owned())),
            ..a2a::Part::default()
        }],
        ..a2a::Message::default()
    };
    message.set_role(a2a::Role::User);
    message
}

fn task(state: a2a::TaskState) -> a2a::Task {
    let mut status = a2a::TaskStatus::default();
    status.set_state(state);
    a2a::Task {
        id: "t/1".to_owned(),
        context_id: "c 1".to_owned(),
        status: Some(status),
        ..a2a::Task::default()
    }
}

fn send() -> a2a::SendMessageRequest {
    a2a::SendMessageRequest {
        message: Some(message("hällo")),
        // Over 0.3 a call always says whether it waits.
        configuration: Some(a2a::SendMessageConfiguration::default()),
        ..a2a::SendMessageRequest::default()
    }
}

fn config() -> a2a::TaskPushNotificationConfig {
    a2a::TaskPushNotificationConfig {
        id: "p".to_owned(),
        task_id: "t/1".to_owned(),
        url: "https://push.example/x".to_owned(),
        token: "secret".to_owned(),
        ..a2a::TaskPushNotificationConfig::default()
    }
}

fn event(text: &str) -> Event {
    let mut status = a2a::TaskStatus {
        message: Some(a2a::Message {
            task_id: "t/1".to_owned(),
            context_id: "c 1".to_owned(),
            ..message(text)
        }),
        ..a2a::TaskStatus::default()
    };
    status.set_state(a2a::TaskState::Working);
    let update = a2a::TaskStatusUpdateEvent {
        task_id: "t/1".to_owned(),
        context_id: "c 1".to_owned(),
        status: Some(status),
        metadata: None,
    };
    Event {
        payload: Some(a2a::stream_response::Payload::StatusUpdate(update)),
    }
}

/// The calls that every dialect has, each with its answer.
fn calls() -> Vec<(Request, Response)> {
    let sent = a2a::send_message_response::Payload::Task(task(a2a::TaskState::Completed));
    let id = || "t/1".to_owned();
    vec![
        (
            Request::SendMessage(send()),
            Response::Sent(a2a::SendMessageResponse {
                payload: Some(sent),
            }),
        ),
        (
            Request::GetTask(a2a::GetTaskRequest {
                id: id(),
                history_length: Some(3),
                ..a2a::GetTaskRequest::default()
            }),
            Response::Task(task(a2a::TaskState::Working)),
        ),
        (
            Request::CancelTask(a2a::CancelTaskRequest {
                id: id(),
                ..a2a::CancelTaskRequest::default()
            }),
            Response::Task(task(a2a::TaskState::Canceled)),
        ),
        (
            Request::CreateTaskPushNotificationConfig(config()),
            Response::Config(config()),
        ),
        (
            Request::GetTaskPushNotificationConfig(a2a::GetTaskPushNotificationConfigRequest {
                task_id: id(),
                id: "p".to_owned(),
                ..a2a::GetTaskPushNotificationConfigRequest::default()
            }),
            Response::Config(config()),
        ),
        (
            Request::ListTaskPushNotificationConfigs(a2a::ListTaskPushNotificationConfigsRequest {
                task_id: id(),
                ..a2a::ListTaskPushNotificationConfigsRequest::default()
            }),
            Response::Configs(a2a::ListTaskPushNotificationConfigsResponse {
                configs: vec![config()],
                ..a2a::ListTaskPushNotificationConfigsResponse::default()
            }),
        ),
        (
            Request::DeleteTaskPushNotificationConfig(
                a2a::DeleteTaskPushNotificationConfigRequest {
                    task_id: id(),
                    id: "p".to_owned(),
                    ..a2a::DeleteTaskPushNotificationConfigRequest::default()
                },
            ),
            Response::Deleted,
        ),
    ]
}

#[tokio::test]
async fn every_call_of_every_client_reaches_every_agent_and_its_answer_comes_back() {
    for agent in all() {
        let peer = Peer::start(agent, "", |request| {
            let known = calls().into_iter();
            let found = known
                .map(|(asked, answer)| (asked.operation(), answer))
                .find(|(operation, _)| *operation == request.operation());
            Ok(found.unwrap().1)
        })
        .await;
        for client in all() {
            for (request, answer) in calls() {
                let got = ask(&peer.client, client, &request).await;
                assert_eq!(got, Ok(answer), "{client} -> {agent}");
                let seen = as_asked(&peer, client, &request);
                assert_eq!(seen, request, "{client} -> {agent}");
            }
        }
    }
}

/// What an agent was asked last, but for what the router had to put in other words.
fn as_asked(peer: &Peer, client: Dialect, asked: &Request) -> Request {
    let mut seen = peer.last_request();
    // 0.3 asks with names, of which an empty tenant is none.
    seen.set_tenant(asked.tenant());
    if peer.dialect.version != client.version {
        restore_webhook(&mut seen, asked);
    }
    seen
}

/// An agent of another version notifies the router, which puts what it says into the client's.
fn restore_webhook(seen: &mut Request, asked: &Request) {
    if let (
        Request::CreateTaskPushNotificationConfig(seen),
        Request::CreateTaskPushNotificationConfig(asked),
    ) = (seen, asked)
    {
        assert!(seen.url.contains("/-/push/1"), "{}", seen.url);
        seen.url.clone_from(&asked.url);
    }
}

#[tokio::test]
async fn a_list_of_tasks_goes_between_all_that_have_one() {
    let answer = || a2a::ListTasksResponse {
        tasks: vec![task(a2a::TaskState::Working)],
        next_page_token: "next".to_owned(),
        page_size: 7,
        total_size: 9,
    };
    for agent in all().filter(|each| each.version == Version::V1_0) {
        let peer = Peer::start(agent, "", move |_| Ok(Response::Tasks(answer()))).await;
        for client in all().filter(|each| each.version == Version::V1_0) {
            let request = Request::ListTasks(a2a::ListTasksRequest {
                context_id: "c 1".to_owned(),
                page_size: Some(7),
                ..a2a::ListTasksRequest::default()
            });
            let got = ask(&peer.client, client, &request).await;
            assert_eq!(got, Ok(Response::Tasks(answer())), "{client} -> {agent}");
            assert_eq!(peer.last_request(), request, "{client} -> {agent}");
        }
    }
}

#[tokio::test]
async fn an_error_of_any_agent_is_the_same_error_to_any_client() {
    let request = Request::GetTask(a2a::GetTaskRequest {
        id: "t".to_owned(),
        ..a2a::GetTaskRequest::default()
    });
    let faults = [
        Fault::TaskNotFound,
        Fault::UnsupportedOperation,
        Fault::PushNotificationNotSupported,
        Fault::InvalidParams,
    ];
    let pairs = faults
        .into_iter()
        .flat_map(|fault| all().map(move |agent| (fault, agent)));
    for (fault, agent) in pairs {
        let peer = Peer::start(agent, "", move |_| Err(Problem::new(fault, "no such"))).await;
        for client in all() {
            let problem = ask(&peer.client, client, &request).await.unwrap_err();
            assert_eq!(problem.message, "no such", "{client} -> {agent}");
            // 0.3 has codes over JSON-RPC only, and statuses that tell less elsewhere.
            let versions = (agent.version, client.version);
            let is_told = versions == (Version::V1_0, Version::V1_0);
            assert!(!is_told || problem.fault == fault, "{client} -> {agent}");
        }
    }
}

#[tokio::test]
async fn headers_are_those_of_the_agents_dialect_and_credentials_pass() {
    for agent in all() {
        let peer = Peer::start(agent, "", |_| {
            Ok(Response::Task(task(a2a::TaskState::Working)))
        })
        .await;
        for client in all().filter(|client| *client != agent) {
            let request = Request::GetTask(a2a::GetTaskRequest {
                id: "t".to_owned(),
                ..a2a::GetTaskRequest::default()
            });
            let (theirs, ours) = match client.version {
                Version::V1_0 => ("a2a-extensions", client.version.as_str()),
                Version::V0_3 => ("x-a2a-extensions", client.version.as_str()),
            };
            let id = RawId::number(7);
            let wire = pivot::encode_request(client, &id, &request).unwrap();
            let headers = [
                ("authorization", "Bearer secret"),
                ("a2a-version", ours),
                ("accept-encoding", "gzip"),
                ("grpc-timeout", "10S"),
                (theirs, "urn:a, urn:b"),
            ];
            let name = format!("{client} -> {agent}");
            let answer = peer.client.call(client.binding, "/a", wire, &headers).await;
            assert_eq!(answer.status(), StatusCode::OK, "{name}");
            let seen = peer.calls().pop().unwrap();
            assert_eq!(
                seen.header("authorization"),
                Some("Bearer secret"),
                "{name}"
            );
            let version = agent.version.as_str();
            assert_eq!(seen.header("a2a-version"), Some(version), "{name}");
            let (extensions, other) = match agent.version {
                Version::V1_0 => ("a2a-extensions", "x-a2a-extensions"),
                Version::V0_3 => ("x-a2a-extensions", "a2a-extensions"),
            };
            assert_eq!(seen.header(extensions), Some("urn:a, urn:b"), "{name}");
            assert_eq!(seen.header(other), None, "{name}");
            assert_eq!(seen.header("grpc-timeout"), None, "{name}");
            assert_ne!(seen.header("accept-encoding"), Some("gzip"), "{name}");
        }
    }
}

#[tokio::test]
async fn the_tenant_that_the_line_asks_for_is_put_in_unless_the_caller_has_one() {
    for agent in all().filter(|each| each.version == Version::V1_0) {
        let peer = Peer::start(agent, r#","tenant":"own""#, |_| {
            Ok(Response::Task(task(a2a::TaskState::Working)))
        })
        .await;
        for client in all().filter(|client| *client != agent) {
            let mut request = Request::GetTask(a2a::GetTaskRequest {
                id: "t".to_owned(),
                ..a2a::GetTaskRequest::default()
            });
            ask(&peer.client, client, &request).await.unwrap();
            assert_eq!(peer.last_request().tenant(), "own", "{client} -> {agent}");
            if client.version == Version::V1_0 {
                request.set_tenant("theirs");
                ask(&peer.client, client, &request).await.unwrap();
                assert_eq!(
                    peer.last_request().tenant(),
                    "theirs",
                    "{client} -> {agent}"
                );
            }
        }
    }
}

#[tokio::test]
async fn calls_between_dialects_are_counted_by_both() {
    let agent = Dialect::new(Binding::Grpc, Version::V1_0);
    let peer = Peer::start(agent, "", |_| {
        Ok(Response::Task(task(a2a::TaskState::Working)))
    })
    .await;
    let request = Request::GetTask(a2a::GetTaskRequest {
        id: "t".to_owned(),
        ..a2a::GetTaskRequest::default()
    });
    let rest = Dialect::new(Binding::Rest, Version::V1_0);
    ask(&peer.client, rest, &request).await.unwrap();
    ask(&peer.client, agent, &request).await.unwrap();
    let page = peer.admin.get("/metrics").await.text();
    let counted: BTreeMap<&str, &str> = page
        .lines()
        .filter(|line| line.starts_with("mesh_router_transcoded_total"))
        .filter_map(|line| line.rsplit_once(' '))
        .filter(|(_, count)| *count != "0")
        .collect();
    let expected = r#"mesh_router_transcoded_total{from="rest 1.0",to="grpc 1.0"}"#;
    assert_eq!(counted, BTreeMap::from([(expected, "1")]));
}

#[tokio::test]
async fn ids_are_sealed_and_opened_between_dialects_as_within_one() {
    for agent in all() {
        let pool = Peer::pool(agent).await;
        for client in all() {
            let name = format!("{client} -> {agent}");
            let sent = ask(&pool.client, client, &Request::SendMessage(send())).await;
            let Ok(Response::Sent(sent)) = sent else {
                panic!("{name}: {sent:?}");
            };
            let Some(a2a::send_message_response::Payload::Task(made)) = sent.payload else {
                panic!("{name}: no task");
            };
            assert!(made.id.starts_with("z10."), "{name}: {}", made.id);
            assert!(made.context_id.starts_with("z10."), "{name}");
            // The other router knows from the id alone which replica has it.
            for _ in 0..4 {
                let request = Request::GetTask(a2a::GetTaskRequest {
                    id: made.id.clone(),
                    ..a2a::GetTaskRequest::default()
                });
                let found = ask(&pool.client, client, &request).await;
                assert_eq!(found, Ok(Response::Task(made.clone())), "{name}");
            }
            let foreign = Request::GetTask(a2a::GetTaskRequest {
                id: "nobody's".to_owned(),
                ..a2a::GetTaskRequest::default()
            });
            let problem = ask(&pool.client, client, &foreign).await.unwrap_err();
            assert_eq!(problem.fault, Fault::TaskNotFound, "{name}");
        }
    }
}

#[tokio::test]
async fn a_version_that_nobody_speaks_is_refused_in_every_binding_without_asking_the_agent() {
    for client in all() {
        let peer = Peer::start(client, "", |_| {
            Ok(Response::Task(task(a2a::TaskState::Working)))
        })
        .await;
        let request = Request::GetTask(a2a::GetTaskRequest {
            id: "t".to_owned(),
            ..a2a::GetTaskRequest::default()
        });
        let other = match client.version {
            Version::V1_0 => "0.3",
            Version::V0_3 => "1.0.1",
        };
        for stated in ["2.0", "1.1", "one", other] {
            let wire = pivot::encode_request(client, &RawId::number(7), &request).unwrap();
            let headers = [("a2a-version", stated)];
            let answer = peer.client.call(client.binding, "/a", wire, &headers).await;
            let problem = pivot_answer(client, &request, answer).await.unwrap_err();
            assert!(
                problem.message.contains("version"),
                "{client} {stated}: {problem}"
            );
            if client.version == Version::V1_0 {
                assert_eq!(
                    problem.fault,
                    Fault::VersionNotSupported,
                    "{client} {stated}"
                );
            }
        }
        assert!(peer.calls().is_empty(), "{client}");
    }
}

#[tokio::test]
async fn what_the_card_does_not_promise_is_refused_before_the_agent_is_asked() {
    let card = r#"{"name":"n","capabilities":{"extensions":[{"uri":"urn:must","required":true}]},
        "supportedInterfaces":[{"url":"http://127.0.0.1:PORT/rpc","protocolBinding":"JSONRPC"}]}"#;
    let agent = Agent::with_card(card, |_| Answer::json("{}")).await;
    let (_router, client) = crate::router(&[format!("a={}", agent.url())]).await;
    crate::card_is_read(&client, "a").await;
    let body = client::send_message("m", None);
    let refused = client.post("/a", body.as_bytes(), &[]).await.json();
    assert_eq!(refused["error"]["code"], -32008, "{refused}");
    let declared = [("a2a-extensions", "urn:else,urn:must")];
    let taken = client.post("/a", body.as_bytes(), &declared).await;
    assert_eq!(taken.text(), "{}");
    let body = body.replace("SendMessage", "SendStreamingMessage");
    let refused = client.post("/a", body.as_bytes(), &declared).await.json();
    assert_eq!(refused["error"]["code"], -32004, "{refused}");
    assert_eq!(agent.posts().len(), 1);
}

/// Reads a whole answer.
async fn pivot_answer(
    client: Dialect,
    request: &Request,
    answer: http::Response<hyper::body::Incoming>,
) -> Result<Response, Problem> {
    said(client, request.operation(), answer).await
}
