//! `daca push verify`: whether a notification is from whom it says that it is from.

use anyhow::Context as _;
use mesh_card::{
    Algorithm, Keys,
    notice::{self, Expected, Held, WINDOW},
    verify::Reason,
};
use mesh_runtime::clock;
use serde_json::json;

use crate::{
    card::source,
    exit::{Exit, Failure},
    output::{Format, Output, Tone},
};

/// What came in, and whom to trust.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The body as it came, byte for byte: a file, or `-` for standard input
    #[arg(value_name = "FILE")]
    body: String,
    /// What the header x-a2a-notification-signature said
    #[arg(long, value_name = "JWS")]
    signature: String,
    /// The receiver's own address, as the mesh was given it
    #[arg(long, value_name = "URL")]
    url: String,
    /// Keys that are trusted: a JSON Web Key set or a PEM key; repeatable
    #[arg(long, value_name = "JWKS|PEM", required = true)]
    keys: Vec<String>,
    /// For how many seconds after it was made a signature is good
    #[arg(long, value_name = "SECONDS", default_value_t = WINDOW)]
    window: u64,
}

pub(super) fn run(args: &Args, output: &Output) -> Result<Exit, Failure> {
    let body = source::read(&args.body)?;
    let mut keys = Keys::default();
    for file in &args.keys {
        let read = Keys::read(&source::read(file)?).with_context(|| file.clone());
        keys.pin(read.map_err(Failure::usage)?);
    }
    let expected = Expected {
        keys: &keys,
        algorithms: &Algorithm::ALL,
        url: &args.url,
        now_seconds: clock::unix_millis() / 1000,
        window: args.window,
    };
    match notice::verify(&args.signature, &body, expected) {
        Ok(held) => show(&held, output).map(|()| Exit::Ok),
        Err(reason) => refuse(&reason, output).map(|()| Exit::Failed),
    }
}

fn show(held: &Held, output: &Output) -> Result<(), Failure> {
    let Held {
        key_id,
        algorithm,
        made,
    } = held;
    if output.format == Format::Json {
        return output.json(&json!({
            "verified": true,
            "keyId": key_id,
            "algorithm": algorithm.name(),
            "made": made,
        }));
    }
    let word = output.paint(Tone::Good, "verified");
    output.line(&format!(
        "{word}: signed with {algorithm} by the key {key_id:?}, {made} s after 1970"
    ));
    Ok(())
}

fn refuse(reason: &Reason, output: &Output) -> Result<(), Failure> {
    if output.format == Format::Json {
        return output.json(&json!({"verified": false, "message": reason.to_string()}));
    }
    let word = output.paint(Tone::Bad, "not verified");
    output.line(&format!("{word}: {reason}"));
    Ok(())
}
