//! The flags that name an agent and how to talk to it, shared by every verb of the client.

use std::{path::PathBuf, time::Duration};

use clap::ValueEnum;
use http::{HeaderMap, HeaderName, HeaderValue};
use mesh_client::{Binding, Client, Error, Options, Version};

use crate::{exit::Failure, quote::quote};

/// Which agent, and how to talk to it.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Agent {
    /// The agent's base URL, below which its card is, such as http://127.0.0.1:8080/assistant
    pub(crate) url: String,
    /// Talk over this binding, instead of the first in the card that is spoken here
    #[arg(long, value_enum)]
    binding: Option<BindingName>,
    /// Speak this version of A2A, instead of the newest that is in the card and spoken here
    #[arg(long, value_enum, value_name = "VERSION")]
    a2a_version: Option<VersionName>,
    /// Put this tenant into each request, instead of the card's
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    /// Send a header with each request, such as authorization='Bearer ...'; repeatable
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Read no card: the URL is the endpoint of the binding itself
    #[arg(long, requires = "binding")]
    no_card: bool,
    /// Trust the certificates in this PEM file, too
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Give up when no answer has come for so long; a stream, when it is silent for so long
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
}

/// A binding, as flags name it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum BindingName {
    Jsonrpc,
    Rest,
    Grpc,
}

impl From<BindingName> for Binding {
    fn from(name: BindingName) -> Self {
        match name {
            BindingName::Jsonrpc => Self::JsonRpc,
            BindingName::Rest => Self::Rest,
            BindingName::Grpc => Self::Grpc,
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum VersionName {
    #[value(name = "1.0")]
    V1_0,
    #[value(name = "0.3")]
    V0_3,
}

impl Agent {
    /// How the client is to be set up.
    pub(crate) fn options(&self) -> Options {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.append(name, value.clone());
        }
        let timeout = self.timeout.map(Duration::from_secs);
        let standard = Options::default();
        Options {
            binding: self.binding(),
            version: self.version(),
            tenant: self.tenant.clone(),
            headers,
            answer_timeout: timeout.or(standard.answer_timeout),
            idle_timeout: timeout,
            ca_file: self.ca_file.clone(),
            ..standard
        }
    }

    /// A client of this agent.
    pub(crate) async fn client(&self) -> Result<Client, Failure> {
        match (self.no_card, self.binding()) {
            (true, Some(binding)) => Ok(Client::direct(binding, &self.url, self.options())?),
            _ => Client::from_url(&self.url, self.options())
                .await
                .map_err(|error| {
                    let no_card = matches!(error, Error::Broken(_));
                    Failure {
                        hint: no_card.then_some(
                            "a URL that is the endpoint itself: add --no-card --binding ...",
                        ),
                        ..Failure::from(error)
                    }
                }),
        }
    }

    /// The flags that a follow-up must repeat. Headers are left out: they may be secrets.
    pub(crate) fn repeat(&self) -> String {
        let mut line = quote(&self.url);
        if let Some(binding) = self.binding() {
            line.push_str(" --binding ");
            line.push_str(binding.label());
        }
        if let Some(version) = self.version() {
            line.push_str(" --a2a-version ");
            line.push_str(version.as_str());
        }
        if let Some(tenant) = &self.tenant {
            line.push_str(" --tenant ");
            line.push_str(&quote(tenant));
        }
        if self.no_card {
            line.push_str(" --no-card");
        }
        line
    }

    fn binding(&self) -> Option<Binding> {
        self.binding.map(Binding::from)
    }

    fn version(&self) -> Option<Version> {
        self.a2a_version.map(|name| match name {
            VersionName::V1_0 => Version::V1_0,
            VersionName::V0_3 => Version::V0_3,
        })
    }
}

/// Reads `NAME=VALUE`.
pub(crate) fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once('=').ok_or("it has no '='")?;
    let name = name.trim().parse().map_err(|_| "that is no header name")?;
    let value = value
        .trim()
        .parse()
        .map_err(|_| "that is no header value")?;
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_a_name_and_a_value_with_an_equals_sign_between() {
        let (name, value) = header("Authorization=Bearer a=b").unwrap();
        assert_eq!(name, "authorization");
        assert_eq!(value, "Bearer a=b");
        assert!(header("nothing").is_err());
        assert!(header("bad name=x").is_err());
        assert!(header("x=a\nb").is_err());
    }
}
