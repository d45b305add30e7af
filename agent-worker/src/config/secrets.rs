//! Secrets of an agents file: `${secret:STORE/NAME}`, `${secret:STORE/NAME/KEY}` and `${env:NAME}` in what is
//! secret there. That is the environment and the headers of servers, and the key of the language model.
//!
//! # Invariants
//! - A worker starts with all of its secrets or not at all.
//! - What a secret says is in no error: errors name it as the file does.
//! - What a secret says is never read as a placeholder again.

use std::collections::BTreeMap;

use mesh_fabric::dapr::Blocks;

use super::{Config, Error, Surroundings, beside};
use crate::placeholder::{filled, named};

/// What stands elsewhere is named by.
const KINDS: &[&str] = &["env", "secret"];

/// Where a text of the file gets its value from.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Source<'a> {
    /// A variable of the worker's environment.
    Environment(&'a str),
    /// A secret of the sidecar's; of one with several values, the value of a key.
    Sidecar {
        store: &'a str,
        name: &'a str,
        key: Option<&'a str>,
    },
}

impl Config {
    /// The same with its secrets in the place of what names them. The sidecar is waited for, where one of
    /// them is there.
    ///
    /// # Errors
    /// [`Error::Secret`], naming the one that is not to be had; [`Error::Sidecar`].
    pub async fn with_secrets(mut self, around: &Surroundings) -> Result<Self, Error> {
        let mut known = BTreeMap::new();
        let mut sidecar = None;
        for text in self.secret_texts() {
            for named in named(text, KINDS) {
                if !known.contains_key(named) {
                    let value = read(named, around, &mut sidecar).await?;
                    known.insert(named.to_owned(), value);
                }
            }
        }
        if !known.is_empty() {
            for text in self.secret_texts() {
                *text = filled(text, KINDS, &known);
            }
        }
        Ok(self)
    }

    /// The texts that may name secrets.
    fn secret_texts(&mut self) -> impl Iterator<Item = &mut String> {
        let servers = self.servers.values_mut();
        let texts =
            servers.flat_map(|server| server.env.values_mut().chain(server.headers.values_mut()));
        texts.chain(self.openai.iter_mut().flat_map(|model| &mut model.key))
    }
}

async fn read(
    named: &str,
    around: &Surroundings,
    sidecar: &mut Option<Blocks>,
) -> Result<String, Error> {
    let refused = |reason: String| Error::Secret {
        named: named.to_owned(),
        reason,
    };
    let source = Source::of(named).ok_or_else(|| {
        refused("it must be env:NAME, secret:STORE/NAME or secret:STORE/NAME/KEY".to_owned())
    })?;
    let (store, name, key) = match source {
        Source::Environment(name) => {
            let value = std::env::var(name);
            return value.map_err(|_| refused("it is not in the environment".to_owned()));
        }
        Source::Sidecar { store, name, key } => (store, name, key),
    };
    let blocks = match sidecar {
        Some(blocks) => blocks,
        None => sidecar.insert(beside::open(&format!("the secret ${{{named}}}"), around)?),
    };
    let secret = blocks.secret(store, name).await;
    let secret = secret.map_err(|error| refused(error.to_string()))?;
    let value = secret.value(key).map(str::to_owned);
    value.ok_or_else(|| {
        let keys: Vec<_> = secret.keys().collect();
        refused(format!(
            "it has the keys {keys:?}, of which one is to be named"
        ))
    })
}

impl<'a> Source<'a> {
    fn of(named: &'a str) -> Option<Self> {
        let (kind, place) = named.split_once(':')?;
        if kind == "env" {
            return (!place.is_empty()).then_some(Self::Environment(place));
        }
        let (store, rest) = place.split_once('/')?;
        let (name, key) = match rest.rsplit_once('/') {
            Some((name, key)) => (name, Some(key)),
            None => (rest, None),
        };
        let is_whole = kind == "secret" && !store.is_empty() && !name.is_empty();
        (is_whole && key != Some("")).then_some(Self::Sidecar { store, name, key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_of_a_store_and_may_have_a_key() {
        let of = |store, name, key| Some(Source::Sidecar { store, name, key });
        assert_eq!(Source::of("env:A"), Some(Source::Environment("A")));
        assert_eq!(Source::of("secret:s/n"), of("s", "n", None));
        assert_eq!(Source::of("secret:s/n/k"), of("s", "n", Some("k")));
        assert_eq!(Source::of("secret:s/a/b/k"), of("s", "a/b", Some("k")));
        for wrong in ["env:", "secret:s", "secret:/n", "secret:s/", "secret:s/n/"] {
            assert_eq!(Source::of(wrong), None, "{wrong}");
        }
    }
}
