//! The lines to paste when the mesh is up: the same agents by `curl`, `grpcurl` and `daca`.

use serde_json::json;

use crate::quote::{program, quote};

/// Everything to print, for a router's base URL and the agents behind it.
pub(super) fn lines(router: &str, agents: &[String]) -> Vec<String> {
    let daca = program();
    let mut lines = vec![
        String::new(),
        format!(
            "The mesh is up: {router}  (agents: {}; Ctrl-C stops it)",
            agents.join(", ")
        ),
    ];
    let Some(first) = agents.first() else {
        return lines;
    };
    let question = example(first);
    lines.extend([
        String::new(),
        "# JSON-RPC".to_owned(),
        json_rpc(router, first, question),
        "# HTTP+JSON".to_owned(),
        rest(router, first, question),
        "# gRPC".to_owned(),
        grpc(router, first, question),
        "# any client of OpenAI's: base URL, and an agent's name as the model".to_owned(),
        chat(router, first, question),
        "# the client of this program, against these or any other A2A agents".to_owned(),
    ]);
    for agent in agents {
        let url = format!("{router}/{agent}");
        lines.push(format!("{daca} send {url} {}", quote(example(agent))));
    }
    lines.extend([
        format!("{daca} stream {router}/{first} {}", quote(question)),
        format!("{daca} tasks list {router}/{first}"),
        format!("{daca} card {router}/{first}"),
        format!("{daca} route explain --router {router} --agent {first} --context my-conversation"),
        String::new(),
    ]);
    lines
}

/// A question that shows what an example agent does.
fn example(agent: &str) -> &'static str {
    match agent {
        "planner" => "plan: what time is it in Tokyo, and what is 17*23+4?",
        "desk" => "book a desk",
        _ => "what time is it in Tokyo?",
    }
}

fn json_rpc(router: &str, agent: &str, question: &str) -> String {
    let body = json!({
        "jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": message(question)},
    });
    curl(&format!("{router}/{agent}"), &body.to_string())
}

fn rest(router: &str, agent: &str, question: &str) -> String {
    let body = json!({"message": message(question)});
    curl(&format!("{router}/{agent}/message:send"), &body.to_string())
}

fn chat(router: &str, agent: &str, question: &str) -> String {
    let messages = json!([{"role": "user", "content": question}]);
    let body = json!({"model": agent, "messages": messages});
    format!(
        "curl -s {router}/v1/chat/completions -H 'content-type: application/json' -d {}",
        quote(&body.to_string())
    )
}

fn grpc(router: &str, agent: &str, question: &str) -> String {
    let body = json!({"tenant": agent, "message": message(question)});
    let authority = router
        .split_once("://")
        .map_or(router, |(_, authority)| authority);
    format!(
        "grpcurl -plaintext -H 'a2a-version: 1.0' -d {} {authority} lf.a2a.v1.A2AService/SendMessage",
        quote(&body.to_string())
    )
}

fn curl(url: &str, body: &str) -> String {
    format!(
        "curl -s {url} -H 'content-type: application/json' -H 'a2a-version: 1.0' -d {}",
        quote(body)
    )
}

/// Each line has a message id of its own: a worker answers one that it knows from its memory.
fn message(question: &str) -> serde_json::Value {
    json!({
        "messageId": uuid::Uuid::new_v4().to_string(), "role": "ROLE_USER",
        "parts": [{"text": question}],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_agent_and_every_binding_has_its_line() {
        let agents = [
            "assistant".to_owned(),
            "planner".to_owned(),
            "desk".to_owned(),
        ];
        let text = lines("http://127.0.0.1:8080", &agents).join("\n");
        for expected in [
            "curl -s http://127.0.0.1:8080/assistant -H",
            "curl -s http://127.0.0.1:8080/assistant/message:send -H",
            "curl -s http://127.0.0.1:8080/v1/chat/completions -H",
            "127.0.0.1:8080 lf.a2a.v1.A2AService/SendMessage",
            " send http://127.0.0.1:8080/desk ",
            " send http://127.0.0.1:8080/planner ",
            " route explain --router http://127.0.0.1:8080 --agent assistant",
        ] {
            assert!(text.contains(expected), "{expected} is missing in\n{text}");
        }
    }
}
