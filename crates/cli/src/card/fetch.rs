//! `daca card fetch`: what an agent says of itself.

use mesh_client::{Call, discovery};
use serde_json::Value;

use crate::{
    agent::Agent,
    exit::{Exit, Failure},
    output::{Format, Output, Tone},
};

/// Whose card, and which of the two.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) agent: Agent,
    /// The card that authenticated callers get, instead of the public one
    #[arg(long)]
    pub(super) extended: bool,
}

pub(super) async fn run(args: Args, output: &Output) -> Result<Exit, Failure> {
    let card: Value = if args.extended {
        let client = args.agent.client().await?;
        let card = client.extended_card(&Call::default()).await?;
        serde_json::to_value(card).map_err(Failure::answer)?
    } else {
        let card = discovery::fetch_card(&args.agent.url, &args.agent.options()).await?;
        serde_json::from_slice(&card.to_bytes()).map_err(Failure::answer)?
    };
    match output.format {
        Format::Json => output.json(&card)?,
        Format::Text => print(&card, output),
    }
    Ok(Exit::Ok)
}

fn print(card: &Value, output: &Output) {
    let name = output.paint(Tone::Strong, text(card, "name"));
    output.line(&format!("{name} {}", text(card, "version")));
    output.line(text(card, "description"));
    // 1.0 has a list of interfaces; 0.3 one URL, its transport, and a list of others.
    if let Some(url) = card.get("url").and_then(Value::as_str) {
        let (binding, version) = (
            text(card, "preferredTransport"),
            text(card, "protocolVersion"),
        );
        output.line(&format!("  {binding:<10} {version:<5} {url}"));
    }
    for list in ["supportedInterfaces", "additionalInterfaces"] {
        for interface in items(card, list) {
            let binding = either(interface, "protocolBinding", "transport");
            let (version, url) = (text(interface, "protocolVersion"), text(interface, "url"));
            let tenant = text(interface, "tenant");
            let tenant = if tenant.is_empty() {
                String::new()
            } else {
                format!("  tenant {tenant}")
            };
            output.line(&format!("  {binding:<10} {version:<5} {url}{tenant}"));
        }
    }
    let able: Vec<&str> = card
        .get("capabilities")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter(|(_, value)| value.as_bool() == Some(true))
        .map(|(name, _)| name.as_str())
        .collect();
    output.line(&format!(
        "can: {}",
        if able.is_empty() {
            "-".to_owned()
        } else {
            able.join(", ")
        }
    ));
    for skill in items(card, "skills") {
        let name = output.paint(Tone::Strong, text(skill, "name"));
        output.line(&format!("skill {name}: {}", text(skill, "description")));
        for example in items(skill, "examples") {
            output.line(&format!(
                "    e.g. {}",
                example.as_str().unwrap_or_default()
            ));
        }
    }
}

fn text<'a>(from: &'a Value, key: &str) -> &'a str {
    from.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn either<'a>(from: &'a Value, key: &str, other: &str) -> &'a str {
    let found = text(from, key);
    if found.is_empty() {
        text(from, other)
    } else {
        found
    }
}

fn items<'a>(from: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    from.get(key)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}
