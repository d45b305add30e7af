//! Notifications that go through the router: the agent gets our address, the client its own ids.

use prost::Message as _;
use serde_json::{Value, json};

use crate::{
    Agent, Answer, Client, Flags, Router, StatusCode, a2a,
    agent::{self, Seen},
    client, grpc,
};

const CARD: &str = r#"{"name":"n","capabilities":{"pushNotifications":true,"streaming":true},
    "supportedInterfaces":[
    {"url":"http://127.0.0.1:PORT/rpc","protocolBinding":"JSONRPC","protocolVersion":"1.0"},
    {"url":"http://127.0.0.1:PORT/rest","protocolBinding":"HTTP+JSON","protocolVersion":"1.0"},
    {"url":"127.0.0.1:PORT","protocolBinding":"GRPC","protocolVersion":"1.0"}]}"#;
const VERSION: [(&str, &str); 1] = [("a2a-version", "1.0")];
const ENDS: &str = "mesh_router_notifications_total";

/// An agent that gives back the configuration that it gets, and answers a send with a task.
fn echo(name: &'static str) -> impl Fn(&Seen) -> Answer {
    move |seen| {
        if let Some(method) = seen.path.strip_prefix("/lf.a2a.v1.A2AService/") {
            let message = seen.body.slice(5..);
            assert_eq!(method, "CreateTaskPushNotificationConfig");
            let config = a2a::TaskPushNotificationConfig::decode(message).unwrap();
            return Answer::Grpc(grpc::frame(&config));
        }
        let call: Value = serde_json::from_slice(&seen.body).unwrap();
        if seen.path.starts_with("/rest") {
            return Answer::Whole("application/json", call.to_string());
        }
        let result = match call["method"].as_str().unwrap() {
            "SendMessage" => {
                json!({"task": {"id": format!("{name}-t"), "contextId": format!("{name}-c"),
                "status": {"state": "TASK_STATE_WORKING"}}})
            }
            "ListTaskPushNotificationConfigs" => json!({"configs": [call["params"]["known"]]}),
            _ => call["params"].clone(),
        };
        let answer = json!({"jsonrpc": "2.0", "id": call["id"], "result": result});
        Answer::Whole("application/json", answer.to_string())
    }
}

struct Mesh {
    agents: Vec<Agent>,
    routers: Vec<Router>,
    clients: Vec<Client>,
}

impl Mesh {
    async fn start(replicas: usize, routers: usize, allow: &[&str]) -> Self {
        let mut agents = Vec::new();
        for name in ["a", "b", "c"].into_iter().take(replicas) {
            agents.push(Agent::with_card(CARD, echo(name)).await);
        }
        let urls: Vec<_> = agents.iter().map(Agent::url).collect();
        let mut mesh = Self {
            routers: Vec::new(),
            clients: Vec::new(),
            agents: Vec::new(),
        };
        for _ in 0..routers {
            let flags = Flags {
                listen: Some("127.0.0.1:0".to_owned()),
                admin: Some("127.0.0.1:0".to_owned()),
                agents: vec![format!("shop={}", urls.join(","))],
                push_allow: allow.iter().map(|&net| net.to_owned()).collect(),
                ..Flags::default()
            };
            let router = Router::start(flags.settle().unwrap()).await.unwrap();
            let admin = Client::to(router.addresses().admin.unwrap());
            client::eventually("every member to be known", async || {
                admin.get("/readyz").await.status == StatusCode::OK
            })
            .await;
            mesh.clients.push(Client::to(router.addresses().main));
            mesh.routers.push(router);
        }
        mesh.agents = agents;
        mesh
    }

    /// What the replicas were posted last.
    fn last(&self) -> Seen {
        let posts = self.agents.iter().filter_map(|agent| agent.posts().pop());
        posts.last().unwrap()
    }

    async fn rpc(&self, method: &str, params: Value) -> Value {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let body = body.to_string();
        let answer = self.clients[0].post("/shop", body.as_bytes(), &VERSION);
        answer.await.json()
    }

    /// Sends a message with a webhook; the ids that the client sees, and the address that the agent got.
    async fn send(&self, webhook: &str) -> (String, String, String) {
        let answer = self
            .rpc(
                "SendMessage",
                json!({
                    "message": {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "x"}]},
                    "configuration": {"taskPushNotificationConfig": {"url": webhook, "token": "t-1",
                        "authentication": {"scheme": "Bearer", "credentials": "c-1"}}},
                }),
            )
            .await;
        let task = &answer["result"]["task"];
        let seen: Value = serde_json::from_slice(&self.last().body).unwrap();
        let config = &seen["params"]["configuration"]["taskPushNotificationConfig"];
        assert_eq!(config["token"], "t-1");
        assert_eq!(config["authentication"]["credentials"], "c-1");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (
            text(&task["id"]),
            text(&task["contextId"]),
            text(&config["url"]),
        )
    }

    async fn ends(&self, outcome: &str) -> String {
        let admin = Client::to(self.routers[0].addresses().admin.unwrap());
        let metrics = admin.get("/metrics").await.text();
        let wanted = format!("{ENDS}{{outcome=\"{outcome}\"}} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&wanted));
        line.unwrap_or_else(|| panic!("{outcome} in {metrics}"))
            .to_owned()
    }
}

/// The path of an address of a router's.
fn path(url: &str) -> &str {
    let start = url.find("/-/push/").unwrap();
    url.get(start..).unwrap()
}

fn native(id: &str) -> &str {
    assert!(id.starts_with("z1"), "{id}");
    id.rsplit('.').next().unwrap()
}

#[tokio::test]
async fn a_webhook_hears_of_the_ids_that_its_client_holds_from_whatever_router() {
    let mesh = Mesh::start(3, 2, &["127.0.0.0/8"]).await;
    let hook = Agent::answering(|_| Answer::json("{}")).await;
    let (task, context, given) = mesh.send(&format!("{}/hook?a=b", hook.url())).await;
    assert!(given.starts_with("http://127.0.0.1:"), "{given}");
    assert!(!given.contains("hook"), "{given} tells nothing");
    for (number, client) in mesh.clients.iter().enumerate() {
        let body = format!(
            "{{ \"statusUpdate\": {{\"taskId\":\"{}\",\"contextId\":\"{}\",\"metadata\":{{\"n\":{number}.0}}}}}}",
            native(&task),
            native(&context)
        );
        let headers = [
            ("authorization", "Bearer c-1"),
            ("x-a2a-notification-token", "t-1"),
            ("cookie", "of-the-agent"),
        ];
        let answer = client.post(path(&given), body.as_bytes(), &headers).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        let told = hook.posts().pop().unwrap();
        let expected =
            body.replacen(native(&task), &task, 1)
                .replacen(native(&context), &context, 1);
        assert_eq!(told.body, expected);
        assert_eq!(told.path, "/hook?a=b");
        assert_eq!(told.header("authorization"), Some("Bearer c-1"));
        assert_eq!(told.header("x-a2a-notification-token"), Some("t-1"));
        assert_eq!(told.header("content-type"), Some("application/json"));
        assert_eq!(told.header("cookie"), None);
        assert_eq!(told.header("a2a-version"), Some("1.0"), "the client's own");
    }
    assert_eq!(mesh.ends("delivered").await, "1");
}

#[tokio::test]
async fn a_configuration_shows_the_clients_address_and_the_agent_has_ours_in_every_binding() {
    let mesh = Mesh::start(2, 1, &[]).await;
    let (task, ..) = mesh.send("https://client.example/inline").await;
    let url = "https://client.example/hook";
    let answer = mesh
        .rpc(
            "CreateTaskPushNotificationConfig",
            json!({"taskId": task, "url": url, "token": "t"}),
        )
        .await;
    let result = &answer["result"];
    assert_eq!(
        (&result["url"], &result["taskId"], &result["token"]),
        (&url.into(), &task.as_str().into(), &"t".into())
    );
    let seen: Value = serde_json::from_slice(&mesh.last().body).unwrap();
    assert_eq!(seen["params"]["taskId"], native(&task));
    let ours = seen["params"]["url"].as_str().unwrap().to_owned();
    assert!(ours.contains("/-/push/1"), "{ours}");

    // A list of what the agent has: ours comes back as theirs, a stranger's as it is.
    let known = json!({"id": "c", "taskId": native(&task), "url": ours});
    let listed = mesh
        .rpc(
            "ListTaskPushNotificationConfigs",
            json!({"taskId": task, "known": known}),
        )
        .await;
    assert_eq!(listed["result"]["configs"][0]["url"], url);
    let strange = json!({"id": "c", "taskId": native(&task), "url": format!("{url}/-/push/1")});
    let listed = mesh
        .rpc(
            "ListTaskPushNotificationConfigs",
            json!({"taskId": task, "known": strange}),
        )
        .await;
    assert_eq!(
        listed["result"]["configs"][0]["url"],
        format!("{url}/-/push/1")
    );

    let rest = format!("/shop/tasks/{task}/pushNotificationConfigs");
    let body = json!({"url": url, "taskId": task}).to_string();
    let answer = mesh.clients[0].post(&rest, body.as_bytes(), &VERSION).await;
    assert_eq!(answer.json()["url"], url, "{}", answer.text());
    assert!(String::from_utf8_lossy(&mesh.last().body).contains("/-/push/1"));

    let request = a2a::TaskPushNotificationConfig {
        tenant: "shop".to_owned(),
        task_id: task.clone(),
        url: url.to_owned(),
        ..a2a::TaskPushNotificationConfig::default()
    };
    let rpc = "/lf.a2a.v1.A2AService/CreateTaskPushNotificationConfig";
    let answer = mesh.clients[0]
        .grpc(rpc, grpc::frame(&request), &VERSION)
        .await;
    let config = a2a::TaskPushNotificationConfig::decode(&answer.bytes()[5..]).unwrap();
    assert_eq!((config.url.as_str(), config.task_id), (url, task));
    let seen = a2a::TaskPushNotificationConfig::decode(&mesh.last().body[5..]).unwrap();
    assert!(seen.url.contains("/-/push/1"), "{}", seen.url);
}

#[tokio::test]
async fn a_webhook_that_fails_is_the_agents_to_try_again() {
    let mesh = Mesh::start(2, 1, &["127.0.0.0/8"]).await;
    let body = br#"{"task":{"id":"a-t"}}"#;
    let failing = Agent::answering(|_| Answer::Failure(StatusCode::INTERNAL_SERVER_ERROR)).await;
    let moved = Agent::answering(|_| Answer::Failure(StatusCode::TEMPORARY_REDIRECT)).await;
    let dead = agent::dead_url().await;
    for url in [failing.url(), moved.url(), &dead] {
        let (_, _, given) = mesh.send(url).await;
        let answer = mesh.clients[0].post(path(&given), body, &[]).await;
        assert_eq!(
            answer.status,
            StatusCode::BAD_GATEWAY,
            "{url}: {}",
            answer.text()
        );
        assert!(!answer.text().contains("127.0.0.1"), "{}", answer.text());
    }
    assert_eq!(mesh.ends("failed").await, "3");
}

#[tokio::test]
async fn an_address_that_is_refused_is_told_to_the_client_and_never_reaches_the_agent() {
    let mesh = Mesh::start(2, 1, &["10.0.0.0/8"]).await;
    for (url, reason) in [
        ("http://127.0.0.1:1/hook", "not public"),
        ("https://169.254.169.254/", "not public"),
        ("http://client.example.com@10.0.0.1/", "user name"),
        ("ftp://client.example/", "https"),
    ] {
        let answer = mesh
            .rpc(
                "CreateTaskPushNotificationConfig",
                json!({"taskId": "t", "url": url}),
            )
            .await;
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains(reason), "{message}");
    }
    assert!(mesh.agents.iter().all(|agent| agent.posts().is_empty()));
}

#[tokio::test]
async fn what_is_no_address_of_ours_and_what_is_no_notification_goes_nowhere() {
    let mesh = Mesh::start(2, 1, &["127.0.0.0/8"]).await;
    let hook = Agent::answering(|_| Answer::json("{}")).await;
    let (_, _, given) = mesh.send(hook.url()).await;
    let client = &mesh.clients[0];
    let task = br#"{"task":{"id":"a-t"}}"#;
    let forged = format!("{}A", path(&given));
    for wrong in ["/-/push/", "/-/push/10.AAAA", &forged] {
        let answer = client.post(wrong, task, &[]).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{wrong}");
    }
    for wrong in [&b"no json"[..], b"[1]", b""] {
        let answer = client.post(path(&given), wrong, &[]).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{wrong:?}");
    }
    let answer = client.get(path(&given)).await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    assert!(hook.seen().is_empty());
    assert_eq!(
        (mesh.ends("unknown").await, mesh.ends("unreadable").await),
        ("3".into(), "3".into())
    );
}

#[tokio::test]
async fn a_name_that_leads_home_is_refused_when_it_is_called_and_one_router_may_allow_it() {
    let hook = Agent::answering(|_| Answer::json("{}")).await;
    let port = hook.url().rsplit(':').next().unwrap();
    let mesh = Mesh::start(2, 1, &[]).await;
    let (_, _, given) = mesh.send(&format!("https://localhost:{port}/")).await;
    let task = br#"{"task":{"id":"a-t"}}"#;
    let answer = mesh.clients[0].post(path(&given), task, &[]).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN, "{}", answer.text());
    assert!(hook.seen().is_empty());
    assert_eq!(mesh.ends("refused").await, "1");
}

#[tokio::test]
async fn one_replica_alone_keeps_the_address_that_the_client_gave() {
    let mesh = Mesh::start(1, 1, &[]).await;
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"CreateTaskPushNotificationConfig", "params":{"taskId":"t","url":"http://127.0.0.1:1/"}}"#;
    mesh.clients[0]
        .post("/shop", body.as_bytes(), &VERSION)
        .await;
    assert_eq!(mesh.last().body, body);
}
