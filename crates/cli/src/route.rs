//! `daca route`: why a router sends a call where it does.

use http::StatusCode;
use mesh_client::{Options, discovery};
use mesh_proto::rest;
use serde_json::Value;
use url::Url;

use crate::{
    exit::{Exit, Failure},
    output::{Format, Output, Tone},
};

/// What to ask a router about its routing.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Print where a call with these ids goes, and why
    Explain(Explain),
}

/// A call as far as routing looks at it.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("id").args(["context", "task", "message"]))]
pub(crate) struct Explain {
    /// The router's base URL
    #[arg(long, value_name = "URL")]
    router: String,
    /// The agent's name
    #[arg(long, value_name = "NAME")]
    agent: String,
    /// A call of this context
    #[arg(long, value_name = "ID")]
    context: Option<String>,
    /// A call of this task
    #[arg(long, value_name = "ID")]
    task: Option<String>,
    /// A first message with this id
    #[arg(long, value_name = "ID")]
    message: Option<String>,
    /// Within this tenant of the agent
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
}

impl Explain {
    fn url(&self) -> Result<Url, url::ParseError> {
        let base = self.router.trim_end_matches('/');
        let mut url = Url::parse(&format!("{base}/-/route"))?;
        let mut query = url.query_pairs_mut();
        query.append_pair("agent", &self.agent);
        for (key, value) in [
            ("context", &self.context),
            ("task", &self.task),
            ("message", &self.message),
            ("tenant", &self.tenant),
        ] {
            if let Some(value) = value {
                query.append_pair(key, value);
            }
        }
        drop(query);
        Ok(url)
    }
}

pub(crate) async fn run(verb: Verb, output: &Output) -> Result<Exit, Failure> {
    let Verb::Explain(explain) = verb;
    let url = explain.url().map_err(Failure::usage)?;
    let (status, body) = discovery::fetch(url.as_str(), &Options::default()).await?;
    if status != StatusCode::OK {
        return Err(mesh_client::Error::Problem(rest::problem(status, &body)).into());
    }
    let answer: Value = serde_json::from_slice(&body).map_err(|error| {
        Failure::answer(anyhow::Error::new(error).context("the answer is not a router's"))
    })?;
    match output.format {
        Format::Json => output.json(&answer)?,
        Format::Text => print(&answer, output),
    }
    Ok(Exit::Ok)
}

fn print(answer: &Value, output: &Output) {
    let show = |key: &str| match answer.get(key) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    for key in ["agent", "operation", "slot", "rule", "reason", "view"] {
        output.line(&format!("{key:<10} {}", show(key)));
    }
    let candidates = answer.get("candidates").and_then(Value::as_array);
    for (rank, candidate) in candidates.into_iter().flatten().enumerate() {
        let text = |key: &str| candidate.get(key).and_then(Value::as_str).unwrap_or("-");
        let line = format!("{:>10} {}  {}", rank + 1, text("id"), text("standing"));
        output.line(&if rank == 0 {
            output.paint(Tone::Strong, &line)
        } else {
            line
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_any_shape_reach_the_router_whole() {
        let explain = Explain {
            router: "http://h:1/".to_owned(),
            agent: "desk".to_owned(),
            context: None,
            task: Some("a/b&c=d e".to_owned()),
            message: None,
            tenant: Some("t".to_owned()),
        };
        assert_eq!(
            explain.url().unwrap().as_str(),
            "http://h:1/-/route?agent=desk&task=a%2Fb%26c%3Dd+e&tenant=t"
        );
    }
}
