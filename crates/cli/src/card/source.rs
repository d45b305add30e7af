//! Where a card or a key set comes from: a file, standard input, or a URL.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow};
use http::{HeaderMap, HeaderName, HeaderValue};
use mesh_client::{Options, discovery};

use crate::{agent, exit::Failure};

/// A card, and how to get it where it is an agent's.
#[derive(Debug, clap::Args)]
pub(super) struct Source {
    /// A file, `-` for standard input, or a URL: an agent's base, below which its card is, or the
    /// card's own
    #[arg(value_name = "FILE|URL")]
    card: String,
    /// Send a header with each request, such as authorization='Bearer ...'; repeatable
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = agent::header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Trust the certificates in this PEM file, too
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

impl Source {
    /// The card as the bytes that it is.
    pub(super) async fn card(&self) -> Result<Vec<u8>, Failure> {
        if self.card.contains("://") {
            let mut headers = HeaderMap::new();
            for (name, value) in &self.headers {
                headers.append(name, value.clone());
            }
            let options = Options {
                headers,
                ..self.options()
            };
            let bytes = discovery::fetch_card_bytes(&self.card, &options).await?;
            return Ok(bytes.into());
        }
        read(&self.card)
    }

    /// How to get what a card points to: without the headers, which are for the agent alone.
    pub(super) fn options(&self) -> Options {
        Options {
            ca_file: self.ca_file.clone(),
            ..Options::default()
        }
    }
}

/// A file, or standard input for `-`; at most as much as is read of an agent's card.
pub(crate) fn read(name: &str) -> Result<Vec<u8>, Failure> {
    let most = Options::default().limits.card;
    let bound = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    let read = if name == "-" {
        std::io::stdin().lock().take(bound).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(Path::new(name))
            .and_then(|file| file.take(bound).read_to_end(&mut bytes))
    };
    let read = read.with_context(|| format!("reading {name}"));
    match read {
        Ok(_) if bytes.len() > most => Err(Failure::usage(anyhow!(
            "{name} is longer than {most} bytes"
        ))),
        Ok(_) => Ok(bytes),
        Err(error) => Err(Failure {
            hint: Some("an agent's URL begins with http:// or https://"),
            ..Failure::usage(error)
        }),
    }
}
