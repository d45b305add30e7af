//! Extended cards: the agent's answer to one caller, with the router's addresses.

use bytes::Bytes;
use mesh_proto::{a2a, grpc};
use prost::Message as _;

use super::{
    super::{
        agent::{Agent, Answer, Seen},
        card_is_read, router,
    },
    places,
};

const CARD: &str = r#"{"name":"n","capabilities":{"extendedAgentCard":true},"supportedInterfaces":[
    {"url":"http://127.0.0.1:PORT/rpc","protocolBinding":"JSONRPC","protocolVersion":"1.0"},
    {"url":"http://127.0.0.1:PORT/rest","protocolBinding":"HTTP+JSON","protocolVersion":"1.0"},
    {"url":"127.0.0.1:PORT","protocolBinding":"GRPC","protocolVersion":"1.0"}]}"#;
const EXTENDED: &str = r#"{"name":"n","x-kept":1,"skills":[{"id":"secret"}],"signatures":[{"protected":"a"}],
    "supportedInterfaces":[{"url":"http://10.0.0.1/rpc","protocolBinding":"JSONRPC","protocolVersion":"1.0"}]}"#;

fn answer(seen: &Seen) -> Answer {
    if seen.header("authorization") != Some("Bearer known") {
        return Answer::json(r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32007,"message":"no"}}"#);
    }
    if seen.path.starts_with("/lf.a2a") {
        let place = a2a::AgentInterface {
            url: "10.0.0.1:80".to_owned(),
            protocol_binding: "GRPC".to_owned(),
            protocol_version: "1.0".to_owned(),
            tenant: "own".to_owned(),
        };
        return Answer::Grpc(grpc::frame(&a2a::AgentCard {
            name: "n".to_owned(),
            supported_interfaces: vec![place],
            ..a2a::AgentCard::default()
        }));
    }
    let body = match seen.path.as_str() {
        "/rest/extendedAgentCard" => EXTENDED.to_owned(),
        _ => format!(r#"{{"jsonrpc":"2.0","id":7,"result":{EXTENDED}}}"#),
    };
    Answer::Whole("application/json", body)
}

#[tokio::test]
async fn an_extended_card_is_its_callers_alone_and_shows_the_router() {
    let agent = Agent::with_card(CARD, answer).await;
    let (_router, client) = router(&[format!("a={}", agent.url())]).await;
    card_is_read(&client, "a").await;
    let known = [("authorization", "Bearer known"), ("a2a-version", "1.0")];
    let at = client.address();
    let ask = r#"{"jsonrpc":"2.0","id":7,"method":"GetExtendedAgentCard","params":{}}"#;
    let by_rpc = client.post("/a", ask.as_bytes(), &known).await;
    let by_rest = client.get_with("/a/extendedAgentCard", &known).await;
    let rpc_card = by_rpc.json()["result"].clone();
    assert_eq!(by_rpc.json()["id"], 7);
    for (answer, card) in [(&by_rpc, rpc_card), (&by_rest, by_rest.json())] {
        assert_eq!(answer.header("cache-control"), Some("private, no-store"));
        assert_eq!(answer.header("etag"), None);
        assert!(!answer.text().contains("10.0.0.1"), "{}", answer.text());
        assert_eq!(places(&card)[0], format!("JSONRPC 1.0 http://{at}/a -"));
        assert_eq!(
            (&card["x-kept"], &card["skills"][0]["id"]),
            (&1.into(), &"secret".into())
        );
        // Words of 0.3 have no place in an answer of 1.0, and the signature does not fit any more.
        assert!(
            card.get("url").is_none() && card.get("signatures").is_none(),
            "{card}"
        );
    }
    let request = grpc::frame(&a2a::GetExtendedAgentCardRequest {
        tenant: "a".to_owned(),
    });
    let path = "/lf.a2a.v1.A2AService/GetExtendedAgentCard";
    let by_grpc = client.grpc(path, request, &known).await;
    assert_eq!(
        by_grpc.header("grpc-status"),
        Some("0"),
        "{:?}",
        by_grpc.headers
    );
    let message: Bytes = by_grpc.bytes().slice(5..);
    let card = a2a::AgentCard::decode(message).unwrap();
    let place = &card.supported_interfaces[0];
    assert_eq!(
        (place.url.as_str(), place.tenant.as_str()),
        (at.as_str(), "a/own")
    );
    assert_eq!(by_grpc.header("cache-control"), Some("private, no-store"));
    // Nothing of it is kept: the public card has no such skill.
    let public = client.get("/a/.well-known/agent-card.json").await;
    assert!(!public.text().contains("secret"));
}

#[tokio::test]
async fn a_caller_whom_the_agent_does_not_know_gets_the_agents_own_words() {
    let agent = Agent::with_card(CARD, answer).await;
    let (_router, client) = router(&[format!("a={}", agent.url())]).await;
    card_is_read(&client, "a").await;
    let ask = r#"{"jsonrpc":"2.0","id":7,"method":"GetExtendedAgentCard","params":{}}"#;
    let refused = client
        .post("/a", ask.as_bytes(), &[("a2a-version", "1.0")])
        .await;
    assert_eq!(
        refused.text(),
        r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32007,"message":"no"}}"#
    );
    assert_eq!(refused.header("cache-control"), Some("private, no-store"));
}
