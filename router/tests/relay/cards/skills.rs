//! Calls that name a skill and no agent.

use http::StatusCode;
use mesh_proto::{a2a, grpc};
use serde_json::Value;

use super::{
    super::{
        agent::{Agent, Answer, Seen},
        card_is_read,
        client::{Client, send_message},
        router,
    },
    places,
};

const CARD: &str = r#"{"name":"n","skills":[{"id":"sum up","name":"Sums"}],"supportedInterfaces":[
    {"url":"http://127.0.0.1:PORT/rpc","protocolBinding":"JSONRPC","protocolVersion":"1.0"},
    {"url":"http://127.0.0.1:PORT/rest","protocolBinding":"HTTP+JSON","protocolVersion":"1.0"},
    {"url":"127.0.0.1:PORT","protocolBinding":"GRPC","protocolVersion":"1.0","tenant":"own"}]}"#;
const AT: &str = "/skills/sum%20up";

/// An agent that has one task.
async fn agent() -> Agent {
    Agent::with_card(CARD, |seen: &Seen| {
        if seen.path.starts_with("/lf.a2a") {
            return Answer::Grpc(grpc::frame(&a2a::Task {
                id: "t".to_owned(),
                ..a2a::Task::default()
            }));
        }
        if seen.path.starts_with("/rest") {
            return Answer::json(r#"{"id":"t","contextId":"c","status":{"state":"TASK_STATE_WORKING"}}"#);
        }
        let is_get = seen.body.windows(7).any(|part| part == b"GetTask");
        Answer::json(if is_get {
            r#"{"jsonrpc":"2.0","id":1,"result":{"id":"t","contextId":"c","status":{"state":"TASK_STATE_WORKING"}}}"#
        } else {
            r#"{"jsonrpc":"2.0","id":1,"result":{"task":{"id":"t","contextId":"c","status":{"state":"TASK_STATE_WORKING"}}}}"#
        })
    })
    .await
}

/// Three agents with the skill, and one without.
async fn shop() -> (Vec<Agent>, Vec<String>) {
    let mut agents = Vec::new();
    for _ in 0..3 {
        agents.push(agent().await);
    }
    let other = Agent::with_card(r#"{"name":"other"}"#, |_| Answer::json("{}")).await;
    agents.push(other);
    let named = agents.iter().zip(["a", "b", "c", "d"]);
    let named = named.map(|(agent, name)| format!("{name}={}", agent.url()));
    let named = named.collect();
    (agents, named)
}

async fn ready(named: &[String]) -> (daca_router::Router, Client) {
    let (router, client) = router(named).await;
    for name in ["a", "b", "c", "d"] {
        card_is_read(&client, name).await;
    }
    (router, client)
}

/// Which agents were posted to so far, how often.
fn posts(agents: &[Agent]) -> Vec<usize> {
    agents.iter().map(|agent| agent.posts().len()).collect()
}

#[tokio::test]
async fn a_conversation_stays_with_one_agent_whatever_router_it_comes_by() {
    let (agents, named) = shop().await;
    let (_one, one) = ready(&named).await;
    let (_two, two) = ready(&named).await;
    for number in 0..8 {
        let context = format!("conversation-{number}");
        let before = posts(&agents);
        for (client, message) in [(&one, "m-1"), (&two, "m-2"), (&one, "m-3")] {
            let body = send_message(message, Some(&context));
            let answer = client.post(AT, body.as_bytes(), &[]).await;
            assert!(
                answer.json()["result"]["task"].is_object(),
                "{}",
                answer.text()
            );
        }
        let took: Vec<usize> = posts(&agents)
            .iter()
            .zip(&before)
            .map(|(now, then)| now - then)
            .collect();
        assert!(took.contains(&3), "{took:?}");
    }
    let all = posts(&agents);
    assert!(all[..3].iter().all(|count| *count > 0), "{all:?}");
    assert_eq!(all[3], 0, "an agent without the skill was asked");
}

#[tokio::test]
async fn a_task_is_found_again_by_its_id_alone_in_every_binding() {
    let (agents, named) = shop().await;
    let (_one, one) = ready(&named).await;
    let (_two, two) = ready(&named).await;
    for number in 0..6 {
        let before = posts(&agents);
        let body = send_message(&format!("m-{number}"), None);
        let sent = one.post(AT, body.as_bytes(), &[]).await.json();
        let owner = posts(&agents)
            .iter()
            .zip(&before)
            .position(|(now, then)| now > then);
        let owner = &agents[owner.unwrap()];
        let task = sent["result"]["task"]["id"].as_str().unwrap();
        assert!(task.ends_with(".t"), "{task}");
        let seen = |agent: &Agent| agent.seen().last().unwrap().clone();
        let get =
            format!(r#"{{"jsonrpc":"2.0","id":1,"method":"GetTask","params":{{"id":"{task}"}}}}"#);
        let again = two.post(AT, get.as_bytes(), &[]).await.json();
        assert_eq!(again["result"]["id"], task);
        assert!(String::from_utf8_lossy(&seen(owner).body).contains(r#""id":"t""#));
        let again = two.get(&format!("{AT}/tasks/{task}")).await.json();
        assert_eq!(again["id"], task);
        assert_eq!(seen(owner).path, "/rest/tasks/t");
        let request = a2a::GetTaskRequest {
            tenant: "skills/sum%20up".to_owned(),
            id: task.to_owned(),
            history_length: None,
        };
        let path = "/lf.a2a.v1.A2AService/GetTask";
        let before = owner.posts().len();
        let answer = two.grpc(path, grpc::frame(&request), &[]).await;
        assert_eq!(
            answer.header("grpc-status"),
            Some("0"),
            "{:?}",
            answer.headers
        );
        assert_eq!(owner.posts().len(), before + 1);
        let by_metadata = a2a::GetTaskRequest {
            tenant: String::new(),
            ..request
        };
        let told = [("a2a-skill", "sum%20up")];
        two.grpc(path, grpc::frame(&by_metadata), &told).await;
        assert_eq!(owner.posts().len(), before + 2);
    }
}

#[tokio::test]
async fn the_card_of_a_skill_leads_to_whoever_has_it() {
    let (_agents, named) = shop().await;
    let (_router, client) = ready(&named).await;
    let card = client
        .get(&format!("{AT}/.well-known/agent-card.json"))
        .await;
    assert_eq!(card.status, StatusCode::OK, "{}", card.text());
    let at = client.address();
    assert_eq!(
        places(&card.json())[..3],
        [
            format!("JSONRPC 1.0 http://{at}{AT} -"),
            format!("HTTP+JSON 1.0 http://{at}{AT} -"),
            format!("GRPC 1.0 {at} skills/sum%20up"),
        ]
    );
}

#[tokio::test]
async fn where_no_agent_can_be_told_nobody_is_asked() {
    let (agents, named) = shop().await;
    let (_router, client) = ready(&named).await;
    let body = send_message("m", None);
    let unknown = client
        .post("/skills/dance", body.as_bytes(), &[])
        .await
        .json();
    assert_eq!(unknown["error"]["code"], -32601);
    let message = unknown["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("no agent here has the skill `dance`"),
        "{message}"
    );
    let foreign = client.get(&format!("{AT}/tasks/of-nobody")).await;
    assert_eq!(reason(&foreign.json()), "TASK_NOT_FOUND");
    let list = client.get(&format!("{AT}/tasks")).await;
    assert_eq!(reason(&list.json()), "UNSUPPORTED_OPERATION");
    let card = client
        .get("/skills/dance/.well-known/agent-card.json")
        .await;
    assert_eq!(card.status, StatusCode::NOT_FOUND);
    assert_eq!(posts(&agents), [0, 0, 0, 0]);
}

fn reason(error: &Value) -> &str {
    error["error"]["details"][0]["reason"].as_str().unwrap()
}
