//! The client against an agent on loopback, in all three bindings: answers, streams, errors, bounds,
//! and connections that break.

#![expect(
    clippy::unwrap_used,
    reason = "a test agent's own fault should fail the test at once"
)]

mod agent;
mod older;
mod resume;
mod script;
mod secure;
mod service;

use std::time::Duration;

use agent::Agent;
use futures_util::StreamExt as _;
use http::{HeaderMap, HeaderValue};
use mesh_client::{
    Binding, Broken, Call, Client, Cut, Error, Fault, Limits, Options,
    a2a::{
        DeleteTaskPushNotificationConfigRequest, GetTaskRequest, ListTasksRequest, StreamResponse,
        SubscribeToTaskRequest, TaskState, part::Content, send_message_response, stream_response,
    },
    discovery,
};
use script::ask;

fn over(binding: Binding) -> Options {
    Options {
        binding: Some(binding),
        limits: Limits {
            answer: 50_000,
            event: 50_000,
            ..Limits::default()
        },
        ..Options::default()
    }
}

async fn client(agent: &Agent, binding: Binding) -> Client {
    Client::from_url(&agent.url(""), over(binding))
        .await
        .unwrap()
}

/// Everything that a stream brings, as short words, and its error if it has one.
async fn follow(client: &Client, text: &str) -> (Vec<String>, Option<Error>) {
    let mut events = client.stream(ask(text), &Call::default()).await.unwrap();
    let mut words = Vec::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => words.push(word(&event)),
            Err(error) => {
                assert!(events.next().await.is_none(), "an error is the last item");
                return (words, Some(error));
            }
        }
    }
    (words, None)
}

fn word(event: &StreamResponse) -> String {
    match event.payload.as_ref().unwrap() {
        stream_response::Payload::Task(task) => format!("task {}", task.id),
        stream_response::Payload::Message(_) => "message".to_owned(),
        stream_response::Payload::StatusUpdate(update) => update
            .status
            .as_ref()
            .unwrap()
            .state()
            .as_str_name()
            .to_owned(),
        stream_response::Payload::ArtifactUpdate(update) => {
            match &update.artifact.as_ref().unwrap().parts[0].content {
                Some(Content::Text(text)) => text.clone(),
                _ => "?".to_owned(),
            }
        }
    }
}

#[tokio::test]
async fn a_message_is_answered_over_every_binding() {
    let agent = Agent::start().await;
    for binding in Binding::ALL {
        let client = client(&agent, binding).await;
        assert_eq!(client.endpoint().binding, binding);
        let answer = client.send(ask("hello"), &Call::default()).await.unwrap();
        let Some(send_message_response::Payload::Task(task)) = answer.payload else {
            panic!("{binding}: a task was expected");
        };
        assert_eq!(task.status.unwrap().state(), TaskState::Completed);
        assert_eq!(
            task.artifacts[0].parts[0].content,
            Some(Content::Text("you said hello".to_owned())),
            "{binding}"
        );
    }
}

#[tokio::test]
async fn a_stream_brings_each_event_over_every_binding() {
    let agent = Agent::start().await;
    for binding in Binding::ALL {
        let client = client(&agent, binding).await;
        let (words, error) = follow(&client, "hello").await;
        assert_eq!(
            words,
            ["task t-1", "you said hello", "TASK_STATE_COMPLETED"],
            "{binding}"
        );
        assert!(error.is_none(), "{binding}: {error:?}");
        let subscribe = SubscribeToTaskRequest {
            id: "t-1".to_owned(),
            ..SubscribeToTaskRequest::default()
        };
        let events = client.subscribe(subscribe, &Call::default()).await.unwrap();
        assert_eq!(events.count().await, 3, "{binding}");
    }
}

#[tokio::test]
async fn an_agents_error_is_one_row_of_the_table_in_every_binding() {
    let agent = Agent::start().await;
    for binding in Binding::ALL {
        let client = client(&agent, binding).await;
        let unary = client
            .send(ask("missing"), &Call::default())
            .await
            .unwrap_err();
        let stream = client
            .stream(ask("missing"), &Call::default())
            .await
            .unwrap_err();
        for error in [unary, stream] {
            let problem = error
                .problem()
                .unwrap_or_else(|| panic!("{binding}: {error:?}"));
            assert_eq!(problem.fault, Fault::TaskNotFound, "{binding}");
            assert_eq!(problem.message, "no such task: t-9", "{binding}");
            assert_eq!(problem.metadata["taskId"], "t-9", "{binding}");
            assert!(!error.is_unsent());
        }
        let (words, error) = follow(&client, "late problem").await;
        assert_eq!(words, ["task t-1"], "{binding}");
        let error = error.unwrap();
        assert_eq!(
            error.problem().map(|p| p.message.as_str()),
            Some("the model is gone"),
            "{binding}"
        );
    }
}

#[tokio::test]
async fn what_is_over_a_bound_ends_the_call_and_not_the_memory() {
    let agent = Agent::start().await;
    for binding in Binding::ALL {
        let client = client(&agent, binding).await;
        let error = client
            .send(ask("huge"), &Call::default())
            .await
            .unwrap_err();
        let large =
            |error: &Error| matches!(error, Error::Broken(Broken::TooLarge { limit: 50_000, .. }));
        assert!(large(&error), "{binding}: {error:?}");
        let (words, error) = follow(&client, "huge").await;
        assert_eq!(words, ["task t-1"], "{binding}");
        assert!(error.as_ref().is_some_and(large), "{binding}: {error:?}");
    }
}

#[tokio::test]
async fn a_connection_cut_in_mid_stream_is_an_error_and_not_an_end() {
    let agent = Agent::start().await;
    for binding in Binding::ALL {
        let mut options = over(binding);
        options
            .headers
            .insert("x-cut", HeaderValue::from_static("1"));
        let client = Client::from_url(&agent.url(""), options).await.unwrap();
        let mut events = client.stream(ask("cut"), &Call::default()).await.unwrap();
        let first = events.next().await.unwrap().unwrap();
        assert_eq!(word(&first), "task t-1", "{binding}");
        agent.cut.notify_one();
        let Some(Err(error)) = events.next().await else {
            panic!("{binding}: the cut was taken for an end");
        };
        assert!(
            matches!(error, Error::Transport(Cut::MidAnswer { .. })),
            "{binding}: {error:?}"
        );
        assert!(!error.is_unsent());
    }
}

#[tokio::test]
async fn silence_ends_a_stream_only_where_a_bound_was_asked_for() {
    let agent = Agent::start().await;
    for binding in Binding::ALL {
        let options = Options {
            idle_timeout: Some(Duration::from_millis(50)),
            ..over(binding)
        };
        let client = Client::from_url(&agent.url(""), options).await.unwrap();
        let (words, error) = follow(&client, "silence").await;
        assert_eq!(words, ["task t-1"], "{binding}");
        assert!(
            matches!(error, Some(Error::Transport(Cut::Idle(_)))),
            "{binding}: {error:?}"
        );
    }
}

#[tokio::test]
async fn each_call_says_its_version_its_tenant_and_the_callers_headers() {
    let agent = Agent::start().await;
    for binding in Binding::ALL {
        let mut options = over(binding);
        options
            .headers
            .insert("authorization", HeaderValue::from_static("Bearer old"));
        let client = Client::from_url(&agent.url(""), options).await.unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("authorization", HeaderValue::from_static("Bearer new"));
        headers.insert("traceparent", HeaderValue::from_static("00-1-2-3"));
        let call = Call::with_headers(headers);
        let answer = client.send(ask("tenant"), &call).await;
        let seen = agent.last();
        assert_eq!(seen.headers["a2a-version"], "1.0", "{binding}");
        assert_eq!(seen.headers["traceparent"], "00-1-2-3", "{binding}");
        let authorization: Vec<_> = seen.headers.get_all("authorization").iter().collect();
        assert_eq!(authorization, ["Bearer new"], "{binding}");
        if binding == Binding::Grpc {
            let error = answer.unwrap_err();
            let problem = error.problem().unwrap();
            assert_eq!(
                (problem.fault, &*problem.message),
                (Fault::Unauthenticated, "t")
            );
            assert_eq!(seen.headers["te"], "trailers");
        } else {
            assert_eq!(seen.tenant, "t", "{binding} {}", seen.path);
        }
    }
}

#[tokio::test]
async fn ids_with_slashes_and_colons_reach_their_task() {
    let agent = Agent::start().await;
    for binding in Binding::ALL {
        let client = client(&agent, binding).await;
        let get = GetTaskRequest {
            id: "t/1:x y".to_owned(),
            history_length: Some(2),
            ..GetTaskRequest::default()
        };
        let task = client.get_task(get, &Call::default()).await.unwrap();
        assert_eq!(
            task.status.unwrap().state(),
            TaskState::Working,
            "{binding}"
        );
        let delete = DeleteTaskPushNotificationConfigRequest {
            task_id: "t-1".to_owned(),
            id: "p/1".to_owned(),
            ..DeleteTaskPushNotificationConfigRequest::default()
        };
        client
            .delete_push_config(delete, &Call::default())
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn nobody_there_is_told_as_provably_unsent() {
    let closed = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    for binding in Binding::ALL {
        let client = Client::direct(binding, &format!("http://{closed}"), over(binding)).unwrap();
        let error = client
            .send(ask("hello"), &Call::default())
            .await
            .unwrap_err();
        assert!(
            matches!(error, Error::Transport(Cut::Connect { .. })),
            "{binding}: {error:?}"
        );
        assert!(error.is_unsent(), "{binding}");
    }
}

#[tokio::test]
async fn an_answer_that_never_comes_is_late() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    for binding in Binding::ALL {
        let client = Client::direct(binding, &url, over(binding)).unwrap();
        let call = Call {
            answer_timeout: Some(Duration::from_millis(50)),
            ..Call::default()
        };
        let error = client.send(ask("hello"), &call).await.unwrap_err();
        assert!(
            matches!(error, Error::Transport(Cut::Late(_))),
            "{binding}: {error:?}"
        );
        assert!(!error.is_unsent(), "{binding}");
    }
}

#[tokio::test]
async fn a_page_that_is_no_agent_is_named_by_its_status() {
    let agent = Agent::start().await;
    let rpc = Client::direct(Binding::JsonRpc, &agent.url("/html"), Options::default()).unwrap();
    let error = rpc.send(ask("hello"), &Call::default()).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::Broken(Broken::ContentType { status: 404, .. })
        ),
        "{error:?}"
    );
    let rpc = Client::direct(Binding::JsonRpc, &agent.url("/busy"), Options::default()).unwrap();
    let error = rpc.send(ask("hello"), &Call::default()).await.unwrap_err();
    assert_eq!(
        error.problem().map(|p| p.fault),
        Some(Fault::Unavailable),
        "{error:?}"
    );
    let error = discovery::fetch_card(&agent.url("/html"), &Options::default())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Broken(_)), "{error:?}");
}

#[tokio::test]
async fn a_grpc_status_without_details_still_finds_its_row() {
    let agent = Agent::start().await;
    let client = client(&agent, Binding::Grpc).await;
    let list = client
        .list_tasks(ListTasksRequest::default(), &Call::default())
        .await;
    let error = list.unwrap_err();
    assert_eq!(
        error.problem().map(|p| p.fault),
        Some(Fault::MethodNotFound),
        "{error:?}"
    );
}
