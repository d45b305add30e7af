//! `daca card verify`: whether somebody who is trusted signed what a card says.

use anyhow::{Context as _, anyhow};
use http::StatusCode;
use mesh_card::{
    Algorithm, Keys, Refused, Verified,
    verify::{self, Refusal},
};
use mesh_client::discovery;
use mesh_runtime::clock;
use serde_json::{Value, json};

use super::{
    sign::AlgorithmName,
    source::{self, Source},
};
use crate::{
    exit::{Exit, Failure},
    output::{Format, Output, Tone},
};

/// Which card, and whom to trust.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    source: Source,
    /// Keys that are trusted: a JSON Web Key set or a PEM key; repeatable
    #[arg(long, value_name = "JWKS|PEM", required_unless_present = "jku_allow")]
    keys: Vec<String>,
    /// Trust the keys at this URL where a signature names it, and get them from there; repeatable
    #[arg(long, value_name = "URL")]
    jku_allow: Vec<String>,
    /// Take this algorithm only; repeatable
    #[arg(long, value_enum)]
    algorithm: Vec<AlgorithmName>,
}

pub(super) async fn run(args: Args, output: &Output) -> Result<Exit, Failure> {
    let card = args.source.card().await?;
    let mut keys = Keys::default();
    for file in &args.keys {
        let bytes = source::read(file)?;
        let read = Keys::read(&bytes).with_context(|| file.clone());
        keys.pin(read.map_err(Failure::usage)?);
    }
    // A set that is not to be had matters only if nothing else verifies.
    let mut missed = None;
    for url in verify::key_sets(&card, &args.jku_allow) {
        match key_set(&url, &args).await {
            Ok(set) => keys.add_set(&url, set),
            Err(failure) => missed = Some(failure),
        }
    }
    let algorithms: Vec<Algorithm> = match args.algorithm.as_slice() {
        [] => Algorithm::ALL.into(),
        some => some.iter().copied().map(Algorithm::from).collect(),
    };
    let now_seconds = clock::unix_millis() / 1000;
    match verify::verify(&card, &keys, &algorithms, now_seconds) {
        Ok(verified) => held(&verified, output).map(|()| Exit::Ok),
        Err(refused) => match missed {
            Some(failure) => Err(failure),
            None => failed(&refused, output).map(|()| Exit::Failed),
        },
    }
}

async fn key_set(url: &str, args: &Args) -> Result<Keys, Failure> {
    let (status, body) = discovery::fetch(url, &args.source.options()).await?;
    if status != StatusCode::OK {
        let words = format!("the key set at {url} was answered with {status}");
        return Err(Failure::answer(anyhow!(words)));
    }
    let keys = Keys::read(&body).with_context(|| format!("the key set at {url}"));
    keys.map_err(Failure::answer)
}

fn held(verified: &Verified, output: &Output) -> Result<(), Failure> {
    if output.format == Format::Json {
        return output.json(&json!({
            "verified": true,
            "keyId": verified.key_id,
            "algorithm": verified.algorithm.name(),
            "form": verified.form.label(),
            "uncovered": verified.uncovered,
            "refused": list(&verified.refused),
        }));
    }
    let word = output.paint(Tone::Good, "verified");
    let (key, algorithm) = (&verified.key_id, verified.algorithm);
    output.line(&format!(
        "{word}: signed with {algorithm} by the key {key:?}"
    ));
    if !verified.uncovered.is_empty() {
        let fields = verified.uncovered.join(", ");
        output.line(&format!(
            "not signed, so that anybody on the way may have written them: {fields}"
        ));
    }
    Ok(())
}

fn failed(refused: &Refused, output: &Output) -> Result<(), Failure> {
    let refusals: &[Refusal] = match refused {
        Refused::NoneHolds(refusals) => refusals,
        Refused::NotACard | Refused::Unsigned => &[],
    };
    if output.format == Format::Json {
        return output.json(&json!({
            "verified": false,
            "message": refused.to_string(),
            "refused": list(refusals),
        }));
    }
    let word = output.paint(Tone::Bad, "not verified");
    output.line(&format!("{word}: {refused}"));
    Ok(())
}

fn list(refusals: &[Refusal]) -> Vec<Value> {
    refusals
        .iter()
        .map(|refusal| {
            json!({
                "signature": refusal.index,
                "keyId": refusal.key_id,
                "message": refusal.reason.to_string(),
            })
        })
        .collect()
}
