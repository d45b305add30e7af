//! Cards, public and extended (spec 3.1.11, 8).

use anyhow::{Result, ensure};
use http::StatusCode;
use mesh_proto::{Fault, Operation, a2a};
use mesh_tests::{caller::Caller, caller::words::question};
use serde_json::Value;

use super::requirements;
use crate::{Requirement, Scope::Every, subject::Subject};

pub(super) fn all() -> Vec<Requirement> {
    requirements! {
        "8.2", Every, "the card is at the well-known address, as JSON" => there;
        "4.4.1", Every, "the card has what a card must have" => whole;
        "8.3", Every, "the card offers the binding that is spoken, in 1.0" => offers;
        "8.3.2", Every, "the interface that the card offers answers" => answers;
        "8.6.1", Every, "who has the card is told so" => revalidated;
        "8.6.1", Every, "another card's tag is answered with the card" => other_tag;
        "3.1.11", Every, "the extended card has what the public one leaves out" => extended;
        "3.3.4", Every, "the card's capabilities are those of the agent" => capabilities;
    }
}

async fn there(at: &Subject) -> Result<()> {
    let reply = at.card().await?;
    ensure!(reply.status == StatusCode::OK, "{}", reply.status);
    let kind = reply.header("content-type");
    ensure!(
        kind.starts_with("application/json") || kind.contains("a2a+json"),
        "{kind}"
    );
    reply.json()?;
    Ok(())
}

async fn whole(at: &Subject) -> Result<()> {
    let card = at.card().await?.json()?;
    for field in ["name", "description", "version"] {
        ensure!(
            card[field].as_str().is_some_and(|text| !text.is_empty()),
            "{field}: {card}"
        );
    }
    for field in [
        "supportedInterfaces",
        "defaultInputModes",
        "defaultOutputModes",
        "skills",
    ] {
        ensure!(
            card[field].as_array().is_some_and(|all| !all.is_empty()),
            "{field}: {card}"
        );
    }
    ensure!(card["capabilities"].is_object(), "{card}");
    Ok(())
}

/// The card's interface of the binding that is spoken, in 1.0.
async fn interface(at: &Subject) -> Result<Value> {
    let card = at.card().await?.json()?;
    let name = at.binding().card_name();
    let all = card["supportedInterfaces"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let mut ours = all
        .into_iter()
        .filter(|one| one["protocolBinding"] == name && one["protocolVersion"] == "1.0");
    ours.next()
        .ok_or_else(|| anyhow::anyhow!("no {name} 1.0 in {card}"))
}

async fn offers(at: &Subject) -> Result<()> {
    let interface = interface(at).await?;
    let url = interface["url"].as_str().unwrap_or_default();
    ensure!(!url.is_empty(), "{interface}");
    Ok(())
}

async fn answers(at: &Subject) -> Result<()> {
    let interface = interface(at).await?;
    let url = interface["url"].as_str().unwrap_or_default();
    let bare = url.strip_prefix("http://").unwrap_or(url);
    let (authority, path) = bare.split_once('/').unwrap_or((bare, ""));
    // A card may give a tenant instead of a path: it goes into each request.
    let mut request = question("what is 1+1");
    request.tenant = interface["tenant"].as_str().unwrap_or_default().to_owned();
    let caller = Caller::new(authority.parse()?, path, at.binding());
    let caller = if path.is_empty() {
        Caller::at_root(authority.parse()?, at.binding())
    } else {
        caller
    };
    let task = caller.send(request).await??;
    ensure!(!task.id.is_empty());
    Ok(())
}

async fn revalidated(at: &Subject) -> Result<()> {
    let first = at.kept_card(|ask| ask).await?;
    let etag = first.header("etag").to_owned();
    ensure!(!etag.is_empty(), "no ETag");
    let again = at
        .kept_card(|ask| ask.header("if-none-match", &etag))
        .await?;
    ensure!(again.status == StatusCode::NOT_MODIFIED, "{}", again.status);
    Ok(())
}

async fn other_tag(at: &Subject) -> Result<()> {
    let reply = at
        .kept_card(|ask| ask.header("if-none-match", "\"another\""))
        .await?;
    ensure!(reply.status == StatusCode::OK, "{}", reply.status);
    Ok(())
}

async fn extended(at: &Subject) -> Result<()> {
    let public = at.card().await?;
    ensure!(!public.text().contains("\"secret\""), "{}", public.text());
    let request = a2a::GetExtendedAgentCardRequest::default();
    let path = "/extendedAgentCard".to_owned();
    let caller = at.caller();
    let said = caller.call::<_, a2a::AgentCard>(Operation::GetExtendedAgentCard, &request, path);
    let card = said.await??;
    ensure!(
        card.skills.iter().any(|skill| skill.id == "secret"),
        "{card:?}"
    );
    Ok(())
}

async fn capabilities(at: &Subject) -> Result<()> {
    let card = at.card().await?.json()?;
    let has = |name: &str| card["capabilities"][name] == true;
    ensure!(has("streaming") && has("pushNotifications"), "{card}");
    ensure!(has("extendedAgentCard"), "{card}");
    // Who streams is not refused for it.
    let said = at.caller().stream(question("what is 1+1")).await?;
    if let Err(refusal) = said {
        ensure!(
            refusal.expect(Fault::UnsupportedOperation).is_err(),
            "{refusal:?}"
        );
    }
    Ok(())
}
