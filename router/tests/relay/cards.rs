//! Cards and the catalogue, as a client gets them.

mod extended;
mod fetched;
mod skills;
mod trusted;

use http::StatusCode;
use serde_json::{Value, json};

use super::{
    agent::{Agent, Answer},
    card_is_read,
    client::Client,
    router,
};

const CARD: &str = "/a/.well-known/agent-card.json";

/// An agent that speaks one binding of one version.
const NEW: &str = r#"{"name":"new","skills":[{"id":"sum","name":"Sums","tags":["Math"]}],
    "supportedInterfaces":[
        {"url":"http://127.0.0.1:PORT/rpc","protocolBinding":"JSONRPC","protocolVersion":"1.0"}]}"#;
const OLD: &str = r#"{"name":"old","url":"http://127.0.0.1:PORT/rest","preferredTransport":"HTTP+JSON",
    "protocolVersion":"0.3.0","skills":[{"id":"draw","name":"Draws","description":"","tags":["art"]}]}"#;

async fn agent(card: &str) -> Agent {
    Agent::with_card(card, |_| Answer::json("{}")).await
}

fn places(card: &Value) -> Vec<String> {
    let all = card["supportedInterfaces"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    all.iter()
        .map(|each| {
            let names = ["protocolBinding", "protocolVersion", "url", "tenant"];
            names.map(|name| text(&each[name])).join(" ")
        })
        .collect()
}

#[tokio::test]
async fn an_agent_with_one_binding_is_offered_in_every_binding_of_both_versions() {
    let (new, old) = (agent(NEW).await, agent(OLD).await);
    let (_router, client) = router(&[format!("a={}", new.url()), format!("b={}", old.url())]).await;
    card_is_read(&client, "a").await;
    card_is_read(&client, "b").await;
    let at = client.address();
    let a = client.get(CARD).await.json();
    // Over gRPC of 0.3 nothing could tell which of two agents is meant.
    assert_eq!(
        places(&a),
        [
            format!("JSONRPC 1.0 http://{at}/a -"),
            format!("HTTP+JSON 1.0 http://{at}/a -"),
            format!("GRPC 1.0 {at} a"),
            format!("JSONRPC 0.3 http://{at}/a -"),
            format!("HTTP+JSON 0.3 http://{at}/a -"),
        ]
    );
    assert_eq!(
        (&a["url"], &a["preferredTransport"], &a["protocolVersion"]),
        (
            &json!(format!("http://{at}/a")),
            &json!("JSONRPC"),
            &json!("0.3.0")
        )
    );
    // What readers of 0.3 require is there, though this agent never said it.
    for name in ["defaultInputModes", "defaultOutputModes", "skills"] {
        assert!(a[name].is_array(), "{name}: {a}");
    }
    assert!(
        a["capabilities"].is_object() && a["skills"][0]["description"] == "",
        "{a}"
    );
    let b = client.get("/b/.well-known/agent.json").await.json();
    assert_eq!(b["preferredTransport"], "HTTP+JSON");
    assert_eq!(places(&b)[0], format!("JSONRPC 1.0 http://{at}/b -"));
    assert_eq!(places(&b)[3], format!("HTTP+JSON 0.3 http://{at}/b -"));
}

#[tokio::test]
async fn the_agent_of_the_root_is_offered_in_0_3_over_grpc_too() {
    let agent = agent(NEW).await;
    let (_router, client) = router(&[format!("a={}", agent.url())]).await;
    card_is_read(&client, "a").await;
    let card = client.get("/.well-known/agent-card.json").await.json();
    let last = format!("GRPC 0.3 {} -", client.address());
    assert_eq!(places(&card).last(), Some(&last));
}

#[tokio::test]
async fn a_card_that_its_reader_has_is_not_sent_again() {
    let agent = agent(NEW).await;
    let (_router, client) = router(&[format!("a={}", agent.url())]).await;
    card_is_read(&client, "a").await;
    let first = client.get(CARD).await;
    let tag = first.header("etag").unwrap();
    assert!(tag.starts_with("W/\""), "{tag}");
    let control = first.header("cache-control").unwrap();
    assert!(control.starts_with("public, max-age="), "{control}");
    assert!(first.header("vary").unwrap().contains("x-forwarded-host"));
    let strong = tag.trim_start_matches("W/");
    for known in [tag, strong, "*", &format!("\"other\", {strong}")] {
        let again = client.get_with(CARD, &[("if-none-match", known)]).await;
        assert_eq!(again.status, StatusCode::NOT_MODIFIED, "{known}");
        assert_eq!(again.header("etag"), Some(tag));
    }
    let other = client
        .get_with(CARD, &[("if-none-match", "\"other\"")])
        .await;
    assert_eq!(other.status, StatusCode::OK);
    let head = client.head(CARD).await;
    assert_eq!((head.status, head.bytes().len()), (StatusCode::OK, 0));
    assert_eq!(head.header("etag"), Some(tag));
    assert_eq!(
        head.header("content-length"),
        Some(&*first.bytes().len().to_string())
    );
}

#[tokio::test]
async fn behind_a_proxy_a_card_carries_the_proxys_address() {
    let agent = agent(NEW).await;
    let (_router, client) = router(&[format!("a={}", agent.url())]).await;
    card_is_read(&client, "a").await;
    let told = [
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "mesh.example"),
        ("x-forwarded-prefix", "/agents-of-ours"),
    ];
    let card = client.get_with(CARD, &told).await.json();
    assert_eq!(card["url"], "https://mesh.example/agents-of-ours/a");
    assert_eq!(places(&card)[2], "GRPC 1.0 mesh.example:443 a");
    let standard = [("forwarded", "for=10.0.0.1;host=mesh.example;proto=https")];
    let card = client.get_with(CARD, &standard).await.json();
    assert_eq!(card["url"], "https://mesh.example/a");
}

#[tokio::test]
async fn the_catalogue_is_searched_by_skill_and_tag_and_read_in_pages() {
    let (new, old) = (agent(NEW).await, agent(OLD).await);
    let agents = [
        format!("a={}", new.url()),
        format!("b={}", old.url()),
        format!("c={}", new.url()),
    ];
    let (_router, client) = router(&agents).await;
    for name in ["a", "b", "c"] {
        card_is_read(&client, name).await;
    }
    let found = async |path: &str| names(&client, path).await.0;
    assert_eq!(found("/agents").await, ["a", "b", "c"]);
    assert_eq!(found("/agents?skill=sum").await, ["a", "c"]);
    assert_eq!(found("/agents?tag=math&skill=sum").await, ["a", "c"]);
    assert_eq!(found("/agents?tag=ART").await, ["b"]);
    assert!(found("/agents?tag=art&skill=sum").await.is_empty());
    let (first, next) = names(&client, "/agents?limit=2").await;
    assert_eq!(first, ["a", "b"]);
    let next = next.unwrap();
    let next = next.strip_prefix(&format!("http://{}", client.address()));
    assert_eq!(
        names(&client, next.unwrap()).await,
        (vec!["c".to_owned()], None)
    );
    let odd = client.get("/agents?limit=0").await;
    assert_eq!(odd.status, StatusCode::BAD_REQUEST);
    let listed = client.get("/agents?tag=art").await.json();
    assert_eq!(
        listed["agents"][0]["skills"],
        json!([{"id":"draw","name":"Draws","tags":["art"]}])
    );
}

async fn names(client: &Client, path: &str) -> (Vec<String>, Option<String>) {
    let page = client.get(path).await.json();
    let agents = page["agents"].as_array().unwrap().iter();
    let names = agents.map(|agent| agent["name"].as_str().unwrap().to_owned());
    (names.collect(), page["next"].as_str().map(str::to_owned))
}

#[tokio::test]
async fn programs_find_the_catalogue_where_the_standard_says() {
    let agent = agent(NEW).await;
    let (_router, client) = router(&[format!("a={}", agent.url())]).await;
    let path = "/.well-known/api-catalog";
    let answer = client.get(path).await;
    let kind = answer.header("content-type").unwrap();
    assert!(
        kind.starts_with("application/linkset+json; profile="),
        "{kind}"
    );
    let base = format!("http://{}", client.address());
    assert_eq!(
        answer.json(),
        json!({"linkset":[
            {"anchor": format!("{base}{path}"), "item":[{"href": format!("{base}/a")}]},
            {"anchor": format!("{base}/a"), "service-desc":[
                {"href": format!("{base}/a/.well-known/agent-card.json"), "type":"application/json"}]}]})
    );
    let head = client.head(path).await;
    assert_eq!(head.bytes().len(), 0);
    assert_eq!(
        head.header("link"),
        Some(&*format!("<{base}{path}>; rel=\"api-catalog\""))
    );
}
