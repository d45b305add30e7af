//! What the router makes of cards: how it shows them, with whose signature, and whose it believes.
//!
//! # Invariants
//! - Keys are read once, when the router starts; none of them is ever shown but its public part.
//! - Where trust is required, it fails closed: a card that does not verify is as good as none, and an
//!   agent without a card that does has no line at all.
//! - Of a verified card only what its signature covers is read.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use mesh_card::{Algorithm, Keys, Refused, Signer, keys::KeyError};
use mesh_proto::{AgentName, card::Card};
use mesh_runtime::clock;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use serde::Deserialize;

/// How cards are shown and which are believed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// How cards are shown. Default `strip`.
    pub mode: Mode,
    /// A file with a private key, PKCS #8 in PEM (P-256, Ed25519 or RSA): signs what is shown in mode
    /// `re-sign`. Its public part is published at `/.well-known/jwks.json`.
    pub key: Option<PathBuf>,
    /// The key's name in signatures. Default `mesh`.
    pub kid: Option<String>,
    /// Where verifiers find the key, as signatures are to say. Default: nothing is said.
    pub jku: Option<url::Url>,
    /// A file with public keys (a JSON Web Key set, or one PEM key) whose signatures of cards are
    /// believed.
    pub trust: Option<PathBuf>,
    /// Whether an agent is used only with a card that one of those keys signed. Default false.
    pub require: bool,
    /// What is otherwise for single agents.
    pub agent: BTreeMap<AgentName, OfAgent>,
}

/// What is otherwise for one agent; unset fields are as for all.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OfAgent {
    /// See [`Settings::mode`].
    pub mode: Option<Mode>,
    /// See [`Settings::require`].
    pub require: Option<bool>,
}

/// How a card is shown.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// With the router's addresses, unsigned: the agent's signature would no longer fit.
    #[default]
    Strip,
    /// As the agent wrote it, to the byte, signature and addresses its own: for routers that callers
    /// do not know of.
    Preserve,
    /// With the router's addresses, signed by the router.
    ReSign,
}

/// Why cards can't be handled as told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file can't be read.
    #[error("can't read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{path} is no key for cards")]
    Key {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: KeyError,
    },
    /// Nothing to sign with.
    #[error("mode re-sign needs a key: [cards] key = FILE")]
    NoKey,
    /// Nothing to verify with.
    #[error("require needs keys that are believed: [cards] trust = FILE")]
    NoTrust,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Cards {
    mode: Mode,
    require: bool,
    agents: BTreeMap<AgentName, OfAgent>,
    signer: Option<Signer>,
    trust: Option<Keys>,
    /// When this router began to show cards in this way, in seconds since 1970.
    since: u64,
}

impl Cards {
    /// Reads the keys.
    ///
    /// # Errors
    /// [`Error`], naming the file or what is missing.
    pub fn open(settings: Settings) -> Result<Self, Error> {
        let signer = settings.key.as_deref().map(|path| {
            let kid = settings.kid.as_deref().unwrap_or("mesh");
            let signer = Signer::from_pem(&read(path)?, kid, None).map_err(wrong(path))?;
            Ok(match &settings.jku {
                Some(url) => signer.published_at(url.as_str()),
                None => signer,
            })
        });
        let trust = settings.trust.as_deref();
        let trust = trust.map(|path| Keys::read(&read(path)?).map_err(wrong(path)));
        let cards = Self {
            mode: settings.mode,
            require: settings.require,
            agents: settings.agent,
            signer: signer.transpose()?,
            trust: trust.transpose()?,
            since: clock::unix_millis() / 1000,
        };
        let mut modes = cards.agents.values().filter_map(|each| each.mode);
        if cards.signer.is_none()
            && (cards.mode == Mode::ReSign || modes.any(|m| m == Mode::ReSign))
        {
            return Err(Error::NoKey);
        }
        let mut requires = cards.agents.values().filter_map(|each| each.require);
        if cards.trust.is_none() && (cards.require || requires.any(|required| required)) {
            return Err(Error::NoTrust);
        }
        Ok(cards)
    }

    /// How an agent's card is shown.
    #[must_use]
    pub fn mode(&self, agent: &AgentName) -> Mode {
        let own = self.agents.get(agent).and_then(|own| own.mode);
        own.unwrap_or(self.mode)
    }

    /// Whether an agent is used only with a card that verifies.
    #[must_use]
    pub fn requires(&self, agent: &AgentName) -> bool {
        let own = self.agents.get(agent).and_then(|own| own.require);
        own.unwrap_or(self.require)
    }

    /// When this router began to show cards in this way, in seconds since 1970: a card that is shown
    /// can't be older.
    #[must_use]
    pub const fn since(&self) -> u64 {
        self.since
    }

    /// What of a card may be read: all of it, or where trust is required what a believed signature
    /// covers.
    ///
    /// # Errors
    /// [`Refused`], where trust is required and no signature holds.
    pub fn readable(&self, agent: &AgentName, page: &Bytes) -> Result<Bytes, Refused> {
        match &self.trust {
            Some(keys) if self.requires(agent) => {
                let now = clock::unix_millis() / 1000;
                let verified = mesh_card::verify(page, keys, &Algorithm::ALL, now)?;
                Ok(Bytes::copy_from_slice(verified.payload()))
            }
            Some(_) | None => Ok(page.clone()),
        }
    }

    /// A card as it is shown in a mode in which the router rewrites it: signed, where the router signs
    /// this agent's. A card that can't be signed (it has no canonical form) is shown unsigned.
    #[must_use]
    pub fn sealed(&self, agent: &AgentName, card: &Card) -> Bytes {
        let bytes = card.to_bytes();
        match &self.signer {
            Some(signer) if self.mode(agent) == Mode::ReSign => {
                signer.sign(&bytes).map_or(bytes, Bytes::from)
            }
            Some(_) | None => bytes,
        }
    }

    /// The public part of the key that signs, as a JSON Web Key set.
    #[must_use]
    pub fn key_set(&self) -> Option<Bytes> {
        let signer = self.signer.as_ref()?;
        Some(Bytes::from(Keys::of_signers([signer]).to_jwks()))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })
}

fn wrong(path: &Path) -> impl Fn(KeyError) -> Error {
    let path = path.to_owned();
    move |source| Error::Key {
        path: path.clone(),
        source,
    }
}

/// What came of asking for a card.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Reading {
    /// A card that was not known.
    New,
    /// The card that was known.
    Unchanged,
    /// No answer, or none that is a card; the last good one stays.
    Failed,
    /// A card that trust was required for, and that does not verify.
    Refused,
}

impl Reading {
    const fn label(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Unchanged => "unchanged",
            Self::Failed => "failed",
            Self::Refused => "refused",
        }
    }
}

/// The families of this module.
#[derive(Clone, Debug, Default)]
pub(super) struct Metrics {
    readings: Family<ReadingLabels, Counter>,
    findings: Family<AgentLabels, Counter>,
}

impl Metrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let readings = "Questions for cards, by agent and what came of them";
        registry.register(
            "mesh_router_card_readings",
            readings,
            metrics.readings.clone(),
        );
        let findings = "What is wrong with new cards, by agent; the log says what";
        registry.register(
            "mesh_router_card_findings",
            findings,
            metrics.findings.clone(),
        );
        metrics
    }

    pub(super) fn read(&self, agent: &AgentName, reading: Reading) {
        let labels = ReadingLabels {
            agent: agent.to_string(),
            reading: reading.label(),
        };
        self.readings.get_or_create_owned(&labels).inc();
    }

    pub(super) fn found(&self, agent: &AgentName, findings: u64) {
        let agent = agent.to_string();
        self.findings
            .get_or_create_owned(&AgentLabels { agent })
            .inc_by(findings);
    }
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ReadingLabels {
    agent: String,
    reading: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct AgentLabels {
    agent: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_mode_needs_must_be_there() {
        let re_sign = Settings {
            mode: Mode::ReSign,
            ..Settings::default()
        };
        assert!(matches!(Cards::open(re_sign), Err(Error::NoKey)));
        let require = Settings {
            require: true,
            ..Settings::default()
        };
        assert!(matches!(Cards::open(require), Err(Error::NoTrust)));
    }

    #[test]
    fn an_agents_own_word_wins() {
        let text = r#"mode = "preserve"
            [agent.other]
            mode = "strip""#;
        let cards = Cards::open(toml::from_str(text).unwrap()).unwrap();
        let name = |name| AgentName::parse(name).unwrap();
        assert_eq!(cards.mode(&name("any")), Mode::Preserve);
        assert_eq!(cards.mode(&name("other")), Mode::Strip);
        assert!(!cards.requires(&name("any")));
    }
}
