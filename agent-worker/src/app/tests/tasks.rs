//! What happens to tasks, whatever the binding.

use super::*;

#[tokio::test]
async fn a_question_is_answered_in_the_same_task() {
    let worker = one().await;
    let asked = rpc(&worker, "SendMessage", &send("ask which city?")).await;
    let task = asked["result"]["task"].clone();
    assert_eq!(state(&task), "TASK_STATE_INPUT_REQUIRED");
    assert_eq!(task["status"]["message"]["parts"][0]["text"], "which city?");

    let mut answer = send("say Tokyo");
    let follow_up = answer.message.as_mut().unwrap();
    follow_up.task_id = task["id"].as_str().unwrap().to_owned();
    let answered = rpc(&worker, "SendMessage", &answer).await["result"]["task"].clone();
    assert_eq!(
        (&answered["id"], &answered["contextId"]),
        (&task["id"], &task["contextId"])
    );
    assert_eq!(state(&answered), "TASK_STATE_COMPLETED");
    let history: Vec<_> = answered["history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| message["parts"][0]["text"].as_str().unwrap())
        .collect();
    assert_eq!(history, ["ask which city?", "which city?", "say Tokyo"]);
    let again = rpc(&worker, "SendMessage", &answer).await["result"]["task"].clone();
    assert_eq!(again, answered, "the same message is taken once");
    let late = answer.message.as_mut().unwrap();
    late.message_id = "late".to_owned();
    let late = rpc(&worker, "SendMessage", &answer).await;
    assert_eq!(
        late["error"]["code"], -32004,
        "a final task takes no message"
    );
}

#[tokio::test]
async fn a_conversation_goes_on_in_a_new_task_of_its_context() {
    let worker = one().await;
    let say = async |text: &str, context: &str| {
        let mut request = send(text);
        context.clone_into(&mut request.message.as_mut().unwrap().context_id);
        rpc(&worker, "SendMessage", &request).await["result"]["task"].clone()
    };
    let first = say("say one", "my-context").await;
    assert_eq!(first["contextId"], "my-context");
    // Two items of the first task, and the question itself.
    let counted = say("count", "my-context").await;
    assert_ne!(counted["id"], first["id"]);
    assert_eq!(counted["artifacts"][0]["parts"][0]["text"], "3");
    let other = say("count", "other").await;
    assert_eq!(other["artifacts"][0]["parts"][0]["text"], "1");
}

#[tokio::test]
async fn ids_begin_with_the_route_that_the_router_gave() {
    let worker = one().await;
    let route = "z1k.AbCdEfGhIjKlMnOpQrSt_-";
    let routed = request("POST", "/a").header("a2a-affinity", route);
    let sent = rpc_as(&worker, routed, "SendMessage", &send("say x"))
        .await
        .json();
    let task = &sent["result"]["task"];
    for id in [&task["id"], &task["contextId"]] {
        let native = id.as_str().unwrap().strip_prefix(route).unwrap();
        assert_eq!(native.len(), 1 + 36, "{id}");
    }
    let plain = rpc(&worker, "SendMessage", &send("say x")).await;
    assert_eq!(plain["result"]["task"]["id"].as_str().unwrap().len(), 36);
}

#[tokio::test]
async fn a_client_that_goes_away_does_not_cancel_its_task() {
    let worker = one().await;
    let mut left = connect(&worker).await;
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": send("wait")});
    let call = request("POST", "/a")
        .body(Full::new(body.to_string().into()))
        .unwrap();
    let call = left.send_request(call);
    let nothing = json!({});
    let id = {
        let mut call = std::pin::pin!(call);
        loop {
            tokio::select! {
                biased;
                answer = &mut call => panic!("answered: {answer:?}"),
                listed = rpc(&worker, "ListTasks", &nothing) => {
                    if let Some(id) = listed["result"]["tasks"][0]["id"].as_str() {
                        break id.to_owned();
                    }
                }
            }
        }
    };
    drop(left);
    until(&worker, &id, TaskState::Working).await;
    let canceled = rpc(&worker, "CancelTask", &json!({"id": id})).await;
    assert_eq!(state(&canceled["result"]), "TASK_STATE_CANCELED");
}

#[tokio::test]
async fn a_failure_and_a_panic_end_in_failed_and_the_worker_lives() {
    let worker = one().await;
    let failed = rpc(&worker, "SendMessage", &send("fail no such city")).await;
    let failed = &failed["result"]["task"];
    assert_eq!(state(failed), "TASK_STATE_FAILED");
    assert_eq!(
        failed["status"]["message"]["parts"][0]["text"],
        "no such city"
    );
    let panicked = rpc(&worker, "SendMessage", &send("panic")).await;
    assert_eq!(state(&panicked["result"]["task"]), "TASK_STATE_FAILED");
    let twice = send("say again");
    for _ in 0..2 {
        let sent = rpc(&worker, "SendMessage", &twice).await;
        assert_eq!(state(&sent["result"]["task"]), "TASK_STATE_COMPLETED");
    }
}

#[tokio::test]
async fn nobody_sees_the_tasks_of_another_caller() {
    let worker = one().await;
    let mine = || request("POST", "/a").header("authorization", "Bearer mine");
    let sent = rpc_as(&worker, mine(), "SendMessage", &send("say secret"))
        .await
        .json();
    let id = json!({"id": sent["result"]["task"]["id"]});
    let theirs = request("POST", "/a").header("authorization", "Bearer theirs");
    let read = rpc_as(&worker, theirs, "GetTask", &id).await.json();
    assert_eq!(read["error"]["code"], -32001);
    assert_eq!(rpc(&worker, "GetTask", &id).await["error"]["code"], -32001);
    let listed = rpc(&worker, "ListTasks", &json!({})).await;
    assert_eq!(listed["result"]["totalSize"], 0);
    let read = rpc_as(&worker, mine(), "GetTask", &id).await.json();
    assert_eq!(read["result"]["id"], id["id"]);
}

#[tokio::test]
async fn a_flood_reaches_a_reader_whole_and_in_order() {
    let worker = one().await;
    let path = request("POST", "/a");
    let streamed = rpc_as(&worker, path, "SendStreamingMessage", &send("flood 200")).await;
    let events = streamed.events();
    let texts = events.iter().map(|event| {
        let artifact = &event["result"]["artifactUpdate"]["artifact"];
        artifact["parts"][0]["text"].as_str().unwrap_or_default()
    });
    assert_eq!(texts.collect::<String>(), "x".repeat(200));
    let last = &events.last().unwrap()["result"]["statusUpdate"];
    assert_eq!(state(last), "TASK_STATE_COMPLETED");
}

#[tokio::test]
async fn a_full_worker_refuses_and_a_drain_lets_the_running_finish() {
    let settings = Settings {
        limits: Limits { capacity: 1 },
        grace: Duration::from_millis(100),
        ..Settings::default()
    };
    let worker = worker(settings, &["a"]).await;
    let waiting = rpc(&worker, "SendMessage", &send_now("wait")).await;
    assert!(waiting["result"]["task"]["id"].is_string());
    let refused = rpc(&worker, "SendMessage", &send("say x")).await;
    assert_eq!(refused["error"]["data"][0]["reason"], "RESOURCE_EXHAUSTED");
    assert_eq!(get(&worker, "/-/worker").await.json()["in_flight"], 1);
    let outcome = worker.drain().await;
    let left = std::collections::BTreeMap::from([("turn", 1)]);
    assert_eq!(outcome, Outcome::Cut(left));
}

#[tokio::test]
async fn a_worker_without_work_drains_at_once_though_somebody_watches() {
    let worker = one().await;
    let asked = rpc(&worker, "SendMessage", &send("ask what?")).await;
    let id = &asked["result"]["task"]["id"];
    let body =
        json!({"jsonrpc": "2.0", "id": 1, "method": "SubscribeToTask", "params": {"id": id}});
    let watch = request("POST", "/a")
        .body(Full::new(body.to_string().into()))
        .unwrap();
    let mut connection = connect(&worker).await;
    let response = connection.send_request(watch).await.unwrap();
    let (whole, outcome) = tokio::join!(response.into_body().collect(), worker.drain());
    assert_eq!(outcome, Outcome::Finished);
    let whole = whole.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&whole).contains("TASK_STATE_INPUT_REQUIRED"));
}

#[tokio::test]
async fn the_admin_side_counts_and_says_when_the_worker_drains() {
    let settings = Settings {
        admin: Some("127.0.0.1:0".to_owned()),
        ..Settings::default()
    };
    let worker = worker(settings, &["a"]).await;
    rpc(&worker, "SendMessage", &send("say x")).await;
    rpc(&worker, "SendMessage", &send("ask x")).await;
    let admin = worker.admin_addr().unwrap();
    let ask = async |path: &str| {
        let socket = TcpStream::connect(admin).await.unwrap();
        exchange_over(socket, request("GET", path), "").await
    };
    let metrics = ask("/metrics").await.body;
    for line in [
        "mesh_worker_tasks_total{state=\"completed\"} 1",
        "mesh_worker_tasks_total{state=\"input_required\"} 1",
        "mesh_worker_tasks_total{state=\"failed\"} 0",
        "mesh_worker_turns_total 2",
        "mesh_worker_tasks_in_flight 0",
        "mesh_connections_accepted_total 2",
    ] {
        assert!(metrics.lines().any(|l| l == line), "{line}\n{metrics}");
    }
    assert_eq!(ask("/readyz").await.status, 200);
    worker.ledger.drain();
    assert_eq!(ask("/readyz").await.status, 503);
    assert_eq!(get(&worker, "/-/worker").await.json()["state"], "draining");
    let refused = rpc(&worker, "SendMessage", &send("say x")).await;
    assert_eq!(refused["error"]["data"][0]["reason"], "UNAVAILABLE");
}

#[tokio::test]
async fn a_refused_message_does_not_end_the_streams_of_others() {
    let worker = one().await;
    let asked = rpc(&worker, "SendMessage", &send("ask what?")).await;
    let task = asked["result"]["task"].clone();
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "SubscribeToTask", "params": {"id": task["id"]}});
    let watch = request("POST", "/a")
        .body(Full::new(body.to_string().into()))
        .unwrap();
    let mut connection = connect(&worker).await;
    let watching = connection.send_request(watch).await.unwrap();

    let mut wrong = send("say x");
    let message = wrong.message.as_mut().unwrap();
    message.task_id = task["id"].as_str().unwrap().to_owned();
    message.context_id = "another".to_owned();
    let refused = rpc(&worker, "SendMessage", &wrong).await;
    assert_eq!(refused["error"]["code"], -32602);
    wrong.message.as_mut().unwrap().context_id.clear();
    rpc(&worker, "SendMessage", &wrong).await;

    let whole = watching.into_body().collect().await.unwrap().to_bytes();
    let whole = String::from_utf8_lossy(&whole);
    let at = |state: &str| {
        whole
            .find(state)
            .unwrap_or_else(|| panic!("no {state}: {whole}"))
    };
    let (asked, working) = (at("TASK_STATE_INPUT_REQUIRED"), at("TASK_STATE_WORKING"));
    assert!(
        asked < working && working < at("TASK_STATE_COMPLETED"),
        "{whole}"
    );
}

#[tokio::test]
async fn a_send_ends_at_its_callers_deadline_and_the_task_goes_on() {
    let worker = one().await;
    for (name, value) in [("daca-timeout", "500"), ("grpc-timeout", "500m")] {
        let hasty = request("POST", "/a").header(name, value);
        let late = rpc_as(&worker, hasty, "SendMessage", &send("wait")).await;
        let error = late.json()["error"]["data"][0].clone();
        assert_eq!(error["reason"], "DEADLINE_EXCEEDED");
        let id = error["metadata"]["taskId"].as_str().unwrap();
        until(&worker, id, TaskState::Working).await;
    }
    let wrong = request("POST", "/a").header("daca-timeout", "soon");
    let wrong = rpc_as(&worker, wrong, "SendMessage", &send("wait")).await;
    assert_eq!(wrong.json()["error"]["code"], -32600);
    assert_eq!(get(&worker, "/-/worker").await.json()["in_flight"], 2);
}
