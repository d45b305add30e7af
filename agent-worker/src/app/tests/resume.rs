//! Streams that broke and go on: event ids, and what follows the last one that was seen.

use futures_util::StreamExt as _;
use mesh_proto::a2a::{
    SubscribeToTaskRequest, a2a_service_client::A2aServiceClient, stream_response::Payload,
};
use tonic::Code;

use super::*;

/// The ids and data of an answer's events.
fn told(answer: &Answer) -> Vec<(String, Value)> {
    let line = |name: &str| {
        let prefix = format!("{name}: ");
        let lines = answer.body.lines();
        let found = lines.filter_map(move |line| line.strip_prefix(&prefix).map(str::to_owned));
        found.collect::<Vec<_>>()
    };
    let data = line("data").into_iter();
    let data = data.map(|data| serde_json::from_str::<Value>(&data).unwrap());
    let all: Vec<_> = line("id").into_iter().zip(data).collect();
    assert_eq!(all.len(), answer.events().len(), "each event has an id");
    all
}

async fn streamed(worker: &Worker, text: &str) -> (String, Vec<(String, Value)>) {
    let body = serde_json::to_string(&send(text)).unwrap();
    let answer = exchange(worker, request("POST", "/a/message:stream"), body).await;
    let id = answer.headers["daca-task"].to_str().unwrap().to_owned();
    let told = told(&answer);
    assert_eq!(told[0].1["task"]["id"], id.as_str());
    (id, told)
}

#[tokio::test]
async fn over_http_what_followed_the_last_event_is_told_again_and_then_the_end() {
    let worker = one().await;
    let (id, all) = streamed(&worker, "flood 3").await;
    let ids: Vec<_> = all.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(ids[..3], ["1-0", "1-1", "1-2"]);
    for seen in 0..all.len() {
        let rest = request("GET", &format!("/a/tasks/{id}:subscribe"));
        let rest = exchange(&worker, rest.header("last-event-id", ids[seen]), "").await;
        assert_eq!(rest.headers["daca-task"], id.as_str());
        assert_eq!(told(&rest), all[seen + 1..]);

        let rest = request("POST", "/a").header("last-event-id", ids[seen]);
        let rest = rpc_as(&worker, rest, "SubscribeToTask", &json!({"id": id})).await;
        let rest: Vec<_> = told(&rest)
            .into_iter()
            .map(|(id, mut event)| (id, event["result"].take()))
            .collect();
        assert_eq!(rest, all[seen + 1..]);
    }
    for unheld in ["1-99", "2-0", "yesterday", ""] {
        let refused = request("GET", &format!("/a/tasks/{id}:subscribe"));
        let refused = exchange(&worker, refused.header("last-event-id", unheld), "").await;
        let reason = refused.json()["error"]["details"][0]["reason"].clone();
        assert_eq!(reason, "UNSUPPORTED_OPERATION", "{unheld:?}");
    }
}

#[tokio::test]
async fn over_grpc_the_first_id_is_in_the_metadata() {
    let worker = one().await;
    let endpoint = format!("http://{}", worker.local_addr());
    let channel = tonic::transport::Channel::from_shared(endpoint).unwrap();
    let mut client = A2aServiceClient::new(channel.connect().await.unwrap());
    let asked = |last: &'static str, id: &str| {
        let mut request = tonic::Request::new(SubscribeToTaskRequest {
            id: id.to_owned(),
            ..SubscribeToTaskRequest::default()
        });
        let metadata = request.metadata_mut();
        metadata.insert("a2a-version", "1.0".parse().unwrap());
        metadata.insert("last-event-id", last.parse().unwrap());
        request
    };
    let (id, all) = streamed(&worker, "say x").await;
    let rest = client.subscribe_to_task(asked("1-1", &id)).await.unwrap();
    assert_eq!(rest.metadata().get("daca-event-id").unwrap(), "1-2");
    assert_eq!(rest.metadata().get("daca-task").unwrap(), id.as_str());
    assert_eq!(rest.into_inner().count().await, all.len() - 2);
    let late = client.subscribe_to_task(asked("7-7", &id)).await;
    assert_eq!(late.unwrap_err().code(), Code::FailedPrecondition);

    let waiting = rpc(&worker, "SendMessage", &send_now("wait")).await["result"]["task"].clone();
    let id = waiting["id"].as_str().unwrap();
    until(&worker, id, TaskState::Working).await;
    let begun = client.subscribe_to_task(asked("7-7", id)).await.unwrap();
    assert_eq!(begun.metadata().get("daca-event-id").unwrap(), "1-1");
    let first = begun.into_inner().next().await.unwrap().unwrap();
    assert!(matches!(first.payload, Some(Payload::Task(_))));
}

#[tokio::test]
async fn a_task_that_rests_and_goes_on_counts_on() {
    let worker = one().await;
    let (id, all) = streamed(&worker, "ask where?").await;
    let last = all.last().unwrap().0.clone();
    let mut answer = send("say there");
    answer.message.as_mut().unwrap().task_id.clone_from(&id);
    rpc(&worker, "SendMessage", &answer).await;
    let rest = request("GET", &format!("/a/tasks/{id}:subscribe"));
    let rest = exchange(&worker, rest.header("last-event-id", &last), "").await;
    let rest = told(&rest);
    assert_eq!(state(&rest[0].1["statusUpdate"]), "TASK_STATE_WORKING");
    assert_eq!(
        state(&rest.last().unwrap().1["statusUpdate"]),
        "TASK_STATE_COMPLETED"
    );
}

#[tokio::test]
async fn resumed_streams_are_counted_by_what_came_of_them() {
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    drop(metrics);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    for outcome in ["replayed", "snapshot", "unreadable"] {
        let line = format!("mesh_worker_streams_resumed_total{{outcome=\"{outcome}\"}} 0");
        assert!(text.contains(&line), "{text}");
    }
}

#[tokio::test]
async fn our_client_counts_events_alike_over_every_binding() {
    use mesh_client::{Binding, Call, Client, Options};
    let worker = one().await;
    let at = worker.local_addr();
    for (binding, url) in [
        (Binding::JsonRpc, format!("http://{at}/a")),
        (Binding::Rest, format!("http://{at}/a")),
        (Binding::Grpc, format!("http://{at}")),
    ] {
        let client = Client::direct(binding, &url, Options::default()).unwrap();
        let mut events = client
            .stream(send("flood 2"), &Call::default())
            .await
            .unwrap();
        let (mut ids, mut task) = (Vec::new(), String::new());
        while let Some(event) = events.next().await {
            if let Some(Payload::Task(begun)) = event.unwrap().payload {
                task = begun.id;
            }
            ids.push(events.event_id().unwrap().to_owned());
        }
        let counted: Vec<_> = (0..ids.len()).map(|n| format!("1-{n}")).collect();
        assert_eq!(ids, counted, "{binding}");
        let mut call = Call::default();
        call.headers.insert("last-event-id", "1-1".parse().unwrap());
        let ask = SubscribeToTaskRequest {
            id: task,
            ..SubscribeToTaskRequest::default()
        };
        let mut rest = client.subscribe(ask, &call).await.unwrap();
        for id in &ids[2..] {
            rest.next().await.unwrap().unwrap();
            assert_eq!(rest.event_id(), Some(&**id), "{binding}");
        }
        assert!(rest.next().await.is_none());
    }
}
