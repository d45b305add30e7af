//! Tasks whose events are pushed, to a webhook of the test's.

use axum::{Router, extract::State, routing::post};
use parking_lot::Mutex;

use super::*;

type Heard = Arc<Mutex<Vec<(http::HeaderMap, Value)>>>;

/// A webhook, and what it heard.
async fn hook() -> (String, Heard) {
    async fn hear(State(heard): State<Heard>, headers: http::HeaderMap, body: String) {
        let body = serde_json::from_str(&body).unwrap();
        heard.lock().push((headers, body));
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let heard = Heard::default();
    let app = Router::new()
        .route("/hook", post(hear))
        .with_state(Arc::clone(&heard));
    #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
    tokio::spawn(async { axum::serve(listener, app).await });
    (url, heard)
}

/// A worker that may call this machine.
async fn pushing() -> Worker {
    let push = crate::push::Settings {
        allow: vec!["127.0.0.0/8".parse().unwrap()],
        ..crate::push::Settings::default()
    };
    worker(
        Settings {
            push,
            ..Settings::default()
        },
        &["a"],
    )
    .await
}

/// What the webhook heard, once it is so much.
async fn heard(all: &Heard, count: usize) -> Vec<(http::HeaderMap, Value)> {
    while all.lock().len() < count {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    all.lock().clone()
}

fn states(heard: &[(http::HeaderMap, Value)]) -> Vec<&str> {
    let events = heard.iter().map(|(_, event)| event);
    events
        .map(|event| match &event["statusUpdate"] {
            Value::Null => event["artifactUpdate"]["artifact"]["parts"][0]["text"]
                .as_str()
                .unwrap(),
            update => state(update),
        })
        .collect()
}

#[tokio::test]
async fn a_message_may_ask_to_have_its_tasks_events_pushed() {
    let worker = pushing().await;
    let (url, all) = hook().await;
    let mut request = send("flood 20");
    request.configuration = Some(SendMessageConfiguration {
        task_push_notification_config: Some(mesh_proto::a2a::TaskPushNotificationConfig {
            url,
            token: "token".to_owned(),
            ..Default::default()
        }),
        ..SendMessageConfiguration::default()
    });
    let task = rpc(&worker, "SendMessage", &request).await["result"]["task"].clone();
    let events = heard(&all, 3).await;
    let whole = "x".repeat(20);
    assert_eq!(
        states(&events),
        ["TASK_STATE_WORKING", &whole, "TASK_STATE_COMPLETED"],
        "each state, and the artifact as a whole, in their order"
    );
    let mut ids = BTreeSet::new();
    for (headers, event) in &events {
        assert_eq!(headers["x-a2a-notification-token"], "token");
        let id = headers["idempotency-key"].to_str().unwrap();
        assert!(id.starts_with(task["id"].as_str().unwrap()), "{id}");
        assert!(ids.insert(id.to_owned()), "{id} twice");
        let update = event.as_object().unwrap().values().next().unwrap();
        assert_eq!(update["taskId"], task["id"]);
    }
    worker.drain().await;
    assert_eq!(all.lock().len(), 3, "nothing is told twice at the end");
}

#[tokio::test]
async fn configurations_are_given_read_listed_and_taken_away_by_jsonrpc_and_rest_alike() {
    let worker = pushing().await;
    let (url, all) = hook().await;
    let task = rpc(&worker, "SendMessage", &send("ask what?")).await["result"]["task"].clone();
    let id = task["id"].as_str().unwrap();
    let given = json!({"taskId": id, "id": "one", "url": url,
        "authentication": {"scheme": "Bearer", "credentials": "x"}});
    let made = rpc(&worker, "CreateTaskPushNotificationConfig", &given).await;
    assert_eq!(made["result"], given);
    let path = format!("/a/tasks/{id}/pushNotificationConfigs");
    let body = json!({"id": "two", "url": format!("{url}?two")}).to_string();
    let made = exchange(&worker, request("POST", &path), body).await;
    assert_eq!(made.json()["id"], "two", "{}", made.body);
    assert_eq!(get(&worker, &format!("{path}/one")).await.json(), given);
    let page = get(&worker, &format!("{path}?pageSize=1")).await.json();
    assert_eq!(page["configs"], json!([given]));
    let next = page["nextPageToken"].as_str().unwrap();
    let page = get(&worker, &format!("{path}?pageSize=1&pageToken={next}"))
        .await
        .json();
    assert_eq!(page["configs"][0]["id"], "two");
    assert_eq!(page["nextPageToken"], Value::Null);
    for _ in 0..2 {
        let taken = exchange(&worker, request("DELETE", &format!("{path}/two")), "").await;
        assert_eq!(taken.status, 200, "{}", taken.body);
    }
    let gone = json!({"taskId": id, "id": "two"});
    let asked = rpc(&worker, "GetTaskPushNotificationConfig", &gone).await;
    assert_eq!(asked["error"]["code"], -32001);

    // What the task comes to later is told to those that are left.
    let mut answer = send("say it");
    id.clone_into(&mut answer.message.as_mut().unwrap().task_id);
    rpc(&worker, "SendMessage", &answer).await;
    let events = heard(&all, 3).await;
    assert_eq!(
        states(&events),
        ["TASK_STATE_WORKING", "it", "TASK_STATE_COMPLETED"]
    );
    assert_eq!(events[0].0["authorization"], "Bearer x");
}

#[tokio::test]
async fn a_task_has_so_many_configurations_and_no_more() {
    let worker = pushing().await;
    let task = rpc(&worker, "SendMessage", &send("ask what?")).await["result"]["task"].clone();
    let give = async |number: usize| {
        let config =
            json!({"taskId": task["id"], "id": number.to_string(), "url": "https://example.com"});
        rpc(&worker, "CreateTaskPushNotificationConfig", &config).await
    };
    for number in 0..record::HOOKS {
        assert_eq!(give(number).await["error"], Value::Null);
    }
    assert_eq!(give(99).await["error"]["code"], -32602);
    assert_eq!(
        give(0).await["error"],
        Value::Null,
        "one of them may be replaced"
    );
}

#[tokio::test]
async fn a_configuration_that_cannot_be_is_refused_and_says_why() {
    let worker = one().await;
    let task = rpc(&worker, "SendMessage", &send("ask what?")).await["result"]["task"].clone();
    let give = async |task: &Value, url: &str| {
        let config = json!({"taskId": task, "url": url});
        rpc(&worker, "CreateTaskPushNotificationConfig", &config).await["error"].clone()
    };
    for url in [
        "",
        "no url",
        "http://example.com",
        "https://127.0.0.1/hook",
        "https://10.0.0.1",
        "https://me@example.com",
        "ftp://example.com",
    ] {
        let error = give(&task["id"], url).await;
        assert_eq!(error["code"], -32602, "{url}: {error}");
        assert_eq!(error["data"][0]["metadata"]["field"], "url", "{error}");
    }
    let error = give(&json!("nobody's"), "https://example.com").await;
    assert_eq!(error["code"], -32001, "{error}");
    let listed = rpc(
        &worker,
        "ListTaskPushNotificationConfigs",
        &json!({"taskId": "t"}),
    )
    .await;
    assert_eq!(listed["error"]["code"], -32001, "{listed}");
    let mut request = send("say x");
    request.configuration = Some(SendMessageConfiguration {
        task_push_notification_config: Some(mesh_proto::a2a::TaskPushNotificationConfig {
            url: "https://192.168.0.1".to_owned(),
            ..Default::default()
        }),
        ..SendMessageConfiguration::default()
    });
    let sent = rpc(&worker, "SendMessage", &request).await;
    assert_eq!(sent["error"]["code"], -32602, "{sent}");
}
