//! A list over replicas that share nothing: whole, in order, once each, or an error.

use std::collections::BTreeSet;

use prost::Message as _;
use serde_json::{Value, json};

use crate::{Agent, Answer, Client, Flags, Router, StatusCode, a2a, agent::Seen, client, grpc};

const CARD: &str = r#"{"name":"n","supportedInterfaces":[
    {"url":"http://127.0.0.1:PORT/rpc","protocolBinding":"JSONRPC","protocolVersion":"1.0"},
    {"url":"http://127.0.0.1:PORT/rest","protocolBinding":"HTTP+JSON","protocolVersion":"1.0"},
    {"url":"127.0.0.1:PORT","protocolBinding":"GRPC","protocolVersion":"1.0"}]}"#;

/// A replica whose tasks have these seconds, latest first. Its token is a count.
fn replica(name: &'static str, seconds: &'static [i64]) -> impl Fn(&Seen) -> Answer {
    move |seen| {
        let (size, token) = asked(seen);
        let start: usize = token.parse().unwrap_or(0);
        let end = (start + size).min(seconds.len());
        let tasks = seconds[start..end].iter();
        let tasks: Vec<_> = tasks.map(|at| (format!("{name}{at}"), *at)).collect();
        let next = if end < seconds.len() {
            end.to_string()
        } else {
            String::new()
        };
        answer(seen, &tasks, &next, seconds.len())
    }
}

/// The page size and token that a replica is asked for.
fn asked(seen: &Seen) -> (usize, String) {
    if seen.path.starts_with("/lf.") {
        let request = a2a::ListTasksRequest::decode(&seen.body[5..]).unwrap();
        return (
            usize::try_from(request.page_size.unwrap()).unwrap(),
            request.page_token,
        );
    }
    if let Some((_, query)) = seen.path.split_once('?') {
        let of = |name: &str| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value.to_owned())
        };
        return (
            of("pageSize").unwrap().parse().unwrap(),
            of("pageToken").unwrap_or_default(),
        );
    }
    let call: Value = serde_json::from_slice(&seen.body).unwrap();
    let params = &call["params"];
    let size = params["pageSize"].as_u64().unwrap();
    let token = params["pageToken"].as_str().unwrap_or_default();
    (usize::try_from(size).unwrap(), token.to_owned())
}

fn answer(seen: &Seen, tasks: &[(String, i64)], next: &str, total: usize) -> Answer {
    let of = |(id, at): &(String, i64)| {
        json!({"id": id, "contextId": format!("c-{id}"),
            "status": {"state": "TASK_STATE_COMPLETED", "timestamp": format!("2026-11-22T20:00:{at:02}Z")}})
    };
    let tasks: Vec<_> = tasks.iter().map(of).collect();
    let list = json!({"tasks": tasks, "nextPageToken": next, "totalSize": total, "pageSize": 0});
    if seen.path.starts_with("/lf.") {
        let list: a2a::ListTasksResponse = serde_json::from_value(list).unwrap();
        return Answer::Grpc(grpc::frame(&list));
    }
    let whole = if seen.path.starts_with("/rest") {
        list
    } else {
        json!({"jsonrpc": "2.0", "id": 1, "result": list})
    };
    Answer::Whole("application/json", whole.to_string())
}

async fn router(urls: &[&str]) -> (Router, Client) {
    let flags = Flags {
        listen: Some("127.0.0.1:0".to_owned()),
        admin: Some("127.0.0.1:0".to_owned()),
        agents: vec![format!("shop={}", urls.join(","))],
        ..Flags::default()
    };
    let router = Router::start(flags.settle().unwrap()).await.unwrap();
    let admin = Client::to(router.addresses().admin.unwrap());
    client::eventually("every member to be known", async || {
        admin.get("/readyz").await.status == StatusCode::OK
    })
    .await;
    let client = Client::to(router.addresses().main);
    (router, client)
}

async fn three() -> Vec<Agent> {
    vec![
        Agent::with_card(CARD, replica("a", &[9, 7, 5, 3, 1])).await,
        Agent::with_card(CARD, replica("b", &[8, 4])).await,
        Agent::with_card(CARD, replica("c", &[6, 2, 0])).await,
    ]
}

fn urls(agents: &[Agent]) -> Vec<&str> {
    agents.iter().map(Agent::url).collect()
}

/// Asks for one page in a binding.
async fn page(client: &Client, binding: &str, size: usize, token: &str) -> Value {
    let version = [("a2a-version", "1.0")];
    match binding {
        "rpc" => {
            let call = json!({"jsonrpc": "2.0", "id": "x 1", "method": "ListTasks",
                "params": {"pageSize": size, "pageToken": token}});
            let answer = client
                .post("/shop", call.to_string().as_bytes(), &version)
                .await;
            assert_eq!(answer.json()["id"], "x 1", "{}", answer.text());
            answer.json()["result"].clone()
        }
        "rest" => {
            let path = format!("/shop/tasks?pageSize={size}&pageToken={token}");
            let answer = client.get_with(&path, &version).await;
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
            answer.json()
        }
        _ => {
            let request = a2a::ListTasksRequest {
                tenant: "shop".to_owned(),
                page_size: Some(i32::try_from(size).unwrap()),
                page_token: token.to_owned(),
                ..a2a::ListTasksRequest::default()
            };
            let path = "/lf.a2a.v1.A2AService/ListTasks";
            let answer = client.grpc(path, grpc::frame(&request), &version).await;
            assert_eq!(answer.header("grpc-status"), Some("0"), "{answer:?}");
            let list = a2a::ListTasksResponse::decode(&answer.bytes()[5..]).unwrap();
            serde_json::to_value(&list).unwrap()
        }
    }
}

/// The ids as the replicas know them, behind their tokens.
fn natives(page: &Value) -> Vec<String> {
    let tasks = page["tasks"].as_array().unwrap().iter();
    tasks
        .map(|task| {
            let id = task["id"].as_str().unwrap();
            assert!(id.starts_with("z1"), "{id} is sealed");
            let context = task["contextId"].as_str().unwrap();
            assert!(context.starts_with("z1"), "{context} is sealed");
            id.rsplit('.').next().unwrap().to_owned()
        })
        .collect()
}

#[tokio::test]
async fn pages_over_three_replicas_join_to_one_list_in_every_binding() {
    let agents = three().await;
    let (_router, client) = router(&urls(&agents)).await;
    let expected = ["a9", "b8", "a7", "c6", "a5", "b4", "a3", "c2", "a1", "c0"];
    for binding in ["rpc", "rest", "grpc"] {
        for size in [1, 3, 4, 100] {
            let seen = walk(&client, binding, size).await;
            assert_eq!(seen, expected, "{binding} by {size}");
        }
    }
}

/// All pages of one size, laid end to end.
async fn walk(client: &Client, binding: &str, size: usize) -> Vec<String> {
    let (mut seen, mut token) = (Vec::new(), String::new());
    loop {
        let page = page(client, binding, size, &token).await;
        assert_eq!(page["totalSize"], 10, "{binding} by {size}");
        assert_eq!(page["pageSize"], size, "{binding} by {size}");
        let ids = natives(&page);
        assert!(ids.len() <= size);
        seen.extend(ids);
        // It is there also when it is empty.
        page["nextPageToken"]
            .as_str()
            .unwrap()
            .clone_into(&mut token);
        if token.is_empty() {
            return seen;
        }
    }
}

#[tokio::test]
async fn a_cursor_goes_on_at_any_router_and_what_is_none_is_refused() {
    let agents = three().await;
    let (_one, first) = router(&urls(&agents)).await;
    let (_two, second) = router(&urls(&agents)).await;
    let begun = page(&first, "rpc", 4, "").await;
    let token = begun["nextPageToken"].as_str().unwrap();
    let gone_on = page(&second, "grpc", 4, token).await;
    assert_eq!(natives(&gone_on), ["a5", "b4", "a3", "c2"]);
    let changed = token.replace(token.get(20..24).unwrap(), "AAAA");
    for (size, token) in [
        (5, "7"),
        (5, changed.as_str()),
        (0, ""),
        (101, ""),
        (-1, ""),
    ] {
        let path = format!("/shop/tasks?pageSize={size}&pageToken={token}");
        let answer = first.get_with(&path, &[("a2a-version", "1.0")]).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.text());
        let words = answer.text();
        assert!(
            words.contains("page") && words.contains("INVALID_PARAMS")
                || words.contains("INVALID_ARGUMENT"),
            "{words}"
        );
    }
}

#[tokio::test]
async fn one_replica_that_cannot_be_asked_makes_the_list_an_error_in_the_callers_binding() {
    let agents = three().await;
    let (_router, client) = router(&urls(&agents)).await;
    agents[1].stop().await;
    let version = [("a2a-version", "1.0")];
    let call = r#"{"jsonrpc":"2.0","id":7,"method":"ListTasks","params":{}}"#;
    let answer = client.post("/shop", call.as_bytes(), &version).await;
    assert_eq!(answer.json()["id"], 7);
    assert_eq!(answer.json()["error"]["data"][0]["reason"], "UNAVAILABLE");
    let answer = client.get_with("/shop/tasks", &version).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    let request = a2a::ListTasksRequest {
        tenant: "shop".to_owned(),
        ..a2a::ListTasksRequest::default()
    };
    let path = "/lf.a2a.v1.A2AService/ListTasks";
    let answer = client.grpc(path, grpc::frame(&request), &version).await;
    assert_eq!(answer.header("grpc-status"), Some("14"), "{answer:?}");
    assert!(!answer.text_lossy().contains("127.0.0.1"));
}

#[tokio::test]
async fn a_replicas_own_refusal_comes_as_it_wrote_it() {
    let refusal = r#"{"jsonrpc":"2.0", "id":7,"error":{"code":-32602,"message":"odd  status"}}"#;
    let agents = [
        Agent::with_card(CARD, replica("a", &[1])).await,
        Agent::with_card(CARD, move |_| Answer::json(refusal)).await,
    ];
    let (_router, client) = router(&urls(&agents)).await;
    let call = r#"{"jsonrpc":"2.0","id":7,"method":"ListTasks","params":{}}"#;
    let answer = client
        .post("/shop", call.as_bytes(), &[("a2a-version", "1.0")])
        .await;
    assert_eq!(answer.text(), refusal);
}

#[tokio::test]
async fn one_replica_alone_is_asked_byte_for_byte_and_keeps_its_own_tokens() {
    let odd = r#"{ "jsonrpc":"2.0","id": 7 ,"result":{"tasks":[ ],"nextPageToken":"7"}}"#;
    let alone = Agent::with_card(CARD, move |_| Answer::json(odd)).await;
    let (_router, client) = router(&[alone.url()]).await;
    let call = r#"{"method":"ListTasks", "params":{"pageToken":"6","later":1.0},"id": 7 ,"jsonrpc":"2.0"}"#;
    let answer = client
        .post("/shop", call.as_bytes(), &[("a2a-version", "1.0")])
        .await;
    assert_eq!(answer.text(), odd);
    assert_eq!(alone.posts().pop().unwrap().body, call);
}

#[tokio::test]
async fn a_list_by_context_asks_one_replica() {
    let agents = three().await;
    let (_router, client) = router(&urls(&agents)).await;
    let call = r#"{"jsonrpc":"2.0","id":7,"method":"ListTasks","params":{"contextId":"mine","pageSize":5}}"#;
    let answer = client
        .post("/shop", call.as_bytes(), &[("a2a-version", "1.0")])
        .await;
    assert!(answer.json()["result"].is_object(), "{}", answer.text());
    let posts: usize = agents.iter().map(|agent| agent.posts().len()).sum();
    assert_eq!(posts, 1);
}

#[tokio::test]
async fn a_list_that_lost_a_replica_goes_on_without_it() {
    let agents = three().await;
    let (_three, before) = router(&urls(&agents)).await;
    let begun = page(&before, "rpc", 2, "").await;
    let token = begun["nextPageToken"].as_str().unwrap();
    let (_two, after) = router(&urls(&agents[..2])).await;
    let rest = page(&after, "rpc", 100, token).await;
    assert_eq!(natives(&rest), ["a7", "a5", "b4", "a3", "a1"]);
    assert_eq!(
        (&rest["totalSize"], &rest["nextPageToken"]),
        (&7.into(), &"".into())
    );
}

#[tokio::test]
async fn ids_of_a_gathered_list_lead_back_to_their_replicas() {
    let agents = three().await;
    let (_router, client) = router(&urls(&agents)).await;
    let list = page(&client, "rest", 10, "").await;
    let mut asked = BTreeSet::new();
    for task in list["tasks"].as_array().unwrap() {
        let id = task["id"].as_str().unwrap();
        let before: Vec<_> = agents.iter().map(|agent| agent.seen().len()).collect();
        client
            .get_with(&format!("/shop/tasks/{id}"), &[("a2a-version", "1.0")])
            .await;
        let now = agents.iter().map(|agent| agent.seen().len());
        let moved = now.zip(before).position(|(now, before)| now > before);
        let replica = ["a", "b", "c"][moved.unwrap()];
        let native = id.rsplit('.').next().unwrap();
        assert!(native.starts_with(replica), "{id} was asked of {replica}");
        asked.insert(replica);
    }
    assert_eq!(asked.len(), 3);
}
