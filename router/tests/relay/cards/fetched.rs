//! How an agent's card is asked for, and for how long it is good.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use http::{Response, StatusCode};

use super::{
    super::{
        agent::{Agent, Seen},
        card_is_read,
        client::eventually,
        router,
    },
    CARD,
};

const PAGE: &str = r#"{"name":"n","supportedInterfaces":[
    {"url":"http://127.0.0.1:1/","protocolBinding":"JSONRPC","protocolVersion":"1.0"}]}"#;

/// An agent that gives its card with these headers.
async fn agent(headers: &'static [(&'static str, &'static str)]) -> Agent {
    Agent::with_pages(move |seen| page(seen, headers)).await
}

fn page(seen: &Seen, headers: &[(&'static str, &'static str)]) -> Response<Bytes> {
    let mut answer = Response::builder();
    for (name, value) in headers {
        answer = answer.header(*name, *value);
    }
    if !seen.path.ends_with("agent-card.json") {
        return status(StatusCode::NOT_FOUND);
    }
    if seen.header("if-none-match").is_some() {
        answer = answer.status(StatusCode::NOT_MODIFIED);
        return answer.body(Bytes::new()).unwrap();
    }
    answer.body(Bytes::from_static(PAGE.as_bytes())).unwrap()
}

fn status(status: StatusCode) -> Response<Bytes> {
    Response::builder()
        .status(status)
        .body(Bytes::new())
        .unwrap()
}

fn asked(agent: &Agent) -> Vec<Seen> {
    let mut seen = agent.seen();
    seen.retain(|each| each.path.contains("agent-card.json"));
    seen
}

#[tokio::test]
async fn a_card_that_its_agent_may_change_is_asked_for_by_its_tag_and_date() {
    let agent = agent(&[
        ("cache-control", "no-cache"),
        ("etag", "\"v1\""),
        ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
    ])
    .await;
    let (_router, client) = router(&[format!("a={}", agent.url())]).await;
    card_is_read(&client, "a").await;
    eventually("the card to be asked for again", async || {
        asked(&agent).len() > 2
    })
    .await;
    let seen = asked(&agent);
    assert_eq!(seen[0].header("if-none-match"), None);
    // A 304 need not say the date again.
    for again in &seen[1..] {
        assert_eq!(again.header("if-none-match"), Some("\"v1\""));
        assert_eq!(
            again.header("if-modified-since"),
            Some("Sun, 06 Nov 1994 08:49:37 GMT")
        );
    }
    assert_eq!(client.get(CARD).await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_last_good_card_stays_when_its_agent_has_none_any_more() {
    let is_broken = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&is_broken);
    let agent = Agent::with_pages(move |seen| {
        if told.load(Ordering::Relaxed) {
            return status(StatusCode::BAD_GATEWAY);
        }
        page(seen, &[("cache-control", "no-cache")])
    })
    .await;
    let (_router, client) = router(&[format!("a={}", agent.url())]).await;
    card_is_read(&client, "a").await;
    is_broken.store(true, Ordering::Relaxed);
    let before = asked(&agent).len();
    eventually("the card to be asked for in vain", async || {
        asked(&agent).len() > before + 1
    })
    .await;
    let card = client.get(CARD).await;
    assert_eq!(
        (card.status, &card.json()["name"]),
        (StatusCode::OK, &"n".into())
    );
}

#[tokio::test]
async fn nobody_keeps_a_card_for_longer_than_its_agent_says() {
    for (said, told) in [
        ("max-age=30", "public, max-age=30"),
        ("max-age=86400", "public, max-age=60"),
        ("no-store", "no-store"),
        ("private", "no-store"),
    ] {
        let headers: &'static [_] = Box::leak(Box::new([("cache-control", said)]));
        let agent = agent(headers).await;
        let (_router, client) = router(&[format!("a={}", agent.url())]).await;
        card_is_read(&client, "a").await;
        let card = client.get(CARD).await;
        let control = card.header("cache-control").unwrap();
        // A card may have been a second on its way.
        let older = told.replace("30", "29").replace("60", "59");
        assert!(control == told || control == older, "{said}: {control}");
    }
}

#[tokio::test]
async fn a_reader_with_a_date_and_no_tag_is_answered_by_the_date() {
    let agent = agent(&[]).await;
    let (_router, client) = router(&[format!("a={}", agent.url())]).await;
    card_is_read(&client, "a").await;
    let first = client.get(CARD).await;
    let date = first.header("last-modified").unwrap();
    let again = client.get_with(CARD, &[("if-modified-since", date)]).await;
    assert_eq!(again.status, StatusCode::NOT_MODIFIED);
    let old = "Sun, 06 Nov 1994 08:49:37 GMT";
    let again = client.get_with(CARD, &[("if-modified-since", old)]).await;
    assert_eq!(again.status, StatusCode::OK);
    // A tag that does not fit outweighs a date that does.
    let both = [("if-none-match", "\"x\""), ("if-modified-since", date)];
    assert_eq!(client.get_with(CARD, &both).await.status, StatusCode::OK);
}
