//! The same operations over JSON-RPC, HTTP+JSON and gRPC.

use futures_util::StreamExt as _;
use mesh_proto::a2a::{
    CancelTaskRequest, GetTaskRequest, ListTasksRequest, SubscribeToTaskRequest,
    a2a_service_client::A2aServiceClient, send_message_response, stream_response,
};
use tonic::{Code, Request, metadata::MetadataValue, transport::Channel};

use super::*;

async fn channel(worker: &Worker) -> Channel {
    let endpoint = Channel::from_shared(format!("http://{}", worker.local_addr())).unwrap();
    endpoint.connect().await.unwrap()
}

async fn grpc(worker: &Worker) -> A2aServiceClient<Channel> {
    A2aServiceClient::new(channel(worker).await)
}

fn asked<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    let version = MetadataValue::from_static("1.0");
    request.metadata_mut().insert("a2a-version", version);
    request
}

#[tokio::test]
async fn json_rpc_sends_streams_reads_lists_and_cancels() {
    let worker = one().await;
    let sent = rpc(&worker, "SendMessage", &send("say hello")).await;
    assert_eq!(
        (sent["jsonrpc"].as_str(), &sent["id"]),
        (Some("2.0"), &json!(7))
    );
    let task = &sent["result"]["task"];
    assert_eq!(state(task), "TASK_STATE_COMPLETED");
    assert_eq!(task["artifacts"][0]["parts"][0]["text"], "hello");
    assert_eq!(task["history"][0]["parts"][0]["text"], "say hello");
    let id = json!({"id": task["id"]});

    let read = rpc(&worker, "GetTask", &id).await;
    assert_eq!(&read["result"], task);
    let listed = rpc(&worker, "ListTasks", &json!({})).await["result"].clone();
    assert_eq!(
        (&listed["totalSize"], &listed["nextPageToken"]),
        (&json!(1), &json!(""))
    );
    assert_eq!(listed["tasks"][0]["id"], task["id"]);
    assert!(listed["tasks"][0].get("artifacts").is_none());
    let late = rpc(&worker, "CancelTask", &id).await;
    assert_eq!(late["error"]["code"], -32002);
    let late = rpc(&worker, "SubscribeToTask", &id).await;
    assert_eq!(late["error"]["code"], -32004);

    let streamed = rpc_as(
        &worker,
        request("POST", "/a/"),
        "SendStreamingMessage",
        &send("say hello"),
    )
    .await;
    assert_eq!(streamed.headers["content-type"], "text/event-stream");
    let events = streamed.events();
    assert!(events.iter().all(|event| event["id"] == 7), "{events:?}");
    assert_eq!(state(&events[0]["result"]["task"]), "TASK_STATE_SUBMITTED");
    assert_eq!(
        state(&events[1]["result"]["statusUpdate"]),
        "TASK_STATE_WORKING"
    );
    let artifact = &events[2]["result"]["artifactUpdate"];
    assert_eq!(artifact["artifact"]["parts"][0]["text"], "hello");
    assert_eq!(
        state(&events[3]["result"]["statusUpdate"]),
        "TASK_STATE_COMPLETED"
    );
    assert_eq!(events.len(), 4);
}

#[tokio::test]
async fn http_json_sends_streams_reads_lists_and_cancels() {
    let worker = one().await;
    let body = || serde_json::to_string(&send("say hello")).unwrap();
    let sent = exchange(&worker, request("POST", "/a/message:send"), body()).await;
    assert_eq!(
        (sent.status, &sent.headers["content-type"]),
        (200, &"application/json".parse().unwrap())
    );
    assert!(sent.headers.contains_key("daca-boot"));
    let task = sent.json()["task"].clone();
    assert_eq!(state(&task), "TASK_STATE_COMPLETED");
    let id = task["id"].as_str().unwrap();

    let alike = request("POST", "/a/message:send").header("accept", "application/a2a+json");
    let alike = exchange(&worker, alike, body()).await;
    assert_eq!(alike.headers["content-type"], "application/a2a+json");

    let read = get(&worker, &format!("/a/tasks/{id}?historyLength=0"))
        .await
        .json();
    assert_eq!(read["id"], task["id"]);
    assert!(read.get("history").is_none(), "{read}");
    assert_eq!(get(&worker, "/a/tasks").await.json()["totalSize"], 2);
    assert_eq!(get(&worker, "/a/tenant/tasks").await.json()["totalSize"], 0);

    let streamed = exchange(&worker, request("POST", "/a/message:stream"), body()).await;
    let events = streamed.events();
    assert_eq!(state(&events[0]["task"]), "TASK_STATE_SUBMITTED");
    assert_eq!(state(&events[3]["statusUpdate"]), "TASK_STATE_COMPLETED");

    let waiting = serde_json::to_string(&send_now("wait")).unwrap();
    let waiting = exchange(&worker, request("POST", "/message:send"), waiting).await;
    let id = waiting.json()["task"]["id"].as_str().unwrap().to_owned();
    let path = format!("/tasks/{id}:cancel");
    let canceled = exchange(&worker, request("POST", &path), "").await.json();
    assert_eq!(state(&canceled), "TASK_STATE_CANCELED");
    let again = exchange(&worker, request("POST", &path), "").await;
    assert_eq!(again.status, 400);
    assert_eq!(
        again.json()["error"]["details"][0]["reason"],
        "TASK_NOT_CANCELABLE"
    );
}

#[tokio::test]
async fn grpc_sends_streams_reads_lists_and_cancels() {
    let worker = one().await;
    let mut client = grpc(&worker).await;
    let sent = client.send_message(asked(send("say hello"))).await.unwrap();
    assert!(sent.metadata().contains_key("daca-boot"));
    let Some(send_message_response::Payload::Task(task)) = sent.into_inner().payload else {
        panic!("no task");
    };
    assert_eq!(task.status.as_ref().unwrap().state(), TaskState::Completed);
    let read = GetTaskRequest {
        id: task.id.clone(),
        ..GetTaskRequest::default()
    };
    let read = client.get_task(asked(read)).await.unwrap().into_inner();
    assert_eq!(read, task);
    let listed = client.list_tasks(asked(ListTasksRequest::default())).await;
    assert_eq!(listed.unwrap().into_inner().total_size, 1);

    let stream = client.send_streaming_message(asked(send("wait"))).await;
    let mut events = stream.unwrap().into_inner();
    let Some(Ok(first)) = events.next().await else {
        panic!("no event");
    };
    let Some(stream_response::Payload::Task(task)) = first.payload else {
        panic!("no task");
    };
    let subscribe = SubscribeToTaskRequest {
        id: task.id.clone(),
        ..SubscribeToTaskRequest::default()
    };
    let stream = client.subscribe_to_task(asked(subscribe)).await.unwrap();
    let cancel = CancelTaskRequest {
        id: task.id.clone(),
        ..CancelTaskRequest::default()
    };
    let canceled = client
        .cancel_task(asked(cancel.clone()))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(canceled.status.unwrap().state(), TaskState::Canceled);
    let state = |event: Result<mesh_proto::a2a::StreamResponse, _>| match event.unwrap().payload {
        Some(stream_response::Payload::StatusUpdate(update)) => update.status.unwrap().state(),
        Some(stream_response::Payload::Task(task)) => task.status.unwrap().state(),
        other => panic!("{other:?}"),
    };
    let sender: Vec<_> = events.map(state).collect().await;
    assert_eq!(sender, [TaskState::Working, TaskState::Canceled]);
    let watcher: Vec<_> = stream.into_inner().map(state).collect().await;
    assert_eq!(watcher.last(), Some(&TaskState::Canceled));

    let late = client.cancel_task(asked(cancel)).await.unwrap_err();
    assert_eq!(late.code(), Code::FailedPrecondition);
    let problem = mesh_proto::grpc::problem_of(&late);
    assert_eq!(problem.fault, mesh_proto::Fault::TaskNotCancelable);
}

#[tokio::test]
async fn grpc_finds_its_agent_by_metadata_then_tenant_then_default() {
    let worker = worker(Settings::default(), &["a", "b"]).await;
    let mut client = grpc(&worker).await;
    let nobody = client.send_message(asked(send("say x"))).await.unwrap_err();
    assert_eq!(nobody.code(), Code::InvalidArgument);

    let mut by_metadata = asked(send("say x"));
    let name = MetadataValue::from_static("b");
    by_metadata.metadata_mut().insert("a2a-agent", name);
    client.send_message(by_metadata).await.unwrap();
    assert_eq!(get(&worker, "/b/tasks").await.json()["totalSize"], 1);

    for tenant in ["a", "a/own"] {
        let request = SendMessageRequest {
            tenant: tenant.to_owned(),
            ..send("say x")
        };
        client.send_message(asked(request)).await.unwrap();
    }
    assert_eq!(get(&worker, "/a/tasks").await.json()["totalSize"], 1);
    assert_eq!(get(&worker, "/a/own/tasks").await.json()["totalSize"], 1);
}

#[tokio::test]
async fn health_reflection_cards_and_the_report_are_there() {
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    let worker = worker(Settings::default(), &["a", "b"]).await;
    let mut health = HealthClient::new(channel(&worker).await);
    for service in ["", "lf.a2a.v1.A2AService"] {
        let service = service.to_owned();
        let checked = health.check(HealthCheckRequest { service }).await.unwrap();
        assert_eq!(checked.into_inner().status, 1);
    }
    worker.server.drain().await;
    for service in ["", "lf.a2a.v1.A2AService"] {
        let service = service.to_owned();
        let checked = health.check(HealthCheckRequest { service }).await.unwrap();
        assert_eq!(checked.into_inner().status, 2, "not serving");
    }

    let card = get(&worker, "/b/.well-known/agent-card.json").await;
    let etag = card.headers["etag"].clone();
    let card = card.json();
    assert_eq!(card["name"], "b");
    let interfaces = card["supportedInterfaces"].as_array().unwrap();
    let urls: Vec<_> = interfaces
        .iter()
        .map(|i| i["url"].as_str().unwrap())
        .collect();
    assert_eq!(
        urls,
        [
            "http://worker.example:80/b",
            "http://worker.example:80/b",
            "worker.example:80"
        ]
    );
    assert_eq!(interfaces[2]["tenant"], "b");
    let again = request("GET", "/b/.well-known/agent-card.json").header("if-none-match", etag);
    assert_eq!(exchange(&worker, again, "").await.status, 304);
    assert_eq!(
        get(&worker, "/.well-known/agent-card.json").await.status,
        404
    );

    let report = get(&worker, "/-/worker").await.json();
    assert_eq!(report["boot"], worker.boot());
    assert_eq!(
        (&report["state"], &report["agents"]),
        (&json!("active"), &json!(["a", "b"]))
    );
}

#[tokio::test]
async fn an_agent_of_one_binding_is_in_no_other_and_its_card_says_so() {
    let agents = [("a", "jsonrpc"), ("b", "rest"), ("c", "grpc")];
    let agents = agents.map(|(name, binding)| offered_in(name, &[binding]));
    let worker = Worker::start(Settings::default(), agents.into(), Registry::default())
        .await
        .unwrap();
    for (name, binding) in [("a", "JSONRPC"), ("b", "HTTP+JSON"), ("c", "GRPC")] {
        let card = get(&worker, &format!("/{name}/.well-known/agent-card.json")).await;
        let offered = card.json()["supportedInterfaces"].clone();
        assert_eq!(offered.as_array().unwrap().len(), 1, "{offered}");
        assert_eq!(offered[0]["protocolBinding"], binding);

        let at = request("POST", &format!("/{name}"));
        let answer = rpc_as(&worker, at, "SendMessage", &send("say x")).await;
        let code = answer.json()["error"]["code"].clone();
        assert_eq!(code == -32601, name != "a", "{name}: {code}");
        let status = get(&worker, &format!("/{name}/tasks")).await.status;
        assert_eq!(status == 404, name != "b", "{name}: {status}");
        let mut asked = asked(send("say x"));
        let agent = MetadataValue::try_from(name).unwrap();
        asked.metadata_mut().insert("a2a-agent", agent);
        let refused = grpc(&worker).await.send_message(asked).await.err();
        let expected = (name != "c").then_some(Code::Unimplemented);
        assert_eq!(refused.map(|status| status.code()), expected, "{name}");
    }
}
