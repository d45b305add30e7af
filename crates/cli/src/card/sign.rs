//! `daca card sign`: a card with one more signature.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::ValueEnum;
use mesh_card::{Algorithm, Form, Keys, Signer, canonical};
use serde_json::Value;

use super::source;
use crate::{
    exit::{Exit, Failure},
    output::{Format, Output},
};

/// Which card, and with what.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The card: a file, or `-` for standard input
    #[arg(value_name = "FILE")]
    card: String,
    /// The private key: PKCS #8 in PEM, on P-256 or Ed25519, or RSA
    #[arg(long, value_name = "PEM")]
    key: String,
    /// The name by which verifiers know the key
    #[arg(long, value_name = "ID")]
    kid: String,
    /// The URL of the key set that has the public key
    #[arg(long, value_name = "URL")]
    jku: Option<String>,
    /// What to sign with, where the key is for more than one
    #[arg(long, value_enum)]
    algorithm: Option<AlgorithmName>,
    /// Write the public key as a key set into this file, for publication at the URL of --jku
    #[arg(long, value_name = "FILE")]
    jwks: Option<PathBuf>,
}

/// The algorithms by the names that cards use.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum AlgorithmName {
    #[value(name = "ES256")]
    Es256,
    #[value(name = "EdDSA")]
    EdDsa,
    #[value(name = "RS256")]
    Rs256,
    #[value(name = "PS256")]
    Ps256,
}

impl From<AlgorithmName> for Algorithm {
    fn from(name: AlgorithmName) -> Self {
        match name {
            AlgorithmName::Es256 => Self::Es256,
            AlgorithmName::EdDsa => Self::EdDsa,
            AlgorithmName::Rs256 => Self::Rs256,
            AlgorithmName::Ps256 => Self::Ps256,
        }
    }
}

pub(super) fn run(args: &Args, output: &Output) -> Result<Exit, Failure> {
    let card = source::read(&args.card)?;
    let algorithm = args.algorithm.map(Algorithm::from);
    let mut signer = Signer::from_pem(&source::read(&args.key)?, &args.kid, algorithm)
        .with_context(|| args.key.clone())
        .map_err(Failure::usage)?;
    if let Some(url) = &args.jku {
        signer = signer.published_at(url);
    }
    let signed = signer
        .sign(&card)
        .with_context(|| args.card.clone())
        .map_err(Failure::usage)?;
    if let Some(file) = &args.jwks {
        std::fs::write(file, Keys::of_signers([&signer]).to_jwks())
            .with_context(|| format!("writing {}", file.display()))
            .map_err(Failure::usage)?;
    }
    let value: Value = serde_json::from_slice(&signed).map_err(Failure::role)?;
    match output.format {
        Format::Json => output.json(&value)?,
        Format::Text => {
            output.line(&serde_json::to_string_pretty(&value).map_err(Failure::role)?);
        }
    }
    let payload = canonical::payload(&card, Form::for_signing(&card)).unwrap_or_default();
    let uncovered = canonical::uncovered(&card, &payload);
    if !uncovered.is_empty() {
        output.remark(&format!("not signed: {}", uncovered.join(", ")));
    }
    Ok(Exit::Ok)
}
