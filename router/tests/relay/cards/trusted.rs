//! Signatures of cards: kept, made, and asked for.

use bytes::Bytes;
use daca_router::{Router, config::Flags};
use http::{Response, StatusCode};
use mesh_card::{Algorithm, Keys, Signer};
use tempfile::TempDir;

use super::{
    super::{
        agent::{Agent, Seen},
        card_is_read,
        client::{Client, eventually, send_message},
        router_with,
    },
    CARD,
};

const PAGE: &str = r#"{"name":"n", "description":"", "version":"1", "capabilities":{}, "skills":[],
    "defaultInputModes":[], "defaultOutputModes":[], "supportedInterfaces":[
    {"url":"http://127.0.0.1:1/","protocolBinding":"JSONRPC","protocolVersion":"1.0"}]}"#;

fn private_key() -> String {
    rcgen::KeyPair::generate().unwrap().serialize_pem()
}

/// What an agent's key made of [`PAGE`].
fn signed(key: &str) -> Bytes {
    let signer = Signer::from_pem(key.as_bytes(), "agents-own", None).unwrap();
    Bytes::from(signer.sign(PAGE.as_bytes()).unwrap())
}

async fn agent(page: Bytes) -> Agent {
    Agent::with_pages(move |seen: &Seen| {
        let is_card = seen.path.ends_with("agent-card.json");
        let (status, body) = match is_card {
            true => (StatusCode::OK, page.clone()),
            false => (StatusCode::NOT_FOUND, Bytes::new()),
        };
        Response::builder().status(status).body(body).unwrap()
    })
    .await
}

/// A router with this `[cards]` table, in which `DIR` is a folder with these files.
async fn router_of(
    cards: &str,
    files: &[(&str, &[u8])],
    agents: &[String],
) -> (Router, Client, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    let path = folder.path().join("router.toml");
    let table = cards.replace("DIR", folder.path().to_str().unwrap());
    std::fs::write(&path, format!("[cards]\n{table}")).unwrap();
    let flags = Flags {
        config: Some(path),
        ..Flags::default()
    };
    let (router, client) = router_with(flags, agents).await;
    (router, client, folder)
}

#[tokio::test]
async fn a_card_that_the_router_signs_verifies_by_the_keys_that_it_publishes() {
    let agent = agent(signed(&private_key())).await;
    let table = "mode = \"re-sign\"\nkey = \"DIR/key.pem\"\nkid = \"mesh-1\"\n\
        jku = \"https://mesh.example/.well-known/jwks.json\"";
    let key = private_key();
    let files = [("key.pem", key.as_bytes())];
    let agents = [format!("a={}", agent.url())];
    let (_router, client, _folder) = router_of(table, &files, &agents).await;
    card_is_read(&client, "a").await;
    let published = client.get("/.well-known/jwks.json").await;
    assert_eq!(
        published.header("content-type"),
        Some("application/jwk-set+json")
    );
    assert!(published.json()["keys"][0].get("d").is_none());
    let mut keys = Keys::default();
    let set = "https://mesh.example/.well-known/jwks.json";
    keys.add_set(set, Keys::read(published.bytes()).unwrap());
    let card = client.get(CARD).await;
    let verified = mesh_card::verify(card.bytes(), &keys, &Algorithm::ALL, 0).unwrap();
    assert_eq!(verified.key_id, "mesh-1");
    // A signature of 1.0 covers the fields of 1.0; those that only 0.3 has, nothing can cover.
    assert_eq!(
        verified.uncovered,
        [
            "/additionalInterfaces",
            "/preferredTransport",
            "/protocolVersion",
            "/url"
        ]
    );
    assert!(card.text().contains(&client.address()), "{}", card.text());
    assert_eq!(card.json()["signatures"].as_array().unwrap().len(), 1);
    // Each signature is another; the card, and so its tag, is the same.
    let again = client.get(CARD).await;
    assert_ne!(again.bytes(), card.bytes());
    assert_eq!(again.header("etag"), card.header("etag"));
}

#[tokio::test]
async fn a_card_that_is_preserved_arrives_to_the_byte() {
    let page = signed(&private_key());
    let agent = agent(page.clone()).await;
    let agents = [format!("a={}", agent.url()), format!("b={}", agent.url())];
    let table = "[cards.agent.a]\nmode = \"preserve\"";
    let (_router, client, _folder) = router_of(table, &[], &agents).await;
    card_is_read(&client, "a").await;
    card_is_read(&client, "b").await;
    assert_eq!(client.get(CARD).await.bytes(), &page);
    let other = client.get("/b/.well-known/agent-card.json").await.json();
    assert!(other.get("signatures").is_none());
    let keys = client.get("/.well-known/jwks.json").await;
    assert_eq!(keys.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn where_trust_is_required_only_agents_with_a_signed_card_are_used_and_shown() {
    let (trusted, foreign) = (private_key(), private_key());
    let pages = [
        signed(&trusted),
        signed(&foreign),
        Bytes::from_static(PAGE.as_bytes()),
        Bytes::from(
            String::from_utf8(signed(&trusted).to_vec())
                .unwrap()
                .replace("\"version\":\"1\"", "\"version\":\"2\""),
        ),
    ];
    let mut held = Vec::new();
    let mut agents = Vec::new();
    for (name, page) in ["good", "foreign", "unsigned", "changed"].iter().zip(pages) {
        let agent = agent(page).await;
        agents.push(format!("{name}={}", agent.url()));
        held.push(agent);
    }
    let signer = Signer::from_pem(trusted.as_bytes(), "agents-own", None).unwrap();
    let keys = Keys::of_signers([&signer]).to_jwks();
    let table = "require = true\ntrust = \"DIR/trust.json\"";
    let files = [("trust.json", keys.as_slice())];
    let (_router, client, _folder) = router_of(table, &files, &agents).await;
    card_is_read(&client, "good").await;
    for agent in &held {
        eventually("every card to be asked for", async || {
            agent.seen().iter().any(|seen| seen.path.contains("card"))
        })
        .await;
    }
    let listed = client.get("/agents").await.json();
    let listed = listed["agents"].as_array().unwrap();
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!(listed[0]["name"], "good");
    for name in ["foreign", "unsigned", "changed"] {
        let card = client
            .get(&format!("/{name}/.well-known/agent-card.json"))
            .await;
        assert_eq!(card.status, StatusCode::SERVICE_UNAVAILABLE, "{name}");
        let body = send_message("m", None);
        let answer = client.post(&format!("/{name}"), body.as_bytes(), &[]).await;
        assert!(answer.json().get("error").is_some(), "{name}");
    }
    for agent in &held[1..] {
        assert!(agent.posts().is_empty());
    }
    let catalogue = client.get("/.well-known/api-catalog").await.text();
    assert!(!catalogue.contains("/foreign"), "{catalogue}");
}
