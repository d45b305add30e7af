//! Tasks and conversations that outlive a worker, and workers that share a directory.

use super::*;

fn sharing(dir: &tempfile::TempDir) -> Settings {
    Settings {
        state: Place::Sqlite(dir.path().to_owned()),
        ..Settings::default()
    }
}

#[tokio::test]
async fn another_worker_over_the_same_directory_takes_a_task_on() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (
        worker(sharing(&dir), &["a"]).await,
        worker(sharing(&dir), &["a"]).await,
    );
    let asked = rpc(&one, "SendMessage", &send("ask which city?")).await;
    let task = asked["result"]["task"].clone();
    one.drain().await;

    let read = rpc(&two, "GetTask", &json!({"id": task["id"]})).await;
    assert_eq!(read["result"], task);
    assert_eq!(
        rpc(&two, "ListTasks", &json!({})).await["result"]["totalSize"],
        1
    );
    let mut answer = send("count");
    let message = answer.message.as_mut().unwrap();
    message.task_id = task["id"].as_str().unwrap().to_owned();
    let answered = rpc(&two, "SendMessage", &answer).await["result"]["task"].clone();
    assert_eq!(state(&answered), "TASK_STATE_COMPLETED");
    assert_eq!(answered["artifacts"][0]["parts"][0]["text"], "3");
}

#[tokio::test]
async fn a_task_is_moved_on_by_one_worker_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (
        worker(sharing(&dir), &["a"]).await,
        worker(sharing(&dir), &["a"]).await,
    );
    let waiting = rpc(&one, "SendMessage", &send_now("wait")).await;
    let id = waiting["result"]["task"]["id"].as_str().unwrap().to_owned();
    until(&one, &id, TaskState::Working).await;
    let named = json!({"id": id});
    let mut more = send("say x");
    more.message.as_mut().unwrap().task_id.clone_from(&id);
    // The other worker says of everything whose it is, and does nothing.
    for (method, ask) in [
        ("GetTask", named.clone()),
        ("SubscribeToTask", named.clone()),
        ("CancelTask", named.clone()),
        ("SendMessage", serde_json::to_value(&more).unwrap()),
    ] {
        let refused = rpc_as(&two, request("POST", "/a"), method, &ask).await;
        assert_eq!(refused.status, 421, "{method}");
        assert_eq!(refused.headers["daca-owner"], one.boot(), "{method}");
        let error = refused.json()["error"].clone();
        assert_eq!(error["data"][0]["reason"], "UNAVAILABLE", "{method}");
    }
    assert_eq!(
        rpc(&one, "SendMessage", &more).await["error"]["code"],
        -32004,
        "it takes no message while it works"
    );
    rpc(&one, "CancelTask", &named).await;
    let task = until(&one, &id, TaskState::Canceled).await;
    assert!(task.get("artifacts").is_none());
    let read = rpc(&two, "GetTask", &named).await["result"].clone();
    assert_eq!(read, task, "at rest it is anybody's to tell");
}

#[tokio::test]
async fn a_worker_that_cannot_start_says_why() {
    let start = async |settings: Settings, names: &[&str]| {
        let agents = names.iter().map(|name| agent(name)).collect();
        let started = Worker::start(settings, agents, Registry::default()).await;
        started.map(|_| ()).unwrap_err().to_string()
    };
    assert_eq!(start(Settings::default(), &[]).await, "there is no agent");
    assert_eq!(
        start(Settings::default(), &["a", "a"]).await,
        "agent a is there twice"
    );
    let default = Settings {
        default_agent: AgentName::parse("b").ok(),
        ..Settings::default()
    };
    assert_eq!(
        start(default, &["a"]).await,
        "there is no agent b to be the default"
    );
    let taken = one().await;
    let listen = taken.local_addr().to_string();
    let settings = Settings {
        listen: listen.clone(),
        ..Settings::default()
    };
    assert_eq!(
        start(settings, &["a"]).await,
        format!("cannot listen on {listen}")
    );
}
