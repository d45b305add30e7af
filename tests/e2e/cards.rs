//! Cards and the catalogue show the router, never a worker.

use anyhow::{Context as _, Result, ensure};
use mesh_proto::Binding;
use mesh_tests::{
    mesh::{EXAMPLES, Node},
    wire::Ask,
};
use serde_json::Value;

use crate::stage::mesh;

#[tokio::test]
async fn every_interface_of_a_card_carries_the_address_by_which_it_was_asked_for() -> Result<()> {
    let mesh = mesh(2).start().await?;
    let router = mesh.router();
    for agent in EXAMPLES {
        let card = router.caller(agent, Binding::JsonRpc).card().await?;
        ensure!(card["name"] == agent, "{card}");
        let interfaces = interfaces(&card)?;
        // Three bindings of 1.0, and what of 0.3 can name one agent among several: all but gRPC.
        ensure!(interfaces.len() == 5, "{card}");
        for (binding, url, tenant) in &interfaces {
            let address = router.address.to_string();
            ensure!(url.contains(&address), "{binding} points elsewhere: {url}");
            match binding.as_str() {
                // gRPC has no paths: the agent is the first segment of the tenant.
                "GRPC" => ensure!(tenant == agent, "{binding}: tenant {tenant:?}"),
                _ => ensure!(
                    url.trim_end_matches('/') == router.url(agent),
                    "{binding}: {url}"
                ),
            }
        }
        names_no_worker(&card.to_string(), &mesh.workers)?;
    }
    Ok(())
}

#[tokio::test]
async fn the_public_url_stands_in_every_card() -> Result<()> {
    let mesh = mesh(1)
        .router("--public-url")
        .router("https://mesh.example.org")
        .start()
        .await?;
    let card = mesh
        .router()
        .caller("assistant", Binding::JsonRpc)
        .card()
        .await?;
    for (binding, url, _) in interfaces(&card)? {
        let host = url.trim_start_matches("https://");
        ensure!(host.starts_with("mesh.example.org"), "{binding}: {url}");
    }
    Ok(())
}

#[tokio::test]
async fn a_card_is_revalidated_by_its_tag() -> Result<()> {
    let mesh = mesh(1).start().await?;
    let path = "/assistant/.well-known/agent-card.json";
    let first = mesh.router().exchange(&Ask::get(path)).await?;
    let tag = first.header("etag").to_owned();
    ensure!(
        first.status == 200 && !tag.is_empty(),
        "{:?}",
        first.headers
    );
    ensure!(
        first.header("cache-control").contains("max-age"),
        "{:?}",
        first.headers
    );
    let again = mesh
        .router()
        .exchange(&Ask::get(path).header("if-none-match", &tag))
        .await?;
    ensure!(
        again.status == 304 && again.body.is_empty(),
        "{}",
        again.status
    );
    Ok(())
}

#[tokio::test]
async fn the_catalogue_lists_the_agents_with_their_cards() -> Result<()> {
    let mesh = mesh(2).start().await?;
    let router = mesh.router();
    let reply = router.exchange(&Ask::get("/agents")).await?;
    let page = reply.json()?;
    let agents = page["agents"]
        .as_array()
        .with_context(|| page.to_string())?;
    let names: Vec<&str> = agents
        .iter()
        .filter_map(|agent| agent["name"].as_str())
        .collect();
    ensure!(
        names.len() == 3 && EXAMPLES.iter().all(|name| names.contains(name)),
        "{names:?}"
    );
    names_no_worker(&reply.text(), &mesh.workers)
}

#[tokio::test]
async fn one_agent_or_the_default_one_is_served_at_the_root() -> Result<()> {
    let mesh = mesh(1)
        .router("--default-agent")
        .router("assistant")
        .start()
        .await?;
    let card = mesh
        .router()
        .exchange(&Ask::get("/.well-known/agent-card.json"))
        .await?
        .json()?;
    ensure!(card["name"] == "assistant", "{card}");
    let body = r#"{"message":{"messageId":"m-root","role":"ROLE_USER","parts":[{"text":"1+1"}]}}"#;
    let ask = Ask::post("/message:send", "application/json", body).header("a2a-version", "1.0");
    let answer = mesh.router().exchange(&ask).await?;
    ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
    Ok(())
}

#[tokio::test]
async fn a_skill_is_asked_for_without_knowing_whose_it_is() -> Result<()> {
    let mesh = mesh(2).start().await?;
    let router = mesh.router();
    let listed = router
        .exchange(&Ask::get("/agents?skill=arithmetic"))
        .await?
        .json()?;
    ensure!(listed["agents"][0]["name"] == "assistant", "{listed}");
    let body =
        r#"{"message":{"messageId":"m-skill","role":"ROLE_USER","parts":[{"text":"17*23+4"}]}}"#;
    let path = "/skills/arithmetic/message:send";
    let ask = Ask::post(path, "application/json", body).header("a2a-version", "1.0");
    let sent = router.exchange(&ask).await?;
    let text = sent.text();
    ensure!(
        sent.status == 200 && text.contains("395"),
        "{}: {text}",
        sent.status
    );
    let task = sent.json()?;
    let id = task["task"]["id"].as_str().with_context(|| text.clone())?;
    let path = format!("/skills/arithmetic/tasks/{id}");
    let again = router
        .exchange(&Ask::get(&path).header("a2a-version", "1.0"))
        .await?;
    ensure!(again.json()?["id"] == id, "{}", again.text());
    let nobodys = Ask::post("/skills/juggling/message:send", "application/json", body);
    let refused = router
        .exchange(&nobodys.header("a2a-version", "1.0"))
        .await?;
    ensure!(
        refused.status == 404,
        "{}: {}",
        refused.status,
        refused.text()
    );
    Ok(())
}

/// Binding, URL and tenant of each interface.
fn interfaces(card: &Value) -> Result<Vec<(String, String, String)>> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all = card["supportedInterfaces"]
        .as_array()
        .with_context(|| card.to_string())?;
    Ok(all
        .iter()
        .map(|one| {
            (
                text(&one["protocolBinding"]),
                text(&one["url"]),
                text(&one["tenant"]),
            )
        })
        .collect())
}

fn names_no_worker(page: &str, workers: &[Node]) -> Result<()> {
    for worker in workers {
        ensure!(
            !page.contains(&worker.address.to_string()),
            "a worker's address in {page}"
        );
    }
    Ok(())
}
